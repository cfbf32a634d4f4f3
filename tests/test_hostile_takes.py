"""`poses.npz` from strangers: refused in one message, or written whole; never a hang, a bomb,
a traceback, or half a file."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from posemamba_live.errors import LiveError
from posemamba_live.sinks import create_exporter
from posemamba_live.takes.take import read_take
from tests.support import hostile_takes
from tests.support.formats import INSTALLED
from tests.support.hostile_takes import ODD, REFUSED

SECONDS = 20.0


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_take_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "poses.npz"
    REFUSED[name](path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.monotonic()
    with pytest.raises(LiveError) as caught:
        read_take(path)
    assert time.monotonic() - start < 5.0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150 * 1024, "kB"
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 1_000
    assert caught.value.why


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="FIFOs are of Unix")
def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    fifo = tmp_path / "poses.npz"
    os.mkfifo(fifo)
    loop = tmp_path / "loop.npz"
    loop.symlink_to(loop)
    for path in (fifo, loop, tmp_path, Path("/dev/zero"), Path("/dev/stdin")):
        start = time.monotonic()
        with pytest.raises(LiveError):
            read_take(path)
        assert time.monotonic() - start < 1.0


@pytest.mark.parametrize("name", ODD)
def test_strange_takes_are_written_whole_or_not_at_all(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "poses.npz"
    ODD[name](path)
    take = read_take(path)
    start = time.monotonic()
    for suffix in INSTALLED:
        target = tmp_path / f"out{suffix}"
        exporter = create_exporter(target, overwrite=False, meta=take.meta)
        for pose in take.poses:
            exporter.add(pose)
        try:
            exporter.close()
        except LiveError:
            assert not target.exists()
        else:
            assert target.stat().st_size > 0
            if suffix == ".glb":  # NaN is no JSON
                assert b"NaN" not in target.read_bytes()
    assert time.monotonic() - start < SECONDS
    assert not list(tmp_path.glob(".*")), "nothing half written"


def test_a_proper_take_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "poses.npz"
    values = hostile_takes.arrays()
    hostile_takes.write(path, values)
    take = read_take(path)
    assert len(take.poses) == 40
    np.testing.assert_array_equal([p.joints_world for p in take.poses], values["joints_world"])
    np.testing.assert_array_equal([p.pose2d.timestamp for p in take.poses], values["timestamp"])
    assert take.poses[0].look_ahead == 3
    unsorted = tmp_path / "unsorted.npz"
    ODD["unsorted"](unsorted)
    assert [p.frame_index for p in read_take(unsorted).poses] == list(range(40))


def test_a_long_time_with_few_poses_is_shortened(tmp_path: Path) -> None:
    path = tmp_path / "poses.npz"
    ODD["115 days"](path)
    assert sum(len(motion.joints) for motion in read_take(path).motions()) < 1000


def test_too_many_rows_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "poses.npz"
    hostile_takes.write(path, hostile_takes.arrays())
    monkeypatch.setattr("posemamba_live.takes.take.MAX_ROWS", 20)
    with pytest.raises(LiveError, match="constant rate"):
        read_take(path).motions()


@pytest.mark.parametrize("make", [REFUSED["NaN joint"], REFUSED["bomb in all members"]])
def test_the_program_says_so_in_one_message(make: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "poses.npz"
    make(path)
    targets = [tmp_path / name for name in ("a.bvh", "a.csv", "a.trc", "a.json")]
    command = [sys.executable, "-m", "posemamba_live.export", str(path)]
    done = subprocess.run(
        [*command, *map(str, targets)],
        capture_output=True, text=True, timeout=120, check=False, preexec_fn=_bounded,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "error: " in done.stderr
    assert not any(target.exists() for target in targets)


def _bounded() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (6 * 2**30, 6 * 2**30))
