"""`posemamba-export`: a recording in other formats, each output on its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from posemamba_live.export import app
from posemamba_live.takes.journal import Journal
from tests.support.lifted_poses import lifted_pose
from tests.support.nursery import environment


def export(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def poses(walk_exports: Path, tmp_path: Path) -> Path:
    path = tmp_path / "walk.npz"
    path.write_bytes((walk_exports / "walk.npz").read_bytes())
    return path


def test_other_formats_are_what_the_run_itself_would_write(
    walk_exports: Path, poses: Path, tmp_path: Path
) -> None:
    outputs = [tmp_path / "later.trc", tmp_path / "later.csv"]
    done = export(poses, *outputs)
    assert done.exit_code == 0, done.output
    assert done.stdout.split() == [str(path) for path in outputs]
    for path in outputs:
        own = (walk_exports / f"walk{path.suffix}").read_text().replace("walk.trc", "later.trc")
        assert path.read_text() == own


def test_each_output_fails_alone(poses: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept.csv"
    kept.write_text("mine")
    bad = [tmp_path / "a.xyz", kept, tmp_path / "away" / "a.bvh"]
    done = export(poses, bad[0], tmp_path / "b.csv", *bad[1:], tmp_path / "c.trc")
    assert done.exit_code == 1
    assert done.stdout.split() == [str(tmp_path / "b.csv"), str(tmp_path / "c.trc")]
    lines = done.stderr.splitlines()
    assert len(lines) == 3
    for line, path, why in zip(lines, bad, ("file type", "exists", "does not exist"), strict=True):
        assert line.startswith("error: ")
        assert str(path) in line
        assert why in line
    assert kept.read_text() == "mine"
    again = export(poses, kept, "--overwrite")
    assert again.exit_code == 0
    assert kept.read_text() == (tmp_path / "b.csv").read_text()


def test_an_input_that_cannot_be_read(poses: Path, tmp_path: Path) -> None:
    poses.write_bytes(poses.read_bytes()[:2000])
    done = export(poses, tmp_path / "x.csv")
    assert done.exit_code == 1
    assert "walk.npz cannot be read" in done.stderr
    assert export(tmp_path / "nothing.npz", tmp_path / "x.csv").exit_code == 2
    assert export(poses).exit_code == 2
    assert not (tmp_path / "x.csv").exists()


@pytest.mark.parametrize(("command", "more"), [("export", ["old.csv"]), ("plot", [])])
def test_the_old_spellings_go_on_to_work(command: str, more: list[str], poses: Path) -> None:
    program = "from posemamba_live.evaluation import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, command, poses.name, *more],
        cwd=poses.parent, env=environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == f"posemamba-eval {command} is posemamba-{command} now\n"
    (written,) = [poses.parent / name for name in more or ["walk.png"]]
    assert done.stdout == f"{written.name}\n"
    assert written.stat().st_size > 1000


def test_a_film_is_drawn_anew(poses: Path, walk_clip: Path, tmp_path: Path) -> None:
    done = export(poses, tmp_path / "walk.mp4", tmp_path / "walk.csv", "--video", walk_clip)
    assert done.exit_code == 0, done.output
    assert done.stdout.split() == [str(tmp_path / "walk.mp4"), str(tmp_path / "walk.csv")]
    with np.load(poses, allow_pickle=False) as data:
        frames = int(data["frame_index"].max()) + 1
    capture = cv2.VideoCapture(str(tmp_path / "walk.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == frames
    again = export(poses, tmp_path / "other.mp4")
    assert again.exit_code == 1
    assert "file type" in again.stderr


def test_a_journal_is_made_into_files(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "walk.npz", {"fps": 30.0, "image_size": [1280, 720]}, live=True)
    journal.extend([lifted_pose(i, extra=None) for i in range(0, 90, 3)])
    assert journal.close()
    done = export(tmp_path / "walk.npz.journal", tmp_path / "walk.npz", tmp_path / "walk.bvh")
    assert done.exit_code == 0, done.output
    with np.load(tmp_path / "walk.npz", allow_pickle=False) as data:
        assert data["frame_index"].tolist() == list(range(0, 90, 3))
    assert (tmp_path / "walk.bvh").stat().st_size > 1000
    assert (tmp_path / "walk.npz.journal").exists()


def test_an_output_that_fails_does_not_keep_the_others(poses: Path, tmp_path: Path) -> None:
    taken, folder = tmp_path / "taken.csv", tmp_path / "folder.trc"
    taken.write_text("somebody's")
    folder.mkdir()
    outputs = [taken, tmp_path / "a.bvh", folder, tmp_path / "none" / "a.json", tmp_path / "a.json"]
    done = export(poses, *outputs)
    assert done.exit_code == 1
    assert done.stdout.split() == [str(tmp_path / "a.bvh"), str(tmp_path / "a.json")]
    assert done.stderr.count("error: ") == 3
    assert taken.read_text() == "somebody's"
