"""Which sight continues which track: distances between people, and the best assignment.

Tracking libraries were weighed: those at hand count frames where live use needs seconds
(norfair, supervision's ByteTrack), assign greedily (norfair), or bring detectors and
appearance networks along (boxmot). What is left to write is small.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from posemamba_live.tracking.assignment import least_cost
from posemamba_live.tracking.kalman import Motion
from posemamba_live.tracking.sight import Sight, heads_apart, visible_box
from posemamba_live.types import Detection

GATING_DISTANCE: Final = 14.0
"""Squared Mahalanobis distance beyond which it is somebody else: 99.7 % of the own ones."""
UNASSIGNED: Final = 40.0
"""Cost of a track without a sight: above that of any pair within the gate."""
_POSE_WEIGHT: Final = 6.0
"""Of the poses' dissimilarity (0 to 1) beside the squared distance of position and size."""
_JOINT_FALLOFF: Final = 0.08
"""Distance in person sizes at which a keypoint is 0.6 similar; limbs move about so much."""
_FALLOFF_SPEED: Final = 0.4
"""Growth of that in person sizes a second."""
_BOTH: Final = np.ones(2, np.float32)
"""Sums x and y."""
_SAME: Final = 0.15
"""Two sights of one frame nearer than this, in person sizes, are one person seen twice."""
_SAME_HEAD: Final = 0.05
"""Two whose heads are nearer than this, in sizes of the smaller, are one person as well."""
_NEAR_HEAD: Final = 0.08
"""The same from which one may have been given the other's."""
_SAME_KNOWN: Final = 0.07
"""The first of these for two who were both followed till now and are where they should be:
people who hug are nearer than any two that a search may take for different ones."""


def cost(motion: Motion, expected: Detection, sight: Sight, now: float) -> float:
    """How badly a sight continues a track; infinite where it cannot.

    Who has long been hidden could be anywhere: that alone must not make somebody else's
    sight suit better, which is why the width of the expectation counts.

    Args:
        motion: of the track.
        expected: its last pose where and as large as it should be now.
        sight: what may continue it.
        now: seconds, source time.
    """
    distance, width = motion.surprise(sight.position, sight.size, now)
    if distance > GATING_DISTANCE:
        return float("inf")
    falloff = _JOINT_FALLOFF + _FALLOFF_SPEED * (now - motion.time)
    alike = similarity(expected, sight.detection, max(motion.size, sight.size), falloff)
    return distance + width + _POSE_WEIGHT * (1.0 - alike)


def similarity(a: Detection, b: Detection, size: float, falloff: float) -> float:
    """Object keypoint similarity, 0 to 1: the mean of exp(-d^2 / 2 falloff^2).

    As in COCO's evaluation, but d is in person sizes and keypoints count by their scores.
    """
    weights = np.minimum(a.scores, b.scores) + 1e-3
    away = a.keypoints - b.keypoints
    each = np.exp((away * away) @ _BOTH * (-0.5 / (size * falloff) ** 2))
    return float(weights @ each / weights.sum())


def pose_distance(a: Sight, b: Sight) -> float:
    """Mean distance of corresponding keypoints in person sizes; sure keypoints count more."""
    one, other = a.detection, b.detection
    weights = np.minimum(one.scores, other.scores) + 1e-3
    distances = np.linalg.norm(one.keypoints - other.keypoints, axis=1)
    return float((weights * distances).sum() / weights.sum()) / max(a.size, b.size)


def same_person(a: Sight, b: Sight, *, known: bool = False) -> bool:
    """Whether two sights of one frame are of one person, seen twice.

    Args:
        known: two people were followed to these positions, each where expected.
    """
    if known:
        return pose_distance(a, b) < _SAME_KNOWN
    return pose_distance(a, b) < _SAME or heads_apart(a, b) < _SAME_HEAD


def entangled(a: Sight, b: Sight) -> bool:
    """Whether two sights of one frame have so much in common that one may be of both people."""
    return pose_distance(a, b) < _SAME or heads_apart(a, b) < _NEAR_HEAD


def inside(a: Sight, b: Sight) -> float:
    """Share of what is seen of `a`, as a box, that lies in the box of `b`."""
    (low_a, high_a), (low_b, high_b) = visible_box(a.detection), visible_box(b.detection)
    low, high = np.maximum(low_a, low_b), np.minimum(high_a, high_b)
    area = float(np.prod(high_a - low_a))
    return float(np.prod(np.maximum(high - low, 0.0))) / max(area, 1.0)


class Seen(NamedTuple):
    """What was seen somewhere, before it is settled who is who."""

    sight: Sight
    misfit: float = float("inf")
    """How badly it suits whoever was looked for there; infinite where nobody was."""
    known: bool = False
    """Somebody was followed there till now, and for long enough to be sure of it."""


def without_duplicates(seen: Sequence[Seen]) -> list[Sight]:
    """Drop all but one of the sights that are of one person.

    The best suited stays, of newcomers the surest.
    """
    kept: list[Seen] = []
    for one in sorted(seen, key=lambda one: (one.misfit, -one.sight.score)):
        if not any(
            same_person(one.sight, other.sight, known=one.known and other.known) for other in kept
        ):
            kept.append(one)
    return [one.sight for one in kept]


def assign(costs: NDArray[np.float64], *, unassigned: float) -> list[int | None]:
    """Assign columns to rows at the least total cost (the Hungarian method).

    Args:
        costs: (rows, columns); infinite forbids the pair.
        unassigned: what a row without a column costs, so that one bad pair is not made up
            for by another.

    Returns:
        For each row its column, or None.
    """
    rows, columns = costs.shape
    # A column of its own for each row to stay alone in; forbidden pairs cost more than that.
    alone = np.full((rows, rows), unassigned)
    forbidden = (rows + 1) * (unassigned + 1.0)
    padded = np.hstack([np.where(np.isfinite(costs), costs, forbidden), alone])
    return [j if j < columns else None for j in least_cost(padded.tolist())]
