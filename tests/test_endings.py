"""However a run ends, nothing that was captured is lost: real processes, disks and signals."""

from __future__ import annotations

import io
import os
import random
import re
import resource
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np
import pytest

from posemamba_live.takes.recovery import recover
from posemamba_live.takes.take import read_take
from tests.support.mjpeg_server import MjpegServer
from tests.support.nursery import Nursery, Process, environment

KILLS = int(os.environ.get("POSEMAMBA_TEST_KILLS", "3"))
"""How often a run is killed at a random moment; by hand 20."""

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals and limits of POSIX systems")


@dataclass
class Started:
    """A running program with a stand-in for its detector (see tests.support.stand_ins)."""

    process: Process
    folder: Path
    stdout: BinaryIO
    stderr: BinaryIO

    def __post_init__(self) -> None:
        self.said: list[str] = []
        self.frames: list[tuple[int, float]] = []
        """Index and time of each frame that was detected."""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in io.TextIOWrapper(self.stderr):
            if match := re.fullmatch(r"\d+ (\d+) ([\d.]+)\n", line):
                self.frames.append((int(match[1]), float(match[2])))
            else:
                self.said.append(line)

    @property
    def err(self) -> str:
        return "".join(self.said)

    def wait_for(self, frames: int, timeout: float = 90.0) -> None:
        deadline = time.monotonic() + timeout
        while len(self.frames) < frames:
            assert self.process.poll() is None, self.err
            assert time.monotonic() < deadline, self.err
            time.sleep(0.01)

    def wait_for_journal(self, timeout: float = 90.0) -> float:
        """When it began: films are looked at before that, while the lifter is loading."""
        self.wait_for(5, timeout)
        deadline = time.monotonic() + timeout
        while not any(self.folder.glob("*.journal")):
            assert self.process.poll() is None, self.err
            assert time.monotonic() < deadline, self.err
            time.sleep(0.01)
        return time.time()

    def signal(self, number: signal.Signals = signal.SIGINT, *, times: int = 1) -> None:
        for _ in range(times):
            self.process.send_signal(number)
            time.sleep(0.02)

    def end(self, timeout: float = 90.0) -> int:
        code = self.process.wait(timeout)
        self._reader.join(5.0)
        assert "Traceback" not in self.err, self.err
        return code


Start = Callable[..., Started]


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    nursery = Nursery()
    yield nursery
    nursery.close()


@pytest.fixture
def start(nursery: Nursery, tiny_weights: Path, walk_clip: Path, tmp_path: Path) -> Iterator[Start]:
    running: list[Process] = []

    def begin(
        *arguments: object,
        source: object = walk_clip,
        limits: dict[str, int] | None = None,
        out: str | None = "",
        err: str | None = "",
        **stand_in: Any,
    ) -> Started:
        """Args: out, err: files to write to; None for a closed descriptor, a pipe by default."""
        folder = tmp_path / "here"
        folder.mkdir(exist_ok=True)
        pipes = [os.pipe(), os.pipe()]
        ends: list[int | None] = []
        for name, (_, end) in zip((out, err), pipes, strict=True):
            if name != "":
                os.close(end)
            ends.append(end if name == "" else name and os.open(name, os.O_WRONLY))  # type: ignore[arg-type]
        process = nursery.start(
            stand_in,
            [str(source), "--headless", "--weights", str(tiny_weights), "--threads", "1",
             *map(str, arguments)],
            folder=folder, limits=limits, stdout=ends[0], stderr=ends[1],
        )  # fmt: skip
        running.append(process)
        return Started(process, folder, *(os.fdopen(pipe[0], "rb") for pipe in pipes))

    yield begin
    for process in running:
        process.kill()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# -- kill -9 ---------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(KILLS))
@pytest.mark.parametrize("live", [False, True], ids=["file", "live"])
def test_killed_at_any_moment(live: bool, number: int, walk_clip: Path, start: Start) -> None:
    wait = random.Random(number).uniform(0.5, 3.5)
    if not live:
        run = start("--export", "a.npz", "--export", "a.bvh", slow=0.05)
        begun = run.wait_for_journal()
        time.sleep(wait)
        run.process.kill()
    else:
        with MjpegServer(walk_clip, (640, 360), max_frames=60) as camera:
            run = start("--export", "a.npz", "--export", "a.bvh", source=camera.url)
            begun = run.wait_for_journal()
            time.sleep(wait)
            run.process.kill()
    killed = time.time()
    run.end()
    assert names(run.folder) == ["a.npz.journal"]
    before = [index for index, when in run.frames if max(when, begun) < killed - 2.0]
    take = recover(run.folder / "a.npz.journal").take
    there = {pose.frame_index for pose in take.poses}
    assert set(before) <= there
    assert all(np.isfinite(pose.joints_world).all() for pose in take.poses)
    assert read_take(run.folder / "a.npz.journal").poses


def playable_s(path: Path) -> float:
    """Seconds of a recording that can be decoded."""
    last = 0.0
    with av.open(str(path)) as film:
        for frame in film.decode(video=0):
            last = float(frame.time or 0.0)
    return last


@pytest.mark.parametrize("number", range(KILLS))
def test_a_live_recording_plays_to_where_it_was_killed(
    number: int, walk_clip: Path, start: Start
) -> None:
    with MjpegServer(walk_clip, (640, 360), max_frames=60) as camera:
        run = start("--record", "a.mp4", source=camera.url)
        run.wait_for(5)
        time.sleep(random.Random(number).uniform(2.5, 4.5))
        run.process.kill()
    killed = time.time()
    run.end()
    assert names(run.folder) == ["a.mp4.journal", "a.partial.mp4"]
    # Two seconds where the machine keeps up with the camera; tests share theirs with others.
    assert playable_s(run.folder / "a.partial.mp4") >= killed - run.frames[0][1] - 2.0
    assert recover(run.folder / "a.mp4.journal").take.poses


def test_pictures_that_are_drawn_slowly_are_left_out_not_late(
    walk_clip: Path, start: Start
) -> None:
    """A machine that draws six pictures a second of thirty: what is on the disk is of now."""
    with MjpegServer(walk_clip, (640, 360), max_frames=60) as camera:
        run = start("--record", "a.mp4", source=camera.url, slow_drawing=0.16)
        partial = run.folder / "a.partial.mp4"
        run.wait_for(5)
        while not partial.exists():  # the recording begins with its first picture
            time.sleep(0.02)
        began = time.time()
        time.sleep(5.0)
        run.process.kill()
    killed = time.time()
    run.end()
    assert playable_s(partial) >= killed - began - 2.0


def test_a_strangers_video_is_left_alone(start: Start) -> None:
    run = start("--export", "a.npz", "--record", "a.mp4", "--max-frames", 40, create=["a.mp4"],
                slow=0.02)  # fmt: skip
    assert run.end() == 1
    assert (run.folder / "a.mp4").read_text() == "a stranger's"
    assert names(run.folder) == ["a-2.mp4", "a.mp4", "a.npz"]
    assert playable_s(run.folder / "a-2.mp4") > 1.0


def test_the_next_run_names_the_journal_and_leaves_it(start: Start) -> None:
    run = start("--export", "a.npz", slow=0.05)
    run.wait_for(30)
    time.sleep(1.5)
    run.process.kill()
    run.end()
    journal = run.folder / "a.npz.journal"
    old = journal.read_bytes()
    run = start("--export", "a.npz", "--max-frames", 20)
    assert run.end() == 0
    assert "a.npz.journal holds poses of a run that did not end" in run.err
    assert "posemamba-export a.npz.journal a.npz" in run.err
    assert journal.read_bytes() == old
    assert names(run.folder) == ["a.npz", "a.npz.journal"]


def test_the_next_run_names_the_line_that_draws_the_recording(
    walk_clip: Path, start: Start
) -> None:
    outputs = ("--export", "a.npz", "--record", "a.mp4")
    run = start(*outputs, slow=0.05)
    run.wait_for(30)
    time.sleep(1.5)
    run.process.kill()
    run.end()
    run = start(*outputs, "--max-frames", 5)
    assert run.end() == 0
    line = next(row for row in run.err.splitlines() if "posemamba-export" in row)
    film = str(walk_clip.resolve())
    words = ["posemamba-export", "a.npz.journal", "--video", film, "a.npz", "a.mp4"]
    assert shlex.split(line) == words


# -- disks and folders -----------------------------------------------------------------------


def test_a_stranger_under_our_names_is_left_alone_and_nothing_is_lost(start: Start) -> None:
    taken = ["a.npz", "a.csv", "stats.json"]
    run = start("--export", "a.npz", "--export", "a.csv", "--stats", "stats.json",
                "--max-frames", 40, create=taken)  # fmt: skip
    assert run.end() == 1
    assert names(run.folder) == sorted([*taken, "a-2.npz", "a-2.csv", "stats-2.json"])
    assert {(run.folder / name).read_text() for name in taken} == {"a stranger's"}
    assert len(read_take(run.folder / "a-2.npz").poses) == 40
    assert run.err.count("it is a-2.npz instead") == 1


def test_a_folder_that_is_removed_costs_nothing(start: Start, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    run = start("--export", out / "a.npz", "--export", out / "a.csv", "--max-frames", 60,
                remove=str(out), slow=0.05)  # fmt: skip
    assert run.end() == 1
    assert names(run.folder) == ["a.csv", "a.npz"]
    assert len(read_take(run.folder / "a.npz").poses) == 60
    assert f"{out / 'a.npz'} could not be written" in run.err
    assert not out.exists()


def test_a_journal_moves_when_its_folder_is_removed_and_then_survives_a_kill(
    start: Start, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    run = start("--export", out / "a.npz", remove=str(out), slow=0.05)
    run.wait_for(60)
    run.process.kill()
    run.end()
    poses = recover(run.folder / "a.npz.journal").take.poses
    assert [pose.frame_index for pose in poses][:20] == [*range(20)]


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("only root mounts a small disk")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_costs_nothing(start: Start, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, "40k"):
        run = start("--export", disk / "a.npz", "--export", disk / "a.csv", slow=0.02)
        assert run.end() == 1
        assert names(run.folder) == ["a.csv", "a.npz"]
        assert not names(disk)
        assert len(read_take(run.folder / "a.npz").poses) == len(run.frames)
        assert "No space left" in run.err


@contextmanager
def frozen(folder: Path) -> Iterator[None]:
    """A folder on a disk that is read-only from now on, but for files that are open already."""
    subprocess.run(["mount", "--bind", str(folder), str(folder)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("live", [False, True], ids=["file", "live"])
def test_a_folder_that_becomes_read_only_costs_nothing(
    live: bool, walk_clip: Path, start: Start, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    outputs = ("--export", disk / "a.npz", "--export", disk / "a.csv", "--record", disk / "a.mp4")
    with small_disk(disk, "40m"), MjpegServer(walk_clip, (640, 360), max_frames=60) as camera:
        source = camera.url if live else walk_clip
        run = start(*outputs, "--max-frames", 60, source=source, slow=0.05)
        run.wait_for(30)
        with frozen(disk):
            assert run.end() == 1
            assert {"a.csv", "a.mp4", "a.npz"} <= set(names(run.folder)), run.err
            assert not {"a.csv", "a.npz"} & set(names(disk)), run.err
        poses = read_take(run.folder / "a.npz").poses
        assert len(poses) == 60
        assert frames_of(run.folder / "a.mp4") > 0
        assert "Read-only file system" in run.err


def test_a_film_whose_folder_is_removed_is_recorded_in_another_one(
    start: Start, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    run = start("--export", out / "a.npz", "--record", out / "a.mp4", "--max-frames", 60,
                remove=str(out), slow=0.02)  # fmt: skip
    assert run.end() == 1
    assert names(run.folder) == ["a.mp4", "a.npz"]
    assert frames_of(run.folder / "a.mp4") == 60
    for name in ("a.mp4", "a.npz"):
        told = f"{out / name} could not be written: it is {run.folder / name} instead"
        assert run.err.count(f"{out / name} ") == run.err.count(told) == 1, run.err


def test_a_live_recording_goes_on_where_a_disk_is_full(
    walk_clip: Path, start: Start, tmp_path: Path
) -> None:
    """Its poses are in an export, so that no journal is left, and no line that makes it again."""
    disk = tmp_path / "disk"
    with small_disk(disk, "300k"), MjpegServer(walk_clip, (640, 360), max_frames=60) as camera:
        run = start(
            "--export", "a.npz", "--record", disk / "a.mp4", "--max-frames", 90, source=camera.url
        )
        assert run.end() == 1
        films = sorted([*disk.glob("*.mp4"), *run.folder.glob("*.mp4")])
        assert len(films) >= 2, run.err
        assert all(".partial" not in film.name for film in films)
        assert sum(frames_of(film) for film in films) >= 45
        assert "it goes on in" in run.err
        assert "posemamba-export" not in run.err
    assert len(read_take(run.folder / "a.npz").poses) == 90
    assert not list(run.folder.glob("*.journal"))


def test_files_that_may_not_grow(start: Start) -> None:
    """Nothing can be written in any folder: what fits into the journal stays."""
    size = 60_000
    run = start(
        "--export", "a.npz", "--export", "a.csv", slow=0.02,
        limits={"RLIMIT_FSIZE": size},
    )  # fmt: skip
    assert run.end() == 1
    assert "cannot write a.npz" in run.err
    assert "posemamba-export a.npz.journal a.npz a.csv" in run.err
    assert names(run.folder) == ["a.npz.journal"]
    assert len(recover(run.folder / "a.npz.journal").take.poses) > 30


def test_a_recording_of_which_no_picture_was_written_whole_is_no_file(start: Start) -> None:
    run = start(
        "--export", "a.npz", "--record", "a.mp4", "--max-frames", 4,
        limits={"RLIMIT_FSIZE": 4808},
    )  # fmt: skip
    assert run.end() == 1
    assert "cannot record to a.mp4" in run.err
    assert b"a.mp4" not in run.stdout.read()
    assert not [name for name in names(run.folder) if name.endswith(".mp4")], run.err


# -- signals ---------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [1, 2, 3, 6])
def test_any_number_of_interrupts(times: int, start: Start) -> None:
    run = start("--export", "a.npz", "--export", "a.bvh", slow=0.05)
    run.wait_for(40)
    run.signal(times=times)
    assert run.end(10.0) == 130
    kept = "a.npz" if (run.folder / "a.npz").exists() else "a.npz.journal"
    if kept == "a.npz.journal":
        assert times >= 3
        assert "posemamba-export a.npz.journal" in run.err
    poses = read_take(run.folder / kept).poses
    assert [pose.frame_index for pose in poses][:38] == [*range(38)]


@pytest.mark.parametrize(
    ("stand_in", "where"), [({"hang_at": 50}, "detect"), ({"hang_in_close": True}, "")]
)
def test_whatever_hangs_an_interrupt_ends_the_run(
    stand_in: dict[str, Any], where: str, start: Start
) -> None:
    run = start("--export", "a.npz", "--export", "a.bvh", slow=0.03, **stand_in)
    run.wait_for(50)
    time.sleep(0.5)
    began = time.monotonic()
    run.signal()
    assert run.end(10.0) == 130
    assert time.monotonic() - began < 6.0
    assert where in run.err
    poses = read_take(run.folder / "a.npz").poses
    assert [pose.frame_index for pose in poses][:50] == [*range(50)]


def frames_of(path: Path) -> int:
    with av.open(str(path)) as film:
        return sum(1 for _ in film.decode(video=0))


def test_an_interrupted_film_is_recorded_as_far_as_it_was_solved(start: Start) -> None:
    run = start("--export", "a.npz", "--record", "a.mp4", slow=0.05)
    run.wait_for(30)
    run.signal()
    assert run.end(10.0) == 130
    rows = len(read_take(run.folder / "a.npz").poses)
    assert rows >= 30
    if "posemamba-export" in run.err:  # a machine that is busy with other things
        assert names(run.folder) == ["a.npz", "a.npz.journal"], run.err
    else:
        assert names(run.folder) == ["a.mp4", "a.npz"], run.err
        assert frames_of(run.folder / "a.mp4") == rows


@pytest.mark.parametrize("when", ["running", "drawing"])
def test_a_recording_that_cannot_be_drawn_in_time_is_named_with_the_line_that_makes_it(
    when: str, walk_clip: Path, start: Start
) -> None:
    more = ["--max-frames", 60] if when == "drawing" else []
    run = start("--export", "a.npz", "--record", "a.mp4", *more, slow=0.02, slow_drawing=0.4)
    run.wait_for(60)
    if when == "drawing":
        deadline = time.monotonic() + 60.0
        while not (run.folder / "a.partial.mp4").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
    began = time.monotonic()
    run.signal()
    assert run.end(10.0) == 130
    assert time.monotonic() - began < 6.0
    assert names(run.folder) == ["a.npz", "a.npz.journal"], run.err
    line = next(row for row in run.err.splitlines() if "posemamba-export" in row)
    words = shlex.split(line)
    assert words == ["posemamba-export", "a.npz.journal", "--video", str(walk_clip), "a.mp4"]
    done = subprocess.run(
        [sys.executable, "-m", "posemamba_live.export", *words[1:]],
        cwd=run.folder, env=environment(), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert frames_of(run.folder / "a.mp4") == len(read_take(run.folder / "a.npz").poses)


def test_a_camera_that_stalls(walk_clip: Path, start: Start) -> None:
    with MjpegServer(walk_clip, (640, 360), max_frames=60) as camera:
        run = start("--export", "a.npz", source=camera.url)
        run.wait_for(20)
        camera.stall()
        time.sleep(1.0)
        count, began = len(run.frames), time.monotonic()
        run.signal()
        assert run.end(10.0) == 130
        assert time.monotonic() - began < 6.0
        camera.resume()
    assert len(read_take(run.folder / "a.npz").poses) >= count - 1


def test_a_camera_that_floods_hangs_up_and_changes_its_size(walk_clip: Path, start: Start) -> None:
    with MjpegServer(walk_clip, (640, 360), max_frames=60, fps=400.0) as camera:
        run = start("--export", "a.npz", source=camera.url, slow=0.01)
        run.wait_for(30)
        camera.resize((320, 180))
        run.wait_for(60)
        camera.unplug()
        time.sleep(0.5)
        camera.plug()
        run.wait_for(90)
        camera.unplug()
        began = time.monotonic()
        run.signal()
        assert run.end(10.0) == 130
        assert time.monotonic() - began < 6.0
    poses = read_take(run.folder / "a.npz").poses
    assert len(poses) >= 80  # the tracker may want to see a person twice where sizes change
    assert {pose.pose2d.image_size for pose in poses} >= {(640, 360)}


@pytest.mark.parametrize("wait", [0.1, 0.3, 0.8, 1.6, 3.0])
def test_interrupted_while_starting(wait: float, start: Start) -> None:
    run = start("--export", "a.npz", hang_at=0)
    time.sleep(wait)
    status = Path(f"/proc/{run.process.pid}/status").read_text()
    caught = int(re.findall(r"SigCgt:\s*(\w+)", status)[0], 16) >> (signal.SIGTERM - 1) & 1
    run.signal()
    code = run.process.wait(10.0)
    if caught:  # before that Python itself is starting
        assert code == 130
        assert run.end() == 130


def test_a_main_thread_that_hangs_is_no_reason_to_stay() -> None:
    """As a window's or a terminal's call may."""
    program = """
from posemamba_live.run.signals import Interrupts
from posemamba_live.terminal import say
from tests.support.stand_ins import hang
with Interrupts() as interrupts:
    interrupts.run_begins(lambda: say("interrupt"), lambda: say("last words"))
    say("ready")
    hang()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], stderr=subprocess.PIPE, text=True,
        env=environment(),
    )  # fmt: skip
    assert process.stderr is not None
    assert process.stderr.readline() == "ready\n"
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(10.0) == 130
    assert 4.0 < time.monotonic() - began < 5.5
    assert process.stderr.read() == "interrupt\nlast words\n"


# -- nothing to save, nowhere to say it, no memory -------------------------------------------


def test_nobody_in_view_is_a_valid_result(start: Start) -> None:
    run = start("--export", "a.npz", "--max-frames", 20, nobody=True)
    assert run.end() == 0
    with np.load(run.folder / "a.npz", allow_pickle=False) as data:
        assert data["joints_3d"].shape == (0, 17, 3)
    assert b"nobody" in run.stdout.read()
    assert names(run.folder) == ["a.npz"]


@pytest.mark.parametrize(
    ("out", "err"),
    [(None, ""), ("", None), (None, None), ("/dev/full", ""), ("/dev/full", "/dev/full")],
)
def test_without_anywhere_to_print_to(out: str | None, err: str | None, start: Start) -> None:
    if out == "/dev/full" and not Path(out).exists():
        pytest.skip("there is no /dev/full")
    run = start("--export", "a.npz", "--max-frames", 20, out=out, err=err)
    assert run.end() == 0
    assert len(read_take(run.folder / "a.npz").poses) == 20
    assert names(run.folder) == ["a.npz"]


def test_a_reader_that_has_gone(start: Start) -> None:
    run = start("--export", "a.npz", "--max-frames", 20)
    run.stdout.close()
    assert run.end() == 0
    assert len(read_take(run.folder / "a.npz").poses) == 20


@pytest.mark.parametrize("redirect", ["", ">&-", ">/dev/full", "2>&-"])
def test_help_without_anywhere_to_print_to(redirect: str) -> None:
    command = shlex.join([sys.executable, "-m", "posemamba_live", "--help"])
    process = subprocess.Popen(["sh", "-c", f"{command} {redirect}"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(60.0) == 0


def test_memory_that_runs_out_is_told_in_one_sentence(start: Start) -> None:
    run = start("--export", "a.npz", no_memory_at=20)
    assert run.end() == 1
    assert run.err.count("there is not enough memory") == 1
    assert [pose.frame_index for pose in read_take(run.folder / "a.npz").poses] == [*range(20)]


@pytest.mark.parametrize(
    ("limit", "size"), [("RLIMIT_AS", 700_000_000), ("RLIMIT_DATA", 300_000_000)]
)
def test_too_little_memory_to_start_with(
    limit: str, size: int, walk_clip: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "posemamba_live", str(walk_clip), "--headless"]
    done = subprocess.run(
        [*command, "--export", "a.npz"], cwd=tmp_path, env=environment(), text=True,
        capture_output=True, timeout=60,
        preexec_fn=lambda: resource.setrlimit(getattr(resource, limit), (size, size)),
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("there is not enough memory") == 1
    assert f"{size / 1e9:.1f} GB (ulimit" in done.stderr
    assert "Traceback" not in done.stderr
    assert names(tmp_path) == []
