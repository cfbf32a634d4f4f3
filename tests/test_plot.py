"""`posemamba-plot`: a page with something on it, or one clear message."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from posemamba_live.plot import app
from posemamba_live.sinks import create_exporter
from posemamba_live.takes.take import read_take


def plot(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture
def poses(walk_exports: Path, tmp_path: Path) -> Path:
    path = tmp_path / "walk.npz"
    path.write_bytes((walk_exports / "walk.npz").read_bytes())
    return path


def coloured(picture: np.ndarray, bgr: tuple[int, int, int]) -> int:
    """Pixels of about this colour."""
    return int((np.abs(picture.astype(int) - bgr).max(-1) < 40).sum())


def test_a_picture_beside_the_poses(poses: Path) -> None:
    done = plot(poses)
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == str(poses.with_suffix(".png"))
    picture = cv2.imread(str(poses.with_suffix(".png")))
    assert picture.shape[0] > 1000
    assert picture.shape[1] > 1000
    blue, orange = (204, 102, 13), (0, 107, 230)
    halves = np.array_split(picture, 2)
    for half in halves:  # skeletons above, charts below
        assert coloured(half, blue) > 3000
        assert coloured(half, orange) > 3000
    assert sorted(path.name for path in poses.parent.iterdir()) == ["walk.npz", "walk.png"]


def test_a_page_that_needs_nothing_else(poses: Path, tmp_path: Path) -> None:
    done = plot(poses, "--output", tmp_path / "page.html", "--at", 1.0, "--at", 4.5)
    assert done.exit_code == 0, done.output
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "walk_turn.mp4: 5.6 s" in text
    assert not re.findall(r"(?:src|href)=\"https?:", text)
    assert "<script" not in text
    row = re.search(r"<tr><th>knee_angle_r</th>((?:<td>-?\d+</td>)+)</tr>", text)
    assert row is not None
    low, high, extent, mean = (int(v) for v in re.findall(r"-?\d+", row[1]))
    assert -15 < low < 25 < mean + 10
    assert 50 < high < 80
    assert abs(high - low - extent) <= 1
    svg = text[text.index("<svg") : text.index("</svg>") + 6]
    assert len(ET.fromstring(svg).findall(".//{http://www.w3.org/2000/svg}path")) > 50


def test_people_gaps_and_filled_moments(poses: Path, tmp_path: Path) -> None:
    """Somebody who comes late, goes and comes back can be drawn, by number."""
    from dataclasses import replace

    take = read_take(poses)
    path = tmp_path / "two.npz"
    exporter = create_exporter(path, overwrite=False, meta=take.meta)
    for pose in take.poses:
        exporter.add(pose)
        if 40 <= pose.frame_index < 70 or 100 <= pose.frame_index < 130:
            pose2d = replace(pose.pose2d, person_id=7, predicted=pose.frame_index < 50)
            exporter.add(replace(pose, pose2d=pose2d))
    exporter.close()
    done = plot(path, "--person", 7, "--output", tmp_path / "seven.html")
    assert done.exit_code == 0, done.output
    text = (tmp_path / "seven.html").read_text(encoding="utf-8")
    assert "person 7 of 2" in text
    assert "grey: keypoints filled in" in text
    done = plot(path, "--person", 7, "--at", 2.6, "--output", tmp_path / "gap.png")
    assert done.exit_code == 2
    assert "not seen at 2.6 s" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "fragments"),
    [
        (["nothing.npz"], 2, ["no file nothing.npz"]),
        (["README.md"], 1, ["README.md cannot be read"]),
        (["walk.npz", "--output", "a.pdf"], 2, [".html, .png"]),
        (["walk.npz", "--output", "away/a.png"], 1, ["away does not exist"]),
        (["walk.npz", "--person", "3"], 2, ["no person 3", "one of: 0"]),
        (["walk.npz", "--at", "99"], 2, ["not seen at 99 s", "0.00 to 5.53"]),
        (["walk.npz", "--output", "mine.png"], 2, ["mine.png exists already", "--overwrite"]),
        (["empty.npz"], 2, ["holds no poses"]),
    ],
)
def test_what_cannot_be_drawn_is_told(
    arguments: list[str],
    code: int,
    fragments: list[str],
    poses: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(poses.parent)
    Path("README.md").write_text("not poses\n")
    Path("mine.png").write_text("mine")
    create_exporter(
        Path("empty.npz"), overwrite=False, meta={"fps": 30.0, "image_size": (640, 360)}
    ).close()
    done = plot(*arguments)
    assert done.exit_code == code
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.output
    for fragment in fragments:
        assert fragment in done.stderr
    assert Path("mine.png").read_text() == "mine"
    assert not list(Path().glob(".*part*"))


def test_the_title_is_what_the_film_is_called(poses: Path, tmp_path: Path) -> None:
    """Not what its name would mean to somebody who sets formulas."""
    path = tmp_path / "$\\frac{$.npz"
    values = dict(np.load(poses, allow_pickle=False))
    values["meta"] = np.array(json.dumps({"source": "a$\\frac{$\x1b[31m<b>.mp4"}))
    with path.open("wb") as file:
        np.savez(file, **values)
    done = plot(path, "--output", tmp_path / "a.html")
    assert done.exit_code == 0, done.output
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "<title>a$\\frac{$\\x1b[31m&lt;b&gt;.mp4: " in page
    assert plot(path).exit_code == 0


@pytest.mark.parametrize("moment", ["nan", "inf", "-1e300"])
def test_a_moment_that_is_none_is_refused(moment: str, poses: Path) -> None:
    done = plot(poses, f"--at={moment}")
    assert done.exit_code == 2
    assert "The person is not seen at" in done.stderr
