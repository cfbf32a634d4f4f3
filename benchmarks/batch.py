"""What a batch costs beside its videos: workers and threads, short clips, the engine, many nodes.

    python benchmarks/batch.py workers demo_videos/walk_turn.mp4    # 1 x 1, 2 x 1 and 1 x 2
    python benchmarks/batch.py clips demo_videos/walk_turn.mp4      # a hundred short ones
    python benchmarks/batch.py engine                               # jobs that do nothing
    python benchmarks/batch.py nodes                                # 10,000 videos on 64 nodes

The first two lift with real workers of one Ray session, all loaded beforehand and used in turn, so
that what else the machine does falls on all alike. The others have workers that only wait.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from posemamba_live.batch.cluster import Cluster, Needs, import_ray
from posemamba_live.batch.engine import Answer, Engine, Seat
from posemamba_live.batch.jobs import Job, plan_jobs
from posemamba_live.batch.options import BatchOptions
from posemamba_live.batch.storage import open_folder
from posemamba_live.batch.tables import DONE, ReportRow
from posemamba_live.batch.videos import find_videos
from posemamba_live.batch.worker import VideoWorker, Work
from posemamba_live.memory import resident_mb
from posemamba_live.options import Options


@dataclass(frozen=True)
class Nap:
    """A video that takes so long, whatever it is."""

    name: str
    seconds: float
    size: int = 1


QUIET = {
    "RAY_enable_metrics_collection": "false",
    "RAY_event_stats": "false",
    "RAY_raylet_report_resources_period_milliseconds": "2000",
    "RAY_task_events_report_interval_ms": "0",
}
"""Nodes that share a machine say less of themselves: 64 of them would do nothing else."""


class Napper:
    """A worker that waits; in the folder `gate` it says that it is there, and waits for all."""

    def __init__(self, gate: str | None = None) -> None:
        self._gate = gate

    def load(self) -> None:
        if self._gate is None:
            return
        Path(self._gate, str(os.getpid())).touch()
        while not Path(self._gate, "go").exists():
            time.sleep(0.02)

    def lift(self, job: Nap) -> str:
        time.sleep(job.seconds)
        return job.name

    def frames(self) -> int:
        return 0


def pinned(make: Callable[[], VideoWorker], cores: Sequence[int]) -> VideoWorker:
    """A worker whose process, and all threads that it will have, stay on these cores."""
    for thread in os.listdir("/proc/self/task"):
        os.sched_setaffinity(int(thread), set(cores))
    return make()


def films(clip: Path, folder: Path, *, count: int, seconds: float) -> Path:
    """So many films of so many seconds: the clip, again and again, encoded as it was."""
    import av

    folder.mkdir(parents=True)
    for number in range(count):
        with av.open(str(folder / f"{number:03d}.mp4"), "w") as out:
            stream: Any = None
            written = 0
            while stream is None or written < seconds * stream.codec_context.framerate:
                with av.open(str(clip)) as source:
                    track = source.streams.video[0]
                    if stream is None:
                        stream = out.add_stream("libx264", rate=track.average_rate)
                        stream.width, stream.height = track.width, track.height
                        stream.pix_fmt = "yuv420p"
                    for frame in source.decode(track):
                        if written >= seconds * stream.codec_context.framerate:
                            break
                        frame.pts, frame.time_base = written, 1 / track.average_rate
                        out.mux(stream.encode(frame))
                        written += 1
            out.mux(stream.encode(None))
    return folder


class Lifting:
    """Real workers on jobs, through Ray, without the engine's waiting for them to load."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self._cluster = cluster
        self._folder = folder
        self._turn = 0
        self._processes: dict[Any, int] = {}

    def pool(self, workers: int, threads: int, cores: Sequence[int]) -> list[Any]:
        """Workers that are loaded."""
        import ray

        work = Work(str(self._folder / "out"), (".npz",), False, Options(), threads)
        make = partial(VideoWorker, work)
        actors = [self._cluster.actor(Seat, partial(pinned, make, cores)) for _ in range(workers)]
        for actor, started in zip(
            actors, ray.get([actor.start.remote() for actor in actors]), strict=True
        ):
            assert not started.error, started.error
            self._processes[actor] = started.process
        return actors

    def rate(
        self, actors: Sequence[Any], inputs: Path, count: int | None = None
    ) -> tuple[float, float]:
        """Frames a second, and the workers' processor time in ms a frame."""
        import ray

        self._turn += 1
        batch = BatchOptions(output=str(self._folder / f"out{self._turn}"), formats=("npz",))
        found = find_videos([str(inputs)])[:count]
        jobs = plan_jobs(found, batch, Options(), open_folder(str(batch.output)))
        # The workers write all to one place: each turn has names of its own.
        todo: deque[Job] = deque(
            replace(job, video=replace(job.video, name=f"{self._turn}/{job.video.name}"))
            for job in jobs
        )
        begun, frames, at_work = time.perf_counter(), 0, {}
        processor = -self._processor_s(actors)
        for actor in actors:
            if todo:
                at_work[actor.work.remote(todo.popleft())] = actor
        while at_work:
            (answer,), _ = ray.wait(list(at_work))
            actor = at_work.pop(answer)
            outcome = ray.get(answer)
            assert outcome.status == DONE, outcome.error
            frames += outcome.figures.frames
            if todo:
                at_work[actor.work.remote(todo.popleft())] = actor
        took = time.perf_counter() - begun
        return frames / took, 1e3 * (processor + self._processor_s(actors)) / frames

    def _processor_s(self, actors: Sequence[Any]) -> float:
        ticks = 0
        for actor in actors:
            stat = Path(f"/proc/{self._processes[actor]}/stat").read_text()
            ticks += sum(map(int, stat.rpartition(")")[2].split()[11:13]))
        return ticks / os.sysconf("SC_CLK_TCK")


def workers(clip: Path, rounds: int) -> None:
    """One worker of one core, two of one thread each and one of two threads."""
    with tempfile.TemporaryDirectory() as name, Cluster(Needs(workers=4)) as cluster:
        folder = Path(name)
        inputs = films(clip, folder / "films", count=4, seconds=5.0)
        lifting = Lifting(cluster, folder)
        pools = {
            "one core, 1 x 1": (lifting.pool(1, 1, [0]), 2),
            "two cores, 2 x 1": (lifting.pool(2, 1, [0, 1]), 4),
            "two cores, 1 x 2": (lifting.pool(1, 2, [0, 1]), 2),
        }
        rates: dict[str, list[float]] = {name: [] for name in pools}
        for _ in range(rounds):
            for what, (actors, count) in pools.items():
                rate, processor = lifting.rate(actors, inputs, count)
                rates[what].append(rate)
                print(f"{what}: {rate:.1f} frames/s, {processor:.1f} ms a frame", flush=True)
    one, two, threads = (statistics.median(values) for values in rates.values())
    ratios = [b / a for a, b, _ in zip(*rates.values(), strict=True)]
    print(f"median frames/s: 1 x 1 {one:.1f}, 2 x 1 {two:.1f}, 1 x 2 {threads:.1f}")
    print(f"two workers on two cores against one on one: {statistics.median(ratios):.2f} (>= 1.7)")
    print(f"two threads on two cores against one on one: {threads / one:.2f}")


def clips(clip: Path, rounds: int) -> None:
    """A hundred clips of two seconds against long films, by two workers."""
    with tempfile.TemporaryDirectory() as name, Cluster(Needs(workers=2)) as cluster:
        folder = Path(name)
        short = films(clip, folder / "short", count=100 // rounds, seconds=2.0)
        long = films(clip, folder / "long", count=2, seconds=100.0 / rounds)
        lifting = Lifting(cluster, folder)
        actors = lifting.pool(2, 1, [0, 1])
        ratios = []
        for _ in range(rounds):
            (of_long, ms_long), (of_short, ms_short) = (
                lifting.rate(actors, inputs) for inputs in (long, short)
            )
            ratios.append(of_short / of_long)
            print(f"long {of_long:.1f} frames/s, {ms_long:.1f} ms of processor time a frame")
            print(f"short {of_short:.1f} frames/s, {ms_short:.1f} ms", flush=True)
    print(f"short against long: {statistics.median(ratios):.2f} (>= 0.8)")


def engine(count: int) -> None:
    """Jobs that do nothing: what remains is the engine and Ray."""
    with Cluster(Needs(workers=2)) as cluster:
        times: list[float] = []
        jobs = [Nap(str(number), 0.0) for number in range(count)]
        Engine[Nap](cluster, Napper, lambda _: times.append(time.perf_counter()), print).run(
            jobs, lambda: False
        )
    each = 1e3 * (times[-1] - times[0]) / (len(times) - 1)
    print(f"{count} jobs, {each:.2f} ms each with two workers")


def nodes(count: int, jobs: int, seconds: float) -> None:
    """Videos that take half a second each, on a cluster of many nodes of one core."""
    ray = import_ray()
    from ray.cluster_utils import Cluster as Nodes

    small = {"object_store_memory": 80 * 2**20}
    made = Nodes(initialize_head=True, head_node_args={"num_cpus": 0, **small})
    for _ in range(count):
        made.add_node(wait=False, num_cpus=1, **small)
    made.wait_for_nodes(600)
    print(f"{count} nodes are up", flush=True)
    rows: list[ReportRow] = []
    memory: dict[int, float] = {}
    up: float | None = None
    processor = 0.0
    with tempfile.TemporaryDirectory() as gate, Cluster(Needs(made.address)) as cluster:

        def told(answer: Answer[Nap]) -> None:
            who = answer.worker
            host, process = (who.host, str(who.process)) if who is not None else ("", "")
            rows.append(ReportRow(answer.outcome, DONE, host=host, worker=process))
            if len(rows) % (jobs // 10) == 0:
                memory[len(rows)] = resident_mb()

        def tick() -> None:
            nonlocal up, processor
            if up is None and len(os.listdir(gate)) == count:
                up, processor = time.perf_counter(), time.process_time()
                Path(gate, "go").touch()

        Engine[Nap](cluster, partial(Napper, gate), told, print).run(
            [Nap(f"{number}.mp4", seconds) for number in range(jobs)], lambda: False, tick
        )
        assert up is not None
        took = time.perf_counter() - up
        processor = time.process_time() - processor
    ray.shutdown()
    made.shutdown()
    ideal = jobs * seconds / count
    print(f"{jobs} jobs of {seconds} s on {count} nodes: {took:.1f} s, ideal {ideal:.1f} s")
    print(f"longer by {100.0 * (took / ideal - 1.0):.1f} % (<= 5)")
    print(f"processor time of the driver: {1e3 * processor / jobs:.2f} ms a job")
    print("driver's memory, MiB:", {done: round(used, 1) for done, used in memory.items()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("workers", "clips", "engine", "nodes"))
    parser.add_argument("clip", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--nodes", type=int, default=64)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=0.5, help="of a simulated video")
    chosen = parser.parse_args()
    if chosen.what == "nodes":
        os.environ.update(QUIET)  # before Ray is there
    import_ray().cloudpickle.register_pickle_by_value(sys.modules[__name__])
    if chosen.what == "nodes":
        nodes(chosen.nodes, chosen.jobs, chosen.seconds)
    elif chosen.what == "engine":
        engine(2000)
    elif chosen.clip is None:
        parser.error("which clip?")
    elif chosen.what == "workers":
        workers(chosen.clip, chosen.rounds)
    else:
        clips(chosen.clip, chosen.rounds)


if __name__ == "__main__":
    main()
