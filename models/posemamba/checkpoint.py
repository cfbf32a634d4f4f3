"""Weight files: safetensors with a JSON header; official checkpoints read safely.

Our files hold the state dict of a network and one metadata entry, ``posemamba``, a JSON
object (`CheckpointMeta`). Everything in a file counts as untrusted: nothing in it is
executed, and sizes are checked before memory is taken for them.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from posemamba.folders import weights_folders
from posemamba.hybrid import build
from posemamba.metadata import CheckpointError, CheckpointMeta, least_values
from posemamba.model import LifterNetwork
from posemamba.official import read_official
from posemamba.text import printable

__all__ = [
    "SUFFIX",
    "Checkpoint",
    "CheckpointError",
    "CheckpointMeta",
    "find_weights",
    "load_checkpoint",
    "save_checkpoint",
    "shipped_weights",
    "weights_folders",
]

SUFFIX: Final = ".safetensors"
_HEADER: Final = "posemamba"
_RENAMED: Final = {"stream-m3": "causal-m3"}
"""Names that shipped weights had before, which go on to work."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A network ready to run, and what its file says."""

    model: LifterNetwork
    meta: CheckpointMeta


def shipped_weights() -> dict[str, Path]:
    """Name and path of the weights that came with this installation."""
    return {
        path.stem: path
        for folder in reversed(weights_folders())
        for path in sorted(folder.glob(f"*{SUFFIX}"))
    }


def find_weights(name_or_path: str | Path) -> Path:
    """The file behind a name ("window-m3") or a path.

    Raises:
        CheckpointError: if there is none.
    """
    path = Path(name_or_path)
    if os.path.isfile(path):  # Path has no answer for names that are too long
        return path
    shipped, name = shipped_weights(), str(name_or_path)
    if name in _RENAMED and name not in shipped:
        _log.warning("the weights %s are called %s now", name, _RENAMED[name])
        name = _RENAMED[name]
    if name in shipped:
        return shipped[name]
    if os.path.isdir(path):
        raise CheckpointError(f"{path} is a folder, not a weight file")
    names = ", ".join(sorted(shipped)) or "none"
    raise CheckpointError(f"no weights {str(name_or_path)!r}: no such file; by name: {names}")


def load_checkpoint(name_or_path: str | Path, device: str | torch.device = "cpu") -> Checkpoint:
    """Load weights by name or path, ours or official, ready for inference.

    Raises:
        CheckpointError: missing, damaged, hostile or unsuitable file.
    """
    path = find_weights(name_or_path)
    state, meta = _read_safetensors(path) if path.suffix == SUFFIX else read_official(path)
    if unusual := next((k for k, v in state.items() if not _is_plain(v)), None):
        raise CheckpointError(
            f"{path} holds {_printable(unusual)}, which is no plain array of floats"
        )
    if sum(v.numel() for v in state.values()) < least_values(meta.config):
        raise CheckpointError(f"{path} holds fewer numbers than the architecture that it names")
    model = build(meta.config)
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError as error:
        # The first line only says that there are errors.
        detail = _printable("".join(str(error).split("\n\t")[1:2]))
        raise CheckpointError(f"{path} does not fit its architecture: {detail}") from error
    if not all(bool(torch.isfinite(t).all()) for t in model.state_dict().values()):
        raise CheckpointError(f"{path} holds values that are not finite")
    meta = replace(meta, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    return Checkpoint(model.to(device).eval().requires_grad_(False), meta)


def save_checkpoint(path: Path, state: Mapping[str, Tensor], meta: CheckpointMeta) -> None:
    """Write a weight file (temporary file, then rename).

    Raises:
        OSError: if the folder cannot be written to.
    """
    tensors = {k: v.detach().to("cpu", torch.float32).contiguous() for k, v in state.items()}
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
    os.close(handle)
    try:
        save_file(tensors, temporary, {_HEADER: meta.to_json()})
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], CheckpointMeta]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            header = (file.metadata() or {}).get(_HEADER)
            if header is None:
                raise CheckpointError(f"{path} is not one of ours: it has no posemamba header")
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged, or no safetensors file: {error}") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        return state, CheckpointMeta.from_json(header)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _printable(text: str) -> str:
    """Names out of a file, fit for a message."""
    return printable(text)[:200]


def _is_plain(tensor: Tensor) -> bool:
    """Floats in memory, one for each element (a view may claim more than it has)."""
    return (
        tensor.layout is torch.strided
        and tensor.device.type == "cpu"
        and tensor.is_floating_point()
        and tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()
    )
