"""Video files: every frame, in order, upright, at its own time."""

from __future__ import annotations

import logging
import math
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from av.error import FFmpegError

from posemamba_live.errors import SourceError, UsageError
from posemamba_live.sources.base import Source, fit, is_long_gap, note_size
from posemamba_live.sources.container import (
    STDIN,
    NoVideo,
    Reel,
    name_of,
    reason,
)
from posemamba_live.sources.meant import missing
from posemamba_live.sources.worker import Worker
from posemamba_live.types import Frame

logger = logging.getLogger(__name__)

URL_SUFFIXES: Final = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts",
    ".wmv", ".flv", ".ogv", ".3gp", ".gif",
)  # fmt: skip
"""Where neither length nor duration is known, these tell a video behind a URL from a stream."""

FILE_PATIENCE_S: Final = 30.0
"""A file of which nothing can be read for so long is on a drive that hangs."""
_EPSILON: Final = 1e-4
_AHEAD: Final = 3
"""Pictures decoded ahead; of 4K each has 25 MB."""


@dataclass(frozen=True, slots=True)
class Sound:
    """The sound that belongs to a film."""

    path: Path
    zero: float
    """Seconds of the container's clock at the film's first picture, where time stamps are 0."""


@dataclass(frozen=True, slots=True)
class _Opened:
    """What is known as soon as the first picture is decoded."""

    size: tuple[int, int]
    fps: float
    promised: int | None
    seconds: float | None
    sound: Sound | None
    fov_deg: float | None


class VideoFile(Source):
    """A video file, a finite video behind a URL, or one that comes through a pipe ("-").

    Rotation and pixel aspect are obeyed. Time stamps are the container's own (variable frame rates
    stay right), counted from the first frame, and always increase. Frames before `start`
    are decoded and counted, so that indices do not depend on where reading starts.

    Pictures are decoded a little ahead, in a thread.

    Args:
        location: path, "-" for the standard input, or an opened container, which is then
            this source's own.
        start, end: seconds; frames with start <= timestamp < end.
        max_frames: how many frames at most.
        rotate: degrees clockwise, after what the metadata asks for.
        patience: seconds without progress after which reading gives up.

    Raises:
        SourceError: it cannot be opened or holds no picture that can be decoded.
        UsageError: the standard input is a terminal.
    """

    live = False

    def __init__(
        self,
        location: Path | str | Reel,
        *,
        start: float = 0.0,
        end: float | None = None,
        max_frames: int | None = None,
        rotate: int = 0,
        patience: float = FILE_PATIENCE_S,
    ) -> None:
        self._reel = location if isinstance(location, Reel) else None
        self._location = location.location if isinstance(location, Reel) else location
        self.name = name_of(self._location)
        self._start, self._end, self._max_frames = start, end, max_frames
        self._rotate = rotate
        if isinstance(self._location, Path):
            _check_file(self._location)
        elif self._location == STDIN:
            _check_stdin()
        # Whoever writes into a pipe may take all the time there is.
        limit = None if self._location == STDIN else patience
        self._worker: Worker[_Opened | Frame] = Worker(
            self.name, self._read, capacity=_AHEAD, patience=limit
        )
        try:
            opened = self._worker.take()
        except SourceError:
            self._worker.close()
            raise
        if not isinstance(opened, _Opened):
            raise _unreadable(self._location)
        self.size = opened.size
        self.fov_deg = opened.fov_deg
        self.sound = opened.sound
        """What a recording of this film may keep; None where there is none, or none at hand."""
        self._fps = opened.fps
        self.frame_count = self._frames_wanted(opened.promised)

    @property
    def fps(self) -> float:
        return self._fps

    def __iter__(self) -> Iterator[Frame]:
        while (frame := self._worker.take()) is not None:
            assert isinstance(frame, Frame)
            yield Frame(frame.index, frame.timestamp, frame.image, time.monotonic())

    def close(self) -> None:
        self._worker.close()

    def _frames_wanted(self, promised: int | None) -> int | None:
        limits = [] if self._max_frames is None else [self._max_frames]
        if self._end is not None and self._end < math.inf:
            limits.append(math.ceil((self._end - self._start) * self._fps - _EPSILON))
        if promised is not None:
            before = math.ceil(self._start * self._fps - _EPSILON)
            limits.append(promised - before)
        return max(0, min(limits)) if limits else None

    # In the worker's thread.

    def _read(self, worker: Worker[_Opened | Frame]) -> None:
        try:
            reel = self._reel or Reel(self._location)
        except NoVideo as error:
            raise _unreadable(self._location, holds=str(error)) from error
        except (FFmpegError, OSError) as error:
            raise _unreadable(self._location, error=error) from error
        try:
            self._frames(reel, worker)
        finally:
            reel.close()

    def _frames(self, reel: Reel, worker: Worker[_Opened | Frame]) -> None:
        fps = reel.rate(measure=self._location != STDIN)
        opened: _Opened | None = None
        clock = Clock(fps)
        index = delivered = 0
        given = (0, 0)
        for decoded in reel.pictures(worker.beat):
            image = None
            if opened is None:
                image = reel.picture(decoded, self._rotate)
                given = image.shape[1], image.shape[0]
                opened = self._opened(reel, given, fps, decoded.seconds)
                worker.put(opened)
            timestamp = clock.tick(decoded.seconds, decoded.damaged)
            if timestamp is None:
                continue
            if self._end is not None and timestamp >= self._end - _EPSILON:
                break
            if timestamp >= self._start - _EPSILON:
                image = reel.picture(decoded, self._rotate) if image is None else image
                given = note_size(self.name, given, (image.shape[1], image.shape[0]))
                worker.put(Frame(index, timestamp, fit(image, opened.size), time.monotonic()))
                delivered += 1
            index += 1
            if delivered == self._max_frames:
                break
        else:
            if opened is None:
                raise _unreadable(self._location)
            self._report(reel, opened, clock, index)
        if clock.gaps:
            logger.warning(
                "%s: its clock jumps forward %d times, by %s in all: times are kept as they are",
                self.name, clock.gaps, _duration(clock.gap_seconds),
            )  # fmt: skip
        if not delivered:
            raise SourceError(
                f"{self.name} has no frames in the part asked for",
                why=f"it has {index} frames, {clock.last:.2f} s",
                hint="an earlier --start",
            )

    def _opened(self, reel: Reel, size: tuple[int, int], fps: float, first: float) -> _Opened:
        promised, seconds = reel.frames, reel.duration_from(first)
        if promised is None and seconds is not None:
            promised = reel.bounded(max(1, round(seconds * fps)))
        sound = None
        if isinstance(self._location, Path) and reel.has_sound and not math.isnan(first):
            sound = Sound(self._location, first)
        return _Opened(size, fps, promised, seconds, sound, reel.fov_deg)

    def _report(self, reel: Reel, opened: _Opened, clock: Clock, decoded: int) -> None:
        """Say what is missing at the end, if it is more than rounding."""
        if reel.problem:
            logger.warning("%s ended early: %s", self.name, reel.problem)
        promised = opened.promised
        # A duration is no count: clocks jump, rates vary, and it may be that of the sound.
        if promised is None or (reel.frames is None and reel.whole):
            return
        if reel.frames is None and opened.seconds is not None:
            promised = round((opened.seconds - clock.gap_seconds) * opened.fps)
        missing = promised - decoded
        if missing > max(2, decoded // 100):
            logger.warning(
                "%s promised %d frames, %d could be decoded, %.1f of %.1f s: it is damaged, cut "
                "short, or trimmed without encoding it anew",
                self.name, promised, decoded, decoded / opened.fps, promised / opened.fps,
            )  # fmt: skip


class Clock:
    """Seconds from the first frame, always increasing, out of what the container says."""

    def __init__(self, fps: float) -> None:
        self.last = -math.inf
        self.gaps = 0
        """How often the clock has jumped forward by more than any rate explains."""
        self.gap_seconds = 0.0
        """By how much, together."""
        self._step = 1.0 / fps
        self._shift = 0.0

    def tick(self, seconds: float, damaged: bool) -> float | None:
        """Return the time of the next frame.

        Args:
            seconds: the container's time; may be missing (NaN), constant, or jump back.
            damaged: frames before this one could not be decoded. What then lies in the past
                is a leftover of the decoder's, and has no time (None).
        """
        if self.last == -math.inf:
            self._shift = 0.0 if math.isnan(seconds) else -seconds
            self.last = 0.0
            return self.last
        timestamp = seconds + self._shift
        if damaged and timestamp < self.last:
            return None
        if not timestamp > self.last:
            timestamp = self.last + self._step
            if not math.isnan(seconds):
                self._shift = timestamp - seconds
        elif is_long_gap(timestamp - self.last, self._step):
            self.gaps += 1
            self.gap_seconds += timestamp - self.last - self._step
        self.last = timestamp
        return timestamp


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


def _check_stdin() -> None:
    """Raises UsageError where nobody can have meant it."""
    if sys.stdin is not None and sys.stdin.isatty():
        raise UsageError(
            "There is no video in the standard input",
            why="it is a terminal",
            hint="pipe one in: ffmpeg ... -f mpegts - | posemamba-live -",
        )


def _check_file(path: Path) -> None:
    """Refuse what FFmpeg would not, or would without saying why.

    Raises:
        SourceError: not there, not a file, not readable, empty, or text (which FFmpeg
            renders as pictures of text).
    """
    what = f"Cannot open {path}"
    if not path.exists():
        raise missing(path)
    if not path.is_file():
        raise SourceError(
            what, why="it is not a regular file", hint="a video file, or - for a pipe"
        )
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


def _unreadable(
    location: Path | str, *, holds: str = "", error: FFmpegError | OSError | None = None
) -> SourceError:
    shown = location if isinstance(location, Path) else name_of(location)
    what = f"Cannot read {shown}"
    if isinstance(location, Path) and _is_mp4_without_index(location):
        return SourceError(
            what,
            why="the file is cut short: the index at its end (moov) is missing",
            hint="copy or download it again; a recorder must be stopped properly",
        )
    if holds:
        return SourceError(
            what, why=f"there is no film in it: it holds {holds}", hint="a video file"
        )
    if not isinstance(location, Path) and location != STDIN:
        return SourceError(
            what,
            why=reason(error) if error is not None else "no picture of it can be decoded",
            hint="check the address, or download the file first",
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
