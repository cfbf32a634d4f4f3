"""What a weight file says about itself, and what of that is believed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, Literal, get_args

from posemamba.config import ARCHITECTURES, PoseMambaConfig
from posemamba.normalize import ASSUMED_FOV_DEG, RAY_CHANNELS, RAY_INPUTS

SCHEMA: Final = 1
JOINT_SET: Final = "human3.6m-17"
InputKind = Literal["rays", "stream", "image"]
OutputUnit = Literal["body_height", "image"]

CONFIG_LIMITS: Final = {
    "dim": (1, 2048),
    "depth": (1, 64),
    "frames": (1, 4096),
    "d_state": (16, 16),  # what the scan kernels are made for
    "expand": (1, 8),
    "mlp_ratio": (1, 8),
    "in_channels": (2, RAY_CHANNELS),
}
"""Smallest and largest value of each size: far beyond the paper's L, and harmless."""
_CHANNEL_STEP: Final = 16
"""The scan works on so many channels at a time."""
_NAME_LENGTH: Final = 100


class CheckpointError(ValueError):
    """A weight file that cannot be used; the message names the file and the cause."""


@dataclass(frozen=True, slots=True)
class CheckpointMeta:
    """What a weight file says about itself."""

    name: str
    config: PoseMambaConfig
    input_kind: InputKind
    """How pixels become network units: see posemamba.normalize."""
    output_unit: OutputUnit
    """Root-relative output in body heights (virtual camera axes; where `config.gravity` is set,
    with the pitch and roll of those axes, which take it to gravity-view coordinates), or in image
    units at the root's depth (camera axes), as the official models give it."""
    fov_deg: float = ASSUMED_FOV_DEG
    """Field of view across the longer side that "rays" assumes when none is given."""
    joint_set: str = JOINT_SET
    training: Mapping[str, Any] = field(default_factory=dict)
    """Free-form: data, licences, recipe, seed, metrics, versions."""
    sha256: str = ""
    """Of the file; filled in on loading."""

    @property
    def frames(self) -> int:
        """Longest window."""
        return self.config.frames

    @property
    def causal(self) -> bool:
        """Whether the network goes from frame to frame and has no window."""
        return self.config.causal

    def to_json(self) -> str:
        values = asdict(self)
        del values["sha256"]
        return json.dumps({"schema": SCHEMA, **values}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> CheckpointMeta:
        """Read and check a header.

        Raises:
            CheckpointError: it is not one of ours, or asks for what cannot be.
        """
        try:
            values = json.loads(text)
            if values.pop("schema") != SCHEMA:
                raise CheckpointError("its header has another schema version")
            config = PoseMambaConfig(**values.pop("config"))
            meta = cls(config=config, **values)
        except CheckpointError:
            raise
        except (TypeError, KeyError, AttributeError, ValueError, RecursionError) as error:
            raise CheckpointError(f"its header is not readable: {str(error)[:200]}") from error
        check_config(config)
        meta._check()
        return meta

    def _check(self) -> None:
        """Types and values as declared: JSON guarantees neither."""
        if not is_plain_name(self.name):
            raise CheckpointError("its header gives no proper name")
        if self.input_kind not in get_args(InputKind) or self.output_unit not in get_args(
            OutputUnit
        ):
            raise CheckpointError("its header names an unknown input or output unit")
        if self.input_kind != "image" and self.config.in_channels not in RAY_INPUTS:
            raise CheckpointError(
                f"{self.input_kind!r} input has {' or '.join(map(str, RAY_INPUTS))} channels, "
                f"but its network takes {self.config.in_channels}"
            )
        if self.input_kind == "image" and self.config.in_channels != 2:
            raise CheckpointError("'image' input has 2 channels, but its network takes more")
        if self.input_kind == "image" and self.config.gravity:
            raise CheckpointError("networks of 'image' input do not say which way is up")
        if self.config.causal and self.input_kind != "stream":
            raise CheckpointError("a causal network takes 'stream' input only")
        fov = self.fov_deg
        if isinstance(fov, bool) or not isinstance(fov, int | float) or not 1.0 <= fov <= 179.0:
            raise CheckpointError("its header has no proper field of view")
        if self.joint_set != JOINT_SET:
            raise CheckpointError(f"its joints are not {JOINT_SET}")
        if not isinstance(self.training, dict) or not isinstance(self.sha256, str):
            raise CheckpointError("its header has entries of the wrong kind")


def check_config(config: PoseMambaConfig) -> None:
    """Refuse sizes that this library cannot run, before anything is allocated.

    Raises:
        CheckpointError: what is wrong; the file's name is for the caller to add.
    """
    for name in (f.name for f in fields(config)):
        value = getattr(config, name)
        if name == "architecture":
            if value not in ARCHITECTURES:
                raise CheckpointError(f"its architecture {str(value)[:20]!r} is not known here")
            continue
        if name not in CONFIG_LIMITS:
            if not isinstance(value, bool):
                raise CheckpointError(f"its {name} is neither true nor false")
            continue
        low, high = CONFIG_LIMITS[name]
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            allowed = f"{low}" if low == high else f"{low} to {high}"
            raise CheckpointError(f"its {name} is {str(value)[:20]}; this program takes {allowed}")
    if config.dim * config.expand % _CHANNEL_STEP:
        raise CheckpointError(
            f"its dim * expand is {config.dim * config.expand}, no multiple of {_CHANNEL_STEP}"
        )


def least_values(config: PoseMambaConfig) -> int:
    """How many numbers a network of this size has at least (the larger matrices only).

    A file with fewer is refused before a network is built that it could not fill.
    """
    inner = config.dim * config.expand
    if config.architecture != "posemamba":  # at least a Mamba in time and an MLP
        return config.depth * (3 * inner * config.dim + 2 * config.mlp_ratio * config.dim**2)
    block = 3 * inner * config.dim + 2 * config.mlp_ratio * config.dim**2
    positions = 0 if config.causal else config.frames * config.dim
    return 2 * config.depth * (block + 4 * inner * config.d_state) + positions


def is_plain_name(name: object) -> bool:
    """A short printable text: it will be shown in terminals and windows."""
    return isinstance(name, str) and 0 < len(name) <= _NAME_LENGTH and name.isprintable()
