"""Names, links and environments that are unusual, and that users have all the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from posemamba_live import cli
from posemamba_live.errors import LiveError, SinkError, SourceError
from posemamba_live.files import partial_path, put_in_place
from posemamba_live.options import Options
from posemamba_live.sinks import check_export, create_exporter
from posemamba_live.sources import open_source
from tests.support.stream_poses import picture

META = {"fps": 30.0, "image_size": (640, 360)}
unix = pytest.mark.skipif(sys.platform == "win32", reason="links and pipes as Unix has them")


def export(path: Path, *, overwrite: bool = False) -> None:
    exporter = create_exporter(path, overwrite=overwrite, meta=META)
    for index in range(3):
        exporter.add(picture(index)[1][0])
    exporter.close()


@pytest.mark.parametrize("letter", ["x", "é", "日"])
@pytest.mark.parametrize("suffix", [".npz", ".csv", ".bvh", ".angles.csv", ".mp4"])
def test_a_name_may_be_as_long_as_names_may_be(letter: str, suffix: str, tmp_path: Path) -> None:
    room = 255 - len(suffix)
    stem = letter * (room // len(letter.encode()))
    path = tmp_path / f"{stem}{suffix}"
    part = partial_path(path)
    assert len(os.fsencode(part.name)) <= 255
    assert (part.parent, part.suffix) == (path.parent, path.suffix)
    assert part != partial_path(tmp_path / f"{stem[:-1]}y{suffix}"), "its own for each name"
    if suffix != ".mp4":
        export(path)
        assert os.listdir(tmp_path) == [path.name]


def test_a_name_that_is_too_long_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"too long|cannot write"):
        check_export(tmp_path / f"{'x' * 300}.npz", overwrite=False)


@unix
def test_an_output_that_is_a_link_is_written_through(tmp_path: Path) -> None:
    """The link stays; what it leads to, in another folder, is what is written."""
    (tmp_path / "disk").mkdir()
    target, link = tmp_path / "disk" / "real.npz", tmp_path / "link.npz"
    link.symlink_to(target)
    export(link)  # there is nothing yet where it leads to
    assert link.is_symlink()
    with np.load(target) as file:
        assert len(file["frame_index"]) == 3
    target.write_bytes(b"old")
    with pytest.raises(LiveError, match="exists already"):
        export(link)
    export(link, overwrite=True)
    assert link.is_symlink()
    with np.load(target) as file:
        assert len(file["frame_index"]) == 3
    assert sorted(os.listdir(tmp_path)) == ["disk", "link.npz"]
    assert os.listdir(tmp_path / "disk") == ["real.npz"]


@unix
def test_an_output_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    loop = tmp_path / "loop.npz"
    loop.symlink_to(loop)
    away = tmp_path / "away.npz"
    away.symlink_to(tmp_path / "gone" / "poses.npz")
    fifo = tmp_path / "fifo.npz"
    os.mkfifo(fifo)
    for path in (loop, away, fifo):
        with pytest.raises(SinkError):
            check_export(path, overwrite=True)
    put_in_place_target = tmp_path / "a.npz"
    part = partial_path(put_in_place_target)
    part.write_bytes(b"x")
    put_in_place(part, put_in_place_target)
    assert put_in_place_target.read_bytes() == b"x"


@unix
def test_links_in_a_circle_and_pipes_are_no_sources(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], restored_logging: None
) -> None:
    loop = tmp_path / "loop.mp4"
    loop.symlink_to(loop)
    fifo = tmp_path / "fifo.mp4"
    os.mkfifo(fifo)
    target = tmp_path / "poses.npz"
    for name in (str(loop), str(fifo), "/dev/zero", "x" * 300, "x/" * 3000, str(loop / "a.mp4")):
        assert cli.run([name, "--headless", "--export", str(target)]) in (1, 2)
        err = capfd.readouterr().err
        assert err.startswith("error: ")
        assert "Something went wrong inside" not in err
        for option in ("--weights", "--detector-model", "--person-model", "--export"):
            clip = str(Path(__file__).parent.parent / "demo_videos" / "walk_turn.mp4")
            words = [clip, "--headless", "--export", str(target), option, name]
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("posemamba_live.detectors.create_detector", _no_detector)
                assert cli.run(words) in (1, 2)
            assert "Something went wrong inside" not in capfd.readouterr().err
    assert not target.exists()


def _no_detector(*args: object, **options: object) -> object:
    raise LiveError("no detector")


@unix
def test_one_file_under_two_names_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "link.npz").symlink_to(tmp_path / "poses.npz")
    options = Options(source="a.mp4", exports=[tmp_path / "poses.npz", tmp_path / "link.npz"])
    with pytest.raises(LiveError, match="twice"):
        options.check()


@unix
def test_a_name_that_is_no_text_is_judged_by_the_file(tmp_path: Path) -> None:
    """OpenCV ends the process over such a name."""
    name = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.mp4")
    Path(name).touch()
    with pytest.raises(SourceError) as caught:
        open_source(name)
    assert "empty" in caught.value.why


def test_numba_told_to_interpret_is_not_used() -> None:
    program = (
        "import torch; from posemamba.scan.backends import available_backends;"
        "print(available_backends('cpu'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "('reference',)"
    assert "NUMBA_DISABLE_JIT" in done.stderr
