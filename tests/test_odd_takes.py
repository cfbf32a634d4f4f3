"""Exports of takes with clocks that jump, with low rates, and under odd names."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from posemamba_live.sinks import FORMATS, create_exporter
from posemamba_live.takes.take import Take, read_take
from tests.support.formats import INSTALLED


def _walk_again(walk_exports: Path, times: list[float], fps: float) -> Take:
    """The first poses of the walk, at other times."""
    take = read_take(walk_exports / "walk.npz")
    poses = [
        replace(pose, pose2d=replace(pose.pose2d, timestamp=time))
        for pose, time in zip(take.poses, times, strict=False)
    ]
    return Take(poses, {**take.meta, "fps": fps}, "walk")


def test_a_clock_that_jumps_costs_no_gigabytes(
    walk_exports: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    times = [i / 30 for i in range(60)] + [36_000 + i / 30 for i in range(60)]
    take = _walk_again(walk_exports, times, 30.0)
    (motion,) = take.motions()
    assert 120 + 9.9 * 30 < len(motion.joints) < 120 + 10.1 * 30
    assert motion.seen.sum() == 120
    assert "shortened" in caplog.text
    for suffix, format_ in INSTALLED.items():
        path = tmp_path / f"walk{suffix}"
        format_.write(path, take)
        assert path.stat().st_size < 3_000_000


@pytest.mark.parametrize("fps", [0.2, 0.5, 2.0])
def test_at_low_rates_nobody_blinks(walk_exports: Path, tmp_path: Path, fps: float) -> None:
    def hidden(times: list[float]) -> int:
        path = tmp_path / "slow.glb"
        FORMATS[".glb"].write(path, _walk_again(walk_exports, times, fps))
        content = path.read_bytes()
        document = json.loads(content[20 : 20 + int.from_bytes(content[12:16], "little")])
        (animation,) = document["animations"]
        return sum(c["target"]["path"] == "scale" for c in animation["channels"])

    assert hidden([i / fps for i in range(12)]) == 0
    assert hidden([i / fps for i in (0, 1, 2, 3, 9, 10, 11)]) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode here")
@pytest.mark.parametrize("suffix", INSTALLED)
def test_names_that_are_not_utf8_lose_no_export(
    walk_exports: Path, tmp_path: Path, suffix: str
) -> None:
    odd = os.fsdecode(b"caf\xe9")
    take = read_take(walk_exports / "walk.npz")
    path = tmp_path / f"{odd}{suffix}"
    exporter = create_exporter(
        path, overwrite=False, meta={**take.meta, "source": odd, "command_line": f"p {odd}"}
    )
    for pose in take.poses[:20]:
        exporter.add(pose)
    exporter.close()
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_size > 500
