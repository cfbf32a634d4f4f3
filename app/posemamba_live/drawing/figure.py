"""A 3D skeleton on a floor, drawn with OpenCV alone: the recorder's right-hand picture.

No GPU and no window are needed. The picture is built back to front: a cached backdrop,
metre lines on the floor fading into the distance, a soft shadow where the body touches the
floor, then bodies made of rounded solids (`limbs`) from the farthest to the nearest. `framing`
says where the camera is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from posemamba.skeleton import HEAD, HIP
from posemamba_live.drawing.colours import BACKGROUND, FLOOR, GRID
from posemamba_live.drawing.framing import START, Following, Framing, Lens, planned
from posemamba_live.drawing.limbs import (
    BASE,
    POINTS,
    RADII,
    fill,
    hidden_solids,
    outlines,
    solids,
    with_extras,
)
from posemamba_live.drawing.overlay import SUBPIXEL_BITS, fixed_point, number
from posemamba_live.options import UnseenName
from posemamba_live.types import Image, Pose3D

Array = NDArray[np.float64]

_COMFORT: Final = ((0.08, 0.08), (0.17, 0.15))
"""Shares of the picture's half that bodies keep free at its left, right, upper and lower edge:
captions are there."""
_LIMIT: Final = ((0.01, 0.01), (0.02, 0.02))
"""And which they keep free however fast they move."""
_GRID_HALF: Final = 6
_MOST_LINES: Final = 30
"""Least and most metre lines on either side of the middle of the view."""
_SHADOW_SCALE: Final = 4
"""The shadow is soft: a quarter of the resolution is plenty."""
_NUMBER_ABOVE: Final = 0.08
"""Metres from the crown to a person's number."""
_GHOST: Final = 0.38
"""Opacity of a pose that was filled in."""


@dataclass(frozen=True, slots=True)
class ViewPoint:
    """Where the virtual camera looks from, relative to the people."""

    azimuth_deg: float = 32.0
    """Around the vertical; 0 is the real camera's side, positive walks to the right."""
    elevation_deg: float = 14.0
    fov_deg: float = 30.0


class SkeletonRenderer:
    """Draws people in the world frame; its camera goes along with them, so that nobody's body
    leaves the picture.

    Args:
        size: (W, H) of the picture in pixels.
        view: where to look from.
        take: all poses that will come, where they are known: the camera's way is planned.
        unseen: what becomes of joints that nobody has seen for a while.
    """

    def __init__(
        self,
        size: tuple[int, int],
        view: ViewPoint | None = None,
        *,
        take: Sequence[Pose3D] | None = None,
        unseen: UnseenName = UnseenName.FAINT,
    ) -> None:
        self.size = size
        view = view or ViewPoint()
        az, el = math.radians(view.azimuth_deg), math.radians(view.elevation_deg)
        forward = np.array(
            [-math.sin(az) * math.cos(el), math.cos(az) * math.cos(el), -math.sin(el)]
        )
        right = np.array([math.cos(az), math.sin(az), 0.0])
        self._axes = np.stack([right, np.cross(forward, right), forward])
        w, h = size
        self._focal = 0.5 * min(w, h) / math.tan(math.radians(view.fov_deg) / 2.0)
        self._centre = np.array([0.5 * w, 0.5 * h])
        lens = Lens(
            self._axes,
            comfort=0.5 * (1.0 - np.array(_COMFORT)) * np.array([[w], [h]]) / self._focal,
            limit=0.5 * (1.0 - np.array(_LIMIT)) * np.array([[w], [h]]) / self._focal,
        )
        follow = Following(lens)
        self._eye = follow.eye([], 0.0)
        self._backdrop, fade = self._paint_backdrop()
        self._top = int(fade.any(axis=(1, 2)).argmax())
        """The first row in which metre lines can be seen."""
        self._fade = np.ascontiguousarray(fade[self._top :])
        self._framing: Framing = follow if take is None else planned(take, lens)
        self._unseen = unseen

    def draw(self, poses: Sequence[Pose3D], timestamp: float, onto: Image | None = None) -> Image:
        """One picture.

        Args:
            poses: everybody in this frame.
            timestamp: seconds; the camera's movement follows this clock.
            onto: where to draw it, (H, W, 3); rows may be apart.

        Returns:
            (H, W, 3) BGR, new, or `onto`.
        """
        bodies = [with_extras(pose.joints_world) for pose in poses]
        self._eye = self._framing.eye(bodies, timestamp)
        image = np.empty_like(self._backdrop) if onto is None else onto
        image[:] = self._backdrop
        self._draw_grid(image)
        middle = float(np.mean([self.project(body[HIP])[1] for body in bodies])) if bodies else 0.0
        people, faint = [], []
        for body, pose in zip(bodies, poses, strict=True):
            drawn = solids(*self.project(body), self._focal, pose.person_id, middle=middle)
            hidden = hidden_solids(pose.unseen)
            if pose.pose2d.predicted:
                faint.append((drawn, ~hidden))
                continue
            people.append((drawn, ~hidden))
            if hidden.any() and self._unseen is UnseenName.FAINT:
                faint.append((drawn, hidden))
        if bodies:
            self._draw_shadow(image, bodies, poses)
        if faint:
            layer = image.copy()
            fill(layer, faint, SUBPIXEL_BITS)
            image[:] = cv2.addWeighted(layer, _GHOST, image, 1.0 - _GHOST, 0.0)
        fill(image, people, SUBPIXEL_BITS)
        if len(poses) > 1:
            heads = np.array([body[HEAD] for body in bodies])
            heads[:, 2] += _NUMBER_ABOVE
            for pose, (x, y) in zip(poses, self.project(heads)[0], strict=True):
                number(image, pose.person_id, (float(x), float(y)), min(self.size) / 30.0)
        return image

    def project(self, points: Array) -> tuple[Array, Array]:
        """(..., 3) world metres to (..., 2) pixels of the last picture, and (...,) metres ahead."""
        view = points @ self._axes.T - self._eye
        depth = np.maximum(view[..., 2], 0.2)
        return self._focal * view[..., :2] / depth[..., None] + self._centre, depth

    def _paint_backdrop(self) -> tuple[Image, Image]:
        """Floor glow that fades into the dark, and the same fade as a mask for the grid."""
        w, h = self.size
        across = (np.arange(w, dtype=np.float32) + np.float32(0.5 - 0.5 * w))[None, :]
        down = (np.arange(h, dtype=np.float32) + np.float32(0.5 - 0.5 * h))[:, None]
        # Plane by plane: NumPy takes several times as long over arrays of three.
        x, y, z = (
            across * float(right) + (down * float(below) + float(self._focal * ahead))
            for right, below, ahead in self._axes.T
        )
        # Where each pixel's ray meets the floor, as far as people are from the camera at first.
        eye = self._eye @ self._axes
        reach = float(eye[2]) / np.minimum(z, np.float32(-1e-6))
        east = float(eye[0] - START[0]) - x * reach
        north = float(eye[1] - START[1]) - y * reach
        fade = np.exp((east**2 + north**2) * np.float32(-1.0 / 2.6**2)) * (z < 0.0)
        horizon = np.exp(-((down / np.float32(0.55 * h)) ** 2))
        noise = np.random.default_rng(0)
        backdrop, lines = np.empty((2, h, w, 3), np.uint8)
        for i, glow in enumerate((5.0, 4.0, 3.5)):
            near, far, grid = (255.0 * color[2 - i] for color in (FLOOR, BACKGROUND, GRID))
            plane = fade * ((near - far) * 1.5) + (horizon * glow + far)
            # Half a level of noise hides the steps of an 8-bit gradient.
            plane += noise.random((h, w), np.float32) - np.float32(0.5)
            backdrop[..., i] = np.clip(np.rint(plane), 0, 255)
            lines[..., i] = np.clip(np.rint(fade * ((grid - near) * 1.6)), 0, 255)
        return backdrop, lines

    def _draw_grid(self, image: Image) -> None:
        """Metre lines. They belong to the world, so they pass by as the camera follows."""
        # Around where the middle of the picture meets the floor, as far as there is to see.
        eye = self._eye @ self._axes
        reach = eye[2] / max(-self._axes[2, 2], 0.05)
        middle = np.round(eye[:2] + reach * self._axes[2, :2])
        half = float(np.clip(math.ceil(reach), _GRID_HALF, _MOST_LINES))
        pixels, depth = self.project(_metre_lines(half) + np.array([*middle, 0.0]))
        pixels[..., 1] -= self._top  # what is farther has faded, and many lines meet there
        lines, before = fixed_point(np.clip(pixels, -2e4, 2e4)), depth > 0.5
        inside = (pixels.max(1) > 0.0).all(-1) & (pixels.min(1) < self.size).all(-1)
        whole = before.all(1)
        visible = list(lines[inside & whole])
        visible += [
            lines[i][before[i]] for i in np.flatnonzero(inside & ~whole & (before.sum(1) > 1))
        ]
        floor = image[self._top :]
        mask = np.zeros(floor.shape[:2], np.uint8)
        cv2.polylines(mask, visible, False, (255,), 1, cv2.LINE_AA, SUBPIXEL_BITS)
        lit = cv2.multiply(cv2.cvtColor(mask, cv2.COLOR_GRAY2BGR), self._fade, scale=1.0 / 255.0)
        cv2.add(floor, lit, dst=floor)

    def _draw_shadow(self, image: Image, bodies: Sequence[Array], poses: Sequence[Pose3D]) -> None:
        """Darken the floor under the body: near the floor strongly, high above it hardly."""
        w, h = self.size
        small = np.zeros((-(-h // _SHADOW_SCALE), -(-w // _SHADOW_SCALE)), np.uint8)
        for body, pose in zip(bodies, poses, strict=True):
            height = np.maximum(body[POINTS, 2].min(1), 0.0)
            flat = body.copy()
            # Light from above and a little from the left: the shadow leans off to the right.
            flat[:, 0] += 0.22 * body[:, 2]
            flat[:, 1] += 0.10 * body[:, 2]
            flat[:, 2] = 0.0
            pixels, depth = self.project(flat)
            radii = (RADII * 1.15 + 0.02 * height[:, None]) * self._focal / depth[POINTS]
            polygons = outlines(pixels[POINTS] / _SHADOW_SCALE, radii / _SHADOW_SCALE, (BASE,))
            strength = 185.0 * np.exp(-height / 0.55) + 40.0
            strength[hidden_solids(pose.unseen)] *= (
                0.0 if self._unseen is UnseenName.HIDE else _GHOST
            )
            for k in np.argsort(strength):
                value = float(strength[k]) * (_GHOST if pose.pose2d.predicted else 1.0)
                cv2.fillConvexPoly(small, polygons[k, 0], (value,), cv2.LINE_AA, SUBPIXEL_BITS)
        rows = np.flatnonzero(small.any(1))
        cols = np.flatnonzero(small.any(0))
        if not len(rows):
            return
        pad = 4
        r0, r1 = max(rows[0] - pad, 0), min(rows[-1] + 1 + pad, small.shape[0])
        c0, c1 = max(cols[0] - pad, 0), min(cols[-1] + 1 + pad, small.shape[1])
        blurred = 255 - cv2.GaussianBlur(small[r0:r1, c0:c1], (0, 0), 1.4)
        area = image[
            r0 * _SHADOW_SCALE : r1 * _SHADOW_SCALE, c0 * _SHADOW_SCALE : c1 * _SHADOW_SCALE
        ]
        full = cv2.resize(
            blurred,
            ((c1 - c0) * _SHADOW_SCALE, (r1 - r0) * _SHADOW_SCALE),
            interpolation=cv2.INTER_LINEAR,
        )[: area.shape[0], : area.shape[1]]
        area[:] = cv2.multiply(area, cv2.cvtColor(full, cv2.COLOR_GRAY2BGR), scale=1.0 / 255.0)


@cache
def _metre_lines(half: float) -> Array:
    """(N, 9, 3) lines on the floor in both directions, `half` metres to all sides.

    In pieces, since a line that passes behind the camera cannot be projected.
    """
    offset, along = np.meshgrid(
        np.arange(-half, half + 1.0), np.linspace(-half, half, 9), indexing="ij"
    )
    lines = np.zeros((2, *offset.shape, 3))
    lines[0, ..., 0], lines[0, ..., 1] = offset, along
    lines[1, ..., 0], lines[1, ..., 1] = along, offset
    return lines.reshape(-1, *lines.shape[2:])
