"""The list of cameras, out of what a kernel answers."""

from __future__ import annotations

import errno
import struct
import sys
from pathlib import Path

import pytest

from posemamba_live.errors import UsageError
from posemamba_live.sources import CameraMode, camera_list
from posemamba_live.sources.camera_list import CameraInfo, described

MJPG, YUYV = (int.from_bytes(code, "little") for code in (b"MJPG", b"YUYV"))
SIZES = {MJPG: [(1280, 720), (640, 480)], YUYV: [(640, 480)]}
RATES = {(MJPG, 1280): [(1, 60), (1, 30)], (MJPG, 640): [(1, 30)], (YUYV, 640): [(2, 15)]}


def kernel(file: int, request: int, buffer: bytearray) -> None:
    """A camera as Linux describes it."""
    if request == camera_list._QUERYCAP:
        struct.pack_into("16s32s32s3I", buffer, 0, b"uvc", b"HD Webcam", b"usb", 1, 1 << 31 | 1, 1)
        return
    index, *asked = struct.unpack_from("4I", buffer)
    try:
        if request == camera_list._ENUM_FMT:
            struct.pack_into("I", buffer, 44, [MJPG, YUYV][index])
        elif request == camera_list._ENUM_SIZES:
            struct.pack_into("3I", buffer, 8, 1, *SIZES[asked[0]][index])
        else:
            struct.pack_into("3I", buffer, 16, 1, *RATES[asked[0], asked[1]][index])
    except IndexError:
        raise OSError(errno.EINVAL, "no more") from None


@pytest.mark.skipif(sys.platform == "win32", reason="V4L2 is Linux's")
def test_a_camera_tells_its_modes(tmp_path: Path) -> None:
    device = tmp_path / "video2"
    device.touch()
    info = camera_list._ask(device, kernel)
    assert info == CameraInfo(
        "2", "HD Webcam", ("MJPG  1280x720@60,30  640x480@30", "YUYV  640x480@7.5")
    )
    text = described([info])
    assert text.splitlines()[0] == "--camera 2   HD Webcam"
    assert "    MJPG  1280x720@60,30  640x480@30" in text


@pytest.mark.skipif(sys.platform != "linux", reason="V4L2 is Linux's")
def test_what_is_no_camera_is_not_listed(tmp_path: Path) -> None:
    plain = tmp_path / "video0"
    plain.touch()
    assert camera_list._ask(plain) is None
    assert camera_list._ask(tmp_path / "video1") is None
    assert "no camera" in described([])


def test_modes_are_read_as_they_are_written() -> None:
    assert CameraMode.parse("1280x720@60") == CameraMode(1280, 720, 60.0)
    assert CameraMode.parse("640X480") == CameraMode(640, 480, 30.0)
    for text in ("720p", "1280x", "1280x720@", "1280x720@fast", ""):
        with pytest.raises(UsageError, match="--camera-size"):
            CameraMode.parse(text)
