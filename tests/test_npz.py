"""poses.npz: keys, types and shapes as documented, sorted, complete or absent."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posemamba.skeleton import JOINT_NAMES, PARENTS
from posemamba_live.errors import EXIT_USAGE, SinkError, UsageError
from posemamba_live.sinks import check_output, create_exporter
from posemamba_live.takes.take import read_take
from posemamba_live.types import ExtraPoints, Ground, Pose2D, Pose3D

META = {"fps": 29.97, "image_size": [640, 360], "weights": "m3", "height_m": 1.7, "fov_deg": 71.0}
LAYOUT = {
    "frame_index": ((), np.int64),
    "timestamp": ((), np.float64),
    "person_id": ((), np.int32),
    "joints_2d": ((17, 2), np.float32),
    "scores_2d": ((17,), np.float32),
    "joints_3d": ((17, 3), np.float32),
    "root_3d": ((3,), np.float32),
    "joints_world": ((17, 3), np.float32),
    "predicted": ((), np.bool_),
    "look_ahead": ((), np.int32),
    "camera_pitch": ((), np.float64),
    "camera_roll": ((), np.float64),
    "camera_height": ((), np.float64),
}


def pose(frame: int, person: int = 0, *, predicted: bool = False) -> Pose3D:
    rng = np.random.default_rng([frame, person])
    return Pose3D(
        pose2d=Pose2D(
            frame_index=frame,
            timestamp=frame / 29.97,
            person_id=person,
            keypoints=rng.normal(size=(17, 2)).astype(np.float32),
            scores=rng.random(17, np.float32),
            image_size=(640, 360),
            predicted=predicted,
        ),
        joints=rng.normal(size=(17, 3)).astype(np.float32),
        root=rng.normal(size=3).astype(np.float32),
        joints_world=rng.normal(size=(17, 3)).astype(np.float32),
        look_ahead=frame % 7,
        ground=Ground(*rng.normal(size=3).tolist()),
    )


def export(path: Path, poses: list[Pose3D], **options: Any) -> dict[str, np.ndarray[Any, Any]]:
    exporter = create_exporter(path, overwrite=options.pop("overwrite", False), meta=META)
    for one in poses:
        exporter.add(one)
    exporter.close()
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


@pytest.mark.parametrize("frames", [0, 1, 5])
def test_layout(tmp_path: Path, frames: int) -> None:
    data = export(tmp_path / "poses.npz", [pose(i) for i in range(frames)])
    for key, (shape, dtype) in LAYOUT.items():
        assert data[key].shape == (frames, *shape), key
        assert data[key].dtype == dtype, key
    assert data["fps"].shape == ()
    assert data["fps"].dtype == np.float64
    assert data["fps"] == 29.97
    assert data["image_size"].dtype == np.int32
    assert data["image_size"].tolist() == [640, 360]
    assert tuple(data["joint_names"]) == JOINT_NAMES
    assert tuple(data["joint_parents"]) == PARENTS
    assert data["camera_fov"].shape == ()
    assert data["camera_fov"].dtype == np.float64
    assert data["camera_fov"] == 71.0
    more = {"fps", "image_size", "camera_fov", "joint_names", "joint_parents", "meta"}
    assert set(data) == {*LAYOUT, *more}


def test_camera_and_look_ahead_come_back(tmp_path: Path) -> None:
    poses = [pose(i) for i in range(4)]
    export(tmp_path / "a.npz", poses)
    take = read_take(tmp_path / "a.npz")
    assert take.fov_deg == 71.0
    assert [p.ground for p in take.poses] == [p.ground for p in poses]
    assert [p.look_ahead for p in take.poses] == [0, 1, 2, 3]


def test_files_of_version_1_are_read_and_written_without_a_camera(tmp_path: Path) -> None:
    """They said the look-ahead of the lifter once, and nothing of the ground."""
    data = export(tmp_path / "a.npz", [pose(0), pose(3)])
    new = ("look_ahead", "camera_pitch", "camera_roll", "camera_height", "camera_fov")
    meta = json.loads(str(data["meta"])) | {"schema_version": 1, "look_ahead": 26}
    del meta["fov_deg"]
    old = {key: value for key, value in data.items() if key not in new}
    np.savez(tmp_path / "old.npz", **old | {"meta": np.array(json.dumps(meta))})
    take = read_take(tmp_path / "old.npz")
    assert [p.look_ahead for p in take.poses] == [26, 26]
    assert [p.ground for p in take.poses] == [None, None]
    assert take.fov_deg is None
    create = create_exporter(tmp_path / "again.npz", overwrite=False, meta=take.meta)
    for one in take.poses:
        create.add(one)
    create.close()
    with np.load(tmp_path / "again.npz", allow_pickle=False) as file:
        assert set(file) == {*old, "look_ahead"}
        assert json.loads(str(file["meta"]))["schema_version"] == 2


def test_extra_points_have_keys_of_their_own_only_where_there_are_any(tmp_path: Path) -> None:
    names = ("left_heel", "right_heel", "left_thumb4")
    extra = ExtraPoints(names, np.arange(6, dtype=np.float32).reshape(3, 2), np.full(3, 0.8, "f4"))
    poses = [pose(0), pose(1), pose(2, predicted=True)]
    poses[1] = replace(poses[1], pose2d=replace(poses[1].pose2d, extra=extra))
    data = export(tmp_path / "poses.npz", poses)
    assert tuple(data["extra_names"]) == names
    assert data["extra_2d"].shape == (3, 3, 2)
    assert data["extra_2d"].dtype == data["extra_scores"].dtype == np.float32
    np.testing.assert_array_equal(data["extra_2d"][1], extra.points)
    assert np.isnan(data["extra_2d"][[0, 2]]).all()
    np.testing.assert_allclose(data["extra_scores"], [[0.0] * 3, [0.8] * 3, [0.0] * 3])


def test_rows_are_sorted_and_carry_their_pose(tmp_path: Path) -> None:
    poses = [pose(2), pose(0, 1, predicted=True), pose(10, 3), pose(0, 0), pose(2, 1)]
    data = export(tmp_path / "poses.npz", poses)
    keys = list(zip(data["frame_index"], data["person_id"], strict=True))
    assert keys == [(0, 0), (0, 1), (2, 0), (2, 1), (10, 3)]
    assert data["predicted"].tolist() == [False, True, False, False, False]
    for row, (frame, person) in enumerate(keys):
        expected = pose(frame, person)
        np.testing.assert_array_equal(data["joints_3d"][row], expected.joints)
        np.testing.assert_array_equal(data["joints_world"][row], expected.joints_world)
        np.testing.assert_array_equal(data["root_3d"][row], expected.root)
        np.testing.assert_array_equal(data["joints_2d"][row], expected.pose2d.keypoints)
        assert data["timestamp"][row] == frame / 29.97


def test_meta_is_json_and_may_be_completed_until_close(tmp_path: Path) -> None:
    meta: dict[str, Any] = {"fps": 25.0, "image_size": (4, 2)}
    exporter = create_exporter(tmp_path / "a.npz", overwrite=False, meta=meta)
    meta["frames"] = 7
    exporter.close()
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        assert file["meta"].shape == ()
        read = json.loads(str(file["meta"]))
    assert read["schema_version"] == 2
    assert read["frames"] == 7
    assert read["versions"]["numpy"] == np.__version__


def test_nothing_appears_before_close_and_nothing_is_left_over(tmp_path: Path) -> None:
    path = tmp_path / "poses.npz"
    exporter = create_exporter(path, overwrite=False, meta=META)
    exporter.add(pose(0))
    assert list(tmp_path.iterdir()) == []
    exporter.close()
    exporter.close()
    assert list(tmp_path.iterdir()) == [path]


def test_existing_file_is_kept_unless_told(tmp_path: Path) -> None:
    path = tmp_path / "poses.npz"
    path.write_bytes(b"mine")
    with pytest.raises(UsageError, match="--overwrite") as refused:
        create_exporter(path, overwrite=False, meta=META)
    assert refused.value.exit_code == EXIT_USAGE
    exporter = create_exporter(path, overwrite=True, meta=META)
    assert path.read_bytes() == b"mine"  # until the new one is complete
    exporter.add(pose(0))
    exporter.close()
    with np.load(path, allow_pickle=False) as file:
        assert len(file["frame_index"]) == 1


@pytest.mark.parametrize("name", ["poses.docx", "poses", "poses.npz.txt", ".npz"])
def test_unknown_suffix_names_the_known_ones(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"\.npz"):
        create_exporter(tmp_path / name, overwrite=False, meta=META)


def test_folder_problems_are_told_early(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder.npz").mkdir()
    for path, cause in [
        (tmp_path / "missing" / "a.npz", "does not exist"),
        (tmp_path / "file" / "a.npz", "is a file"),
        (tmp_path / "folder.npz", "a folder of this name"),
        (tmp_path / ("x" * 300 + ".npz"), "too long"),
        (Path("/proc/poses.npz"), "proc"),
    ]:
        with pytest.raises(SinkError, match=cause):
            check_output(path, overwrite=True, suffixes=[".npz"])


def test_a_folder_that_vanishes_is_one_clear_error(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    exporter = create_exporter(folder / "a.npz", overwrite=False, meta=META)
    exporter.add(pose(0))
    folder.rmdir()
    with pytest.raises(SinkError, match="No such file"):
        exporter.close()


def test_visibility_and_peak_are_kept_where_the_detector_gave_them(tmp_path: Path) -> None:
    told = np.linspace(0.0, 1.0, 17).astype(np.float32)
    one = pose(0)
    both = replace(one, pose2d=replace(one.pose2d, visibility=told, peak=told[::-1]))
    data = export(tmp_path / "poses.npz", [both, pose(1, predicted=True)])
    np.testing.assert_array_equal(data["visibility_2d"][0], told)
    np.testing.assert_array_equal(data["peak_2d"][0], told[::-1])
    assert np.isnan(data["peak_2d"][1]).all(), "nobody saw this row"
    again = [p.pose2d for p in read_take(tmp_path / "poses.npz").poses]
    np.testing.assert_array_equal(again[0].visibility, told)
    assert again[1].peak is None
    assert "peak_2d" not in export(tmp_path / "plain.npz", [one])
