"""What a recording costs: processor time of the command with and without --record.

    python benchmarks/recording_cost.py demo_videos/walk_turn.mp4 --against ../older-checkout

Each run exports `poses.npz`, headless; seconds are of all its threads, start-up included, in turns,
the share is that of the recording in the whole. With --against, another checkout's program runs in
turns with this one, in the same environment; once before that each runs unmeasured.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

_HERE = Path(__file__).resolve().parents[1]


def seconds(checkout: Path, clip: Path, folder: Path, *, record: bool) -> float:
    """Processor seconds of one run."""
    command = [
        sys.executable, "-m", "posemamba_live", str(clip), "--headless", "--overwrite", "-q",
        "--export", str(folder / "poses.npz"),
        *(["--record", str(folder / "poses.mp4")] if record else []),
    ]  # fmt: skip
    path = os.pathsep.join(str(checkout / part) for part in ("app", "models"))
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--against", type=Path, help="another checkout")
    given = parser.parse_args()
    checkouts = {"this": _HERE}
    if given.against is not None:
        checkouts["other"] = given.against.resolve()
    spent: dict[tuple[str, bool], list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        for round_ in range(given.rounds + 1):
            for who, checkout in checkouts.items():
                for record in (False, True):
                    took = seconds(checkout, given.clip.resolve(), Path(name), record=record)
                    if round_:
                        spent.setdefault((who, record), []).append(took)
    for who in checkouts:
        plain, recorded = (statistics.median(spent[who, record]) for record in (False, True))
        print(
            f"{who:6} {plain:6.2f} s without, {recorded:6.2f} s with a recording: "
            f"{recorded - plain:5.2f} s, {(recorded - plain) / recorded:.0%} of the whole"
        )


if __name__ == "__main__":
    main()
