"""The encoder of recordings: H.264 in MP4, through PyAV, which brings libx264 with it.

While it grows, the file is fragmented: whatever ends the program, what was written plays.
`remux` makes an ordinary file of it, which seeks and streams better, and adds sound.
"""

from __future__ import annotations

import contextlib
import heapq
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import av
import cv2
import numpy as np
from av.error import FFmpegError
from av.video.frame import PictureType, VideoFrame

from posemamba_live.errors import SinkError
from posemamba_live.types import Image

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet

    from posemamba_live.sources.video import Sound

logger = logging.getLogger(__name__)

_CODECS: Final = ("libx264", "libopenh264", "mpeg4")
"""Best first. Wheels from PyPI have the first one; others may be built without it."""
_OPTIONS: Final[dict[str, dict[str, str]]] = {
    # 3 ms of one core for 1500x540 and 3 Mbit/s. `veryfast` makes a third of that out of 8 ms,
    # which two cores do not have beside a detector. With one thread no frame is held back.
    "libx264": {"preset": "ultrafast", "tune": "zerolatency", "crf": "22", "forced-idr": "1"},
    "libopenh264": {"b": "4M"},
    "mpeg4": {"q": "4", "b": "8M"},
}
_FRAGMENTS: Final = "frag_every_frame+empty_moov+default_base_moof"
"""Each picture goes to the disk when the next one comes: 3 kB a second more than in fragments of
0.3 s, which held ten pictures back."""
_TIME_BASE: Final = Fraction(1, 90_000)
_KEY_S: Final = 0.9
"""Seconds from one keyframe to the next, at most one with the picture that is late: what a crash
may lose, and how finely the unfinished file seeks."""
_MP4_SOUND: Final = ("aac", "mp3", "ac3", "eac3", "opus", "flac", "alac")
"""Sound that MP4 holds as it is."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a film's time that was recorded without a gap; seconds."""

    begin: float
    end: float
    """In the film's time stamps."""
    at: float
    """Where `begin` is in the recording."""


class Encoder:
    """Writes pictures of one size, each at its own time, to one fragmented MP4.

    Args:
        path: file to write; it must not exist.
        size: (W, H) in pixels, both even.
        fps: frames per second, about.
        told: the user's name for it, for messages.

    Raises:
        SinkError: no encoder can write there.
    """

    def __init__(
        self, path: Path, size: tuple[int, int], fps: float, *, told: Path | None = None
    ) -> None:
        self._told = told or path
        self._key_at = -_KEY_S
        self._last = -1
        try:
            self._file = path.open("xb", buffering=0)
        except OSError as error:
            raise _cannot(self._told, error) from error
        self._container: OutputContainer | None = None
        try:
            # Flushed, so that the last fragment is not half in FFmpeg's own buffer.
            options = {
                "movflags": _FRAGMENTS,
                "flush_packets": "1",
            }
            self._container = av.open(self._file, "w", format="mp4", options=options)
            codec = best_codec()
            stream = self._container.add_stream(
                codec, rate=Fraction(fps).limit_denominator(100_000)
            )
            stream.width, stream.height = size  # type: ignore[union-attr]
            stream.pix_fmt = "yuv420p"  # type: ignore[union-attr]
            context: Any = stream.codec_context
            context.options = dict(_OPTIONS[codec])
            context.thread_count = 1
            context.time_base = _TIME_BASE
            context.gop_size = 1_000_000  # keyframes come by time
            self._stream: Any = stream
        except (FFmpegError, OSError, ValueError) as error:
            self.abort()
            path.unlink(missing_ok=True)
            raise _cannot(self._told, error) from error

    def write(self, image: Image, seconds: float) -> None:
        """Append one (H, W, 3) BGR picture, contiguous, at a time after the one before.

        Raises:
            SinkError: the encoder failed; what was written before stays.
        """
        planes = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420), np.uint8)
        frame = VideoFrame.from_numpy_buffer(planes, "yuv420p")
        self._last = max(self._last + 1, round(seconds / _TIME_BASE))
        frame.pts, frame.time_base = self._last, _TIME_BASE
        if seconds - self._key_at >= _KEY_S:
            frame.pict_type = PictureType.I
            self._key_at = seconds
        self._mux(frame)

    def close(self) -> None:
        """Write what is still in the encoder.

        Raises:
            SinkError: that failed; what was written before stays.
        """
        try:
            self._mux(None)
            if self._container is not None:
                container, self._container = self._container, None
                container.close()
        except (FFmpegError, OSError) as error:
            raise _cannot(self._told, error) from error
        finally:
            self.abort()

    def abort(self) -> None:
        """Let go of the file, whatever its state."""
        container, self._container = self._container, None
        if container is not None:
            with contextlib.suppress(FFmpegError, OSError):
                container.close()
        with contextlib.suppress(OSError):
            self._file.close()

    def _mux(self, frame: VideoFrame | None) -> None:
        if self._container is None:
            return
        try:
            for packet in self._stream.encode(frame):
                self._container.mux(packet)
        except (FFmpegError, OSError) as error:
            raise _cannot(self._told, error) from error


@cache
def best_codec() -> str:
    """Name of the encoder that recordings are made with."""
    here = av.codec.codecs_available
    return next((name for name in _CODECS if name in here), _CODECS[-1])


def remux(
    part: Path, path: Path, fps: float, sound: Sound | None = None, pieces: Sequence[Piece] = ()
) -> int:
    """Make an ordinary MP4, index first, of a fragmented one; returns how many pictures it has.

    Args:
        part: what an Encoder has written, complete or not. A picture that is cut off is left out.
        path: file to write.
        fps: frames per second, which say how long the last one lasts.
        sound: of the film; left out with a warning where MP4 does not hold it.
        pieces: which parts of the film's time are in `part`.

    Raises:
        OSError: it cannot be written.
        SinkError: it cannot be read.
    """
    try:
        with contextlib.ExitStack() as stack:
            # An absolute path cannot be taken for one of FFmpeg's protocols ("12:30.mp4").
            film = stack.enter_context(av.open(os.path.abspath(part), "r"))
            out = stack.enter_context(
                av.open(
                    os.path.abspath(path), "w", format="mp4", options={"movflags": "+faststart"}
                )
            )
            target = out.add_stream_from_template(film.streams.video[0])
            packets = [_pictures(film, target, fps)]
            if sound is not None:
                with contextlib.suppress(FFmpegError, OSError):
                    heard = stack.enter_context(av.open(os.path.abspath(sound.path), "r"))
                    track = _sound_track(heard, sound.path.name)
                    if track is not None:
                        copy = out.add_stream_from_template(track)
                        packets.append(_sounds(heard, track, copy, sound.zero, pieces))
            count = 0
            for _, kind, packet in heapq.merge(*packets, key=lambda timed: timed[:2]):
                out.mux(packet)
                count += kind == 0
            return count
    except OSError:  # some of FFmpeg's are
        raise
    except (FFmpegError, ValueError) as error:
        raise _cannot(path, error) from error


def _pictures(
    film: InputContainer, target: Any, fps: float
) -> Iterator[tuple[float, int, Packet[Any]]]:
    """(seconds, 0, packet) of all pictures; each lasts until the next one."""
    last: Packet[Any] | None = None
    with contextlib.suppress(FFmpegError):  # of an incomplete file what there is
        for packet in film.demux(film.streams.video[0]):
            if packet.dts is None or packet.time_base is None:
                continue
            if packet.is_corrupt:
                break
            if last is not None:
                assert last.dts is not None
                last.duration = packet.dts - last.dts
                yield float(last.dts * packet.time_base), 0, last
            last = packet
            packet.stream = target
    if last is not None and last.dts is not None and last.time_base is not None:
        last.duration = round(1.0 / fps / float(last.time_base))
        yield float(last.dts * last.time_base), 0, last


def _sounds(
    heard: InputContainer, track: AudioStream, target: Any, zero: float, pieces: Sequence[Piece]
) -> Iterator[tuple[float, int, Packet[Any]]]:
    """(seconds, 1, packet) of the sound within the pieces."""
    base = float(track.time_base or 0)
    last = -1
    waiting = list(pieces)
    if waiting:
        heard.seek(max(0, int((zero + waiting[0].begin) / base)), stream=track)
    with contextlib.suppress(FFmpegError):  # damaged sound ends where it is damaged
        for packet in heard.demux(track):
            if packet.pts is None or not packet.size:
                continue
            seconds = packet.pts * base - zero
            while waiting and seconds >= waiting[0].end:
                waiting.pop(0)
            if not waiting:
                return
            if seconds < waiting[0].begin:
                continue
            at = seconds - waiting[0].begin + waiting[0].at
            last = max(last + 1, round(at / base))
            packet.pts = packet.dts = last
            packet.stream = target
            yield at, 1, packet


def _sound_track(heard: InputContainer, name: str) -> AudioStream | None:
    """The sound that MP4 can hold; None, and a word about it, where there is no such."""
    tracks = heard.streams.audio
    for track in tracks:
        if track.codec_context is not None and track.codec_context.name.startswith(_MP4_SOUND):
            return track
    if tracks:
        codec = tracks[0].codec_context
        logger.warning(
            "the sound of %s is %s, which MP4 does not hold: the recording is silent",
            name, codec.name if codec is not None else "unknown",
        )  # fmt: skip
    return None


def _cannot(path: Path, error: Exception) -> SinkError:
    return SinkError(
        f"cannot record to {path}",
        why=str(getattr(error, "strerror", None) or error),
        hint="check that the disk has room and that the folder is still there",
    )
