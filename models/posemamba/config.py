"""What defines a network: sizes and options, and the presets."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class PoseMambaConfig:
    """Architecture. The defaults after `frames` are the paper's; official weights need them.

    The options at the end are ours and off for official checkpoints: they shorten training
    on small budgets (see the README's section on weights).
    """

    dim: int = 64
    depth: int = 10
    frames: int = 243
    d_state: int = 16
    expand: int = 2
    mlp_ratio: int = 2
    in_channels: int = 2
    frame_embedding: bool = False
    """Adds an embedding of the frame's whole 2D pose to every joint's token."""
    input_skip: bool = False
    """Adds the root-relative 2D input, times a learned factor, to x and y of the output."""
    joint_bias: bool = False
    """Adds a learned constant pose to the output."""
    causal: bool = False
    """No frame sees a later one: the network can run frame by frame (`PoseMamba.step`)."""
    integer_decay: bool = False
    """Keeps the state matrix at its initial value -1 ... -N: the scan is cheaper."""
    architecture: str = "posemamba"
    """One of `ARCHITECTURES`."""
    pooling: bool = False
    """Pools over each joint's neighbours in the skeleton before what mixes joints (Mamba3D)."""
    exchange: bool = False
    """Hybrids: the second scan in time runs forward with value and gate exchanged (Mamba3D)."""
    gravity: bool = False
    """Adds a row to the 17 joints: the pitch and roll of the pose's axes (`posemamba.gravity`)."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


ARCHITECTURES: Final = ("posemamba", "pose-magic", "attention-mamba")
"""The paper's, and those of `posemamba.hybrid`."""
TYPICAL_SKIP: Final = 0.25
"""Body heights per unit of normalised 2D: where the learned skip starts."""

PRESETS: Final[dict[str, dict[str, Any]]] = {
    "XS": {"dim": 32, "depth": 3},
    "M3": {"dim": 64, "depth": 3},
    "S": {"dim": 64, "depth": 10},
    "B": {"dim": 128, "depth": 10},
    "L": {"dim": 128, "depth": 20},
    "pooling-M3": {"dim": 64, "depth": 3, "pooling": True},
    "magic-M3": {"dim": 64, "depth": 3, "architecture": "pose-magic"},
    "attention-M5": {"dim": 64, "depth": 5, "architecture": "attention-mamba"},
}
"""S, B, L are the paper's; XS and M3 are ours, for weak CPUs and for training on CPUs, and so
are the last three, which have about as many parameters as M3."""
