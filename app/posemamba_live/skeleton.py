"""Skeletons that detectors speak, as data, and their way into Human3.6M-17.

The 12 limb joints are taken over one to one. The other five follow the rule of
`posemamba.skeleton.assemble`, which training uses too: Hip and Thorax are the midpoints of
the hips and of the shoulders, Spine is halfway between those two, Nose is the detector's,
and Head lies beyond the middle of both ears, seen from the Thorax. The middle of the ears
is the plain mean, however unsure one of them is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from posemamba.skeleton import JOINT_NAMES, LIMB_JOINTS, NUM_JOINTS, assemble, assemble_scores
from posemamba_live.types import Detection, FloatArray

BLAZEPOSE_33: Final = (
    "nose", "left_eye_inner", "left_eye", "left_eye_outer", "right_eye_inner", "right_eye",
    "right_eye_outer", "left_ear", "right_ear", "mouth_left", "mouth_right", "left_shoulder",
    "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_pinky",
    "right_pinky", "left_index", "right_index", "left_thumb", "right_thumb", "left_hip",
    "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle", "left_heel",
    "right_heel", "left_foot_index", "right_foot_index",
)  # fmt: skip
"""Landmarks of MediaPipe's pose models, in their order."""

COCO_17: Final = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder",
    "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip",
    "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
"""Keypoints of the COCO data set, in their order."""

_SIDES: Final = {"L": "left_", "R": "right_"}


@dataclass(frozen=True)
class _Adapter:
    """Where a detector's skeleton keeps what Human3.6M-17 is made of."""

    limbs: list[int]
    """Indices of LIMB_JOINTS, in that order."""
    nose: int
    ears: list[int]

    @classmethod
    def of(cls, names: tuple[str, ...]) -> _Adapter:
        limbs = [JOINT_NAMES[joint] for joint in LIMB_JOINTS]
        return cls(
            limbs=[names.index(_SIDES[limb[0]] + limb[1:].lower()) for limb in limbs],
            nose=names.index("nose"),
            ears=[names.index("left_ear"), names.index("right_ear")],
        )

    def points(self, points: NDArray[np.floating[Any]]) -> FloatArray:
        """(N, D) of the detector to (17, D)."""
        points = np.asarray(points, np.float32)
        limbs = np.zeros((NUM_JOINTS, points.shape[1]), np.float32)
        limbs[list(LIMB_JOINTS)] = points[self.limbs]
        return assemble(limbs, points[self.nose], points[self.ears].mean(0))

    def scores(self, scores: NDArray[np.floating[Any]]) -> FloatArray:
        """(N,) of the detector to (17,), kept within 0 to 1."""
        scores = np.clip(np.asarray(scores, np.float32), 0.0, 1.0)
        limbs = np.zeros(NUM_JOINTS, np.float32)
        limbs[list(LIMB_JOINTS)] = scores[self.limbs]
        return assemble_scores(limbs, scores[self.nose], scores[self.ears].min(0))


_BLAZEPOSE: Final = _Adapter.of(BLAZEPOSE_33)
_COCO: Final = _Adapter.of(COCO_17)


def from_blazepose(
    landmarks_px: NDArray[np.floating[Any]], visibility: NDArray[np.floating[Any]]
) -> Detection:
    """Make a detection from MediaPipe's landmarks.

    Args:
        landmarks_px: (33, 2) pixels.
        visibility: (33,) 0 to 1.
    """
    return Detection(_BLAZEPOSE.points(landmarks_px), _BLAZEPOSE.scores(visibility))


def blazepose_joints(landmarks: NDArray[np.floating[Any]]) -> FloatArray:
    """(33, D) BlazePose positions of any kind (metres, say) to (17, D) by the same rule."""
    return _BLAZEPOSE.points(landmarks)


def from_coco(
    keypoints_px: NDArray[np.floating[Any]], scores: NDArray[np.floating[Any]]
) -> Detection:
    """Make a detection from COCO keypoints.

    Args:
        keypoints_px: (17, 2) pixels, COCO order.
        scores: (17,) 0 to 1.
    """
    return Detection(_COCO.points(keypoints_px), _COCO.scores(scores))
