"""Local norm pooling over the skeleton (after Mamba3D, arXiv 2404.14966, section 3.2).

Of each joint's neighbours, what differs from the joint itself (in feature space a bone) is
pooled by a softmax per channel, and added to the joint. Mamba3D divides the differences by one
spread of the whole batch, which would couple recordings with each other and a frame with later
ones; here the norm before it stands for that.
"""

from __future__ import annotations

import math
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from posemamba.linear import linear
from posemamba.skeleton import NUM_JOINTS, neighbours

_WIDEST: Final = 5
"""The joint itself and at most four neighbours."""


class NeighbourPooling(nn.Module):
    """x + SiLU(W LN[pooled differences; x]), on (..., 17, C)."""

    table: Tensor
    absent: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        near = neighbours()
        table = [(own + own[:1] * _WIDEST)[:_WIDEST] for own in near]
        absent = [[0.0] * len(own) + [-math.inf] * (_WIDEST - len(own)) for own in near]
        self.register_buffer("table", torch.tensor(table).flatten(), persistent=False)
        self.register_buffer("absent", torch.tensor(absent)[..., None], persistent=False)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.scale = nn.Parameter(torch.ones(2 * dim))
        self.shift = nn.Parameter(torch.zeros(2 * dim))
        self.norm_pooled = nn.LayerNorm(2 * dim, eps=1e-6)
        self.proj = nn.Linear(2 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        own = self.norm(x)
        near = own.index_select(-2, self.table).unflatten(-2, (NUM_JOINTS, _WIDEST))
        scale, own_scale = self.scale.chunk(2)
        shift, own_shift = self.shift.chunk(2)
        bones = (near - own[..., None, :]) * scale + shift
        pooled = ((bones + self.absent).softmax(-2) * bones).sum(-2)
        both = self.norm_pooled(torch.cat([pooled, own * own_scale + own_shift], -1))
        return x + F.silu(linear(both, self.proj.weight, self.proj.bias))
