"""The training loss, in metres."""

from __future__ import annotations

import functools
from typing import Final

import torch
from torch import Tensor

from posemamba.skeleton import HIP, LIMB_JOINTS, NUM_JOINTS

N_MPJPE_WEIGHT: Final = 0.5
VELOCITY_WEIGHT: Final = 20.0
OTHER_JOINT_WEIGHT: Final = 0.5
"""Weight of trunk and head joints: data sources disagree on where they are."""
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


def _mean_distance(difference: Tensor, weights: Tensor) -> Tensor:
    return ((difference.square().sum(-1) + _EPS).sqrt() * weights).mean()
