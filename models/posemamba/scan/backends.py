"""Which backend computes the scan (and the convolution before it) on which device."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from posemamba.scan import reference
from posemamba.scan.interface import ScanFunction, ScanParameters

ConvFunction = Callable[[Tensor, Tensor, Tensor | None, bool], Tensor]


@dataclass(frozen=True, slots=True)
class Backend:
    """A named pair of operations that make up a block's inner part."""

    name: str
    scan: ScanFunction
    conv_silu: ConvFunction
    """(B, T, 17, D) values, (D, 1, 3, 3) weight, (D,) bias, causal to (B, T, 17, D)."""
    init_state: Callable[[int, int, int], Any]
    """Batch, joints, channels to the state of a causal scan before its first frame."""
    step: Callable[[Tensor, ScanParameters, Any], Tensor]
    """One frame (B, 17, D) of a causal scan; updates the state in place."""


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


_chosen: str | None = None


def available_backends(device: torch.device | str = "cpu") -> tuple[str, ...]:
    """Names of the backends that can run on a device, best first."""
    names = ["reference"]
    if torch.device(device).type == "cpu" and importlib.util.find_spec("numba") is not None:
        names.insert(0, "numba")
    return tuple(names)


def get_backend(device: torch.device | str = "cpu") -> Backend:
    """The backend in force for a device: the one set by `use_backend`, else the best."""
    return _load(_chosen or available_backends(torch.device(device).type)[0])


@contextmanager
def use_backend(name: str) -> Iterator[Backend]:
    """Force a backend by name within a with-block (tests and benchmarks)."""
    global _chosen
    previous, _chosen = _chosen, name
    try:
        yield _load(name)
    finally:
        _chosen = previous


@functools.cache
def _load(name: str) -> Backend:
    if name == "reference":
        return Backend(name, reference.scan, conv_silu, reference.init_state, reference.step)
    if name == "numba":
        from posemamba.scan import cpu

        return Backend(name, cpu.scan, cpu.conv_silu, cpu.init_state, cpu.step)
    raise ValueError(f"no scan backend named {name!r}")
