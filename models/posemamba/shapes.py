"""What parameters a network has, known without building it."""

from __future__ import annotations

import math
from typing import Final

from posemamba.config import PoseMambaConfig
from posemamba.skeleton import NUM_JOINTS

_DIRECTIONS: Final = 4


def parameter_shapes(config: PoseMambaConfig) -> dict[str, tuple[int, ...]] | None:
    """Names and shapes in a PoseMamba's state dict; None of other architectures."""
    if config.architecture != "posemamba":
        return None
    dim, channels = config.dim, config.in_channels
    shapes: dict[str, tuple[int, ...]] = {
        "Spatial_pos_embed": (1, NUM_JOINTS, dim),
        **_linear("Spatial_patch_to_embedding", dim, channels),
        **_norm("Spatial_norm", dim),
        **_norm("Temporal_norm", dim),
        **_norm("head.0", dim),
        **_linear("head.1", 3, dim),
    }
    if not config.causal:
        shapes["Temporal_pos_embed"] = (1, config.frames, dim)
    for depth in range(config.depth):
        for blocks in ("STEblocks", "TTEblocks"):
            shapes |= _block(f"{blocks}.{depth}", config)
        if config.pooling:
            pool = f"pools.{depth}"
            shapes |= {f"{pool}.scale": (2 * dim,), f"{pool}.shift": (2 * dim,)}
            shapes |= _norm(f"{pool}.norm", dim) | _norm(f"{pool}.norm_pooled", 2 * dim)
            shapes |= _linear(f"{pool}.proj", dim, 2 * dim)
    if config.frame_embedding:
        shapes |= _linear("frame_embedding", dim, NUM_JOINTS * channels)
    if config.input_skip:
        shapes["input_skip"] = (1,)
    if config.joint_bias:
        shapes["joint_bias"] = (NUM_JOINTS, 3)
    if config.gravity:
        shapes |= _linear("gravity.fc1", dim, dim) | _linear("gravity.fc2", 3, dim)
    return shapes


def _block(name: str, config: PoseMambaConfig) -> dict[str, tuple[int, ...]]:
    dim, inner, states = config.dim, config.dim * config.expand, config.d_state
    rank, hidden = math.ceil(dim / 16), dim * config.mlp_ratio
    op = f"{name}.op"
    return {
        **_norm(f"{name}.norm", dim),
        **_norm(f"{name}.norm2", dim),
        **_linear(f"{name}.mlp.fc1", hidden, dim),
        **_linear(f"{name}.mlp.fc2", dim, hidden),
        f"{op}.in_proj.weight": (2 * inner, dim),
        f"{op}.conv2d.weight": (inner, 1, 3, 3),
        f"{op}.conv2d.bias": (inner,),
        f"{op}.x_proj_weight": (_DIRECTIONS, rank + 2 * states, inner),
        f"{op}.dt_projs_weight": (_DIRECTIONS, inner, rank),
        f"{op}.dt_projs_bias": (_DIRECTIONS, inner),
        f"{op}.A_logs": (_DIRECTIONS * inner, states),
        f"{op}.Ds": (_DIRECTIONS * inner,),
        **_norm(f"{op}.out_norm", inner),
        f"{op}.out_proj.weight": (dim, inner),
    }


def _linear(name: str, out: int, inputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (out, inputs), f"{name}.bias": (out,)}


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}
