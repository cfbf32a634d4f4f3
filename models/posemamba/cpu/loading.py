"""Getting at compiled kernels, where Numba can compile and keep them."""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib.util
import logging
import mmap
import os
import tempfile
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Final

from posemamba.config import PoseMambaConfig

_log = logging.getLogger(__name__)

_LLVM_BYTES: Final = 512 * 2**20
"""Of addresses; compiling takes less."""
_LAYERS: Final = ("simd.py", "layers.py", "scan_kernels.py", "forward_kernels.py")
"""Each is compiled into those behind it."""


def forward_module(config: PoseMambaConfig) -> ModuleType | None:
    """`posemamba.cpu.forward`, if it runs such networks and Numba works here."""
    if importlib.util.find_spec("numba") is None or problem() is not None:
        return None
    forward = import_compiled("posemamba.cpu.forward")
    return forward if forward.supports(config) else None


@functools.cache
def problem() -> str | None:
    """Why Numba, which is installed, cannot be used; told once."""
    try:
        check_compiles()
        import_compiled("posemamba.cpu.scan_kernels")
    except Exception as error:
        # Installed does not mean usable: Numba may not know this NumPy.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        _log.warning("numba is installed but cannot be used here: %s", reason)
        return reason
    return None


def check_compiles() -> None:
    """Raises RuntimeError where the user has told Numba to interpret, which kernels cannot be."""
    import numba

    if numba.config.DISABLE_JIT:
        raise RuntimeError("NUMBA_DISABLE_JIT is set; without it the network is much faster")


def _check_memory() -> None:
    """Raises MemoryError where LLVM might not get what it takes: it would abort the process."""
    try:
        mmap.mmap(-1, _LLVM_BYTES).close()
    except OSError as error:
        raise MemoryError("the network's kernels cannot be loaded") from error


def import_compiled(name: str) -> ModuleType:
    """A module of kernels, even where Numba finds no folder in which to keep compiled ones."""
    _check_memory()
    _forget_outdated()
    try:
        return import_module(name)
    except RuntimeError as error:
        if "cannot cache" not in str(error):
            raise
    import numba

    # Of this process alone: compiled code in a folder that others can write to is no cache.
    folder = tempfile.TemporaryDirectory(prefix="posemamba-")
    atexit.register(folder.cleanup)
    numba.config.CACHE_DIR = folder.name
    _log.warning(
        "no folder to keep compiled kernels in: every start compiles them anew, "
        "unless NUMBA_CACHE_DIR names one"
    )
    return import_module(name)


@functools.cache
def _forget_outdated() -> None:
    """Make every file of kernels no older than those that it is compiled with.

    Numba knows compiled code by the age of the file that defines it, not of those it calls.
    """
    newest = 0
    for name in _LAYERS:
        path = Path(__file__).with_name(name)
        with contextlib.suppress(OSError):  # not ours to write: installed in one go, then
            age = path.stat().st_mtime_ns
            if age < newest:
                os.utime(path, ns=(newest, newest))
            newest = max(newest, age)
