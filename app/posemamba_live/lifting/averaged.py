"""Two lifters' answers as one.

A window's and a causal network's answers are wrong in different ways, so that their mean is
closer to the truth than either.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Final

import numpy as np

from posemamba_live.lifting.batching import Lifting
from posemamba_live.lifting.window import Lifter
from posemamba_live.types import FloatArray, LiftedPose, Pose2D

SHARE: Final = 0.4
"""What the causal network's answers count for; anything from 0.3 to 0.5 is as good
(`benchmarks/whole_films.py`, `benchmarks/newest_frame.py`)."""


def averaged(
    pose: LiftedPose, other: FloatArray, look_ahead: int = 0, share: float = SHARE
) -> LiftedPose:
    """A pose with its share of another answer; as it was where that is not finite.

    Args:
        other: (17, 3) as `LiftedPose.joints`.
        look_ahead: frames that the other answer had seen after the pose's.
        share: what the other answer counts for.
    """
    joints = (1.0 - share) * pose.joints + share * other
    if not np.isfinite(joints).all():
        return pose
    return replace(
        pose, joints=joints.astype(np.float32), look_ahead=max(look_ahead, pose.look_ahead)
    )


class AveragedLifter(Lifter):
    """The mean of two lifters that give the same frames in the same order.

    Args:
        first: says what else there is to a pose: its look-ahead, which way is up.
        second: counts for SHARE.
    """

    def __init__(self, first: Lifter, second: Lifter) -> None:
        self._first, self._second = first, second
        self._reset()

    def pushing(self, pose: Pose2D) -> Lifting:
        self._ours += yield from self._first.pushing(pose)
        self._theirs += yield from self._second.pushing(pose)
        return self._pairs()

    def flushing(self) -> Lifting:
        self._ours += yield from self._first.flushing()
        self._theirs += yield from self._second.flushing()
        done = self._pairs()
        self._reset()
        return done

    def reset(self) -> None:
        self._first.reset()
        self._second.reset()
        self._reset()

    def _reset(self) -> None:
        self._ours: deque[LiftedPose] = deque()
        self._theirs: deque[LiftedPose] = deque()

    def _pairs(self) -> list[LiftedPose]:
        count = min(len(self._ours), len(self._theirs))
        pairs = [(self._ours.popleft(), self._theirs.popleft()) for _ in range(count)]
        return [averaged(ours, theirs.joints, theirs.look_ahead) for ours, theirs in pairs]
