"""Poses a second and their age, live from a network camera on the same machine.

Plays a clip as MJPEG on loopback (1280x720, 30 pictures a second, which costs the machine some of
its time as well) and runs the command on it, headless, with an export and with a recording.

    python benchmarks/live.py demo_videos/walk_turn.mp4 --rounds 3
    python benchmarks/live.py demo_videos/walk_turn.mp4 --against ../older-checkout

With --against, another checkout's program runs in turns with this one, in the same environment.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

_HERE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(_HERE))

from tests.support.mjpeg_server import MjpegServer  # noqa: E402


class Figures(NamedTuple):
    """Of one run."""

    poses_per_second: float
    age_ms: float
    """From the decoded picture to the finished pose, median."""
    age_p95_ms: float
    start_s: float


def run(checkout: Path, url: str, options: list[str], folder: Path) -> Figures:
    """Run the command of a checkout once."""
    stats = folder / "stats.json"
    command = [
        sys.executable, "-m", "posemamba_live", url, "-q", "--overwrite",
        "--stats", str(stats), "--export", str(folder / "poses.npz"), *options,
    ]  # fmt: skip
    path = os.pathsep.join(str(checkout / part) for part in ("app", "models"))
    subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": path}, check=True)
    values = json.loads(stats.read_text())
    age = values["latency_ms"]
    return Figures(values["fps_out"], age["p50"], age["p95"], values["start_s"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--window", action="store_true", help="with the window, on DISPLAY")
    parser.add_argument("--against", type=Path, help="another checkout")
    given = parser.parse_args()
    checkouts = {"this": _HERE}
    if given.against is not None:
        checkouts["other"] = given.against.resolve()
    common = ["--duration", str(given.seconds), *([] if given.window else ["--headless"])]
    found: dict[tuple[str, str], list[Figures]] = {}
    with tempfile.TemporaryDirectory() as name, MjpegServer(given.clip, (1280, 720)) as server:
        for _ in range(given.rounds):
            for way in ("export", "record"):
                more = ["--record", str(Path(name) / "video.mp4")] if way == "record" else []
                for who, checkout in checkouts.items():
                    figures = run(checkout, server.url, [*common, *more], Path(name))
                    found.setdefault((way, who), []).append(figures)
    for (way, who), runs in found.items():
        rate, age, late, start = (statistics.median(values) for values in zip(*runs, strict=True))
        print(
            f"{way:6} {who:5} {rate:5.1f} poses/s, age p50 {age:4.0f}, p95 {late:4.0f} ms, "
            f"first pose {start:.2f} s"
        )


if __name__ == "__main__":
    main()
