"""Layers of the hybrids: residual steps of mixers, and how their streams join.

The layer after Pose Magic has two streams from the same tokens, each over joints and then over
frames: one of Mambas without MLP, one of graph convolutions with an MLP after each; a softmax
of both, per token, joins them (MotionAGFormer's fusion). From the paper: a Mamba and a graph
part, fused adaptively, and a causal version. The rest is ours.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from posemamba.config import PoseMambaConfig
from posemamba.hybrid.attention import JointAttention
from posemamba.hybrid.graph import FrameGraph, JointGraph
from posemamba.hybrid.mamba import MambaMixer
from posemamba.hybrid.mixer import Mixer
from posemamba.linear import linear
from posemamba.model import Mlp
from posemamba.pooling import NeighbourPooling


class Residual(nn.Module):
    """x + scale * mixer(LN x), then the same with an MLP if wanted."""

    def __init__(self, config: PoseMambaConfig, mixer: nn.Module, *, mlp: bool) -> None:
        super().__init__()
        dim = config.dim
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.mixer = mixer
        self.scale = nn.Parameter(torch.ones(dim))
        if mlp:
            self.norm_mlp = nn.LayerNorm(dim, eps=1e-6)
            self.mlp = Mlp(dim, dim * config.mlp_ratio)
            self.scale_mlp = nn.Parameter(torch.ones(dim))
        self._mlp = mlp

    def forward(self, x: Tensor) -> Tensor:
        return self._rest(x, self.mixer(self.norm(x)))

    def step(self, x: Tensor, memory: list[Tensor]) -> Tensor:
        return self._rest(x, cast(Mixer, self.mixer).step(self.norm(x), memory))

    def _rest(self, x: Tensor, mixed: Tensor) -> Tensor:
        x = x + self.scale * mixed
        if self._mlp:
            x = x + self.scale_mlp * self.mlp(self.norm_mlp(x))
        return x

    def init_memory(self, batch: int) -> list[Tensor]:
        return cast(Mixer, self.mixer).init_memory(batch)


class Layer(nn.Module):
    """Streams of residual steps, pooled before and joined after."""

    def __init__(self, config: PoseMambaConfig, *streams: list[Residual]) -> None:
        super().__init__()
        self.streams = nn.ModuleList(nn.ModuleList(stream) for stream in streams)
        if config.pooling:
            self.pool = NeighbourPooling(config.dim)
        self._pooling = config.pooling
        if len(streams) > 1:
            self.join = nn.Linear(len(streams) * config.dim, len(streams))

    def forward(self, x: Tensor) -> Tensor:
        return self._run(x, None)

    def step(self, x: Tensor, memory: list[list[Tensor]]) -> Tensor:
        """The next frame (B, 1, 17, C); the memory of each residual step is updated in place."""
        return self._run(x, memory)

    def init_memory(self, batch: int) -> list[list[Tensor]]:
        return [part.init_memory(batch) for part in self._parts()]

    def _parts(self) -> list[Residual]:
        return [cast(Residual, p) for stream in self.streams for p in cast(nn.ModuleList, stream)]

    def _run(self, x: Tensor, memory: list[list[Tensor]] | None) -> Tensor:
        x = self.pool(x) if self._pooling else x
        results, at = [], 0
        for stream in self.streams:
            y = x
            for part in cast(nn.ModuleList, stream):
                residual = cast(Residual, part)
                y = residual(y) if memory is None else residual.step(y, memory[at])
                at += 1
            results.append(y)
        if len(results) == 1:
            return results[0]
        logits = linear(torch.cat(results, -1), self.join.weight, self.join.bias)
        weights = logits.softmax(-1).unsqueeze(-2)
        return (torch.stack(results, -1) * weights).sum(-1)


def pose_magic(config: PoseMambaConfig) -> Layer:
    """After Pose Magic."""
    mamba = [Residual(config, MambaMixer(config, axis), mlp=False) for axis in ("joints", "time")]
    graph = [Residual(config, mixer(config), mlp=True) for mixer in (JointGraph, FrameGraph)]
    return Layer(config, mamba, graph)


def attention_mamba(config: PoseMambaConfig) -> Layer:
    """Attention among the joints, Mamba in time, in series, each with an MLP."""
    space = Residual(config, JointAttention(config), mlp=True)
    time = Residual(config, MambaMixer(config, "time"), mlp=True)
    return Layer(config, [space, time])
