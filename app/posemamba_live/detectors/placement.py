"""Where a part of the picture lies in a network's input, and the way back.

Positions are those of DESIGN everywhere: a pixel's centre is at half integers, in the
picture and in the input alike. Networks of the OpenMMLab family answer in indices, where
the centre of the first pixel is 0: half a pixel is added to what they say. OpenCV's
`resize` works with centres at half integers, `warpAffine` with indices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from posemamba_live.detectors.base import Region
from posemamba_live.types import Detection, FloatArray, Image

PAD: Final = 114
"""Grey around a picture that does not fill the input, as in training."""
SEEN: Final = 0.3
"""Score from which a keypoint counts as seen."""
_BOX_GROWTH: Final = 1.2
"""Person's box relative to that of their keypoints: those end at nose, wrists and ankles."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Picture position = origin + scale * input position."""

    origin: tuple[float, float]
    """Pixels of the picture, of the input's top left corner."""
    scale: tuple[float, float]
    """Pixels of the picture per pixel of the input, across and down."""

    def to_picture(self, points: NDArray[np.floating[Any]]) -> FloatArray:
        """(..., 2) positions in the input to positions in the picture."""
        moved = np.asarray(points) * np.array(self.scale) + np.array(self.origin)
        return np.asarray(moved, np.float32)


def letterbox(image: Image, size: tuple[int, int]) -> tuple[Image, Placement]:
    """Fit a picture into the top left corner of an input, the rest of it grey.

    Args:
        image: (H, W, 3).
        size: W, H of the input.

    Returns:
        (H', W', 3) input and where the picture is in it.
    """
    height, width = image.shape[:2]
    ratio = min(size[0] / width, size[1] / height)
    # The last column of a very narrow picture still has to be somewhere.
    fitted = max(1, round(width * ratio)), max(1, round(height * ratio))
    out = np.full((size[1], size[0], 3), PAD, np.uint8)
    out[: fitted[1], : fitted[0]] = cv2.resize(image, fitted, interpolation=cv2.INTER_LINEAR)
    return out, Placement((0.0, 0.0), (width / fitted[0], height / fitted[1]))


def place_box(box: NDArray[np.floating[Any]], size: tuple[int, int], margin: float) -> Placement:
    """Put a box, grown by `margin`, into the middle of an input of another aspect ratio.

    Args:
        box: (4,) left, top, right, bottom, pixels.
        size: W, H of the input.
        margin: factor on the box's width and height.
    """
    left, top, right, bottom = (float(edge) for edge in box)
    scale = margin * max((right - left) / size[0], (bottom - top) / size[1], 1e-3)
    centre = 0.5 * (left + right), 0.5 * (top + bottom)
    origin = centre[0] - 0.5 * scale * size[0], centre[1] - 0.5 * scale * size[1]
    return Placement(origin, (scale, scale))


def cut_out(image: Image, placement: Placement, size: tuple[int, int]) -> Image:
    """(H', W', 3) input: the part of the picture that `placement` says, black outside of it."""
    # picture index + 1/2 = origin + scale * (input index + 1/2)
    (x0, y0), (sx, sy) = placement.origin, placement.scale
    to_picture = np.array(
        [[sx, 0.0, x0 + 0.5 * sx - 0.5], [0.0, sy, y0 + 0.5 * sy - 0.5]], np.float64
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(image, to_picture, size, flags=flags), np.uint8)


def planes(
    picture: Image,
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
    *,
    rgb: bool = False,
) -> FloatArray:
    """(H, W, 3) BGR, 0 to 255, to (3, H, W) as networks take it.

    Args:
        mean, std: a value goes in as (value - mean) / std, in the order of the planes.
        rgb: red first.
    """
    out = np.empty((3, *picture.shape[:2]), np.float32)
    for plane, channel in enumerate((2, 1, 0) if rgb else (0, 1, 2)):
        factor = np.float32(1.0 / std[plane])
        np.multiply(picture[..., channel], factor, out=out[plane])
        out[plane] -= np.float32(mean[plane]) * factor
    return out


def around_seen(detection: Detection, limits: FloatArray, score: float = 1.0) -> Region | None:
    """The box of what is seen of somebody, within a picture of (2,) W, H.

    Returns:
        None where nothing is seen, or nothing within the picture.
    """
    points, scores = detection.keypoints, detection.scores
    if detection.extra is not None:  # feet and hands
        points = np.concatenate([points, detection.extra.points])
        scores = np.concatenate([scores, detection.extra.scores])
    points = points[scores >= SEEN]
    if not len(points):
        return None
    low, high = points.min(0), points.max(0)
    grown = 0.5 * (_BOX_GROWTH - 1.0) * (high - low)
    corners = np.clip([low - grown, high + grown], 0.0, limits)
    if not (corners[1] > corners[0]).all():
        return None
    return Region.of_box(np.asarray(corners, np.float32).reshape(4), score)
