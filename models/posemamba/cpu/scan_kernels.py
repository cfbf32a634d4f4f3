"""Numba kernels of the four-directional scan: forward and backward, 16 channels at a time.

Layout: tokens are frames x joints (token = frame * J + joint), channels are contiguous.
One work item is one sample; its four directions run one after the other on one thread and
accumulate in place. Within a direction, the blocks of 16 channels take turns chunk by chunk
(CHUNK tokens): first what does not depend on the state, for all tokens of the chunk, then
their states. The 16 states of 16 channels (1 KiB) stay in the first-level cache.

Parameters of a (direction, channel block) are packed in one row (`pack_parameters`):
R rows of dt projection, dt bias, 16 rows of A * log2(e), skip; 16 floats each.

Backward keeps the state every CHUNK tokens (written by the forward pass), recomputes the
states of one chunk and walks it in reverse.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import njit, prange, types
from numba.core import cgutils
from numba.extending import intrinsic

from posemamba.cpu.simd import LANES, LOG2E, WIDE, Lanes, pointers

STATES: Final = 16
CHUNK: Final = 16
"""Tokens between kept states."""
BLOCK: Final = STATES * LANES
"""Floats of one channel block's state."""
READY: Final = 4 * LANES
"""Floats that are prepared of a token and a channel block."""

SLOTS: Final = (0, 2, 1, 3)
"""Where each direction's projection is stored: the two limb orders side by side."""

_Array = types.Array(types.float32, 1, "C")
_INDEX = ir.IntType(64)


def _at(builder: Any, offset: Any, rows: int) -> Any:
    """Offset moved on by rows of 16 lanes."""
    return builder.add(offset, ir.Constant(_INDEX, rows * LANES))


def _project_dt(v: Lanes, prm: Any, row: Any, p: Any, token: Any, rank: Any) -> Any:
    """dt before softplus: bias + sum over r of weight[r] * p[r]."""
    b = v.b
    bias_at = b.add(row, b.mul(rank, ir.Constant(_INDEX, LANES)))
    total = cgutils.alloca_once_value(b, v.load(prm, bias_at))
    with cgutils.for_range(b, rank) as loop:
        weight = v.load(prm, b.add(row, b.mul(loop.index, ir.Constant(_INDEX, LANES))))
        factor = v.load_splat(p, b.add(token, loop.index))
        b.store(v.fma(weight, factor, b.load(total)), total)
    return b.load(total)


class _Decay:
    """exp(dt A) of the states in turn: general, or powers where A is -1, -2, ... -16."""

    def __init__(self, v: Lanes, dt: Any, base: Any, prm: Any, a_row: Any, integer: bool) -> None:
        self.v, self.dt, self.prm, self.a_row, self.integer = v, dt, prm, a_row, integer
        self.powers = [base]

    def __getitem__(self, n: int) -> Any:
        if not self.integer:
            return self.v.exp2(self.v.mul(self.dt, self.a(n)))
        if n == len(self.powers):
            # With registers for many powers, halving keeps the chain of products short. With
            # few, only the last two may be needed, and the second.
            factor = n // 2 if WIDE or n < 2 else 1
            self.powers.append(self.v.mul(self.powers[n - 1 - factor], self.powers[factor]))
        return self.powers[n]

    def a(self, n: int) -> Any:
        """A * log2(e) of state n."""
        return self.v.load(self.prm, _at(self.v.b, self.a_row, n))


def _prepare_token(
    typingctx: Any, u: Any, u_at: Any, w_at: Any, mix: Any, p: Any, p_at: Any,
    prm: Any, prm_at: Any, rank: Any, ready: Any, ready_at: Any,
) -> Any:  # fmt: skip
    """What of a token does not depend on the state: x, dt, d(softplus), exp(-dt); 16 channels.

    x = u[u_at] + mix * u[w_at] (the limb partner's values). Done for a chunk of tokens before
    their states, as dt is a long chain of operations that nothing else could fill.
    """
    i, f = types.intp, types.float32
    signature = types.void(_Array, i, i, f, _Array, i, _Array, i, i, _Array, i)

    def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
        u, u_at, w_at, mix, p, p_at, prm, prm_at, rank, ready, ready_at = pointers(
            context, b, sig, args
        )
        v = Lanes(b)
        x = v.fma(v.splat(mix), v.load(u, w_at), v.load(u, u_at))
        rows = (x, *v.softplus(_project_dt(v, prm, prm_at, p, p_at, rank)))
        for n, row in enumerate(rows):
            v.store(row, ready, _at(b, ready_at, n))
        return context.get_dummy_value()

    return signature, codegen


def _lanes() -> Any:
    return ir.Constant(_INDEX, LANES)


def _make_forward_token(integer: bool) -> Callable[..., Any]:
    def forward_token(
        typingctx: Any, p: Any, p_at: Any, prm: Any, prm_at: Any, rank: Any,
        ready: Any, ready_at: Any, h: Any, h_at: Any, y: Any, y_at: Any,
    ) -> Any:  # fmt: skip
        """One token of 16 channels: h = decay h + dt B x; y += C h + D x."""
        i = types.intp
        signature = types.void(_Array, i, _Array, i, i, _Array, i, _Array, i, _Array, i)

        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            p, p_at, prm, prm_at, rank, ready, ready_at, h, h_at, y, y_at = pointers(
                context, b, sig, args
            )
            a_at = b.add(prm_at, b.mul(b.add(rank, ir.Constant(_INDEX, 1)), _lanes()))
            b_at = b.add(p_at, rank)
            c_at = b.add(b_at, ir.Constant(_INDEX, STATES))
            v = Lanes(b)
            x, dt, base = (v.load(ready, _at(b, ready_at, row)) for row in (0, 1, 3))
            decay = _Decay(v, dt, base, prm, a_at, integer)
            dtx = v.mul(dt, x)
            skip = v.load(prm, _at(b, a_at, STATES))
            sums = [v.fma(skip, x, v.load(y, y_at)), v.const(0.0)]
            for n in range(STATES):
                at = ir.Constant(_INDEX, n)
                state = v.fma(
                    decay[n],
                    v.load(h, _at(b, h_at, n)),
                    v.mul(dtx, v.load_splat(p, b.add(b_at, at))),
                )
                v.store(state, h, _at(b, h_at, n))
                sums[n % 2] = v.fma(state, v.load_splat(p, b.add(c_at, at)), sums[n % 2])
            v.store(v.add(sums[0], sums[1]), y, y_at)
            return context.get_dummy_value()

        return signature, codegen

    return forward_token


def _make_replay_token(integer: bool) -> Callable[..., Any]:
    def replay_token(
        typingctx: Any, p: Any, p_at: Any, prm: Any, prm_at: Any, rank: Any,
        ready: Any, ready_at: Any, h: Any, h_at: Any, dy: Any, dy_at: Any, dp: Any, dp_at: Any,
    ) -> Any:  # fmt: skip
        """Recompute the state after a token, and add the gradient of C to dp.

        Reads the state before the token at h_at and writes the one after it one block on.
        """
        i = types.intp
        signature = types.void(
            _Array, i, _Array, i, i, _Array, i, _Array, i, _Array, i, _Array, i
        )  # fmt: skip

        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            (p, p_at, prm, prm_at, rank, ready, ready_at, h, h_at, dy, dy_at, dp, dp_at) = pointers(
                context, b, sig, args
            )
            v = Lanes(b)
            a_at = b.add(prm_at, b.mul(b.add(rank, ir.Constant(_INDEX, 1)), _lanes()))
            x, dt, base = (v.load(ready, _at(b, ready_at, row)) for row in (0, 1, 3))
            decay = _Decay(v, dt, base, prm, a_at, integer)
            dtx = v.mul(dt, x)
            dout = v.load(dy, dy_at)
            b_at = b.add(p_at, rank)
            d_c = v.summing()
            for n in range(STATES):
                state = v.fma(
                    decay[n],
                    v.load(h, _at(b, h_at, n)),
                    v.mul(dtx, v.load_splat(p, b.add(b_at, ir.Constant(_INDEX, n)))),
                )
                v.store(state, h, _at(b, h_at, STATES + n))
                d_c.append(v.mul(dout, state))
            _accumulate(v, d_c.result(), dp, _at(b, b.add(dp_at, rank), 1))
            return context.get_dummy_value()

        return signature, codegen

    return replay_token


def _accumulate(v: Lanes, value: Any, pointer: Any, at: Any) -> None:
    v.store(v.add(v.load(pointer, at), value), pointer, at)


def _make_backward_token(integer: bool) -> Callable[..., Any]:
    def backward_token(
        typingctx: Any, p: Any, p_at: Any, prm: Any, prm_at: Any, rank: Any, h: Any, h_at: Any,
        ready: Any, ready_at: Any, dy: Any, dy_at: Any, g: Any, g_at: Any,
        dp: Any, dp_at: Any, dprm: Any, dprm_at: Any, du: Any, u_at: Any, w_at: Any, mix: Any,
    ) -> Any:  # fmt: skip
        """Adjoint of forward_token; g carries the gradient of the state backwards.

        dp receives the gradient of dt and B, summed over the channels (C's is replay_token's);
        dprm that of the packed parameters (A as gradient of A itself); du that of the values.
        """
        i, f = types.intp, types.float32
        signature = types.void(
            _Array, i, _Array, i, i, _Array, i, _Array, i, _Array, i, _Array, i,
            _Array, i, _Array, i, _Array, i, i, f,
        )  # fmt: skip

        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            (
                p, p_at, prm, prm_at, rank, h, h_at, ready, ready_at, dy, dy_at, g, g_at,
                dp, dp_at, dprm, dprm_at, du, u_at, w_at, mix,
            ) = pointers(context, b, sig, args)  # fmt: skip
            v = Lanes(b)
            x, dt, base = (v.load(ready, _at(b, ready_at, row)) for row in (0, 1, 3))
            dout = v.load(dy, dy_at)
            bias_row = b.mul(rank, _lanes())
            a_at = b.add(b.add(prm_at, bias_row), _lanes())
            da_at = b.add(b.add(dprm_at, bias_row), _lanes())
            decay = _Decay(v, dt, base, prm, a_at, integer)
            dtx = v.mul(dt, x)
            b_at = b.add(p_at, rank)
            c_at = b.add(b_at, ir.Constant(_INDEX, STATES))
            d_dtx, d_dt, total = v.const(0.0), v.const(0.0), v.const(0.0)
            d_b = v.summing()
            for n in range(STATES):
                at = ir.Constant(_INDEX, n)
                grad = v.fma(dout, v.load_splat(p, b.add(c_at, at)), v.load(g, _at(b, g_at, n)))
                before = v.load(h, _at(b, h_at, n))
                d_b.append(v.mul(grad, dtx))
                d_dtx = v.fma(grad, v.load_splat(p, b.add(b_at, at)), d_dtx)
                carried = v.mul(grad, decay[n])
                v.store(carried, g, _at(b, g_at, n))
                if integer:
                    total = v.fma(carried, before, total)
                    d_dt = v.add(d_dt, total)
                else:
                    through = v.mul(carried, before)
                    d_dt = v.fma(through, decay.a(n), d_dt)
                    _accumulate(v, v.mul(through, dt), dprm, _at(b, da_at, n))
            _accumulate(v, d_b.result(), dp, b.add(dp_at, rank))
            if integer:
                # The sum of -(n + 1) of each, from the sum of the running sums.
                d_dt = v.fma(total, v.const(-(STATES + 1.0)), d_dt)
            else:
                d_dt = v.mul(d_dt, v.const(1.0 / LOG2E))  # decay.a is A * log2(e)
            d_dt = v.fma(d_dtx, x, d_dt)
            skip = v.load(prm, _at(b, a_at, STATES))
            _accumulate(v, v.mul(dout, x), dprm, _at(b, da_at, STATES))
            d_x = v.fma(d_dtx, dt, v.mul(skip, dout))
            _accumulate(v, d_x, du, u_at)
            # After the line above is stored: root's partner is root itself.
            _accumulate(v, v.mul(d_x, v.splat(mix)), du, w_at)
            d_raw = v.mul(d_dt, v.load(ready, _at(b, ready_at, 2)))
            _accumulate(v, d_raw, dprm, b.add(dprm_at, bias_row))
            with cgutils.for_range(b, rank) as loop:
                row = b.mul(loop.index, _lanes())
                factor = v.load_splat(p, b.add(p_at, loop.index))
                _accumulate(v, v.mul(d_raw, factor), dprm, b.add(dprm_at, row))
                weight = v.load(prm, b.add(prm_at, row))
                target = b.gep(dp, [b.add(dp_at, loop.index)])
                b.store(b.fadd(b.load(target), v.lane_sum(v.mul(d_raw, weight))), target)
            return context.get_dummy_value()

        return signature, codegen

    return backward_token


_prepare = intrinsic(_prepare_token)
_forward_token = intrinsic(_make_forward_token(False))
_forward_token_integer = intrinsic(_make_forward_token(True))
_replay_token = intrinsic(_make_replay_token(False))
_replay_token_integer = intrinsic(_make_replay_token(True))
_backward_token = intrinsic(_make_backward_token(False))
_backward_token_integer = intrinsic(_make_backward_token(True))


def chunk_count(segments: Sequence[int], length: int) -> int:
    """Most chunks that any direction of `length` steps is kept in."""
    return max(length // s * -(-s // CHUNK) for s in segments)


def pack_parameters(
    dt_weight: np.ndarray[Any, Any],
    dt_bias: np.ndarray[Any, Any],
    a: np.ndarray[Any, Any],
    skip: np.ndarray[Any, Any],
) -> np.ndarray[Any, Any]:
    """Rows for the kernels.

    Args:
        dt_weight: (K, D, R), dt_bias: (K, D), a: (K, D, N), skip: (K, D).

    Returns:
        (K, D / 16, R + 1 + N + 1, 16) float32.
    """
    k, d, _ = dt_weight.shape
    rows = np.concatenate(
        [dt_weight, dt_bias[..., None], a * np.float32(LOG2E), skip[..., None]], -1
    )
    return np.ascontiguousarray(
        rows.reshape(k, d // LANES, LANES, -1).transpose(0, 1, 3, 2), dtype=np.float32
    )


_OPTIONS: Final = {"cache": True, "boundscheck": False, "error_model": "numpy", "nogil": True}


@njit(**_OPTIONS)
def forward_sample(
    sample: int, from_block: int, to_block: int, u: Any, p: Any, prm: Any, order: Any,
    segment: Any, partner: Any, rank: int, integer: bool, y: Any, kept: Any,
) -> None:  # fmt: skip
    """The four scans of one sample's channel blocks from one to (without) another.

    The blocks take turns chunk by chunk, so that the chunk's tokens are fetched once for all.
    """
    _, length, channels = u.shape
    blocks = channels // LANES
    width = p.shape[3]
    rows = prm.shape[2] * LANES
    keep = kept.size > 0
    chunks = kept.shape[2]
    flat_u, flat_p, flat_prm = u.reshape(-1), p.reshape(-1), prm.reshape(-1)
    flat_y, flat_kept = y.reshape(-1), kept.reshape(-1)
    states = np.empty((to_block - from_block) * BLOCK, np.float32)
    ready = np.empty(CHUNK * READY, np.float32)
    directions = order.shape[0]
    limbs = directions == 4
    for k in range(directions):
        mix = np.float32(1.0 - k % 2) if limbs else np.float32(0.0)
        slot = SLOTS[k] if limbs else k
        per_segment = (segment[k] + CHUNK - 1) // CHUNK
        for chunk in range(length // segment[k] * per_segment):
            within = chunk % per_segment
            first = chunk // per_segment * segment[k] + within * CHUNK
            count = min(CHUNK, segment[k] - within * CHUNK)
            if within == 0:
                states[:] = 0.0
            for block in range(from_block, to_block):
                base = sample * length * channels + block * LANES
                prm_at = (k * blocks + block) * rows
                h_at = (block - from_block) * BLOCK
                if keep:
                    at = (((sample * directions + k) * chunks + chunk) * blocks + block) * BLOCK
                    for n in range(BLOCK):  # slices would bring Numba's messages about shapes
                        flat_kept[at + n] = states[h_at + n]
                for s in range(count):
                    token = order[k, first + s]
                    u_at = base + token * channels
                    w_at = base + partner[token] * channels
                    p_at = ((sample * length + token) * directions + slot) * width
                    _prepare(
                        flat_u, u_at, w_at, mix, flat_p, p_at, flat_prm, prm_at, rank,
                        ready, s * READY,
                    )  # fmt: skip
                for s in range(count):
                    token = order[k, first + s]
                    y_at = base + token * channels
                    p_at = ((sample * length + token) * directions + slot) * width
                    if integer:
                        _forward_token_integer(
                            flat_p, p_at, flat_prm, prm_at, rank, ready, s * READY,
                            states, h_at, flat_y, y_at,
                        )  # fmt: skip
                    else:
                        _forward_token(
                            flat_p, p_at, flat_prm, prm_at, rank, ready, s * READY,
                            states, h_at, flat_y, y_at,
                        )  # fmt: skip


@njit(**_OPTIONS)
def scan_forward(
    u: Any, p: Any, prm: Any, order: Any, segment: Any, partner: Any, rank: int, integer: bool,
    y: Any, kept: Any,
) -> None:  # fmt: skip
    """Sum of the four scans.

    Args:
        u: (B, L, D) values. p: (B, L, 4, R + 2N), directions in SLOTS order.
        prm: `pack_parameters`. order: (4, L) token of each step. (Fewer rows: scans in those
            orders, of plain values, and as many directions elsewhere.)
        segment: (4,) steps after which a direction's state starts from zero again.
        partner: (L,) limb partner's token.
        y: (B, L, D) zeros; receives the result.
        kept: (B, 4, chunks, D / 16, 256) states before each chunk (`chunk_count`), or empty.
    """
    for sample in range(u.shape[0]):
        forward_sample(
            sample, 0, u.shape[2] // LANES, u, p, prm, order, segment, partner, rank, integer,
            y, kept,
        )  # fmt: skip


@njit(parallel=True, **_OPTIONS)
def scan_forward_parallel(
    u: Any, p: Any, prm: Any, order: Any, segment: Any, partner: Any, rank: int, integer: bool,
    y: Any, kept: Any, group: int,
) -> None:  # fmt: skip
    """`scan_forward` on Numba's threads, `group` channel blocks of a sample each.

    (With one thread its pool would still spin.)
    """
    per_sample = u.shape[2] // LANES // group
    for item in prange(u.shape[0] * per_sample):
        block = item % per_sample * group
        forward_sample(
            item // per_sample, block, block + group, u, p, prm, order, segment, partner, rank,
            integer, y, kept,
        )  # fmt: skip


@njit(**_OPTIONS)
def _backward_sample(
    sample: int, u: Any, p: Any, prm: Any, order: Any, segment: Any, partner: Any, rank: int,
    integer: bool, kept: Any, dy: Any, du: Any, dp: Any, dprm: Any,
) -> None:  # fmt: skip
    _, length, channels = u.shape
    blocks = channels // LANES
    width = p.shape[3]
    rows = prm.shape[2] * LANES
    chunks = kept.shape[2]
    flat_u, flat_p, flat_prm = u.reshape(-1), p.reshape(-1), prm.reshape(-1)
    flat_kept, flat_dy, flat_du = kept.reshape(-1), dy.reshape(-1), du.reshape(-1)
    flat_dp, flat_dprm = dp.reshape(-1), dprm.reshape(-1)
    states = np.empty((CHUNK + 1) * BLOCK, np.float32)
    ready = np.empty(CHUNK * READY, np.float32)
    grads = np.empty(blocks * BLOCK, np.float32)
    directions = order.shape[0]
    limbs = directions == 4
    for k in range(directions):
        mix = np.float32(1.0 - k % 2) if limbs else np.float32(0.0)
        slot = SLOTS[k] if limbs else k
        per_segment = (segment[k] + CHUNK - 1) // CHUNK
        for chunk in range(length // segment[k] * per_segment - 1, -1, -1):
            within = chunk % per_segment
            first = chunk // per_segment * segment[k] + within * CHUNK
            count = min(CHUNK, segment[k] - within * CHUNK)
            if within == per_segment - 1:
                grads[:] = 0.0
            for block in range(blocks):
                base = sample * length * channels + block * LANES
                prm_at = (k * blocks + block) * rows
                dprm_at = ((sample * directions + k) * blocks + block) * rows
                g_at = block * BLOCK
                at = (((sample * directions + k) * chunks + chunk) * blocks + block) * BLOCK
                for n in range(BLOCK):
                    states[n] = flat_kept[at + n]
                for s in range(count):
                    token = order[k, first + s]
                    u_at = base + token * channels
                    w_at = base + partner[token] * channels
                    p_at = ((sample * length + token) * directions + slot) * width
                    _prepare(
                        flat_u, u_at, w_at, mix, flat_p, p_at, flat_prm, prm_at, rank,
                        ready, s * READY,
                    )  # fmt: skip
                for s in range(count):
                    token = order[k, first + s]
                    dy_at = base + token * channels
                    p_at = ((sample * length + token) * directions + slot) * width
                    if integer:
                        _replay_token_integer(
                            flat_p, p_at, flat_prm, prm_at, rank, ready, s * READY,
                            states, s * BLOCK, flat_dy, dy_at, flat_dp, p_at,
                        )  # fmt: skip
                    else:
                        _replay_token(
                            flat_p, p_at, flat_prm, prm_at, rank, ready, s * READY,
                            states, s * BLOCK, flat_dy, dy_at, flat_dp, p_at,
                        )  # fmt: skip
                for s in range(count - 1, -1, -1):
                    token = order[k, first + s]
                    u_at = base + token * channels
                    w_at = base + partner[token] * channels
                    p_at = ((sample * length + token) * directions + slot) * width
                    if integer:
                        _backward_token_integer(
                            flat_p, p_at, flat_prm, prm_at, rank, states, s * BLOCK,
                            ready, s * READY, flat_dy, u_at, grads, g_at,
                            flat_dp, p_at, flat_dprm, dprm_at, flat_du, u_at, w_at, mix,
                        )  # fmt: skip
                    else:
                        _backward_token(
                            flat_p, p_at, flat_prm, prm_at, rank, states, s * BLOCK,
                            ready, s * READY, flat_dy, u_at, grads, g_at,
                            flat_dp, p_at, flat_dprm, dprm_at, flat_du, u_at, w_at, mix,
                        )  # fmt: skip


@njit(**_OPTIONS)
def scan_backward(
    u: Any, p: Any, prm: Any, order: Any, segment: Any, partner: Any, rank: int,
    integer: bool, kept: Any, dy: Any, du: Any, dp: Any, dprm: Any,
) -> None:  # fmt: skip
    """Gradients of `scan_forward`.

    Args (besides the forward's):
        kept: as written by the forward pass. dy: (B, L, D).
        du: (B, L, D) zeros, dp: like p, zeros,
        dprm: (B, *prm.shape) zeros, per sample; A's rows hold the gradient of A itself.
    """
    for sample in range(u.shape[0]):
        _backward_sample(
            sample, u, p, prm, order, segment, partner, rank, integer, kept, dy, du, dp, dprm
        )


@njit(parallel=True, **_OPTIONS)
def scan_backward_parallel(
    u: Any, p: Any, prm: Any, order: Any, segment: Any, partner: Any, rank: int,
    integer: bool, kept: Any, dy: Any, du: Any, dp: Any, dprm: Any,
) -> None:  # fmt: skip
    """`scan_backward` on Numba's threads, one sample each."""
    for sample in prange(u.shape[0]):
        _backward_sample(
            sample, u, p, prm, order, segment, partner, rank, integer, kept, dy, du, dp, dprm
        )


@njit(**_OPTIONS)
def scan_step(
    u: Any, p: Any, prm: Any, partner: Any, rank: int, integer: bool, state: Any, y: Any
) -> None:
    """One frame of the causal scan; the state goes on from where it is.

    Args:
        u: (B, J, D) values of the frame. p: (B, J, 4, R + 2N). partner: (J,).
        state: (B, D / 16, 2 + 2J, 256), updated in place: the two frame-major directions,
            then the joints of the two temporal ones.
        y: (B, J, D) zeros; receives the result.
    """
    batch, joints, channels = u.shape
    blocks = channels // LANES
    width = p.shape[3]
    rows = prm.shape[2] * LANES
    flat_u, flat_p, flat_prm = u.reshape(-1), p.reshape(-1), prm.reshape(-1)
    flat_y, flat_state = y.reshape(-1), state.reshape(-1)
    ready = np.empty(joints * READY, np.float32)
    for item in range(batch * blocks):
        sample = item // blocks
        base = sample * joints * channels + item % blocks * LANES
        for k in range(4):
            mix = np.float32(1.0 - k % 2)
            prm_at = (k * blocks + item % blocks) * rows
            for joint in range(joints):
                u_at = base + joint * channels
                w_at = base + partner[joint] * channels
                p_at = ((sample * joints + joint) * 4 + SLOTS[k]) * width
                _prepare(
                    flat_u, u_at, w_at, mix, flat_p, p_at, flat_prm, prm_at, rank,
                    ready, joint * READY,
                )  # fmt: skip
            for step in range(joints):
                joint = joints - 1 - step if k == 2 else step
                slot = k // 2 if k % 2 == 0 else 2 + k // 2 * joints + joint
                h_at = (item * (2 + 2 * joints) + slot) * BLOCK
                y_at = base + joint * channels
                p_at = ((sample * joints + joint) * 4 + SLOTS[k]) * width
                if integer:
                    _forward_token_integer(
                        flat_p, p_at, flat_prm, prm_at, rank, ready, joint * READY,
                        flat_state, h_at, flat_y, y_at,
                    )  # fmt: skip
                else:
                    _forward_token(
                        flat_p, p_at, flat_prm, prm_at, rank, ready, joint * READY,
                        flat_state, h_at, flat_y, y_at,
                    )  # fmt: skip


def cpu_features() -> str:
    """LLVM's list of what this CPU can do, for example "+avx2,-avx512f"."""
    from llvmlite import binding

    return str(binding.get_host_cpu_features().flatten())


def forward_assembly() -> str:
    """Machine code of the forward scan, compiled afresh (cached code cannot be inspected)."""
    kernel = njit(boundscheck=False, error_model="numpy")(forward_sample.py_func)
    floats = {n: types.Array(types.float32, n, "C") for n in (3, 4, 5)}
    indices = {n: types.Array(types.intp, n, "C") for n in (1, 2)}
    kernel.compile(
        (types.intp, types.intp, types.intp, floats[3], floats[4], floats[4], indices[2],
         indices[1], indices[1], types.intp, types.boolean, floats[3], floats[5])
    )  # fmt: skip
    return "\n".join(kernel.inspect_asm().values())
