"""What the journal costs: frames a second and processor time with it and without it, in turn.

Detects, tracks and lifts a clip as a run does, again and again, and keeps the poses now in
memory and now in a journal on the disk; then the clock and the processor time of both are
compared, round by round, so that what else the machine does falls on both alike.

    python benchmarks/journal.py demo_videos/walk_turn.mp4 --rounds 6
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from posemamba.checkpoint import load_checkpoint
from posemamba_live.detectors import create_detector
from posemamba_live.lifting.factory import lifter_factory
from posemamba_live.lifting.people import People
from posemamba_live.plan import DEFAULT_WEIGHTS, plan_lifting
from posemamba_live.run.history import History
from posemamba_live.sources import open_source
from posemamba_live.takes.journal import Journal
from posemamba_live.tracking.people import PeopleTracker
from posemamba_live.types import Frame


@dataclass(frozen=True)
class Cost:
    """Of one round."""

    seconds: float
    processor: float
    """Seconds of all threads together."""


class Bench:
    """Works on one clip, decoded beforehand."""

    def __init__(self, clip: Path, *, live: bool) -> None:
        with open_source(str(clip)) as source:
            self.frames: list[Frame] = list(source)
            fps, size = source.fps, source.size
        self._live = live
        self._detector = create_detector()
        checkpoint = load_checkpoint(DEFAULT_WEIGHTS)
        lifting = plan_lifting(checkpoint.meta, live=live, fps=fps, fov_deg=60.0)
        self._make = lifter_factory(checkpoint, lifting)
        self._meta = {"fps": fps, "image_size": size}

    def round(self, memory: Journal | History) -> Cost:
        """Process the clip once."""
        tracker = PeopleTracker(self._detector, live=self._live)
        people = People(self._make, fill_gaps=not self._live)
        begun, processor = time.perf_counter(), time.process_time()
        for frame in self.frames:
            poses = tracker(frame)
            if isinstance(memory, Journal):
                memory.track(poses)
            memory.extend(people.push(frame, poses).poses)
        memory.extend(people.flush().poses)
        if isinstance(memory, Journal):
            memory.close()
        return Cost(time.perf_counter() - begun, time.process_time() - processor)

    def journal(self, folder: Path) -> Journal:
        return Journal(folder / "bench.npz", self._meta, live=self._live)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--live", action="store_true", help="lift every frame at once")
    arguments = parser.parse_args()
    bench = Bench(arguments.clip, live=arguments.live)
    costs: dict[str, list[Cost]] = {"memory": [], "journal": []}
    with tempfile.TemporaryDirectory() as folder:
        bench.round(History())
        for number in range(arguments.rounds):
            for name in ("memory", "journal") if number % 2 else ("journal", "memory"):
                memory = bench.journal(Path(folder)) if name == "journal" else History()
                costs[name].append(bench.round(memory))
    frames = len(bench.frames)
    for name, found in costs.items():
        seconds = statistics.median(cost.seconds for cost in found)
        processor = statistics.median(cost.processor for cost in found)
        print(
            f"{name:8}{frames / seconds:7.1f} frames/s  {1e3 * processor / frames:6.2f} ms of "
            "processor time a frame"
        )
    pairs = list(zip(costs["journal"], costs["memory"], strict=True))
    slower = statistics.median(a.seconds / b.seconds for a, b in pairs) - 1.0
    more = statistics.median(a.processor / b.processor for a, b in pairs) - 1.0
    print(f"journal against memory, round by round: time {slower:+.1%}, processor {more:+.1%}")


if __name__ == "__main__":
    main()
