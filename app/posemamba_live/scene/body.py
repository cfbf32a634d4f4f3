"""One body per person: the length of every bone in metres, from noisy lifted poses.

The network answers in body heights, so `--height` alone gives metres up to how well the
network judges size: where it is unsure it draws limbs short, by some per cent. The chain
ankle - knee - hip - spine - thorax - crown is a nearly constant share of stature in adults
(Drillis and Contini 1966: segments 0.246 + 0.245 + 0.288 + 0.182 = 0.961), so its measured
length corrects the scale. It is trusted within 15 % and only as far as its joints were
seen: legs outside the picture are the network's guess, and then the height alone counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from posemamba.skeleton import (
    CHAIN_SHARE,
    HEAD,
    HIP,
    L_ANKLE,
    L_KNEE,
    MIRROR,
    NUM_JOINTS,
    PARENTS,
    R_ANKLE,
    R_KNEE,
    SPINE,
    THORAX,
)

Array = NDArray[np.float64]

MAX_CORRECTION: Final = 0.15
_SEEN: Final = 0.35
"""Mean confidence of the chain's joints at which its length counts half."""
_NECK: Final = NUM_JOINTS
"""Column after the bones: Thorax to Head, which the skeleton reaches by way of the nose."""


@dataclass(frozen=True, slots=True)
class Body:
    """Measures of one person."""

    scale: float
    """Metres per network unit (about the height)."""
    lengths: Array
    """(17,) metres from each joint to its parent, left and right alike; Hip 0."""


def segment_lengths(joints: Array) -> Array:
    """(N, 17, 3) to (N, 18): distance of each joint from its parent (Hip 0), then the neck."""
    parents = np.array([max(p, 0) for p in PARENTS])
    out = np.empty((len(joints), NUM_JOINTS + 1))
    out[:, :NUM_JOINTS] = np.linalg.norm(joints - joints[:, parents], axis=-1)
    out[:, _NECK] = np.linalg.norm(joints[:, HEAD] - joints[:, THORAX], axis=-1)
    return out


def segment_weights(scores: Array) -> Array:
    """(N, 17) confidence to (N, 18): a segment is as sure as the less sure of its ends."""
    parents = np.array([max(p, 0) for p in PARENTS])
    out = np.empty((len(scores), NUM_JOINTS + 1))
    out[:, :NUM_JOINTS] = np.minimum(scores, scores[:, parents])
    out[:, _NECK] = np.minimum(scores[:, HEAD], scores[:, THORAX])
    return out + 1e-3


def measure_body(segments: Array, weights: Array, height_m: float) -> Body:
    """Robust lengths of all bones, and the scale that fits them to the height.

    Args:
        segments: (N, 18) network units, from `segment_lengths`; N at least 1.
        weights: (N, 18), from `segment_weights`.
        height_m: standing height, metres.
    """
    # Left and right samples of a segment are pooled, so that both sides get one length.
    other = np.array([*MIRROR, _NECK])
    pooled = np.concatenate([segments, segments[:, other]])
    lengths = weighted_median(pooled, np.concatenate([weights, weights[:, other]]))

    chain = lengths[R_KNEE] + lengths[R_ANKLE] + lengths[SPINE] + lengths[THORAX] + lengths[_NECK]
    per_frame = weights[:, [R_KNEE, L_KNEE, R_ANKLE, L_ANKLE, SPINE, THORAX, _NECK]].mean(1)
    seen = float((per_frame**2).sum() / per_frame.sum())  # mean over the frames that counted
    trust = seen**2 / (seen**2 + _SEEN**2)
    correction = math.log(max(CHAIN_SHARE / max(float(chain), 1e-6), 1e-6))
    bound = math.log1p(MAX_CORRECTION)
    scale = height_m * math.exp(trust * min(max(correction, -bound), bound))
    return Body(scale, scale * lengths[:NUM_JOINTS])


def weighted_median(values: Array, weights: Array) -> Array:
    """Column-wise weighted median: (N, K), (N, K) to (K,)."""
    order = np.argsort(values, axis=0)
    cumulative = np.cumsum(np.take_along_axis(weights, order, 0), axis=0)
    middle = (cumulative < 0.5 * cumulative[-1]).sum(0)
    index = np.take_along_axis(order, middle[None], 0)
    return np.asarray(np.take_along_axis(values, index, 0)[0], np.float64)


def rebuild(joints: Array, lengths: Array) -> Array:
    """Poses with the directions of `joints` and the given bone lengths.

    Args:
        joints: (..., 17, 3) any unit.
        lengths: (17,) metres.

    Returns:
        (..., 17, 3) metres, Hip at the origin.
    """
    out = np.zeros_like(joints)
    for joint, parent in enumerate(PARENTS):
        if joint == HIP:
            continue
        bone = joints[..., joint, :] - joints[..., parent, :]
        norm = np.linalg.norm(bone, axis=-1, keepdims=True)
        out[..., joint, :] = out[..., parent, :] + bone * (lengths[joint] / np.maximum(norm, 1e-9))
    return out
