"""The whole program, live, where a crowd holds more connections than it may have descriptors."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from websockets.sync.client import ClientConnection, connect

from posemamba_live.takes.take import read_take
from tests.support.mjpeg_server import MjpegServer

LOOPBACK = "127.0.0.1"
CROWD = 1_100
DESCRIPTORS = 1_024
HALF = """if True:
    import socket, sys
    kept = []
    for _ in range(int(sys.argv[2])):
        kept.append(socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=20.0))
    print(len(kept), flush=True)
    sys.stdin.readline()
"""
"""Part of the crowd: no process may have many more descriptors than ours."""


def listener(port: int, process: subprocess.Popen[str]) -> ClientConnection:
    """Connected as soon as the program listens."""
    deadline = time.monotonic() + 60.0
    while True:
        assert process.poll() is None
        assert time.monotonic() < deadline
        with suppress(OSError):
            return connect(f"ws://{LOOPBACK}:{port}")
        time.sleep(0.1)


def poses(client: ClientConnection, count: int) -> None:
    """Wait for so many messages with pictures."""
    while count:
        count -= "frame_index" in json.loads(client.recv(timeout=30.0))


@pytest.mark.skipif(sys.platform == "win32", reason="sockets are no descriptors there")
def test_a_crowd_changes_nothing(walk_clip: Path, tmp_path: Path) -> None:
    with socket.create_server((LOOPBACK, 0)) as free:
        port = free.getsockname()[1]
    with MjpegServer(walk_clip, (640, 360), max_frames=60) as camera, ExitStack() as stack:
        command = [
            sys.executable, "-m", "posemamba_live", camera.url, "--headless",
            "--stream", f"ws://{LOOPBACK}:{port}", "--export", "a.npz", "--stats", "stats.json",
        ]  # fmt: skip
        limited = ["sh", "-c", f'ulimit -n {DESCRIPTORS} && exec "$@"', "sh", *command]
        said = stack.enter_context((tmp_path / "said").open("w+"))
        process = stack.enter_context(
            subprocess.Popen(limited, cwd=tmp_path, stderr=said, stdout=said, text=True)
        )
        stack.callback(process.kill)
        early = stack.enter_context(listener(port, process))
        poses(early, 5)
        halves = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", HALF, str(port), str(CROWD // 2)],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                )
            )
            for _ in range(2)
        ]  # fmt: skip
        for half in halves:
            stack.callback(half.kill)
        for half in halves:
            assert half.stdout is not None
            assert half.stdout.readline().strip() == str(CROWD // 2)
        poses(early, 20)
        late = stack.enter_context(connect(f"ws://{LOOPBACK}:{port}"))
        poses(late, 5)
        process.send_signal(signal.SIGINT)
        assert process.wait(60.0) == 130
        said.seek(0)
        text = said.read()
    assert "Traceback" not in text
    assert text.lower().count("warning") <= 1
    assert len(read_take(tmp_path / "a.npz").poses) >= 25
    assert json.loads((tmp_path / "stats.json").read_text())["fps_out"] > 0
