"""Published checkpoints (``.bin``, ``.pth.tr``): PyTorch pickles, read without trusting them.

`torch.load(weights_only=True)` has an interpreter of its own that builds tensors and
containers and refuses every other name. One addition is needed: the published training
code saves its best loss beside the weights as a NumPy number. Such numbers are let through
as an empty stand-in; NumPy's own functions stay refused, because they would take sizes and
flags from the file.
"""

from __future__ import annotations

import math
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posemamba.config import PoseMambaConfig
from posemamba.metadata import CheckpointError, CheckpointMeta, check_config, is_plain_name
from posemamba.text import printable

_STATE_KEYS: Final = ("model_pos", "model", "state_dict")
"""Where a training checkpoint keeps the network, in the order in which they are tried."""
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80\x02"
"""First bytes of what torch.save writes now, and of what it wrote before version 1.6."""
MAX_FILE: Final = 2 * 2**30
"""Bytes of a checkpoint with optimiser states; the paper's L has 0.1 GB of weights."""
_MAX_PICKLE: Final = 64 * 2**20
"""Bytes of a member that holds no tensor."""
_DATA: Final = "/data/"


class _Ignored:
    """Takes the place of a NumPy number: accepts anything, keeps nothing."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def _stand_in(path: str) -> type[_Ignored]:
    """`_Ignored` under the full name that a pickle asks for."""
    module, _, name = path.rpartition(".")
    return type(name, (_Ignored,), {"__module__": module})


_STAND_INS: Final[list[Any]] = [
    _stand_in("numpy.core.multiarray.scalar"),
    _stand_in("numpy._core.multiarray.scalar"),  # written under NumPy 2
    _stand_in("numpy.dtype"),
]


def read_official(path: Path) -> tuple[dict[str, NDArray[np.float32]], CheckpointMeta]:
    """State dict of a published checkpoint and the architecture that its shapes imply.

    Raises:
        CheckpointError: not a checkpoint, or a pickle that asks for more than tensors.
    """
    state = _find_state(_load(path))
    if state is None:
        raise CheckpointError(f"{path} holds no state dict (looked for 'model_pos')")
    state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    if unusual := next((k for k, v in state.items() if not _is_plain(v)), None):
        raise CheckpointError(
            f"{path} holds {printable(unusual)[:200]}, which is no plain array of floats"
        )
    name = path.name.split(".")[0]
    arrays = {key: tensor.detach().float().numpy() for key, tensor in state.items()}
    return arrays, CheckpointMeta(
        name=name if is_plain_name(name) else "converted",
        config=_infer_config(state, path),
        input_kind="image",
        output_unit="image",
        training={"source": f"converted from {path.name}"},
    )


def _load(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            start = file.read(4)
        if not start:
            raise CheckpointError(f"{path} is empty")
        if not start.startswith((_ZIP, _PICKLE)):
            raise CheckpointError(f"{path} is not a PyTorch checkpoint")
        _check_sizes(path, archive=start.startswith(_ZIP))
        with torch.serialization.safe_globals(_STAND_INS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    except pickle.UnpicklingError as error:
        # PyTorch's own text proposes to load the file with its checks switched off.
        if asked := re.search(r"GLOBAL ([\w.]{1,80})", str(error)):
            why = f"it asks for {asked[1]}, and weights need nothing but tensors"
        else:
            why = "it is damaged, or holds more than tensors"
        raise CheckpointError(f"{path} was refused: {why}") from error
    except Exception as error:  # PyTorch raises many kinds for damaged files
        raise CheckpointError(f"{path} is damaged: PyTorch cannot read it") from error


def _check_sizes(path: Path, *, archive: bool) -> None:
    """Before PyTorch takes memory: torch.save packs nothing, so that no file holds more than
    its own size, and no network that can be run holds more than MAX_FILE.

    Raises:
        CheckpointError: it is too large, or unpacks to more than it is.
    """
    size = path.stat().st_size
    if size > MAX_FILE:
        raise CheckpointError(f"{path} is too large for weights: {size / 1e9:.1f} GB")
    if not archive:
        return
    try:
        with zipfile.ZipFile(path) as file:
            members = file.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError) as error:
        raise CheckpointError(f"{path} is damaged: PyTorch cannot read it") from error
    if any(info.compress_type != zipfile.ZIP_STORED for info in members) or (
        sum(info.file_size for info in members) > size
    ):
        raise CheckpointError(f"{path} is packed, which torch.save never does")
    if any(info.file_size > _MAX_PICKLE for info in members if _DATA not in info.filename):
        raise CheckpointError(f"{path} holds a part that is too large to be read")


def _find_state(loaded: Any) -> dict[str, Tensor] | None:
    for key in _STATE_KEYS:
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
            break
    if not isinstance(loaded, dict) or not loaded:
        return None
    named = all(isinstance(k, str) and isinstance(v, Tensor) for k, v in loaded.items())
    return loaded if named else None


def _infer_config(state: Mapping[str, Tensor], path: Path) -> PoseMambaConfig:
    try:
        dim, in_channels = state["Spatial_patch_to_embedding.weight"].shape
        depths = {int(m[1]) for k in state if (m := re.match(r"STEblocks\.(\d{1,4})\.", k))}
        config = PoseMambaConfig(
            dim=dim,
            depth=max(depths) + 1,
            frames=state["Temporal_pos_embed"].shape[1],
            d_state=state["STEblocks.0.op.A_logs"].shape[1],
            expand=state["STEblocks.0.op.out_proj.weight"].shape[1] // dim,
            mlp_ratio=math.ceil(state["STEblocks.0.mlp.fc1.weight"].shape[0] / dim),
            in_channels=in_channels,
        )
        check_config(config)
    except KeyError as error:
        raise CheckpointError(f"{path} is not a PoseMamba checkpoint: it has no {error}") from error
    except CheckpointError as error:
        raise CheckpointError(f"{path} is of a kind that cannot be run: {error}") from error
    except (ValueError, IndexError, ZeroDivisionError) as error:
        raise CheckpointError(f"{path} is not a PoseMamba checkpoint: odd shapes") from error
    return config


def _is_plain(tensor: Tensor) -> bool:
    """Floats in memory, one for each element (a view may claim more than it has)."""
    return (
        tensor.layout is torch.strided
        and tensor.device.type == "cpu"
        and tensor.is_floating_point()
        and tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()
    )
