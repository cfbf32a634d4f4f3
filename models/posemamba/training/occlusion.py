"""Which joints the body itself hides from the camera, from capsules around its bones."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from posemamba.skeleton import (
    HEAD,
    HIP,
    L_ANKLE,
    L_ELBOW,
    L_HIP,
    L_KNEE,
    L_SHOULDER,
    L_WRIST,
    NOSE,
    R_ANKLE,
    R_ELBOW,
    R_HIP,
    R_KNEE,
    R_SHOULDER,
    R_WRIST,
    THORAX,
)

Float = NDArray[np.float32]

CAPSULES: Final = (
    (HIP, THORAX, 0.065),
    (R_HIP, R_SHOULDER, 0.062),
    (L_HIP, L_SHOULDER, 0.062),
    (NOSE, HEAD, 0.05),
    (R_HIP, R_KNEE, 0.042),
    (L_HIP, L_KNEE, 0.042),
    (R_KNEE, R_ANKLE, 0.03),
    (L_KNEE, L_ANKLE, 0.03),
    (R_SHOULDER, R_ELBOW, 0.027),
    (L_SHOULDER, L_ELBOW, 0.027),
    (R_ELBOW, R_WRIST, 0.022),
    (L_ELBOW, L_WRIST, 0.022),
)
"""Two joints and a radius in body heights. Three of them make a trunk that is wider than deep."""

BEHIND: Final = 0.03
"""Body heights by which a capsule's axis has to be nearer to the camera than what it hides: a
joint lies in the capsules of its own bones, and a hand on the belly in the trunk's outline."""
_NEAREST: Final = 0.1
"""Metres; no camera is closer to a body than that."""


def covered(points: Float, joints: Float, height: Float) -> Float:
    """How deep points lie behind the outline of the body's own parts.

    Args:
        points: (B, T, P, 3) metres, camera frame: what may be hidden.
        joints: (B, T, 17, 3) the body, likewise.
        height: (B,) metres per body height.

    Returns:
        (B, T, P): 1 behind the axis of a capsule, 0 at its edge, negative beside it (-1 at
        twice its radius and where nothing is in front).
    """
    first = np.array([a for a, _, _ in CAPSULES])
    second = np.array([b for _, b, _ in CAPSULES])
    radius = np.array([r for _, _, r in CAPSULES], np.float32)
    tall = height[:, None, None]
    radii = radius * tall  # (B, 1, K) metres
    flat, depth = _flat(joints)
    target, target_depth = _flat(points)
    a, b = flat[:, :, first], flat[:, :, second]
    near = 1.0 / depth[:, :, first]
    change = 1.0 / depth[:, :, second] - near  # along a line in the picture 1 / z is linear
    along = b - a
    length = (along**2).sum(-1)

    out = np.full(target_depth.shape, -1.0, np.float32)
    # An end that is nearer hides what is behind a limb that points at the camera, where the
    # closest point of its axis in the picture says nothing.
    end = (change > 0).astype(np.float32)
    for p in range(points.shape[2]):
        way = target[:, :, p, None] - a  # (B, T, K, 2)
        share = np.clip((way * along).sum(-1) / np.maximum(length, 1e-9), 0.0, 1.0)
        for u in (share, end):
            z = 1.0 / (near + u * change)
            off = way - u[..., None] * along
            distance = np.sqrt((off**2).sum(-1)) * z
            depth_in = 1.0 - distance / radii
            behind = target_depth[:, :, p, None] - z > BEHIND * tall
            best = np.where(behind, depth_in, -1.0).max(-1)
            np.maximum(out[:, :, p], best, out=out[:, :, p])
    return out


def _flat(points: Float) -> tuple[Float, Float]:
    """(..., 3) camera frame to (..., 2) at unit depth, and (...) depth."""
    depth = np.asarray(np.maximum(points[..., 2], _NEAREST), np.float32)
    return np.asarray(points[..., :2] / depth[..., None], np.float32), depth
