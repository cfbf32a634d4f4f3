"""Rotations as unit quaternions (x, y, z, w), scalar last as in glTF, VMC, Unity and SciPy.

A rotation is active: it turns vectors of one frame, the axes of which stay where they are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def multiply(a: Array, b: Array) -> Array:
    """(..., 4), (..., 4) to (..., 4): first `b`, then `a`."""
    av, aw, bv, bw = a[..., :3], a[..., 3:], b[..., :3], b[..., 3:]
    out = np.empty(np.broadcast_shapes(a.shape, b.shape))
    out[..., :3] = aw * bv + bw * av + cross(av, bv)
    out[..., 3] = aw[..., 0] * bw[..., 0] - (av * bv).sum(-1)
    return out


def inverse(q: Array) -> Array:
    """(..., 4) to (..., 4) of the opposite rotation."""
    return np.asarray(q * np.array([-1.0, -1.0, -1.0, 1.0]))


def rotate(q: Array, v: Array) -> Array:
    """Turn vectors: (..., 4), (..., 3) to (..., 3)."""
    axis, w = q[..., :3], q[..., 3:]
    t = 2.0 * cross(axis, v)
    return np.asarray(v + w * t + cross(axis, t))


def from_matrix(matrix: Array) -> Array:
    """(..., 3, 3) to (..., 4). Of the two quaternions of each, the one with w >= 0."""
    m = np.asarray(matrix, np.float64)
    diagonal = np.stack([m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]], -1)
    trace = diagonal.sum(-1)
    # Four ways that are equal in exact arithmetic; the one with the largest pivot is precise.
    rows = np.empty((*m.shape[:-2], 4, 4))
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        rows[..., i, i] = 1.0 + 2.0 * diagonal[..., i] - trace
        rows[..., i, j] = m[..., j, i] + m[..., i, j]
        rows[..., i, k] = m[..., k, i] + m[..., i, k]
        rows[..., i, 3] = m[..., k, j] - m[..., j, k]
        rows[..., 3, i] = rows[..., i, 3]
    rows[..., 3, 3] = 1.0 + trace
    pivot = np.argmax(np.concatenate([diagonal, trace[..., None]], -1), -1)
    q = np.take_along_axis(rows, pivot[..., None, None], -2)[..., 0, :]
    q /= np.linalg.norm(q, axis=-1, keepdims=True)
    return np.where(q[..., 3:] < 0.0, -q, q)


def to_matrix(q: Array) -> Array:
    """(..., 4) to (..., 3, 3)."""
    x, y, z, w = np.moveaxis(np.asarray(q, np.float64), -1, 0)
    return np.stack(
        [
            np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)], -1),
            np.stack([2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)], -1),
            np.stack([2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)], -1),
        ],
        -2,
    )


def zxy_angles(matrix: Array) -> Array:
    """(T, ..., 3, 3) to (T, ..., 3) radians z, x, y with matrix = Rz(z) Rx(x) Ry(y).

    Two triples mean the same rotation, and so does a whole turn more: of these, the one
    nearest to that of the row before, so that the values go on without a jump.
    """
    m = np.asarray(matrix, np.float64)
    x = np.arcsin(np.clip(m[..., 2, 1], -1.0, 1.0))
    z = np.arctan2(-m[..., 0, 1], m[..., 1, 1])
    y = np.arctan2(-m[..., 2, 0], m[..., 2, 2])
    one = np.stack([z, x, y], -1)
    other = np.stack([z + np.pi, np.pi - x, y + np.pi], -1)
    for row in range(1, len(one)):
        before = one[row - 1]
        near, far = (
            triple[row] + 2 * np.pi * np.round((before - triple[row]) / (2 * np.pi))
            for triple in (one, other)
        )
        closer = np.abs(far - before).sum(-1) < np.abs(near - before).sum(-1)
        one[row] = np.where(closer[..., None], far, near)
    return np.asarray(one)


def slerp(a: Array, b: Array, fraction: Array) -> Array:
    """On the shorter way from `a` to `b`: (..., 4), (..., 4), (...) to (..., 4)."""
    b = np.where(((a * b).sum(-1) < 0.0)[..., None], -b, b)
    angle = np.arccos(np.clip((a * b).sum(-1), -1.0, 1.0))[..., None]
    t = fraction[..., None]
    with np.errstate(divide="ignore", invalid="ignore"):
        arc = (np.sin((1.0 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle)
    out = np.where(angle < 1e-6, (1.0 - t) * a + t * b, arc)
    return np.asarray(out / np.linalg.norm(out, axis=-1, keepdims=True))


def cross(a: Array, b: Array) -> Array:
    """Cross product of (..., 3) vectors; on small arrays much faster than `np.cross`."""
    out = np.empty(np.broadcast_shapes(a.shape, b.shape))
    out[..., 0] = a[..., 1] * b[..., 2] - a[..., 2] * b[..., 1]
    out[..., 1] = a[..., 2] * b[..., 0] - a[..., 0] * b[..., 2]
    out[..., 2] = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    return out


def angle_between(a: Array, b: Array) -> Array:
    """(..., 4), (..., 4) to (...) radians, 0 to pi: how far apart two rotations are."""
    w = np.abs((a * b).sum(-1))
    return np.asarray(2.0 * np.arccos(np.minimum(w, 1.0)))


def to_y_up(values: Array) -> Array:
    """From the world frame (Z up) to Y up: (x, y, z) becomes (x, z, -y).

    Args:
        values: (..., 3) positions or (..., 4) quaternions; a figure that faces -Y, as our
            rest pose does, then faces +Z, with its left along +X in both.
    """
    out = np.array(values, np.float64)
    out[..., 1], out[..., 2] = values[..., 2], 0.0 - values[..., 1]  # no negative zeros
    return out
