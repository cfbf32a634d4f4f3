"""The selective scan, and the convolution before it, in plain PyTorch: readable, the judge.

The scan goes one token at a time and is slow; other backends take the convolution over.

Zero-order hold for A, Euler for B as in Mamba (arXiv 2312.00752, section 3.2):
h_t = exp(dt_t A) h_{t-1} + dt_t B_t x_t,  y_t = C_t h_t + D x_t.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from posemamba.scan.interface import DIRECTIONS, ScanParameters, limb_matrix


def selective_scan(
    x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """One direction.

    Args:
        x, dt: (B, L, D) values and step sizes (after softplus).
        a: (D, N), b, c: (B, L, N), d: (D,).
        state: (B, D, N) from which to go on; zero if None.

    Returns:
        (B, L, D) and the last state.
    """
    if state is None:
        state = x.new_zeros(x.shape[0], x.shape[2], a.shape[1])
    outputs = []
    for t in range(x.shape[1]):
        decay = torch.exp(dt[:, t, :, None] * a)
        state = decay * state + (dt[:, t] * x[:, t])[..., None] * b[:, t, None]
        outputs.append((state * c[:, t, None]).sum(-1))
    return torch.stack(outputs, 1) + d * x, state


def scan(values: Tensor, parameters: ScanParameters) -> Tensor:
    """Four directions, each materialised (see interface.ScanFunction)."""
    return _scan(values, parameters, None)


def init_state(batch: int, joints: int, channels: int) -> list[Tensor | None]:
    """State of a causal scan before its first frame: one entry per direction."""
    return [None] * DIRECTIONS


@torch.no_grad()
def step(values: Tensor, parameters: ScanParameters, state: list[Tensor | None]) -> Tensor:
    """One frame (B, 17, D) of a causal scan; `state` is updated in place."""
    return _scan(values[:, None], parameters, state)[:, 0]


def _scan(values: Tensor, parameters: ScanParameters, states: list[Tensor | None] | None) -> Tensor:
    batch, _, joints, channels = values.shape
    causal = parameters.causal
    limb = torch.einsum("ij,btjd->btid", limb_matrix(values), values)
    a, d = parameters.a(channels), parameters.skip(channels)
    rank, n = parameters.dt_rank, parameters.d_state

    total = torch.zeros_like(values)
    for k in range(DIRECTIONS):
        grid = values.transpose(1, 2) if k % 2 else limb
        if k == 2 and causal:
            grid = grid.flip(2)  # joints backwards, frames forwards
        elif k >= 2 and not causal:
            grid = grid.flip(1, 2)
        # Causal temporal scans are one sequence per joint, the others one per sample.
        per_joint = causal and k % 2 == 1
        sequence = grid.reshape(batch * joints if per_joint else batch, -1, channels)
        dt_low, b, c = F.linear(sequence, parameters.x_proj_weight[k]).split([rank, n, n], -1)
        dt = F.softplus(
            F.linear(dt_low, parameters.dt_projs_weight[k], parameters.dt_projs_bias[k])
        )
        y, last = selective_scan(
            sequence, dt, a[k], b, c, d[k], None if states is None else states[k]
        )
        if states is not None:
            states[k] = last
        y = y.reshape(grid.shape)
        if k == 2 and causal:
            y = y.flip(2)
        elif k >= 2 and not causal:
            y = y.flip(1, 2)
        total = total + (y.transpose(1, 2) if k % 2 else y)
    return total


def conv_silu(values: Tensor, weight: Tensor, bias: Tensor | None, causal: bool = False) -> Tensor:
    """3x3 depth-wise convolution over frames x joints, then SiLU, in plain PyTorch.

    The causal one sees a frame and the two before it instead of its neighbours.
    """
    x = values.permute(0, 3, 1, 2)
    if causal:
        x = F.pad(x, (0, 0, 2, 0))
    padding = (0 if causal else 1, 1)
    out = F.conv2d(x, weight, bias, padding=padding, groups=weight.shape[0])
    return F.silu(out).permute(0, 2, 3, 1)
