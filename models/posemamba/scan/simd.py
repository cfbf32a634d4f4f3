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
from llvmlite import ir
from numba.core import cgutils

LANES: Final = 16
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

    def exp2(self, x: Any) -> Any:
        """2**x for x <= 127; below -126 it stays at 2**-126."""
        x = self.maximum(x, self.const(-126.0))
        whole = self._call("llvm.rint", x)
        part = self.sub(x, whole)
        value = self._poly(_EXP2_POLY, part)
        bits = self.b.add(self.b.fptosi(whole, _IVEC), ir.Constant(_IVEC, [127] * LANES))
        scale = self.b.bitcast(self.b.shl(bits, ir.Constant(_IVEC, [23] * LANES)), _VEC)
        return self.mul(value, scale)

    def softplus(self, x: Any) -> tuple[Any, Any]:
        """log(1 + exp(x)) and its derivative, the logistic function of x."""
        e = self.exp2(self.mul(self.abs(x), self.const(-LOG2E)))
        positive = self.maximum(x, self.const(0.0))
        value = self.fma(e, self._poly(_LOG1P_POLY, e), positive)
        inverse = self.div(self.const(1.0), self.add(e, self.const(1.0)))
        is_positive = self.b.fcmp_ordered(">", x, self.const(0.0))
        return value, self.b.select(is_positive, inverse, self.mul(e, inverse))

    def summing(self) -> LaneSums:
        return LaneSums(self)

    def merge(self, a: Any, b: Any, s: int) -> Any:
        """Pairwise sums: of `a` in lanes with bit s clear, of `b` in the others."""
        here = [lane if not lane & s else LANES + (lane ^ s) for lane in range(LANES)]
        there = [lane ^ s if not lane & s else LANES + lane for lane in range(LANES)]
        return self.add(
            self.b.shuffle_vector(a, b, ir.Constant(_MASK, here)),
            self.b.shuffle_vector(a, b, ir.Constant(_MASK, there)),
        )

    def lane_sum(self, vector: Any) -> Any:
        """Sum of all lanes as a scalar."""
        for s in (8, 4, 2, 1):
            mask = ir.Constant(_MASK, [lane ^ s for lane in range(LANES)])
            vector = self.add(vector, self.b.shuffle_vector(vector, vector, mask))
        return self.b.extract_element(vector, ir.Constant(_I32, 0))

    def _poly(self, coefficients: list[float], x: Any) -> Any:
        value = self.const(coefficients[-1])
        for c in reversed(coefficients[:-1]):
            value = self.fma(value, x, self.const(c))
        return value

    def _call(self, name: str, *args: Any) -> Any:
        fn_type = ir.FunctionType(_VEC, [_VEC] * len(args))
        fn = cgutils.get_or_insert_function(self.b.module, fn_type, f"{name}.v{LANES}f32")
        return self.b.call(fn, list(args))


class LaneSums:
    """Sums over the lanes of 16 vectors, given one by one: the n-th sum ends in lane n."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self._pending: list[Any] = [None] * LANES.bit_length()

    def append(self, vector: Any) -> None:
        level = 0
        while self._pending[level] is not None:
            vector = self._lanes.merge(self._pending[level], vector, 1 << level)
            self._pending[level] = None
            level += 1
        self._pending[level] = vector

    def result(self) -> Any:
        return self._pending[-1]
