"""The CPU backend: Numba kernels behind torch autograd."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from torch import Tensor

from posemamba.scan.backends import conv_silu
from posemamba.scan.cpu_kernels import (
    BLOCK,
    CHUNK,
    LANES,
    SLOTS,
    STATES,
    pack_parameters,
    scan_backward,
    scan_forward,
)
from posemamba.scan.interface import DIRECTIONS, LIMB_PARTNER, ScanParameters, limb_matrix

__all__ = ["conv_silu", "scan"]


@functools.lru_cache(maxsize=64)
def _orders(frames: int, joints: int) -> tuple[Any, Any]:
    """Token of each step in the four directions (4, L), and each token's limb partner (L,)."""
    grid = np.arange(frames * joints).reshape(frames, joints)
    rows, columns = grid.reshape(-1), grid.T.reshape(-1)
    order = np.stack([rows, columns, rows[::-1], columns[::-1]])
    partner = grid[:, list(LIMB_PARTNER)].reshape(-1)
    return np.ascontiguousarray(order), np.ascontiguousarray(partner)


class _Scan(torch.autograd.Function):
    """Projection and scan as one node: values (B, T, J, D) to (B, T, J, D).

    The limb orders (0 and 2) see the sum of two joints, and the projection is linear: the
    plain values are projected once, in SLOTS order, and the partner's projection is added
    to the first two slots.
    """

    @staticmethod
    def forward(
        ctx: Any,
        values: Tensor,
        x_proj: Tensor,
        dt_weight: Tensor,
        dt_bias: Tensor,
        a: Tensor,
        skip: Tensor,
        integer: bool,
        training: bool,
    ) -> Tensor:
        batch, frames, joints, channels = values.shape
        width, length, rank = x_proj.shape[1], frames * joints, dt_weight.shape[-1]
        u = values.detach().contiguous().view(-1, channels)
        weight = x_proj.detach()[list(SLOTS)].flatten(0, 1)
        p = torch.mm(u, weight.T)
        limb = p.view(batch * frames, joints, DIRECTIONS * width)[..., : 2 * width]
        limb.copy_(torch.matmul(limb_matrix(values), limb))
        prm = pack_parameters(*(t.detach().numpy() for t in (dt_weight, dt_bias, a, skip)))
        order, partner = _orders(frames, joints)
        chunks = -(-length // CHUNK) if training else 0
        kept = np.empty((batch, DIRECTIONS, chunks, channels // LANES, BLOCK), np.float32)
        y = torch.zeros_like(u).view(batch, length, channels)
        u3 = u.view(batch, length, channels).numpy()
        p4 = p.view(batch, length, DIRECTIONS, width).numpy()
        scan_forward(u3, p4, prm, order, partner, rank, integer, y.numpy(), kept)
        ctx.saved = (u3, p4, weight, prm, order, partner, rank, integer, kept)
        return y.view(values.shape)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        u, p, weight, prm, order, partner, rank, integer, kept = ctx.saved
        shape = grads[0].shape
        channels, width = shape[-1], p.shape[-1]
        dy = grads[0].detach().contiguous().view(u.shape).numpy()
        du, dp = torch.zeros(u.shape), torch.zeros(p.shape)
        dprm = np.zeros((len(u), *prm.shape), np.float32)
        scan_backward(
            u, p, prm, order, partner, rank, integer, kept, dy, du.numpy(), dp.numpy(), dprm
        )
        limb = dp.view(-1, shape[2], DIRECTIONS * width)[..., : 2 * width]
        limb.copy_(torch.matmul(limb_matrix(limb).T, limb))
        flat = dp.view(-1, DIRECTIONS * width)
        d_weight = torch.mm(flat.T, torch.from_numpy(u).view(-1, channels))
        d_weight = d_weight.view(DIRECTIONS, width, channels)[list(SLOTS)]  # SLOTS: own inverse
        d_values = du.view(-1, channels).addmm_(flat, weight).view(shape)
        total = dprm.sum(0).transpose(0, 1, 3, 2)  # (K, D/16, 16, rows)
        rows = torch.from_numpy(np.ascontiguousarray(total)).view(DIRECTIONS, channels, -1)
        d_a = None if integer else rows[..., rank + 1 : rank + 1 + STATES]
        return d_values, d_weight, rows[..., :rank], rows[..., rank], d_a, rows[..., -1], None, None


def scan(values: Tensor, parameters: ScanParameters) -> Tensor:
    """Four-directional selective scan on the CPU (see interface.ScanFunction).

    Raises:
        ValueError: for shapes the kernels are not made for (16 states, channels in 16s).
    """
    channels = values.shape[-1]
    if parameters.d_state != STATES or channels % LANES:
        raise ValueError(
            f"the CPU scan needs {STATES} states and channels in multiples of {LANES}, "
            f"not {parameters.d_state} and {channels}"
        )
    training = torch.is_grad_enabled() and (values.requires_grad or parameters.x_proj_weight.requires_grad)
    shape = (DIRECTIONS, channels)
    a = -torch.exp(parameters.a_logs).unflatten(0, shape)
    out: Tensor = _Scan.apply(
        values,
        parameters.x_proj_weight,
        parameters.dt_projs_weight,
        parameters.dt_projs_bias,
        a,
        parameters.ds.unflatten(0, shape),
        parameters.integer_decay,
        training,
    )
    return out
