"""What the tracker needs to know of one person seen in one frame: position, size, how sure.

Nothing here counts joints that nobody can see: a person at a desk has knees that the model
makes up, and they jump.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
    NUM_JOINTS,
    R_ANKLE,
    R_ELBOW,
    R_HIP,
    R_KNEE,
    R_SHOULDER,
    R_WRIST,
    THORAX,
)
from posemamba_live.detectors.base import Found
from posemamba_live.types import Detection, FloatArray

Array = NDArray[np.float64]

_TORSO: Final = [R_HIP, L_HIP, L_SHOULDER, R_SHOULDER]
_MIDDLE: Final = np.isin(np.arange(NUM_JOINTS), _TORSO) / len(_TORSO)
"""(17,) weights of the torso's middle."""
_BEST: Final = 8
"""Joints that tell how sure a sight is: a head and shoulders have about so many."""
_SEEN: Final = 0.3
"""Score from which a joint counts as seen."""
_BONES: Final = (
    (THORAX, HIP, 0.29), (L_SHOULDER, R_SHOULDER, 0.21), (NOSE, THORAX, 0.16),
    (L_SHOULDER, L_ELBOW, 0.17), (R_SHOULDER, R_ELBOW, 0.17), (L_ELBOW, L_WRIST, 0.15),
    (R_ELBOW, R_WRIST, 0.15), (L_HIP, L_KNEE, 0.25), (R_HIP, R_KNEE, 0.25),
    (L_KNEE, L_ANKLE, 0.24), (R_KNEE, R_ANKLE, 0.24),
)  # fmt: skip
"""Bones and how long they are, relative to a standing person's height."""


@dataclass(frozen=True, slots=True)
class Sight:
    """Somebody seen in one frame."""

    found: Found
    position: Array
    """(2,) pixels: the torso's middle."""
    size: float
    """Pixels, about the height of the person standing; at least 1."""
    score: float
    """How sure the best eight joints are, 0 to 1."""

    @classmethod
    def of(cls, found: Found) -> Sight:
        detection = found.detection
        size = 2.0 * found.circle.radius if found.circle is not None else stature(detection)
        return cls(found, torso(detection.keypoints), max(size, 1.0), surest(detection.scores))

    @property
    def detection(self) -> Detection:
        return self.found.detection


def torso(keypoints: FloatArray) -> Array:
    """(17, 2) keypoints to the (2,) middle of hips and shoulders."""
    # Asked several times a frame, and ten times faster than mean().
    return np.asarray(_MIDDLE @ keypoints)


def surest(scores: FloatArray) -> float:
    """Mean of the best eight of (17,) scores: of a person half in view too."""
    values: list[float] = sorted(scores.tolist())
    return sum(values[-_BEST:]) / _BEST


def stature(detection: Detection) -> float:
    """About the height in pixels of the person standing, from the bones that are seen.

    Foreshortened bones look too short, never too long: the second longest one, relative to
    what is usual, tells it; one alone may be a mistake.
    """
    points, scores = detection.keypoints, detection.scores
    statures = sorted(
        float(np.hypot(*(points[a] - points[b]))) / length
        for a, b, length in _BONES
        if min(scores[a], scores[b]) >= _SEEN
    )
    if len(statures) >= 2:
        return max(statures[-2], 1.0)
    return max(float(np.hypot(*np.ptp(points, axis=0))), 1.0)


def visible_box(detection: Detection) -> tuple[Array, Array]:
    """Low and high corner (2,) of the joints that are seen, of all if hardly any are."""
    seen = detection.scores >= _SEEN
    points = detection.keypoints[seen] if seen.sum() >= 4 else detection.keypoints
    return np.asarray(points.min(0), np.float64), np.asarray(points.max(0), np.float64)


def heads_apart(a: Sight, b: Sight) -> float:
    """Distance of two people's heads, in sizes of the smaller: one head is one person."""
    joints = [NOSE, HEAD]
    away = a.detection.keypoints[joints].mean(0) - b.detection.keypoints[joints].mean(0)
    return float(np.hypot(*away)) / min(a.size, b.size)


def torsos_apart(a: Sight, b: Sight) -> float:
    """Distance of two torsos in sizes of the larger person."""
    return float(np.hypot(*(a.position - b.position))) / max(a.size, b.size)


def sights(found: Sequence[Found]) -> list[Sight]:
    return [Sight.of(one) for one in found]
