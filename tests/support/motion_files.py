"""Small motion files for tests: a stick person who walks, in the training data's format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# One upright person facing +y, metres, Z up, Human3.6M-17 order.
_STANDING = np.array(
    [
        [0, 0, 0.92], [0.1, 0, 0.92], [0.1, 0, 0.49], [0.1, 0, 0.08], [-0.1, 0, 0.92],
        [-0.1, 0, 0.49], [-0.1, 0, 0.08], [0, 0, 1.17], [0, 0, 1.44], [0, 0.12, 1.60],
        [0, 0.02, 1.75], [-0.18, 0, 1.42], [-0.18, 0, 1.14], [-0.18, 0, 0.88], [0.18, 0, 1.42],
        [0.18, 0, 1.14], [0.18, 0, 0.88],
    ]
)  # fmt: skip


def walking(frames: int, speed: float = 1.0) -> NDArray[np.float32]:
    """(frames, 17, 3) at 50 fps: limbs swing about hips and shoulders, the body moves ahead."""
    time = np.arange(frames) / 50.0
    out = np.repeat(_STANDING[None], frames, 0)
    for chain, sign in (((1, 2, 3), 1), ((4, 5, 6), -1), ((11, 12, 13), 1), ((14, 15, 16), -1)):
        angle = sign * 0.4 * speed * np.sin(2 * np.pi * time)
        for joint in chain[1:]:
            length = _STANDING[chain[0], 2] - _STANDING[joint, 2]
            out[:, joint, 1] += length * np.sin(angle)
            out[:, joint, 2] = _STANDING[chain[0], 2] - length * np.cos(angle)
    out[..., 1] += speed * time[:, None]
    return out.astype(np.float32)


def write_motion(
    path: Path, clips: list[NDArray[np.float32]], split: list[str], source: list[str]
) -> None:
    """Write clips as one file of the motion folder."""
    unit = np.float32(0.00025)
    bounds = np.concatenate([[0], np.cumsum([len(c) for c in clips])])
    np.savez(
        path,
        joints=np.rint(np.concatenate(clips) / unit).astype(np.int16),
        unit_m=unit,
        clip_start=bounds,
        clip_name=np.array([f"clip{i}" for i in range(len(clips))]),
        action=np.array(["walk" if i % 2 else "stand" for i in range(len(clips))]),
        source=np.array(source),
        split=np.array(split),
        fps=np.float32(50),
    )
