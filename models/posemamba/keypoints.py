"""Orders of keypoints that detectors speak, as data, and their way into Human3.6M-17.

The 12 limb joints are taken over one to one. The other five follow the rule of
`posemamba.skeleton.assemble`, which training uses too: Hip and Thorax are the midpoints of
the hips and of the shoulders, Spine is halfway between those two, Nose is the detector's,
and Head lies beyond the middle of both ears, seen from the Thorax. The middle of the ears
is the plain mean, however unsure one of them is. Where a model has a crown, neck or pelvis of
its own they are not used: the joints follow one rule whatever the detector.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posemamba.skeleton import JOINT_NAMES, LIMB_JOINTS, NUM_JOINTS, assemble, assemble_scores

Float = NDArray[np.float32]

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

_SIDES: Final = {"L": "left_", "R": "right_"}


@dataclass(frozen=True)
class _Indices:
    """Where an order keeps what Human3.6M-17 is made of."""

    limbs: list[int]
    """Of LIMB_JOINTS, in that order."""
    nose: int
    ears: list[int]
    extra: list[int]
    """Of all points that are not themselves one of the 17 joints."""


@functools.cache
def _indices(names: tuple[str, ...]) -> _Indices:
    joints = [JOINT_NAMES[joint] for joint in LIMB_JOINTS]
    limbs = [names.index(_SIDES[joint[0]] + joint[1:].lower()) for joint in joints]
    nose = names.index("nose")
    return _Indices(
        limbs=limbs,
        nose=nose,
        ears=[names.index("left_ear"), names.index("right_ear")],
        extra=[i for i in range(len(names)) if i != nose and i not in limbs],
    )


def to_joints(names: tuple[str, ...], points: ArrayLike) -> Float:
    """Points in a known order to the 17 joints.

    Args:
        names: one of the orders above, or another with the same words for limbs, nose and ears.
        points: (..., K, D) positions of any kind: pixels, metres.

    Returns:
        (..., 17, D) float32.

    Raises:
        ValueError: not as many points as names, or a name that is needed and missing.
    """
    array = np.asarray(points, np.float32)
    if array.ndim < 2 or array.shape[-2] != len(names):
        raise ValueError(f"points have the shape {array.shape}, not (..., {len(names)}, D)")
    own = _indices(names)
    limbs = np.zeros((*array.shape[:-2], NUM_JOINTS, array.shape[-1]), np.float32)
    limbs[..., list(LIMB_JOINTS), :] = array[..., own.limbs, :]
    return assemble(limbs, array[..., own.nose, :], array[..., own.ears, :].mean(-2))


def to_scores(names: tuple[str, ...], scores: ArrayLike) -> Float:
    """Confidence (..., K) in a known order to that of the 17 joints, kept within 0 to 1.

    A derived joint is as sure as the least sure point that it is made of.
    """
    array = np.clip(np.asarray(scores, np.float32), 0.0, 1.0)
    if array.ndim < 1 or array.shape[-1] != len(names):
        raise ValueError(f"scores have the shape {array.shape}, not (..., {len(names)})")
    own = _indices(names)
    limbs = np.zeros((*array.shape[:-1], NUM_JOINTS), np.float32)
    limbs[..., list(LIMB_JOINTS)] = array[..., own.limbs]
    return assemble_scores(limbs, array[..., own.nose], array[..., own.ears].min(-1))


def extra_points(names: tuple[str, ...]) -> list[int]:
    """Indices of the points that are none of the 17 joints themselves: feet, hands, face."""
    return list(_indices(names).extra)
