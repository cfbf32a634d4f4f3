"""Bodies that motion capture lacks: arms that reach for things, and sitting, kneeling, lying.

All positions are (B, T, 17, 3) metres in a Z-up world. A body's own axes are right, forward,
up, in this order, as the columns of a (..., 3, 3) matrix.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from posemamba.skeleton import (
    HIP,
    L_ANKLE,
    L_ELBOW,
    L_HIP,
    L_KNEE,
    L_SHOULDER,
    L_WRIST,
    R_ANKLE,
    R_ELBOW,
    R_HIP,
    R_KNEE,
    R_SHOULDER,
    R_WRIST,
    SPINE,
    THORAX,
)

Float = NDArray[np.float32]

UPPER: Final = (7, 8, 9, 10, 11, 12, 13, 14, 15, 16)
LEGS: Final = ((R_HIP, R_KNEE, R_ANKLE), (L_HIP, L_KNEE, L_ANKLE))
ARMS: Final = ((R_SHOULDER, R_ELBOW, R_WRIST), (L_SHOULDER, L_ELBOW, L_WRIST))
SIDES: Final = np.array([1.0, -1.0], np.float32)
"""Right, left: sign of the body's own right axis that points outwards."""

_LYING: Final = "lying"
# Share of each posture, then per leg the mean and spread in degrees of: thigh elevation, thigh
# azimuth (outwards), shank elevation, shank azimuth. Elevation 0 is straight ahead, -90 down,
# -180 straight back. A second row is for the other leg.
_Angles = tuple[tuple[float, float], ...]
_CHAIR: Final[_Angles] = ((0, 9), (12, 12), (-87, 12), (0, 10))
_UPRIGHT_KNEE: Final[_Angles] = ((-88, 8), (6, 8), (-177, 5), (0, 8))
POSTURES: Final[tuple[tuple[str, float, tuple[_Angles, _Angles]], ...]] = (
    ("chair", 0.26, (_CHAIR, _CHAIR)),
    ("chair, feet out", 0.08, 2 * (((-8, 8), (8, 8), (-48, 14), (0, 8)),)),
    ("chair, legs crossed", 0.08, (((17, 6), (-16, 6), (-62, 15), (-10, 12)), _CHAIR)),
    ("squat", 0.06, 2 * (((12, 14), (22, 12), (-113, 9), (0, 8)),)),
    ("floor, legs long", 0.05, 2 * (((2, 4), (12, 10), (-3, 4), (5, 10)),)),
    ("floor, knees up", 0.06, 2 * (((50, 12), (10, 10), (-55, 10), (0, 8)),)),
    ("floor, cross-legged", 0.07, 2 * (((5, 8), (50, 8), (-7, 5), (-100, 15)),)),
    ("kneeling", 0.06, (_UPRIGHT_KNEE, _UPRIGHT_KNEE)),
    ("kneeling on heels", 0.05, 2 * (((-12, 7), (10, 8), (-177, 4), (0, 8)),)),
    ("half kneeling", 0.05, (((-5, 9), (10, 8), (-88, 10), (0, 8)), _UPRIGHT_KNEE)),
    (_LYING, 0.09, 2 * (((-86, 8), (6, 6), (-95, 8), (4, 6)),)),
    (_LYING, 0.09, 2 * (((-40, 22), (8, 10), (-125, 20), (0, 8)),)),
)


def unit(v: Float) -> Float:
    """Vectors of length one along the last axis."""
    return np.asarray(v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-6), np.float32)


def axes(right: Float, up: Float) -> Float:
    """(..., 3) directions to (..., 3, 3) right, forward, up columns; `up` is kept exactly."""
    up = unit(up)
    right = unit(right - (right * up).sum(-1, keepdims=True) * up)
    return np.stack([right, np.cross(up, right), up], -1)


def rotations(vector: Float) -> Float:
    """Rotation vectors (..., 3) in radians to matrices (..., 3, 3) by Rodrigues' formula."""
    angle = np.linalg.norm(vector, axis=-1)[..., None, None]
    x, y, z = np.moveaxis(unit(vector), -1, 0)
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*x.shape, 3, 3)
    return np.asarray(
        np.eye(3, dtype=np.float32) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross,
        np.float32,
    )


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, ...], frames: int, fps: Float, fastest_hz: float
) -> Float:
    """Two random slow sines, unit variance: (B, frames, *shape) for fps of shape (B,)."""
    size = (2, len(fps), 1, *shape)
    hertz = rng.uniform(0.1, fastest_hz, size).astype(np.float32)
    phase = rng.uniform(0.0, 2 * np.pi, size).astype(np.float32)
    time = np.arange(frames, dtype=np.float32) / fps[:, None]
    time = time.reshape(*time.shape, *([1] * len(shape)))
    return np.asarray(np.sin(2 * np.pi * hertz * time + phase).sum(0), np.float32)


def fold_legs(rng: np.random.Generator, joints: Float, fps: Float) -> None:
    """Replace the legs of upright bodies by those of somebody who sits, kneels, squats or lies.

    Works in place. The trunk leans a little forward or back; who lies is turned as a whole.
    """
    batch, frames = joints.shape[:2]
    kind = rng.choice(len(POSTURES), batch, p=[share for _, share, _ in POSTURES])
    table = np.radians([list(legs) for _, _, legs in POSTURES])[kind]
    swap = rng.random(batch) < 0.5
    table[swap] = table[swap, ::-1]
    # Both legs share most of what makes this person's posture differ from the table's.
    spread = 0.8 * rng.standard_normal((batch, 1, 4)) + 0.6 * rng.standard_normal((batch, 2, 4))
    angles = (table[..., 0] + spread * table[..., 1]).astype(np.float32)
    sway = np.where(rng.random((batch, 1, 2, 1)) < 0.25, 0.12, 0.03).astype(np.float32)
    moving = angles[:, None] + sway * smooth_noise(rng, (2, 4), frames, fps, 1.5)

    hips = joints[:, :, R_HIP] - joints[:, :, L_HIP]
    level = hips.mean(1, keepdims=True) * np.array([1, 1, 0], np.float32)
    body = axes(level, np.broadcast_to(np.array([0, 0, 1], np.float32), level.shape))
    _lean_trunk(rng, joints, body, fps)
    for leg, (hip, knee, ankle) in enumerate(LEGS):
        thigh_length = np.linalg.norm(joints[:, :, knee] - joints[:, :, hip], axis=-1)
        shank_length = np.linalg.norm(joints[:, :, ankle] - joints[:, :, knee], axis=-1)
        thigh = _direction(moving[:, :, leg, 0], moving[:, :, leg, 1], SIDES[leg])
        shank = _direction(moving[:, :, leg, 2], moving[:, :, leg, 3], SIDES[leg])
        thigh = (body @ thigh[..., None])[..., 0] * thigh_length.mean(1)[:, None, None]
        shank = (body @ shank[..., None])[..., 0] * shank_length.mean(1)[:, None, None]
        joints[:, :, knee] = joints[:, :, hip] + thigh
        joints[:, :, ankle] = joints[:, :, knee] + shank
    lying = np.flatnonzero(np.array([name == _LYING for name, _, _ in POSTURES])[kind])
    if len(lying):
        turn = _lay_down(rng, body[lying, 0])
        root = joints[lying, :, HIP, None]
        joints[lying] = root + (joints[lying] - root) @ turn[:, None].swapaxes(-1, -2)


def _direction(elevation: Float, azimuth: Float, side: np.float32) -> Float:
    """(...,) angles to (..., 3) unit vectors in right, forward, up."""
    flat = np.cos(elevation)
    return np.stack([side * flat * np.sin(azimuth), flat * np.cos(azimuth), np.sin(elevation)], -1)


def _lean_trunk(rng: np.random.Generator, joints: Float, body: Float, fps: Float) -> None:
    """Tilt everything above the hips about them, forward more than back, swaying slowly."""
    batch, frames = joints.shape[:2]
    fixed = np.stack([-rng.normal(0.1, 0.2, batch), rng.normal(0.0, 0.08, batch)], -1)
    tilt = fixed[:, None] + 0.03 * smooth_noise(rng, (2,), frames, fps, 0.6)
    vector = body[..., :2] @ tilt[..., None]
    turn = rotations(vector[..., 0].astype(np.float32))
    root = joints[:, :, HIP, None]
    joints[:, :, UPPER] = root + (joints[:, :, UPPER] - root) @ turn.swapaxes(-1, -2)


def _lay_down(rng: np.random.Generator, body: Float) -> Float:
    """(m, 3, 3) turns that lay bodies with the given axes on the back, the front or a side."""
    count = len(body)
    face = rng.choice([np.pi / 2, -np.pi / 2, 0.0, np.pi], count, p=[0.4, 0.3, 0.15, 0.15])
    face = face + rng.normal(0.0, 0.25, count)
    slope = rng.normal(0.05, 0.12, count)
    zero, one = np.zeros(count), np.ones(count)
    # Old up goes to the horizontal, old forward to `face` above the horizontal.
    up = np.stack([np.cos(slope), zero, np.sin(slope)], -1)
    side = np.stack([zero, one, zero], -1)
    forward = np.cos(face)[:, None] * side + np.sin(face)[:, None] * np.cross(up, side)
    lying = np.stack([np.cross(forward, up), forward, up], -1)
    return np.asarray(lying @ body.swapaxes(-1, -2), np.float32)


def reach(rng: np.random.Generator, joints: Float, fps: Float) -> None:
    """Let one or both arms follow smooth random targets: two-bone inverse kinematics, in place.

    Targets are free in front and beside the body, low in front (a desk, a keyboard), or at
    the head (telephone, drinking, thinking).
    """
    batch, frames = joints.shape[:2]
    across = joints[:, :, R_SHOULDER] - joints[:, :, L_SHOULDER]
    chest = axes(across, joints[:, :, THORAX] - joints[:, :, SPINE])
    both = rng.random(batch) < 0.5
    only = rng.integers(0, 2, batch)
    for arm, (shoulder, elbow, wrist) in enumerate(ARMS):
        own = np.flatnonzero(both | (only == arm))
        origin = joints[own, :, shoulder]
        upper = np.linalg.norm(joints[own, :, elbow] - origin, axis=-1).mean(1)
        lower = np.linalg.norm(joints[own, :, wrist] - joints[own, :, elbow], axis=-1).mean(1)
        target = (
            _targets(rng, len(own), frames, fps[own], SIDES[arm]) * (upper + lower)[:, None, None]
        )
        pole = np.stack(
            [
                SIDES[arm] * rng.uniform(-0.1, 0.9, len(own)),
                -rng.uniform(-0.2, 0.7, len(own)),
                -np.ones(len(own)),
            ],
            -1,
        ).astype(np.float32)
        bend, end = two_bone(target, pole[:, None], upper[:, None], lower[:, None])
        frame = chest[own]
        joints[own, :, elbow] = origin + (frame @ bend[..., None])[..., 0]
        joints[own, :, wrist] = origin + (frame @ end[..., None])[..., 0]


def two_bone(target: Float, pole: Float, upper: Float, lower: Float) -> tuple[Float, Float]:
    """Middle and end joint of a two-bone chain at the origin that reaches for `target`.

    Args:
        target: (..., 3); moved along its own line into what the chain can reach.
        pole: (..., 3) direction towards which the middle joint bends.
        upper, lower: (...) bone lengths.
    """
    distance = np.linalg.norm(target, axis=-1)
    way = target / np.maximum(distance, 1e-6)[..., None]
    distance = np.clip(distance, np.abs(upper - lower) + 0.08, 0.995 * (upper + lower))
    along = (upper**2 - lower**2 + distance**2) / (2.0 * distance)
    aside = np.sqrt(np.maximum(upper**2 - along**2, 0.0))
    out = unit(pole - (pole * way).sum(-1, keepdims=True) * way)
    return along[..., None] * way + aside[..., None] * out, distance[..., None] * way


def _targets(
    rng: np.random.Generator, count: int, frames: int, fps: Float, side: np.float32
) -> Float:
    """(count, frames, 3) smooth wrist targets from the shoulder, in arm lengths, chest axes."""
    period = rng.uniform(0.35, 1.3, count).astype(np.float32)
    hold = rng.uniform(0.0, 0.8, count).astype(np.float32)
    time = np.arange(frames, dtype=np.float32) / fps[:, None]
    beat = time / period[:, None] + rng.random((count, 1), np.float32)
    knots = int(beat.max(initial=0.0)) + 2
    knot = np.minimum(beat.astype(np.int64), knots - 2)
    share = np.clip((beat - knot - hold[:, None]) / (1.0 - hold[:, None]), 0.0, 1.0)
    # Minimum-jerk profile from one target to the next.
    share = (share**3 * (10.0 - 15.0 * share + 6.0 * share**2))[..., None]

    kind = rng.choice(3, (count, 1), p=[0.55, 0.25, 0.2])
    shape = (count, knots)
    azimuth = np.where(kind == 1, rng.uniform(-0.5, 0.4, shape), rng.uniform(-0.7, 1.7, shape))
    elevation = np.where(kind == 1, rng.uniform(-1.1, -0.3, shape), rng.uniform(-1.2, 1.3, shape))
    radius = np.where(kind == 1, rng.uniform(0.5, 0.9, shape), rng.uniform(0.3, 1.0, shape) ** 0.6)
    point = radius[..., None] * _direction(
        elevation.astype(np.float32), azimuth.astype(np.float32), side
    )
    head = np.stack([side * np.full(shape, -0.25), np.full(shape, 0.18), np.full(shape, 0.35)], -1)
    head = head + 0.1 * rng.standard_normal((*shape, 3))
    point = np.where(kind[..., None] == 2, head, point)
    # Mostly one main target with moves around it, at times a new one at every knot.
    stay = rng.uniform(0.0, 1.0, (count, 1, 1)) ** 0.5
    point = (stay * point[:, :1] + (1.0 - stay) * point).astype(np.float32)
    row = np.arange(count)[:, None]
    return np.asarray(point[row, knot] + share * (point[row, knot + 1] - point[row, knot]))
