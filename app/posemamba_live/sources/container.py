"""Films and streams through PyAV: what is in a container, and its pictures one by one.

Everything here may hang in FFmpeg: call it from a `worker.Worker`.

OpenCV and PyAV each bundle an FFmpeg, under names of their own: both orders of importing them
work on Linux. The package imports OpenCV first (`base`), because on macOS the first one's classes
for cameras are those that both use, and cameras are OpenCV's.
"""

from __future__ import annotations

import logging
import math
import os
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, BinaryIO, Final, cast

import av
import cv2
import numpy as np
from av.error import FFmpegError, InvalidDataError
from av.format import Flags
from av.stream import Disposition

from posemamba_live.shown import public
from posemamba_live.sources.base import (
    MAX_PIXELS,
    check_pixels,
    measured_rate,
    printable,
    square_pixels,
    turned,
)
from posemamba_live.sources.bounds import pieces_of
from posemamba_live.sources.feed import Feed
from posemamba_live.sources.lens import told_fov
from posemamba_live.sources.pixels import BgrConverter
from posemamba_live.types import Image

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

logger = logging.getLogger(__name__)

STDIN: Final = "-"
DEFAULT_FPS: Final = 30.0
"""Where a container names no rate and has no times."""
_MEASURED_PACKETS: Final = 60
_COUNTED: Final = ("avi",)
"""Formats in which a picture's time is its number by the header's rate, whatever that is."""
_CLOCK_SLACK: Final = 0.05
_LONG_PROBE: Final[dict[str, str]] = {"probesize": "500000000", "analyzeduration": "900000000"}
"""Bytes and microseconds to look for a video track that is not announced and begins late."""
_STILLS: Final = ("mjpeg", "png", "bmp", "gif", "webp", "tiff")
_LEAST_SHARE: Final = 20
"""Later packets of a film may be so many times smaller than its first ones."""
_TAGGED: Final = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")
_SLACK_S: Final = 0.5
"""Seconds for which the last picture of a recording may stand."""
_CORRUPT_LIMIT: Final = 2000
"""Failed reads in a row after which the rest of a damaged file is given up."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """One decoded picture, not yet converted."""

    frame: VideoFrame
    seconds: float
    """The container's own time; NaN where it has none."""
    aspect: Fraction | None
    """Width by height of a pixel as stored."""
    damaged: bool
    """Something before it could not be decoded."""


class Reel:
    """An open container and the one video track of it that is looked at.

    Args:
        location: a path, a URL, or "-" for the standard input.
        options: FFmpeg's, for opening.
        timeout: seconds for opening, and for each read; None for files.
        feed: what the location sends, if somebody has connected already; closed with the reel.
        piece: bytes that FFmpeg may take at once, from here until the reel is closed.

    Raises:
        NoVideo: it opens, and holds no video.
        FFmpegError, OSError: it does not open.
        SourceError: its pictures are beyond all measure.
    """

    def __init__(
        self,
        location: Path | str,
        *,
        options: Mapping[str, str] | None = None,
        timeout: tuple[float, float] | None = None,
        feed: Feed | None = None,
        piece: int | None = None,
    ) -> None:
        self.location = location
        self._feed = feed
        self._bounds = ExitStack()
        if piece is not None:
            self.bound(piece)
        self.problem = ""
        """What ended `pictures` before the end of the container; empty where nothing did."""
        self.failures = 0
        """Pieces that could not be read or decoded."""
        self._options = {"protocol_whitelist": "file,pipe,fd", **(options or {})}
        self._timeout = timeout
        self._to_bgr = BgrConverter()
        try:
            self._container = self._opened(self._options)
        except BaseException:
            self._hang_up()
            raise
        try:
            stream = _film_track(self._container)
            if stream is None and location != STDIN:  # it may begin late, behind much sound
                self._container.close()
                if self._feed is not None:
                    self._feed = self._feed.again()
                self._container = self._opened({**self._options, **_LONG_PROBE})
                stream = _film_track(self._container)
            if stream is None:
                kinds = {track.type for track in self._container.streams}
                raise NoVideo("a picture" if "video" in kinds else "sound" if kinds else "nothing")
            self._stream: VideoStream = stream
            context = stream.codec_context
            check_pixels(context.width, context.height, name_of(location))
            # Decoders refuse larger pictures from their headers, wherever they come.
            context.options = {**context.options, "max_pixels": str(MAX_PIXELS)}
            context.thread_type, context.thread_count = "AUTO", min(16, os.cpu_count() or 1)
            self._header_aspect = context.sample_aspect_ratio
        except BaseException:
            self.close()
            raise
        self._packets: deque[Packet[VideoStream]] = deque()
        self._exhausted = False
        self._reached = -math.inf

    def _opened(self, options: dict[str, str]) -> InputContainer:
        if self._feed is not None:
            try:
                # PyAV asks for `read` alone.
                return av.open(
                    cast(BinaryIO, self._feed), "r", options=options, metadata_errors="ignore"
                )
            except FFmpegError:
                self._feed.check()
                raise
        file = _openable(self.location)
        return av.open(file, "r", options=options, timeout=self._timeout, metadata_errors="ignore")

    def bound(self, piece: int) -> None:
        """Let FFmpeg take no more bytes at once than these, until the reel is closed."""
        self._bounds.enter_context(pieces_of(piece))

    def decode_at_once(self) -> None:
        """Decode without delay rather than fast: each further thread holds a picture back."""
        context = self._stream.codec_context
        context.thread_type, context.thread_count = "SLICE", 1

    @property
    def format(self) -> str:
        """FFmpeg's names of the container format, separated by commas."""
        return self._container.format.name

    @property
    def has_times(self) -> bool:
        """Its format carries times; where it does not, FFmpeg counts 25 pictures a second."""
        return not self._container.format.flags & cast(int, Flags.no_timestamps.value)

    @property
    def fov_deg(self) -> float | None:
        """Field of view that the film's tags tell."""
        return told_fov(self._stream.metadata, self._container.metadata)

    @property
    def duration(self) -> float | None:
        """Seconds that the video track claims to last, if it does."""
        stream = self._stream
        tagged = _TAGGED.fullmatch(stream.metadata.get("DURATION", ""))
        if tagged is not None:  # Matroska's muxers tell so when a track ends
            hours, minutes, seconds = map(float, tagged.groups())
            return 3600 * hours + 60 * minutes + seconds
        if stream.duration and stream.duration > 0 and stream.time_base:
            return float(stream.duration * stream.time_base)
        whole = self._container.duration
        return whole / 1e6 if whole is not None and whole > 0 else None

    def duration_from(self, first: float) -> float | None:
        """Seconds from the first picture, at `first` on the container's clock, to the end.

        Matroska counts the duration of a track that begins late from the beginning of the film.
        """
        lasts, begin, base = self.duration, self._stream.start_time, self._stream.time_base
        if lasts is None or begin is None or base is None or math.isnan(first) or self.frames:
            return lasts
        return max(0.0, lasts - max(0.0, first - float(begin * base)))

    @property
    def whole(self) -> bool:
        """Some track came, when all is read, to where the container says that it ends."""
        begin, lasts = self._container.start_time, self._container.duration
        if begin is None or lasts is None:
            return True
        return self._reached - begin / 1e6 > 0.98 * lasts / 1e6 - _SLACK_S

    def bounded(self, promised: int) -> int | None:
        """The number of frames, or None where a file of this length cannot hold them: a clock
        that jumps makes durations of hours."""
        packets = [packet.size for packet in self._packets] or [1]
        if self.bytes is None or promised < _LEAST_SHARE * self.bytes / fmean(packets):
            return promised
        return None

    @property
    def frames(self) -> int | None:
        """How many pictures the index of the container has, if it has one."""
        return self._stream.frames if self._stream.frames > 0 else None

    @property
    def bytes(self) -> int | None:
        """Length in bytes, where that is known."""
        size = int(self._container.size)
        return size if size > 0 else None

    @property
    def has_sound(self) -> bool:
        return any(stream.type == "audio" for stream in self._container.streams)

    def rate(self, *, measure: bool = True) -> float:
        """Mean pictures a second.

        Headers name ticks, finest steps or nonsense: their rates count where the time stamps
        of the first packets bear them out.

        Args:
            measure: look at packets ahead; where they come at their own time that takes long.
        """
        named = [
            float(rate)
            for rate in (self._stream.average_rate, self._stream.guessed_rate)
            if rate is not None and 0.0 < rate < 1e5
        ]
        if named and self.format in _COUNTED:
            return named[0]
        guessed = self._stream.guessed_rate
        default = float(guessed) if guessed and 0.1 <= guessed <= 480.0 else DEFAULT_FPS
        measured = measured_rate(self._stamps()) if measure else None
        if measured is None:
            return default
        for rate in named:
            if abs(rate / measured - 1.0) < _CLOCK_SLACK:
                return rate
        if self.frames is not None and named and 0.3 < named[0] / measured < 3.0:
            return named[0]  # of a varying rate an index knows the mean of all of it
        return measured

    def _stamps(self) -> list[float]:
        """Seconds of the first packets, which `pictures` will not miss."""
        packets = self._demuxed()
        while len(self._packets) < _MEASURED_PACKETS:
            packet = next(packets, None)
            if packet is None:
                break
            self._packets.append(packet)
        ticks = [packet.pts for packet in self._packets if packet.pts is not None]
        if len(ticks) < len(self._packets) // 2:
            ticks = [packet.dts for packet in self._packets if packet.dts is not None]
        # Of reordered pictures the last ones may be missing still.
        ticks = sorted(set(ticks))[: -4 if not self._exhausted else None]
        base = float(self._stream.time_base or 0.0)
        return [tick * base for tick in ticks]

    def _demuxed(self) -> Iterator[Packet[VideoStream]]:
        """Packets of the track; `problem` says what ended them, if it was not the end."""
        failures = 0
        while not self._exhausted:
            try:
                # All tracks: how far the others come tells whether the file is whole.
                for packet in self._container.demux():
                    if self._feed is not None:
                        self._feed.progress()
                    if not packet.size:  # ends the demuxer's generator
                        continue
                    failures = 0
                    ticks, base = packet.pts, packet.time_base
                    if ticks is not None and base is not None:
                        self._reached = max(self._reached, _seconds(ticks, base))
                    if packet.stream.index == self._stream.index:
                        yield cast("Packet[VideoStream]", packet)
                self._exhausted = True
                if self._feed is not None:
                    self._feed.check()
                    if self._feed.error is not None:
                        self.problem = reason(self._feed.error)
            except InvalidDataError:
                failures += 1
                self.failures += 1
                self._exhausted = failures >= _CORRUPT_LIMIT
            except FFmpegError as error:
                if self._feed is not None:
                    self._feed.check()
                self._exhausted = True
                self.problem = reason(error)

    def pictures(self, beat: Callable[[], None] = lambda: None) -> Iterator[Decoded]:
        """Decode them all, in order.

        Args:
            beat: called for every packet that was read.
        """
        damaged = False
        demuxed = self._demuxed()
        while True:
            packet = self._packets.popleft() if self._packets else next(demuxed, None)
            beat()
            try:
                frames = self._stream.codec_context.decode(packet)
            except EOFError:
                return
            except FFmpegError as error:
                logger.debug("%s: %s", name_of(self.location), error)
                self.failures += 1
                damaged = True
                if packet is None:
                    return
                continue
            for frame in frames:
                base = frame.time_base or self._stream.time_base
                ticks = frame.pts
                seconds = _seconds(ticks, base) if ticks is not None and base else math.nan
                yield Decoded(frame, seconds, self._aspect(), damaged or frame.is_corrupt)
            if packet is None:
                return

    def _aspect(self) -> Fraction | None:
        """The container's word counts, until pixels change in mid-stream."""
        now = self._stream.codec_context.sample_aspect_ratio
        if now and now != self._header_aspect:
            return now
        return self._stream.sample_aspect_ratio or now

    def picture(self, decoded: Decoded, rotate: int = 0) -> Image:
        """(H, W, 3) BGR, contiguous, upright, of square pixels.

        Args:
            rotate: further degrees clockwise, after what the metadata asks for.

        Raises:
            SourceError: it is beyond all measure.
        """
        frame = decoded.frame
        check_pixels(frame.width, frame.height, "the source")
        image = self._to_bgr(frame)
        clockwise = -round(frame.rotation / 90) * 90 % 360
        aspect = decoded.aspect
        if clockwise % 180 and aspect:
            aspect = 1 / aspect  # it is that of the pixels as stored
        image = turned(image, clockwise)
        size = square_pixels(float(aspect or 1), (image.shape[1], image.shape[0]))
        if size != (image.shape[1], image.shape[0]):
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8)
        return turned(image, rotate)

    def close(self) -> None:
        """Close the container; for the thread that reads it, or after that has ended."""
        self._container.close()
        self._hang_up()

    def _hang_up(self) -> None:
        self._bounds.close()
        if self._feed is not None:
            self._feed.close()


def _seconds(ticks: int, base: Fraction) -> float:
    """float(ticks * base), at a tenth of the cost."""
    return ticks * base.numerator / base.denominator


class NoVideo(Exception):
    """What opens and holds no video; says what it holds instead."""


def reason(error: FFmpegError | OSError) -> str:
    """What FFmpeg says, for people."""
    if isinstance(error, av.error.ExitError | TimeoutError):
        return "nothing came in time"
    if isinstance(error, MemoryError):
        return "a piece of it is too large for the memory that it may take"
    return str(error.strerror or error)


def name_of(location: Path | str) -> str:
    """What to call it in messages and results."""
    if isinstance(location, Path):
        return printable(location.name)
    return "standard input" if location == STDIN else public(location)


def _openable(location: Path | str) -> str | BinaryIO:
    """What PyAV opens: an absolute path cannot be taken for one of FFmpeg's protocols."""
    if location == STDIN:
        file = os.fdopen(os.dup(0), "rb", buffering=0)
        if file.seekable():
            return cast(BinaryIO, file)
        file.close()
        return "pipe:0"
    if not isinstance(location, Path):
        return location
    path = os.path.abspath(location)
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return location.open("rb", buffering=0)
    return path


def _film_track(container: InputContainer) -> VideoStream | None:
    """The video track that is a film, not the cover of one; None where there is none."""
    films = [
        stream
        for stream in container.streams.video
        if not stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails)
        and stream.codec_context is not None
    ]

    def worth(stream: VideoStream) -> tuple[bool, bool, bool, int]:
        return (
            stream.frames != 1,  # a cover that is a track of its own
            stream.codec_context.name not in _STILLS,
            bool(stream.disposition & Disposition.default),
            -stream.index,
        )

    return max(films, key=worth, default=None)
