"""Mamba (arXiv 2312.00752) along one axis: forward, both ways, or with a second scan.

Both ways as in Vision Mamba (arXiv 2401.09417): one projection in and out, and for each way a
convolution and a scan of its own. With `exchange` as Mamba3D's code has its second scan: it
runs forward as well, with value and gate exchanged, which suits causal networks.
"""

from __future__ import annotations

import math
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from posemamba.config import PoseMambaConfig
from posemamba.hybrid.sequences import Axis, SequenceParameters, scan_sequences, step_sequences
from posemamba.linear import linear
from posemamba.skeleton import NUM_JOINTS

TAPS: Final = 4
"""Of the convolution."""


class Branch(nn.Module):
    """Convolution, SiLU and scan of one way."""

    def __init__(self, config: PoseMambaConfig, axis: Axis, backwards: bool) -> None:
        super().__init__()
        inner, n = config.dim * config.expand, config.d_state
        rank = math.ceil(config.dim / 16)
        self.axis, self.backwards, self.integer_decay = axis, backwards, config.integer_decay
        self.conv_weight = nn.Parameter(torch.empty(inner, TAPS))
        self.conv_bias = nn.Parameter(torch.zeros(inner))
        self.x_proj_weight = nn.Parameter(torch.empty(rank + 2 * n, inner))
        self.dt_proj_weight = nn.Parameter(torch.empty(inner, rank))
        self.dt_proj_bias = nn.Parameter(torch.empty(inner))
        self.A_logs = nn.Parameter(
            torch.log(torch.arange(1, n + 1, dtype=torch.float32)).repeat(inner, 1),
            requires_grad=not config.integer_decay,
        )
        self.Ds = nn.Parameter(torch.ones(inner))
        nn.init.uniform_(self.conv_weight, -(TAPS**-0.5), TAPS**-0.5)
        nn.init.uniform_(self.x_proj_weight, -(inner**-0.5), inner**-0.5)
        nn.init.uniform_(self.dt_proj_weight, -(rank**-0.5), rank**-0.5)
        low, high = math.log(0.001), math.log(0.1)
        dt = torch.exp(torch.rand(inner) * (high - low) + low).clamp(min=1e-4)
        with torch.no_grad():
            self.dt_proj_bias.copy_(dt + torch.log(-torch.expm1(-dt)))  # inverse softplus

    def parameters_of_scan(self) -> SequenceParameters:
        return SequenceParameters(
            self.x_proj_weight,
            self.dt_proj_weight,
            self.dt_proj_bias,
            -torch.exp(self.A_logs),
            self.Ds,
            self.integer_decay,
        )

    def forward(self, values: Tensor) -> Tensor:
        """(B, T, J, D): each token's convolution sees the three before it in scan order."""
        before, after = (0, TAPS - 1) if self.backwards else (TAPS - 1, 0)
        weight = self.conv_weight.flip(1) if self.backwards else self.conv_weight
        time = self.axis == "time"
        padding = (0, 0, before, after) if time else (before, after, 0, 0)
        kernel = weight[:, None, :, None] if time else weight[:, None, None, :]
        x = F.pad(values.permute(0, 3, 1, 2), padding)
        x = F.silu(F.conv2d(x, kernel, self.conv_bias, groups=len(weight)))
        x = x.permute(0, 2, 3, 1)
        return scan_sequences(x, self.parameters_of_scan(), self.axis, self.backwards)

    def step(self, values: Tensor, memory: list[Tensor]) -> Tensor:
        """The next frame (B, J, D); memory: the last inputs (B, 3, J, D), the scan's state."""
        recent = torch.cat([memory[0], values[:, None]], 1)
        memory[0] = recent[:, 1:]
        x = F.silu(torch.einsum("bkjd,dk->bjd", recent, self.conv_weight) + self.conv_bias)
        y, memory[1] = step_sequences(x, self.parameters_of_scan(), memory[1])
        return y

    def init_memory(self, batch: int) -> list[Tensor]:
        inner, states = self.A_logs.shape
        device = self.Ds.device
        return [
            torch.zeros(batch, TAPS - 1, NUM_JOINTS, inner, device=device),
            torch.zeros(batch, NUM_JOINTS, inner, states, device=device),
        ]


class MambaMixer(nn.Module):
    """Along the frames or the joints; causal networks run forward only in time."""

    def __init__(self, config: PoseMambaConfig, axis: Axis) -> None:
        super().__init__()
        inner = config.dim * config.expand
        self.axis = axis
        self.exchange = axis == "time" and config.exchange
        two_way = not (axis == "time" and (config.causal or config.exchange))
        self.in_proj = nn.Linear(config.dim, 2 * inner, bias=False)
        self.out_proj = nn.Linear(inner, config.dim, bias=False)
        self.scans = nn.ModuleList([Branch(config, axis, False)])
        if two_way or self.exchange:
            self.scans.append(Branch(config, axis, two_way))

    def forward(self, x: Tensor) -> Tensor:
        return self._mixed(x, [None] * len(self.scans))

    def step(self, x: Tensor, memory: Any) -> Tensor:
        if self.axis == "joints":
            return self.forward(x)
        parts = [memory[i : i + 2] for i in range(0, len(memory), 2)]
        y = self._mixed(x, parts)
        memory[:] = [tensor for part in parts for tensor in part]
        return y

    def init_memory(self, batch: int) -> list[Tensor]:
        if self.axis == "joints":
            return []
        return [t for scan in self.scans for t in scan.init_memory(batch)]  # type: ignore[operator]

    def _mixed(self, x: Tensor, memories: list[list[Tensor] | None]) -> Tensor:
        values, gate = (linear(x, w) for w in self.in_proj.weight.chunk(2))
        total = torch.zeros_like(values)
        for i, (scan, memory) in enumerate(zip(self.scans, memories, strict=True)):
            own, other = (gate, values) if i and self.exchange else (values, gate)
            y = scan(own) if memory is None else scan.step(own[:, 0], memory)[:, None]  # type: ignore[operator]
            total = total + y * F.silu(other)
        return linear(total, self.out_proj.weight)
