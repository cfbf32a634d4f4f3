"""Is there a screen to open a window on? Answered without importing a graphics library."""

from __future__ import annotations

import os
import re
import socket
import sys
from pathlib import Path

_TIMEOUT_S = 1.0
_X11_PORT = 6000


def display_available() -> bool:
    """Whether a window could be opened.

    On Linux a window needs an X11 or Wayland server that answers: DISPLAY often outlives
    the session that it was set for. Other systems always have a screen.
    """
    if not sys.platform.startswith("linux"):
        return True
    return _wayland_answers(os.environ.get("WAYLAND_DISPLAY", "")) or _x11_answers(
        os.environ.get("DISPLAY", "")
    )


def _wayland_answers(name: str) -> bool:
    """`name` is a socket's path, relative to XDG_RUNTIME_DIR."""
    return bool(name) and _connects(str(Path(os.environ.get("XDG_RUNTIME_DIR", "")) / name))


def _x11_answers(name: str) -> bool:
    """`name` reads host:display.screen; without a host it is a socket on this machine."""
    match = re.fullmatch(r"(?P<host>.*):(?P<number>\d+)(\.\d+)?", name)
    if match is None:
        return False
    number = int(match["number"])
    if match["host"] in ("", "unix"):
        path = f"/tmp/.X11-unix/X{number}"
        return _connects(path) or _connects(f"\0{path}")  # the abstract name of the same socket
    try:
        address = (match["host"], _X11_PORT + number)
        with socket.create_connection(address, timeout=_TIMEOUT_S):
            return True
    except (OSError, OverflowError):
        return False


def _connects(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(_TIMEOUT_S)
        try:
            client.connect(path)
        except OSError:
            return False
        return True
