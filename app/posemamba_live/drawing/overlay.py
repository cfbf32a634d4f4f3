"""The keypoints over the camera picture, drawn with OpenCV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from posemamba.skeleton import BONES, HEAD, HIP, NUM_JOINTS, THORAX
from posemamba_live.drawing.colours import BACKGROUND, BONE_JOINT, person_colors, to_bgr8
from posemamba_live.drawing.text import put_text, text_width
from posemamba_live.types import ALL_SEEN, Image, Pose2D

SUBPIXEL_BITS: Final = 4
"""OpenCV takes fixed-point coordinates; 1/16 pixel keeps slow movement from stepping."""
_SUBPIXEL: Final = 1 << SUBPIXEL_BITS
_UNIT: Final = 260.0
"""Pixels from head to foot below which lines get thinner with the person: they would cover it."""
_TORSOS: Final = 3.4
"""Of a torso's length, the height of who stands."""
_THIN: Final = 0.4
"""Below so much of the usual width lines have no rim."""
_UNSURE: Final = 0.4
"""Confidence below which a joint is drawn faint: it is guessed or outside the picture."""


def fixed_point(pixels: NDArray[np.floating[Any]]) -> NDArray[np.int32]:
    """Positions whose pixel centres are at half integers, as OpenCV's fixed-point integers."""
    return np.asarray(np.rint((pixels - 0.5) * _SUBPIXEL), np.int32)


def draw_overlay(
    image: Image,
    poses: Sequence[Pose2D],
    *,
    scale: float = 1.0,
    hidden: Sequence[NDArray[np.bool_]] | None = None,
) -> Image:
    """Draw keypoints and bones over a picture, in place.

    Bones between confident joints are solid with a dark rim; unsure ones are thin and dim,
    and whole poses that were filled in (`predicted`) are thin.

    Args:
        image: (H, W, 3) BGR.
        poses: keypoints in pixels of the source.
        scale: size of `image` relative to the source picture.
        hidden: (17,) joints of each pose that are left out.

    Returns:
        `image` itself.
    """
    most = max(min(image.shape[:2]) / 360.0, 0.5)
    rim = to_bgr8(BACKGROUND)
    for pose, left_out in zip(poses, hidden or [ALL_SEEN] * len(poses), strict=True):
        colors = person_colors(pose.person_id)
        joint_colors = [colors.joint(j) for j in range(NUM_JOINTS)]
        # Far outside, fixed-point coordinates would overflow; clipping there is invisible.
        xy = np.clip(pose.keypoints * scale, -1e4, 1e4)
        points = [(int(x), int(y)) for x, y in fixed_point(xy)]
        sure = [bool(s >= _UNSURE) and not pose.predicted for s in pose.scores]
        solid = [sure[a] and sure[b] for a, b in BONES]
        unit = min(most, _extent(xy, pose.scores) / _UNIT)

        for (a, b), is_solid in zip(BONES, solid, strict=True):
            if is_solid and unit > _THIN:
                _line(image, points[a], points[b], rim, 4.5 * unit)
        for (a, b), joint, is_solid in zip(BONES, BONE_JOINT, solid, strict=True):
            if left_out[a] or left_out[b]:
                continue
            color = to_bgr8(joint_colors[joint], 1.0 if is_solid else 0.6)
            _line(image, points[a], points[b], color, (2.5 if is_solid else 1.0) * unit)
        for joint, point in enumerate(points):
            if sure[joint]:
                radius = round(max(3.0 * unit, 1.0) * _SUBPIXEL)
                if unit > _THIN:
                    _disc(image, point, radius + round(1.2 * unit * _SUBPIXEL), rim)
                _disc(image, point, radius, to_bgr8(joint_colors[joint]))
    return image


def _extent(xy: NDArray[np.floating[Any]], scores: NDArray[np.floating[Any]]) -> float:
    """How large a person is in the picture: pixels from head to foot, as if they stood."""
    seen = xy[scores >= _UNSURE]
    span = float(np.hypot(*np.ptp(seen, axis=0))) if len(seen) > 1 else 0.0
    return max(span, _TORSOS * float(np.linalg.norm(xy[THORAX] - xy[HIP])))


def draw_numbers(
    image: Image, poses: Sequence[Pose2D], *, scale: float = 1.0, mirror: bool = False
) -> Image:
    """Write each person's number over their head, in place, if there is more than one.

    Args:
        image, scale: as for `draw_overlay`.
        mirror: the picture has been mirrored since.
    """
    if len(poses) < 2:
        return image
    size = max(14.0, min(image.shape[:2]) / 22.0)
    for pose in poses:
        x, y = scale * pose.keypoints[HEAD]
        x = image.shape[1] - x if mirror else x
        number(image, pose.person_id, (float(x), float(y) - 0.5 * size), size)
    return image


def number(image: Image, person_id: int, foot: tuple[float, float], size: float) -> None:
    """Write a person's number in their colour, its lower middle at `foot`, in place.

    Args:
        size: of the letters, pixels from line to line.
    """
    text = str(person_id)
    r, g, b = (min(1.0, 1.2 * part) for part in person_colors(person_id).left)
    left = foot[0] - 0.5 * text_width(text, size=size, bold=True)
    put_text(image, text, (left, foot[1]), size=size, color=(r, g, b), rim=True, bold=True)


def _line(
    image: Image, a: tuple[int, int], b: tuple[int, int], bgr: tuple[int, int, int], width: float
) -> None:
    cv2.line(image, a, b, bgr, max(1, round(width)), cv2.LINE_AA, SUBPIXEL_BITS)


def _disc(image: Image, centre: tuple[int, int], radius: int, bgr: tuple[int, int, int]) -> None:
    cv2.circle(image, centre, radius, bgr, cv2.FILLED, cv2.LINE_AA, SUBPIXEL_BITS)
