"""Which cameras there are, and what sizes and rates they know."""

from __future__ import annotations

import errno
import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_BACKENDS: Final = {"darwin": "avfoundation", "win32": "dshow"}

# Linux: requests and layouts of linux/videodev2.h, the same on all 32 and 64 bit platforms.
_QUERYCAP, _CAPABILITY = 0x80685600, "16s32s32s3I12x"
_ENUM_FMT, _FORMAT = 0xC0405602, "3I32sI16x"
_ENUM_SIZES, _SIZE = 0xC02C564A, "3I6I8x"
_ENUM_INTERVALS, _INTERVAL = 0xC034564B, "5I6I8x"
_CAPTURE: Final = 1
_HAS_DEVICE_CAPS: Final = 0x80000000
_DISCRETE: Final = 1

Ioctl = Callable[[int, int, bytearray], object]


@dataclass(frozen=True, slots=True)
class CameraInfo:
    """A camera that is connected."""

    device: str
    """What --camera takes."""
    name: str
    modes: tuple[str, ...] = ()
    """Formats with their sizes and rates, where the system tells."""


def list_cameras() -> list[CameraInfo]:
    """All that the system knows of; none of them is opened for pictures."""
    if sys.platform == "linux":
        paths = sorted(Path("/dev").glob("video*"), key=lambda path: (len(path.name), path.name))
        found = (_ask(path) for path in paths)
        return [info for info in found if info is not None]
    return list(_from_ffmpeg(_BACKENDS.get(sys.platform, "")))


def described(cameras: list[CameraInfo]) -> str:
    """The list for people."""
    if not cameras:
        return "no camera was found (one that another user's program holds may be hidden)"
    lines = []
    for info in cameras:
        lines.append(f"--camera {info.device}   {info.name}")
        lines += [f"    {mode}" for mode in info.modes]
    return "\n".join(lines)


def _from_ffmpeg(backend: str) -> Iterator[CameraInfo]:
    try:
        from av.device import enumerate_input_devices  # PyAV 18
    except ImportError:
        return
    number = 0
    try:
        for device in enumerate_input_devices(backend):
            if "video" in device.media_types:
                yield CameraInfo(str(number), device.description or device.name)
                number += 1
    except (OSError, ValueError):
        return


def _ask(path: Path, ioctl: Ioctl | None = None) -> CameraInfo | None:
    """What a V4L2 device says; None for one that takes no pictures, or may not be opened."""
    if ioctl is None:
        from fcntl import ioctl as system_ioctl

        ioctl = system_ioctl
    number = path.name.removeprefix("video")
    try:
        with path.open("rb", buffering=0) as file:
            answer = _request(ioctl, file.fileno(), _QUERYCAP, _CAPABILITY)
            _, card, _, _, whole, own = struct.unpack(_CAPABILITY, answer or b"")
            if not (own if whole & _HAS_DEVICE_CAPS else whole) & _CAPTURE:
                return None
            modes = tuple(_modes(ioctl, file.fileno()))
    except PermissionError:
        return CameraInfo(number, "may not be opened: the user has to be in the group 'video'")
    except (OSError, struct.error):
        return None
    return CameraInfo(number, card.split(b"\0")[0].decode("utf-8", "replace"), modes)


def _request(ioctl: Ioctl, file: int, request: int, layout: str, *values: int) -> bytes | None:
    """Ask with the first fields set; None at the end of an enumeration."""
    size = struct.calcsize(layout)
    buffer = bytearray(struct.pack(f"{len(values)}I", *values).ljust(size, b"\0"))
    try:
        ioctl(file, request, buffer)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOTTY):
            return None
        raise
    return bytes(buffer)


def _each(ioctl: Ioctl, file: int, request: int, layout: str, *values: int) -> Iterator[bytes]:
    for index in range(256):
        answer = _request(ioctl, file, request, layout, index, *values)
        if answer is None:
            return
        yield answer


def _modes(ioctl: Ioctl, file: int) -> Iterator[str]:
    """A line for each format: `MJPG  1280x720@30,60  640x480@30`."""
    for answer in _each(ioctl, file, _ENUM_FMT, _FORMAT, _CAPTURE):
        code = struct.unpack(_FORMAT, answer)[-1]
        sizes = []
        for size in _each(ioctl, file, _ENUM_SIZES, _SIZE, code):
            _, _, kind, width, height, *rest = struct.unpack(_SIZE, size)
            if kind != _DISCRETE:  # width and height from, to, in steps of
                sizes.append(f"{width}x{rest[1]} to {height}x{rest[2]}")
                continue
            rates = [f"{rate:.4g}" for rate in _rates(ioctl, file, code, width, height)]
            sizes.append(f"{width}x{height}" + (f"@{','.join(rates)}" if rates else ""))
        name = code.to_bytes(4, "little").decode("ascii", "replace").strip()
        yield "  ".join((name, *sizes))


def _rates(ioctl: Ioctl, file: int, code: int, width: int, height: int) -> Iterator[float]:
    for answer in _each(ioctl, file, _ENUM_INTERVALS, _INTERVAL, code, width, height):
        _, _, _, _, kind, seconds, parts, *_ = struct.unpack(_INTERVAL, answer)
        if kind == _DISCRETE and seconds:
            yield parts / seconds
