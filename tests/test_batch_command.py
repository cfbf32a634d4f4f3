"""posemamba-batch from end to end: real films, real Ray, and what can happen to them."""

from __future__ import annotations

import builtins
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posemamba_live import cli
from posemamba_live.batch import command
from tests.support.batch_videos import bad, cut, empty_room, pictures
from tests.support.films import Image
from tests.support.processes import descendants, kill
from tests.support.s3_server import s3_bucket

ROOT = Path(__file__).parent.parent
WORKER = "ray::Seat"
BAD = {"bad", "more/worse"}
PATIENCE_S = 240.0

ray_here = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")


@pytest.fixture(scope="session")
def person(walk_clip: Path) -> list[Image]:
    return pictures(walk_clip, 36)


@pytest.fixture
def films(person: list[Image], tmp_path: Path) -> Path:
    """Twelve films, of which two are none."""
    folder = tmp_path / "films"
    for number in range(5):
        cut(person, folder / f"{number}.mp4", 3 * number, 12)
        cut(person, folder / f"more/deep/{number}.mp4", 3 * number + 4, 12)
    bad(folder / "bad.mp4")
    (folder / "more/worse.mov").write_bytes((folder / "1.mp4").read_bytes()[:900])
    return folder


class Batch:
    """The program in a process of its own."""

    def __init__(self, *words: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "posemamba_live.batch", *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # a Ctrl-C is for all of it
        )

    def until(self, done: Callable[[], Any]) -> Any:
        """Wait until something is so, while the program runs."""
        end = time.monotonic() + PATIENCE_S
        while not (found := done()):
            assert self.process.poll() is None, self.process.communicate()[0]
            assert time.monotonic() < end
            time.sleep(0.05)
        return found

    def workers(self) -> list[int]:
        """Processes of workers."""
        below = descendants(self.process.pid)
        return [process for process, name in below.items() if name.startswith(WORKER)]

    def end(self) -> tuple[int, str]:
        text, _ = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, text


@pytest.fixture
def start() -> Iterator[Callable[..., Batch]]:
    batches: list[Batch] = []

    def begin(*words: object) -> Batch:
        batches.append(Batch(*words))
        return batches[-1]

    yield begin
    for batch in batches:
        for process in [*descendants(batch.process.pid), batch.process.pid]:
            kill(process)
        batch.process.communicate()


def complete(poses: Path) -> dict[str, dict[str, Any]]:
    """Receipts of complete results, whose files are all there and whole."""
    found = {}
    own = poses / ".posemamba-batch"
    for path in own.rglob("*.json"):
        receipt = json.loads(path.read_text())
        if receipt["complete"]:
            for name, size in receipt["files"].items():
                assert (poses / name).stat().st_size == size
            found[path.relative_to(own).with_suffix("").as_posix()] = receipt
    return found


def report(poses: Path) -> dict[str, dict[str, str]]:
    """Rows of the report by the names of results."""
    with open(poses / "report.csv", newline="", encoding="utf-8") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


@ray_here
def test_twelve_films_whatever_happens(
    films: Path,
    tmp_path: Path,
    tiny_weights: Path,
    start: Callable[..., Batch],
    restored_logging: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The driver is killed, then a worker, and two films are bad: ten are lifted, each once."""
    poses = tmp_path / "poses"
    words = [films, "-o", poses, "--export", "npz", "--export", "bvh", "--workers", "2"]
    words += ["--weights", tiny_weights]
    first = start(*words)
    first.until(lambda: len(complete(poses)) >= 3)
    first.process.kill()
    first.process.wait()
    ended = time.monotonic() + 60.0
    while first.workers() and time.monotonic() < ended:
        time.sleep(0.1)
    before = complete(poses)
    written = {name: (poses / f"{name}.npz").stat().st_mtime_ns for name in before}
    for path in poses.rglob("*.npz"):
        with np.load(path) as arrays:
            assert len(arrays["meta"].shape) == 0
    assert not (poses / "report.csv").exists()

    second = start(*words)
    second.until(lambda: len(complete(poses)) > len(before))
    if left := second.workers():
        kill(left[0])
    code, text = second.end()
    assert code == 1, text
    rows = report(poses)
    assert len(rows) == 12
    assert {name for name, row in rows.items() if row["status"] == "failed"} == BAD
    kept = {name for name, row in rows.items() if row["status"] == "kept"}
    assert kept >= set(before)  # and what a worker ended while it was being told to go
    assert sum(row["status"] == "done" for row in rows.values()) == 10 - len(kept)
    assert all(rows[name]["error"] for name in BAD)
    assert all(name in text for name in ("bad.mp4", "worse.mov"))
    for name, when in written.items():
        assert (poses / f"{name}.npz").stat().st_mtime_ns == when
    good = [row for row in rows.values() if row["status"] != "failed"]
    assert all(int(row["frames"]) == 12 and row["host"] and row["worker"] for row in good)
    assert set(complete(poses)) == set(rows) - BAD
    assert all((poses / f"{name}.bvh").is_file() for name in set(rows) - BAD)
    assert not any((poses / ".posemamba-batch/partial").iterdir())

    alone = tmp_path / "alone.npz"
    single = [str(films / "more/deep/3.mp4"), "--headless", "-q", "--threads", "1"]
    assert cli.run([*single, "--weights", str(tiny_weights), "--export", str(alone)]) == 0
    with np.load(poses / "more/deep/3.npz") as ours, np.load(alone) as theirs:
        for key in set(theirs) - {"meta"}:
            np.testing.assert_array_equal(ours[key], theirs[key], err_msg=key)

    capsys.readouterr()
    assert command.run([*map(str, words), "--dry-run"]) == 0
    assert "12 videos: 2 to lift" in capsys.readouterr().out


def test_what_is_done_is_not_done_again_and_needs_no_ray(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restored_logging: None
) -> None:
    """Without Ray there is a clear message, and only where it is needed."""
    before = builtins.__import__

    def without_ray(name: str, *rest: Any) -> Any:
        if name == "ray":
            raise ImportError("No module named 'ray'")
        return before(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_ray)
    empty_room(tmp_path / "films/room.mp4")
    words = [str(tmp_path / "films"), "-o", str(tmp_path / "poses")]
    assert command.run([*words, "--dry-run"]) == 0
    assert command.run(words) == 1
    assert report(tmp_path / "poses")["room"]["status"] == "not done"


def test_without_ray_it_says_what_to_install(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    restored_logging: None,
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    empty_room(tmp_path / "room.mp4")
    assert command.run([str(tmp_path), "-o", str(tmp_path / "poses")]) == 1
    told = capsys.readouterr().err
    assert "Ray is not installed" in told
    assert "pip install 'posemamba-live[batch]'" in told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "Nothing to lift"),
        (["FILMS"], "--output"),
        (["FILMS", "-o", "OUT", "--export", "xyz"], "no format 'xyz'"),
        (["FILMS", "-o", "memory://x"], "memory of one process"),
        (["FILMS", "-o", "OUT", "--workers", "0"], "--workers 0"),
        (["FILMS", "-o", "OUT", "--gpus-per-worker", "1.5"], "--gpus-per-worker 1.5"),
        (["FILMS", "-o", "OUT", "--device", "cuda"], "--gpus-per-worker"),
        (["FILMS", "-o", "OUT", "--height", "9"], "--height 9"),
        (["FILMS/none", "-o", "OUT"], "There is no"),
        (["FILMS", "-o", "FILMS", "--record"], "would replace"),
        (["FILMS", "-o", "OUT", "--nonsense"], "--nonsense"),
    ],
)
def test_what_cannot_be_meant(
    words: list[str],
    told: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    restored_logging: None,
) -> None:
    empty_room(tmp_path / "films/room.mp4")
    places = {"FILMS": str(tmp_path / "films"), "OUT": str(tmp_path / "out")}
    for name, place in places.items():
        words = [word.replace(name, place) for word in words]
    assert command.run(words) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys\nfrom posemamba_live.batch import command\ncode = command.run(['--help'])\n"
        "heavy = {'torch', 'ray', 'cv2', 'av', 'onnxruntime', 'fsspec'} & set(sys.modules)\n"
        "assert code == 0 and not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--cpus-per-worker" in done.stdout


@pytest.mark.long
@ray_here
def test_ctrl_c_ends_it_and_the_same_command_goes_on(
    films: Path, tmp_path: Path, start: Callable[..., Batch], tiny_weights: Path
) -> None:
    poses = tmp_path / "poses"
    words = [films, "-o", poses, "--weights", tiny_weights, "--workers", "1"]
    first = start(*words)
    first.until(lambda: len(complete(poses)) >= 2)
    begun = time.monotonic()
    os.killpg(first.process.pid, signal.SIGINT)
    code, text = first.end()
    assert code == 130
    assert time.monotonic() - begun < 6.0
    assert "the same command goes on" in text
    rows = report(poses)
    done = {name for name, row in rows.items() if row["status"] == "done"}
    assert done == set(complete(poses))
    assert {row["status"] for name, row in rows.items() if name not in done | BAD} == {"not done"}
    code, text = start(*words).end()
    assert code == 1, text
    rows = report(poses)
    assert {name for name, row in rows.items() if row["status"] == "kept"} == done
    assert sum(row["status"] == "done" for row in rows.values()) == 10 - len(done)


@pytest.mark.long
@ray_here
def test_films_and_poses_in_a_bucket(
    films: Path, start: Callable[..., Batch], tiny_weights: Path
) -> None:
    pytest.importorskip("s3fs")
    pytest.importorskip("moto")
    from fsspec.core import url_to_fs

    with s3_bucket("films") as url:
        system, path = url_to_fs(url)
        for film in films.rglob("*.m*"):
            system.put_file(str(film), f"{path}/in/{film.relative_to(films).as_posix()}")
        words = [f"{url}/in", "-o", f"{url}/out", "--record", "--weights", tiny_weights]
        code, text = start(*words).end()
        assert code == 1, text
        found = {name[len(path) + 5 :] for name in system.find(f"{path}/out")}
        assert {name for name in found if name.endswith(".npz")} == {
            f"{where}{number}.npz" for where in ("", "more/deep/") for number in range(5)
        }
        assert sum(name.endswith(".mp4") for name in found) == 10
        assert {"report.csv", "report.parquet"} <= found
        code, text = start(*words).end()
        assert code == 1
        assert "10 there already" in text


@pytest.mark.long
@ray_here
def test_a_table_records_and_another_start_has_nothing_to_do(
    person: list[Image], tmp_path: Path, start: Callable[..., Batch]
) -> None:
    """With the weights that are shipped, a recording, and options for each film."""
    for name in ("a", "b"):
        cut(person, tmp_path / f"films/{name}.mp4", 0, 30)
    shutil.copy(tmp_path / "films/a.mp4", tmp_path / "films/c.mp4")
    table = tmp_path / "films/table.csv"
    table.write_text("path,height,people,end\na.mp4,1.9,2,\nb.mp4,,,0.5\nc.mp4,1.9,,\n")
    words = [table, "-o", tmp_path / "poses", "--record", "--export", "npz", "--export", "glb"]
    code, text = start(*words).end()
    assert code == 0, text
    rows = report(tmp_path / "poses")
    assert [rows[name]["frames"] for name in "abc"] == ["30", "15", "30"]
    assert {path.name for path in (tmp_path / "poses").iterdir()} >= {
        f"{name}{suffix}" for name in "abc" for suffix in (".npz", ".glb", ".mp4")
    }
    code, text = start(*words).end()
    assert code == 0
    assert "3 there already" in text
