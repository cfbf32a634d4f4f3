"""Which devices there can be, asked without importing what takes long."""

from __future__ import annotations

import ctypes
import importlib.util
import runpy
import sys
from pathlib import Path


def cuda_possible() -> bool:
    """Whether PyTorch might find a GPU; known without importing it where it cannot."""
    if "torch" not in sys.modules:
        spec = importlib.util.find_spec("torch")
        folders = spec.submodule_search_locations if spec is not None else None
        try:
            built = runpy.run_path(str(Path(next(iter(folders or ()), "")) / "version.py"))
        except (OSError, SyntaxError):
            return True
        if built.get("cuda") is None and built.get("hip") is None:
            return False
        if built.get("hip") is not None:
            return True
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return "torch" in sys.modules  # which then knows at once
    return True
