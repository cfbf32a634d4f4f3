"""Weights that take memory, time or sense: refused before they do."""

from __future__ import annotations

import resource
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from posemamba.checkpoint import Checkpoint, CheckpointError, load_checkpoint, save_checkpoint
from posemamba_live import cli
from posemamba_live.errors import SinkError
from posemamba_live.lifting.people import People
from posemamba_live.lifting.window import FileLifter
from posemamba_live.sinks import create_exporter
from posemamba_live.types import Frame
from tests.conftest import MakeTrack
from tests.support.stream_poses import picture

GIGABYTE = 2**30


def _archive(path: Path, method: int, megabytes: int) -> None:
    """What torch.save would write, its tensor of zeros packed or not."""
    torch.save({"model_pos": {"weight": torch.zeros(4)}}, path)
    with zipfile.ZipFile(path) as plain:
        members = {info.filename: plain.read(info) for info in plain.infolist()}
    with zipfile.ZipFile(path, "w", method, compresslevel=1) as archive:
        for name, content in members.items():
            if "/data/" not in name:
                archive.writestr(name, content)
                continue
            with archive.open(name, "w", force_zip64=True) as member:
                for _ in range(megabytes):
                    member.write(bytes(2**20))


def _overlapping(path: Path) -> None:
    """A hundred names for the same bytes."""
    torch.save({"model_pos": {"weight": torch.zeros(2**20)}}, path)
    with zipfile.ZipFile(path, "a") as archive:
        data = next(info for info in archive.infolist() if "/data/" in info.filename)
        for number in range(100):
            archive.filelist.append(_renamed(data, f"archive/data/{number + 10}"))
        archive._didModify = True


def _renamed(info: zipfile.ZipInfo, name: str) -> zipfile.ZipInfo:
    other = zipfile.ZipInfo(name, info.date_time)
    for field in ("compress_type", "CRC", "compress_size", "file_size", "header_offset"):
        setattr(other, field, getattr(info, field))
    return other


def _long_pickle(path: Path) -> None:
    torch.save({"model_pos": {"weight": torch.zeros(4)}, "notes": "x" * (80 * 2**20)}, path)


def _sparse(path: Path) -> None:
    """Three gigabytes that take no room on the disk."""
    torch.save({"model_pos": {"weight": torch.zeros(4)}}, path)
    with path.open("r+b") as file:
        file.truncate(3 * GIGABYTE)


@pytest.mark.parametrize(
    "make",
    [
        lambda path: _archive(path, zipfile.ZIP_DEFLATED, 400),
        _overlapping,
        _long_pickle,
        _sparse,
    ],
    ids=["bomb", "overlapping", "long pickle", "sparse"],
)
@pytest.mark.parametrize("suffix", [".bin", ".pth.tr"])
def test_archives_that_grow_are_refused_unread(make, suffix: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / f"weights{suffix}"
    make(path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.monotonic()
    with pytest.raises(CheckpointError, match="weights"):
        load_checkpoint(path)
    assert time.monotonic() - start < 2.0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024, "kB"


@pytest.fixture
def huge_weights(tiny_checkpoint: Checkpoint, tmp_path: Path) -> Path:
    """Every value is finite, and no answer is."""
    path = tmp_path / "huge.safetensors"
    state = {k: torch.full_like(v, 1e30) for k, v in tiny_checkpoint.model.state_dict().items()}
    save_checkpoint(path, state, tiny_checkpoint.meta)
    return path


def test_a_network_whose_answers_are_not_finite_is_refused(
    huge_weights: Path,
    walk_clip: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    restored_logging: None,
) -> None:
    target = tmp_path / "poses.npz"
    command = [str(walk_clip), "--headless", "--export", str(target), "--weights"]
    assert cli.run([*command, str(huge_weights), "--max-frames", "12"]) == 1
    assert "not finite" in capfd.readouterr().err
    assert not target.exists()


def test_poses_that_are_not_finite_are_left_out_and_told(
    tiny_checkpoint: Checkpoint, make_track: MakeTrack
) -> None:
    """A network that fails now and then: the others stay, and the run has something to tell."""
    from posemamba.network import Network

    network = Network(tiny_checkpoint, fov_deg=60.0)
    people = People(lambda: FileLifter(network, 1), fill_gaps=False)
    lifted = []
    for pose in make_track(40):
        if pose.frame_index == 20:
            pose.keypoints[3] = np.nan
        frame = Frame(pose.frame_index, pose.timestamp, np.zeros((4, 4, 3), np.uint8), 0.0)
        lifted += people.push(frame, [pose]).poses
    lifted += people.flush().poses
    assert 0 < len(lifted) < 40
    assert all(np.isfinite(pose.joints).all() for pose in lifted)
    (trouble,) = people.trouble
    assert f"{40 - len(lifted)} poses were left out" in str(trouble)


@pytest.mark.parametrize("suffix", [".npz", ".csv", ".json", ".bvh"])
def test_no_file_holds_what_is_not_finite(suffix: str, tmp_path: Path) -> None:
    target = tmp_path / f"poses{suffix}"
    exporter = create_exporter(
        target, overwrite=False, meta={"fps": 30.0, "image_size": (640, 360)}
    )
    for index in range(10):
        _, (pose,) = picture(index, 1)
        if index == 4:
            pose.joints_world[5] = np.inf
        exporter.add(pose)
    with pytest.raises(SinkError, match="lacks 1 poses"):
        exporter.close()
    assert exporter.files == (target,)
    if suffix == ".npz":
        with np.load(target) as file:
            assert file["frame_index"].tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 9]
