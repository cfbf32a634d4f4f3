"""The program opens no connection of its own: a whole run where sockets are death."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

SOCKET: Final = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
"""Of a machine: its name for the kernel's filters, and the number of `socket`."""
INET, INET6 = 2, 10
BLAZEPOSE: Final = Path(__file__).parent.parent / "weights" / "blazepose-full.onnx"

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in SOCKET,
    reason="needs the kernel's filters of system calls, of Linux",
)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))


def forbid_sockets() -> None:
    """From here on this process and its children die of `socket(AF_INET or AF_INET6)`.

    By the kernel, so that native libraries are held to it as well; local sockets between
    processes are not the network.
    """
    load, equal, answer = 0x20, 0x15, 0x06
    machine, number = SOCKET[platform.machine()]
    kill, allow = 0x80000000, 0x7FFF0000
    steps = [
        (load, 0, 0, 4),  # the machine
        (equal, 0, 6, machine),
        (load, 0, 0, 0),  # the system call
        (equal, 0, 4, number),
        (load, 0, 0, 16),  # its first argument: the family
        (equal, 1, 0, INET),
        (equal, 0, 1, INET6),
        (answer, 0, 0, kill),
        (answer, 0, 0, allow),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = _Program(len(steps), ctypes.cast(code, ctypes.c_void_p))
    libc = ctypes.CDLL(None, use_errno=True)
    no_new_privileges, seccomp, by_filter = 38, 22, 2
    for call in (
        (no_new_privileges, 1, 0, 0, 0),
        (seccomp, by_filter, ctypes.byref(program), 0, 0),
    ):
        if libc.prctl(*call) != 0:
            raise OSError(ctypes.get_errno(), "prctl")


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    shown = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    return subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env=shown,
        capture_output=True,
        text=True,
        preexec_fn=forbid_sockets,
        timeout=300.0,
    )


def test_the_filter_works(tmp_path: Path) -> None:
    local = "import socket; socket.socketpair()"
    assert run("-c", local, cwd=tmp_path).returncode == 0
    for family in ("AF_INET", "AF_INET6"):
        code = f"import socket; socket.socket(socket.{family}, socket.SOCK_DGRAM)"
        assert run("-c", code, cwd=tmp_path).returncode < 0


def test_onnx_runtime_is_quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By itself it looks its maker's host up in the first seconds, and numbers the machine."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CACHE_HOME", "ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    code = (
        "import posemamba_live, onnxruntime, time; from pathlib import Path;"
        f"onnxruntime.InferenceSession({str(BLAZEPOSE)!r}, providers=['CPUExecutionProvider']);"
        "time.sleep(3.0)"
    )
    assert run("-c", code, cwd=tmp_path).returncode == 0
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_file_is_lifted_exported_and_recorded_without_the_network(
    walk_clip: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    done = run(
        "-m", "posemamba_live", str(walk_clip), "--headless", "--weights", str(tiny_weights),
        "--export", "poses.npz", "--record", "walk.mp4", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "poses.npz").stat().st_size > 0
    assert (tmp_path / "walk.mp4").stat().st_size > 0
