"""One direction for up, from what the network says of every frame, and poses turned to it.

A network with `gravity` places people well by its own idea of up, and that idea badly: a second of
film hardly tells how steeply a camera looks. A camera that does not move has one pitch, so what
all frames say of it is pooled, and each pose is turned by what its own frame was off.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from posemamba import gravity
from posemamba_live.types import LiftedPose

_MEMORY_S: Final = 60.0
"""Seconds after which a live frame's word has faded: somebody may have moved the camera."""


def settled(track: Sequence[LiftedPose]) -> Sequence[LiftedPose]:
    """The poses of a recording, turned to what all of them together take for up."""
    said = [pose.up for pose in track if pose.up is not None]
    if not said:
        return track
    pooled = np.sum(said, 0)
    return [_turned(pose, pooled) for pose in track]


class PooledUp:
    """The same while poses come: up by all frames so far."""

    def __init__(self) -> None:
        self._sum: NDArray[np.float64] = np.zeros(3)
        self._time = -math.inf

    def turn(self, pose: LiftedPose) -> LiftedPose:
        if pose.up is None:
            return pose
        elapsed = max(pose.pose2d.timestamp - self._time, 0.0)
        self._time = pose.pose2d.timestamp
        self._sum = math.exp(-elapsed / _MEMORY_S) * self._sum + pose.up
        return _turned(pose, self._sum)


def _turned(pose: LiftedPose, pooled: NDArray[np.float64]) -> LiftedPose:
    if pose.up is None:
        return pose
    joints = gravity.turned(pose.joints, _unit(pose.up), _unit(pooled))
    return replace(pose, joints=joints)


def _unit(vector: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9), np.float32)
