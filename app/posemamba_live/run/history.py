"""What a run has lifted so far, packed into a fraction of the memory of the records."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from posemamba_live.takes.rows import Rows, pack, row_type, runs, unpack
from posemamba_live.types import LiftedPose

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
            for names, part in runs(poses, lambda pose: pose.pose2d, _BLOCK):
                self._append(part, names)

    def poses(self) -> list[LiftedPose]:
        """All that is remembered, oldest first."""
        with self._lock:  # only for the copies: who lifts should not wait
            parts = [(block.rows[: block.count].copy(), block.names) for block in self._blocks]
        return [pose for rows, names in parts for pose in unpack(rows, names)]

    def _append(self, poses: Sequence[LiftedPose], names: tuple[str, ...] | None) -> None:
        while poses:
            block = self._blocks[-1] if self._blocks else None
            if names is None:
                names = block.names if block is not None else ()
            if block is None or block.count == _BLOCK or block.names != names:
                block = self._begin_block(names)
            rows = pack(poses[: _BLOCK - block.count], names)
            block.rows[block.count : block.count + len(rows)] = rows
            block.count += len(rows)
            poses = poses[len(rows) :]

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
    rows: Rows
    """(_BLOCK,) packed poses, of which the first `count` are filled."""
    names: tuple[str, ...]
    """Of the points beyond the 17 joints."""
    count: int = 0

    @classmethod
    def empty(cls, names: tuple[str, ...]) -> _Block:
        # Ones, not zeros: memory that is only promised would show up late.
        return cls(np.ones(_BLOCK, row_type(len(names), lifted=True)), names)
