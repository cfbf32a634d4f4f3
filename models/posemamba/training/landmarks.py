"""Where a detector marks joints: not at their centres, but at places fixed to the body.

So a detector's constant error turns with the person and with the view: hips marked in front of the
joint are marked too low from above, and in the side view make the trunk lean back. Measured
against the joint centres of rendered bodies by `benchmarks/detector_errors.py`. Points as in
`noise`: 12 limb joints in Human3.6M order, the nose, the middle of the ears.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from posemamba.skeleton import (
    HIP,
    L_HIP,
    L_SHOULDER,
    LIMB_JOINTS,
    PARENTS,
    R_HIP,
    R_SHOULDER,
    RIGHT,
    THORAX,
)

Float = NDArray[np.float32]

_KINDS: Final = (0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5, 6, 7)
"""Hip, knee, ankle, shoulder, elbow, wrist, nose, ears: of each point."""
MEAN: Final = np.array(
    [
        [-0.45, -0.15, 1.85],
        [0.2, 0.0, 0.0],
        [1.75, 0.15, 0.0],
        [1.85, -0.3, 0.15],
        [0.65, 0.1, 0.5],
        [-0.15, -0.35, 0.0],
        [1.25, 0.0, -0.8],
        [1.75, 0.0, -0.4],
    ],
    np.float32,
)
"""Percent of body height: along (up the trunk for hips, shoulders and head; else towards the
limb's root), outwards from the body's middle, forwards."""
SPREAD: Final = np.array(
    [
        [1.2, 0.4, 0.65],
        [0.75, 0.35, 0.5],
        [0.75, 0.3, 0.45],
        [0.55, 0.5, 0.45],
        [0.9, 0.5, 0.7],
        [0.6, 0.35, 0.5],
        [0.6, 0.25, 0.3],
        [0.4, 0.3, 0.4],
    ],
    np.float32,
)
"""Standard deviation from person to person."""
AGREE: Final = np.array([0.9, 0.3, 0.4, 0.5, 0.3, 0.3, 0.0, 0.0], np.float32)
"""Correlation between both sides of a person."""
SHARE: Final = (0.2, 1.2)
"""Range of the share of `MEAN`: truths differ in where they put a hip or a shoulder."""

_OTHER_SIDE: Final = (3, 4, 5, 0, 1, 2, 9, 10, 11, 6, 7, 8, 12, 13)


def draw(rng: np.random.Generator, batch: int) -> Float:
    """(B, 14, 3) offsets in percent of body height, in the axes of `MEAN`."""
    kinds = list(_KINDS)
    own = rng.standard_normal((batch, len(kinds), 3), np.float32)
    # a x + b y and a y + b x have unit variance and the correlation 2 a b.
    angle = 0.5 * np.arcsin(AGREE[kinds])[:, None]
    own = np.asarray(np.cos(angle) * own + np.sin(angle) * own[:, _OTHER_SIDE], np.float32)
    own[:, -2:, 1] *= 0.5
    share = rng.uniform(*SHARE, (batch, 1, 1)).astype(np.float32)
    return np.asarray(share * MEAN[kinds] + SPREAD[kinds] * own, np.float32)


def marked(points: Float, joints: Float, height: Float, offset: Float) -> Float:
    """Points moved to where a detector sees them.

    Args:
        points: (B, T, 14, 3) metres, joints: (B, T, 17, 3) the body they belong to.
        height: (B,) metres per body height.
        offset: (B, 14, 3) percent, of `draw`.
    """
    up = _unit(joints[:, :, THORAX] - joints[:, :, HIP])
    rights = [
        _unit(joints[:, :, a] - joints[:, :, b])
        for a, b in ((R_HIP, L_HIP), (R_SHOULDER, L_SHOULDER))
    ]
    out = points.copy()
    metres = 0.01 * height[:, None, None] * offset
    for p, kind in enumerate(_KINDS):
        joint = LIMB_JOINTS[p] if p < len(LIMB_JOINTS) else None
        right = rights[0] if kind < 3 else rights[1]
        along = up
        if joint is not None and kind not in (0, 3):
            along = _unit(joints[:, :, PARENTS[joint]] - joints[:, :, joint])
        side = 1.0 if joint in RIGHT else -1.0
        axes = (along, side * right, np.cross(up, right))
        for k, axis in enumerate(axes):
            out[:, :, p] += metres[:, None, p, k, None] * axis
    return np.asarray(out, np.float32)


def _unit(vectors: Float) -> Float:
    norm = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(norm, 1e-6), np.float32)
