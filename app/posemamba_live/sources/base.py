"""What every source of pictures offers, and what several of them need."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Iterator
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
_LEAST_SQUEEZE: Final = 0.005
_MOST_SQUEEZE: Final = math.log(4.0)
"""Logarithms of the pixel aspects that are obeyed: less is rounding, more is a spoilt header."""
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


def retrieve(capture: cv2.VideoCapture) -> Image | None:
    """Decode the picture grabbed last, to (H, W, 3) BGR of square pixels; None where that fails."""
    ok, image = capture.retrieve()
    if not ok or not image.size:
        return None
    size = square_size(capture, (image.shape[1], image.shape[0]))
    if size != (image.shape[1], image.shape[0]):
        image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(image, np.uint8)


def square_size(capture: cv2.VideoCapture, size: tuple[int, int]) -> tuple[int, int]:
    """The (W, H) that a picture of `size`, turned upright, has when its pixels are square.

    HDV, DV and DVD store wide pictures in narrow ones, and OpenCV hands these out as stored.
    The longer way is stretched, so that nothing that was stored is lost.
    """
    num, den = capture.get(cv2.CAP_PROP_SAR_NUM), capture.get(cv2.CAP_PROP_SAR_DEN)
    if num <= 0 or den <= 0 or not _LEAST_SQUEEZE < abs(math.log(num / den)) < _MOST_SQUEEZE:
        return size
    aspect = num / den
    if capture.get(cv2.CAP_PROP_ORIENTATION_AUTO) and (
        round(capture.get(cv2.CAP_PROP_ORIENTATION_META)) % 180 == 90
    ):
        aspect = 1.0 / aspect  # it is that of the pixels as stored
    if aspect > 1:
        return round(size[0] * aspect), size[1]
    return size[0], round(size[1] / aspect)


def live_frames(
    capture: cv2.VideoCapture, name: str, size: tuple[int, int], *, max_failures: int = 3
) -> Iterator[Frame]:
    """Read a camera or stream until it fails, with times of the monotonic clock.

    Args:
        capture: opened.
        name: of the source, for the error.
        size: (W, H) that all pictures are fitted to.
        max_failures: pictures in a row that may be missing or spoilt.

    Raises:
        SourceError: the pictures have stopped.
    """
    index, failures, first = 0, 0, 0.0
    while failures < max_failures:
        ok = capture.grab()
        now = time.monotonic()
        image = retrieve(capture) if ok else None
        if image is None:
            failures += 1
            continue
        failures = 0
        first = first or now
        yield Frame(index, now - first, fit(image, size), now)
        index += 1
    raise SourceError(f"No more pictures from {name}", why="it was disconnected or has ended")
