"""Weight files: safetensors with a JSON header; official checkpoints read safely.

Our files hold the state dict of a network and one metadata entry, ``posemamba``, a JSON
object (`CheckpointMeta`). Everything in a file counts as untrusted: nothing in it is
executed, and sizes are checked before memory is taken for them.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from posemamba.config import PoseMambaConfig
from posemamba.folders import weights_folders
from posemamba.metadata import CheckpointError, CheckpointMeta, least_values
from posemamba.shapes import parameter_shapes
from posemamba.text import printable

if TYPE_CHECKING:
    from torch import Tensor

    from posemamba.model import LifterNetwork

__all__ = [
    "SUFFIX",
    "Checkpoint",
    "CheckpointError",
    "CheckpointMeta",
    "checksum_of",
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

_FLOATS: Final = ("F64", "F32", "F16", "BF16")
"""Names that safetensors has for floats."""

_log = logging.getLogger(__name__)


State = Mapping[str, NDArray[np.float32]]
"""Parameters by their names in the published state dict."""


class Checkpoint:
    """A network ready to run, and what its file says.

    Args:
        model: on the CPU, or None for one that is made of `state` where it is asked for: that
            imports PyTorch, without which PoseMamba runs on a CPU (`runtime.LifterRuntime`).
        meta: what the file says.
        state: of the model.
    """

    def __init__(
        self, model: LifterNetwork | None, meta: CheckpointMeta, state: State | None = None
    ) -> None:
        if model is None and state is None:
            raise ValueError("a checkpoint has a model or what one is made of")
        self.meta: Final = meta
        self._model, self._state = model, state

    @property
    def model(self) -> LifterNetwork:
        """The network as a PyTorch module, for inference."""
        if self._model is None:
            assert self._state is not None
            self._model = _build(self.meta.config, self._state)
        return self._model

    @functools.cached_property
    def state(self) -> State | None:
        """The parameters; None of a module that is none of ours."""
        if self._state is None and self._model is not None:
            from posemamba.model import PoseMamba

            if isinstance(self._model, PoseMamba):
                own = self._model.state_dict()
                return {name: value.float().cpu().numpy() for name, value in own.items()}
        return self._state


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


def checksum_of(name_or_path: str | Path) -> str:
    """SHA-256 of a file of weights, as exports name it.

    Raises:
        CheckpointError: there is none.
    """
    return hashlib.sha256(find_weights(name_or_path).read_bytes()).hexdigest()


def load_checkpoint(name_or_path: str | Path) -> Checkpoint:
    """Load weights by name or path, ours or official, ready for inference.

    Raises:
        CheckpointError: missing, damaged, hostile or unsuitable file.
    """
    path = find_weights(name_or_path)
    if path.suffix == SUFFIX:
        state, meta = _read_safetensors(path)
    else:
        from posemamba.official import read_official

        state, meta = read_official(path)
    if sum(v.size for v in state.values()) < least_values(meta.config):
        raise CheckpointError(f"{path} holds fewer numbers than the architecture that it names")
    shapes = parameter_shapes(meta.config)
    model = None
    if shapes is None:  # only PyTorch knows
        try:
            model = _build(meta.config, state)
        except RuntimeError as error:
            # The first line only says that there are errors.
            detail = _printable("".join(str(error).split("\n\t")[1:2]))
            raise CheckpointError(f"{path} does not fit its architecture: {detail}") from error
    elif difference := _difference(shapes, state):
        raise CheckpointError(f"{path} does not fit its architecture: {_printable(difference)}")
    if not all(bool(np.isfinite(v).all()) for v in state.values()):
        raise CheckpointError(f"{path} holds values that are not finite")
    meta = replace(meta, sha256=checksum_of(path))
    return Checkpoint(model, meta, state)


def _build(config: PoseMambaConfig, state: State) -> LifterNetwork:
    """The module with these parameters, for inference.

    Raises:
        RuntimeError: they do not fit.
    """
    import torch

    from posemamba.hybrid import build

    model = build(config)
    model.load_state_dict({name: torch.tensor(v) for name, v in state.items()}, strict=True)
    return model.eval().requires_grad_(False)


def _difference(shapes: Mapping[str, tuple[int, ...]], state: State) -> str | None:
    """The first thing in which parameters are not those of a network."""
    if missing := [name for name in shapes if name not in state]:
        return f"it lacks {missing[0]}"
    if surplus := [name for name in state if name not in shapes]:
        return f"it holds {surplus[0]}, which the network has not"
    for name, shape in shapes.items():
        if state[name].shape != shape:
            return f"{name} has the shape {state[name].shape}, not {shape}"
    return None


def save_checkpoint(path: Path, state: Mapping[str, Tensor], meta: CheckpointMeta) -> None:
    """Write a weight file (temporary file, then rename).

    Raises:
        OSError: if the folder cannot be written to.
    """
    import torch
    from safetensors.torch import save_file

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


def _read_safetensors(path: Path) -> tuple[dict[str, NDArray[np.float32]], CheckpointMeta]:
    state = {}
    try:
        with safe_open(path, framework="numpy") as file:
            header = (file.metadata() or {}).get(_HEADER)
            if header is None:
                raise CheckpointError(f"{path} is not one of ours: it has no posemamba header")
            for key in file.keys():  # noqa: SIM118
                kind = file.get_slice(key).get_dtype()
                if kind not in _FLOATS:
                    raise CheckpointError(
                        f"{path} holds {_printable(key)}, which is no plain array of floats"
                    )
                values = _brain_floats(path, key) if kind == "BF16" else file.get_tensor(key)
                state[key] = np.asarray(values, np.float32)
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged, or no safetensors file: {error}") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        return state, CheckpointMeta.from_json(header)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _brain_floats(path: Path, key: str) -> Any:
    """An array of a type that NumPy does not have."""
    with safe_open(path, framework="pt") as file:
        return file.get_tensor(key).float().numpy()


def _printable(text: str) -> str:
    """Names out of a file, fit for a message."""
    return printable(text)[:200]
