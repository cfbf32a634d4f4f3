"""The training loss, in metres."""

from __future__ import annotations

import functools
import math
from typing import Final

import torch
from torch import Tensor

from posemamba.gravity import LEAST_SPREAD, LOG_SPREAD
from posemamba.skeleton import HIP, LIMB_JOINTS, NUM_JOINTS

N_MPJPE_WEIGHT: Final = 0.5
VELOCITY_WEIGHT: Final = 20.0
OTHER_JOINT_WEIGHT: Final = 0.5
"""Weight of trunk and head joints: data sources disagree on where they are."""
GRAVITY_POSE_WEIGHT: Final = 0.5
GRAVITY_ANGLE_WEIGHT: Final = 0.02
"""An angle that is off by its expected error weighs as 20 mm."""
_EPS: Final = 1e-9


@functools.cache
def joint_weights(device: torch.device) -> Tensor:
    """(17,) weights with mean 1. Kept: a GPU would wait for every copy from the host."""
    weights = torch.full((NUM_JOINTS,), OTHER_JOINT_WEIGHT)
    weights[list(LIMB_JOINTS)] = 1.0
    return (weights / weights.mean()).to(device)


def pose_loss(
    predicted: Tensor, target: Tensor, height: Tensor, velocity_weight: float = VELOCITY_WEIGHT
) -> tuple[Tensor, dict[str, Tensor]]:
    """MPJPE + 0.5 N-MPJPE + velocity.

    Args:
        predicted, target: (B, T, 17, 3) in body heights; taken relative to Hip here.
        height: (B,) metres.

    Returns:
        The loss and its parts in millimetres, for the log: still on the device, because reading
        them would make a GPU wait for every step.
    """
    scale = height[:, None, None, None]
    weights = joint_weights(predicted.device)
    predicted = (predicted - predicted[:, :, HIP : HIP + 1]) * scale
    target = (target - target[:, :, HIP : HIP + 1]) * scale

    mpjpe = _mean_distance(predicted - target, weights)
    # One scale per window, fitted by least squares as the metric does.
    flat_p, flat_t = predicted.flatten(1), target.flatten(1)
    fit = (flat_p * flat_t).sum(1) / (flat_p.square().sum(1) + _EPS)
    n_mpjpe = _mean_distance(predicted * fit[:, None, None, None] - target, weights)
    if predicted.shape[1] > 1:
        velocity = _mean_distance(predicted.diff(dim=1) - target.diff(dim=1), weights)
    else:
        velocity = predicted.new_zeros(())
    loss = mpjpe + N_MPJPE_WEIGHT * n_mpjpe + velocity_weight * velocity
    parts = {"mpjpe": mpjpe, "n_mpjpe": n_mpjpe, "velocity": velocity}
    return loss, {name: 1000.0 * value.detach() for name, value in parts.items()}


def gravity_loss(
    predicted: Tensor, target: Tensor, height: Tensor, angles: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Which way is up, and how well the pose stands by it.

    Args:
        predicted: (B, T, 18, 3) of a network with `gravity`.
        target: (B, T, 17, 3) in body heights; taken relative to Hip here.
        height: (B,) metres.
        angles: (B, T or 1, 2) true pitch and roll, radians.

    Returns:
        The sum of the pose's error in gravity-view coordinates, which an axis that pose and
        gravity are both wrong about does not enter, and of the angles' likelihood (Laplace).
    """
    said = predicted[:, :, NUM_JOINTS]
    spread = said[..., LOG_SPREAD].exp() + LEAST_SPREAD
    off = (said[..., :LOG_SPREAD] - angles).abs()
    likelihood = (0.5 * off.sum(-1) / spread + spread.log()).mean()

    scale = height[:, None, None, None]
    joints = predicted[:, :, :NUM_JOINTS]
    joints = (joints - joints[:, :, HIP : HIP + 1]) * scale
    target = (target - target[:, :, HIP : HIP + 1]) * scale
    # A window has one camera: what its frames say of gravity is pooled.
    weight = spread.square().reciprocal().detach()[..., None]
    pooled = (said[..., :LOG_SPREAD] * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True)
    weights = joint_weights(predicted.device)
    standing = _mean_distance(
        joints @ _gravity_view(pooled).mT - target @ _gravity_view(angles).mT, weights
    )
    loss = GRAVITY_POSE_WEIGHT * standing + GRAVITY_ANGLE_WEIGHT * likelihood
    degrees = 180.0 / math.pi * off.detach().mean((0, 1))
    return loss, {
        "standing": 1000.0 * standing.detach(),
        "pitch_deg": degrees[0],
        "roll_deg": degrees[1],
    }


def _gravity_view(angles: Tensor) -> Tensor:
    """(..., 2) pitch and roll to (..., 3, 3): see `posemamba.gravity.gravity_view`."""
    (cp, sp), (cr, sr) = ((a.cos(), a.sin()) for a in angles.unbind(-1))
    zero = torch.zeros_like(cp)
    rows = ((cr, sr, zero), (-sr * cp, cr * cp, -sp), (-sr * sp, cr * sp, cp))
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def _mean_distance(difference: Tensor, weights: Tensor) -> Tensor:
    return ((difference.square().sum(-1) + _EPS).sqrt() * weights).mean()
