"""Which way is up in a camera's picture, as two angles, and poses in gravity-view coordinates.

Gravity-view coordinates (as in GVHMR, arXiv 2409.06662): x to the camera's right, y down along
gravity, z the level direction in which the camera looks. A network with `gravity` says of every
frame how the axes of its pose lie to gravity; what it is wrong about there, the pose shares.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from posemamba.skeleton import NUM_JOINTS

Float = NDArray[np.float32]

PITCH, ROLL, LOG_SPREAD = range(3)
"""The row that a network with `gravity` adds to the joints: radians (negative pitch looks down),
and the logarithm of their expected error."""
LEAST_SPREAD: Final = 0.02
"""Radians; no frame is believed to know better."""


def up_of(angles: Float) -> Float:
    """(..., 2) pitch and roll to (..., 3) unit vectors upwards, y down and z forward."""
    pitch, roll = angles[..., PITCH], angles[..., ROLL]
    level = np.cos(pitch)
    return np.asarray(
        np.stack([np.sin(roll) * level, -np.cos(roll) * level, np.sin(pitch)], -1), np.float32
    )


def angles_of(up: Float) -> Float:
    """The inverse of `up_of` for unit vectors."""
    pitch = np.arcsin(np.clip(up[..., 2], -1.0, 1.0))
    return np.asarray(np.stack([pitch, np.arctan2(up[..., 0], -up[..., 1])], -1), np.float32)


def evidence(said: Float) -> Float:
    """(..., 3) rows of a network with `gravity` to vectors upwards, in the axes of its pose, that
    are as long as it is sure of them: their sum is the most likely direction of all."""
    spread = np.exp(said[..., LOG_SPREAD, None]) + LEAST_SPREAD
    return np.asarray(up_of(said) / spread**2, np.float32)


def gravity_view(up: Float) -> Float:
    """(..., 3) unit vectors upwards to (..., 3, 3) turns of camera to gravity-view coordinates."""
    x, y, z = up[..., 0], up[..., 1], up[..., 2]
    level = np.sqrt(np.maximum(1.0 - z * z, 1e-6))
    forward = np.stack([-z * x, -z * y, level * level], -1) / level[..., None]
    right = np.stack([-y, x, np.zeros_like(x)], -1) / level[..., None]
    return np.asarray(np.stack([right, -up, forward], -2), np.float32)


def settled(answers: Float, up: Float | None = None) -> Float:
    """The joints of one take, turned to what all its frames together take for up.

    Args:
        answers: (T, 17 or 18, 3) root-relative, camera axes; the 18th row is of `evidence`.
            Without it nothing is turned.
        up: (3,) something better than the frames' sum.
    """
    joints = answers[:, :NUM_JOINTS]
    if answers.shape[1] == NUM_JOINTS or not len(answers):
        return joints
    said = answers[:, NUM_JOINTS]
    pooled = said.sum(0) if up is None else up
    return turned(joints, _unit(said), np.broadcast_to(_unit(pooled), said.shape))


def _unit(vectors: Float) -> Float:
    norm = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(norm, 1e-9), np.float32)


def turned(joints: Float, believed: Float, up: Float) -> Float:
    """Poses as they are if up is not where the network took it to be.

    Args:
        joints: (..., J, 3) root-relative, camera axes.
        believed: (..., 3) unit vectors upwards that go with them.
        up: (..., 3) the better ones.
    """
    turn = gravity_view(up).swapaxes(-1, -2) @ gravity_view(believed)
    return np.asarray(joints @ turn.swapaxes(-1, -2), np.float32)
