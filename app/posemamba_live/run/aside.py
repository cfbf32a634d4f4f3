"""Keeps what others print off the status line: C++ logs go, everything else gets a line of its own.

Libraries write to file descriptor 2 itself, from any thread. While a status line is shown, the
descriptor leads into a pipe, and what comes out of it is printed above the line.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import threading
from typing import Final, TextIO

from posemamba_live import terminal

_NOISE: Final = re.compile(
    rb"[IWEF]\d{4} [\d:.]+\s+\d+ [\w.]+:\d+\]"  # absl: MediaPipe, TensorFlow
    rb"|WARNING: All log messages before absl::InitializeLog"
    rb"|(INFO|VERBOSE|WARNING): (Created|Initialized) TensorFlow Lite"
    rb"|\[[\w,.:/ -]+ @ 0x[0-9a-f]+\]"  # FFmpeg
    rb"|\[ *(WARN|INFO|ERROR):\d+@"  # OpenCV
    rb"|\d{4}-\d\d-\d\d [\d:.]+ \[[VIWEF]:onnxruntime"
    rb"|(\x1b\[\d+m)*\[?[\d-]+T[\d:.]+Z(\x1b\[\d+m| )*(INFO|WARN|ERROR)"  # Rerun
    rb"|OMP: (Info|Warning)"
    rb"|error: XDG_RUNTIME_DIR is "  # Wayland's library, where there is none
    rb"|    Last message repeated \d+ times"
)
_CLEAR: Final = b"\r\x1b[2K"
_WAIT_S: Final = 1.0


class Aside:
    """From here to `close`, descriptor 2 is turned aside; `stream` is the terminal.

    Args:
        everything: let logs through too, for who is looking for a mistake.

    Raises:
        OSError: there is no descriptor 2.
    """

    def __init__(self, *, everything: bool = False) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
        self._everything = everything
        self._terminal = os.dup(2)
        self.stream: TextIO = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="backslashreplace")
        """The terminal itself."""
        self._out, into = os.pipe()
        os.dup2(into, 2)
        os.close(into)
        terminal.speak_to(self._write)
        self._thread = threading.Thread(target=self._pass_on, name="aside", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Give the descriptor back. Idempotent."""
        if self._terminal < 0:
            return
        terminal.speak_to(None)
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
            self.stream.close()
        os.dup2(self._terminal, 2)  # the pipe's last end, unless a child process has it
        self._thread.join(_WAIT_S)
        if not self._thread.is_alive():
            os.close(self._terminal)
            os.close(self._out)
        self._terminal = -1

    def _pass_on(self) -> None:
        rest = b""
        while chunk := os.read(self._out, 65536):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._line(line)
        if rest:
            self._line(rest)

    def _line(self, line: bytes) -> None:
        if self._everything or not _NOISE.match(line):
            self._write(line + b"\n")

    def _write(self, text: bytes) -> None:
        with contextlib.suppress(OSError):
            os.write(self._terminal, _CLEAR + text)


def debugging() -> bool:
    """Whether somebody asked to be told everything."""
    return logging.getLogger("posemamba_live").isEnabledFor(logging.DEBUG)
