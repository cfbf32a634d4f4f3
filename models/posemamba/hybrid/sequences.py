"""One selective scan along time or along the joints, for Mamba blocks beside PoseMamba's own.

Every joint (along time) or every frame (along the joints) is a sequence of its own, whose state
begins at zero. On the CPU the kernels of the four-directional scan do it, with one direction.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from posemamba.linear import linear
from posemamba.scan.backends import get_backend
from posemamba.scan.reference import selective_scan

Axis = Literal["time", "joints"]


@dataclass(frozen=True, slots=True)
class SequenceParameters:
    """Of one scan of D channels, N = 16 states, R = dt rank."""

    x_proj: Tensor
    """(R + 2N, D): values to dt, B, C."""
    dt_weight: Tensor
    """(D, R)."""
    dt_bias: Tensor
    """(D,)."""
    a: Tensor
    """(D, N), negative."""
    skip: Tensor
    """(D,)."""
    integer_decay: bool
    """True if A is -1, -2, ... -N in every channel and not trained."""


def scan_sequences(
    values: Tensor, parameters: SequenceParameters, axis: Axis, backwards: bool = False
) -> Tensor:
    """(B, T, J, D) to (B, T, J, D)."""
    if values.device.type == "cpu" and get_backend("cpu").name == "numba":
        p = parameters
        out: Tensor = _Scan.apply(  # type: ignore[no-untyped-call]
            values, p.x_proj, p.dt_weight, p.dt_bias, p.a, p.skip, p.integer_decay, axis, backwards
        )
        return out
    return reference_scan(values, parameters, axis, backwards)


def reference_scan(
    values: Tensor, parameters: SequenceParameters, axis: Axis, backwards: bool = False
) -> Tensor:
    """`scan_sequences` in plain PyTorch, token by token."""
    grid = values.transpose(1, 2) if axis == "time" else values
    grid = grid.flip(2) if backwards else grid
    y, _ = _scan_tokens(grid.flatten(0, 1), parameters, None)
    y = y.view(grid.shape)
    y = y.flip(2) if backwards else y
    return y.transpose(1, 2) if axis == "time" else y


def step_sequences(
    values: Tensor, parameters: SequenceParameters, state: Tensor
) -> tuple[Tensor, Tensor]:
    """The next frame of scans along time.

    Args:
        values: (B, J, D). state: (B, J, D, N), zero before the first frame.

    Returns:
        (B, J, D) and the state after it.
    """
    tokens = values.flatten(0, 1)[:, None]
    y, after = _scan_tokens(tokens, parameters, state.flatten(0, 1))
    return y.view(values.shape), after.view(state.shape)


def _scan_tokens(
    x: Tensor, parameters: SequenceParameters, state: Tensor | None
) -> tuple[Tensor, Tensor]:
    rank, states = parameters.dt_weight.shape[1], parameters.a.shape[1]
    low, b, c = F.linear(x, parameters.x_proj).split([rank, states, states], -1)
    dt = F.softplus(F.linear(low, parameters.dt_weight, parameters.dt_bias))
    return selective_scan(x, dt, parameters.a, b, c, parameters.skip, state)


@functools.lru_cache(maxsize=128)
def _order(frames: int, joints: int, axis: Axis, backwards: bool) -> tuple[Any, Any, Any]:
    """Token of each step (1, L), steps between fresh starts (1,), and the tokens (L,)."""
    grid = np.arange(frames * joints).reshape(frames, joints)
    rows = grid.T if axis == "time" else grid
    rows = rows[:, ::-1] if backwards else rows
    return rows.reshape(1, -1).copy(), np.array([rows.shape[1]]), grid.reshape(-1)


class _Scan(torch.autograd.Function):
    """Projection and scan as one node."""

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
        axis: Axis,
        backwards: bool,
    ) -> Tensor:
        from posemamba.cpu.scan_kernels import pack_parameters
        from posemamba.scan.cpu import run_forward

        batch, frames, joints, channels = values.shape
        length = frames * joints
        u = values.detach().contiguous().view(batch, length, channels)
        p = linear(u, x_proj.detach()).view(batch, length, 1, -1)
        order, segment, tokens = _order(frames, joints, axis, backwards)
        rows = (dt_weight, dt_bias, a, skip)
        prm = pack_parameters(*(t.detach().numpy()[None] for t in rows))
        keep = any(ctx.needs_input_grad)
        rank = dt_weight.shape[1]
        inputs = (u.numpy(), p.numpy(), prm, order, segment, tokens, rank, integer)
        y, kept = run_forward(inputs, keep)
        if keep:
            ctx.saved = (inputs, kept, x_proj.detach())
        return y.view(values.shape)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        from posemamba.scan.cpu import run_backward

        inputs, kept, x_proj = ctx.saved
        u, p, *_, rank, integer = inputs
        du, dp, dprm = run_backward(inputs, kept, grads[0])
        channels = u.shape[-1]
        flat = dp.view(-1, p.shape[-1])
        d_x_proj = flat.T @ torch.from_numpy(u).view(-1, channels)
        d_values = du.view(-1, channels).addmm_(flat, x_proj).view(grads[0].shape)
        total = dprm.sum((0, 1)).transpose(0, 2, 1).reshape(channels, -1)  # (D, rows)
        rows = torch.from_numpy(np.ascontiguousarray(total))
        d_a = None if integer else rows[:, rank + 1 : -1]
        return (
            d_values, d_x_proj, rows[:, :rank], rows[:, rank], d_a, rows[:, -1], None, None, None
        )  # fmt: skip
