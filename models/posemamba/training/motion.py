"""The motion-capture clips behind training: one folder of .npz files in one array.

Every file holds clips of Human3.6M-17 joints at 50 frames a second in a Z-up world, metres
(stored as integers, `unit_m` per step), each marked train, val or test.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from posemamba.skeleton import (
    HEAD,
    HIP,
    L_ANKLE,
    L_HIP,
    L_KNEE,
    NUM_JOINTS,
    R_ANKLE,
    R_HIP,
    R_KNEE,
    SPINE,
    THORAX,
)

Float = NDArray[np.float32]
Split = Literal["train", "val", "test"]

MOTION_FPS: Final = 50.0
SOURCE_EMPHASIS: Final = {"ui_prmd": 0.5}
"""Extra factor on a source's weight: ten rehabilitation movements over and over say little new."""
_STATURE_PER_CHAIN: Final = 1.0 / 0.961
"""Standing height over the ankle-to-crown bone chain: segments of 0.246, 0.245, 0.288 and 0.182
of stature (Drillis and Contini 1966). `--height` at run time means the same."""
_CALM_SPEED: Final = 0.4
"""m/s: mean speed of hips and ankles below which somebody stands or shifts weight."""

_STATURE_BONES: Final = (
    ((R_HIP, R_KNEE), 0.5), ((R_KNEE, R_ANKLE), 0.5), ((L_HIP, L_KNEE), 0.5),
    ((L_KNEE, L_ANKLE), 0.5), ((HIP, SPINE), 1.0), ((SPINE, THORAX), 1.0), ((THORAX, HEAD), 1.0),
)  # fmt: skip


class MotionError(Exception):
    """A motion folder or file that does not hold what is needed."""


@dataclass(frozen=True, slots=True)
class MotionSet:
    """All clips of one split."""

    joints: Float
    """(N, 17, 3) metres, world frame (Z up), all clips one after another at 50 fps."""
    start: NDArray[np.int64]
    """(C + 1,) clip i is joints[start[i]:start[i + 1]]."""
    name: NDArray[np.str_]
    action: NDArray[np.str_]
    source: NDArray[np.str_]
    weight: NDArray[np.float64]
    """(C,) sampling probability; within a source by length, between sources by sqrt(minutes)."""
    calm: NDArray[np.int64]
    """Frames in which somebody stands upright, stepping slowly at most."""

    def __len__(self) -> int:
        return len(self.name)

    @property
    def minutes(self) -> float:
        return len(self.joints) / MOTION_FPS / 60.0


def stature(joints: Float) -> Float:
    """Standing height in the joints' unit, from bone lengths and so in any posture.

    Args:
        joints: (..., T, 17, 3).

    Returns:
        (...,) mean over the T frames.
    """
    total = np.zeros(joints.shape[:-2], np.float32)
    for (a, b), share in _STATURE_BONES:
        total += share * np.linalg.norm(joints[..., a, :] - joints[..., b, :], axis=-1)
    return np.asarray(_STATURE_PER_CHAIN * total.mean(-1), np.float32)


def load_motion(folder: Path | str, split: Split) -> MotionSet:
    """Read the clips of one split from every .npz in `folder`.

    Raises:
        MotionError: the folder has no clips of that split, or a file has not the keys,
            the joint count or the frame rate of this format.
    """
    joints: list[Float] = []
    labels: dict[str, list[str]] = {"clip_name": [], "action": [], "source": []}
    for path in sorted(Path(folder).glob("*.npz")):
        with np.load(path, allow_pickle=False) as data:
            missing = {"joints", "unit_m", "clip_start", "split", "fps", *labels} - set(data.files)
            if missing:
                raise MotionError(f"{path}: no {', '.join(sorted(missing))}")
            raw, bounds, unit = data["joints"], data["clip_start"], float(data["unit_m"])
            if raw.shape[1:] != (NUM_JOINTS, 3) or float(data["fps"]) != MOTION_FPS:
                raise MotionError(f"{path}: {raw.shape} at {float(data['fps'])} fps")
            wanted = np.flatnonzero(data["split"] == split)
            for key, values in labels.items():
                values.extend(data[key][wanted].tolist())
            joints.extend(
                raw[bounds[i] : bounds[i + 1]].astype(np.float32) * np.float32(unit) for i in wanted
            )
    if not joints:
        raise MotionError(f"{folder}: no {split} clips")
    lengths = np.array([len(clip) for clip in joints])
    source = np.array(labels["source"])
    start = np.concatenate([[0], np.cumsum(lengths)])
    everything = np.concatenate(joints)
    return MotionSet(
        joints=everything,
        start=start,
        name=np.array(labels["clip_name"]),
        action=np.array(labels["action"]),
        source=source,
        weight=_clip_weights(source, lengths),
        calm=_calm_frames(everything, start),
    )


def _clip_weights(source: NDArray[np.str_], lengths: NDArray[np.int64]) -> NDArray[np.float64]:
    weight = np.zeros(len(lengths))
    for name in np.unique(source):
        own = source == name
        total = lengths[own].sum()
        weight[own] = SOURCE_EMPHASIS.get(str(name), 1.0) * np.sqrt(total) * lengths[own] / total
    return np.asarray(weight / weight.sum())


def _calm_frames(joints: Float, start: NDArray[np.int64]) -> NDArray[np.int64]:
    """Indices of frames with trunk and legs upright and hips and ankles nearly still."""
    step = int(0.2 * MOTION_FPS)
    feet = joints[:, (HIP, R_ANKLE, L_ANKLE)]
    speed = np.full(len(joints), np.inf, np.float32)
    speed[:-step] = np.linalg.norm(feet[step:] - feet[:-step], axis=-1).mean(1) * MOTION_FPS / step
    for end in start[1:]:
        speed[max(0, end - step) : end] = np.inf
    upright = _steep(joints[:, HIP], joints[:, THORAX], 25.0)
    for hip, knee, ankle in ((R_HIP, R_KNEE, R_ANKLE), (L_HIP, L_KNEE, L_ANKLE)):
        upright &= _steep(joints[:, knee], joints[:, hip], 30.0)
        upright &= _steep(joints[:, ankle], joints[:, knee], 30.0)
    return np.flatnonzero(upright & (speed < _CALM_SPEED))


def _steep(low: Float, high: Float, degrees: float) -> NDArray[np.bool_]:
    """Is the way from `low` to `high` within `degrees` of straight up?"""
    way = high - low
    return np.asarray(way[..., 2] > np.cos(np.radians(degrees)) * np.linalg.norm(way, axis=-1))
