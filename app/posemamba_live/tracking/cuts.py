"""What of a picture has changed: cuts of an edited film, and whether somebody may have come."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

import cv2
import numpy as np

from posemamba_live.types import FloatArray, Frame, Image

_THUMBNAIL: Final = (32, 18)
_LEVELS: Final = 10.0
"""Mean difference of two thumbnails, of 255 levels, from which it may be a cut."""
_SUDDEN: Final = 4.0
"""How much more than the differences of late that has to be."""
_MEMORY: Final = 0.2
"""Weight of the newest difference in the mean of late."""
_CHANGED: Final = 8.0
"""Difference of one cell of two thumbnails, of 255 levels, from which something is there."""


class CutDetector:
    """Tells cuts, jumps of a zoom and changes of the picture's size."""

    def __init__(self) -> None:
        self.picture: FloatArray | None = None
        """The thumbnail of the last picture."""
        self._size = (0, 0)
        self._usual = 0.0

    def __call__(self, frame: Frame) -> bool:
        """Whether this picture does not go on from the one before."""
        picture, before = thumbnail(frame.image), self.picture
        resized = before is not None and frame.size != self._size
        self.picture, self._size = picture, frame.size
        if before is None:
            return False
        change = float(np.abs(picture - before).mean())
        sudden = change > max(_LEVELS, _SUDDEN * self._usual)
        if not sudden:
            self._usual += _MEMORY * (change - self._usual)
        return resized or sudden


def changed(
    before: FloatArray, picture: FloatArray, size: tuple[int, int], boxes: Iterable[FloatArray]
) -> bool:
    """Whether two thumbnails differ anywhere else than where people are.

    Args:
        size: W, H of the picture.
        boxes: (4,) each, left, top, right, bottom in pixels of the picture.
    """
    differs = np.abs(picture - before) > _CHANGED
    across, down = _THUMBNAIL[0] / size[0], _THUMBNAIL[1] / size[1]
    for box in boxes:
        left, top, right, bottom = box.tolist()
        rows = slice(max(math.floor(top * down), 0), max(math.ceil(bottom * down), 0))
        columns = slice(max(math.floor(left * across), 0), max(math.ceil(right * across), 0))
        differs[rows, columns] = False
    return bool(differs.any())


def thumbnail(image: Image) -> FloatArray:
    """(18, 32) levels of green, of every few pixels: cheap, and blind to noise."""
    step = max(1, min(image.shape[0] // 72, image.shape[1] // 128))
    green = np.ascontiguousarray(image[::step, ::step, 1])
    small = cv2.resize(green, _THUMBNAIL, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)
