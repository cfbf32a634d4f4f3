"""Ten minutes live: does memory grow, does the age of the pose?

Plays a clip as a network camera on loopback (1280x720, 30 frames a second), runs the
command on it without a window (or with one), and reads the process's resident memory every few
seconds.

    python benchmarks/soak.py demo_videos/walk_turn.mp4 --minutes 10
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
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.mjpeg_server import MjpegServer  # noqa: E402

SETTLED_S = 60.0
"""By then caches are warm and the scene has settled."""


def resident_mb(pid: int) -> float | None:
    """Resident memory of a process, from Linux's /proc; None when it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    lines = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(lines[0].split()[1]) / 1024 if lines else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--window", action="store_true", help="with the window, on DISPLAY")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        MjpegServer(arguments.clip, (1280, 720)) as server,
    ):
        stats = Path(folder) / "stats.json"
        command = [
            sys.executable, "-m", "posemamba_live", server.url, "-q",
            "--duration", str(60.0 * arguments.minutes), "--stats", str(stats),
            *([] if arguments.window else ["--headless"]),
        ]  # fmt: skip
        process = subprocess.Popen(command)
        started, samples = time.monotonic(), []
        while process.poll() is None:
            memory = resident_mb(process.pid)
            if memory is not None:
                samples.append((time.monotonic() - started, memory))
            time.sleep(5.0)
        figures = json.loads(stats.read_text())
    settled = [memory for age, memory in samples if age > SETTLED_S] or [m for _, m in samples]
    latency = figures["latency_ms"]
    print(
        f"first pose after {figures['start_s']:.1f} s; "
        f"{figures['frames_out']} poses at {figures['fps_out']:.1f}/s, "
        f"{figures['frames_dropped']} of {figures['frames_in']} frames dropped, "
        f"age p50 {latency['p50']:.0f}, p95 {latency['p95']:.0f}, max {latency['max']:.0f} ms"
    )
    print(
        f"memory after a minute {settled[0]:.0f} MB, at the end {settled[-1]:.0f} MB, "
        f"most {max(settled):.0f} MB"
    )


if __name__ == "__main__":
    main()
