"""OpenSim's text files: `.trc`, positions of the joints, and `.mot`, joint angles.

Both are metres and Y up: x of the world frame stays, y is the height, and z comes towards
the camera. Where a person is not seen for longer than a quarter of a second, a .trc has NaN,
which OpenSim and Pose2Sim read as missing markers (of blank cells OpenSim 4.6 drops the last
in a row, and then refuses the file); a .mot has no way to say that, so there the angles of
such frames are interpolated, with a warning.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from posemamba.skeleton import JOINT_NAMES
from posemamba_live.sinks.exporter import NobodySeen
from posemamba_live.takes.angles import TO_SEGMENT, posture_angles
from posemamba_live.takes.armature import ArmatureSolver
from posemamba_live.takes.rotations import (
    from_matrix,
    inverse,
    multiply,
    to_matrix,
    to_y_up,
    zxy_angles,
)
from posemamba_live.takes.take import Motion, Take, fill_gaps

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]

_TRC_KEYS: Final = (
    "DataRate CameraRate NumFrames NumMarkers Units OrigDataRate OrigDataStartFrame OrigNumFrames"
)
COORDINATES: Final = (
    "pelvis_tilt", "pelvis_list", "pelvis_rotation", "pelvis_tx", "pelvis_ty", "pelvis_tz",
    "hip_flexion_r", "hip_adduction_r", "hip_rotation_r", "knee_angle_r",
    "hip_flexion_l", "hip_adduction_l", "hip_rotation_l", "knee_angle_l",
    "lumbar_extension", "lumbar_bending", "lumbar_rotation",
    "arm_flex_r", "arm_add_r", "arm_rot_r", "elbow_flex_r",
    "arm_flex_l", "arm_add_l", "arm_rot_l", "elbow_flex_l",
    "L5_S1_Flex_Ext", "L5_S1_Lat_Bending", "L5_S1_axial_rotation",
)  # fmt: skip
"""Columns, named as in the full-body model of Rajagopal et al. 2016. The last three are its
lumbar_... once more, as the model of Pose2Sim and Sports2D names them."""
PELVIS_ORIGIN: Final = np.array([0.0563, 0.0785, 0.0])
"""Of that model's pelvis (between the front iliac spines), seen from the middle of the hips;
metres forward, up, right."""
_TO_Y_UP: Final = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])


def write_trc(path: Path, take: Take) -> None:
    """One person's joints as markers."""
    motion = _only(take)
    rows = len(motion.joints)
    rate = f"{motion.rate:.10g}"
    start = motion.first + 1
    head = [
        ["PathFileType", "4", "(X/Y/Z)", take.title],
        _TRC_KEYS.split(),
        [rate, rate, str(rows), str(len(JOINT_NAMES)), "m", rate, str(start), str(rows)],
        ["Frame#", "Time", *(cell for name in JOINT_NAMES for cell in (name, "", ""))],
        ["", "", *(f"{axis}{i + 1}" for i in range(len(JOINT_NAMES)) for axis in "XYZ")],
        [],
    ]
    points = to_y_up(motion.joints).reshape(rows, -1)
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.writelines("\t".join(cells) + "\n" for cells in head)
        for i, (time, row) in enumerate(zip(motion.times, points, strict=True)):
            cells = ("NaN" if np.isnan(value) else f"{value:.6f}" for value in row)
            file.write("\t".join([str(start + i), f"{time:.6f}", *cells]) + "\n")


def write_mot(path: Path, take: Take) -> None:
    """One person's joint angles as coordinates of a full-body model."""
    motion = _only(take)
    table = np.empty((len(motion.joints), len(COORDINATES)))
    seen = motion.seen
    table[seen] = _coordinates(motion)
    if not seen.all():
        logger.warning(
            "%s: %d frames without the person are interpolated", take.title, (~seen).sum()
        )
        table = fill_gaps(table, seen)
    head = [
        "Coordinates",
        "version=1",
        f"nRows={len(table)}",
        f"nColumns={1 + len(COORDINATES)}",
        "inDegrees=yes",
        "",
        "Units are S.I. units (second, meters, Newtons, ...)",
        "Angles are in degrees.",
        "",
        "endheader",
    ]
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(line + "\n" for line in head)
        file.write("\t".join(["time", *COORDINATES]) + "\n")
        for time, row in zip(motion.times, table, strict=True):
            file.write("\t".join([f"{time:.6f}", *(f"{value:.6f}" for value in row)]) + "\n")


def _coordinates(motion: Motion) -> Array:
    """(N, len(COORDINATES)) degrees and metres of the frames in which the person was seen."""
    posture = ArmatureSolver().solve(motion.joints[motion.seen], motion.times[motion.seen])
    columns = posture_angles(posture)
    # The pelvis stands in the ground frame with axes of its own: forward, up, right.
    pelvis = multiply(posture.rotations[:, 0], inverse(from_matrix(TO_SEGMENT)))
    pelvis_in_ground = to_matrix(multiply(from_matrix(_TO_Y_UP), pelvis))
    tilt, list_, rotation = np.degrees(zxy_angles(pelvis_in_ground)).T
    place = to_y_up(posture.root) + pelvis_in_ground @ PELVIS_ORIGIN
    columns |= {"pelvis_tilt": tilt, "pelvis_list": list_, "pelvis_rotation": rotation}
    columns |= dict(zip(("pelvis_tx", "pelvis_ty", "pelvis_tz"), place.T, strict=True))
    columns |= {
        "L5_S1_Flex_Ext": columns["lumbar_extension"],
        "L5_S1_Lat_Bending": columns["lumbar_bending"],
        "L5_S1_axial_rotation": columns["lumbar_rotation"],
    }
    return np.stack([columns[name] for name in COORDINATES], -1)


def _only(take: Take) -> Motion:
    motions = take.motions()
    if not motions:
        raise NobodySeen
    return motions[0]
