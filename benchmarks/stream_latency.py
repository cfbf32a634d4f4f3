"""What a stream adds to the age of a pose: from the finished pose to its receipt, on loopback.

Runs the command on a network camera that plays a clip (a process of its own), with one
receiver for each kind of stream (one process each). Both ends read the system's monotonic
clock (Linux), so that a message's receipt minus the moment its pose was there is what the
stream costs: hand-over between threads, encoding, sockets, waking up the receiver.

    python benchmarks/stream_latency.py demo_videos/walk_turn.mp4 --seconds 20 --only udp,binary
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
QUIET_S = 5.0


def receive_datagrams(pipe: Connection, port: int) -> None:
    """Receive until nothing comes any more; give back (message, seconds) pairs."""
    got = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", port))
        pipe.send("ready")
        while True:
            try:
                data = receiver.recv(65536)
            except TimeoutError:
                break
            got.append((data, time.monotonic()))
            receiver.settimeout(QUIET_S)
    pipe.send(got)


def receive_messages(pipe: Connection, port: int, form: str) -> None:
    """Connect as soon as the server is there, then the same."""
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    pipe.send("ready")
    got = []
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except ConnectionRefusedError:
            time.sleep(0.1)
    url = f"ws://127.0.0.1:{port}"
    with connect(url, subprotocols=[form], compression=None, open_timeout=60.0) as client:  # type: ignore[list-item]
        try:
            while True:
                got.append((client.recv(), time.monotonic()))
        except ConnectionClosed:
            pass
    pipe.send(got)


def json_index(data: str | bytes) -> int | None:
    return json.loads(data).get("frame_index")


def binary_index(data: str | bytes) -> int | None:
    return int.from_bytes(data[8:16], "little") if isinstance(data, bytes) else None


def vmc_index(data: bytes) -> float | None:
    """The source's time, of the bundle that ends a picture."""
    at = data.find(b"/VMC/Ext/T\0")
    return None if at < 0 else float(np.frombuffer(data[-4:], ">f4")[0])


@dataclass(frozen=True)
class Kind:
    """One kind of stream."""

    url: str
    receive: Callable[..., None]
    index: Callable[[Any], Any]
    """Which picture a message is: its frame, or the source's time."""
    more: tuple[str, ...] = ()


KINDS = {
    "ws,json": Kind("ws://:{}", receive_messages, json_index, ("posemamba.json.v1",)),
    "ws,binary": Kind("ws://:{}", receive_messages, binary_index, ("posemamba.binary.v1",)),
    "udp,json": Kind("udp://:{}", receive_datagrams, json_index),
    "udp,binary": Kind("udp://:{}?format=binary", receive_datagrams, binary_index),
    "osc": Kind("osc://:{}", receive_datagrams, vmc_index),
}


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--only", choices=KINDS, help="one kind instead of all at once")
    parser.add_argument("--size", type=int, nargs=2, default=(1280, 720), metavar=("W", "H"))
    arguments = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    kinds = {k: v for k, v in KINDS.items() if arguments.only in (None, k)}
    pipes, streams = {}, []
    for name, kind in kinds.items():
        mine, theirs = spawn.Pipe()
        port = free_port()
        spawn.Process(target=kind.receive, args=(theirs, port, *kind.more), daemon=True).start()
        pipes[name] = mine
        streams.append(kind.url.format(port))
    for pipe in pipes.values():
        pipe.recv()
    server = [sys.executable, str(ROOT / "tests" / "mjpeg_server.py"), str(arguments.clip)]
    size = [str(length) for length in arguments.size]
    camera = subprocess.Popen([*server, *size], stdout=subprocess.PIPE, text=True)
    assert camera.stdout is not None
    url = camera.stdout.readline().strip()

    from posemamba_live import cli
    from posemamba_live.run.assembly import Picture
    from posemamba_live.run.pipeline import Run

    done: dict[float, float] = {}
    ages: list[float] = []
    give_out = Run._give_out

    def noted(run: Run, picture: Picture) -> None:
        now = time.monotonic()
        done[picture.frame.index] = now
        done[float(np.float32(picture.frame.timestamp))] = now
        ages.append(1e3 * (now - picture.frame.captured_at))
        give_out(run, picture)

    Run._give_out = noted  # type: ignore[method-assign]
    given = [word for stream in streams for word in ("--stream", stream)]
    cli.run([url, "--headless", "--duration", str(arguments.seconds), *given])
    camera.terminate()
    print(f"\npose there after capture: p50 {np.percentile(ages, 50):.1f} ms")
    print(f"{'':12} {'received':>9} {'added p50':>10} {'p95':>6} {'max':>6} ms")
    for name, kind in kinds.items():
        added = [
            1e3 * (at - done[key])
            for data, at in pipes[name].recv()
            if (key := kind.index(data)) is not None and key in done
        ]
        p50, p95, most = np.percentile(added, [50, 95, 100])
        print(f"{name:12} {len(added):9} {p50:10.2f} {p95:6.2f} {most:6.1f}")


if __name__ == "__main__":
    main()
