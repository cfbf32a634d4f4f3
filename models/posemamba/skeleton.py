"""The Human3.6M-17 skeleton as data, and the one rule for joints no detector reports.

Training and live use share `assemble`, so that the network meets the same derived
joints (Hip, Spine, Thorax, Nose, Head) in both.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

JOINT_NAMES: Final = (
    "Hip", "RHip", "RKnee", "RAnkle", "LHip", "LKnee", "LAnkle", "Spine", "Thorax",
    "Nose", "Head", "LShoulder", "LElbow", "LWrist", "RShoulder", "RElbow", "RWrist",
)  # fmt: skip
NUM_JOINTS: Final = len(JOINT_NAMES)
(
    HIP, R_HIP, R_KNEE, R_ANKLE, L_HIP, L_KNEE, L_ANKLE, SPINE, THORAX,
    NOSE, HEAD, L_SHOULDER, L_ELBOW, L_WRIST, R_SHOULDER, R_ELBOW, R_WRIST,
) = range(NUM_JOINTS)  # fmt: skip

PARENTS: Final = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15)
"""Skeleton tree."""
LIMB_PARTNER: Final = (0, 0, 1, 2, 3, 0, 4, 5, 6, 8, 11, 12, 13, 8, 14, 15, 16)
"""Whose values are added to each joint's where PoseMamba scans limbs: the published code's own
list, not the parents."""

BONES: Final = tuple((parent, child) for child, parent in enumerate(PARENTS) if parent >= 0)
LEFT: Final = (L_HIP, L_KNEE, L_ANKLE, L_SHOULDER, L_ELBOW, L_WRIST)
RIGHT: Final = (R_HIP, R_KNEE, R_ANKLE, R_SHOULDER, R_ELBOW, R_WRIST)
MIRROR: Final = (0, 4, 5, 6, 1, 2, 3, 7, 8, 9, 10, 14, 15, 16, 11, 12, 13)
"""Joint order of the mirrored person: mirrored[j] = original[MIRROR[j]]."""
LIMB_JOINTS: Final = tuple(sorted(LEFT + RIGHT))
"""The 12 joints that accuracy is reported on: detectors and rigs agree on what they are."""

HEAD_EXTENSION: Final = 1.6
"""Head = Thorax + 1.6 (mid-ears - Thorax): takes the ears to about the crown."""
CHAIN_SHARE: Final = 0.961
"""Length of the chain ankle - knee - hip - spine - thorax - crown over standing height, nearly
the same for all adults (Drillis and Contini 1966: 0.246 + 0.245 + 0.288 + 0.182)."""


def assemble(
    limbs: NDArray[np.float32], nose: NDArray[np.float32], mid_ears: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Build the 17 joints from the 12 limb joints, the nose and the middle of the ears.

    Args:
        limbs: (..., 17, D) positions; only the rows of LIMB_JOINTS are read.
        nose: (..., D).
        mid_ears: (..., D).

    Returns:
        (..., 17, D) with Hip, Thorax: midpoints of hips and shoulders; Spine: midpoint of
        those two; Nose as given; Head extrapolated beyond the ears (HEAD_EXTENSION).
    """
    out = np.array(limbs, copy=True)
    out[..., HIP, :] = 0.5 * (limbs[..., R_HIP, :] + limbs[..., L_HIP, :])
    out[..., THORAX, :] = 0.5 * (limbs[..., R_SHOULDER, :] + limbs[..., L_SHOULDER, :])
    out[..., SPINE, :] = 0.5 * (out[..., HIP, :] + out[..., THORAX, :])
    out[..., NOSE, :] = nose
    out[..., HEAD, :] = out[..., THORAX, :] + HEAD_EXTENSION * (mid_ears - out[..., THORAX, :])
    return out


def assemble_scores(
    limbs: NDArray[np.float32], nose: NDArray[np.float32], mid_ears: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Confidence of the 17 joints: a derived joint is as sure as the least sure it is made of.

    Args:
        limbs: (..., 17), nose: (...), mid_ears: (...), all 0 to 1.
    """
    out = np.array(limbs, copy=True)
    out[..., HIP] = np.minimum(limbs[..., R_HIP], limbs[..., L_HIP])
    out[..., THORAX] = np.minimum(limbs[..., R_SHOULDER], limbs[..., L_SHOULDER])
    out[..., SPINE] = np.minimum(out[..., HIP], out[..., THORAX])
    out[..., NOSE] = nose
    out[..., HEAD] = np.minimum(out[..., THORAX], mid_ears)
    return out


def neighbours() -> list[list[int]]:
    """Each joint, its parent and its children."""
    near = [[joint] for joint in range(NUM_JOINTS)]
    for joint, parent in enumerate(PARENTS):
        if parent >= 0:
            near[joint].append(parent)
            near[parent].append(joint)
    return near
