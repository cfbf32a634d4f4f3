"""Detections from keypoints in the orders that detectors speak (`posemamba.keypoints`)."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from posemamba.keypoints import (
    BLAZEPOSE_33,
    COCO_17,
    HALPE_26,
    WHOLEBODY_133,
    extra_points,
    to_joints,
    to_scores,
)
from posemamba.skeleton import (
    HEAD,
    HIP,
    L_HIP,
    L_SHOULDER,
    LIMB_JOINTS,
    NOSE,
    NUM_JOINTS,
    R_HIP,
    R_SHOULDER,
    SPINE,
    THORAX,
)
from posemamba_live.types import Detection, ExtraPoints, FloatArray

__all__ = [
    "BLAZEPOSE_33",
    "COCO_17",
    "HALPE_26",
    "SKELETONS",
    "WHOLEBODY_133",
    "blazepose_joints",
    "from_blazepose",
    "from_keypoints",
]

SKELETONS: Final = {len(names): names for names in (COCO_17, HALPE_26, WHOLEBODY_133)}
"""What a keypoint model speaks, by its number of keypoints."""


def _detection(
    names: tuple[str, ...],
    points: NDArray[np.floating[Any]],
    scores: NDArray[np.floating[Any]],
) -> Detection:
    """(K, 2) pixels and (K,) confidence of the detector to a detection."""
    rest = extra_points(names)
    extra = ExtraPoints(
        tuple(names[i] for i in rest),
        np.asarray(points, np.float32)[rest],
        np.clip(np.asarray(scores, np.float32)[rest], 0.0, 1.0),
    )
    return Detection(to_joints(names, points), to_scores(names, scores), extra)


def from_blazepose(
    landmarks_px: NDArray[np.floating[Any]], visibility: NDArray[np.floating[Any]]
) -> Detection:
    """Make a detection from MediaPipe's landmarks.

    Args:
        landmarks_px: (33, 2) pixels.
        visibility: (33,) 0 to 1.
    """
    return _detection(BLAZEPOSE_33, landmarks_px, visibility)


def from_blazepose_parts(
    landmarks_px: NDArray[np.floating[Any]],
    visibility: NDArray[np.floating[Any]],
    peak: NDArray[np.floating[Any]],
) -> Detection:
    """Make a detection whose scores are visibility times peak, both parts kept.

    The parts of a derived joint are those of the point that its score comes from, so that
    the scores of all joints are the products of their parts.

    Args:
        landmarks_px: (33, 2) pixels.
        visibility: (33,) 0 to 1: not hidden.
        peak: (33,) 0 to 1: clearly localised.
    """
    visibility, peak = np.asarray(visibility, np.float32), np.asarray(peak, np.float32)
    points, scores = np.asarray(landmarks_px, np.float32), visibility * peak
    joints = _least_sure(scores.tolist())
    return Detection(
        _RULE @ points,
        scores[joints],
        ExtraPoints(_EXTRA_NAMES, points[_EXTRA], scores[_EXTRA]),
        visibility[joints],
        peak[joints],
    )


_RULE: Final = to_joints(BLAZEPOSE_33, np.eye(len(BLAZEPOSE_33)))
"""(17, 33): the rule for points is linear, and one product is ten times faster than its steps."""
_EXTRA: Final = extra_points(BLAZEPOSE_33)
_EXTRA_NAMES: Final = tuple(BLAZEPOSE_33[i] for i in _EXTRA)
_TAKEN: Final = {joint: int(np.argmax(_RULE[joint])) for joint in (*LIMB_JOINTS, NOSE)}
"""Landmarks that are themselves one of the 17 joints."""
_EARS: Final = BLAZEPOSE_33.index("left_ear"), BLAZEPOSE_33.index("right_ear")


def _least_sure(scores: list[float]) -> list[int]:
    """For each of the 17 joints the landmark that its score comes from.

    A derived joint is as sure as the least sure point that it is made of: this one.
    """
    least = [_TAKEN.get(joint, 0) for joint in range(NUM_JOINTS)]
    least[HIP] = min(least[R_HIP], least[L_HIP], key=scores.__getitem__)
    least[THORAX] = min(least[R_SHOULDER], least[L_SHOULDER], key=scores.__getitem__)
    least[SPINE] = min(least[HIP], least[THORAX], key=scores.__getitem__)
    least[HEAD] = min(least[THORAX], *_EARS, key=scores.__getitem__)
    return least


def blazepose_joints(landmarks: NDArray[np.floating[Any]]) -> FloatArray:
    """(33, D) BlazePose positions of any kind (metres, say) to (17, D) by the same rule."""
    return to_joints(BLAZEPOSE_33, landmarks)


def from_keypoints(
    keypoints_px: NDArray[np.floating[Any]], scores: NDArray[np.floating[Any]]
) -> Detection:
    """Make a detection from one of SKELETONS, told apart by the number of keypoints.

    Args:
        keypoints_px: (K, 2) pixels, in the skeleton's order.
        scores: (K,) 0 to 1.
    """
    return _detection(SKELETONS[len(keypoints_px)], keypoints_px, scores)
