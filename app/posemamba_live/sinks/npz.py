"""`poses.npz`: everything about every pose, for NumPy. The README describes the keys."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from posemamba.skeleton import JOINT_NAMES, NUM_JOINTS, PARENTS
from posemamba_live.takes.take import Take
from posemamba_live.types import ExtraPoints, FloatArray


def write_npz(path: Path, take: Take) -> None:
    """Write the file, with N = 0 rows if nobody was seen.

    `fps` and `image_size` of the take's meta become arrays of their own; all of it, with
    `schema_version` and `versions` of the packages that matter, is kept as JSON.
    """
    # In memory first: on a full disk the archive would go on trying when it is forgotten.
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **take_arrays(take))
    path.write_bytes(buffer.getbuffer())


def take_arrays(take: Take) -> dict[str, Any]:
    """The arrays of the file, by their keys in it."""
    poses = take.poses
    meta = take.described()

    def rows(values: list[Any], dtype: type, *shape: int) -> np.ndarray[Any, Any]:
        return np.array(values, dtype).reshape(len(poses), *shape)

    arrays = {
        "frame_index": rows([p.frame_index for p in poses], np.int64),
        "timestamp": rows([p.pose2d.timestamp for p in poses], np.float64),
        "person_id": rows([p.person_id for p in poses], np.int32),
        "joints_2d": rows([p.pose2d.keypoints for p in poses], np.float32, NUM_JOINTS, 2),
        "scores_2d": rows([p.pose2d.scores for p in poses], np.float32, NUM_JOINTS),
        "joints_3d": rows([p.joints for p in poses], np.float32, NUM_JOINTS, 3),
        "root_3d": rows([p.root for p in poses], np.float32, 3),
        "joints_world": rows([p.joints_world for p in poses], np.float32, NUM_JOINTS, 3),
        "predicted": rows([p.pose2d.predicted for p in poses], np.bool_),
        "look_ahead": rows([p.look_ahead for p in poses], np.int32),
        "fps": np.float64(meta["fps"]),
        "image_size": np.array(meta["image_size"], np.int32),
        "joint_names": np.array(JOINT_NAMES),
        "joint_parents": np.array(PARENTS, np.int32),
        "meta": np.array(json.dumps(meta, ensure_ascii=False)),
    }
    arrays |= _camera(take)
    arrays |= _parts("visibility_2d", [p.pose2d.visibility for p in poses])
    arrays |= _parts("peak_2d", [p.pose2d.peak for p in poses])
    return arrays | _extra([p.pose2d.extra for p in poses])


def _camera(take: Take) -> dict[str, Any]:
    """Where the camera stands and how wide it sees, as far as every pose knows it."""
    grounds = [pose.ground for pose in take.poses if pose.ground is not None]
    arrays: dict[str, Any] = {}
    if len(grounds) == len(take.poses):
        arrays["camera_pitch"] = np.array([ground.pitch for ground in grounds], np.float64)
        arrays["camera_roll"] = np.array([ground.roll for ground in grounds], np.float64)
        arrays["camera_height"] = np.array([ground.height for ground in grounds], np.float64)
    if take.fov_deg is not None:
        arrays["camera_fov"] = np.float64(take.fov_deg)
    return arrays


def _parts(name: str, values: Sequence[FloatArray | None]) -> dict[str, Any]:
    """(N, 17) of a part of the scores, if the detector gives it: NaN in rows without one."""
    if all(value is None for value in values):
        return {}
    nothing = np.full(NUM_JOINTS, np.nan, np.float32)
    return {name: np.array([nothing if v is None else v for v in values], np.float32)}


def _extra(points: Sequence[ExtraPoints | None]) -> dict[str, Any]:
    """What the detector saw beyond the 17 joints, if it is one that does: NaN where it did not."""
    names = next((extra.names for extra in points if extra is not None), None)
    if names is None:
        return {}
    positions = np.full((len(points), len(names), 2), np.nan, np.float32)
    scores = np.zeros((len(points), len(names)), np.float32)
    for row, extra in enumerate(points):
        if extra is not None and extra.names == names:
            positions[row], scores[row] = extra.points, extra.scores
    return {"extra_names": np.array(names), "extra_2d": positions, "extra_scores": scores}
