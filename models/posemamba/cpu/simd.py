"""Sixteen-lane float32 vectors for Numba kernels, as LLVM vector code.

Numba leaves vectorisation to LLVM's loop vectoriser, which gives up on loops that touch
many arrays. The scan kernels therefore write vector instructions themselves: `Lanes`
wraps an LLVM builder with the few operations they need. LLVM lowers the 16 lanes to
whatever the CPU has (one 512-bit, two 256-bit or four 128-bit registers), so no compiler
and no CPU-specific code is needed on the user's machine.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils

LANES: Final = 16
WIDE: Final = bool(binding.get_host_cpu_features().get("avx512f"))
"""Whether a vector is one register of many, not two or four of 16."""
_F32 = ir.FloatType()
_I32 = ir.IntType(32)
_VEC = ir.VectorType(_F32, LANES)
_IVEC = ir.VectorType(_I32, LANES)
_MASK = ir.VectorType(_I32, LANES)

LOG2E: Final = math.log2(math.e)


def _chebyshev_fit(func: Any, low: float, high: float, degree: int) -> list[float]:
    """Coefficients (lowest first) of a near-minimax polynomial of `func` on [low, high]."""
    nodes = np.cos(np.pi * (np.arange(64) + 0.5) / 64)
    x = 0.5 * (high - low) * nodes + 0.5 * (high + low)
    cheb = np.polynomial.Chebyshev.fit(x, func(x), degree, domain=[low, high])
    return [float(c) for c in cheb.convert(kind=np.polynomial.Polynomial).coef]


_EXP2_POLY: Final = _chebyshev_fit(np.exp2, -0.5, 0.5, 6)
"""2**x on [-0.5, 0.5], relative error 1e-8 before rounding."""
_LOG1P_POLY: Final = _chebyshev_fit(lambda x: np.log1p(x) / x, 1e-9, 1.0, 9)
"""log(1+x)/x on (0, 1], relative error 4e-8."""


def pointers(context: Any, builder: Any, signature: Any, args: Any) -> list[Any]:
    """Array arguments as data pointers, scalars unchanged."""
    out = []
    for kind, value in zip(signature.args, args, strict=True):
        if isinstance(kind, types.Array):
            value = context.make_array(kind)(context, builder, value).data
        out.append(value)
    return out


class Lanes:
    """Vector operations on an LLVM builder; values are LLVM <16 x float>."""

    def __init__(self, builder: Any) -> None:
        self.b = builder

    def const(self, value: float) -> Any:
        return ir.Constant(_VEC, [value] * LANES)

    def splat(self, scalar: Any) -> Any:
        """A float scalar in every lane."""
        undef = ir.Constant(_VEC, ir.Undefined)
        one = self.b.insert_element(undef, scalar, ir.Constant(_I32, 0))
        return self.b.shuffle_vector(one, undef, ir.Constant(_MASK, [0] * LANES))

    def load(self, pointer: Any, offset: Any) -> Any:
        address = self.b.bitcast(self.b.gep(pointer, [offset]), _VEC.as_pointer())
        return self.b.load(address, align=4)

    def store(self, value: Any, pointer: Any, offset: Any) -> None:
        address = self.b.bitcast(self.b.gep(pointer, [offset]), _VEC.as_pointer())
        self.b.store(value, address, align=4)

    def load_splat(self, pointer: Any, offset: Any) -> Any:
        return self.splat(self.b.load(self.b.gep(pointer, [offset])))

    def mul(self, a: Any, b: Any) -> Any:
        return self.b.fmul(a, b)

    def add(self, a: Any, b: Any) -> Any:
        return self.b.fadd(a, b)

    def sub(self, a: Any, b: Any) -> Any:
        return self.b.fsub(a, b)

    def div(self, a: Any, b: Any) -> Any:
        return self.b.fdiv(a, b)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        """a * b + c, fused where the CPU can."""
        return self._call("llvm.fmuladd", a, b, c)

    def maximum(self, a: Any, b: Any) -> Any:
        return self.b.select(self.b.fcmp_ordered(">", a, b), a, b)

    def abs(self, a: Any) -> Any:
        return self._call("llvm.fabs", a)

    def sqrt(self, a: Any) -> Any:
        return self._call("llvm.sqrt", a)

    def exp(self, x: Any) -> Any:
        """e**x for x <= 88; below -87 it stays at 2**-126."""
        return self.exp2(self.mul(x, self.const(LOG2E)))

    def exp2(self, x: Any) -> Any:
        """2**x for x <= 127; below -126 it stays at 2**-126."""
        x = self.maximum(x, self.const(-126.0))
        whole = self._call("llvm.rint", x)
        part = self.sub(x, whole)
        value = self._poly(_EXP2_POLY, part)
        bits = self.b.add(self.b.fptosi(whole, _IVEC), ir.Constant(_IVEC, [127] * LANES))
        scale = self.b.bitcast(self.b.shl(bits, ir.Constant(_IVEC, [23] * LANES)), _VEC)
        return self.mul(value, scale)

    def softplus(self, x: Any) -> tuple[Any, Any, Any]:
        """s = log(1 + exp(x)), its derivative (the logistic function of x), and exp(-s)."""
        e = self.exp2(self.mul(self.abs(x), self.const(-LOG2E)))
        positive = self.maximum(x, self.const(0.0))
        value = self.fma(e, self._poly(_LOG1P_POLY, e), positive)
        inverse = self.div(self.const(1.0), self.add(e, self.const(1.0)))
        is_positive = self.b.fcmp_ordered(">", x, self.const(0.0))
        other = self.mul(e, inverse)
        slope = self.b.select(is_positive, inverse, other)
        return value, slope, self.b.select(is_positive, other, inverse)

    def summing(self) -> LaneSums:
        return LaneSums(self)

    def pick(self, a: Any, b: Any, lanes: list[int]) -> Any:
        """Lanes of `a` followed by `b`, by number."""
        mask = ir.Constant(ir.VectorType(_I32, len(lanes)), lanes)
        return self.b.shuffle_vector(a, b, mask)

    def halved(self, a: Any) -> Any:
        """The 8 sums of a lane and the one 8 on."""
        half = LANES // 2
        low, high = list(range(half)), list(range(half, LANES))
        return self.add(self.pick(a, a, low), self.pick(a, a, high))

    def lane_sum(self, vector: Any) -> Any:
        """Sum of all lanes as a scalar."""
        for s in (8, 4, 2, 1):
            mask = ir.Constant(_MASK, [lane ^ s for lane in range(LANES)])
            vector = self.add(vector, self.b.shuffle_vector(vector, vector, mask))
        return self.b.extract_element(vector, ir.Constant(_I32, 0))

    def _poly(self, coefficients: list[float], x: Any) -> Any:
        """By halves (Estrin), as the next product of a chain would have to wait for the last."""
        terms = [self.const(c) for c in coefficients]
        while len(terms) > 1:
            odd = [terms.pop()] if len(terms) % 2 else []
            terms = [self.fma(b, x, a) for a, b in zip(terms[::2], terms[1::2], strict=True)]
            terms += odd
            x = self.mul(x, x)
        return terms[0]

    def _call(self, name: str, *args: Any) -> Any:
        fn_type = ir.FunctionType(_VEC, [_VEC] * len(args))
        fn = cgutils.get_or_insert_function(self.b.module, fn_type, f"{name}.v{LANES}f32")
        return self.b.call(fn, list(args))


class LaneSums:
    """Sums over the lanes of 16 vectors, given one by one: the n-th sum ends in lane n.

    Where a vector is two registers, their sum is taken first, and the rest is done with half
    as many shuffles.
    """

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self._width = LANES if WIDE else LANES // 2
        self._pending: list[Any] = [None] * self._width.bit_length()
        self._done: list[Any] = []

    def append(self, vector: Any) -> None:
        vector = vector if WIDE else self._lanes.halved(vector)
        level = 0
        while self._pending[level] is not None:
            vector = self._merge(self._pending[level], vector, level)
            self._pending[level] = None
            level += 1
        self._pending[level] = vector
        if self._pending[-1] is not None:
            self._done.append(self._pending.pop())
            self._pending.append(None)

    def result(self) -> Any:
        if WIDE:
            return self._done[0]
        low, high = self._done
        return self._lanes.pick(low, high, list(range(LANES)))

    def _merge(self, a: Any, b: Any, level: int) -> Any:
        """Halves of both in turns, added; by shuffles that take one instruction on x86."""
        width = self._width
        if level == 0:
            # Neighbours would be the obvious pairs, but these are what "unpack" picks.
            pairs = [(n, width + n) for n in range(width)]
            here = [n for pair in pairs if not pair[0] & 2 for n in pair]
            there = [n for pair in pairs if pair[0] & 2 for n in pair]
        else:
            half = 1 << level
            groups = [list(range(at, at + half)) for at in range(0, width, half)]
            turns = [group + [width + n for n in group] for group in groups]
            here = [n for turn in turns[::2] for n in turn]
            there = [n for turn in turns[1::2] for n in turn]
        lanes = self._lanes
        return lanes.add(lanes.pick(a, b, here), lanes.pick(a, b, there))
