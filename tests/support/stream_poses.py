"""Poses to stream: a figure of real proportions that is told apart by its numbers."""

from __future__ import annotations

import time
from typing import Final

import numpy as np
from numpy.typing import NDArray

from posemamba_live.streams import StreamInfo
from posemamba_live.types import Frame, Pose2D, Pose3D

INFO: Final = StreamInfo("walk.mp4", live=True, fps=30.0)

STANDING: Final[NDArray[np.float32]] = np.array(
    [
        (0.00, 3.0, 0.95), (-0.13, 3.0, 0.95), (-0.13, 3.0, 0.51), (-0.13, 3.02, 0.08),
        (0.13, 3.0, 0.95), (0.13, 3.0, 0.51), (0.13, 3.02, 0.08), (0.00, 3.0, 1.19),
        (0.00, 3.0, 1.43), (0.00, 2.88, 1.58), (0.00, 2.98, 1.70), (0.17, 3.0, 1.43),
        (0.35, 2.95, 1.65), (0.45, 2.90, 1.90), (-0.17, 3.0, 1.43), (-0.20, 3.02, 1.13),
        (-0.20, 2.95, 0.89),
    ],
    np.float32,
)  # fmt: skip
"""(17, 3) world metres: somebody who faces the camera and raises the left arm."""


def picture(
    index: int = 0, people: int = 1, *, predicted: bool = False
) -> tuple[Frame, list[Pose3D]]:
    """One frame; everybody stands a metre beside the one before and is a little taller."""
    frame = Frame(index, index / 30.0, np.zeros((1, 1, 3), np.uint8), time.monotonic() - 0.02)
    poses = []
    for person in range(people):
        world = STANDING * np.float32(1.0 + 0.02 * person) + np.float32([1.0 * person, 0.0, 0.0])
        pose2d = Pose2D(
            frame_index=index,
            timestamp=frame.timestamp,
            person_id=7 + person,
            keypoints=np.full((17, 2), 100.0, np.float32),
            scores=np.linspace(0.1, 0.9, 17).astype(np.float32),
            image_size=(640, 360),
            predicted=predicted,
        )
        joints = world - world[0]
        root = np.array([0.1 * person, 0.2, 3.0], np.float32)
        poses.append(Pose3D(pose2d, joints, root, world, look_ahead=2))
    return frame, poses
