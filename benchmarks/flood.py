"""Poses a second live, while somebody floods the WebSocket server, and while nobody does.

Plays a clip as a network camera on loopback (1280x720, 30 pictures a second) and runs the command
on it, headless, with `--stream ws://`; in turns alone and with a client on the same machine that
sends one-byte messages (or pings) as fast as it can, and comes back when it is sent away.

    python benchmarks/flood.py demo_videos/walk_turn.mp4 --rounds 3
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_HERE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(_HERE))

from tests.support.mjpeg_server import MjpegServer  # noqa: E402

_HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_FRAMES = {
    "messages": b"\x82\x81\x00\x00\x00\x00x",
    "pings": b"\x89\x80\x00\x00\x00\x00",
}
"""Masked, as clients send them."""
_PAUSE_S = 0.05
"""Before a client that was sent away comes back."""


def flood(port: int, frame: bytes) -> None:
    """Send until killed."""
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1.0) as sock:
                sock.sendall(_HANDSHAKE)
                while True:
                    sock.sendall(frame * 100)
        except OSError:  # noqa: PERF203
            time.sleep(_PAUSE_S)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def run(url: str, kind: str, seconds: float, folder: Path) -> tuple[float, float]:
    """Poses a second, and median age of a pose in ms, of one run."""
    port, stats = free_port(), folder / "stats.json"
    command = [
        sys.executable, "-m", "posemamba_live", url, "-q", "--overwrite", "--headless",
        "--stream", f"ws://127.0.0.1:{port}", "--duration", str(seconds), "--stats", str(stats),
    ]  # fmt: skip
    path = os.pathsep.join(str(_HERE / part) for part in ("app", "models"))
    client = None
    if kind in _FRAMES:
        client = subprocess.Popen([sys.executable, __file__, "--flood", kind, "--port", str(port)])
    try:
        subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": path}, check=True)
    finally:
        if client is not None:
            client.kill()
            client.wait()
    values = json.loads(stats.read_text())
    return values["fps_out"], values["latency_ms"]["p50"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--flood", choices=sorted(_FRAMES), help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.flood:
        flood(given.port, _FRAMES[given.flood])
    if given.clip is None:
        parser.error("which clip?")
    found: dict[str, list[tuple[float, float]]] = {kind: [] for kind in ("alone", *_FRAMES)}
    with tempfile.TemporaryDirectory() as name, MjpegServer(given.clip, (1280, 720)) as server:
        for _ in range(given.rounds):
            for kind, runs in found.items():
                runs.append(run(server.url, kind, given.seconds, Path(name)))
                print(f"{kind:8} {runs[-1][0]:5.1f} poses/s, age p50 {runs[-1][1]:4.0f} ms")
    rates = {kind: statistics.median(rate for rate, _ in runs) for kind, runs in found.items()}
    for kind, rate in rates.items():
        print(f"median, {kind:8} {rate:5.1f} poses/s, {rate / rates['alone']:.2f} of alone")


if __name__ == "__main__":
    main()
