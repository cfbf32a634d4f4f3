"""`poses.npz`: everything about every pose, for NumPy. The README describes the keys."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import numpy as np

from posemamba.skeleton import JOINT_NAMES, NUM_JOINTS, PARENTS
from posemamba_live.errors import SinkError
from posemamba_live.sinks.base import check_output, partial_path
from posemamba_live.types import ExtraPoints, Pose3D

SCHEMA_VERSION: Final = 1
SUFFIX: Final = ".npz"
_RECORDED_PACKAGES: Final = ("posemamba-live", "torch", "numpy", "mediapipe", "onnxruntime")


class NpzExporter:
    """Collects poses and writes them sorted by frame, then person.

    Args:
        path: the file; it appears when closed, complete, or not at all.
        overwrite: replace an existing file.
        meta: JSON values. `fps` (float) and `image_size` (W, H) become arrays of their own;
            all of it, with `schema_version` and `versions` of the packages that matter, is
            kept as JSON under the key `meta`. It is read on close, so that the caller may
            complete it until then.

    Raises:
        UsageError, SinkError: see `check_output`; also when closing fails.
    """

    def __init__(self, path: Path, *, overwrite: bool, meta: Mapping[str, Any]) -> None:
        check_output(path, overwrite=overwrite, suffixes=(SUFFIX,))
        self._path = path
        self._meta = meta
        self._poses: dict[tuple[int, int], Pose3D] = {}
        self._closed = False

    def add(self, pose: Pose3D) -> None:
        """Take one person in one frame; a second one for the same replaces the first."""
        self._poses[pose.frame_index, pose.person_id] = pose

    def close(self) -> None:
        """Write the file (with N = 0 rows if nobody was seen)."""
        if self._closed:
            return
        self._closed = True
        arrays = self._arrays()
        part = partial_path(self._path)
        try:
            with open(part, "wb") as file:
                np.savez_compressed(file, **arrays)
            part.replace(self._path)
        except OSError as error:
            raise SinkError(
                f"cannot write {self._path}",
                why=str(error.strerror or error),
                hint="check that the disk has room and that the folder is still there",
            ) from error
        finally:
            part.unlink(missing_ok=True)

    def _arrays(self) -> dict[str, Any]:
        poses = [self._poses[key] for key in sorted(self._poses)]

        def rows(values: list[Any], dtype: type, *shape: int) -> np.ndarray[Any, Any]:
            return np.array(values, dtype).reshape(len(poses), *shape)

        meta = {"schema_version": SCHEMA_VERSION, "versions": _versions(), **self._meta}
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
            "fps": np.float64(meta["fps"]),
            "image_size": np.array(meta["image_size"], np.int32),
            "joint_names": np.array(JOINT_NAMES),
            "joint_parents": np.array(PARENTS, np.int32),
            "meta": np.array(json.dumps(meta, ensure_ascii=False)),
        }
        return arrays | _extra([p.pose2d.extra for p in poses])


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


def _versions() -> dict[str, str]:
    """Version of each recorded package that is installed."""
    found = {}
    for name in _RECORDED_PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
