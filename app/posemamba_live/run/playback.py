"""What was shown of a film that is only watched, so that it can be stepped through and played
again."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from posemamba_live.run.assembly import Picture
from posemamba_live.types import Image

_SIDE: Final = 640
"""Pixels of the longer side of pictures that are kept; the window's are smaller."""
_MOST_BYTES: Final = 384 << 20
"""Of all pictures together; the oldest are forgotten."""
_QUALITY: Final = 85
_NO_PICTURE: Final[Image] = np.zeros((1, 1, 3), np.uint8)


@dataclass(frozen=True, slots=True)
class _Kept:
    picture: Picture
    """Without what its frame shows."""
    size: tuple[int, int]
    coded: NDArray[np.uint8]


class Playback:
    """The pictures so far and a place among them; the calling thread's alone.

    Args:
        most_bytes: of coded pictures.
    """

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._kept: deque[_Kept] = deque()
        self._most, self._bytes = most_bytes, 0
        self._place = -1

    @property
    def at_end(self) -> bool:
        """Whether the newest picture is the one that is shown."""
        return self._place >= len(self._kept) - 1

    def add(self, picture: Picture) -> None:
        """Take the next picture and go there."""
        frame = picture.frame
        scale = min(1.0, _SIDE / max(frame.size))
        small = frame.image
        if scale < 1.0:
            size = (max(1, round(frame.size[0] * scale)), max(1, round(frame.size[1] * scale)))
            small = np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_AREA), np.uint8)
        coded = np.asarray(
            cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1], np.uint8
        )
        bare = replace(picture, frame=replace(frame, image=_NO_PICTURE))
        self._kept.append(_Kept(bare, frame.size, coded))
        self._bytes += coded.nbytes
        while self._bytes > self._most and len(self._kept) > 1:
            self._bytes -= self._kept.popleft().coded.nbytes
        self._place = len(self._kept) - 1

    def step(self, by: int) -> Picture | None:
        """Go on or back so many pictures; None if there is none."""
        return self._go(self._place + by)

    def first(self) -> Picture | None:
        """Go back to the first one that is kept."""
        return self._go(0)

    def seconds_to_next(self) -> float:
        """The film's own time from this picture to the next; 0 where there is none."""
        if self.at_end:
            return 0.0
        here, after = (self._kept[self._place + i].picture.frame.timestamp for i in (0, 1))
        return max(0.0, after - here)

    def _go(self, place: int) -> Picture | None:
        if not 0 <= place < len(self._kept):
            return None
        self._place = place
        kept = self._kept[place]
        image = np.asarray(cv2.imdecode(kept.coded, cv2.IMREAD_COLOR), np.uint8)
        if (image.shape[1], image.shape[0]) != kept.size:
            image = np.asarray(cv2.resize(image, kept.size), np.uint8)
        return replace(kept.picture, frame=replace(kept.picture.frame, image=image))
