"""A batch's worker, without Ray: poses to the last bit, receipts, and results in any store."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posemamba_live import cli
from posemamba_live.batch.jobs import Job, plan_jobs
from posemamba_live.batch.options import BatchOptions
from posemamba_live.batch.progress import State
from posemamba_live.batch.receipt import Figures, Receipt, difference
from posemamba_live.batch.storage import Facts, Folder, LocalFolder, facts, open_folder
from posemamba_live.batch.tables import DONE, FAILED, KEPT, ReportRow, write_report
from posemamba_live.batch.videos import Video, find_videos
from posemamba_live.batch.worker import Outcome, VideoWorker, Work
from posemamba_live.options import Options
from tests.support.batch_videos import bad, cut, empty_room, pictures
from tests.support.films import Image
from tests.support.s3_server import s3_bucket

pytest.importorskip("fsspec")

FORMATS = ("npz", "bvh")


@pytest.fixture(scope="module")
def person(walk_clip: Path) -> list[Image]:
    return pictures(walk_clip, 24)


class Bench:
    """A batch of one worker in this process."""

    def __init__(self, output: str, shared: Options, **own: Any) -> None:
        self.shared = shared
        self.batch = BatchOptions(output=output, formats=FORMATS, **own)
        self.folder = open_folder(output)
        self.worker = VideoWorker(
            Work(output, self.batch.suffixes_of_exports, self.batch.record, shared, threads=1)
        )

    def jobs(self, *inputs: object) -> list[Job]:
        videos = find_videos([str(one) for one in inputs], output=self.batch.output)
        return plan_jobs(videos, self.batch, self.shared, self.folder)

    def lift(self, *inputs: object) -> dict[str, Outcome]:
        return {job.video.name: self.worker.lift(job) for job in self.jobs(*inputs) if job.why}

    def whys(self, *inputs: object) -> dict[str, str]:
        return {job.video.name: job.why for job in self.jobs(*inputs)}


@pytest.fixture
def shared(tiny_weights: Path) -> Options:
    return Options(weights=str(tiny_weights))


@pytest.fixture
def bench(tmp_path: Path, shared: Options) -> Iterator[Bench]:
    made = Bench(str(tmp_path / "poses"), shared)
    yield made
    made.worker.close()


def test_the_poses_are_those_of_a_single_run(
    bench: Bench, person: list[Image], tmp_path: Path, restored_logging: None
) -> None:
    clips = [cut(person, tmp_path / f"clips/{name}.mp4", first, 16) for name, first in
             (("one", 0), ("two", 6))]  # fmt: skip
    table = tmp_path / "clips/table.csv"
    table.write_text("path,height,fov,start\none.mp4,1.9,80,0.1\ntwo.mp4,,,\n")
    outcomes = bench.lift(table)
    assert {outcome.status for outcome in outcomes.values()} == {DONE}, outcomes
    special = {"one": ["--height", "1.9", "--fov", "80", "--start", "0.1"], "two": []}
    for clip in clips:
        alone = tmp_path / f"alone_{clip.stem}.npz"
        words = [str(clip), "--headless", "-q", "--export", str(alone), "--threads", "1"]
        words += ["--weights", str(bench.shared.weights), *special[clip.stem]]
        assert cli.run(words) == 0
        with np.load(tmp_path / f"poses/{clip.stem}.npz") as ours, np.load(alone) as theirs:
            assert set(ours) == set(theirs)
            assert len(ours["joints_world"]) == outcomes[clip.stem].figures.poses > 8
            for key in set(ours) - {"meta"}:
                np.testing.assert_array_equal(ours[key], theirs[key], err_msg=key)
            line = json.loads(str(ours["meta"]))["command_line"]
            assert line.startswith(f"posemamba-live {clip}")
            assert all(word in line for word in special[clip.stem])
    figures = outcomes["two"].figures
    assert (figures.frames, figures.people, figures.fps, figures.seen) == (16, 1, 30.0, 1.0)


def test_nobody_is_a_result(bench: Bench, tmp_path: Path) -> None:
    empty_room(tmp_path / "clips/empty.mp4")
    outcome = bench.lift(tmp_path / "clips")["empty"]
    assert (outcome.status, outcome.figures.frames, outcome.figures.poses) == (DONE, 8, 0)
    with np.load(tmp_path / "poses/empty.npz") as poses:
        assert poses["joints_3d"].shape == (0, 17, 3)
    assert not (tmp_path / "poses/empty.bvh").exists()  # which cannot say so
    assert bench.whys(tmp_path / "clips") == {"empty": ""}


def test_bad_files_are_told_and_leave_nothing(bench: Bench, tmp_path: Path) -> None:
    bad(tmp_path / "clips/bad.mp4")
    (tmp_path / "clips/list.txt").write_text("bad.mp4\ngone.mp4\n")
    outcomes = bench.lift(tmp_path / "clips/list.txt")
    assert {name: outcome.status for name, outcome in outcomes.items()} == {
        "bad": FAILED, "gone": FAILED,
    }  # fmt: skip
    assert "bad.mp4" in outcomes["bad"].error
    assert "does not exist" in outcomes["gone"].error
    assert "\n" not in outcomes["bad"].error
    assert bench.folder.sizes() == {}
    assert list(bench.worker._scratch.glob("*/")) == []


def test_what_makes_a_result_count(bench: Bench, tmp_path: Path) -> None:
    clips, poses = tmp_path / "clips", tmp_path / "poses"
    film = empty_room(clips / "a/room.mp4")
    assert bench.whys(clips) == {"a/room": "not done yet"}
    bench.lift(clips)
    assert bench.whys(clips) == {"a/room": ""}
    written = (poses / "a/room.npz").stat().st_mtime_ns

    # Touched, but the same: whoever has read it knows.
    os.utime(film, ns=(1, 1))
    (job,) = bench.jobs(clips)
    assert job.unsure
    assert bench.worker.lift(job).status == KEPT
    assert bench.whys(clips) == {"a/room": ""}
    assert (poses / "a/room.npz").stat().st_mtime_ns == written

    # Other options, cut off, begun only, damaged, the video changed.
    other = Bench(str(poses), replace(bench.shared, heights=(1.9,)))
    assert other.whys(clips) == {"a/room": "made with other heights"}
    other.worker.close()
    whole = (poses / "a/room.npz").read_bytes()
    (poses / "a/room.npz").write_bytes(whole[:-1])
    assert bench.whys(clips) == {"a/room": "files are missing or cut off"}
    (poses / "a/room.npz").write_bytes(whole)
    receipt = poses / ".posemamba-batch/a/room.json"
    text = receipt.read_text()
    receipt.write_text(text.replace('"complete": true', '"complete": false'))
    assert bench.whys(clips) == {"a/room": "begun, but not finished"}
    receipt.write_text(text[:-20])
    (job,) = bench.jobs(clips)
    assert job.why
    assert not job.blocked
    receipt.write_text(text)
    empty_room(film, 11)
    assert bench.whys(clips) == {"a/room": "the video has changed"}
    outcome = bench.lift(clips)["a/room"]
    assert (outcome.status, outcome.figures.frames) == (DONE, 11)


def test_the_version_counts_too() -> None:
    made = Receipt({"version": "1"}, Facts(3, "x"), "", {"a.npz": 5})
    assert difference(made, {"version": "1"}, Facts(3, "x"), {"a.npz": 5}) == ""
    assert "version" in difference(made, {"version": "2"}, Facts(3, "x"), {"a.npz": 5})
    assert Receipt.from_json(made.to_json()) == made
    assert Receipt.from_json(b"[1]") is None


def test_files_of_somebody_else_are_left_alone(
    bench: Bench, tmp_path: Path, shared: Options
) -> None:
    empty_room(tmp_path / "clips/room.mp4")
    (tmp_path / "poses").mkdir()
    (tmp_path / "poses/room.bvh").write_text("by hand")
    (job,) = bench.jobs(tmp_path / "clips")
    assert job.blocked == "room.bvh"
    forced = Bench(str(tmp_path / "poses"), shared, force=True)
    (job,) = forced.jobs(tmp_path / "clips")
    assert (job.blocked, bool(job.why)) == ("", True)
    forced.worker.close()


def test_files_of_a_result_before_go(bench: Bench, tmp_path: Path, shared: Options) -> None:
    empty_room(tmp_path / "clips/room.mp4")
    (job,) = bench.jobs(tmp_path / "clips")
    (tmp_path / "poses").mkdir()
    (tmp_path / "poses/room_person3.bvh").write_text("of three people")
    before = Receipt({}, Facts(1, ""), "", {"room_person3.bvh": 15})
    assert bench.worker.lift(replace(job, before=before)).status == DONE
    assert set(bench.folder.sizes()) == {"room.npz", ".posemamba-batch/room.json"}


@pytest.fixture(params=["memory", "s3"])
def store(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "memory":
        yield "memory://batch"
        return
    pytest.importorskip("s3fs")
    pytest.importorskip("moto")
    with s3_bucket("films") as url:
        yield url


def test_stores_of_every_kind(store: str, shared: Options, tmp_path: Path) -> None:
    """Videos come from there, results go there, and count when it is started again."""
    from fsspec.core import url_to_fs

    system, path = url_to_fs(store)
    room = empty_room(tmp_path / "room.mp4")
    system.pipe_file(f"{path}/in/day/room.mp4", room.read_bytes())
    system.pipe_file(f"{path}/in/bad.mp4", bad(tmp_path / "bad.mp4").read_bytes())
    system.pipe_file(f"{path}/in/list.txt", b"day/room.mp4\ngone.mp4\n")
    bench = Bench(f"{store}/out", shared)
    try:
        outcomes = bench.lift(f"{store}/in")
        assert {name: outcome.status for name, outcome in outcomes.items()} == {
            "bad": FAILED, "day/room": DONE,
        }  # fmt: skip
        files = bench.folder.sizes()
        assert set(files) == {"day/room.npz", ".posemamba-batch/day/room.json"}
        assert bench.whys(f"{store}/in") == {"bad": "not done yet", "day/room": ""}
        assert set(bench.whys(f"{store}/in/*/*.mp4")) == {"day/room"}
        listed = find_videos([f"{store}/in/list.txt"])
        assert [video.name for video in listed] == ["day/room", "gone"]
        assert facts(f"{store}/in/gone.mp4") is None
        assert bench.worker.lift(replace(bench.jobs(f"{store}/in")[0])).status == FAILED
        assert write_report(bench.folder, [ReportRow("x", DONE)]) == []
        assert bench.folder.read("report.csv").startswith(b"path,status,error,frames")
    finally:
        bench.worker.close()


def test_a_file_is_put_whole_or_not_at_all(tmp_path: Path, monkeypatch: Any) -> None:
    source = tmp_path / "new"
    source.write_bytes(b"new and longer")
    folder: Folder = LocalFolder(tmp_path / "out")
    folder.write(b"old", "a/b.npz")

    def fails(*paths: Any) -> None:
        Path(paths[1]).write_bytes(b"new")
        raise OSError("disk full")

    monkeypatch.setattr("shutil.copyfile", fails)
    with pytest.raises(OSError, match="full"):
        folder.put(source, "a/b.npz")
    assert folder.sizes() == {"a/b.npz": 3}
    assert folder.read("a/b.npz") == b"old"


def test_the_report_has_a_row_for_each_video(tmp_path: Path) -> None:
    from pyarrow import parquet

    figures = Figures(frames=10, people=1, poses=9, fps=25.0, seen=0.9, seconds=1.5)
    rows = [
        ReportRow("a.mp4", DONE, "", 10, 1, 9, 25.0, figures.seen, 1.5, "here", "7", "a"),
        ReportRow("b.mp4", FAILED, "no film; try another", name="b"),
    ]
    assert write_report(LocalFolder(tmp_path), rows) == []
    table = parquet.read_table(tmp_path / "report.parquet").to_pylist()
    with open(tmp_path / "report.csv", newline="", encoding="utf-8") as file:
        words = list(csv.DictReader(file))
    assert [row["status"] for row in words] == [row["status"] for row in table] == [DONE, FAILED]
    assert table[0]["seen"] == 0.9
    assert table[1]["error"] == words[1]["error"] == "no film; try another"
    names = "path status error frames people poses fps seen seconds host worker name"
    assert list(words[0]) == list(table[0]) == names.split()


def test_videos_that_nobody_can_tell_of_have_no_size() -> None:
    assert Video("x.mp4", "x").size == 0


def test_how_long_it_will_take_is_told_by_bytes() -> None:
    state = State(4, 100)
    assert state.seconds_left(5.0) is None
    state.began(10.0)
    state.video_done(50, 600, failed=False)
    state.video_done(25, 0, failed=True)
    state.running_frames = 60
    assert state.rate(40.0) == pytest.approx(22.0)
    assert state.seconds_left(40.0) == pytest.approx(10.0)
    assert state.line(40.0) == "2/4 videos, 22.0 frames/s, 0:10 left, 1 failed"
    assert State(4, 0).line(1.0) == "0/4 videos, 0.0 frames/s, 0 workers"
