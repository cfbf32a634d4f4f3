"""Whether `--stream rerun://` slows live use: without it, to a receiver, to one that has stopped.

Runs the command on a network camera that plays a clip, in turns, headless. The receiver is Rerun's
own, in a process of its own on the same machine, which takes processor time as a viewer would but
draws nothing. The one that has stopped (SIGSTOP) takes connections and reads nothing.

    python benchmarks/rerun_stream.py demo_videos/walk_turn.mp4 --seconds 20 --rounds 2
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PORT = 19877
RECEIVER = f"""
import sys
import rerun
receiver = rerun.RecordingStream("receiver")
print(receiver.serve_grpc(grpc_port={PORT}), flush=True)
sys.stdin.read()
"""
WAYS = ("without", "to a receiver", "to one that has stopped")


@contextmanager
def receiver() -> Iterator[subprocess.Popen[str]]:
    """Rerun's server of recordings."""
    process = subprocess.Popen(
        [sys.executable, "-c", RECEIVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def camera(clip: Path) -> Iterator[str]:
    """The address of a network camera, a process of its own."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "tests/support/mjpeg_server.py"), str(clip)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split()[-1]
    finally:
        process.kill()
        process.wait()


def measure(url: str, seconds: float, stream: str | None) -> dict[str, Any]:
    """What `--stats` says of one live run."""
    with tempfile.TemporaryDirectory() as folder:
        stats = Path(folder) / "stats.json"
        words = [sys.executable, "-m", "posemamba_live", url, "--headless", "--quiet"]
        words += ["--duration", str(seconds), "--stats", str(stats)]
        words += ["--export", str(Path(folder) / "poses.npz")]
        words += [] if stream is None else ["--stream", stream]
        subprocess.run(words, check=True)
        return dict(json.loads(stats.read_text()))


def in_one_way(url: str, seconds: float, way: str) -> dict[str, Any]:
    """The same, with a receiver where there is to be one."""
    if way == "without":
        return measure(url, seconds, None)
    with receiver() as process:
        if way != "to a receiver":
            process.send_signal(signal.SIGSTOP)
        try:
            return measure(url, seconds, f"rerun://127.0.0.1:{PORT}")
        finally:
            process.send_signal(signal.SIGCONT)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=2)
    chosen = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    with camera(chosen.clip) as url:
        for _ in range(chosen.rounds):
            for way in WAYS:
                stats = in_one_way(url, chosen.seconds, way)
                rate, age = stats["fps_out"], stats["latency_ms"]["p50"]
                found[way].append((rate, age))
                sent = "".join(
                    f", {one['sent']} pictures sent, {one['dropped']} dropped"
                    for one in stats["streams"]
                )
                print(f"{way}: {rate:.1f} poses/s, {age:.0f} ms{sent}", flush=True)
    rates = {way: statistics.median(rate for rate, _ in runs) for way, runs in found.items()}
    for way in WAYS[1:]:
        print(f"{way}: {rates[way] / rates['without']:.2f} of the rate without")


if __name__ == "__main__":
    main()
