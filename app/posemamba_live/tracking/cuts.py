"""Cuts of an edited film: pictures that have little to do with the one before."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from posemamba_live.types import Frame, Image

_THUMBNAIL: Final = (32, 18)
_LEVELS: Final = 10.0
"""Mean difference of two thumbnails, of 255 levels, from which it may be a cut."""
_SUDDEN: Final = 4.0
"""How much more than the differences of late that has to be."""
_MEMORY: Final = 0.2
"""Weight of the newest difference in the mean of late."""


class CutDetector:
    """Tells cuts, jumps of a zoom and changes of the picture's size."""

    def __init__(self) -> None:
        self._last: NDArray[np.float32] | None = None
        self._size = (0, 0)
        self._usual = 0.0

    def __call__(self, frame: Frame) -> bool:
        """Whether this picture does not go on from the one before."""
        picture, before = thumbnail(frame.image), self._last
        resized = before is not None and frame.size != self._size
        self._last, self._size = picture, frame.size
        if before is None:
            return False
        change = float(np.abs(picture - before).mean())
        sudden = change > max(_LEVELS, _SUDDEN * self._usual)
        if not sudden:
            self._usual += _MEMORY * (change - self._usual)
        return resized or sudden


def thumbnail(image: Image) -> NDArray[np.float32]:
    """(18, 32) levels of green, of every few pixels: cheap, and blind to noise."""
    step = max(1, min(image.shape[0] // 72, image.shape[1] // 128))
    green = np.ascontiguousarray(image[::step, ::step, 1])
    small = cv2.resize(green, _THUMBNAIL, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)
