"""Tables for pandas and R: poses wide and long, joint angles.

Positions are metres in the world frame (Z up, floor at z = 0), `u` and `v` pixels of the
picture, `score` the detector's confidence. A frame without a person has no row.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from posemamba.skeleton import JOINT_NAMES
from posemamba_live.takes.angles import ANGLES, joint_angles
from posemamba_live.takes.take import Take, joints_and_times
from posemamba_live.types import Pose3D

_KEYS: Final = ("frame_index", "timestamp", "person_id", "predicted")
_VALUES: Final = ("x", "y", "z", "u", "v", "score")
_DECIMALS: Final = (5, 5, 5, 2, 2, 3)
"""A hundredth of a millimetre, of a pixel; below that is nothing but digits."""


def write_csv(path: Path, take: Take) -> None:
    """One row per pose: Hip_x, Hip_y, Hip_z, Hip_u, Hip_v, Hip_score, RHip_x, ..."""
    columns = [f"{joint}_{value}" for joint in JOINT_NAMES for value in _VALUES]
    rows = (_key(pose) + [cell for joint in _cells(pose) for cell in joint] for pose in take.poses)
    _write_rows(path, (*_KEYS, *columns), rows)


def write_long_csv(path: Path, take: Take) -> None:
    """One row per joint: joint, x, y, z, u, v, score."""
    rows = (
        [*_key(pose), name, *cells]
        for pose in take.poses
        for name, cells in zip(JOINT_NAMES, _cells(pose), strict=True)
    )
    _write_rows(path, (*_KEYS, "joint", *_VALUES), rows)


def write_angles(path: Path, take: Take) -> None:
    """One row per pose: joint angles in degrees, see `angles.ANGLES`; empty where undefined."""
    table: list[tuple[int, int, list[Any]]] = []
    for person, poses in take.people.items():
        joints, times = joints_and_times(poses)
        angles = joint_angles(joints, times)
        for pose in poses:
            row = np.searchsorted(times, pose.pose2d.timestamp)  # two poses may have one time
            values = (angles[angle.name][row] for angle in ANGLES)
            cells = ["" if np.isnan(value) else f"{value:.2f}" for value in values]
            table.append((pose.frame_index, person, [*_key(pose), *cells]))
    rows = (cells for _, _, cells in sorted(table, key=lambda row: row[:2]))
    _write_rows(path, (*_KEYS, *(angle.name for angle in ANGLES)), rows)


def write_parquet(path: Path, take: Take) -> None:
    """The wide table with types; the take's meta is JSON in the file's own metadata."""
    import pyarrow
    import pyarrow.parquet

    poses = take.poses
    columns: dict[str, Any] = {
        "frame_index": np.array([p.frame_index for p in poses], np.int64),
        "timestamp": np.array([p.pose2d.timestamp for p in poses], np.float64),
        "person_id": np.array([p.person_id for p in poses], np.int32),
        "predicted": np.array([p.pose2d.predicted for p in poses], np.bool_),
    }
    values = np.array([_values(pose) for pose in poses], np.float32)
    values = values.reshape(-1, len(JOINT_NAMES), len(_VALUES))
    for j, joint in enumerate(JOINT_NAMES):
        for v, value in enumerate(_VALUES):
            columns[f"{joint}_{value}"] = values[:, j, v]
    table = pyarrow.table(columns)
    meta = json.dumps(take.described(), ensure_ascii=False)
    table = table.replace_schema_metadata({"posemamba": meta})
    with open(path, "wb") as file:  # pyarrow knows no names that are not UTF-8
        pyarrow.parquet.write_table(table, file)


def _write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _key(pose: Pose3D) -> list[Any]:
    timestamp = f"{pose.pose2d.timestamp:.6f}"
    return [pose.frame_index, timestamp, pose.person_id, pose.pose2d.predicted]


def _values(pose: Pose3D) -> Any:
    """(17, 6) of one pose, see _VALUES."""
    pose2d = pose.pose2d
    return np.hstack([pose.joints_world, pose2d.keypoints, pose2d.scores[:, None]])


def _cells(pose: Pose3D) -> Iterator[list[str]]:
    for row in _values(pose):
        yield [f"{value:.{digits}f}" for value, digits in zip(row, _DECIMALS, strict=True)]
