"""Weight files: safetensors with a JSON header; official checkpoints read safely.

Our files hold the state dict of `PoseMamba` and one metadata entry, ``posemamba``, a JSON
object (`CheckpointMeta`). Official files (``.bin``, ``.pth.tr``) are pickles: they are
read with ``torch.load(weights_only=True)`` only, which builds tensors and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import pickle
import re
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from posemamba.model import PoseMamba, PoseMambaConfig
from posemamba.normalize import ASSUMED_FOV_DEG

SCHEMA: Final = 1
_HEADER: Final = "posemamba"
_SUFFIX: Final = ".safetensors"
_PICKLED: Final = (".bin", ".pth", ".pt", ".tr")


class CheckpointError(ValueError):
    """A weight file that cannot be used; the message names the file and the cause."""


@dataclass(frozen=True, slots=True)
class CheckpointMeta:
    """What a weight file says about itself."""

    name: str
    config: PoseMambaConfig
    input_kind: Literal["rays", "stream", "image"]
    """How pixels become network units: see posemamba.normalize."""
    output_unit: Literal["body_height", "image"]
    """Root-relative output in body heights (virtual camera axes), or in image units at the
    root's depth (camera axes), as the official models give it."""
    fov_deg: float = ASSUMED_FOV_DEG
    """Field of view across the longer side that "rays" assumes when none is given."""
    joint_set: str = "human3.6m-17"
    training: Mapping[str, Any] = field(default_factory=dict)
    """Free-form: data, licences, recipe, seed, metrics, versions."""
    sha256: str = ""
    """Of the file; filled in on loading."""

    @property
    def frames(self) -> int:
        """Longest window."""
        return self.config.frames

    def to_json(self) -> str:
        values = asdict(self)
        del values["sha256"]
        return json.dumps({"schema": SCHEMA, **values}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> CheckpointMeta:
        """Raises CheckpointError where the header is not one of ours."""
        try:
            values = json.loads(text)
            if values.pop("schema") != SCHEMA:
                raise CheckpointError("its header has another schema version")
            config = PoseMambaConfig(**values.pop("config"))
            meta = cls(config=config, **values)
        except (TypeError, KeyError, AttributeError, json.JSONDecodeError) as error:
            raise CheckpointError(f"its header is not readable: {error}") from error
        if meta.input_kind not in ("rays", "stream", "image") or meta.output_unit not in (
            "body_height",
            "image",
        ):
            raise CheckpointError("its header names an unknown input or output unit")
        return meta


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A network ready to run, and what its file says."""

    model: PoseMamba
    meta: CheckpointMeta


def weights_folders() -> list[Path]:
    """Where named weights are looked for: beside the package, or in a checkout."""
    here = Path(__file__).resolve().parent
    return [here / "weights", here.parent.parent / "weights"]


def shipped_weights() -> dict[str, Path]:
    """Name and path of the weights that came with this installation."""
    return {
        path.stem: path
        for folder in reversed(weights_folders())
        for path in sorted(folder.glob(f"*{_SUFFIX}"))
    }


def find_weights(name_or_path: str | Path) -> Path:
    """The file behind a name ("window-m3") or a path.

    Raises:
        CheckpointError: if there is none.
    """
    path = Path(name_or_path)
    if path.is_file():
        return path
    shipped = shipped_weights()
    if str(name_or_path) in shipped:
        return shipped[str(name_or_path)]
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder, not a weight file")
    names = ", ".join(sorted(shipped)) or "none"
    raise CheckpointError(f"no weights {str(name_or_path)!r}: no such file; by name: {names}")


def load_checkpoint(name_or_path: str | Path, device: str | torch.device = "cpu") -> Checkpoint:
    """Load weights by name or path, ours or official, ready for inference.

    Raises:
        CheckpointError: missing, damaged, hostile or unsuitable file.
    """
    path = find_weights(name_or_path)
    if path.suffix == _SUFFIX:
        state, meta = _read_safetensors(path)
    else:
        state, meta = read_official(path)
    model = PoseMamba(meta.config)
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise CheckpointError(
            f"{path} does not fit its architecture: {_first_line(error)}"
        ) from error
    if not all(bool(torch.isfinite(t).all()) for t in model.state_dict().values()):
        raise CheckpointError(f"{path} holds values that are not finite")
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


def read_official(path: Path) -> tuple[dict[str, Tensor], CheckpointMeta]:
    """State dict of a published checkpoint and the architecture that its shapes imply.

    Raises:
        CheckpointError: not a checkpoint, or a pickle that wants to run code.
    """
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Weights only load failed" in str(error) and "GLOBAL" in str(error):
            raise CheckpointError(
                f"{path} was refused: it asks for code to be run, not just for weights"
            ) from error
        raise CheckpointError(f"{path} is not a checkpoint: {_first_line(error)}") from error
    except Exception as error:  # torch raises many kinds for damaged files
        raise CheckpointError(f"{path} is not a checkpoint: {_first_line(error)}") from error
    state = loaded
    for key in ("model_pos", "model", "state_dict"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
            break
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise CheckpointError(f"{path} holds no state dict (looked for 'model_pos')")
    state = {k.removeprefix("module."): v.float() for k, v in state.items()}
    return state, CheckpointMeta(
        name=path.name.split(".")[0],
        config=_infer_config(state, path),
        input_kind="image",
        output_unit="image",
        training={"source": f"converted from {path.name}"},
    )


def _infer_config(state: Mapping[str, Tensor], path: Path) -> PoseMambaConfig:
    try:
        dim, in_channels = state["Spatial_patch_to_embedding.weight"].shape
        depths = {int(m[1]) for k in state if (m := re.match(r"STEblocks\.(\d+)\.", k))}
        channels, _ = state["STEblocks.0.op.out_proj.weight"].T.shape
        return PoseMambaConfig(
            dim=dim,
            depth=max(depths) + 1,
            frames=state["Temporal_pos_embed"].shape[1],
            d_state=state["STEblocks.0.op.A_logs"].shape[1],
            expand=channels // dim,
            mlp_ratio=math.ceil(state["STEblocks.0.mlp.fc1.weight"].shape[0] / dim),
            in_channels=in_channels,
        )
    except (KeyError, ValueError, IndexError) as error:
        raise CheckpointError(
            f"{path} is not a PoseMamba checkpoint: {error} is missing"
        ) from error


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], CheckpointMeta]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            header = (file.metadata() or {}).get(_HEADER)
            if header is None:
                raise CheckpointError(f"{path} is not one of ours: it has no posemamba header")
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged: {_first_line(error)}") from error
    try:
        meta = CheckpointMeta.from_json(header)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    values = {f.name: getattr(meta, f.name) for f in fields(meta)}
    return state, CheckpointMeta(**{**values, "sha256": digest})


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
