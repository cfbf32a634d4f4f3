"""Lifted poses as rows of packed arrays: a fifth of the memory of the records, and bytes for files.

Everything that a LiftedPose holds is a column, so that packing and unpacking is bit-exact.
A row has no pointers and the same size on every machine (little-endian, unaligned).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from posemamba.skeleton import NUM_JOINTS
from posemamba_live.types import ExtraPoints, LiftedPose, Pose2D

T = TypeVar("T")
Rows = NDArray[np.void]
"""(N,) of a `row_type`."""

Column = tuple[str, str, tuple[int, ...]]
"""Name, type and shape."""

COLUMNS_2D: Final[tuple[Column, ...]] = (
    ("frame_index", "<i8", ()),
    ("timestamp", "<f8", ()),
    ("person_id", "<i4", ()),
    ("keypoints", "<f4", (NUM_JOINTS, 2)),
    ("scores", "<f4", (NUM_JOINTS,)),
    ("image_size", "<i4", (2,)),
    ("predicted", "|u1", ()),
    ("has_extra", "|u1", ()),
    ("has_visibility", "|u1", ()),
    ("visibility", "<f4", (NUM_JOINTS,)),
    ("has_peak", "|u1", ()),
    ("peak", "<f4", (NUM_JOINTS,)),
)
"""What there is of each Pose2D; `extra` comes last, see `row_type`."""
COLUMNS_3D: Final[tuple[Column, ...]] = (
    ("joints", "<f4", (NUM_JOINTS, 3)),
    ("look_ahead", "<i4", ()),
    ("has_up", "|u1", ()),
    ("up", "<f4", (3,)),
)
"""What lifting adds."""


def row_type(extra: int, *, lifted: bool) -> np.dtype[np.void]:
    """The type of rows with so many points beyond the 17 joints: (extra, 3), x, y and score."""
    columns = [*COLUMNS_2D, *(COLUMNS_3D if lifted else ())]
    return np.dtype([*columns, ("extra", "<f4", (extra, 3))])


def pack_2d(poses: Sequence[Pose2D], names: tuple[str, ...]) -> Rows:
    """Rows of poses whose extra points, where there are any, have these names."""
    rows: Rows = np.zeros(len(poses), row_type(len(names), lifted=False))
    _fill(rows, poses)
    return rows


def pack(poses: Sequence[LiftedPose], names: tuple[str, ...]) -> Rows:
    """The same of lifted poses."""
    rows: Rows = np.zeros(len(poses), row_type(len(names), lifted=True))
    if len(poses):
        _fill(rows, [pose.pose2d for pose in poses])
        rows["joints"] = [pose.joints for pose in poses]
        rows["look_ahead"] = [pose.look_ahead for pose in poses]
        for row, pose in enumerate(poses):
            if pose.up is not None:
                rows["has_up"][row], rows["up"][row] = True, pose.up
    return rows


def unpack_2d(rows: Rows, names: tuple[str, ...]) -> list[Pose2D]:
    """The poses that were packed. Their arrays are views of `rows`."""
    # Columns are taken out once, not row by row: several times as fast.
    index, time, person = (rows[key].tolist() for key in ("frame_index", "timestamp", "person_id"))
    keypoints, scores, sizes = rows["keypoints"], rows["scores"], rows["image_size"].tolist()
    predicted, has_extra, extra = rows["predicted"], rows["has_extra"].tolist(), rows["extra"]
    has_visibility, has_peak = rows["has_visibility"].tolist(), rows["has_peak"].tolist()
    visibility, peak = rows["visibility"], rows["peak"]
    return [
        Pose2D(
            frame_index=index[i],
            timestamp=time[i],
            person_id=person[i],
            keypoints=keypoints[i],
            scores=scores[i],
            image_size=(sizes[i][0], sizes[i][1]),
            predicted=bool(predicted[i]),
            extra=ExtraPoints(names, extra[i, :, :2], extra[i, :, 2]) if has_extra[i] else None,
            visibility=visibility[i] if has_visibility[i] else None,
            peak=peak[i] if has_peak[i] else None,
        )
        for i in range(len(rows))
    ]


def unpack(rows: Rows, names: tuple[str, ...]) -> list[LiftedPose]:
    """The same of rows with `joints`, `look_ahead` and `up`."""
    joints, look_ahead = rows["joints"], rows["look_ahead"].tolist()
    has_up, up = rows["has_up"].tolist(), rows["up"]
    return [
        LiftedPose(pose, joints[i], look_ahead[i], up[i] if has_up[i] else None)
        for i, pose in enumerate(unpack_2d(rows, names))
    ]


def runs(
    poses: Sequence[T], flat: Callable[[T], Pose2D], most: int
) -> Iterator[tuple[tuple[str, ...] | None, list[T]]]:
    """Parts of at most so many poses, and the names that their extra points share, if any."""
    part: list[T] = []
    names: tuple[str, ...] | None = None
    for pose in poses:
        extra = flat(pose).extra
        other = extra is not None and names is not None and extra.names != names
        if part and (other or len(part) == most):
            yield names, part
            part, names = [], None
        part.append(pose)
        if extra is not None:
            names = extra.names
    if part:
        yield names, part


def _fill(rows: Any, poses: Sequence[Pose2D]) -> None:
    if not len(poses):
        return
    rows["frame_index"] = [pose.frame_index for pose in poses]
    rows["timestamp"] = [pose.timestamp for pose in poses]
    rows["person_id"] = [pose.person_id for pose in poses]
    rows["keypoints"] = [pose.keypoints for pose in poses]
    rows["scores"] = [pose.scores for pose in poses]
    rows["image_size"] = [pose.image_size for pose in poses]
    rows["predicted"] = [pose.predicted for pose in poses]
    rows["has_extra"] = [pose.extra is not None for pose in poses]
    for row, pose in enumerate(poses):
        if pose.visibility is not None:
            rows["has_visibility"][row], rows["visibility"][row] = True, pose.visibility
        if pose.peak is not None:
            rows["has_peak"][row], rows["peak"][row] = True, pose.peak
        if pose.extra is not None:
            rows["extra"][row, :, :2] = pose.extra.points
            rows["extra"][row, :, 2] = pose.extra.scores
