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

from posemamba.skeleton import (
    HEAD,
    HIP,
    JOINT_NAMES,
    L_HIP,
    L_SHOULDER,
    LIMB_JOINTS,
    NOSE,
    NUM_JOINTS,
    R_HIP,
    R_SHOULDER,
    SPINE,
    THORAX,
    assemble,
    assemble_scores,
)
from posemamba_live.types import Detection, ExtraPoints, FloatArray

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

HALPE_26: Final = (
    *COCO_17, "head", "neck", "hip", "left_big_toe", "right_big_toe", "left_small_toe",
    "right_small_toe", "left_heel", "right_heel",
)  # fmt: skip
"""Keypoints of Halpe with 26 points, in their order; head is the crown, hip the pelvis."""

_FINGERS: Final = ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")


def _hand(side: str) -> tuple[str, ...]:
    return (
        f"{side}_hand_root",
        *(f"{side}_{finger}{joint}" for finger in _FINGERS for joint in range(1, 5)),
    )


WHOLEBODY_133: Final = (
    *COCO_17, "left_big_toe", "left_small_toe", "left_heel", "right_big_toe",
    "right_small_toe", "right_heel", *(f"face_{i}" for i in range(68)),
    *_hand("left"), *_hand("right"),
)  # fmt: skip
"""Keypoints of COCO-WholeBody, in their order: body, feet, 68 of the face, 21 per hand."""

SKELETONS: Final = {len(names): names for names in (COCO_17, HALPE_26, WHOLEBODY_133)}
"""What a keypoint model speaks, by its number of keypoints."""

_SIDES: Final = {"L": "left_", "R": "right_"}


@dataclass(frozen=True)
class _Adapter:
    """Where a detector's skeleton keeps what Human3.6M-17 is made of."""

    limbs: list[int]
    """Indices of LIMB_JOINTS, in that order."""
    nose: int
    ears: list[int]
    extra: list[int]
    """Indices of all points that are not themselves one of the 17 joints."""
    extra_names: tuple[str, ...]

    @classmethod
    def of(cls, names: tuple[str, ...]) -> _Adapter:
        limbs = [JOINT_NAMES[joint] for joint in LIMB_JOINTS]
        limb_indices = [names.index(_SIDES[limb[0]] + limb[1:].lower()) for limb in limbs]
        nose = names.index("nose")
        extra = [i for i in range(len(names)) if i != nose and i not in limb_indices]
        return cls(
            limbs=limb_indices,
            nose=nose,
            ears=[names.index("left_ear"), names.index("right_ear")],
            extra=extra,
            extra_names=tuple(names[i] for i in extra),
        )

    def detection(
        self, points: NDArray[np.floating[Any]], scores: NDArray[np.floating[Any]]
    ) -> Detection:
        """(N, 2) pixels and (N,) confidence of the detector, 0 to 1, to a detection."""
        extra = ExtraPoints(
            self.extra_names,
            np.asarray(points, np.float32)[self.extra],
            np.clip(np.asarray(scores, np.float32)[self.extra], 0.0, 1.0),
        )
        return Detection(self.points(points), self.scores(scores), extra)

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

    def sources(self, scores: FloatArray) -> list[int]:
        """For each of the 17 joints the point that its score comes from.

        A derived joint is as sure as the least sure point that it is made of: this one.
        """
        score = scores.tolist()
        least = [0] * NUM_JOINTS
        for joint, point in zip(LIMB_JOINTS, self.limbs, strict=True):
            least[joint] = point
        least[NOSE] = self.nose
        least[HIP] = min(least[R_HIP], least[L_HIP], key=score.__getitem__)
        least[THORAX] = min(least[R_SHOULDER], least[L_SHOULDER], key=score.__getitem__)
        least[SPINE] = min(least[HIP], least[THORAX], key=score.__getitem__)
        least[HEAD] = min(least[THORAX], *self.ears, key=score.__getitem__)
        return least


_BLAZEPOSE: Final = _Adapter.of(BLAZEPOSE_33)
_BLAZEPOSE_RULE: Final = _BLAZEPOSE.points(np.eye(len(BLAZEPOSE_33)))
"""(17, 33): the rule for points is linear."""
_BY_COUNT: Final = {count: _Adapter.of(names) for count, names in SKELETONS.items()}


def from_blazepose(
    landmarks_px: NDArray[np.floating[Any]], visibility: NDArray[np.floating[Any]]
) -> Detection:
    """Make a detection from MediaPipe's landmarks.

    Args:
        landmarks_px: (33, 2) pixels.
        visibility: (33,) 0 to 1.
    """
    return _BLAZEPOSE.detection(landmarks_px, visibility)


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
    joints, extra = _BLAZEPOSE.sources(scores), _BLAZEPOSE.extra
    return Detection(
        _BLAZEPOSE_RULE @ points,
        scores[joints],
        ExtraPoints(_BLAZEPOSE.extra_names, points[extra], scores[extra]),
        visibility[joints],
        peak[joints],
    )


def blazepose_joints(landmarks: NDArray[np.floating[Any]]) -> FloatArray:
    """(33, D) BlazePose positions of any kind (metres, say) to (17, D) by the same rule."""
    return _BLAZEPOSE.points(landmarks)


def from_keypoints(
    keypoints_px: NDArray[np.floating[Any]], scores: NDArray[np.floating[Any]]
) -> Detection:
    """Make a detection from one of SKELETONS, told apart by the number of keypoints.

    Where a skeleton has a crown, neck or pelvis of its own they are extra points: the
    lifter's joints follow one rule whatever the detector.

    Args:
        keypoints_px: (K, 2) pixels, in the skeleton's order.
        scores: (K,) 0 to 1.
    """
    return _BY_COUNT[len(keypoints_px)].detection(keypoints_px, scores)
