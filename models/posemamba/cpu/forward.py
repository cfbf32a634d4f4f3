"""PoseMamba on the CPU, from arrays to arrays."""

from __future__ import annotations

import functools
import math
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numba
import numpy as np
from numpy.typing import NDArray

from posemamba.config import PoseMambaConfig
from posemamba.cpu import forward_kernels as kernels
from posemamba.cpu.layers import NEIGHBOURS, ROWS, packed
from posemamba.cpu.scan_kernels import BLOCK, SLOTS, STATES, pack_parameters
from posemamba.cpu.simd import LANES
from posemamba.skeleton import HIP, LIMB_PARTNER, NUM_JOINTS, neighbours

Float = NDArray[np.float32]

_DIRECTIONS: Final = 4


def supports(config: PoseMambaConfig) -> bool:
    """Whether a network of this kind is run here; PyTorch runs the others."""
    return (
        config.architecture == "posemamba"
        and not config.gravity
        and config.d_state == STATES
        and all(
            width % LANES == 0
            for width in (config.dim, config.dim * config.expand, config.dim * config.mlp_ratio)
        )
    )


class _Network:
    """Packed parameters, and what windows and streams do alike.

    Args:
        config: of a network that `supports` knows.
        state: its parameters by their names in the published state dict, float32.
    """

    def __init__(self, config: PoseMambaConfig, state: Mapping[str, Float]) -> None:
        self._config = config
        self._rank = _filled_rank(config)
        pieces = _Pieces()
        inner = config.dim * config.expand
        whole = _Part(state, "")
        places, scans = [], []
        for depth in range(config.depth):
            for kind in ("STE", "TTE"):
                own = _Part(state, f"{kind}blocks.{depth}.")
                first = kind == "STE"
                positions = first and depth == 0 and not config.causal
                places.append(
                    [
                        pieces.norm(own, "norm"),
                        pieces.matrix(own["op.in_proj.weight"]),
                        pieces.add(own["op.conv2d.weight"].reshape(inner, 9).T),
                        pieces.add(own["op.conv2d.bias"]),
                        pieces.matrix(_projection(own["op.x_proj_weight"], self._rank)),
                        pieces.norm(own, "op.out_norm"),
                        pieces.matrix(own["op.out_proj.weight"]),
                        pieces.norm(own, "norm2"),
                        pieces.matrix(own["mlp.fc1.weight"]),
                        pieces.add(own["mlp.fc1.bias"]),
                        pieces.matrix(own["mlp.fc2.weight"]),
                        pieces.add(own["mlp.fc2.bias"]),
                        pieces.norm(whole, "Spatial_norm" if first else "Temporal_norm"),
                        pieces.add(state["Temporal_pos_embed"]) if positions else -1,
                        *(
                            pieces.pooling(_Part(state, f"pools.{depth}."))
                            if first and config.pooling
                            else [-1] * 6
                        ),
                    ]
                )
                scans.append(_scan_parameters(own, inner, self._rank))
        self._blocks_at = np.array(places, np.int64)
        self._scans = np.stack(scans)
        frame = config.frame_embedding
        self._embed_at = np.array(
            [
                pieces.matrix(whole["Spatial_patch_to_embedding.weight"]),
                pieces.add(whole["Spatial_patch_to_embedding.bias"]),
                pieces.matrix(whole["frame_embedding.weight"]) if frame else -1,
                pieces.add(whole["frame_embedding.bias"]) if frame else -1,
                pieces.add(whole["Spatial_pos_embed"]),
            ],
            np.int64,
        )
        self._head_at = np.array(
            [
                pieces.norm(whole, "head.0"),
                pieces.matrix(whole["head.1.weight"]),
                pieces.add(np.pad(whole["head.1.bias"], (0, LANES - 3))),
            ],
            np.int64,
        )
        self._skip = np.float32(state["input_skip"][0]) if config.input_skip else None
        self._bias = state["joint_bias"] if config.joint_bias else None
        self._weights = pieces.joined()
        self._own = threading.local()

    def _run(
        self, inputs: Float, blocks: Callable[[tuple[Any, ...], tuple[int, ...]], None]
    ) -> Float:
        """(B, T, 17, 3) for (B, T, 17, C); `blocks` runs all blocks on tokens and scratch."""
        config = self._config
        samples, frames = inputs.shape[:2]
        rows, dim, inner = samples * frames * NUM_JOINTS, config.dim, config.dim * config.expand
        if not rows:
            return np.zeros((samples, frames, NUM_JOINTS, 3), np.float32)
        width = _DIRECTIONS * (self._rank + 2 * STATES)
        filled = -(-rows // ROWS) * ROWS
        # The embedding of frames reads whole tiles of frames.
        rays = self._scratch("rays", (rows + ROWS * NUM_JOINTS) * config.in_channels)
        rays[: inputs.size] = inputs.reshape(-1)
        x, frame = self._scratch("x", filled * dim), self._scratch("frame", (rows + ROWS) * dim)
        wide, values = self._scratch("wide", filled * 2 * inner), self._scratch("v", filled * inner)
        p, y = self._scratch("p", filled * width), self._scratch("y", filled * inner)
        out = self._scratch("out", filled * LANES)
        kernels.embed(
            rays, config.in_channels, self._weights, self._embed_at, x, frame, samples, frames,
            NUM_JOINTS, dim,
        )  # fmt: skip
        arguments = (x, wide, values, p, y, self._weights, self._blocks_at, self._scans)
        blocks(arguments, (samples, frames, NUM_JOINTS, dim, inner, dim * config.mlp_ratio))
        kernels.head(x, self._weights, self._head_at, out, rows, dim)
        joints = out.reshape(-1, LANES)[:rows, :3].reshape(samples, frames, NUM_JOINTS, 3).copy()
        if self._skip is not None:
            flat = inputs[..., :2]
            joints[..., :2] += (flat - flat[:, :, HIP : HIP + 1]) * self._skip
        if self._bias is not None:
            joints += self._bias
        return joints

    def _scratch(self, name: str, size: int) -> Float:
        """Of the calling thread, kept between calls."""
        kept: Float | None = getattr(self._own, name, None)
        if kept is None or len(kept) < size:
            kept = np.zeros(size, np.float32)
            setattr(self._own, name, kept)
        return kept[:size]


class CpuForward(_Network):
    """A network that sees whole windows; may be called from several threads."""

    def __call__(self, inputs: Float) -> Float:
        """(B, T, 17, in_channels) float32 to (B, T, 17, 3) float32.

        Raises:
            ValueError: more frames than the network was built for.
        """
        frames, config = inputs.shape[1], self._config
        if frames > config.frames:
            raise ValueError(f"{frames} frames, but built for at most {config.frames}")
        threads = _threads()
        # What lies between layers has to stay in the caches: a sample of each thread at a time.
        starts = range(0, len(inputs), threads)
        blocks = partial(self._blocks, threads)
        parts = [self._run(inputs[start : start + threads], blocks) for start in starts]
        return np.concatenate(parts or [np.zeros((0, frames, NUM_JOINTS, 3), np.float32)])

    def _blocks(self, threads: int, arrays: tuple[Any, ...], shape: tuple[int, ...]) -> None:
        samples, frames, joints, _, inner, _ = shape
        config = self._config
        arguments = (
            *arrays, *orders(frames, joints), _neighbours(), self._rank, config.integer_decay,
            shape,
        )  # fmt: skip
        if threads > 1:
            # Blocks of one sample share its projection, but few samples leave cores idle.
            group = inner // LANES if samples >= threads else 1
            kernels.run_blocks_parallel(*arguments, group)
        else:
            kernels.run_blocks(*arguments)


@dataclass(frozen=True, slots=True)
class StreamState:
    """What a causal network remembers of a stream; updated in place."""

    seen: Float
    """(blocks, 1, 3, 17, D) input of the convolutions, the latest frame last."""
    scans: Float
    """(blocks, 1, D / 16, 2 + 2 * 17, 256) of `scan_kernels.scan_step`."""


class CpuStream(_Network):
    """A causal network frame by frame; may be called from several threads."""

    def first_state(self) -> StreamState:
        """Of one stream, before its first frame."""
        blocks, inner = len(self._blocks_at), self._config.dim * self._config.expand
        return StreamState(
            np.zeros((blocks, 1, 3, NUM_JOINTS, inner), np.float32),
            np.zeros((blocks, 1, inner // LANES, 2 + 2 * NUM_JOINTS, BLOCK), np.float32),
        )

    def step(self, inputs: Float, states: Sequence[StreamState]) -> tuple[Float, list[StreamState]]:
        """The next frame of B streams.

        Args:
            inputs: (B, 17, in_channels). states: of one stream each.

        Returns:
            (B, 17, 3), and the states for the next frame.
        """
        # One after the other: to move their memories together takes longer than a step.
        answers = [
            self._run(inputs[i : i + 1, None], partial(self._blocks, state))[0, 0]
            for i, state in enumerate(states)
        ]
        return np.stack(answers), list(states)

    def _blocks(self, state: StreamState, arrays: tuple[Any, ...], shape: tuple[int, ...]) -> None:
        kernels.run_step(
            *arrays, orders(1, NUM_JOINTS, True)[2], _neighbours(), self._rank,
            self._config.integer_decay, shape, state.seen, state.scans,
        )  # fmt: skip


class _Part:
    """The parameters under a prefix."""

    def __init__(self, state: Mapping[str, Float], prefix: str) -> None:
        self._state, self._prefix = state, prefix

    def __getitem__(self, name: str) -> Float:
        return self._state[self._prefix + name]


class _Pieces:
    """Parameters one after another in one array."""

    def __init__(self) -> None:
        self._pieces: list[Float] = []
        self._size = 0

    def add(self, values: Float) -> int:
        """Where they will be."""
        at, flat = self._size, np.ascontiguousarray(values, np.float32).reshape(-1)
        self._pieces.append(flat)
        self._size += len(flat)
        return at

    def matrix(self, weight: Float) -> int:
        return self.add(packed(weight))

    def norm(self, part: _Part, name: str) -> int:
        at = self.add(part[f"{name}.weight"])
        self.add(part[f"{name}.bias"])
        return at

    def pooling(self, part: _Part) -> list[int]:
        return [
            self.norm(part, "norm"),
            self.add(part["scale"]),
            self.add(part["shift"]),
            self.norm(part, "norm_pooled"),
            self.matrix(part["proj.weight"]),
            self.add(part["proj.bias"]),
        ]

    def joined(self) -> Float:
        return np.concatenate(self._pieces)


@functools.cache
def _neighbours() -> NDArray[np.int64]:
    """(17 * NEIGHBOURS,) each joint, its parent and children; -1 where there are fewer."""
    near = [[*own, *[-1] * (NEIGHBOURS - len(own))] for own in neighbours()]
    return np.array(near, np.int64).reshape(-1)


def _threads() -> int:
    """As many as Numba may use in this thread, and PyTorch, where it is there."""
    threads = int(numba.get_num_threads())
    if (torch := sys.modules.get("torch")) is not None:
        threads = min(threads, torch.get_num_threads())
    elif (told := os.environ.get("OMP_NUM_THREADS", "")).isdigit():
        threads = min(threads, max(1, int(told)))
    return threads


def _filled_rank(config: PoseMambaConfig) -> int:
    """Rank of dt, filled up so that the projections of four directions are whole vectors."""
    rank = math.ceil(config.dim / 16)
    return math.ceil(rank / 4) * 4


def _projection(weight: Float, rank: int) -> Float:
    """x_proj_weight (4, R + 2N, D) to (4 (rank + 2N), D) in SLOTS order."""
    own = weight.shape[1] - 2 * STATES
    filled = np.insert(weight, [own] * (rank - own), 0.0, axis=1)
    return filled[list(SLOTS)].reshape(-1, weight.shape[2])


def _scan_parameters(part: _Part, inner: int, rank: int) -> Float:
    dt = part["op.dt_projs_weight"]
    with np.errstate(over="ignore"):  # answers tell of it
        a = -np.exp(part["op.A_logs"])
    return pack_parameters(
        np.pad(dt, ((0, 0), (0, 0), (0, rank - dt.shape[2]))),
        part["op.dt_projs_bias"],
        a.reshape(_DIRECTIONS, inner, STATES),
        part["op.Ds"].reshape(_DIRECTIONS, inner),
    )


@functools.lru_cache(maxsize=64)
def orders(frames: int, joints: int, causal: bool = False) -> tuple[Any, Any, Any]:
    """Token of each step in the four directions (4, L), steps between fresh starts (4,), and
    each token's limb partner (L,)."""
    grid = np.arange(frames * joints).reshape(frames, joints)
    rows, columns = grid.reshape(-1), grid.T.reshape(-1)
    if causal:
        order = [rows, columns, grid[:, ::-1].reshape(-1), columns]
        segment = [frames * joints, frames, frames * joints, frames]
    else:
        order = [rows, columns, rows[::-1], columns[::-1]]
        segment = [frames * joints] * _DIRECTIONS
    partner = grid[:, list(LIMB_PARTNER)].reshape(-1)
    return np.stack(order), np.array(segment), np.ascontiguousarray(partner)
