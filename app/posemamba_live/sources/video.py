"""Video files: every frame, in order, upright, at its own time."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from posemamba_live.errors import SourceError
from posemamba_live.shown import public
from posemamba_live.sources.base import (
    Source,
    fit,
    plausible_fps,
    quiet_opencv,
    retrieve,
    square_size,
)
from posemamba_live.types import Frame

logger = logging.getLogger(__name__)

DEFAULT_FPS: Final = 30.0
"""Where a container names no rate and has no times."""
URL_SUFFIXES: Final = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts",
    ".wmv", ".flv", ".ogv", ".3gp", ".gif",
)  # fmt: skip
"""What tells a video behind a URL from a live stream. Local files are judged by content."""

_MAX_FAILURES: Final = 2000
"""Failed reads in a row after which the rest of a damaged file is given up."""
_NO_CLOCK_MS: Final = 1e12
"""Raw streams report times beyond this (an unset 64-bit time stamp)."""
_EPSILON: Final = 1e-4
_EBML: Final = b"\x1a\x45\xdf\xa3"
"""How Matroska and WebM begin (RFC 8794, 11.2.1)."""
_MEASURED_FRAMES: Final = 60
_EVEN_SLOW_S: Final = 0.5
"""Seconds for which the last picture of a recording may stand."""


class VideoFile(Source):
    """A video file, or a finite video behind an http(s) URL.

    Rotation and pixel aspect are obeyed. Time stamps are the container's own (variable frame rates
    stay right), counted from the first frame, and always increase. Frames before `start`
    are decoded and counted, so that indices do not depend on where reading starts.

    Args:
        location: path, or URL.
        start, end: seconds; frames with start <= timestamp < end.
        max_frames: how many frames at most.

    Raises:
        SourceError: it cannot be opened or holds no picture that can be decoded.
    """

    live = False

    def __init__(
        self,
        location: Path | str,
        *,
        start: float = 0.0,
        end: float | None = None,
        max_frames: int | None = None,
    ) -> None:
        self.name = location.name if isinstance(location, Path) else public(location)
        self._start, self._end, self._max_frames = start, end, max_frames
        quiet_opencv()
        self._capture = _open(location)
        if not self._capture.grab():
            raise _unreadable(location)
        width = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        height = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        self.size = square_size(self._capture, (width, height))
        nominal = self._capture.get(cv2.CAP_PROP_FPS)
        self._fps = _true_fps(location, nominal)
        self._promised = self._frames_promised()
        self._seconds: float | None = None
        """How long it lasts, where the promise is but this times a rate."""
        if self._promised is not None and plausible_fps(nominal) and self._fps != nominal:
            self._seconds = self._promised / nominal
            self._promised = round(self._seconds * self._fps)
        self.frame_count = self._frames_wanted()

    @property
    def fps(self) -> float:
        return self._fps

    def __iter__(self) -> Iterator[Frame]:
        clock = _Clock(self._fps)
        index = delivered = ghosts = failures = 0
        damaged = complete = False
        grabbed = True  # the first picture, by __init__
        while self._max_frames is None or delivered < self._max_frames:
            if not grabbed:
                failures += 1
                if self._has_ended(index, failures):
                    complete = True
                    break
                damaged = True
            else:
                failures = 0
                timestamp = clock.tick(self._capture.get(cv2.CAP_PROP_POS_MSEC), damaged)
                if timestamp is None:
                    ghosts += 1
                else:
                    if self._end is not None and timestamp >= self._end - _EPSILON:
                        break
                    if timestamp >= self._start - _EPSILON:
                        image = retrieve(self._capture)
                        if image is not None:
                            image = fit(image, self.size)
                            yield Frame(index, timestamp, image, time.monotonic())
                            delivered += 1
                    index += 1
            grabbed = self._capture.grab()
        if complete:
            self._report_damage(index, clock.last)
        if not delivered:
            raise SourceError(
                f"{self.name} has no frames in the part asked for",
                why=f"it has {index} frames, {clock.last:.2f} s",
                hint="an earlier --start",
            )

    def close(self) -> None:
        self._capture.release()

    def _frames_promised(self) -> int | None:
        """What the container says that it holds; exact in some formats, rounded in others."""
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        return int(count) if 0 < count < 1e9 else None

    def _frames_wanted(self) -> int | None:
        limits = [] if self._max_frames is None else [self._max_frames]
        if self._end is not None:
            limits.append(math.ceil((self._end - self._start) * self._fps - _EPSILON))
        if self._promised is not None:
            before = math.ceil(self._start * self._fps - _EPSILON)
            limits.append(self._promised - before)
        return max(0, min(limits)) if limits else None

    def _has_ended(self, index: int, failures: int) -> bool:
        """A damaged stretch fails like the end; only the container's count tells them apart."""
        if self._promised is None:
            return True
        return index >= self._promised or failures > min(self._promised - index, _MAX_FAILURES)

    def _report_damage(self, decoded: int, last: float) -> None:
        missing = (self._promised or decoded) - decoded
        if self._seconds is not None and last > 0.98 * self._seconds - _EVEN_SLOW_S:
            return  # nothing is missing at the end of a file whose rate varies
        # Where the count is duration times rate, it may be off by a little.
        if missing > max(2, decoded // 100):
            logger.warning(
                "%s promised %d frames, %d could be decoded: the file is damaged, cut short, or "
                "trimmed without encoding it anew",
                self.name, self._promised, decoded,
            )  # fmt: skip


class _Clock:
    """Seconds from the first frame, always increasing, out of what the container says."""

    def __init__(self, fps: float) -> None:
        self.last = -math.inf
        self._step = 1.0 / fps
        self._offset = 0.0

    def tick(self, msec: float, damaged: bool) -> float | None:
        """Return the time of the next frame.

        Args:
            msec: the container's time; may be missing, constant, or jump back.
            damaged: data were lost before. A frame that then comes late is a leftover of
                the decoder's, and has no time (None).
        """
        seconds = msec / 1000.0 if abs(msec) < _NO_CLOCK_MS else math.nan
        if self.last == -math.inf:
            self._offset = 0.0 if math.isnan(seconds) else -seconds
            self.last = 0.0
            return self.last
        timestamp = seconds + self._offset
        if damaged and timestamp < self.last:
            return None
        if not timestamp > self.last:
            timestamp = self.last + self._step
            if not math.isnan(seconds):
                self._offset = timestamp - seconds
        self.last = timestamp
        return timestamp


def _open(location: Path | str) -> cv2.VideoCapture:
    if isinstance(location, Path):
        _check_file(location)
        # An absolute path cannot be taken for one of FFmpeg's protocols ("clip:1.mp4").
        capture = cv2.VideoCapture(os.path.abspath(location), cv2.CAP_FFMPEG)
    else:
        capture = cv2.VideoCapture(location, cv2.CAP_FFMPEG)
    if not capture.isOpened():
        raise _unreadable(location)
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
    return capture


def _check_file(path: Path) -> None:
    """Refuse what FFmpeg would not, or would without saying why.

    Raises:
        SourceError: not there, not a file, not readable, empty, or text (which FFmpeg
            renders as pictures of text).
    """
    what = f"Cannot open {path}"
    if not path.exists():
        raise SourceError(what, why="no such file", hint="check the path")
    if not path.is_file():
        raise SourceError(what, why="it is not a regular file", hint="a video file")
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise SourceError(
            what, why=error.strerror or str(error), hint="check who may read it"
        ) from error
    if not head:
        raise SourceError(what, why="the file is empty", hint="copy or download it again")
    if _is_text(head):
        raise SourceError(what, why="it is a text file, not a video", hint="a video file")


def _is_text(head: bytes) -> bool:
    try:
        # Dropping the tail: a character may be cut in two where the head ends.
        text = head[: max(1, len(head) - 3)].decode("utf-8")
    except UnicodeDecodeError:
        return False
    return all(char.isprintable() or char in "\t\n\r\f\v\ufeff\x1b" for char in text)


def _unreadable(location: Path | str) -> SourceError:
    if not isinstance(location, Path):
        what = f"Cannot read {public(location)}"
        return SourceError(
            what,
            why="nothing answers there, or not with a video",
            hint="check the address, or download the file first",
        )
    what = f"Cannot read {location}"
    if _is_mp4_without_index(location):
        return SourceError(
            what,
            why="the file is cut short: the index at its end (moov) is missing",
            hint="copy or download it again; a recorder must be stopped properly",
        )
    return SourceError(
        what,
        why="its content is no video that FFmpeg can decode",
        hint="check that it plays elsewhere; converting to H.264 in MP4 helps with rare formats",
    )


def _is_mp4_without_index(path: Path) -> bool:
    """Walk the top-level boxes of an ISO media file (ISO/IEC 14496-12, 4.2)."""
    kinds: list[bytes] = []
    with path.open("rb") as file:
        end = os.fstat(file.fileno()).st_size
        while file.tell() + 8 <= end and len(kinds) < 1000:
            start = file.tell()
            size = int.from_bytes(file.read(4), "big")
            kinds.append(file.read(4))
            if size == 1:  # a 64-bit size follows
                size = int.from_bytes(file.read(8), "big")
            if size < 8:  # 0: up to the end of the file; anything else is damage
                break
            file.seek(start + size)
    return kinds[:1] == [b"ftyp"] and b"moov" not in kinds


def _true_fps(location: Path | str, nominal: float) -> float:
    """The mean rate of a file whose container names `nominal`.

    Matroska and WebM name the finest step of a rate that varies: screen recordings and
    conferences of 20 pictures a second there have 60 or 120.
    """
    if plausible_fps(nominal):
        if not isinstance(location, Path) or not _is_matroska(location):
            return nominal
        times = _first_times(location)
        span = (times[-1] - times[0]) / 1000.0 if len(times) > 1 else 0.0
        mean = (len(times) - 1) / span if span > 0 else nominal
        return mean if plausible_fps(mean) and abs(mean / nominal - 1.0) > 0.05 else nominal
    steps = np.diff(_first_times(location))
    step = float(np.median(steps)) if len(steps) else 0.0
    return 1000.0 / step if step > 0 and plausible_fps(1000.0 / step) else DEFAULT_FPS


def _is_matroska(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_EBML)) == _EBML


def _first_times(location: Path | str) -> list[float]:
    """Time stamps of the first frames, milliseconds."""
    capture = _open(location)
    times: list[float] = []
    while len(times) < _MEASURED_FRAMES and capture.grab():
        times.append(capture.get(cv2.CAP_PROP_POS_MSEC))
    capture.release()
    return times
