"""What every source of pictures offers, and what several of them need."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any, Final, Protocol

import cv2
import numpy as np

from posemamba_live.errors import SourceError
from posemamba_live.shown import public
from posemamba_live.types import Frame, Image

if TYPE_CHECKING:
    from typing_extensions import Self

logger = logging.getLogger(__name__)

_FFMPEG_LEVEL: Final = "OPENCV_FFMPEG_LOGLEVEL"
_FFMPEG_QUIET: Final = "-8"
MAX_PIXELS: Final = 100_000_000
"""Larger pictures are refused before they are decoded: they would take gigabytes."""
_LEAST_SQUEEZE: Final = 0.005
_MOST_SQUEEZE: Final = math.log(4.0)
"""Logarithms of the pixel aspects that are obeyed: less is rounding, more is a spoilt header."""
_LONG_GAP_S: Final = 10.0
"""A clock that jumps by more, and by more than _LONG_GAP_FRAMES, has nothing to do with motion."""
_LONG_GAP_FRAMES: Final = 20
# Set on import: OpenCV reads it once, when the process opens or writes its first video.
os.environ.setdefault(_FFMPEG_LEVEL, _FFMPEG_QUIET)


class Source(Protocol):
    """Pictures of square pixels in order, each with the source's own index and time; iterate once.

    Every picture has the size `size`: where the source itself changes its size, pictures
    are scaled and padded, never distorted.
    """

    name: str
    """What to call it in messages."""
    live: bool
    """True where pictures come at their own time and late ones are worth nothing."""
    size: tuple[int, int]
    """(W, H) in pixels of every frame."""
    frame_count: int | None
    """How many frames to expect, where that is known; an estimate."""
    fov_deg: float | None = None
    """Field of view across the picture's longer side, where the source tells it."""

    @property
    def fps(self) -> float:
        """Pictures a second; the average where the rate varies."""
        ...

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames.

        Raises:
            SourceError: there is nothing, or nothing more, to be had.
        """
        ...

    def close(self) -> None:
        """Give the file or device back; a second call does nothing."""
        ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def fit(image: Image, size: tuple[int, int]) -> Image:
    """Scale a picture into `size` (W, H) without distortion, with black bars where need be."""
    height, width = image.shape[:2]
    if (width, height) == size:
        return image
    scale = min(size[0] / width, size[1] / height)
    scaled = (min(size[0], round(width * scale)), min(size[1], round(height * scale)))
    scaled = (max(1, scaled[0]), max(1, scaled[1]))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    out = np.zeros((size[1], size[0], 3), np.uint8)
    left, top = (size[0] - scaled[0]) // 2, (size[1] - scaled[1]) // 2
    out[top : top + scaled[1], left : left + scaled[0]] = cv2.resize(
        image, scaled, interpolation=method
    )
    return out


def note_size(name: str, before: tuple[int, int], now: tuple[int, int]) -> tuple[int, int]:
    """Say where a source changes the size (W, H) of its pictures; returns `now`."""
    if now != before:
        logger.info("%s: pictures are now %dx%d, before %dx%d", name, *now, *before)
    return now


def without_password(url: str) -> str:
    """The address as it may be shown, logged, exported and sent."""
    return public(url)


def plausible_fps(fps: float) -> bool:
    """Tell a frame rate from the tick rates and zeros that containers give instead."""
    return 0.1 <= fps <= 480.0


def quiet_opencv() -> None:
    """Keep OpenCV's own messages, and FFmpeg's, off the terminal, unless debugging."""
    if logger.isEnabledFor(logging.DEBUG):
        if os.environ.get(_FFMPEG_LEVEL) == _FFMPEG_QUIET:
            del os.environ[_FFMPEG_LEVEL]
    else:
        # OpenCV 5 has it in a module of its own.
        owner: Any = cv2 if hasattr(cv2, "setLogLevel") else getattr(cv2.utils, "logging")  # noqa: B009
        owner.setLogLevel(0)


def square_pixels(aspect: float, size: tuple[int, int]) -> tuple[int, int]:
    """The (W, H) that a picture of `size` has when its pixels, `aspect` times as wide as high,
    are made square.

    HDV, DV and DVD store wide pictures in narrow ones. The longer way is stretched, so that
    nothing that was stored is lost.
    """
    if aspect <= 0 or not _LEAST_SQUEEZE < abs(math.log(aspect)) < _MOST_SQUEEZE:
        return size
    if aspect > 1:
        return round(size[0] * aspect), size[1]
    return size[0], round(size[1] / aspect)


def turned(image: Image, clockwise: int) -> Image:
    """The picture turned by 0, 90, 180 or 270 degrees."""
    turns = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
    if clockwise not in turns:
        return image
    return np.asarray(cv2.rotate(image, turns[clockwise]), np.uint8)


def check_pixels(width: int, height: int, name: str) -> None:
    """Refuse what no memory holds, before it is decoded.

    Raises:
        SourceError: it is beyond all measure.
    """
    if width * height > MAX_PIXELS:
        raise too_large(name, width, height)


def too_large(name: str, width: int, height: int) -> SourceError:
    """For pictures that no camera takes and no memory holds."""
    return SourceError(
        f"The pictures of {name} are too large",
        why=f"{width}x{height} is more than {MAX_PIXELS // 1_000_000} megapixels",
        hint="make them smaller first; people are found in a few megapixels as well",
    )


def measured_rate(stamps: list[float]) -> float | None:
    """Mean rate of ascending times in seconds; gaps in which a clock has jumped do not count."""
    steps = [b - a for a, b in pairwise(stamps)]
    if len(steps) < 2:
        return None
    usual = median(steps)
    kept = [step for step in steps if not is_long_gap(step, usual)]
    return len(kept) / sum(kept)


def is_long_gap(step: float, usual: float) -> bool:
    """Tell a clock that has jumped from a low rate; both in seconds."""
    return step > max(_LONG_GAP_S, _LONG_GAP_FRAMES * usual)


def printable(name: str) -> str:
    """A file name without the stand-ins that Python has for bytes that are not UTF-8."""
    return os.fsencode(name).decode("utf-8", "replace")
