"""Videos with 3D ground truth, through the application and through MediaPipe's own 3D.

A clip is NAME.mp4 (or another video suffix) with NAME_gt.npz beside it: `joints_camera`
(T, 17, 3) metres in the OpenCV camera frame and `joints_2d` (T, 17, 2) pixels.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from posemamba.skeleton import LIMB_JOINTS, NUM_JOINTS
from posemamba.training.metrics import (
    acceleration_error,
    best_scale,
    hip_aligned,
    joint_error,
    procrustes,
)
from posemamba_live.api import lift_video
from posemamba_live.errors import LiveError

Float = NDArray[np.float32]

VIDEO_SUFFIXES: Final = (".mp4", ".mov", ".mkv", ".avi", ".webm")


class ClipError(Exception):
    """A clip that cannot be read or run."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A video and the truth about it."""

    name: str
    video: Path
    joints: Float
    """(T, 17, 3) metres, camera frame."""
    joints_2d: Float
    """(T, 17, 2) pixels."""


@dataclass(frozen=True, slots=True)
class Poses:
    """One pose per row: camera axes, metres, any origin."""

    frame: NDArray[np.int64]
    """(N,) increasing."""
    joints: Float
    """(N, 17, 3)."""


@dataclass(frozen=True, slots=True)
class ClipScores:
    """12 limb joints, mid-hip aligned, millimetres."""

    clip: str
    method: str
    found: float
    """Percentage of the clip's frames with a pose."""
    mpjpe: float
    n_mpjpe: float
    """One scale for the clip."""
    pa_mpjpe: float
    accel: float
    """mm per frame squared, at the clip's one scale."""

    def as_dict(self) -> dict[str, str | float]:
        return asdict(self)


def find_clips(folder: Path) -> list[Clip]:
    """All videos of `folder` that have ground truth, by name.

    Raises:
        ClipError: there are none, or a ground-truth file lacks an array.
    """
    clips = []
    for video in sorted(p for p in folder.glob("*") if p.suffix.lower() in VIDEO_SUFFIXES):
        truth = video.with_name(f"{video.stem}_gt.npz")
        if truth.is_file():
            joints, flat = _arrays(truth, "joints_camera", "joints_2d")
            clips.append(Clip(video.stem, video, joints, flat))
    if not clips:
        raise ClipError(f"{folder}: no video with a NAME_gt.npz beside it")
    return clips


def run_application(clip: Clip, weights: str | None, mode: str) -> Poses:
    """Lift the video as posemamba-live's users do.

    Raises:
        ClipError: it failed; the message is its own.
    """
    try:
        take = lift_video(clip.video, weights=weights, mode=mode)
    except LiveError as error:
        raise ClipError(f"posemamba-live failed on {clip.video}:\n{error}") from error
    return of_the_person(clip, take.frame_index, take.joints_3d, take.joints_2d)


def read_export(path: Path, clip: Clip) -> Poses:
    """Poses of the clip's person from an exported .npz: nearest to the true 2D in each frame.

    Raises:
        ClipError: it cannot be read or has no pose within the clip.
    """
    frame, joints, flat = _arrays(path, "frame_index", "joints_3d", "joints_2d")
    return of_the_person(clip, frame.astype(np.int64), joints, flat, str(path))


def of_the_person(
    clip: Clip,
    frame: NDArray[np.int64],
    joints: NDArray[np.floating[Any]],
    flat: NDArray[np.floating[Any]],
    name: str = "posemamba-live",
) -> Poses:
    """Of a take's rows those of the clip's person: nearest to the true 2D in each frame.

    Args:
        frame: (N,) of each row, joints: (N, 17, 3) metres, flat: (N, 17, 2) pixels.
        name: of the take, for the message.

    Raises:
        ClipError: none is within the clip.
    """
    limbs = list(LIMB_JOINTS)
    within = np.flatnonzero(frame < len(clip.joints))
    distance = np.linalg.norm(
        flat[within][:, limbs] - clip.joints_2d[frame[within]][:, limbs], axis=-1
    ).mean(1)
    # By frame, then by distance; the first row of each frame is the one.
    order = within[np.lexsort((distance, frame[within]))]
    frames, first = np.unique(frame[order], return_index=True)
    if not len(frames):
        raise ClipError(f"{name}: no pose in the {len(clip.joints)} frames of {clip.name}")
    return Poses(frames, joints[order[first]].astype(np.float32))


def run_mediapipe(clip: Clip) -> Poses:
    """MediaPipe's own world landmarks, from the detector that the application uses.

    Raises:
        ClipError: it found nobody.
    """
    from posemamba_live.detectors.mediapipe import MediaPipeDetector
    from posemamba_live.detectors.skeletons import blazepose_joints
    from posemamba_live.sources.video import VideoFile

    frames: list[int] = []
    joints: list[Float] = []
    detector = MediaPipeDetector()
    source = VideoFile(clip.video)
    try:
        for picture in source:
            people = detector.detect_world(picture)
            if people and picture.index < len(clip.joints):
                frames.append(picture.index)
                joints.append(blazepose_joints(people[0][1]))
    finally:
        detector.close()
        source.close()
    if not frames:
        raise ClipError(f"{clip.video}: MediaPipe found nobody")
    return Poses(np.array(frames), np.stack(joints))


def score_clip(clip: Clip, method: str, poses: Poses) -> ClipScores:
    """Errors over the frames that have a pose; acceleration only where three follow each other."""
    limbs = list(LIMB_JOINTS)
    predicted = 1000.0 * hip_aligned(poses.joints.astype(np.float64))[:, limbs]
    true = 1000.0 * hip_aligned(clip.joints[poses.frame].astype(np.float64))[:, limbs]
    scaled = best_scale(predicted, true) * predicted
    accel = acceleration_error(scaled, true)[poses.frame[2:] - poses.frame[:-2] == 2]
    return ClipScores(
        clip=clip.name,
        method=method,
        found=100.0 * len(poses.frame) / len(clip.joints),
        mpjpe=float(joint_error(predicted, true).mean()),
        n_mpjpe=float(joint_error(scaled, true).mean()),
        pa_mpjpe=float(joint_error(procrustes(predicted, true), true).mean()),
        accel=float(accel.mean()) if accel.size else float("nan"),
    )


def _arrays(path: Path, *names: str) -> list[NDArray[np.float32]]:
    try:
        with np.load(path, allow_pickle=False) as data:
            arrays = [np.asarray(data[name]) for name in names]
    except (OSError, ValueError, KeyError) as error:
        raise ClipError(f"{path}: {error}") from error
    for name, array in zip(names, arrays, strict=True):
        if name.startswith("joints") and array.shape[1] != NUM_JOINTS:
            raise ClipError(f"{path}: {name} has the shape {array.shape}")
    return arrays
