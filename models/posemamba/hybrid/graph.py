"""Graph convolutions over the skeleton and over like frames (after MotionAGFormer's GCN).

out = ReLU(x + LN(A V x + U x)). MotionAGFormer (arXiv 2310.16288) norms by statistics of each
node, that is of each frame number in time, which fixes the length and cannot stream; here it is
a LayerNorm over the channels.
"""

from __future__ import annotations

import math
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from posemamba.config import PoseMambaConfig
from posemamba.hybrid.mixer import WithinFrame
from posemamba.linear import linear
from posemamba.skeleton import BONES, NUM_JOINTS

NEAREST: Final = 2
"""Frames that a frame is convolved with: nearly always itself and the most similar other."""
HORIZON: Final = 27
"""A causal graph looks among so many last frames, the newest included."""


class GraphConvolution(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.around = nn.Linear(dim, dim)
        self.own = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def neighbours(self, x: Tensor) -> Tensor:
        """V x."""
        return linear(x, self.around.weight, self.around.bias)

    def joined(self, x: Tensor, gathered: Tensor) -> Tensor:
        """From x and A V x."""
        y: Tensor = self.norm(gathered + linear(x, self.own.weight, self.own.bias))
        return F.relu(x + y)


class JointGraph(WithinFrame, GraphConvolution):
    """Over the skeleton's bones, symmetrically normalised, without self loops."""

    adjacency: Tensor

    def __init__(self, config: PoseMambaConfig) -> None:
        super().__init__(config.dim)
        a = torch.zeros(NUM_JOINTS, NUM_JOINTS)
        for one, other in BONES:
            a[one, other] = a[other, one] = 1.0
        root = a.sum(1).sqrt()
        self.register_buffer("adjacency", a / (root[:, None] * root), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.joined(x, torch.matmul(self.adjacency, self.neighbours(x)))


class FrameGraph(GraphConvolution):
    """Over each joint's most similar frames, all of them or (causal) those before."""

    def __init__(self, config: PoseMambaConfig) -> None:
        super().__init__(config.dim)
        self.causal = config.causal

    def forward(self, x: Tensor) -> Tensor:
        along = x.transpose(1, 2)  # (B, J, T, C)
        weight, nearest = self._nearest(along)
        values = self.neighbours(along)
        index = nearest.flatten(2)[..., None].expand(-1, -1, -1, values.shape[-1])
        rows = values.gather(2, index).unflatten(2, nearest.shape[2:])
        return self.joined(x, (weight[..., None] * rows).sum(3).transpose(1, 2))

    @torch.no_grad()
    def _nearest(self, along: Tensor) -> tuple[Tensor, Tensor]:
        """(B, J, T, k) weights and frames."""
        alike = along @ along.mT
        if self.causal:
            age = torch.arange(along.shape[2], device=along.device)
            age = age[:, None] - age
            alike.masked_fill_((age < 0) | (age >= HORIZON), -math.inf)
        return _weighted(alike)

    def step(self, x: Tensor, memory: Any) -> Tensor:
        """Memory: the last frames' x and V x (B, HORIZON, J, C), and which there are."""
        values = self.neighbours(x)
        there = torch.ones_like(memory[2][:, :1])
        for i, new in enumerate((x, values, there)):
            memory[i] = torch.cat([memory[i][:, 1:], new], 1)
        keys, rows, known = memory
        alike = torch.einsum("bjc,btjc->bjt", x[:, 0], keys)
        alike = alike.masked_fill(known[:, None] == 0.0, -math.inf)
        weight, nearest = _weighted(alike)
        index = nearest[..., None].expand(-1, -1, -1, rows.shape[-1])
        gathered = (weight[..., None] * rows.transpose(1, 2).gather(2, index)).sum(2)
        return self.joined(x, gathered[:, None])

    def init_memory(self, batch: int) -> list[Tensor]:
        dim, device = self.own.weight.shape[0], self.own.weight.device
        tokens = torch.zeros(batch, HORIZON, NUM_JOINTS, dim, device=device)
        return [tokens, tokens.clone(), torch.zeros(batch, HORIZON, device=device)]


def _weighted(alike: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest of (..., T) similarities, each with an equal weight if it may be seen."""
    top, nearest = alike.topk(min(NEAREST, alike.shape[-1]), -1)
    seen = torch.isfinite(top).to(alike.dtype)
    return seen / seen.sum(-1, keepdim=True), nearest
