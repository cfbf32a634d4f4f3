"""The CPU backend: Numba kernels behind torch autograd."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, TypeAlias

import numba
import numpy as np
import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from posemamba.cpu.forward import orders
from posemamba.cpu.scan_kernels import (
    BLOCK,
    SLOTS,
    STATES,
    chunk_count,
    pack_parameters,
    scan_backward,
    scan_backward_parallel,
    scan_forward,
    scan_forward_parallel,
    scan_step,
)
from posemamba.cpu.simd import LANES
from posemamba.linear import linear
from posemamba.scan.interface import DIRECTIONS, ScanParameters, limb_matrix
from posemamba.scan.reference import conv_silu

__all__ = ["conv_silu", "init_state", "scan", "step"]


def _keep_freed_memory() -> None:
    """Make glibc keep the memory of freed activations instead of returning it each time.

    Its limits follow the largest block that was ever freed (mallopt(3), M_MMAP_THRESHOLD), up
    to 32 MiB. Otherwise tens of thousands of page faults go into a forward pass of 243 frames,
    up to a fifth of its time. The block itself is never touched and so costs nothing.
    """
    np.empty(31 << 20, np.uint8)


_keep_freed_memory()


def _threads() -> int:
    """Threads for the next kernel: torch's setting, which Numba is made to follow.

    Numba's OpenMP layer shares torch's thread pool and would change its size.
    """
    wanted = min(torch.get_num_threads(), int(numba.config.NUMBA_NUM_THREADS))
    if wanted > 1 and numba.get_num_threads() != wanted:
        threads = torch.get_num_threads()
        numba.set_num_threads(wanted)
        torch.set_num_threads(threads)
    return wanted


@functools.cache
def _limb_matrix() -> Tensor:
    with torch.inference_mode(False):
        return limb_matrix(torch.empty(0))


@dataclass(frozen=True, slots=True)
class _Prepared:
    """Parameters as the kernels take them."""

    made_from: tuple[int, ...]
    """Addresses and versions of the parameters."""
    weight: Tensor
    """(4E, D) projection of the values, in SLOTS order."""
    packed: Any
    """See `pack_parameters`."""


_prepared = WeakIdKeyDictionary()
"""By x_proj_weight: what `_prepare` made of frozen parameters."""


def _prepare(parameters: ScanParameters, channels: int) -> _Prepared:
    """Rearrange parameters; once for all where they are frozen, as in a loaded network."""
    tensors = parameters.tensors()
    frozen = not any(t.requires_grad or t.is_inference() for t in tensors)
    made_from = tuple(n for t in tensors for n in (t.data_ptr(), t._version)) if frozen else ()
    known: _Prepared | None = _prepared.get(parameters.x_proj_weight) if frozen else None
    if known is not None and known.made_from == made_from:
        return known
    with torch.no_grad(), torch.inference_mode(False):
        weight = parameters.x_proj_weight[list(SLOTS)].flatten(0, 1)
        rows = (
            parameters.dt_projs_weight,
            parameters.dt_projs_bias,
            parameters.a(channels),
            parameters.skip(channels),
        )
        made = _Prepared(made_from, weight, pack_parameters(*(t.detach().numpy() for t in rows)))
    if frozen:
        _prepared[parameters.x_proj_weight] = made
    return made


KernelInputs: TypeAlias = tuple[Any, Any, Any, Any, Any, Any, int, bool]
"""Arrays (B, L, D) of values and (B, L, K, E) of their projection, packed parameters, the token of
each step in every direction (K, L), steps between fresh starts (K,), limb partners (L,), rank of
dt, and whether A is -1 ... -N."""


def _forward(values: Tensor, parameters: ScanParameters, keep: bool) -> tuple[Tensor, Any]:
    """The scans of (B, T, J, D) values, and with `keep` what their gradient needs."""
    batch, frames, joints, channels = values.shape
    length = frames * joints
    u = values.detach().contiguous().view(batch, length, channels)
    prepared = _prepare(parameters, channels)
    p = _project(u, prepared.weight, joints)
    order, segment, partner = orders(frames, joints, parameters.causal)
    rank, integer = parameters.dt_rank, parameters.integer_decay
    inputs = (u.numpy(), p.numpy(), prepared.packed, order, segment, partner, rank, integer)
    y, kept = run_forward(inputs, keep)
    return y.view(values.shape), (inputs, kept, prepared.weight) if keep else None


def run_forward(inputs: KernelInputs, keep: bool) -> tuple[Tensor, Any]:
    """The scans, (B, L, D), and with `keep` the states that `run_backward` needs."""
    u, _, _, order, segment, *_ = inputs
    batch, length, channels = u.shape
    chunks = chunk_count(segment.tolist(), length) if keep else 0
    kept = np.empty((batch, len(order), chunks, channels // LANES, BLOCK), np.float32)
    y = torch.zeros(u.shape)
    threads = _threads()
    if threads > 1:
        # Blocks of one sample share its projection in the cache, but few samples leave cores idle.
        group = channels // LANES if batch >= threads else 1
        scan_forward_parallel(*inputs, y.numpy(), kept, group)
    else:
        scan_forward(*inputs, y.numpy(), kept)
    return y, kept


def run_backward(inputs: KernelInputs, kept: Any, dy: Tensor) -> tuple[Tensor, Tensor, Any]:
    """Gradients of values and projection, and of the packed parameters per sample."""
    u, p, packed, *_ = inputs
    du, dp = torch.zeros(u.shape), torch.zeros(p.shape)
    dprm = np.zeros((len(u), *packed.shape), np.float32)
    backward = scan_backward_parallel if _threads() > 1 else scan_backward
    flat = dy.detach().contiguous().view(u.shape).numpy()
    backward(*inputs, kept, flat, du.numpy(), dp.numpy(), dprm)
    return du, dp, dprm


class _Scan(torch.autograd.Function):
    """Projection and scan as one node: values (B, T, J, D) to (B, T, J, D)."""

    @staticmethod
    def forward(
        ctx: Any,
        values: Tensor,
        x_proj: Tensor,
        dt_weight: Tensor,
        dt_bias: Tensor,
        a: Tensor,
        skip: Tensor,
        parameters: ScanParameters,
    ) -> Tensor:
        # The tensors between values and parameters are here for autograd to see.
        y, ctx.saved = _forward(values, parameters, keep=True)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        inputs, kept, weight = ctx.saved
        u, p, *_, rank, integer = inputs
        shape = grads[0].shape
        channels, width = shape[-1], p.shape[-1]
        du, dp, dprm = run_backward(inputs, kept, grads[0])
        limb = dp.view(-1, shape[2], DIRECTIONS * width)[..., : 2 * width]
        limb.copy_(torch.matmul(_limb_matrix().T, limb))
        flat = dp.view(-1, DIRECTIONS * width)
        d_weight = torch.mm(flat.T, torch.from_numpy(u).view(-1, channels))
        d_weight = d_weight.view(DIRECTIONS, width, channels)[list(SLOTS)]  # SLOTS: own inverse
        d_values = du.view(-1, channels).addmm_(flat, weight).view(shape)
        total = dprm.sum(0).transpose(0, 1, 3, 2)  # (K, D/16, 16, rows)
        rows = torch.from_numpy(np.ascontiguousarray(total)).view(DIRECTIONS, channels, -1)
        d_a = None if integer else rows[..., rank + 1 : rank + 1 + STATES]
        d_dt, d_bias, d_skip = rows[..., :rank], rows[..., rank], rows[..., -1]
        return d_values, d_weight, d_dt, d_bias, d_a, d_skip, None


def _project(u: Tensor, weight: Tensor, joints: int) -> Tensor:
    """dt, B, C of every token and direction: (B, L, D) to (B, L, 4, E), in SLOTS order.

    The limb orders (0 and 2) see the sum of two joints, and the projection is linear: the
    plain values are projected once, and the partner's projection is added to two slots.
    """
    batch, length, channels = u.shape
    p = linear(u.reshape(-1, channels), weight)
    limb = p.view(-1, joints, weight.shape[0])[..., : weight.shape[0] // 2]
    limb.copy_(torch.matmul(_limb_matrix(), limb))
    return p.view(batch, length, DIRECTIONS, -1)


def _check(channels: int, parameters: ScanParameters) -> None:
    if parameters.d_state != STATES or channels % LANES:
        raise ValueError(
            f"the CPU scan needs {STATES} states and channels in multiples of {LANES}, "
            f"not {parameters.d_state} and {channels}"
        )


def scan(values: Tensor, parameters: ScanParameters) -> Tensor:
    """Four-directional selective scan on the CPU (see interface.ScanFunction).

    Raises:
        ValueError: for shapes the kernels are not made for (16 states, channels in 16s).
    """
    channels = values.shape[-1]
    _check(channels, parameters)
    if not torch.is_grad_enabled() or not any(
        t.requires_grad for t in (values, *parameters.tensors())
    ):
        return _forward(values, parameters, keep=False)[0]
    out: Tensor = _Scan.apply(  # type: ignore[no-untyped-call]
        values,
        parameters.x_proj_weight,
        parameters.dt_projs_weight,
        parameters.dt_projs_bias,
        parameters.a(channels),
        parameters.skip(channels),
        parameters,
    )
    return out


def init_state(batch: int, joints: int, channels: int) -> Tensor:
    """State of a causal scan before its first frame (see `scan_step`)."""
    return torch.zeros(batch, channels // LANES, 2 + 2 * joints, BLOCK)


@torch.no_grad()
def step(values: Tensor, parameters: ScanParameters, state: Tensor) -> Tensor:
    """One frame (B, 17, D) of a causal scan; `state` is updated in place."""
    _, joints, channels = values.shape
    _check(channels, parameters)
    u = values.contiguous()
    prepared = _prepare(parameters, channels)
    p = _project(u, prepared.weight, joints)
    _, _, partner = orders(1, joints, True)
    y = torch.zeros_like(u)
    scan_step(
        u.numpy(), p.numpy(), prepared.packed, partner, parameters.dt_rank,
        parameters.integer_decay, state.numpy(), y.numpy(),
    )  # fmt: skip
    return y
