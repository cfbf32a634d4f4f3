"""Where pictures come from: one file per kind, one Protocol (`base.Source`)."""

from __future__ import annotations

import errno
import os
import shlex
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path

from posemamba_live.errors import SourceError, UsageError
from posemamba_live.nearest import nearest
from posemamba_live.shown import public
from posemamba_live.sources import images, network
from posemamba_live.sources.animation import AnimatedWebp
from posemamba_live.sources.base import Source, printable
from posemamba_live.sources.camera import Camera, CameraMode
from posemamba_live.sources.container import STDIN, Reel
from posemamba_live.sources.images import ImageSequence
from posemamba_live.sources.live import LiveSource
from posemamba_live.sources.meant import check_meant
from posemamba_live.sources.network import Stream
from posemamba_live.sources.video import FILE_PATIENCE_S, Sound, VideoFile

__all__ = [
    "STDIN",
    "Camera",
    "CameraMode",
    "ImageSequence",
    "LiveSource",
    "Source",
    "Stream",
    "VideoFile",
    "open_source",
    "sound_of",
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
    rotate: int = 0,
    fps: float | None = None,
    camera_mode: CameraMode | None = None,
) -> Source:
    """Open what the user names.

    Args:
        source: a video file, a folder, pattern or file of pictures, a URL, or "-" for a video
            that comes through the standard input. What ends behind a URL is read as a file.
        camera: index or device path, instead of `source`.
        realtime: play a file at its own rate as if it were a camera.
        start, end: seconds; of a file.
        duration: seconds, from `start` on.
        max_frames: how many frames at most.
        rotate: degrees clockwise (0, 90, 180, 270), after what the metadata asks for.
        fps: pictures a second of a sequence of pictures, which cannot say it.
        camera_mode: size and rate to ask a camera for.

    Returns:
        A `LiveSource` for cameras, streams and `realtime`; else a plain source.

    Raises:
        UsageError: both or neither of `source` and `camera`, or impossible limits.
        SourceError: it cannot be opened or read.
    """
    if (source is None) == (camera is None):
        what = "Nothing to look at" if source is None else "Two sources at once"
        raise UsageError(what, hint="exactly one of SOURCE and --camera N")
    _check_limits(start, end, duration, max_frames)
    if rotate not in (0, 90, 180, 270):
        raise UsageError(f"--rotate {rotate} is no quarter turn", hint="90, 180 or 270, clockwise")
    if source is not None and source != STDIN:
        check_meant(source, network.SCHEMES)
        _check_name(source)
    part = start > 0 or end is not None

    if camera is not None or source is None:
        _check_live(part=part, fps=fps)
        device = _device(camera)
        opener: Callable[[], Source] = partial(Camera, device, mode=camera_mode, rotate=rotate)
        return LiveSource(opener, max_frames=max_frames, duration=duration)
    if camera_mode is not None:
        raise UsageError("--camera-size is for cameras", hint="with --camera N")

    scheme = _scheme(source)
    if scheme and scheme not in network.FILM_SCHEMES:
        _check_live(part=part, fps=fps)
    reel = network.open_url(source) if scheme else None
    if reel is not None and not network.is_film(reel):
        if part or fps is not None:
            reel.close()
            _check_live(part=part, fps=fps)
        return LiveSource(
            partial(Stream, source, rotate=rotate),
            inner=Stream(reel, rotate=rotate),
            max_frames=max_frames,
            duration=duration,
        )

    if duration is not None:
        end = min(start + duration, end if end is not None else float("inf"))
    open_file = partial(_open_file, reel or source, start=start, end=end, rotate=rotate, fps=fps)
    if realtime:
        return LiveSource(open_file, max_frames=max_frames)
    return open_file(max_frames=max_frames)


def sound_of(source: Source) -> Sound | None:
    """The sound that belongs to a film, also while it is played as a camera."""
    return source.sound if isinstance(source, VideoFile | LiveSource) else None


def _open_file(
    source: str | Reel,
    *,
    start: float,
    end: float | None,
    rotate: int,
    fps: float | None,
    max_frames: int | None = None,
) -> Source:
    if isinstance(source, str) and source != STDIN and images.are_meant(source):
        return images.ImageSequence(
            source, fps=fps, start=start, end=end, max_frames=max_frames, rotate=rotate
        )
    if fps is not None:
        raise UsageError(
            "--fps is for sequences of pictures",
            why="videos, cameras and streams have a rate",
            hint="leave it out",
        )
    if isinstance(source, str) and images.is_webp_film(source):
        return AnimatedWebp(
            Path(source), start=start, end=end, max_frames=max_frames, rotate=rotate
        )
    if source == STDIN and start > 0:
        raise UsageError(
            "--start is for files",
            why="a pipe cannot be wound forward",
            hint="let the program before the pipe begin there",
        )
    return VideoFile(
        Path(source) if isinstance(source, str) and source != STDIN else source,
        start=start,
        end=end,
        max_frames=max_frames,
        rotate=rotate,
        patience=network.PATIENCE_S if isinstance(source, Reel) else FILE_PATIENCE_S,
    )


def _check_live(*, part: bool, fps: float | None) -> None:
    if part:
        raise UsageError("--start and --end are for files", hint="--duration ends a live source")
    if fps is not None:
        raise UsageError("--fps is for sequences of pictures", hint="--camera-size 1280x720@30")


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
    why = "cameras have numbers, or paths in /dev"
    hint = "a number from 0, or a path in /dev; --camera list prints which there are"
    if os.path.isfile(text):
        why, hint = "it is a file", f"posemamba-live {shlex.quote(text)}, without --camera"
    elif nearest(text, ("list",)):
        hint = "did you mean --camera list?"
    raise UsageError(f"--camera {text}: no camera is called {text!r}", why=why, hint=hint)


def _check_name(name: str) -> None:
    """Refuse what no library opens, or only waits for."""
    try:
        kind = os.stat(name).st_mode
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP) and not _scheme(name):
            raise SourceError(
                f"Cannot open {printable(name)}",
                why=str(error.strerror),
                hint="a video file, or --camera N",
            ) from error
        return
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        raise SourceError(
            f"Cannot open {printable(name)}",
            why="it is not a regular file, but a pipe or a device",
            hint="a video file, --camera N, or - for a pipe",
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
