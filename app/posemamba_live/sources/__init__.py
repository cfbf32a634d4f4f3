"""Where pictures come from: one file per kind, one Protocol (`base.Source`)."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from posemamba_live.errors import SourceError, UsageError
from posemamba_live.shown import public
from posemamba_live.sources import images, network, video
from posemamba_live.sources.base import Source
from posemamba_live.sources.camera import Camera
from posemamba_live.sources.images import ImageSequence
from posemamba_live.sources.live import LiveSource
from posemamba_live.sources.network import Stream
from posemamba_live.sources.video import VideoFile

__all__ = [
    "Camera",
    "ImageSequence",
    "LiveSource",
    "Source",
    "Stream",
    "VideoFile",
    "open_source",
]


def open_source(
    source: str | None = None,
    *,
    camera: int | str | None = None,
    realtime: bool = False,
    start: float = 0.0,
    end: float | None = None,
    duration: float | None = None,
    max_frames: int | None = None,
) -> Source:
    """Open what the user names.

    Args:
        source: a video file, a folder, pattern or file of pictures, or a URL. A URL is a
            live stream unless it ends like a video file.
        camera: index or device path, instead of `source`.
        realtime: play a file at its own rate as if it were a camera.
        start, end: seconds of a file.
        duration: seconds, from `start` on.
        max_frames: how many frames at most.

    Returns:
        A `LiveSource` for cameras, streams and `realtime`; else a source without threads.

    Raises:
        UsageError: both or neither of `source` and `camera`, or impossible limits.
        SourceError: it cannot be opened or read.
    """
    if (source is None) == (camera is None):
        what = "Nothing to look at" if source is None else "Two sources at once"
        raise UsageError(what, hint="exactly one of SOURCE and --camera N")
    _check_limits(start, end, duration, max_frames)
    if source is not None:
        _check_name(source)

    if camera is not None or source is None or _is_stream(source):
        if start > 0 or end is not None:
            raise UsageError(
                "--start and --end are for files", hint="--duration ends a live source"
            )
        opener: Callable[[], Source]
        if camera is not None or source is None:
            opener = partial(Camera, _device(camera))
        else:
            opener = partial(Stream, source)
        return LiveSource(opener, max_frames=max_frames, duration=duration)

    if duration is not None:
        end = min(start + duration, end if end is not None else float("inf"))
    open_file = partial(_open_file, source, start=start, end=end)
    if realtime:
        return LiveSource(open_file, max_frames=max_frames)
    return open_file(max_frames=max_frames)


def _open_file(
    source: str, *, start: float, end: float | None, max_frames: int | None = None
) -> Source:
    if _scheme(source):
        return VideoFile(source, start=start, end=end, max_frames=max_frames)
    path = Path(source)
    is_images = os.path.isdir(path) or path.suffix.lower() in images.SUFFIXES
    if images.is_pattern(source) or (is_images and os.path.exists(path)):
        return ImageSequence(source, start=start, end=end, max_frames=max_frames)
    return VideoFile(path, start=start, end=end, max_frames=max_frames)


def _is_stream(source: str) -> bool:
    scheme = _scheme(source)
    suffix = PurePosixPath(urlsplit(source).path).suffix.lower() if scheme else ""
    return scheme.startswith("rtsp") or (bool(scheme) and suffix not in video.URL_SUFFIXES)


def _scheme(source: str) -> str:
    """Lower-case scheme of a URL that can be opened; empty for a path.

    Raises:
        UsageError: a URL of another kind.
    """
    scheme, separator, _ = source.partition("://")
    if not separator or os.path.exists(source):
        return ""
    if scheme.lower() not in network.SCHEMES:
        raise UsageError(
            f"Cannot open {public(source)}", why=f"{scheme}:// is not supported",
            hint=f"a file, or one of {', '.join(f'{name}://' for name in network.SCHEMES)}",
        )  # fmt: skip
    return scheme.lower()


def _device(camera: int | str | None) -> int | str:
    text = str(camera)
    if text.isdecimal():
        return int(text)
    if text.startswith("/dev/"):
        return text
    raise UsageError(f"No camera is called {text!r}", hint="a number from 0, or a path in /dev")


def _check_name(name: str) -> None:
    """Libraries in C++ take names as UTF-8, and some fall over anything else."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise SourceError(
            f"Cannot open {name}", why="its name is not UTF-8", hint="give it another name"
        ) from error
    try:
        kind = os.stat(name).st_mode
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP) and not _scheme(name):
            raise SourceError(
                f"Cannot open {name}", why=str(error.strerror), hint="a video file, or --camera N"
            ) from error
        return
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        raise SourceError(
            f"Cannot open {name}",
            why="it is not a regular file, but a pipe or a device",
            hint="a video file, or --camera N",
        )


def _check_limits(
    start: float, end: float | None, duration: float | None, max_frames: int | None
) -> None:
    if not start >= 0:
        raise UsageError(f"Cannot start at {start:g} s", hint="--start 0 or later")
    if end is not None and not end > start:
        raise UsageError(f"The end, {end:g} s, is not after the start, {start:g} s")
    if duration is not None and not duration > 0:
        raise UsageError(f"A duration of {duration:g} s leaves nothing", hint="more than 0")
    if max_frames is not None and max_frames < 1:
        raise UsageError(f"{max_frames} frames leave nothing", hint="--max-frames 1 or more")
