"""PoseMamba's forward pass on the CPU in one call, so that nobody holds Python's lock meanwhile.

Rows are tokens (sample, frame, joint in turn), filled up to whole tiles of `layers.ROWS`. What is
done row by row goes through all its layers tile by tile, in the first-level cache.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit, prange

from posemamba.cpu.layers import (
    NEIGHBOURS,
    PANEL,
    ROWS,
    add_silu,
    convolve_at,
    full_tile,
    full_tile_gelu,
    gate_by,
    narrow_tile,
    narrow_tile_gelu,
    norm,
    pool_at,
)
from posemamba.cpu.scan_kernels import BLOCK, STATES, forward_sample, scan_step
from posemamba.cpu.simd import LANES

PLACES: Final = 20
"""Offsets of a block: norm, in_proj, conv weight and bias, x_proj, out_norm, out_proj, norm2, fc1
weight and bias, fc2 weight and bias, the norm that follows, positions in time (or -1); of the
pooling before it (or -1) norm, scale, shift, norm_pooled, proj weight and bias."""
POOL: Final = 14
"""The first of the pooling's."""

_OPTIONS: Final = {"cache": True, "boundscheck": False, "error_model": "numpy", "nogil": True}
_INNER: Final = {**_OPTIONS, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""Of what only kernels call."""
_F, _I = "float32[::1]", "int64"
_BLOCK_EPS: Final = np.float32(1e-6)
_OUT_EPS: Final = np.float32(1e-5)


# With its types, as Numba would compile it anew for every argument that is a constant.
@njit(f"void({_F},{_I},{_I},{_I},{_F},{_I},{_I},{_I},{_F},{_I},{_I},boolean)", **_INNER)
def _product(
    a: Any, a_at: int, a_row: int, inputs: int, w: Any, w_at: int, bias_at: int, columns: int,
    c: Any, c_at: int, c_row: int, add: bool,
) -> None:  # fmt: skip
    """c = a w + bias for one tile of rows (see `layers`)."""
    done = 0
    while done + PANEL <= columns:
        bias = bias_at + done if bias_at >= 0 else -1
        full_tile(a, a_at, a_row, inputs, w, w_at, bias, c, c_at + done, c_row, add)
        w_at += PANEL * inputs
        done += PANEL
    while done < columns:
        bias = bias_at + done if bias_at >= 0 else -1
        narrow_tile(a, a_at, a_row, inputs, w, w_at, bias, c, c_at + done, c_row, add)
        w_at += LANES * inputs
        done += LANES


@njit(f"void({_F},{_I},{_I},{_F},{_I},{_I},{_I},{_F})", **_INNER)
def _product_gelu(
    a: Any, a_row: int, inputs: int, w: Any, w_at: int, bias_at: int, columns: int, c: Any
) -> None:
    """`_product`, then GELU, into rows of `columns`."""
    done = 0
    while done + PANEL <= columns:
        full_tile_gelu(a, 0, a_row, inputs, w, w_at, bias_at + done, c, done, columns, False)
        w_at += PANEL * inputs
        done += PANEL
    while done < columns:
        narrow_tile_gelu(a, 0, a_row, inputs, w, w_at, bias_at + done, c, done, columns, False)
        w_at += LANES * inputs
        done += LANES


@njit(**_INNER)
def _enter(tile: int, x: Any, wide: Any, w: Any, at: Any, dim: int, inner: int) -> None:
    """Norm and in_proj of one tile."""
    first = tile * ROWS
    normed = np.empty(ROWS * dim, np.float32)
    for r in range(ROWS):
        norm(x, (first + r) * dim, w, at[0], _BLOCK_EPS, normed, r * dim, dim)
    _product(
        normed, 0, dim, dim, w, at[1], -1, 2 * inner, wide, first * 2 * inner, 2 * inner, False
    )


@njit(**_INNER)
def _pool(frame: int, x: Any, w: Any, at: Any, near: Any, dim: int, joints: int) -> None:
    """What one frame's joints take from their neighbours (`posemamba.pooling`)."""
    filled = (joints + ROWS - 1) // ROWS * ROWS
    own = np.empty(joints * dim, np.float32)
    both = np.empty(filled * 2 * dim, np.float32)
    out = np.empty(filled * dim, np.float32)
    first = frame * joints * dim
    for joint in range(joints):
        norm(x, first + joint * dim, w, at[POOL], _BLOCK_EPS, own, joint * dim, dim)
    for joint in range(joints):
        row = joint * 2 * dim
        pool_at(
            own, 0, near, joint * NEIGHBOURS, joint, w, at[POOL + 1], at[POOL + 2], both, row, dim
        )
        norm(both, row, w, at[POOL + 3], _BLOCK_EPS, both, row, 2 * dim)
    for tile in range(filled // ROWS):
        row = tile * ROWS
        _product(
            both, row * 2 * dim, 2 * dim, 2 * dim, w, at[POOL + 4], at[POOL + 5], dim,
            out, row * dim, dim, False,
        )  # fmt: skip
    for joint in range(joints):
        add_silu(x, first + joint * dim, out, joint * dim, dim)


@njit(**_INNER)
def _mix(
    tile: int, wide: Any, values: Any, p: Any, w: Any, at: Any, samples: int, frames: int,
    joints: int, inner: int, width: int,
) -> None:  # fmt: skip
    """Convolution and SiLU of one tile, then dt, B and C for all directions."""
    first, length = tile * ROWS, frames * joints
    for row in range(first, min(first + ROWS, samples * length)):
        start, token = row - row % length, row % length
        convolve_at(
            wide, start * 2 * inner, 2 * inner, token // joints, frames, token % joints, joints,
            w, at[2], at[3], values, row * inner, inner,
        )  # fmt: skip
    _product(
        values, first * inner, inner, inner, w, at[4], -1, width, p, first * width, width, False
    )


@njit(**_INNER)
def _add_limbs(frame: int, p: Any, partner: Any, joints: int, width: int, plain: Any) -> None:
    """To the limb orders' half of a frame's projections, those of each joint's partner.

    Args:
        plain: (joints * width / 2,) scratch.
    """
    half, base = width // 2, frame * joints * width
    for joint in range(joints):
        for n in range(half):
            plain[joint * half + n] = p[base + joint * width + n]
    for joint in range(joints):
        other = partner[joint] * half
        for n in range(half):
            p[base + joint * width + n] += plain[other + n]


@njit(**_INNER)
def _leave(
    tile: int, x: Any, wide: Any, y: Any, w: Any, at: Any, dim: int, inner: int, hidden: int,
    frames: int, joints: int,
) -> None:  # fmt: skip
    """All behind the scan: norm, gate, out_proj, MLP, and the norm between blocks."""
    first = tile * ROWS
    gated = np.empty(ROWS * inner, np.float32)
    normed = np.empty(ROWS * dim, np.float32)
    between = np.empty(ROWS * hidden, np.float32)
    for r in range(ROWS):
        row = first + r
        norm(y, row * inner, w, at[5], _OUT_EPS, gated, r * inner, inner)
        gate_by(gated, r * inner, wide, row * 2 * inner + inner, inner)
    _product(gated, 0, inner, inner, w, at[6], -1, dim, x, first * dim, dim, True)
    for r in range(ROWS):
        norm(x, (first + r) * dim, w, at[7], _BLOCK_EPS, normed, r * dim, dim)
    _product_gelu(normed, dim, dim, w, at[8], at[9], hidden, between)
    _product(between, 0, hidden, hidden, w, at[10], at[11], dim, x, first * dim, dim, True)
    for r in range(ROWS):
        row = first + r
        norm(x, row * dim, w, at[12], _BLOCK_EPS, x, row * dim, dim)
        if at[13] >= 0:
            position = at[13] + row // joints % frames * dim
            for n in range(dim):
                x[row * dim + n] += w[position + n]


@njit(**_INNER)
def _views(
    values: Any, p: Any, y: Any, samples: int, length: int, inner: int, width: int
) -> tuple[Any, Any, Any]:
    """Flat scratch as the scans take it: (B, L, D), (B, L, 4, E) and (B, L, D)."""
    rows = samples * length
    return (
        values[: rows * inner].reshape(samples, length, inner),
        p[: rows * width].reshape(samples, length, 4, width // 4),
        y[: rows * inner].reshape(samples, length, inner),
    )


@njit(**_OPTIONS)
def run_blocks(
    x: Any, wide: Any, values: Any, p: Any, y: Any, w: Any, at: Any, scans: Any, order: Any,
    segment: Any, partner: Any, near: Any, rank: int, integer: bool, shape: Any,
) -> None:  # fmt: skip
    """All blocks, in place.

    Args:
        x, wide, values, p, y: tokens, and scratch for 2 D, D, 4 (R + 2N) and D numbers of each;
            flat, of whole tiles.
        w: all parameters, flat. at: (blocks, PLACES) where they are.
        scans: (blocks, 4, D / 16, rows, 16) of `scan_kernels.pack_parameters`.
        order, segment, partner, rank, integer: as for `scan_kernels.scan_forward`.
        near: (joints * NEIGHBOURS,) for pooling.
        shape: samples, frames, joints, C, D, width of the MLP.
    """
    samples, frames, joints, dim, inner, hidden = shape
    length = frames * joints
    tiles = (samples * length + ROWS - 1) // ROWS
    width = 4 * (rank + 2 * STATES)
    u, ps, ys = _views(values, p, y, samples, length, inner, width)
    kept = np.empty((samples, 4, 0, inner // LANES, BLOCK), np.float32)
    plain = np.empty(joints * width // 2, np.float32)
    for block in range(len(at)):
        own = at[block]
        if own[POOL] >= 0:
            for frame in range(samples * frames):
                _pool(frame, x, w, own, near, dim, joints)
        if block == 0 or own[POOL] >= 0:
            for tile in range(tiles):
                _enter(tile, x, wide, w, own, dim, inner)
        for tile in range(tiles):
            _mix(tile, wide, values, p, w, own, samples, frames, joints, inner, width)
        for frame in range(samples * frames):
            _add_limbs(frame, p, partner, joints, width, plain)
        ys[:] = 0.0
        for sample in range(samples):
            forward_sample(
                sample, 0, inner // LANES, u, ps, scans[block], order, segment, partner, rank,
                integer, ys, kept,
            )  # fmt: skip
        for tile in range(tiles):
            _leave(tile, x, wide, y, w, own, dim, inner, hidden, frames, joints)
            if block + 1 < len(at) and at[block + 1][POOL] < 0:
                _enter(tile, x, wide, w, at[block + 1], dim, inner)


@njit(parallel=True, **_OPTIONS)
def run_blocks_parallel(
    x: Any, wide: Any, values: Any, p: Any, y: Any, w: Any, at: Any, scans: Any, order: Any,
    segment: Any, partner: Any, near: Any, rank: int, integer: bool, shape: Any, group: int,
) -> None:  # fmt: skip
    """`run_blocks` on Numba's threads; of a sample's scan each takes `group` channel blocks."""
    samples, frames, joints, dim, inner, hidden = shape
    length = frames * joints
    tiles = (samples * length + ROWS - 1) // ROWS
    width = 4 * (rank + 2 * STATES)
    u, ps, ys = _views(values, p, y, samples, length, inner, width)
    kept = np.empty((samples, 4, 0, inner // LANES, BLOCK), np.float32)
    parts = inner // LANES // group
    for block in range(len(at)):
        own = at[block]
        if own[POOL] >= 0:
            for frame in prange(samples * frames):
                _pool(frame, x, w, own, near, dim, joints)
        if block == 0 or own[POOL] >= 0:
            for tile in prange(tiles):
                _enter(tile, x, wide, w, own, dim, inner)
        for tile in prange(tiles):
            _mix(tile, wide, values, p, w, own, samples, frames, joints, inner, width)
        for frame in prange(samples * frames):
            plain = np.empty(joints * width // 2, np.float32)
            _add_limbs(frame, p, partner, joints, width, plain)
        ys[:] = 0.0
        for item in prange(samples * parts):
            first = item % parts * group
            forward_sample(
                item // parts, first, first + group, u, ps, scans[block], order, segment, partner,
                rank, integer, ys, kept,
            )  # fmt: skip
        for tile in prange(tiles):
            _leave(tile, x, wide, y, w, own, dim, inner, hidden, frames, joints)
            if block + 1 < len(at) and at[block + 1][POOL] < 0:
                _enter(tile, x, wide, w, at[block + 1], dim, inner)


@njit(**_OPTIONS)
def run_step(
    x: Any, wide: Any, values: Any, p: Any, y: Any, w: Any, at: Any, scans: Any, partner: Any,
    near: Any, rank: int, integer: bool, shape: Any, seen: Any, states: Any,
) -> None:  # fmt: skip
    """All blocks of a causal network for one frame of each sample; arguments of `run_blocks`.

    Args:
        seen: (blocks, samples, 3, joints, D) input of the convolution, the latest last.
        states: (blocks, samples, D / 16, 2 + 2 joints, 256) for `scan_kernels.scan_step`. Both are
            updated in place.
    """
    samples, _, joints, dim, inner, hidden = shape
    rows = samples * joints
    tiles = (rows + ROWS - 1) // ROWS
    width = 4 * (rank + 2 * STATES)
    u, ps, ys = _views(values, p, y, samples, joints, inner, width)
    plain = np.empty(joints * width // 2, np.float32)
    frame = joints * inner
    flat_seen = seen.reshape(-1)
    for block in range(len(at)):
        own = at[block]
        if own[POOL] >= 0:
            for sample in range(samples):
                _pool(sample, x, w, own, near, dim, joints)
        for tile in range(tiles):
            _enter(tile, x, wide, w, own, dim, inner)
        for sample in range(samples):
            base = (block * samples + sample) * 3 * frame
            for n in range(2 * frame):
                flat_seen[base + n] = flat_seen[base + frame + n]
            for joint in range(joints):
                row = sample * joints + joint
                for n in range(inner):
                    flat_seen[base + 2 * frame + joint * inner + n] = wide[row * 2 * inner + n]
            for joint in range(joints):
                convolve_at(
                    flat_seen, base, inner, 1, 3, joint, joints, w, own[2], own[3],
                    values, (sample * joints + joint) * inner, inner,
                )  # fmt: skip
        for tile in range(tiles):
            row = tile * ROWS
            _product(
                values, row * inner, inner, inner, w, own[4], -1, width, p, row * width, width,
                False,
            )  # fmt: skip
        for sample in range(samples):
            _add_limbs(sample, p, partner, joints, width, plain)
        ys[:] = 0.0
        scan_step(u, ps, scans[block], partner, rank, integer, states[block], ys)
        for tile in range(tiles):
            _leave(tile, x, wide, y, w, own, dim, inner, hidden, 1, joints)


@njit(**_OPTIONS)
def embed(
    rays: Any, channels: int, w: Any, at: Any, x: Any, frame: Any, samples: int, frames: int,
    joints: int, dim: int,
) -> None:  # fmt: skip
    """Tokens of inputs: their linear layer, the frame's (at[2] >= 0), and positions of joints.

    Args:
        rays: (rows, channels) of whole tiles, flat; so is `frame`, scratch for dim a frame.
        at: joint weight and bias, frame weight and bias, positions.
    """
    for tile in range((samples * frames * joints + ROWS - 1) // ROWS):
        row = tile * ROWS
        _product(
            rays, row * channels, channels, channels, w, at[0], at[1], dim, x, row * dim, dim,
            False,
        )  # fmt: skip
    if at[2] >= 0:
        inputs = joints * channels
        for tile in range((samples * frames + ROWS - 1) // ROWS):
            row = tile * ROWS
            _product(
                rays, row * inputs, inputs, inputs, w, at[2], at[3], dim, frame, row * dim, dim,
                False,
            )  # fmt: skip
    for row in range(samples * frames * joints):
        for n in range(dim):
            x[row * dim + n] += w[at[4] + row % joints * dim + n]
        if at[2] >= 0:
            for n in range(dim):
                x[row * dim + n] += frame[row // joints * dim + n]


@njit(**_OPTIONS)
def head(x: Any, w: Any, at: Any, out: Any, rows: int, dim: int) -> None:
    """Norm and linear layer to 16 numbers a token; at: norm, weight, bias."""
    normed = np.empty(ROWS * dim, np.float32)
    for tile in range((rows + ROWS - 1) // ROWS):
        first = tile * ROWS
        for r in range(ROWS):
            norm(x, (first + r) * dim, w, at[0], _OUT_EPS, normed, r * dim, dim)
        _product(normed, 0, dim, dim, w, at[1], at[2], LANES, out, first * LANES, LANES, False)
