"""What it costs that nothing is lost: the journal, and a fragment of the recording per picture.

Detects, tracks and lifts a clip as a run does, again and again, and keeps the poses now in
memory and now in a journal on the disk; or records it, now in a fragment per picture and now in
one per second. The clock and the processor time of both are compared, round by round, so that
what else the machine does falls on both alike.

    python benchmarks/journal.py demo_videos/walk_turn.mp4 --rounds 6 --live
    python benchmarks/journal.py demo_videos/walk_turn.mp4 --rounds 12 --alone

With --alone nobody is detected or lifted, so that what the parts cost is not lost in what all the
rest does: poses of one round are kept again, pictures are recorded again.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from posemamba.checkpoint import load_checkpoint
from posemamba.network import use_threads
from posemamba_live.detectors import create_detector
from posemamba_live.lifting.factory import lifter_factory
from posemamba_live.lifting.people import People
from posemamba_live.plan import FILM_WEIGHTS, plan_lifting
from posemamba_live.run.history import History
from posemamba_live.sinks import encoder
from posemamba_live.sinks.recorder import Recorder
from posemamba_live.sources import open_source
from posemamba_live.takes.journal import Journal
from posemamba_live.tracking.people import PeopleTracker
from posemamba_live.types import Frame, LiftedPose, Pose2D


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
        checkpoint = load_checkpoint(FILM_WEIGHTS)
        lifting = plan_lifting(checkpoint.meta, live=live, fps=fps, fov_deg=60.0)
        self._make = lifter_factory(checkpoint, lifting)
        self._meta = {"fps": fps, "image_size": size}

    def round(self, memory: Journal | History, recorder: Recorder | None = None) -> Cost:
        """Process the clip once."""
        tracker = PeopleTracker(self._detector, live=self._live)
        people = People(self._make, fill_gaps=not self._live)
        begun, processor = time.perf_counter(), time.process_time()
        for frame in self.frames:
            poses = tracker(frame)
            if isinstance(memory, Journal):
                memory.track(poses)
            memory.extend(people.push(frame, poses).poses)
            if recorder is not None:
                recorder.write(frame, [])
        memory.extend(people.flush().poses)
        if isinstance(memory, Journal):
            memory.close()
        cost = Cost(time.perf_counter() - begun, time.process_time() - processor)
        if recorder is not None:
            recorder.discard()
        return cost

    def alone(self, memory: Journal | History | None, recorder: Recorder | None) -> Cost:
        """Keep the poses that were found before, as often as they come, or record the pictures."""
        begun, processor = time.perf_counter(), time.process_time()
        for frame, tracked, lifted in self._kept:
            if isinstance(memory, Journal):
                memory.track(tracked)
            if memory is not None:
                memory.extend(lifted)
            if recorder is not None:
                recorder.write(frame, [])
        if isinstance(memory, Journal):
            memory.close()
        cost = Cost(time.perf_counter() - begun, time.process_time() - processor)
        if recorder is not None:
            recorder.discard()
        return cost

    def keep(self) -> None:
        """Find the poses that `alone` needs."""
        tracker = PeopleTracker(self._detector, live=self._live)
        people = People(self._make, fill_gaps=not self._live)
        self._kept: list[tuple[Frame, list[Pose2D], list[LiftedPose]]] = []
        for frame in self.frames:
            poses = tracker(frame)
            self._kept.append((frame, poses, list(people.push(frame, poses).poses)))

    def journal(self, folder: Path) -> Journal:
        return Journal(folder / "bench.npz", self._meta, live=self._live)


WAYS = {
    "memory": None,
    "journal": None,
    "a fragment per second": "frag_keyframe+empty_moov+default_base_moof",
    "a fragment per picture": encoder._FRAGMENTS,
}
"""With FFmpeg's flags where it is a recording; its keyframes come every second."""
PAIRS = (("journal", "memory"), ("a fragment per picture", "a fragment per second"))


def round_of(bench: Bench, way: str, folder: Path, *, alone: bool) -> Cost:
    flags = WAYS[way]
    if flags is None:
        memory = bench.journal(folder) if way == "journal" else History()
        return bench.alone(memory, None) if alone else bench.round(memory)
    encoder._FRAGMENTS = flags
    size = bench.frames[0].size
    recorder = Recorder(
        folder / "bench.mp4", fps=30.0, image_size=size, realtime=True, overwrite=True
    )
    return bench.alone(None, recorder) if alone else bench.round(History(), recorder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--live", action="store_true", help="lift every frame at once")
    parser.add_argument("--alone", action="store_true", help="only keep poses, only record")
    arguments = parser.parse_args()
    use_threads(1)  # as a run does beside its other threads: two would wait for each other
    bench = Bench(arguments.clip, live=arguments.live)
    costs: dict[str, list[Cost]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        bench.keep() if arguments.alone else bench.round(History())
        for number in range(arguments.rounds):
            for way in list(WAYS)[:: 1 if number % 2 else -1]:
                costs[way].append(round_of(bench, way, Path(folder), alone=arguments.alone))
    frames = len(bench.frames)
    for way, found in costs.items():
        seconds = statistics.median(cost.seconds for cost in found)
        processor = statistics.median(cost.processor for cost in found)
        print(
            f"{way:24}{frames / seconds:7.1f} frames/s  {1e3 * processor / frames:6.2f} ms of "
            "processor time a frame"
        )
    for safe, plain in PAIRS:
        pairs = list(zip(costs[safe], costs[plain], strict=True))
        slower = statistics.median(a.seconds / b.seconds for a, b in pairs) - 1.0
        more = statistics.median(a.processor / b.processor for a, b in pairs) - 1.0
        print(f"{safe} against {plain}, round by round: time {slower:+.1%}, processor {more:+.1%}")
        for name in ("seconds", "processor"):
            apart = [getattr(a, name) - getattr(b, name) for a, b in pairs]
            each = 1e3 * statistics.median(apart) / frames
            print(f"  {name}: {each:+.3f} ms a frame, {each * 30 / 1e3:+.2%} of 1/30 s")


if __name__ == "__main__":
    main()
