"""How far away somebody is: how big the body looks, and where the standing foot meets the floor."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from posemamba.skeleton import L_ANKLE, LIMB_JOINTS, NUM_JOINTS, R_ANKLE
from posemamba_live.scene.ground import ANKLE_HEIGHT, DEPTH_ERROR
from posemamba_live.types import Ground

Array = NDArray[np.float64]

CORRELATED: Final = 6.0
"""Frames over which the error of a measured distance stays alike (at 30 a second, 0.2 s)."""
_FLOOR_CONTACT_ERROR: Final = 0.03
"""Metres, of the ankle across its view ray when the floor tells its distance."""
_PLAINLY: Final = 0.7
"""Mean confidence of the limbs of somebody plainly in view."""
_LEAST_SEEN: Final = 0.4
_DERIVED_WEIGHT: Final = 0.3
"""Of joints that are computed from others, where limb joints count 1."""


def fuse_floor(
    joints: Array, raw: Array, rays: Array, scores: Array, ground: Ground
) -> tuple[Array, Array]:
    """Distance of the hip from two witnesses: how big the body looks, and the lower foot.

    The view ray of a standing ankle meets the plane ANKLE_HEIGHT above the floor at one
    depth. The witness is worth much when the camera is high above the floor, nothing when
    it looks along it, and is not heard where it contradicts the other (a jump, a chair). Who is
    hidden is rather where they were before than where either puts them.

    Args:
        joints: (N, 17, 3) metres, raw: (N, 3) metres, rays: (N, 17, 2), scores: (N, 17).

    Returns:
        (N,) metres and (N,) variance in square metres.
    """
    z1 = raw[:, 2]
    doubt = _seen(scores) ** -4
    v1 = doubt * (DEPTH_ERROR * z1) ** 2
    up = ground.up
    rows = np.arange(len(joints))
    ankles = np.array([R_ANKLE, L_ANKLE])
    lower = ankles[((joints[:, ankles] + raw[:, None]) @ up).argmin(1)]
    drop = rays[rows, lower] @ up[:2] + up[2]  # change of height per metre of depth
    clearance = ground.height - ANKLE_HEIGHT
    z2 = -clearance / np.minimum(drop, -1e-3) - joints[rows, lower, 2]
    sigma2 = _FLOOR_CONTACT_ERROR * z1 / max(clearance, 1e-3)
    v2 = sigma2**2 / np.maximum(scores[rows, lower], 0.05) ** 2
    gap = (z2 - z1) ** 2 / (v1 + v2)
    fraction = np.where((clearance > 0.2) & (drop < 0.0), 1.0 / (1.0 + (gap / 4.0) ** 2), 0.0)
    w1, w2 = 1.0 / v1, fraction / v2
    return (w1 * z1 + w2 * z2) / (w1 + w2), doubt * CORRELATED / (w1 + w2)


def _seen(scores: Array) -> Array:
    """(N, 17) confidence to (N,): how well the limbs show a body's size, 1 for plainly in view."""
    mean = scores[:, list(LIMB_JOINTS)].mean(1)
    return np.asarray(np.clip(mean / _PLAINLY, _LEAST_SEEN, 1.0), np.float64)


def joint_weights(scores: Array) -> Array:
    """(N, 17) confidence to (N, 17) weights for fitting joints to keypoints."""
    weights = np.full(NUM_JOINTS, _DERIVED_WEIGHT)
    weights[list(LIMB_JOINTS)] = 1.0
    return np.asarray(weights * (scores**2 + 1e-4), np.float64)
