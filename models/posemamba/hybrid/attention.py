"""Self-attention among the joints of a frame, biased by their distance along the skeleton."""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from posemamba.config import PoseMambaConfig
from posemamba.hybrid.mixer import WithinFrame
from posemamba.linear import linear
from posemamba.skeleton import BONES, NUM_JOINTS

HEAD_WIDTH: Final = 16


def hops() -> Tensor:
    """(17, 17) bones between any two joints."""
    distance = torch.full((NUM_JOINTS, NUM_JOINTS), NUM_JOINTS)
    distance.fill_diagonal_(0)
    for one, other in BONES:
        distance[one, other] = distance[other, one] = 1
    for via in range(NUM_JOINTS):
        distance = torch.minimum(distance, distance[:, via, None] + distance[via])
    return distance


class JointAttention(WithinFrame, nn.Module):
    hops: Tensor

    def __init__(self, config: PoseMambaConfig) -> None:
        super().__init__()
        dim = config.dim
        self.heads = max(dim // HEAD_WIDTH, 1)
        self.register_buffer("hops", hops(), persistent=False)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.hop_bias = nn.Parameter(torch.zeros(self.heads, int(self.hops.max()) + 1))

    def forward(self, x: Tensor) -> Tensor:
        batch, frames, joints, _ = x.shape
        qkv = linear(x, self.qkv.weight, self.qkv.bias)
        q, k, v = qkv.view(batch * frames, joints, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        bias = self.hop_bias[:, self.hops]
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias[None])
        return linear(y.transpose(1, 2).reshape(x.shape), self.proj.weight, self.proj.bias)
