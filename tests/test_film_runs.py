"""The command over films as people have them, from the option to the files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from posemamba.skeleton import LIMB_JOINTS
from posemamba_live import cli, detectors
from posemamba_live.detectors.base import OneStage
from posemamba_live.sources import VideoFile, base
from tests.support.films import encode, numbered
from tests.support.stand_ins import StandIn

ROOT = Path(__file__).parents[1]
STAND_IN = [sys.executable, "-m", "tests.support.stand_ins", "{}"]


@pytest.fixture
def finder(monkeypatch: pytest.MonkeyPatch) -> None:
    models = OneStage("stand-in", StandIn())
    monkeypatch.setattr(detectors, "create_detector", lambda *args, **options: models)


def run(*words: object) -> int:
    return cli.run([*map(str, words), "--headless", "-q"])


def test_a_film_on_its_side_gives_what_the_upright_one_gives(
    walk_clip: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    with VideoFile(walk_clip, max_frames=20) as film:
        images = [frame.image for frame in film]
    encode(tmp_path / "upright.mp4", images)
    # Heads to the right.
    encode(tmp_path / "lying.mp4", [base.turned(image, 90) for image in images])
    found = {}
    for name, turn in (("upright", 0), ("lying", 270)):
        path = tmp_path / f"{name}.npz"
        words = ["--rotate", turn, "--export", path, "--weights", tiny_weights]
        assert run(tmp_path / f"{name}.mp4", *words) == 0
        with np.load(path) as data:
            assert data["image_size"].tolist() == [640, 360]
            assert json.loads(str(data["meta"]))["rotate"] == turn
            found[name] = data["joints_2d"]
    away = np.linalg.norm(found["lying"] - found["upright"], axis=-1)[:, list(LIMB_JOINTS)]
    assert away.mean() < 3.0


@pytest.mark.parametrize("fps", [0.2, 2.0, 500.0, 1000.0])
def test_low_and_high_rates_are_recorded_and_exported(
    fps: float, tiny_weights: Path, tmp_path: Path, finder: None
) -> None:
    encode(tmp_path / "film.mp4", [numbered(i) for i in range(12)], fps=fps)
    npz, glb, mp4 = (tmp_path / f"out{suffix}" for suffix in (".npz", ".glb", ".mp4"))
    assert run(
        tmp_path / "film.mp4", "--export", npz, "--export", glb, "--record", mp4,
        "--weights", tiny_weights,
    ) == 0  # fmt: skip
    with np.load(npz) as data:
        assert float(data["fps"]) == pytest.approx(fps, rel=0.01)
        np.testing.assert_allclose(data["timestamp"], np.arange(12) / fps, atol=1.1e-3)
        assert data["person_id"].tolist() == [0] * 12
    assert b'"path":"scale"' not in glb.read_bytes(), "in view throughout"
    with av.open(str(mp4)) as film:
        times = [float(frame.time or 0.0) for frame in film.decode(video=0)]
    np.testing.assert_allclose(times, np.arange(12) / fps, atol=1.1e-3)


def test_a_clock_that_jumps_by_hours_makes_no_file_larger(
    tiny_weights: Path, tmp_path: Path, finder: None
) -> None:
    times = [k / 30 + (36_000.0 if k >= 15 else 0.0) for k in range(30)]
    encode(tmp_path / "film.mkv", [numbered(i) for i in range(30)], times=times)
    suffixes = (".npz", ".c3d", ".bvh", ".trc", ".csv", ".json", ".glb")
    paths = [tmp_path / f"out{suffix}" for suffix in suffixes]
    words = [word for path in paths for word in ("--export", path)]
    mp4 = tmp_path / "out.mp4"
    assert run(tmp_path / "film.mkv", *words, "--record", mp4, "--weights", tiny_weights) == 0
    with np.load(paths[0]) as data:
        assert len(data["timestamp"]) == 30
        assert data["timestamp"][-1] == pytest.approx(36_000.0 + 29 / 30, abs=2e-3)
    assert {
        path.name: path.stat().st_size for path in (*paths, mp4) if path.stat().st_size > 2e6
    } == {}


@pytest.mark.parametrize("option", [[], ["--no-sound"]])
def test_the_recording_keeps_the_sound_unless_told(
    option: list[str], tiny_weights: Path, tmp_path: Path, finder: None
) -> None:
    encode(tmp_path / "film.mp4", [numbered(i) for i in range(30)], tone_s=1.0)
    mp4 = tmp_path / "out.mp4"
    assert run(tmp_path / "film.mp4", "--record", mp4, "--weights", tiny_weights, *option) == 0
    with av.open(str(mp4)) as film:
        assert bool(film.streams.audio) is not bool(option)
        assert sum(1 for _ in film.decode(video=0)) == 30


def test_a_pipe_is_read_exported_and_recorded(tiny_weights: Path, tmp_path: Path) -> None:
    encode(tmp_path / "film.ts", [numbered(i) for i in range(25)])
    done = subprocess.run(
        [*STAND_IN, "-", "--headless", "--export", "out.npz", "--record", "out.mp4",
         "--weights", str(tiny_weights)],
        input=(tmp_path / "film.ts").read_bytes(), capture_output=True, check=False, timeout=120,
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    with np.load(tmp_path / "out.npz") as data:
        assert data["frame_index"].tolist() == list(range(25))
        assert json.loads(str(data["meta"]))["source"] == "standard input"
    with av.open(str(tmp_path / "out.mp4")) as film:
        assert sum(1 for _ in film.decode(video=0)) == 25


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode here")
@pytest.mark.parametrize("name", ["歩く.mp4", os.fsdecode(b"caf\xe9.mp4")])
@pytest.mark.parametrize("encoding", ["cp1252", "utf-8:strict", "ascii"])
def test_a_terminal_without_letters_for_the_name(
    encoding: str, name: str, tiny_weights: Path, tmp_path: Path
) -> None:
    encode(tmp_path / name, [numbered(i) for i in range(5)])
    exports = [tmp_path / f"{Path(name).stem}{suffix}" for suffix in (".npz", ".json", ".trc")]
    words = [word for path in exports for word in ("--export", str(path))]
    environment = {"PYTHONIOENCODING": encoding, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [*STAND_IN, str(tmp_path / name), "--headless", "--weights", str(tiny_weights), *words],
        capture_output=True, check=False, timeout=120, cwd=ROOT,
        env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"went wrong" not in done.stderr
    assert all(path.stat().st_size > 100 for path in exports)
