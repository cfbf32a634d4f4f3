"""Animated WebP, which FFmpeg does not decode. APNG and GIF are read as videos."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from posemamba_live.errors import SourceError
from posemamba_live.sources.base import MAX_PIXELS, Source, printable, too_large, turned
from posemamba_live.types import Frame, Image

_LEAST_MS: Final = 11
_HURRIED_MS: Final = 100
"""What is to last for less than _LEAST_MS lasts so long in browsers."""


class AnimatedWebp(Source):
    """The pictures of an animated WebP at their times; transparent pixels are black.

    Args:
        path: the file.
        start, end: seconds; pictures with start <= timestamp < end.
        max_frames: how many pictures at most.
        rotate: degrees clockwise.

    Raises:
        SourceError: it cannot be decoded, or is beyond all measure.
    """

    live = False

    def __init__(
        self,
        path: Path,
        *,
        start: float = 0.0,
        end: float | None = None,
        max_frames: int | None = None,
        rotate: int = 0,
    ) -> None:
        from PIL import Image as pillow

        self.name = printable(path.name)
        self._start, self._end, self._max_frames = start, end, max_frames
        self._rotate = rotate
        try:
            self._file = pillow.open(path)
        except (OSError, pillow.DecompressionBombError) as error:
            raise SourceError(
                f"Cannot read {printable(str(path))}", why=str(error), hint="check that it plays"
            ) from error
        width, height = self._file.size
        if width * height > MAX_PIXELS:
            raise too_large(self.name, width, height)
        self.size = (height, width) if rotate % 180 else (width, height)
        self._times = self._start_times()
        self.frame_count = min(
            sum(self._wanted(seconds) for seconds in self._times[:-1]), max_frames or 10**9
        )

    @property
    def fps(self) -> float:
        return (len(self._times) - 1) / self._times[-1]

    def __iter__(self) -> Iterator[Frame]:
        delivered = 0
        for index, seconds in enumerate(self._times[:-1]):
            if delivered == self._max_frames:
                return
            if self._wanted(seconds):
                yield Frame(index, seconds, self._picture(index), time.monotonic())
                delivered += 1
        if not delivered:
            raise SourceError(
                f"{self.name} has no frames in the part asked for",
                why=f"it has {len(self._times) - 1} frames, {self._times[-1]:.2f} s",
                hint="an earlier --start",
            )

    def close(self) -> None:
        self._file.close()

    def _wanted(self, seconds: float) -> bool:
        return self._start - 1e-4 <= seconds and (self._end is None or seconds < self._end - 1e-4)

    def _start_times(self) -> list[float]:
        """Seconds at which each picture begins, and at which the last one ends."""
        times = [0.0]
        for index in range(getattr(self._file, "n_frames", 1)):
            self._file.seek(index)
            self._file.load()  # only then its duration is known
            lasts = int(self._file.info.get("duration", 0))
            times.append(times[-1] + (lasts if lasts >= _LEAST_MS else _HURRIED_MS) / 1e3)
        return times

    def _picture(self, index: int) -> Image:
        self._file.seek(index)
        rgba = np.asarray(self._file.convert("RGBA"))
        bgr = rgba[..., 2::-1] * (rgba[..., 3:] > 0)
        return turned(np.ascontiguousarray(bgr, np.uint8), self._rotate)
