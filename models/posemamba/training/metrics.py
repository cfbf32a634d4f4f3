"""Errors of 3D poses, in the terms that the field compares itself in.

Poses are (..., T, J, 3); results are in the poses' unit (millimetres in, millimetres out) and
keep the joint axis, so that a caller averages over what it wants. Mid-hip alignment uses the
mean of both hip joints, which detectors and rigs agree on better than on the root.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posemamba.skeleton import L_HIP, LIMB_JOINTS, R_HIP

Array = NDArray[np.floating[Any]]


def hip_aligned(poses: Array) -> Array:
    """(..., 17, 3) with the middle of the two hips at the origin of every frame."""
    return poses - 0.5 * (poses[..., R_HIP, None, :] + poses[..., L_HIP, None, :])


def joint_error(predicted: Array, true: Array) -> Array:
    """Euclidean distance per joint: (..., J). Its mean is MPJPE (protocol 1)."""
    return np.asarray(np.linalg.norm(predicted - true, axis=-1))


def best_scale(predicted: Array, true: Array) -> Array:
    """The one factor per window that brings `predicted` (..., T, J, 3) nearest to `true`.

    Least squares about the origin: sum(p . t) / sum(p . p).

    Returns:
        (..., 1, 1, 1); 1 for a window whose prediction is all zero.
    """
    axes = (-3, -2, -1)
    dot = (predicted * true).sum(axes, keepdims=True)
    square = (predicted * predicted).sum(axes, keepdims=True)
    return np.asarray(np.divide(dot, square, out=np.ones_like(dot), where=square > 0))


def procrustes(predicted: Array, true: Array) -> Array:
    """Each frame of `predicted` (..., J, 3) moved, turned and scaled onto `true`.

    Least-squares similarity transform without reflection (Umeyama 1991). Frames are
    independent. Points that coincide are only moved.
    """
    centre_p = predicted.mean(-2, keepdims=True)
    centre_t = true.mean(-2, keepdims=True)
    p = np.asarray(predicted - centre_p, np.float64)
    t = np.asarray(true - centre_t, np.float64)
    u, s, vt = np.linalg.svd(np.swapaxes(p, -1, -2) @ t)
    mirrored = np.linalg.det(u @ vt) < 0
    sign = np.ones_like(s)
    sign[..., -1] = np.where(mirrored, -1.0, 1.0)
    turn = (u * sign[..., None, :]) @ vt
    square = (p * p).sum((-2, -1))
    scale = np.divide((s * sign).sum(-1), square, out=np.ones_like(square), where=square > 0)
    return np.asarray(scale[..., None, None] * (p @ turn) + centre_t)


def velocity_error(predicted: Array, true: Array) -> Array:
    """Error of the first difference over frames (..., T, J, 3) -> (..., T - 1, J), per frame."""
    return joint_error(np.diff(predicted, axis=-3), np.diff(true, axis=-3))


def acceleration_error(predicted: Array, true: Array) -> Array:
    """Error of the second difference over frames: (..., T - 2, J), per frame squared."""
    return joint_error(np.diff(predicted, 2, axis=-3), np.diff(true, 2, axis=-3))


def jitter(poses: Array) -> Array:
    """Length of the third difference over frames, (..., T - 3, J): no truth needed."""
    return np.asarray(np.linalg.norm(np.diff(poses, 3, axis=-3), axis=-1))


def pck(error: Array, threshold: float = 150.0) -> float:
    """Percentage of joint errors within `threshold`."""
    return float(100.0 * (error <= threshold).mean())


def auc(error: Array, limit: float = 150.0, steps: int = 31) -> float:
    """Mean PCK over evenly spaced thresholds from 0 to `limit` (MPI-INF-3DHP: every 5 mm)."""
    return float(np.mean([pck(error, t) for t in np.linspace(0.0, limit, steps)]))


@dataclass(frozen=True, slots=True)
class Scores:
    """Means over windows, frames and joints; millimetres, per frame where a rate."""

    mpjpe: float
    """Mid-hip aligned."""
    n_mpjpe: float
    """Mid-hip aligned, one scale per window."""
    pa_mpjpe: float
    """Procrustes alignment per frame."""
    velocity: float
    accel: float
    jitter: float
    """Third difference of the prediction itself."""
    pck150: float
    auc: float

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def score(predicted: Array, true: Array, joints: tuple[int, ...] = LIMB_JOINTS) -> Scores:
    """All metrics of windows (..., T, 17, 3) in millimetres, over `joints`.

    Velocity, acceleration and jitter are those of the mid-hip aligned poses, at the best
    scale of each window. Rates that a window is too short for are NaN.
    """
    rows = list(joints)
    p, t = hip_aligned(predicted)[..., rows, :], hip_aligned(true)[..., rows, :]
    scaled = best_scale(p, t) * p
    plain = joint_error(p, t)
    return Scores(
        mpjpe=_mean(plain),
        n_mpjpe=_mean(joint_error(scaled, t)),
        pa_mpjpe=_mean(joint_error(procrustes(p, t), t)),
        velocity=_mean(velocity_error(scaled, t)),
        accel=_mean(acceleration_error(scaled, t)),
        jitter=_mean(jitter(scaled)),
        pck150=pck(plain),
        auc=auc(plain),
    )


def _mean(values: Array) -> float:
    return float(values.mean()) if values.size else float("nan")
