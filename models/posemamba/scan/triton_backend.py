"""The GPU backend: fused Triton kernels behind torch autograd.

Needs Triton and a CUDA device, and no compiler beyond the small C one with which Triton
builds its launcher; runs in Triton's CPU interpreter too (TRITON_INTERPRET=1), for tests.
"""

from __future__ import annotations

import functools
from typing import Any, Final

import torch
from torch import Tensor

from posemamba.scan import triton_kernels as kernels
from posemamba.scan.interface import DIRECTIONS, ScanParameters, limb_partner
from posemamba.scan.reference import init_state, step
from posemamba.skeleton import LIMB_PARTNER

__all__ = ["conv_silu", "init_state", "probe", "scan", "scan_directions", "step"]

CHUNK: Final = 32
"""Steps of a scan that one program takes: registers per thread grow with it."""
TILE: Final = 32
"""Chunks that the scan over the chunks takes at a time."""
CONV_CHUNK: Final = 16


def probe(device: torch.device | str) -> None:
    """Compile and run a kernel of one instruction.

    Raises:
        Exception: of any kind, where Triton cannot be used on `device`.
    """
    number = torch.ones(1, device=device)
    kernels.increment[(1,)](number)
    if number.item() != 2.0:
        raise RuntimeError("a Triton kernel gave a wrong answer")


def _block(channels: int) -> int:
    """Channels of one program: a warp's, one each."""
    if channels % 16:
        raise ValueError(f"the Triton scan needs channels in multiples of 16, not {channels}")
    return 32 if channels % 32 == 0 else 16


def chunk_count(frames: int, joints: int, causal: bool) -> int:
    """Most chunks that any direction of frames x joints has."""
    whole = -(-frames * joints // CHUNK)
    return max(whole, joints * -(-frames // CHUNK)) if causal else whole


@functools.cache
def _limb_children(device: torch.device) -> Tensor:
    """(17, n) joints whose partner each joint is; the index after the last joint is none."""
    joints = range(len(LIMB_PARTNER))
    children = [[j for j in joints if LIMB_PARTNER[j] == i] for i in joints]
    most = max(map(len, children))
    none = len(LIMB_PARTNER)
    padded = [own + [none] * (most - len(own)) for own in children]
    return torch.tensor(padded, device=device)


def limb_adjoint(gradient: Tensor) -> Tensor:
    """Gradient of joint values from that of limb values; joints in dimension -2."""
    none = torch.zeros_like(gradient[..., :1, :])
    padded = torch.cat([gradient, none], -2)
    out = gradient.clone()
    for column in _limb_children(gradient.device).T:
        out += padded.index_select(-2, column)
    return out


def _project(u: Tensor, weight: Tensor) -> Tensor:
    """(B, L, D) values, (E, D) weight to (B, E, L): neighbouring tokens side by side."""
    batch = u.shape[0]
    return torch.bmm(weight.to(u.dtype).expand(batch, -1, -1), u.transpose(1, 2))


class _Launch:
    """Sizes that the scan kernels of one call share."""

    def __init__(self, values: Tensor, rank: int, states: int, integer: bool, causal: bool) -> None:
        batch, frames, joints, channels = values.shape
        self.batch, self.channels, self.states = batch, channels, states
        self.block = _block(channels)
        self.chunks = chunk_count(frames, joints, causal)
        self.sizes = (frames, self.chunks)
        self.grid = (self.chunks, channels // self.block, batch * DIRECTIONS)
        self.order = {
            "CAUSAL": causal,
            "CHANNELS": channels,
            "STATES": states,
            "JOINTS": joints,
            "CHUNK": CHUNK,
        }
        self.own = {
            **self.order,
            "INTEGER": integer,
            "RANK": rank,
            "BLOCK": self.block,
            "num_warps": 1,
        }
        self.empty = functools.partial(torch.empty, dtype=torch.float32, device=values.device)

    def states_of_chunks(self) -> Tensor:
        return self.empty(self.batch * DIRECTIONS, self.chunks, self.states, self.channels)

    def carry(self, ends: Tensor, totals: Tensor, a_logs: Tensor, reverse: bool) -> Tensor:
        """What arrives at each chunk from those before it (after it, if `reverse`)."""
        starts = torch.empty_like(ends)
        grid = (self.batch * DIRECTIONS, self.states, self.channels // self.block)
        kernels.carry[grid](
            ends, totals, a_logs, starts, *self.sizes,
            REVERSE=reverse, TILE=TILE, BLOCK=self.block, num_warps=1, **self.order,
        )  # fmt: skip
        return starts


def _forward(
    values: Tensor, p: Tensor, parameters: ScanParameters
) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs of the directions (4, B, T, J, D), states before the chunks, their sums of dt."""
    launch = _Launch(
        values,
        parameters.dt_rank,
        parameters.d_state,
        parameters.integer_decay,
        parameters.causal,
    )
    partner = limb_partner(values.device)
    ends = launch.states_of_chunks()
    totals = launch.empty(launch.batch * DIRECTIONS, launch.chunks, launch.channels)
    dt_weight, dt_bias = parameters.dt_projs_weight, parameters.dt_projs_bias
    shared = (values, p, dt_weight, dt_bias, parameters.a_logs)
    kernels.chunk_states[launch.grid](*shared, partner, ends, totals, *launch.sizes, **launch.own)
    starts = launch.carry(ends, totals, parameters.a_logs, reverse=False)
    y = launch.empty(DIRECTIONS, *values.shape)
    kernels.chunk_outputs[launch.grid](
        *shared, parameters.ds, partner, starts, y, *launch.sizes, launch.batch, **launch.own
    )
    return y, starts, totals


class _Scan(torch.autograd.Function):
    """Projection and scan as one node: values (B, T, J, D) to (B, T, J, D)."""

    @staticmethod
    def forward(
        ctx: Any,
        values: Tensor,
        x_proj: Tensor,
        dt_weight: Tensor,
        dt_bias: Tensor,
        a_logs: Tensor,
        ds: Tensor,
        integer: bool,
        causal: bool,
    ) -> Tensor:
        values = values.contiguous()
        p = _project(values.flatten(1, 2), x_proj.flatten(0, 1))
        dt_weight, dt_bias, a_logs, ds = (t.contiguous() for t in (dt_weight, dt_bias, a_logs, ds))
        parameters = ScanParameters(x_proj, dt_weight, dt_bias, a_logs, ds, integer, causal)
        y, starts, totals = _forward(values, p, parameters)
        ctx.save_for_backward(values, p, x_proj, dt_weight, dt_bias, a_logs, ds, starts, totals)
        ctx.flags = integer, causal
        return y.sum(0).to(values.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        values, p, x_proj, dt_weight, dt_bias, a_logs, ds, starts, totals = ctx.saved_tensors
        integer, causal = ctx.flags
        batch, frames, joints, channels = values.shape
        rank, states = dt_weight.shape[-1], a_logs.shape[-1]
        launch = _Launch(values, rank, states, integer, causal)
        partner = limb_partner(values.device)
        dy = grads[0].contiguous()
        pulls = launch.states_of_chunks()
        parameters = (dt_weight, dt_bias, a_logs)
        kernels.chunk_pulls[launch.grid](
            p, *parameters, partner, dy, pulls, *launch.sizes, **launch.own
        )
        arriving = launch.carry(pulls, totals, a_logs, reverse=True)
        dx = launch.empty(DIRECTIONS, *values.shape)
        dp = launch.empty(channels // launch.block, *p.shape)
        dprm = launch.empty(batch, DIRECTIONS, launch.chunks, states + 2 + rank, channels)
        kernels.chunk_gradients[launch.grid](
            values, p, *parameters, ds, partner, starts, arriving, dy, dx, dp, dprm,
            *launch.sizes, batch, **launch.own,
        )  # fmt: skip

        # From limb values and their projections back to the joints'.
        rows = dp.sum(0).view(batch, DIRECTIONS, -1, frames, joints)
        rows[:, ::2] = limb_adjoint(rows[:, ::2].unsqueeze(-1)).squeeze(-1)
        flat = rows.flatten(1, 2).flatten(2).to(values.dtype)
        d_values = (limb_adjoint(dx[0] + dx[2]) + dx[1] + dx[3]).to(values.dtype)
        weight = x_proj.flatten(0, 1).to(values.dtype)
        d_values = d_values + (flat.transpose(1, 2) @ weight).view_as(values)
        d_x_proj = torch.bmm(flat, values.flatten(1, 2)).float().sum(0).view_as(x_proj)
        shares = dprm.sum((0, 2)).transpose(1, 2)  # (4, D, STATES + 2 + RANK)
        d_a_logs = None if integer else shares[..., :states].flatten(0, 1).to(a_logs.dtype)
        d_ds, d_bias = shares[..., states].flatten(), shares[..., states + 1]
        d_weight = shares[..., states + 2 :]
        return (
            d_values, d_x_proj.to(x_proj.dtype), d_weight.to(dt_weight.dtype),
            d_bias.to(dt_bias.dtype), d_a_logs, d_ds.to(ds.dtype), None, None,
        )  # fmt: skip


def scan(values: Tensor, parameters: ScanParameters) -> Tensor:
    """Four-directional selective scan on CUDA (see interface.ScanFunction).

    Values may be float32, bfloat16 or float16; states and sums are float32.

    Raises:
        ValueError: if the channels are not a multiple of 16.
    """
    out: Tensor = _Scan.apply(  # type: ignore[no-untyped-call]
        values,
        parameters.x_proj_weight,
        parameters.dt_projs_weight,
        parameters.dt_projs_bias,
        parameters.a_logs,
        parameters.ds,
        parameters.integer_decay,
        parameters.causal,
    )
    return out


@torch.no_grad()
def scan_directions(values: Tensor, parameters: ScanParameters) -> Tensor:
    """The four scans before they are summed, (4, B, T, 17, D) float32, without gradients."""
    values = values.contiguous()
    p = _project(values.flatten(1, 2), parameters.x_proj_weight.flatten(0, 1))
    y, _, _ = _forward(values, p, parameters)
    return y


def _conv_launch(values: Tensor, causal: bool) -> tuple[Any, tuple[int, int], dict[str, Any]]:
    batch, frames, joints, channels = values.shape
    block = _block(channels)
    grid = (-(-frames * joints // CONV_CHUNK), channels // block, batch)
    options = {"JOINTS": joints, "CHUNK": CONV_CHUNK, "BLOCK": block, "num_warps": 1}
    return grid, (frames, channels), {**options, "CENTRE": 2 if causal else 1}


def _token_stride(values: Tensor) -> int | None:
    """Distance of neighbouring tokens where the layout is otherwise dense, else None."""
    stride = values.stride(2)
    batch, frames, joints, _ = values.shape
    wanted = (frames * joints * stride, joints * stride, stride, 1)
    return stride if values.stride() == wanted or batch * frames == 1 else None


class _ConvSilu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: Tensor, bias: Tensor, causal: bool) -> Tensor:
        stride = _token_stride(values)
        if stride is None:
            values = values.contiguous()
            stride = values.shape[-1]
        weight, bias = weight.contiguous(), bias.contiguous()
        out = torch.empty(values.shape, dtype=values.dtype, device=values.device)
        grid, sizes, options = _conv_launch(values, causal)
        kernels.convolve[grid](values, weight, bias, out, *sizes, stride, ADJOINT=False, **options)
        ctx.save_for_backward(values, weight, bias)
        ctx.causal, ctx.stride = causal, stride
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        values, weight, bias = ctx.saved_tensors
        grid, sizes, options = _conv_launch(values, ctx.causal)
        dy = grads[0].contiguous()
        dz = torch.empty(values.shape, dtype=torch.float32, device=values.device)
        dprm = torch.empty(values.shape[0], grid[0], 10, sizes[1], device=values.device)
        kernels.convolve_gradients[grid](
            values, weight, bias, dy, dz, dprm, *sizes, ctx.stride, **options
        )
        d_values = torch.empty(values.shape, dtype=values.dtype, device=values.device)
        kernels.convolve[grid](
            dz, weight, bias, d_values, *sizes, sizes[1], ADJOINT=True, **options
        )
        shares = dprm.sum((0, 1))
        return d_values, shares[:9].T.reshape(weight.shape), shares[9], None


def conv_silu(values: Tensor, weight: Tensor, bias: Tensor | None, causal: bool = False) -> Tensor:
    """3x3 depth-wise convolution over frames x joints, then SiLU (see backends.Backend)."""
    if bias is None:
        bias = torch.zeros_like(weight[:, 0, 0, 0])
    out: Tensor = _ConvSilu.apply(values, weight, bias, causal)  # type: ignore[no-untyped-call]
    return out
