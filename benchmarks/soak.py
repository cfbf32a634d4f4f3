"""Half an hour live: do memory, descriptors or threads grow, does the age of the pose?

Plays a clip as a network camera on loopback (1280x720, 30 frames a second), runs the command on
it without a window (or with one), with a journal and an export (or without files), and reads
what the process holds every few seconds, from Linux's /proc.

    python benchmarks/soak.py demo_videos/walk_turn.mp4 --minutes 30
    xvfb-run -a -s "-screen 0 1600x900x24" \\
        python benchmarks/soak.py demo_videos/walk_turn.mp4 --minutes 1 --window
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.mjpeg_server import MjpegServer  # noqa: E402

SETTLED_S = 60.0
"""By then caches are warm and the scene has settled."""
EVERY_S = 2.0
ROWS = 10
"""Lines that are printed of what was read."""


@dataclass(frozen=True)
class Sample:
    """What a process holds at one moment."""

    age: float
    """Seconds since it was started."""
    memory: float
    """Resident, MB."""
    descriptors: int
    threads: int
    journal: int
    """Bytes."""


def sample(pid: int, age: float, journal: Path) -> Sample | None:
    """None when the process has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        rows = [line.split() for line in status.splitlines()]
        values = {row[0].rstrip(":"): row[1] for row in rows if len(row) > 1}
        size = journal.stat().st_size if journal.exists() else 0
        return Sample(age, int(values["VmRSS"]) / 1024, descriptors, int(values["Threads"]), size)
    except (OSError, KeyError, IndexError):
        return None


def settled(samples: Sequence[Sample]) -> list[Sample]:
    """Those after the first minute, or after the first third where there are none."""
    late = [s for s in samples if s.age > SETTLED_S]
    return late or list(samples[len(samples) // 3 :])


def growth_per_hour(samples: Sequence[Sample]) -> float:
    """MB, from a straight line through what was read."""
    if len(samples) < 3:
        return 0.0
    slope, _ = np.polyfit([s.age for s in samples], [s.memory for s in samples], 1)
    return 3600.0 * float(slope)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--window", action="store_true", help="with the window, on DISPLAY")
    parser.add_argument("--no-files", action="store_true", help="without a journal and an export")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        MjpegServer(arguments.clip, (1280, 720)) as server,
    ):
        stats, export = Path(folder) / "stats.json", Path(folder) / "poses.npz"
        command = [
            sys.executable, "-m", "posemamba_live", server.url, "-q",
            "--duration", str(60.0 * arguments.minutes), "--stats", str(stats),
            *([] if arguments.window else ["--headless"]),
            *([] if arguments.no_files else ["--export", str(export)]),
        ]  # fmt: skip
        process = subprocess.Popen(command)
        started = time.monotonic()
        samples: list[Sample] = []
        while process.poll() is None:
            found = sample(process.pid, time.monotonic() - started, Path(f"{export}.journal"))
            if found is not None:
                samples.append(found)
            time.sleep(EVERY_S)
        figures = json.loads(stats.read_text())
    for s in samples[:: max(1, len(samples) // ROWS)]:
        print(
            f"{s.age:7.0f} s  {s.memory:6.0f} MB  {s.descriptors:4} descriptors  "
            f"{s.threads:4} threads  journal {s.journal / 1e6:6.2f} MB"
        )
    latency, late = figures["latency_ms"], settled(samples)
    print(
        f"first pose after {figures['start_s']:.1f} s; "
        f"{figures['frames_out']} poses at {figures['fps_out']:.1f}/s, "
        f"{figures['frames_dropped']} of {figures['frames_in']} frames dropped, "
        f"age p50 {latency['p50']:.0f}, p95 {latency['p95']:.0f}, max {latency['max']:.0f} ms"
    )
    print(
        f"memory once settled {late[0].memory:.0f} MB, at the end {late[-1].memory:.0f} MB, "
        f"most {max(s.memory for s in samples):.0f} MB, growth {growth_per_hour(late):+.0f} MB/h; "
        f"descriptors {late[0].descriptors} to {late[-1].descriptors}, "
        f"threads {late[0].threads} to {late[-1].threads}"
    )


if __name__ == "__main__":
    main()
