"""What an hour of one person, or more, at 30 frames a second costs: memory and time.

Writes a journal of as many poses as the minutes have (a demo clip's true ones, to and fro; further
people are elsewhere in it), then lets posemamba-export make files of it in a process of its own, as
an interrupted run's user does; a run's own end solves and writes the same way.

    python benchmarks/hour.py --minutes 60 --people 2 --formats npz bvh glb
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from posemamba.checkpoint import checksum_of
from posemamba_live.plan import SECOND_WEIGHTS, WHOLE_WEIGHTS
from posemamba_live.takes.journal import Journal, journal_path
from posemamba_live.types import LiftedPose, Pose2D

CLIP = Path(__file__).parent.parent / "demo_videos" / "walk_turn_gt.npz"
RATE = 30.0
BATCH = 1000
PHASE = 60
"""Frames between two people in the clip."""


def poses(count: int, people: int) -> Iterator[LiftedPose]:
    """The clip forwards and backwards, again and again; each person at another moment of it."""
    with np.load(CLIP, allow_pickle=False) as truth:
        points, joints = truth["joints_2d"], truth["joints_camera"]
        size = (int(truth["image_size"][0]), int(truth["image_size"][1]))
    joints = ((joints - joints[:, :1]) / 1.75).astype(np.float32)
    order = [*range(len(points)), *range(len(points) - 2, 0, -1)]
    sure = np.full(17, 0.9, np.float32)
    for i in range(count):
        for person in range(people):
            k = order[(i + PHASE * person) % len(order)]
            flat = Pose2D(i, i / RATE, person, points[k].astype(np.float32), sure, size)
            yield LiftedPose(flat, joints[k], 13)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--people", type=int, default=1)
    parser.add_argument("--formats", nargs="+", default=["npz", "bvh", "glb"])
    given = parser.parse_args()
    count = round(60 * RATE * given.minutes)
    with tempfile.TemporaryDirectory() as name:
        output = Path(name) / "take.npz"
        meta = {
            "fps": RATE,
            "image_size": (640, 360),
            "second_weights": SECOND_WEIGHTS,
            "second_weights_sha256": checksum_of(SECOND_WEIGHTS),
            "whole_weights": WHOLE_WEIGHTS,
            "whole_weights_sha256": checksum_of(WHOLE_WEIGHTS),
        }
        journal = Journal(output, meta, live=False)
        before, begun = _peak(resource.RUSAGE_SELF), time.perf_counter()
        batch: list[LiftedPose] = []
        for pose in poses(count, given.people):
            batch.append(pose)
            if len(batch) == BATCH:
                journal.extend(batch)
                batch.clear()
        journal.extend(batch)
        journal.close(60.0)
        grown = _peak(resource.RUSAGE_SELF) - before
        size = journal_path(output).stat().st_size / 2**20
        print(
            f"{count * given.people} poses: journal of {size:.0f} MiB in "
            f"{time.perf_counter() - begun:.0f} s, memory grew by {grown:.0f} MiB"
        )
        begun = time.perf_counter()
        files = [str(Path(name) / f"out.{suffix}") for suffix in given.formats]
        line = [sys.executable, "-m", "posemamba_live.export", str(journal_path(output)), *files]
        subprocess.run(line, check=True)
        sizes = ", ".join(
            f"{Path(f).suffix} {Path(f).stat().st_size / 2**20:.0f} MiB" for f in files
        )
        print(
            f"exports ({sizes}): {time.perf_counter() - begun:.0f} s, "
            f"peak {_peak(resource.RUSAGE_CHILDREN):.0f} MiB"
        )


def _peak(who: int) -> float:
    """MiB; Linux counts in KiB, macOS in bytes."""
    return resource.getrusage(who).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    main()
