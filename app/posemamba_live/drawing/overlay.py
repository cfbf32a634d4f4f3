"""2D drawing with OpenCV: the keypoint overlay, and text that reads on any picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from posemamba.skeleton import BONES, HEAD, NUM_JOINTS
from posemamba_live.drawing.colours import BACKGROUND, BONE_JOINT, TEXT, Rgb, person_colors, to_bgr8
from posemamba_live.types import Image, Pose2D

SUBPIXEL_BITS: Final = 4
"""OpenCV takes fixed-point coordinates; 1/16 pixel keeps slow movement from stepping."""
_SUBPIXEL: Final = 1 << SUBPIXEL_BITS
FONT: Final = cv2.FONT_HERSHEY_SIMPLEX
_UNSURE: Final = 0.4
"""Confidence below which a joint is drawn faint: it is guessed or outside the picture."""


def fixed_point(pixels: NDArray[np.floating[Any]]) -> NDArray[np.int32]:
    """Positions whose pixel centres are at half integers, as OpenCV's fixed-point integers."""
    return np.asarray(np.rint((pixels - 0.5) * _SUBPIXEL), np.int32)


def draw_overlay(image: Image, poses: Iterable[Pose2D], *, scale: float = 1.0) -> Image:
    """Draw keypoints and bones over a picture, in place.

    Bones between confident joints are solid with a dark rim; unsure ones are thin and dim,
    and whole poses that were filled in (`predicted`) are thin.

    Args:
        image: (H, W, 3) BGR.
        poses: keypoints in pixels of the source.
        scale: size of `image` relative to the source picture.

    Returns:
        `image` itself.
    """
    unit = max(min(image.shape[:2]) / 360.0, 0.5)
    rim = to_bgr8(BACKGROUND)
    for pose in poses:
        colors = person_colors(pose.person_id)
        joint_colors = [colors.joint(j) for j in range(NUM_JOINTS)]
        # Far outside, fixed-point coordinates would overflow; clipping there is invisible.
        xy = np.clip(pose.keypoints * scale, -1e4, 1e4)
        points = [(int(x), int(y)) for x, y in fixed_point(xy)]
        sure = [bool(s >= _UNSURE) and not pose.predicted for s in pose.scores]
        solid = [sure[a] and sure[b] for a, b in BONES]

        for (a, b), is_solid in zip(BONES, solid, strict=True):
            if is_solid:
                _line(image, points[a], points[b], rim, 4.5 * unit)
        for (a, b), joint, is_solid in zip(BONES, BONE_JOINT, solid, strict=True):
            color = to_bgr8(joint_colors[joint], 1.0 if is_solid else 0.6)
            _line(image, points[a], points[b], color, (2.5 if is_solid else 1.0) * unit)
        for joint, point in enumerate(points):
            if sure[joint]:
                radius = round(3.0 * unit * _SUBPIXEL)
                _disc(image, point, radius + round(1.2 * unit * _SUBPIXEL), rim)
                _disc(image, point, radius, to_bgr8(joint_colors[joint]))
    return image


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
    size = max(0.45, min(image.shape[:2]) / 600.0)
    for pose in poses:
        x, y = scale * pose.keypoints[HEAD]
        x = image.shape[1] - x if mirror else x
        number(image, pose.person_id, (float(x), float(y) - 12.0 * size), size)
    return image


def number(image: Image, person_id: int, foot: tuple[float, float], size: float) -> None:
    """Write a person's number in their colour, its lower middle at `foot`, in place."""
    text = str(person_id)
    width, height = text_width(text, scale=size), round(22 * size)
    left = min(max(foot[0] - width / 2, 2.0), image.shape[1] - width - 2.0)
    bottom = min(max(foot[1], height + 2.0), image.shape[0] - 4.0)
    color = person_colors(person_id).left
    origin = (round(left), round(bottom))
    cv2.putText(image, text, origin, FONT, size, to_bgr8(BACKGROUND), 5, cv2.LINE_AA)
    cv2.putText(image, text, origin, FONT, size, to_bgr8(color, 1.2), 2, cv2.LINE_AA)


def put_text(
    image: Image,
    text: str,
    origin: tuple[int, int],
    *,
    color: Rgb = TEXT,
    scale: float = 0.45,
    rim: bool = False,
) -> None:
    """Write one line with its left baseline end at `origin` (x, y), in place.

    Args:
        rim: add a dark outline, for text over a picture.
    """
    if rim:
        cv2.putText(image, text, origin, FONT, scale, to_bgr8(BACKGROUND), 3, cv2.LINE_AA)
    cv2.putText(image, text, origin, FONT, scale, to_bgr8(color), 1, cv2.LINE_AA)


def text_width(text: str, *, scale: float = 0.45) -> int:
    """Width in pixels of a line that `put_text` would write."""
    return int(cv2.getTextSize(text, FONT, scale, 1)[0][0])


def _line(
    image: Image, a: tuple[int, int], b: tuple[int, int], bgr: tuple[int, int, int], width: float
) -> None:
    cv2.line(image, a, b, bgr, max(1, round(width)), cv2.LINE_AA, SUBPIXEL_BITS)


def _disc(image: Image, centre: tuple[int, int], radius: int, bgr: tuple[int, int, int]) -> None:
    cv2.circle(image, centre, radius, bgr, cv2.FILLED, cv2.LINE_AA, SUBPIXEL_BITS)
