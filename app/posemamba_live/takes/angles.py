"""Joint angles in degrees, with the signs and zeros of the biomechanics literature.

Every angle is zero in upright standing with hanging arms and palms to the thighs, and named
after the movement that makes it grow. Segment axes are X forward, Y up, Z to the right, as
the International Society of Biomechanics has them (Wu et al. 2002, J Biomech 35:543, hip
and spine; Wu et al. 2005, J Biomech 38:981, shoulder, elbow and thorax); three rotations of
one joint are taken in the order Z, X, Y (flexion, adduction, axial rotation), which is the
joint coordinate system of Grood and Suntay 1983 (J Biomech Eng 105:136). Names and signs are
also those of the coordinates of OpenSim's full-body models (Rajagopal et al. 2016, IEEE
Trans Biomed Eng 63:2068), where they have one.

Seventeen points say less than a marker set. There is nothing for ankles, wrists, forearm
rotation or knee rotation. Axial rotation of thigh and upper arm is seen only while knee or
elbow is bent by 10 to 30 degrees or more; otherwise it is carried over and fades to zero
(see `armature`). The tilt of the pelvis is that of the lower spine, so that `hip_flexion`
is measured against the trunk, not against pelvic landmarks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from posemamba.skeleton import HIP, THORAX
from posemamba_live.takes.armature import NODE_INDEX, ArmatureSolver, Posture, global_rotations
from posemamba_live.takes.rotations import (
    cross,
    from_matrix,
    inverse,
    multiply,
    to_matrix,
    zxy_angles,
)
from posemamba_live.takes.rotations import rotate as turn

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Angle:
    """What a column means."""

    name: str
    text: str
    """Which movement is positive, against what."""


ANGLES: Final = (
    Angle("trunk_flexion", "hip to neck, forwards from the vertical"),
    Angle("trunk_bending", "hip to neck, to the right from the vertical"),
    Angle("lumbar_extension", "thorax against pelvis, backwards"),
    Angle("lumbar_bending", "thorax against pelvis, to the right"),
    Angle("lumbar_rotation", "thorax against pelvis, to the left"),
    *(
        Angle(f"{name}_{side}", text)
        for side in "rl"
        for name, text in (
            ("hip_flexion", "thigh against pelvis, forwards"),
            ("hip_adduction", "thigh against pelvis, towards the other leg"),
            ("hip_rotation", "thigh about itself, inwards"),
            ("knee_angle", "flexion; 0 is straight, negative overstretched"),
            ("shoulder_elevation", "upper arm away from hanging along the trunk, 0 to 180"),
            ("shoulder_plane", "plane of elevation: 0 sideways, 90 forwards; none below 15"),
            ("arm_flex", "upper arm against thorax, forwards"),
            ("arm_add", "upper arm against thorax, towards the body"),
            ("arm_rot", "upper arm about itself, inwards"),
            ("elbow_flex", "flexion; 0 is straight"),
        )
    ),
)
"""Angles of the table, in its order. Shoulder elevation and plane are ISB's (Wu et al. 2005),
fit for any posture; arm_flex, arm_add and arm_rot are OpenSim's, and turn wild where the arm
is near horizontal sideways."""

TO_SEGMENT: Final = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, 1.0], [-1.0, 0.0, 0.0]])
"""From the armature's axes (left, back, up) to X forward, Y up, Z right."""
_TO_SEGMENT_QUAT: Final = from_matrix(TO_SEGMENT)
_HANGING: Final = {
    "r": np.array([0.0, -np.sqrt(0.5), 0.0, np.sqrt(0.5)]),
    "l": np.array([0.0, np.sqrt(0.5), 0.0, np.sqrt(0.5)]),
}
"""From the T-pose to hanging arms: a quarter turn about the axis from front to back."""
_SIDES: Final = {"r": "Right", "l": "Left"}
_DEFINED_PLANE: Final = 15.0
"""Degrees of elevation below which its plane is noise."""
_LYING: Final = 0.3
"""Horizontal part of the hip line below which there is no facing direction."""


def joint_angles(
    joints: NDArray[np.floating[Any]], times: Sequence[float] | Array
) -> dict[str, Array]:
    """Angles of one person's motion.

    Args:
        joints: (T, 17, 3) metres, world frame.
        times: (T,) seconds, increasing.

    Returns:
        (T,) degrees for each of ANGLES; NaN where an angle is undefined.
    """
    posture = ArmatureSolver().solve(joints, times)
    out = posture_angles(posture)
    points = np.asarray(joints, np.float64)
    left = turn(posture.rotations[:, 0], np.array([1.0, 0.0, 0.0]))
    left[:, 2] = 0.0
    length = np.linalg.norm(left, axis=-1, keepdims=True)
    left = np.where(length > _LYING, left / np.maximum(length, _LYING), np.nan)
    trunk = points[:, THORAX] - points[:, HIP]
    trunk = trunk / np.maximum(np.linalg.norm(trunk, axis=-1, keepdims=True), 1e-9)
    forward = cross(left, np.array([0.0, 0.0, 1.0]))
    out["trunk_flexion"] = np.degrees(np.arctan2((trunk * forward).sum(-1), trunk[:, 2]))
    out["trunk_bending"] = np.degrees(np.arcsin(np.clip(-(trunk * left).sum(-1), -1.0, 1.0)))
    return {angle.name: out[angle.name] for angle in ANGLES}


def posture_angles(posture: Posture) -> dict[str, Array]:
    """Angles between segments, degrees: all of ANGLES that do not need the vertical.

    Args:
        posture: with leading dimension T.
    """
    local, whole = posture.rotations, global_rotations(posture.rotations)

    def between(parent: str, child: str) -> Array:
        parents = whole[:, NODE_INDEX[parent]]
        return multiply(inverse(parents), whole[:, NODE_INDEX[child]])

    out = dict(
        zip(
            ("lumbar_extension", "lumbar_bending", "lumbar_rotation"),
            _segment_angles(between("Hips", "Spine1")),
            strict=True,
        )
    )
    for side, name in _SIDES.items():
        sign = 1.0 if side == "r" else -1.0
        flexion, adduction, rotation = _segment_angles(between("Hips", f"{name}UpLeg"))
        out[f"hip_flexion_{side}"] = flexion
        out[f"hip_adduction_{side}"] = sign * adduction
        out[f"hip_rotation_{side}"] = sign * rotation

        shin = turn(local[:, NODE_INDEX[f"{name}Leg"]], np.array([0.0, 0.0, -1.0]))
        out[f"knee_angle_{side}"] = np.degrees(np.arctan2(shin[:, 1], -shin[:, 2]))
        along = np.array([-sign, 0.0, 0.0])
        forearm = turn(local[:, NODE_INDEX[f"{name}ForeArm"]], along)
        out[f"elbow_flex_{side}"] = np.degrees(np.arctan2(-forearm[:, 1], forearm @ along))

        arm = between("Spine1", f"{name}Arm")
        flexion, adduction, rotation = _segment_angles(multiply(arm, inverse(_HANGING[side])))
        out[f"arm_flex_{side}"] = flexion
        out[f"arm_add_{side}"] = sign * adduction
        out[f"arm_rot_{side}"] = sign * rotation
        humerus = turn(arm, along) @ TO_SEGMENT.T
        elevation = np.degrees(np.arccos(np.clip(-humerus[:, 1], -1.0, 1.0)))
        plane = np.degrees(np.arctan2(humerus[:, 0], sign * humerus[:, 2]))
        out[f"shoulder_elevation_{side}"] = elevation
        out[f"shoulder_plane_{side}"] = np.where(elevation < _DEFINED_PLANE, np.nan, plane)
    return out


def _segment_angles(rotations: Array) -> tuple[Array, Array, Array]:
    """Z, X and Y angles, degrees, of rotations (T, 4) in the armature's axes."""
    changed = multiply(multiply(_TO_SEGMENT_QUAT, rotations), inverse(_TO_SEGMENT_QUAT))
    z, x, y = np.degrees(zxy_angles(to_matrix(changed))).T
    return z, x, y
