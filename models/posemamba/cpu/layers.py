"""What lies between the scans, as LLVM vector code for Numba: products, norms, gates.

All arrays are flat float32 with offsets; widths are multiples of 16 (`simd.LANES`). Matrices are
packed for `product` (`packed`): panels of 64 or 16 output columns, within a panel row by row of
the inputs, so that a tile of outputs stays in registers while inputs and weights stream by.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from posemamba.cpu.simd import LANES, WIDE, Lanes, pointers

ROWS: Final = 6
"""Rows of a tile."""
PANEL: Final = 4 * LANES if WIDE else LANES
"""Columns of a full tile: as many as registers hold sums for, and addresses of rows fit beside."""

NEIGHBOURS: Final = 5
"""Of a joint, itself among them; absent ones are -1."""

Float = NDArray[np.float32]

_ARRAY = types.Array(types.float32, 1, "C")
_INDEX = ir.IntType(64)
_ERF: Final = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
_ERF_SCALE: Final = 0.3275911
"""Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26: error 1.5e-7."""


def packed(weight: Float) -> Float:
    """A matrix (N, K) as `product` takes it, flat; N is filled up to 16s with zeros."""
    columns, inputs = weight.shape
    filled = np.zeros((-(-columns // LANES) * LANES, inputs), np.float32)
    filled[:columns] = weight
    full = len(filled) // PANEL * PANEL
    ends = [*range(PANEL, full + 1, PANEL), *range(full + LANES, len(filled) + 1, LANES)]
    panels = np.split(filled, ends[:-1])
    return np.concatenate([panel.T.reshape(-1) for panel in panels])


def _const(value: int) -> Any:
    return ir.Constant(_INDEX, value)


def _make_tile(vectors: int, gelu: bool) -> Callable[..., Any]:
    def tile(
        typingctx: Any, a: Any, a_at: Any, a_row: Any, inputs: Any, w: Any, w_at: Any,
        bias_at: Any, c: Any, c_at: Any, c_row: Any, add: Any,
    ) -> Any:  # fmt: skip
        """c = a w + bias for ROWS rows and `vectors` * 16 columns.

        a[a_at + r * a_row + k], r < ROWS, k < inputs; w as `packed`; the bias is w[bias_at:], or
        nothing where `bias_at` is negative; with `add` c is added to.
        """
        i = types.intp
        signature = types.void(_ARRAY, i, i, i, _ARRAY, i, i, _ARRAY, i, i, types.boolean)

        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            a, a_at, a_row, inputs, w, w_at, bias_at, c, c_at, c_row, add = pointers(
                context, b, sig, args
            )
            v = Lanes(b)
            zero = v.const(0.0)
            sums = [
                [cgutils.alloca_once(b, zero.type) for _ in range(vectors)] for _ in range(ROWS)
            ]
            biased = b.icmp_signed(">=", bias_at, _const(0))
            with b.if_else(biased) as (then, otherwise):
                with then:
                    first = [v.load(w, b.add(bias_at, _const(n * LANES))) for n in range(vectors)]
                    for row in sums:
                        for n, place in enumerate(row):
                            b.store(first[n], place)
                with otherwise:
                    for row in sums:
                        for place in row:
                            b.store(zero, place)
            rows = [b.add(a_at, b.mul(a_row, _const(r))) for r in range(ROWS)]
            with cgutils.for_range(b, inputs) as loop:
                k = loop.index
                at = b.add(w_at, b.mul(k, _const(vectors * LANES)))
                weights = [v.load(w, b.add(at, _const(n * LANES))) for n in range(vectors)]
                for r in range(ROWS):
                    value = v.load_splat(a, b.add(rows[r], k))
                    for n in range(vectors):
                        b.store(v.fma(value, weights[n], b.load(sums[r][n])), sums[r][n])
            for r in range(ROWS):
                for n in range(vectors):
                    at = b.add(b.add(c_at, b.mul(c_row, _const(r))), _const(n * LANES))
                    value = b.load(sums[r][n])
                    if gelu:
                        value = _gelu(v, value)
                    else:
                        value = b.select(add, v.add(value, v.load(c, at)), value)
                    v.store(value, c, at)
            return context.get_dummy_value()

        return signature, codegen

    return tile


def _gelu(v: Lanes, x: Any) -> Any:
    """x (1 + erf(x / sqrt 2)) / 2."""
    half = v.mul(x, v.const(0.5))
    size = v.mul(v.abs(x), v.const(0.5**0.5))
    t = v.div(v.const(1.0), v.fma(size, v.const(_ERF_SCALE), v.const(1.0)))
    series = v.const(_ERF[-1])
    for coefficient in _ERF[-2::-1]:
        series = v.fma(series, t, v.const(coefficient))
    tail = v.mul(v.mul(series, t), v.exp(v.mul(v.mul(size, size), v.const(-1.0))))
    erf = v.sub(v.const(1.0), tail)
    # erf is odd: x/2 erf(x) = |x/2| erf(|x|).
    return v.fma(v.abs(half), erf, half)


def _silu(v: Lanes, x: Any) -> Any:
    """x / (1 + exp(-x))."""
    below = v.maximum(x, v.const(-87.0))
    return v.div(x, v.add(v.exp(v.mul(below, v.const(-1.0))), v.const(1.0)))


def _norm(
    typingctx: Any, x: Any, x_at: Any, w: Any, w_at: Any, eps: Any, y: Any, y_at: Any, width: Any
) -> Any:
    """y = LayerNorm(x) of one token; w holds the scale, then the shift."""
    i = types.intp
    signature = types.void(_ARRAY, i, _ARRAY, i, types.float32, _ARRAY, i, i)

    def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
        x, x_at, w, w_at, eps, y, y_at, width = pointers(context, b, sig, args)
        v = Lanes(b)
        total = cgutils.alloca_once_value(b, v.const(0.0))
        inverse = b.fdiv(ir.Constant(ir.FloatType(), 1.0), b.sitofp(width, ir.FloatType()))
        with _each(b, width) as at:
            b.store(v.add(b.load(total), v.load(x, b.add(x_at, at))), total)
        mean = v.splat(b.fmul(v.lane_sum(b.load(total)), inverse))
        b.store(v.const(0.0), total)
        with _each(b, width) as at:
            off = v.sub(v.load(x, b.add(x_at, at)), mean)
            b.store(v.fma(off, off, b.load(total)), total)
        variance = b.fmul(v.lane_sum(b.load(total)), inverse)
        root = v.sqrt(v.splat(b.fadd(variance, eps)))
        factor = v.div(v.const(1.0), root)
        with _each(b, width) as at:
            off = v.sub(v.load(x, b.add(x_at, at)), mean)
            scale = v.mul(v.load(w, b.add(w_at, at)), factor)
            shift = v.load(w, b.add(b.add(w_at, width), at))
            v.store(v.fma(off, scale, shift), y, b.add(y_at, at))
        return context.get_dummy_value()

    return signature, codegen


class _each:
    """A loop over offsets in steps of 16."""

    def __init__(self, builder: Any, width: Any) -> None:
        self._b = builder
        self._loop = cgutils.for_range(builder, builder.udiv(width, _const(LANES)))

    def __enter__(self) -> Any:
        return self._b.mul(self._loop.__enter__().index, _const(LANES))

    def __exit__(self, *error: Any) -> Any:
        return self._loop.__exit__(*error)


def _gate_by(typingctx: Any, x: Any, x_at: Any, gate: Any, gate_at: Any, width: Any) -> Any:
    """x *= SiLU(gate), one token."""
    i = types.intp
    signature = types.void(_ARRAY, i, _ARRAY, i, i)

    def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
        x, x_at, gate, gate_at, width = pointers(context, b, sig, args)
        v = Lanes(b)
        with _each(b, width) as at:
            here = b.add(x_at, at)
            v.store(v.mul(v.load(x, here), _silu(v, v.load(gate, b.add(gate_at, at)))), x, here)
        return context.get_dummy_value()

    return signature, codegen


def _convolve_at(
    typingctx: Any, x: Any, x_at: Any, x_row: Any, frame: Any, frames: Any, joint: Any, joints: Any,
    w: Any, w_at: Any, bias_at: Any, y: Any, y_at: Any, width: Any,
) -> Any:  # fmt: skip
    """y = SiLU of the depth-wise 3x3 convolution at one token, zeros beyond the grid.

    x_at: of the sample's first token, tokens `x_row` apart. w[w_at:] holds (3, 3, width).
    """
    i = types.intp
    signature = types.void(_ARRAY, i, i, i, i, i, i, _ARRAY, i, i, _ARRAY, i, i)

    def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
        x, x_at, x_row, frame, frames, joint, joints, w, w_at, bias_at, y, y_at, width = pointers(
            context, b, sig, args
        )
        v = Lanes(b)
        one = ir.Constant(ir.FloatType(), 1.0)
        none = ir.Constant(ir.FloatType(), 0.0)
        taps = []
        for down in (-1, 0, 1):
            for along in (-1, 0, 1):
                t, j = b.add(frame, _const(down)), b.add(joint, _const(along))
                inside = b.and_(b.icmp_unsigned("<", t, frames), b.icmp_unsigned("<", j, joints))
                # A tap beyond the grid reads the token itself, times nothing.
                t, j = b.select(inside, t, frame), b.select(inside, j, joint)
                token = b.add(x_at, b.mul(b.add(b.mul(t, joints), j), x_row))
                taps.append((token, v.splat(b.select(inside, one, none))))
        with _each(b, width) as at:
            total = v.load(w, b.add(bias_at, at))
            for n, (token, here) in enumerate(taps):
                tap = b.add(b.add(w_at, b.mul(width, _const(n))), at)
                value = v.load(x, b.add(token, at))
                if n != 4:
                    value = v.mul(value, here)
                total = v.fma(value, v.load(w, tap), total)
            v.store(_silu(v, total), y, b.add(y_at, at))
        return context.get_dummy_value()

    return signature, codegen


def _pool_at(
    typingctx: Any, x: Any, x_at: Any, near: Any, near_at: Any, joint: Any, w: Any, scale_at: Any,
    shift_at: Any, y: Any, y_at: Any, width: Any,
) -> Any:  # fmt: skip
    """Softmax pooling of one joint's neighbours: y of `width`, then the joint itself, scaled.

    x_at: of the frame's first joint, joints `width` apart. near[near_at:] holds NEIGHBOURS joints,
    the first of them the joint itself; w has 2 * width numbers at `scale_at` and `shift_at`.
    """
    i = types.intp
    indices = types.Array(types.intp, 1, "C")
    signature = types.void(_ARRAY, i, indices, i, i, _ARRAY, i, i, _ARRAY, i, i)

    def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
        x, x_at, near, near_at, joint, w, scale_at, shift_at, y, y_at, width = pointers(
            context, b, sig, args
        )
        v = Lanes(b)
        one = ir.Constant(ir.FloatType(), 1.0)
        none = ir.Constant(ir.FloatType(), 0.0)
        own_at = b.add(x_at, b.mul(joint, width))
        taps = []
        for n in range(NEIGHBOURS):
            other = b.load(b.gep(near, [b.add(near_at, _const(n))]))
            there = b.icmp_signed(">=", other, _const(0))
            other = b.select(there, other, joint)
            here = v.splat(b.select(there, one, none))
            taps.append((b.add(x_at, b.mul(other, width)), here))
        with _each(b, width) as at:
            own = v.load(x, b.add(own_at, at))
            scale = v.load(w, b.add(scale_at, at))
            shift = v.load(w, b.add(shift_at, at))
            bones = [v.fma(v.sub(v.load(x, b.add(tap, at)), own), scale, shift) for tap, _ in taps]
            largest = bones[0]
            for bone in bones[1:]:
                largest = v.maximum(largest, bone)
            total, weights = v.const(0.0), v.const(0.0)
            for bone, (_, here) in zip(bones, taps, strict=True):
                weight = v.mul(v.exp(v.sub(bone, largest)), here)
                weights = v.add(weights, weight)
                total = v.fma(weight, bone, total)
            v.store(v.div(total, weights), y, b.add(y_at, at))
            second = b.add(width, at)
            itself = v.fma(
                own, v.load(w, b.add(scale_at, second)), v.load(w, b.add(shift_at, second))
            )
            v.store(itself, y, b.add(y_at, second))
        return context.get_dummy_value()

    return signature, codegen


def _add_silu(typingctx: Any, x: Any, x_at: Any, y: Any, y_at: Any, width: Any) -> Any:
    """x += SiLU(y), one token."""
    i = types.intp
    signature = types.void(_ARRAY, i, _ARRAY, i, i)

    def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
        x, x_at, y, y_at, width = pointers(context, b, sig, args)
        v = Lanes(b)
        with _each(b, width) as at:
            here = b.add(x_at, at)
            v.store(v.add(v.load(x, here), _silu(v, v.load(y, b.add(y_at, at)))), x, here)
        return context.get_dummy_value()

    return signature, codegen


full_tile = intrinsic(_make_tile(PANEL // LANES, gelu=False))
full_tile_gelu = intrinsic(_make_tile(PANEL // LANES, gelu=True))
narrow_tile = intrinsic(_make_tile(1, gelu=False))
narrow_tile_gelu = intrinsic(_make_tile(1, gelu=True))
norm = intrinsic(_norm)
gate_by = intrinsic(_gate_by)
convolve_at = intrinsic(_convolve_at)
pool_at = intrinsic(_pool_at)
add_silu = intrinsic(_add_silu)
