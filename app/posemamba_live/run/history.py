"""What a run has lifted so far, packed into a fraction of the memory of the records."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from posemamba.skeleton import NUM_JOINTS
from posemamba_live.types import ExtraPoints, LiftedPose, Pose2D

_BLOCK: Final = 1_000
"""Poses for which memory is taken at once, and after which the oldest are forgotten."""


class History:
    """Lifted poses in the order in which they came. Any thread may call any method.

    Args:
        capacity: poses to remember, and up to one block more. The memory for all of them is
            taken with the first one, so that a camera that runs for days takes no more later.
            None remembers everything.
    """

    def __init__(self, capacity: int | None = None) -> None:
        self._most_blocks = None if capacity is None else -(-capacity // _BLOCK) + 1
        self._blocks: deque[_Block] = deque()
        """Oldest first; the last one is being filled."""
        self._spare: list[_Block] = []
        self._lock = threading.Lock()

    def __len__(self) -> int:
        with self._lock:
            return sum(block.count for block in self._blocks)

    def extend(self, poses: Sequence[LiftedPose]) -> None:
        """Remember more poses."""
        with self._lock:
            for pose in poses:
                self._append(pose)

    def poses(self) -> list[LiftedPose]:
        """All that is remembered, oldest first."""
        with self._lock:  # only for the copies: who lifts should not wait
            parts = [(block.rows[: block.count].copy(), block.names) for block in self._blocks]
        return [_unpack(row, names) for rows, names in parts for row in rows]

    def _append(self, pose: LiftedPose) -> None:
        block = self._blocks[-1] if self._blocks else None
        extra = pose.pose2d.extra
        names = extra.names if extra is not None else block.names if block is not None else ()
        if block is None or block.count == _BLOCK or block.names != names:
            block = self._begin_block(names)
        _pack(pose, block.rows[block.count])
        block.count += 1

    def _begin_block(self, names: tuple[str, ...]) -> _Block:
        """The block that poses with these extra points go to from now on."""
        most = self._most_blocks
        if most is not None:
            if len(self._blocks) == most:
                self._spare.append(self._blocks.popleft())
            self._spare = [block for block in self._spare if block.names == names]
            while len(self._blocks) + len(self._spare) < most:
                self._spare.append(_Block.empty(names))
        block = self._spare.pop() if self._spare else _Block.empty(names)
        block.count = 0
        self._blocks.append(block)
        return block


@dataclass(slots=True)
class _Block:
    rows: NDArray[Any]
    """(_BLOCK,) packed poses, of which the first `count` are filled."""
    names: tuple[str, ...]
    """Of the points beyond the 17 joints."""
    count: int = 0

    @classmethod
    def empty(cls, names: tuple[str, ...]) -> _Block:
        row = np.dtype(
            [
                ("frame_index", "i8"), ("timestamp", "f8"), ("person_id", "i4"),
                ("keypoints", "f4", (NUM_JOINTS, 2)), ("scores", "f4", NUM_JOINTS),
                ("visibility", "f4", NUM_JOINTS), ("peak", "f4", NUM_JOINTS),
                ("image_size", "i4", 2), ("predicted", "?"), ("has_extra", "?"),
                ("extra", "f4", (len(names), 3)),
                ("joints", "f4", (NUM_JOINTS, 3)), ("look_ahead", "i4"),
                ("has_up", "?"), ("up", "f4", 3),
            ]
        )  # fmt: skip
        # Ones, not zeros: memory that is only promised would show up late.
        return cls(np.ones(_BLOCK, row), names)


def _pack(lifted: LiftedPose, row: Any) -> None:
    pose, extra = lifted.pose2d, lifted.pose2d.extra
    row["frame_index"], row["timestamp"] = pose.frame_index, pose.timestamp
    row["person_id"], row["image_size"] = pose.person_id, pose.image_size
    row["keypoints"], row["scores"], row["predicted"] = pose.keypoints, pose.scores, pose.predicted
    row["visibility"] = np.nan if pose.visibility is None else pose.visibility
    row["peak"] = np.nan if pose.peak is None else pose.peak
    row["has_extra"] = extra is not None
    if extra is not None:
        row["extra"][:, :2], row["extra"][:, 2] = extra.points, extra.scores
    row["joints"], row["look_ahead"] = lifted.joints, lifted.look_ahead
    row["has_up"] = lifted.up is not None
    if lifted.up is not None:
        row["up"] = lifted.up


def _unpack(row: Any, names: tuple[str, ...]) -> LiftedPose:
    extra = None
    if row["has_extra"]:
        extra = ExtraPoints(names, row["extra"][:, :2], row["extra"][:, 2])
    width, height = row["image_size"]
    pose = Pose2D(
        frame_index=int(row["frame_index"]),
        timestamp=float(row["timestamp"]),
        person_id=int(row["person_id"]),
        keypoints=row["keypoints"],
        scores=row["scores"],
        image_size=(int(width), int(height)),
        predicted=bool(row["predicted"]),
        extra=extra,
        visibility=None if np.isnan(row["visibility"]).any() else row["visibility"],
        peak=None if np.isnan(row["peak"]).any() else row["peak"],
    )
    up = row["up"] if row["has_up"] else None
    return LiftedPose(pose, row["joints"], int(row["look_ahead"]), up)
