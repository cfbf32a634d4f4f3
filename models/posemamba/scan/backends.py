"""Which backend computes the scan (and the convolution before it) on which device."""

from __future__ import annotations

import functools
import importlib.util
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

import torch
from torch import Tensor

from posemamba.cpu.loading import import_compiled, problem
from posemamba.scan import reference
from posemamba.scan.interface import ScanFunction, ScanParameters

_log = logging.getLogger(__name__)

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


_chosen: str | None = None
_CPU: Final = "posemamba.scan.cpu"


_CANDIDATES: Final = {"cpu": ("numba", "reference"), "cuda": ("triton", "mamba", "reference")}
"""Best first."""
_LIBRARIES: Final = {
    "numba": ("numba", "cpu"),
    "triton": ("triton", "triton_backend"),
    "mamba": ("mamba_ssm", "mamba_backend"),
}
"""What a backend needs, and the module that has it."""


def available_backends(device: torch.device | str = "cpu") -> tuple[str, ...]:
    """Names of the backends that can run on a device, best first."""
    candidates = _CANDIDATES.get(torch.device(device).type, ("reference",))
    return tuple(name for name in candidates if _usable(name))


@functools.cache
def _usable(name: str) -> bool:
    """Whether a backend's library is there and works; where it is there and does not, says so."""
    if name == "reference":
        return True
    library, module = _LIBRARIES[name]
    if importlib.util.find_spec(library) is None:
        return False
    if name == "numba":
        return problem() is None
    if not torch.cuda.is_available():
        return False
    try:
        # Installed does not mean usable: mamba-ssm may lack its extension, Triton a compiler.
        import_module(f"posemamba.scan.{module}").probe("cuda")
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        _log.warning("%s is installed but cannot be used here: %s", library, reason)
        return False
    return True


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
        return Backend(
            name, reference.scan, reference.conv_silu, reference.init_state, reference.step
        )
    if name == "numba":
        cpu = import_compiled(_CPU)
        return Backend(name, cpu.scan, cpu.conv_silu, cpu.init_state, cpu.step)
    if name in ("triton", "mamba"):
        module = import_module(f"posemamba.scan.{name}_backend")
        return Backend(name, module.scan, module.conv_silu, module.init_state, module.step)
    raise ValueError(f"no scan backend named {name!r}")
