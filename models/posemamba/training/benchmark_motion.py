"""The training parts of Human3.6M and MPI-INF-3DHP as motion folders for posemamba-train.

Only the positions are taken: cameras and detector errors are synthesised, as for all motion.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from posemamba.skeleton import L_ANKLE, R_ANKLE, THORAX
from posemamba.training.benchmark_sets import (
    H36M_JOINTS,
    MPI_TO_H36M,
    BenchmarkError,
    read_object,
)
from posemamba.training.motion import MOTION_FPS

Float = NDArray[np.float32]

H36M_SPLIT: Final = {
    **dict.fromkeys(("S1", "S5", "S6", "S7", "S8"), "train"), "S11": "val", "S9": "test",
}  # fmt: skip
MPI_VALIDATION: Final = "S8"
"""The data set's own test people are in a file of their own."""
MPI_50_FPS: Final = ("S1 Seq2", "S3 Seq1", "S3 Seq2", "S5 Seq1", "S5 Seq2")
"""The other sequences were taken at 25 frames a second (the data set's own table)."""
_UNIT_M: Final = 0.00025
_ANKLE_M: Final = 0.08
"""Height of the ankle joint over the floor."""
_UPRIGHT: Final = 0.93
"""Somebody whose ankles are so far below the neck, of what they ever are, stands."""


def write_h36m_motion(positions: Path, folder: Path) -> Path:
    """`data_3d_h36m.npz` as a motion folder's file.

    The usual five subjects are for training, S11 for validation, S9 for the test.

    Raises:
        BenchmarkError: unreadable, or nobody known in it.
    """
    clips = [
        (f"{subject} {action}", action.split(" ")[0], H36M_SPLIT[subject], joints)
        for subject, actions in read_object(positions, "positions_3d").items()
        if subject in H36M_SPLIT
        for action, joints in actions.items()
    ]
    if not clips:
        raise BenchmarkError(f"{positions}: none of the subjects {', '.join(H36M_SPLIT)}")
    chosen = [(*labels, np.asarray(joints)[:, H36M_JOINTS]) for *labels, joints in clips]
    return _write(folder / "h36m.npz", "h36m", chosen)


def write_mpi_motion(path: Path, folder: Path) -> Path:
    """`data_train_3dhp.npz` as a motion folder's file: S8 for validation, the others to train.

    Of the cameras of a sequence, which all show the same motion, the one with the most frames
    is taken. The file does not say which way is up: that is where people's necks are over
    their ankles, on average over the frames in which they stand.

    Raises:
        BenchmarkError: unreadable, or an entry is missing.
    """
    clips = []
    try:
        for name, content in read_object(path, "data").items():
            cameras = content[0] if isinstance(content, (list, tuple)) else content
            longest = max(cameras.values(), key=lambda camera: len(camera["data_3d"]))
            joints = 0.001 * np.asarray(longest["data_3d"], np.float64)[:, MPI_TO_H36M]
            if str(name) not in MPI_50_FPS:
                joints = twice_as_often(joints)
            split = "val" if str(name).startswith(MPI_VALIDATION) else "train"
            clips.append((str(name), str(name), split, z_up(joints)))
    except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
        raise BenchmarkError(f"{path}: no {error}") from error
    if not clips:
        raise BenchmarkError(f"{path}: no sequences")
    return _write(folder / "mpi_inf_3dhp.npz", "mpi_inf_3dhp", clips)


def z_up(joints: NDArray[np.float64]) -> NDArray[np.float64]:
    """Positions in camera axes (x right, y down) in a Z-up world with the floor at z = 0.

    Args:
        joints: (T, 17, 3) metres.
    """
    reach = joints[:, THORAX] - 0.5 * (joints[:, L_ANKLE] + joints[:, R_ANKLE])
    length = np.linalg.norm(reach, axis=-1)
    standing = length >= _UPRIGHT * np.percentile(length, 98)
    up = (reach[standing] / length[standing, None]).mean(0)
    up /= np.linalg.norm(up)
    right = np.cross([0.0, 0.0, 1.0], up)  # across the viewing direction, level
    right /= np.linalg.norm(right)
    world = joints @ np.stack([right, np.cross(up, right), up], -1)
    lowest = np.percentile(world[:, (L_ANKLE, R_ANKLE), 2].min(-1), 5)
    middle = world[:, 0, :2].mean(0)
    return np.asarray(world - [*middle, lowest - _ANKLE_M], np.float64)


def twice_as_often(joints: NDArray[np.float64]) -> NDArray[np.float64]:
    """25 frames a second as 50: a cubic spline through all frames."""
    times = np.arange(len(joints))
    return np.asarray(CubicSpline(times, joints)(np.arange(0.0, len(joints) - 0.5, 0.5)))


def _write(path: Path, source: str, clips: Sequence[tuple[str, str, str, NDArray[Any]]]) -> Path:
    """Clips of (name, action, split, (T, 17, 3) metres at 50 fps) as one file."""
    names, actions, splits, joints = zip(*clips, strict=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        path,
        joints=np.rint(np.concatenate(joints) / _UNIT_M).astype(np.int16),
        unit_m=np.float32(_UNIT_M),
        clip_start=np.cumsum([0, *(len(clip) for clip in joints)]),
        fps=np.float32(MOTION_FPS),
        source=np.full(len(clips), source),
        clip_name=np.array(names),
        subject=np.array([name.split(" ")[0] for name in names]),
        action=np.array(actions),
        split=np.array(splits),
    )
    return path
