"""The selective scan in plain PyTorch, one token at a time: slow, readable, the judge.

Zero-order hold for A, Euler for B as in Mamba (arXiv 2312.00752, section 3.2):
h_t = exp(dt_t A) h_{t-1} + dt_t B_t x_t,  y_t = C_t h_t + D x_t.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from posemamba.scan.interface import DIRECTIONS, ScanParameters, limb_matrix


def selective_scan(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """One direction.

    Args:
        x, dt: (B, L, D) values and step sizes (after softplus).
        a: (D, N), b, c: (B, L, N), d: (D,).

    Returns:
        (B, L, D).
    """
    state = x.new_zeros(x.shape[0], x.shape[2], a.shape[1])
    outputs = []
    for t in range(x.shape[1]):
        decay = torch.exp(dt[:, t, :, None] * a)
        state = decay * state + (dt[:, t] * x[:, t])[..., None] * b[:, t, None]
        outputs.append((state * c[:, t, None]).sum(-1))
    return torch.stack(outputs, 1) + d * x


def scan(values: Tensor, parameters: ScanParameters) -> Tensor:
    """Four directions, each materialised (see interface.ScanFunction)."""
    batch, frames, joints, channels = values.shape
    limb = torch.einsum("ij,btjd->btid", limb_matrix(values), values)
    frame_major = limb.reshape(batch, frames * joints, channels)
    joint_major = values.transpose(1, 2).reshape(batch, frames * joints, channels)
    a = -torch.exp(parameters.a_logs).unflatten(0, (DIRECTIONS, channels))
    d = parameters.ds.unflatten(0, (DIRECTIONS, channels))
    rank, n = parameters.dt_rank, parameters.d_state

    total = torch.zeros_like(values)
    for k in range(DIRECTIONS):
        sequence = joint_major if k % 2 else frame_major
        if k >= 2:
            sequence = sequence.flip(1)
        dt_low, b, c = F.linear(sequence, parameters.x_proj_weight[k]).split([rank, n, n], -1)
        dt = F.softplus(
            F.linear(dt_low, parameters.dt_projs_weight[k], parameters.dt_projs_bias[k])
        )
        y = selective_scan(sequence, dt, a[k], b, c, d[k])
        if k >= 2:
            y = y.flip(1)
        if k % 2:
            y = y.reshape(batch, joints, frames, channels).transpose(1, 2)
        total = total + y.reshape(batch, frames, joints, channels)
    return total
