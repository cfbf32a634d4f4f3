"""Network sources: what ends is a film, what does not is a live stream."""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import urlsplit

import av
from av.error import FFmpegError

from posemamba_live.errors import SourceError
from posemamba_live.shown import public
from posemamba_live.sources.base import Source, fit, note_size
from posemamba_live.sources.bounds import FILM_PIECE, STREAM_PIECE, GrowthWatch
from posemamba_live.sources.container import NoVideo, Reel, reason
from posemamba_live.sources.feed import Feed
from posemamba_live.sources.video import URL_SUFFIXES
from posemamba_live.sources.worker import Worker
from posemamba_live.types import Frame

logger = logging.getLogger(__name__)

SCHEMES: Final = ("rtsp", "rtsps", "http", "https", "tcp", "tls", "rtmp", "rtmps", "udp", "srt")
FILM_SCHEMES: Final = ("http", "https")
"""Behind the others is what comes at its own time."""
_BYTE_SCHEMES: Final = ("http", "https", "tcp", "tls")
"""Behind these are bytes in which a packet may be as long as the sender likes."""
_DASH_SUFFIX: Final = ".mpd"
_PLAYLIST_SUFFIXES: Final = (".m3u8", ".m3u", _DASH_SUFFIX)
TIMEOUT_S: Final = 5.0
"""For an answer, and for each read."""
_PLAYLIST_S: Final = 20.0
"""A live playlist may have nothing new for a segment's length; its requests time out earlier."""
PATIENCE_S: Final = TIMEOUT_S + 1.0
"""The guard around FFmpeg's own limits, which not all of its protocols keep."""
_WAITING: Final = 8
"""Decoded pictures that may wait; newer ones replace the oldest."""
_FASTER: Final = 2.0
"""What is delivered so many times faster than its own time is a film, not a camera."""
_TOLD_FRAMES: Final = 30
_WEB: Final = "http,https,tcp,tls,crypto,httpproxy,data"
_PROTOCOLS: Final = {
    "http": _WEB,
    "https": _WEB,
    "tcp": "tcp",
    "tls": "tls,tcp",
    "rtsp": "rtsp,rtp,tcp",
    "rtsps": "rtsps,rtsp,rtp,tls,tcp",
    "rtmp": "rtmp,tcp",
    "rtmps": "rtmps,rtmp,tls,tcp",
    "srt": "srt,udp",
    "udp": "udp",
}
"""What an address, or a playlist behind it, may lead to: what it asks for itself, never files.

An SDP on a web server, for one, would open UDP ports to everybody.
"""


class Stream(Source):
    """A live stream from the network.

    Args:
        url: one of SCHEMES, or what `open_url` has opened.
        rotate: degrees clockwise.

    Raises:
        SourceError: nobody answers in time, or not with pictures.
    """

    live = True
    frame_count = None

    def __init__(self, url: str | Reel, *, rotate: int = 0) -> None:
        reel = open_url(url) if isinstance(url, str) else url
        self.name = public(str(reel.location))
        self._reel = reel
        self._rotate = rotate
        reel.decode_at_once()
        self.finished = False
        """It has come to its end, as a film does: there is nothing to wait for."""
        # Pictures come one by one: looking ahead for a rate would be waiting.
        self._fps = reel.rate(measure=False)
        playlist = "hls" in reel.format.split(",")
        self._watch = GrowthWatch(self.name)
        self._worker: Worker[Frame] = Worker(
            self.name,
            self._read,
            capacity=_WAITING,
            newest=True,
            patience=_PLAYLIST_S + 1.0 if playlist else PATIENCE_S,
            look=self._watch.look_at_a_call,
        )
        try:
            first = self._worker.take()
        except SourceError:
            self._worker.close()
            raise
        if first is None:
            raise _silent(self.name, reel.problem or "no picture came")
        self._first = first
        self.size = first.size
        logger.info("%s: %dx%d", self.name, *self.size)

    @property
    def fps(self) -> float:
        """What FFmpeg guesses; MJPEG names no rate."""
        return self._fps

    def __iter__(self) -> Iterator[Frame]:
        given = self.size
        frame: Frame | None = self._first
        while frame is not None:
            given = note_size(self.name, given, frame.size)
            image = fit(frame.image, self.size)
            yield Frame(frame.index, frame.timestamp, image, frame.captured_at)
            frame = self._worker.take()
        if not self.finished:
            raise SourceError(f"No more pictures from {self.name}", why=self._reel.problem)

    def close(self) -> None:
        self._worker.close()

    def _read(self, worker: Worker[Frame]) -> None:
        """Decode in the worker's thread; times are those of arrival."""
        started, index, begin, last = 0.0, 0, 0.0, 0.0

        def beat() -> None:
            worker.beat()
            self._watch.look()

        try:
            for decoded in self._reel.pictures(beat):
                now = time.monotonic()
                if not index:
                    started, begin = now, decoded.seconds
                last = decoded.seconds
                image = self._reel.picture(decoded, self._rotate)
                worker.put(Frame(index, now - started, image, now))
                index += 1
            taken = time.monotonic() - started
            faster = self._reel.has_times and last - begin > _FASTER * taken
            told = "hls" in self._reel.format.split(",") or self._reel.duration is not None
            # A film without a length is cut off by its end: FFmpeg cannot tell that from a failure.
            self.finished = (told and not self._reel.problem) or (index > _TOLD_FRAMES and faster)
        finally:
            self._reel.close()


def open_url(url: str) -> Reel:
    """Connect, within TIMEOUT_S or a little more.

    Raises:
        SourceError: nobody answers in time, or not with a video.
    """
    name = public(url)

    def connect(worker: Worker[Reel]) -> None:
        worker.put(_connected(url))

    look = GrowthWatch(name).look_at_a_call
    worker: Worker[Reel] = Worker(name, connect, patience=PATIENCE_S, look=look)
    start = time.monotonic()
    try:
        reel = worker.take()
    except NoVideo as error:
        raise _silent(name, f"there is no video there: it holds {error}") from error
    except (FFmpegError, OSError) as error:
        # Behind a limit that was reached FFmpeg reports an end, or invalid data.
        late = time.monotonic() - start > 0.9 * TIMEOUT_S
        raise _silent(name, "nothing more came in time" if late else reason(error)) from error
    except SourceError as error:
        raise SourceError(
            f"Cannot open the stream {name}", why=error.why, hint=error.hint
        ) from error
    assert reel is not None
    return reel


def _connected(url: str) -> Reel:
    """What never ends comes through a `Feed`, which bounds it; FFmpeg reads the rest itself,
    since it has to find its way in films and to follow playlists."""
    options, timeout = _options(url), (TIMEOUT_S, _PLAYLIST_S)
    if scheme_of(url) not in _BYTE_SCHEMES:
        return Reel(url, options=options, timeout=(TIMEOUT_S, PATIENCE_S), piece=STREAM_PIECE)
    suffix = PurePosixPath(urlsplit(url).path).suffix.lower()
    if suffix == _DASH_SUFFIX and not _reads("dash"):
        raise SourceError(
            f"{public(url)} is a DASH stream",
            why="the FFmpeg that PyAV brings does not read DASH",
            hint="its HLS address, which ends in .m3u8, if there is one",
        )
    named = suffix in URL_SUFFIXES or suffix in _PLAYLIST_SUFFIXES
    if scheme_of(url) not in FILM_SCHEMES or not named:
        feed = Feed(url, options, timeout)
        always = feed.is_multipart or scheme_of(url) not in FILM_SCHEMES
        if always or (feed.is_endless and not feed.is_text):
            return Reel(url, options=options, feed=feed)
        feed.close()
    others = ",".join(sorted(av.formats_available - {"mpjpeg"}))
    try:
        reel = Reel(
            url, options={**options, "format_whitelist": others}, timeout=timeout, piece=FILM_PIECE
        )
    except FFmpegError as error:
        if error.errno != errno.EINVAL:  # which says: a camera behind a film's name
            raise
        feed = Feed(url, options, timeout)
        if not feed.is_multipart:
            feed.close()
            raise
        return Reel(url, options=options, feed=feed)
    if {"hls", "dash"} & set(reel.format.split(",")) or not is_film(reel):
        reel.bound(STREAM_PIECE)
    return reel


def is_film(reel: Reel) -> bool:
    """Tell what ends from what does not, by what the server and the container say."""
    url = str(reel.location)
    if scheme_of(url) not in FILM_SCHEMES or "mpjpeg" in reel.format:
        return False
    if "hls" in reel.format.split(","):
        return reel.duration is not None
    suffix = PurePosixPath(urlsplit(url).path).suffix.lower()
    return reel.duration is not None or reel.bytes is not None or suffix in URL_SUFFIXES


def _reads(format_name: str) -> bool:
    """Whether this FFmpeg has a reader for a format; `av.formats_available` names writers too."""
    try:
        return bool(av.ContainerFormat(format_name, "r").is_input)
    except ValueError:
        return False


def scheme_of(url: str) -> str:
    """Lower-case scheme of an address."""
    return url.partition("://")[0].lower()


def _options(url: str) -> dict[str, str]:
    """FFmpeg's options for an address: limits of its protocol, and no buffering where it is live.

    `nobuffer` throws away what was read to find out what it is, which is the beginning of a film.
    """
    options = {"protocol_whitelist": _PROTOCOLS[scheme_of(url)]}
    micros = str(round(TIMEOUT_S * 1e6))
    match scheme_of(url):
        case "rtsp" | "rtsps":
            options |= {"rtsp_transport": "tcp", "timeout": micros}
        case "rtmp" | "rtmps" | "srt":
            # There `timeout` means something else: to wait for somebody to connect.
            options |= {"rw_timeout": micros}
        case _:
            options |= {"timeout": micros, "rw_timeout": micros}
    if scheme_of(url) not in FILM_SCHEMES:
        options |= {"fflags": "nobuffer", "flags": "low_delay"}
    return options


def _silent(name: str, why: str) -> SourceError:
    return SourceError(
        f"Cannot open the stream {name}",
        why=f"{why or 'no picture came'} (it has {TIMEOUT_S:.0f} s)",
        hint="check the address, the password, and that the camera is on the network",
    )
