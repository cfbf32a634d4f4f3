"""The status line on a real pseudo-terminal, and what others print meanwhile."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

pty = pytest.importorskip("pty", reason="pseudo-terminals are a POSIX affair")

CODE = """
import logging, os, sys
from types import SimpleNamespace
from posemamba_live.run.progress import FileProgress, LiveStatus, Alone
from posemamba_live.terminal import say
from functools import partial
logging.basicConfig(format="%(levelname)s: %(message)s")
stats = SimpleNamespace(frames_out=7, latency_ms=41.0, frames_dropped=2, fps_out=3.0)
run = SimpleNamespace(stats=stats, status="", drawn=None)
make = LiveStatus if sys.argv[1] == "live" else partial(FileProgress, "walk.mp4", 10)
with Alone(make) as report:
    report(run)
    os.write(2, b"W0000 00:00:1732 123 face.cc:99] Sets FaceBlendshapes\\n")
    os.write(2, b"[h264 @ 0x55d5c0] error while decoding MB 3 5\\n")
    os.write(2, b"[ WARN:0@0.12] global cap.cpp:440 open VIDEOIO\\n")
    os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\\n")
    os.write(2, b"\\x1b[2m2026-11-29T05:56:35.6Z\\x1b[0m \\x1b[33m WARN\\x1b[0m re_grpc: it\\n")
    os.write(2, b"error: XDG_RUNTIME_DIR is invalid or not set in the environment.\\n")
    os.write(2, b"a library's last words\\n")
    say("a note of ours")
    logging.warning("a warning")
    report(run)
os.write(2, b"after it\\n")
"""


@pytest.mark.parametrize("kind", ["live", "file"])
def test_nobody_writes_into_the_status_line(kind: str) -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, kind], stderr=slave, env={**os.environ, "TERM": "xterm"}
    )
    os.close(slave)
    output = b""
    while True:
        try:
            chunk = os.read(master, 4096)
        except OSError:  # how Linux says that the other end has gone
            break
        if not chunk:
            break
        output += chunk
    os.close(master)
    assert process.wait(timeout=60) == 0
    text = output.decode()
    for noise in ("face.cc", "h264", "VIDEOIO", "TensorFlow", "re_grpc", "XDG"):
        assert noise not in text
    for line in ("a library's last words", "a note of ours", "WARNING: a warning"):
        # begins on a line of its own that was cleared before, and ends it
        assert re.search(rf"\x1b\[2K{re.escape(line)}\r?\n", text), text
    assert "after it" in text
    assert ("7/10" if kind == "file" else "2 dropped") in text
