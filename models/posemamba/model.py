"""PoseMamba: bidirectional global-local spatio-temporal state space lifter, in one file.

Huang et al., "PoseMamba: Monocular 3D Human Pose Estimation with Bidirectional
Global-Local Spatio-Temporal State Space Model", arXiv 2408.03540 (AAAI 2025). Module and
parameter names are those of the published checkpoints, so that they load strictly.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from posemamba.config import TYPICAL_SKIP, PoseMambaConfig
from posemamba.linear import linear
from posemamba.pooling import NeighbourPooling
from posemamba.scan import ScanParameters, get_backend
from posemamba.scan.interface import DIRECTIONS
from posemamba.skeleton import HIP, NUM_JOINTS


@dataclass(slots=True)
class OperatorState:
    """What a causal operator remembers between frames."""

    frames: Tensor
    """(B, 3, 17, D) the last values, input of the convolution; zero before the start."""
    scan: Any
    """State of the scan, in the backend's own layout."""


class SelectiveScan2D(nn.Module):
    """The operator of a block: gate, depth-wise convolution, scan in four directions."""

    def __init__(self, config: PoseMambaConfig) -> None:
        super().__init__()
        dim, inner, n = config.dim, config.dim * config.expand, config.d_state
        rank = math.ceil(dim / 16)
        self.integer_decay, self.causal = config.integer_decay, config.causal
        self.in_proj = nn.Linear(dim, 2 * inner, bias=False)
        self.conv2d = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.x_proj_weight = nn.Parameter(torch.empty(DIRECTIONS, rank + 2 * n, inner))
        self.dt_projs_weight = nn.Parameter(torch.empty(DIRECTIONS, inner, rank))
        self.dt_projs_bias = nn.Parameter(torch.empty(DIRECTIONS, inner))
        a_logs = torch.log(torch.arange(1, n + 1, dtype=torch.float32))
        self.A_logs = nn.Parameter(
            a_logs.repeat(DIRECTIONS * inner, 1), requires_grad=not config.integer_decay
        )
        self.Ds = nn.Parameter(torch.ones(DIRECTIONS * inner))
        self.out_norm = nn.LayerNorm(inner, eps=1e-5)
        self.out_proj = nn.Linear(inner, dim, bias=False)
        self._reset_scan_parameters(rank)

    def _reset_scan_parameters(self, rank: int) -> None:
        """Step sizes start log-uniform in 0.001 to 0.1 (Mamba, section 3.6)."""
        bound = self.x_proj_weight.shape[-1] ** -0.5
        nn.init.uniform_(self.x_proj_weight, -bound, bound)
        nn.init.uniform_(self.dt_projs_weight, -(rank**-0.5), rank**-0.5)
        dt = torch.exp(
            torch.rand(self.dt_projs_bias.shape) * math.log(0.1 / 0.001) + math.log(0.001)
        ).clamp(min=1e-4)
        with torch.no_grad():
            self.dt_projs_bias.copy_(dt + torch.log(-torch.expm1(-dt)))  # inverse softplus

    def parameters_of_scan(self) -> ScanParameters:
        return ScanParameters(
            self.x_proj_weight,
            self.dt_projs_weight,
            self.dt_projs_bias,
            self.A_logs,
            self.Ds,
            self.integer_decay,
            self.causal,
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, 17, C) to (B, T, 17, C)."""
        backend = get_backend(x.device)
        values, gate = self._values_and_gate(x)
        values = backend.conv_silu(values, self.conv2d.weight, self.conv2d.bias, self.causal)
        values = backend.scan(values, self.parameters_of_scan())
        return self._gated(values, gate)

    def step(self, x: Tensor, state: OperatorState) -> Tensor:
        """One frame (B, 17, C) of the causal operator; the state is updated in place."""
        backend = get_backend(x.device)
        values, gate = self._values_and_gate(x)
        state.frames = torch.cat([state.frames[:, 1:], values[:, None]], 1)
        values = backend.conv_silu(state.frames, self.conv2d.weight, self.conv2d.bias, True)
        values = backend.step(values[:, -1], self.parameters_of_scan(), state.scan)
        return self._gated(values, gate)

    def init_state(self, batch: int) -> OperatorState:
        channels, device = self.out_norm.normalized_shape[0], self.Ds.device
        frames = torch.zeros(batch, 3, NUM_JOINTS, channels, device=device)
        return OperatorState(frames, get_backend(device).init_state(batch, NUM_JOINTS, channels))

    def _values_and_gate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        # Two products instead of one and a split: the halves come out contiguous.
        values, gate = (linear(x, w) for w in self.in_proj.weight.chunk(2))
        return values, gate

    def _gated(self, values: Tensor, gate: Tensor) -> Tensor:
        return linear(self.out_norm(values) * F.silu(gate), self.out_proj.weight)


class Mlp(nn.Module):
    def __init__(self, dim: int, hidden: int, out: int | None = None) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, out or dim)

    def forward(self, x: Tensor) -> Tensor:
        h = linear(x, self.fc1.weight, self.fc1.bias, gelu=True)
        return linear(h, self.fc2.weight, self.fc2.bias)


class Block(nn.Module):
    """Operator and MLP, each behind a norm and a residual."""

    def __init__(self, config: PoseMambaConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.dim, eps=1e-6)
        self.op = SelectiveScan2D(config)
        self.norm2 = nn.LayerNorm(config.dim, eps=1e-6)
        self.mlp = Mlp(config.dim, config.dim * config.mlp_ratio)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.op(self.norm(x))
        y: Tensor = x + self.mlp(self.norm2(x))
        return y

    def step(self, x: Tensor, state: OperatorState) -> Tensor:
        """One frame (B, 17, C) of a causal block."""
        x = x + self.op.step(self.norm(x), state)
        y: Tensor = x + self.mlp(self.norm2(x))
        return y


class LifterNetwork(nn.Module, ABC):
    """What all networks share: their two ends, and how they are called.

    Input (B, T, 17, in_channels) with T <= config.frames, output (B, T, 17, 3), or with
    `config.gravity` (B, T, 18, 3); units and axes are those of the checkpoint's normalisation
    (posemamba.normalize).
    """

    def __init__(self, config: PoseMambaConfig) -> None:
        super().__init__()
        self.config = config

    def _add_input(self) -> None:
        config = self.config
        self.Spatial_patch_to_embedding = nn.Linear(config.in_channels, config.dim)
        self.Spatial_pos_embed = nn.Parameter(torch.zeros(1, NUM_JOINTS, config.dim))

    def _add_output(self, head: Sequence[nn.Module]) -> None:
        """`head` follows the last norm: tokens to coordinates."""
        config, dim = self.config, self.config.dim
        self.head = nn.Sequential(nn.LayerNorm(dim, eps=1e-5), *head)
        if config.frame_embedding:
            self.frame_embedding = nn.Linear(NUM_JOINTS * config.in_channels, dim)
        if config.input_skip:
            self.input_skip = nn.Parameter(torch.full((1,), TYPICAL_SKIP))
        if config.joint_bias:
            self.joint_bias = nn.Parameter(torch.zeros(NUM_JOINTS, 3))
        if config.gravity:
            self.gravity = Mlp(dim, dim, 3)
        self.apply(_init_linear)

    def forward(self, x: Tensor) -> Tensor:
        self.check_frames(x.shape[1])
        h = self.embed(x) + self.Spatial_pos_embed[:, None]
        return self.output(self.mix(h), x)

    @abstractmethod
    def mix(self, h: Tensor) -> Tensor:
        """All layers, on tokens (B, T, 17, C)."""

    @abstractmethod
    def step_mix(self, h: Tensor, state: list[OperatorState]) -> Tensor:
        """The same for the next frame (B, 17, C) of a stream; the state is updated in place."""

    @abstractmethod
    def first_state(self, batch: int) -> list[OperatorState]:
        """What a causal network remembers before the first frame."""

    def check_frames(self, count: int) -> None:
        """Whether a window of so many frames can be lifted.

        Raises:
            ValueError: it is longer than the network was built for.
        """
        if count > self.config.frames and not self.config.causal:
            raise ValueError(f"{count} frames, but built for at most {self.config.frames}")

    def init_state(self, batch: int = 1) -> list[OperatorState]:
        """State of a causal network before the first frame, for `step`."""
        if not self.config.causal:
            raise ValueError("only a causal network runs frame by frame")
        return self.first_state(batch)

    @torch.no_grad()
    def step(self, x: Tensor, state: list[OperatorState]) -> tuple[Tensor, list[OperatorState]]:
        """Lift the next frame of a stream.

        Args:
            x: (B, 17, in_channels).
            state: from `init_state` or the step before; it is updated in place.

        Returns:
            (B, 17 or 18, 3), the same as the last frame of `forward` on all frames so far, and
            the state.
        """
        x = x[:, None]
        h = (self.embed(x) + self.Spatial_pos_embed[:, None])[:, 0]
        return self.output(self.step_mix(h, state)[:, None], x)[:, 0], state

    def embed(self, x: Tensor) -> Tensor:
        """Tokens (B, T, 17, C) of an input, without positions."""
        h: Tensor = self.Spatial_patch_to_embedding(x)
        if self.config.frame_embedding:
            h = h + self.frame_embedding(x.flatten(2))[:, :, None]
        return h

    def output(self, h: Tensor, x: Tensor) -> Tensor:
        """The 3D pose of the last tokens h, with the skips from the input x."""
        y: Tensor = self.head(h)
        if self.config.input_skip:
            flat = (x[..., :2] - x[:, :, HIP : HIP + 1, :2]) * self.input_skip
            y = y + F.pad(flat, (0, 1))
        if self.config.joint_bias:
            y = y + self.joint_bias
        if self.config.gravity:
            up: Tensor = self.gravity(self.head[0](h).mean(2, keepdim=True))
            y = torch.cat([y, up], 2)
        return y


class PoseMamba(LifterNetwork):
    """The paper's network, with our options: blocks over joints and over frames in turn."""

    def __init__(self, config: PoseMambaConfig) -> None:
        super().__init__(config)
        dim = config.dim
        self._add_input()
        if not config.causal:  # a stream has no first frame to count from
            self.Temporal_pos_embed = nn.Parameter(torch.zeros(1, config.frames, dim))
        self.STEblocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.TTEblocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        # One norm of each kind, shared by all depths.
        self.Spatial_norm = nn.LayerNorm(dim, eps=1e-6)
        self.Temporal_norm = nn.LayerNorm(dim, eps=1e-6)
        if config.pooling:
            self.pools = nn.ModuleList(NeighbourPooling(dim) for _ in range(config.depth))
        self._add_output([nn.Linear(dim, 3)])

    def mix(self, h: Tensor) -> Tensor:
        for i, (spatial, temporal) in enumerate(zip(self.STEblocks, self.TTEblocks, strict=True)):
            h = self.Spatial_norm(spatial(self._pooled(h, i)))
            if i == 0 and not self.config.causal:
                h = h + self.Temporal_pos_embed[:, : h.shape[1], None]
            h = self.Temporal_norm(temporal(h))
        return h

    def step_mix(self, h: Tensor, state: list[OperatorState]) -> Tensor:
        for i, (block, memory) in enumerate(zip(self._blocks(), state, strict=True)):
            if i % 2:
                h = self.Temporal_norm(block.step(h, memory))
            else:
                h = self.Spatial_norm(block.step(self._pooled(h, i // 2), memory))
        return h

    def first_state(self, batch: int) -> list[OperatorState]:
        return [block.op.init_state(batch) for block in self._blocks()]

    def _pooled(self, h: Tensor, depth: int) -> Tensor:
        return cast(Tensor, self.pools[depth](h)) if self.config.pooling else h

    def _blocks(self) -> Iterator[Block]:
        """All blocks in the order in which they run."""
        for spatial, temporal in zip(self.STEblocks, self.TTEblocks, strict=True):
            yield cast(Block, spatial)
            yield cast(Block, temporal)


def stack_states(states: Sequence[list[OperatorState]]) -> list[OperatorState]:
    """The states of streams, batch B each, as that of one batch of all of them."""
    return [
        OperatorState(_stack([s.frames for s in same]), _stack([s.scan for s in same]))
        for same in zip(*states, strict=True)
    ]


def split_states(state: list[OperatorState], count: int) -> list[list[OperatorState]]:
    """The inverse of `stack_states` for `count` streams of equal batch."""
    split = [(_split(s.frames, count), _split(s.scan, count)) for s in state]
    return [[OperatorState(frames[i], scan[i]) for frames, scan in split] for i in range(count)]


def _stack(parts: Sequence[Any]) -> Any:
    """Tensors along their batch; lists item by item; None is a state of zeros."""
    if isinstance(parts[0], list):
        return [_stack(items) for items in zip(*parts, strict=True)]
    known = [part for part in parts if part is not None]
    if not known:
        return None
    return torch.cat([torch.zeros_like(known[0]) if part is None else part for part in parts])


def _split(whole: Any, count: int) -> list[Any]:
    if isinstance(whole, list):
        parts = [_split(item, count) for item in whole]
        return [[part[i] for part in parts] for i in range(count)]
    return [None] * count if whole is None else list(whole.chunk(count))


def _init_linear(module: nn.Module) -> None:
    """Published initialisation: truncated normal 0.02; positions stay zero."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
