"""Half an hour of use: do memory, descriptors or threads grow, does the age of the pose?

Plays a clip to and fro, as a network camera on loopback (1280x720, 30 frames a second) or as one
long film, and runs the command on it with a journal, an export and, if wanted, a recording. What
the process holds is read every two seconds from Linux's /proc, the poses from the journal; a line
a minute says it.

    python benchmarks/soak.py demo_videos/walk_turn.mp4 --minutes 30 --record
    python benchmarks/soak.py demo_videos/walk_turn.mp4 --minutes 60 --film --record
    xvfb-run -a -s "-screen 0 1600x900x24" \\
        python benchmarks/soak.py demo_videos/walk_turn.mp4 --minutes 1 --window
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from posemamba_live.sources import open_source
from posemamba_live.takes.records import NAMES, ROWS_3D, Damaged, parse_json, read_records
from posemamba_live.takes.rows import row_type

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.films import encode  # noqa: E402
from tests.support.mjpeg_server import MjpegServer  # noqa: E402

CLIP = ROOT / "demo_videos" / "walk_turn.mp4"
RATE = 30.0
SETTLED_S = 60.0
"""By then caches are warm and the scene has settled."""
EVERY_S = 2.0
LINE_S = 60.0


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
    recording: int
    """Bytes of the unfinished one."""


@dataclass(frozen=True)
class Files:
    """What a run writes in a folder."""

    folder: Path

    @property
    def export(self) -> Path:
        return self.folder / "poses.npz"

    @property
    def journal(self) -> Path:
        return self.folder / "poses.npz.journal"

    @property
    def recording(self) -> Path:
        return self.folder / "poses.mp4"

    @property
    def unfinished(self) -> Path:
        return self.folder / "poses.partial.mp4"

    @property
    def stats(self) -> Path:
        return self.folder / "stats.json"


def sample(pid: int, age: float, files: Files) -> Sample | None:
    """None when the process has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        rows = [line.split() for line in status.splitlines()]
        values = {row[0].rstrip(":"): row[1] for row in rows if len(row) > 1}
        memory, threads = int(values["VmRSS"]) / 1024, int(values["Threads"])
    except (OSError, KeyError, IndexError):
        return None
    return Sample(age, memory, descriptors, threads, _size(files.journal), _size(files.unfinished))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def poses_in(journal: Path) -> int:
    """Lifted poses that are on the disk."""
    count, size = 0, row_type(0, lifted=True).itemsize
    with contextlib.suppress(Damaged, OSError), journal.open("rb") as file:
        for kind, content in read_records(file):
            if kind == NAMES:
                size = row_type(len(parse_json(content, list)), lifted=True).itemsize
            elif kind == ROWS_3D:
                count += len(content) // size
    return count


def while_growing(samples: Sequence[Sample], what: str) -> list[Sample]:
    """Those between which a file grew."""
    sizes = [getattr(s, what) for s in samples]
    return [
        s for s, now, before in zip(samples[1:], sizes[1:], sizes, strict=False) if now > before
    ]


def settled(samples: Sequence[Sample]) -> list[Sample]:
    """Those after the first minute, or after the first third where there are none."""
    if not samples:
        return []
    late = [s for s in samples if s.age > samples[0].age + SETTLED_S]
    return late or list(samples[len(samples) // 3 :])


def growth_per_hour(samples: Sequence[Sample]) -> float:
    """MB, from a straight line through what was read."""
    if len(samples) < 3:
        return 0.0
    slope, _ = np.polyfit([s.age for s in samples], [s.memory for s in samples], 1)
    return 3600.0 * float(slope)


def long_film(clip: Path, path: Path, minutes: float) -> None:
    """The clip forwards and backwards until the minutes are full, at RATE."""
    with open_source(str(clip)) as source:
        images = [frame.image for frame in source]
    loop = path.with_name("loop.mp4")
    encode(loop, [*images, *images[-2:0:-1]], fps=RATE)
    with av.open(str(loop)) as film:
        track = film.streams.video[0]
        packets = [packet for packet in film.demux(track) if packet.size]
        length = round(len(packets) / RATE / float(track.time_base or 1))
        with av.open(str(path), "w") as out:
            target = out.add_stream_from_template(track)
            times = [(packet.dts or 0, packet.pts or 0) for packet in packets]
            for number in range(round(minutes * 60.0 * RATE / len(packets))):
                for packet, (dts, pts) in zip(packets, times, strict=True):
                    packet.dts, packet.pts = dts + number * length, pts + number * length
                    packet.time_base, packet.stream = track.time_base, target
                    out.mux(packet)
    loop.unlink()


@contextlib.contextmanager
def played(arguments: argparse.Namespace, folder: Path) -> Iterator[list[str]]:
    """What to give to the command as its source."""
    if arguments.film:
        film = folder / "film.mp4"
        long_film(arguments.clip, film, arguments.minutes)
        yield [str(film)]
    else:
        with MjpegServer(arguments.clip, (1280, 720), fps=RATE) as server:
            yield [server.url, "--duration", str(60.0 * arguments.minutes)]


def watch(process: subprocess.Popen[bytes], files: Files) -> list[Sample]:
    """Read and tell what it holds until it ends."""
    started, told, poses = time.monotonic(), 0.0, 0
    samples: list[Sample] = []
    while process.poll() is None:
        age = time.monotonic() - started
        found = sample(process.pid, age, files)
        if found is not None:
            samples.append(found)
            if age - told >= LINE_S:
                now = poses_in(files.journal)
                print(
                    f"{age:7.0f} s  {found.memory:6.0f} MB  {found.descriptors:4} descriptors  "
                    f"{found.threads:4} threads  {(now - poses) / (age - told):6.1f} poses/s  "
                    f"journal {found.journal / 1e6:6.2f} MB  "
                    f"recording {found.recording / 1e6:7.2f} MB",
                    flush=True,
                )
                told, poses = age, now
        time.sleep(EVERY_S)
    return samples


def report(samples: Sequence[Sample], what: str, name: str) -> None:
    """How much was held while one of the files grew."""
    late = settled(while_growing(samples, what))
    if not late:
        return
    print(
        f"{name}, {late[0].age:.0f} to {late[-1].age:.0f} s: memory {late[0].memory:.0f} to "
        f"{late[-1].memory:.0f} MB, most {max(s.memory for s in late):.0f} MB, "
        f"growth {growth_per_hour(late):+.0f} MB/h; "
        f"descriptors {late[0].descriptors} to {late[-1].descriptors}, at most "
        f"{max(s.descriptors for s in late)}, threads {late[0].threads} to {late[-1].threads}, "
        f"at most {max(s.threads for s in late)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path, nargs="?", default=CLIP)
    parser.add_argument("--minutes", type=float, default=30.0, help="of the camera or the film")
    parser.add_argument("--film", action="store_true", help="a long film instead of a camera")
    parser.add_argument("--record", action="store_true", help="with a recording")
    parser.add_argument("--window", action="store_true", help="with the window, on DISPLAY")
    parser.add_argument("--no-files", action="store_true", help="without a journal and an export")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, played(arguments, Path(name)) as source:
        files = Files(Path(name))
        command = [
            sys.executable, "-m", "posemamba_live", *source, "-q", "--stats", str(files.stats),
            *([] if arguments.window else ["--headless"]),
            *([] if arguments.no_files else ["--export", str(files.export)]),
            *(["--record", str(files.recording)] if arguments.record else []),
        ]  # fmt: skip
        process = subprocess.Popen(command)
        samples = watch(process, files)
        figures = json.loads(files.stats.read_text())
        print(
            f"exit code {process.returncode}; export {_size(files.export) / 1e6:.1f} MB, "
            f"recording {_size(files.recording) / 1e6:.1f} MB"
        )
    latency = figures["latency_ms"]
    print(
        f"first pose after {figures['start_s']:.1f} s; "
        f"{figures['frames_out']} poses at {figures['fps_out']:.1f}/s, "
        f"{figures['frames_dropped']} of {figures['frames_in']} frames dropped, "
        f"age p50 {latency['p50']:.0f}, p95 {latency['p95']:.0f}, max {latency['max']:.0f} ms"
    )
    if arguments.no_files:
        report(samples, "age", "running")
    else:
        report(samples, "journal", "following")
    if arguments.film:
        report(samples, "recording", "drawing")
    print(f"most in the whole run, exports included: {max(s.memory for s in samples):.0f} MB")


if __name__ == "__main__":
    main()
