"""MotionAGFormer-XS, the network that PoseMamba-S is measured against; only for timing.

Written from the paper (Mehraban et al., WACV 2024, arXiv 2310.16288): every layer has an
attention stream and a graph stream, each spatial and then temporal, and adds the two with
weights that it computes per token. Sizes of XS (its table 1): 12 layers, 64 channels, 27
frames, 8 heads, 2.2 M parameters.
"""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from posemamba.skeleton import NUM_JOINTS, PARENTS

XS_FRAMES: Final = 27
_NEIGHBOURS: Final = 2
"""Most similar frames that a joint is connected with in the temporal graph."""


class Attention(nn.Module):
    """Self-attention over the tokens of (B, N, C)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.out(y.transpose(1, 2).flatten(2))
        return out


class Graph(nn.Module):
    """Graph convolution over the tokens of (B, N, C), on given edges or on similar tokens."""

    adjacency: Tensor | None

    def __init__(self, dim: int, nodes: int, adjacency: Tensor | None) -> None:
        super().__init__()
        self.of_self, self.of_neighbours = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.norm = nn.BatchNorm1d(nodes)
        self.register_buffer("adjacency", adjacency)

    def forward(self, x: Tensor) -> Tensor:
        edges = self._similar(x) if self.adjacency is None else self.adjacency
        degree = edges.sum(-1, keepdim=True).rsqrt()
        edges = degree * edges * degree.transpose(-1, -2)
        y = self.norm(edges @ self.of_neighbours(x) + self.of_self(x))
        return F.relu(x + y)

    @staticmethod
    def _similar(x: Tensor) -> Tensor:
        similarity = x @ x.transpose(1, 2)
        least = similarity.topk(_NEIGHBOURS, -1).values[..., -1:]
        return (similarity >= least).to(x.dtype)


class Half(nn.Module):
    """One mixer over joints or frames, then an MLP; both residual with a learned scale."""

    def __init__(self, dim: int, mixer: nn.Module, over_frames: bool) -> None:
        super().__init__()
        self.over_frames = over_frames
        self.mixer = mixer
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.scale1, self.scale2 = (nn.Parameter(torch.full((dim,), 1e-5)) for _ in range(2))
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, 17, C) to the same."""
        grid = x.transpose(1, 2) if self.over_frames else x
        mixed = self.mixer(self.norm1(grid).flatten(0, 1)).view(grid.shape)
        x = x + self.scale1 * (mixed.transpose(1, 2) if self.over_frames else mixed)
        y: Tensor = x + self.scale2 * self.mlp(self.norm2(x))
        return y


class Layer(nn.Module):
    def __init__(self, dim: int, frames: int, heads: int, skeleton: Tensor) -> None:
        super().__init__()
        self.attention = nn.Sequential(
            Half(dim, Attention(dim, heads), over_frames=False),
            Half(dim, Attention(dim, heads), over_frames=True),
        )
        self.graph = nn.Sequential(
            Half(dim, Graph(dim, NUM_JOINTS, skeleton), over_frames=False),
            Half(dim, Graph(dim, frames, None), over_frames=True),
        )
        self.fusion = nn.Linear(2 * dim, 2)

    def forward(self, x: Tensor) -> Tensor:
        a, g = self.attention(x), self.graph(x)
        share = self.fusion(torch.cat([a, g], -1)).softmax(-1)
        y: Tensor = share[..., :1] * a + share[..., 1:] * g
        return y


class MotionAGFormer(nn.Module):
    """(B, T, 17, 3) keypoints with confidence to (B, T, 17, 3)."""

    def __init__(
        self, dim: int = 64, depth: int = 12, frames: int = XS_FRAMES, heads: int = 8
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(3, dim)
        self.position = nn.Parameter(torch.zeros(1, NUM_JOINTS, dim))
        skeleton = torch.eye(NUM_JOINTS)
        for child, parent in enumerate(PARENTS):
            if parent >= 0:
                skeleton[child, parent] = skeleton[parent, child] = 1
        self.layers = nn.Sequential(*(Layer(dim, frames, heads, skeleton) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Sequential(nn.Linear(dim, 512), nn.Tanh(), nn.Linear(512, 3))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.norm(self.layers(self.embed(x) + self.position)))
        return y
