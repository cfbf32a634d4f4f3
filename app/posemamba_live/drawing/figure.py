"""A 3D skeleton on a floor, drawn with OpenCV alone: the recorder's right-hand picture.

No GPU and no window are needed. The picture is built back to front: a cached backdrop,
metre lines on the floor fading into the distance, a soft shadow where the body touches the
floor, then limbs as tapered capsules from the farthest to the nearest. Each capsule is a
few nested convex polygons from dark rim to highlight, which reads as a rounded surface.
All outlines of a frame are computed in one go; OpenCV only fills them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from posemamba.skeleton import (
    HEAD,
    HIP,
    L_ANKLE,
    L_ELBOW,
    L_HIP,
    L_KNEE,
    L_SHOULDER,
    L_WRIST,
    NOSE,
    NUM_JOINTS,
    R_ANKLE,
    R_ELBOW,
    R_HIP,
    R_KNEE,
    R_SHOULDER,
    R_WRIST,
    SPINE,
    THORAX,
)
from posemamba_live.drawing.colours import BACKGROUND, FLOOR, GRID, PALETTE, person_colors
from posemamba_live.drawing.overlay import SUBPIXEL_BITS, fixed_point, number
from posemamba_live.types import Image, Pose3D

Array = NDArray[np.float64]

_SKULL, _R_SOLE, _L_SOLE = range(NUM_JOINTS, NUM_JOINTS + 3)
"""Indices of extra points: the middle of the head, and the shanks' ends on the floor."""
_SOLE_DROP: Final = 0.045
"""Metres from the ankle joint to the end of the shank; its radius reaches the floor."""
_HEAD_RADIUS: Final = 0.105

_CAPSULES: Final = np.array(
    [
        (R_HIP, R_KNEE, 0.070, 0.048, R_KNEE), (R_KNEE, R_ANKLE, 0.048, 0.034, R_ANKLE),
        (L_HIP, L_KNEE, 0.070, 0.048, L_KNEE), (L_KNEE, L_ANKLE, 0.048, 0.034, L_ANKLE),
        (HIP, R_HIP, 0.070, 0.066, R_HIP), (HIP, L_HIP, 0.070, 0.066, L_HIP),
        (HIP, SPINE, 0.074, 0.066, SPINE), (SPINE, THORAX, 0.066, 0.060, SPINE),
        (THORAX, R_SHOULDER, 0.054, 0.050, R_SHOULDER),
        (THORAX, L_SHOULDER, 0.054, 0.050, L_SHOULDER),
        (R_SHOULDER, R_ELBOW, 0.048, 0.037, R_ELBOW), (R_ELBOW, R_WRIST, 0.037, 0.027, R_WRIST),
        (L_SHOULDER, L_ELBOW, 0.048, 0.037, L_ELBOW), (L_ELBOW, L_WRIST, 0.037, 0.027, L_WRIST),
        (THORAX, _SKULL, 0.044, 0.044, SPINE), (_SKULL, _SKULL, _HEAD_RADIUS, _HEAD_RADIUS, HEAD),
        (NOSE, NOSE, 0.020, 0.020, HEAD),
        (R_WRIST, R_WRIST, 0.040, 0.040, R_WRIST), (L_WRIST, L_WRIST, 0.040, 0.040, L_WRIST),
        (R_ANKLE, _R_SOLE, 0.038, 0.040, R_ANKLE), (L_ANKLE, _L_SOLE, 0.038, 0.040, L_ANKLE),
    ]
)  # fmt: skip
"""Limbs: from point, to point, radius (m) at both, joint that gives the colour."""
_FROM: Final = _CAPSULES[:, 0].astype(int)
_TO: Final = _CAPSULES[:, 1].astype(int)
_RADII: Final = _CAPSULES[:, 2:4]
_COLOR_JOINT: Final = _CAPSULES[:, 4].astype(int)

_LAYERS: Final = (
    # radius factor, radius in pixels added, shift to the light (share of radius), colour gain
    (1.00, 1.3, 0.00, 0.28),
    (1.00, 0.0, 0.00, 0.66),
    (0.86, 0.0, 0.10, 0.86),
    (0.62, 0.0, 0.22, 1.02),
    (0.30, 0.0, 0.38, 1.18),
)
_LIGHT: Final = np.array([-0.55, -0.83])
"""Direction to the light in the picture."""
_ARC: Final = np.linspace(0.0, 1.0, 12)
_GRID_HALF: Final = 6
"""Metre lines on either side of the middle of the view."""
_DEFAULT_TARGET: Final = np.array([0.0, 4.0, 0.88])
"""World metres: what the camera looks at before anybody came; the height is kept."""
_PERSON_RADIUS: Final = 1.18
"""Metres around the target that fit into the picture: a person with arms raised, nearly."""
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
    """Draws people in the world frame; keeps its camera gliding along with them.

    Args:
        size: (W, H) of the picture in pixels.
        view: where to look from.
    """

    def __init__(self, size: tuple[int, int], view: ViewPoint | None = None) -> None:
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
        self._target: Array = _DEFAULT_TARGET
        self._met = False
        self._radius = _PERSON_RADIUS
        self._time = 0.0
        self._backdrop, self._fade = self._paint_backdrop()

    def draw(self, poses: Sequence[Pose3D], timestamp: float) -> Image:
        """One picture.

        Args:
            poses: everybody in this frame.
            timestamp: seconds; the camera's movement follows this clock.

        Returns:
            (H, W, 3) BGR, new.
        """
        bodies = [_with_extras(pose.joints_world) for pose in poses]
        self._follow(bodies, timestamp)
        image = self._backdrop.copy()
        self._draw_grid(image)
        if bodies:
            self._draw_shadow(image, bodies, [p.pose2d.predicted for p in poses])
        seen = [(b, p) for b, p in zip(bodies, poses, strict=True) if not p.pose2d.predicted]
        ghosts = [(b, p) for b, p in zip(bodies, poses, strict=True) if p.pose2d.predicted]
        if ghosts:
            layer = image.copy()
            self._draw_bodies(layer, ghosts)
            image = np.asarray(cv2.addWeighted(layer, _GHOST, image, 1.0 - _GHOST, 0.0), np.uint8)
        if seen:
            self._draw_bodies(image, seen)
        if len(poses) > 1:
            heads = np.array([body[HEAD] for body in bodies])
            heads[:, 2] += _NUMBER_ABOVE
            for pose, (x, y) in zip(poses, self._project(heads)[0], strict=True):
                number(image, pose.person_id, (float(x), float(y)), min(self.size) / 900.0)
        return image

    def _follow(self, bodies: list[Array], timestamp: float) -> None:
        """Glide towards the middle of the people; widen the view only when they spread."""
        dt = max(timestamp - self._time, 0.0)
        self._time = timestamp
        if not bodies:
            return
        hips = np.array([b[HIP, :2] for b in bodies])
        middle = 0.5 * (hips.min(0) + hips.max(0))
        goal = np.array([middle[0], middle[1], _DEFAULT_TARGET[2]])
        spread = _PERSON_RADIUS + float(np.linalg.norm(hips - middle, axis=1).max())
        if not self._met or dt > 1.0:
            self._met, self._target, self._radius = True, goal, spread
            return
        share = 1.0 - math.exp(-dt / 0.3)
        self._target = self._target + share * (goal - self._target)
        self._radius += (1.0 - math.exp(-dt / 1.5)) * (spread - self._radius)

    def _project(self, points: Array) -> tuple[Array, Array]:
        """(..., 3) world metres to (..., 2) pixels and (...,) depth in metres."""
        w, h = self.size
        view = (points - self._target) @ self._axes.T
        depth = np.maximum(view[..., 2] + self._distance, 0.2)
        pixels = self._focal * view[..., :2] / depth[..., None] + [0.5 * w, 0.52 * h]
        return pixels, depth

    @property
    def _distance(self) -> float:
        """Metres from the virtual camera to what it looks at: people fill the picture."""
        return self._radius * 2.0 * self._focal / min(self.size)

    def _paint_backdrop(self) -> tuple[Image, Image]:
        """Floor glow that fades into the dark, and the same fade as a mask for the grid."""
        w, h = self.size
        x = (np.arange(w) + 0.5 - 0.5 * w)[None, :]
        y = (np.arange(h) + 0.5 - 0.52 * h)[:, None]
        rays = x[..., None] * self._axes[0] + y[..., None] * self._axes[1]
        rays = rays + self._focal * self._axes[2]
        # Where each pixel's ray meets the floor, for a camera at its usual distance.
        eye = np.array([0.0, 0.0, _DEFAULT_TARGET[2]]) - self._distance * self._axes[2]
        down = np.minimum(rays[..., 2], -1e-6)
        floor = eye[:2] - rays[..., :2] * (eye[2] / down)[..., None]
        fade = np.exp(-((floor**2).sum(-1) / 2.6**2)) * (rays[..., 2] < 0.0)
        near = np.array(FLOOR)[::-1] * 255.0
        far = np.array(BACKGROUND)[::-1] * 255.0
        horizon = np.exp(-((y / (0.55 * h)) ** 2))[..., None] * np.array([5.0, 4.0, 3.5])
        backdrop = far + horizon + fade[..., None] * (near - far) * 1.5
        # Half a level of noise hides the steps of an 8-bit gradient.
        backdrop = backdrop + np.random.default_rng(0).uniform(-0.5, 0.5, backdrop.shape)
        lines = fade[..., None] * (np.array(GRID) - np.array(FLOOR))[::-1] * 255.0 * 1.6
        return (
            np.clip(np.rint(backdrop), 0, 255).astype(np.uint8),
            np.clip(np.rint(lines), 0, 255).astype(np.uint8),
        )

    def _draw_grid(self, image: Image) -> None:
        """Metre lines. They belong to the world, so they pass by as the camera follows."""
        cx, cy = np.round(self._target[:2])
        span = np.arange(-_GRID_HALF, _GRID_HALF + 1.0)
        ends = []
        # Short pieces, since a line that passes behind the camera cannot be projected.
        along = np.linspace(-_GRID_HALF, _GRID_HALF, 5)
        for offset in span:
            ends.append([(cx + offset, cy + s, 0.0) for s in along])
            ends.append([(cx + s, cy + offset, 0.0) for s in along])
        pixels, depth = self._project(np.array(ends))
        visible = [
            line[keep]
            for line, keep in zip(fixed_point(np.clip(pixels, -2e4, 2e4)), depth > 0.5, strict=True)
            if keep.sum() > 1
        ]
        mask = np.zeros(image.shape[:2], np.uint8)
        cv2.polylines(mask, visible, False, (255,), 1, cv2.LINE_AA, SUBPIXEL_BITS)
        top = int(self._fade.any(axis=(1, 2)).argmax())
        lit = cv2.multiply(
            cv2.cvtColor(mask[top:], cv2.COLOR_GRAY2BGR), self._fade[top:], scale=1.0 / 255.0
        )
        image[top:] = cv2.add(image[top:], lit)

    def _draw_shadow(self, image: Image, bodies: list[Array], ghosts: list[bool]) -> None:
        """Darken the floor under the body: near the floor strongly, high above it hardly."""
        w, h = self.size
        small = np.zeros((-(-h // _SHADOW_SCALE), -(-w // _SHADOW_SCALE)), np.uint8)
        for body, ghost in zip(bodies, ghosts, strict=True):
            height = np.maximum(np.minimum(body[_FROM, 2], body[_TO, 2]), 0.0)
            flat = body.copy()
            # Light from above and a little from the left: the shadow leans off to the right.
            flat[:, 0] += 0.22 * body[:, 2]
            flat[:, 1] += 0.10 * body[:, 2]
            flat[:, 2] = 0.0
            outlines, _ = self._outlines(flat, _RADII * 1.15 + 0.02 * height[:, None])
            strength = 185.0 * np.exp(-height / 0.55) + 40.0
            polygons = fixed_point(outlines[0] / _SHADOW_SCALE)
            for k in np.argsort(strength):
                value = float(strength[k]) * (_GHOST if ghost else 1.0)
                cv2.fillConvexPoly(small, polygons[k], (value,), cv2.LINE_AA, SUBPIXEL_BITS)
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

    def _draw_bodies(self, image: Image, people: list[tuple[Array, Pose3D]]) -> None:
        """Fill all capsules of all people, farthest first."""
        polygons, depths, colors = [], [], []
        for body, pose in people:
            outlines, depth = self._outlines(body, _RADII)
            base = _capsule_colors(pose.person_id % len(PALETTE))
            # Farther limbs sink a little into the background: an aid to seeing depth.
            fog = np.clip(0.5 + 0.9 * (depth - self._distance), 0.0, 1.0)[:, None] * 0.30
            base = base * (1.0 - fog) + np.array(BACKGROUND)[::-1] * fog
            polygons.append(fixed_point(np.clip(outlines, -2e4, 2e4)).swapaxes(0, 1))
            depths.append(depth)
            colors.append(255.0 * base)
        shapes = np.concatenate(polygons)
        tones = np.concatenate(colors)[:, None] * np.array([g for *_, g in _LAYERS])[:, None]
        bgr = np.minimum(tones, 255.0).tolist()
        for k in np.argsort(-np.concatenate(depths)):
            for polygon, color in zip(shapes[k], bgr[k], strict=True):
                cv2.fillConvexPoly(image, polygon, color, cv2.LINE_AA, SUBPIXEL_BITS)

    def _outlines(self, body: Array, radii: Array) -> tuple[Array, Array]:
        """Outlines of all capsules in all layers.

        Args:
            body: (20, 3) world metres.
            radii: (C, 2) metres at both ends.

        Returns:
            (L, C, P, 2) pixels, and (C,) depth of each capsule's middle in metres.
        """
        pixels, depth = self._project(body)
        a, b = pixels[_FROM], pixels[_TO]
        size = radii * self._focal / np.stack([depth[_FROM], depth[_TO]], 1)
        layers = np.array([layer[:3] for layer in _LAYERS])[:, :, None]
        r = size[None] * layers[:, :1] + layers[:, 1:2]  # (L, C, 2)
        shift = size[None, ..., None] * layers[:, 2:, :, None] * _LIGHT  # (L, C, 2, 2)

        along = b - a
        length = np.maximum(np.linalg.norm(along, axis=1), 1e-6)
        angle = np.arctan2(along[:, 1], along[:, 0])
        # Common tangents touch both circles at this angle from the axis.
        touch = np.arccos(np.clip((r[..., 0] - r[..., 1]) / length, -1.0, 1.0))[..., None]
        first = angle[:, None] + touch + (2.0 * math.pi - 2.0 * touch) * _ARC
        second = angle[:, None] - touch + 2.0 * touch * _ARC
        outline = np.concatenate(
            [
                (a + shift[..., 0, :])[..., None, :] + r[..., 0, None, None] * _circle(first),
                (b + shift[..., 1, :])[..., None, :] + r[..., 1, None, None] * _circle(second),
            ],
            axis=-2,
        )
        return outline, 0.5 * (depth[_FROM] + depth[_TO])


@cache
def _capsule_colors(person: int) -> Array:
    """(C, 3) BGR, 0 to 1."""
    colors = person_colors(person)
    return np.array([colors.joint(int(joint)) for joint in _COLOR_JOINT])[:, ::-1]


def _circle(angles: Array) -> Array:
    return np.stack([np.cos(angles), np.sin(angles)], -1)


def _with_extras(joints: NDArray[np.floating[Any]]) -> Array:
    """(17, 3) metres to (20, 3): with the middle of the head and the soles."""
    body = np.asarray(joints, np.float64)
    # The middle of the head lies below the crown, where the joint Head is.
    up = body[HEAD] - body[THORAX]
    skull = body[HEAD] - up * (0.9 * _HEAD_RADIUS / max(float(np.linalg.norm(up)), 1e-6))
    shanks = body[[R_ANKLE, L_ANKLE]] - body[[R_KNEE, L_KNEE]]
    drop = _SOLE_DROP / np.maximum(np.linalg.norm(shanks, axis=1, keepdims=True), 1e-6)
    return np.concatenate([body, skull[None], body[[R_ANKLE, L_ANKLE]] + drop * shanks])
