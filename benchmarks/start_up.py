"""How long somebody waits: for the first word, for the first pose, and for the prompt.

Runs the command as a user does, on a terminal of its own, headless, with an export: on a film, and
live on the same film at its own rate. Seconds from the start of the process:

- `word`: until something is on the terminal;
- `pose`: until the first pose is there (`start_s` of --stats: from the import of the program on);
- `prompt`: from the last line on the terminal until the process has ended.

    python benchmarks/start_up.py demo_videos/walk_turn.mp4 --rounds 5
    python benchmarks/start_up.py demo_videos/walk_turn.mp4 --against ../older-checkout

With --against, another checkout's program runs in turns with this one, in the same environment.
Once before that each runs unmeasured, so that files and kernels are in their caches.
"""

from __future__ import annotations

import argparse
import json
import os
import pty
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

_HERE = Path(__file__).resolve().parents[1]


class Wait(NamedTuple):
    """Seconds."""

    word: float
    pose: float
    prompt: float


def run(checkout: Path, clip: Path, options: list[str], folder: Path) -> Wait:
    """Run the command of a checkout once."""
    stats = folder / "stats.json"
    command = [
        sys.executable, "-m", "posemamba_live", str(clip), "--headless", "--overwrite",
        "--export", str(folder / "poses.npz"), "--stats", str(stats), *options,
    ]  # fmt: skip
    path = os.pathsep.join(str(checkout / part) for part in ("app", "models"))
    ours, theirs = pty.openpty()
    # Where Python may not keep its bytecode, no cache is ever warm.
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    began = time.monotonic()
    with subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=folder,
        env={**kept, "PYTHONPATH": path, "TERM": "xterm"},
    ) as process:
        os.close(theirs)
        first = last = 0.0
        try:
            while os.read(ours, 65536):
                last = time.monotonic()
                first = first or last
        except OSError:
            pass  # the terminal's other end is closed: the process has ended
        code = process.wait()
        ended = time.monotonic()
    os.close(ours)
    if code:
        raise SystemExit(f"{command} ended with {code}")
    start = float(json.loads(stats.read_text())["start_s"])
    return Wait(first - began, start, ended - last)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--against", type=Path, help="another checkout")
    given = parser.parse_args()
    checkouts = {"this": _HERE}
    if given.against is not None:
        checkouts["other"] = given.against.resolve()
    ways = {"film": [], "live": ["--realtime", "--duration", "3"]}
    waits: dict[tuple[str, str], list[Wait]] = {}
    with tempfile.TemporaryDirectory() as name:
        for round_ in range(given.rounds + 1):
            for way, options in ways.items():
                for who, checkout in checkouts.items():
                    wait = run(checkout, given.clip.resolve(), options, Path(name))
                    if round_:
                        waits.setdefault((way, who), []).append(wait)
    for (way, who), found in waits.items():
        word, pose, prompt = (statistics.median(values) for values in zip(*found, strict=True))
        ends = min(w.pose for w in found), max(w.pose for w in found)
        print(
            f"{way} {who:6} first word {word:5.2f} s, first pose {pose:5.2f} s "
            f"({ends[0]:.2f} to {ends[1]:.2f}), prompt {prompt:5.2f} s"
        )


if __name__ == "__main__":
    main()
