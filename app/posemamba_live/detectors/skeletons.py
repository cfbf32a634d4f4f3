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
