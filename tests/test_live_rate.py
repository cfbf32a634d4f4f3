"""The rate that a live run's export states: what came, not what was promised or had time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from posemamba_live import cli, detectors
from posemamba_live.detectors.base import OneStage
from posemamba_live.sinks import create_exporter
from posemamba_live.takes.take import Take, read_take, with_measured_rate
from posemamba_live.types import Pose3D
from tests.support.mjpeg_server import MjpegServer
from tests.support.stand_ins import StandIn


@pytest.fixture
def take(walk_exports: Path) -> Take:
    return read_take(walk_exports / "walk.npz")


def at(take: Take, times: dict[int, float]) -> list[Pose3D]:
    """Poses of a live run: the take's, one for each frame, at these times."""
    poses = []
    for pose, (index, time) in zip(take.poses, times.items(), strict=False):
        pose2d = replace(pose.pose2d, frame_index=index, timestamp=time)
        poses.append(replace(pose, pose2d=pose2d))
    return poses


@pytest.fixture(params=[0.0, 0.12], ids=["", "slow"])
def finder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A detector that keeps up, and one that does not."""
    models = OneStage("stand-in", StandIn(slow=request.param))
    monkeypatch.setattr(detectors, "create_detector", lambda *args, **options: models)


@pytest.mark.parametrize("fps", [12.0, 60.0])
def test_a_network_camera(
    fps: float, walk_clip: Path, tiny_weights: Path, tmp_path: Path, finder: None
) -> None:
    path = tmp_path / "poses.npz"
    with MjpegServer(walk_clip, size=(320, 180), fps=fps, max_frames=10) as camera:
        code = cli.run(
            [camera.url, "--headless", "-q", "--export", str(path), "--duration", "3",
             "--weights", str(tiny_weights)]
        )  # fmt: skip
    assert code == 0
    with np.load(path) as data:
        index, times, stated = data["frame_index"], data["timestamp"], float(data["fps"])
    assert len(index) > 10
    assert stated == pytest.approx(np.ptp(index) / np.ptp(times), rel=0.02)
    # A busy machine misses pictures of a fast camera.
    assert stated == pytest.approx(fps, rel=0.1 if fps < 20.0 else 0.5)


def test_a_film_at_its_own_rate(
    walk_clip: Path, tiny_weights: Path, tmp_path: Path, finder: None
) -> None:
    path = tmp_path / "poses.npz"
    code = cli.run(
        [str(walk_clip), "--realtime", "--headless", "-q", "--export", str(path), "--end", "3",
         "--weights", str(tiny_weights)]
    )  # fmt: skip
    assert code == 0
    with np.load(path) as data:
        assert float(data["fps"]) == 30.0
        np.testing.assert_allclose(data["timestamp"], data["frame_index"] / 30.0, atol=1e-3)


def test_a_camera_that_stalls_and_misses_frames(take: Take) -> None:
    """12 a second, every third frame without anybody, and away for ten seconds."""
    times = {i: i / 12.0 + 10.0 * (i >= 60) for i in range(120) if i % 3}
    poses = at(take, times)
    meta = {**take.meta, "live": True, "fps": 25.0}
    assert with_measured_rate(meta, poses)["fps"] == pytest.approx(12.0, abs=2e-3)
    assert with_measured_rate({**meta, "live": False}, poses)["fps"] == 25.0
    assert with_measured_rate({**meta, "fps": 12.03}, poses)["fps"] == 12.03
    assert with_measured_rate(meta, poses[:5])["fps"] == 25.0
    assert with_measured_rate(meta, [])["fps"] == 25.0


@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_every_format_states_it(suffix: str, take: Take, tmp_path: Path) -> None:
    meta = {**take.meta, "live": True, "fps": 25.0}
    path = tmp_path / f"poses{suffix}"
    exporter = create_exporter(path, overwrite=False, meta=meta)
    for pose in at(take, {i: i / 12.5 for i in range(60)}):
        exporter.add(pose)
    exporter.close()
    if suffix == ".npz":
        assert read_take(path).meta["fps"] == 12.5
    else:
        assert '"fps": 12.5' in path.read_text() or '"fps":12.5' in path.read_text()
