"""Tracks over time: where they break, interpolation between poses, and poses as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from posemamba_live.types import FloatArray, Pose2D

NETWORK_FPS: Final = 30.0
"""The rate of half of the training data; the rest has 25 to 60 frames a second."""
MAX_GAP_S: Final = 0.25
"""Seconds without a pose that a window bridges; a longer gap begins a new window."""


def bridged(seconds: float) -> bool:
    """Whether somebody who was not seen for so long is taken to have been there. Times of frames
    are no exact multiples of anything, and everybody who asks has to get the same answer."""
    return seconds <= MAX_GAP_S + 1e-6


def breaks_track(previous: Pose2D, current: Pose2D) -> bool:
    """Whether `current` cannot share a window with the pose before it."""
    step = current.timestamp - previous.timestamp
    return (
        current.person_id != previous.person_id
        or current.image_size != previous.image_size
        or step < 0.0
        or not bridged(step)
    )


def interpolate(
    before: Pose2D, after: Pose2D, frame_index: int, timestamp: float, *, score_factor: float = 1.0
) -> Pose2D:
    """The pose between two others at a time between theirs, linearly, marked `predicted`.

    Args:
        score_factor: confidence relative to the less sure of the two neighbours.
    """
    span = after.timestamp - before.timestamp
    share = np.float32((timestamp - before.timestamp) / span if span > 0 else 0.0)
    return Pose2D(
        frame_index=frame_index,
        timestamp=timestamp,
        person_id=before.person_id,
        keypoints=before.keypoints + share * (after.keypoints - before.keypoints),
        scores=np.float32(score_factor) * np.minimum(before.scores, after.scores),
        image_size=before.image_size,
        predicted=True,
    )


def resample(poses: Sequence[Pose2D], times: NDArray[np.float64]) -> tuple[FloatArray, FloatArray]:
    """Keypoints and scores at any times by linear interpolation; constant beyond the ends.

    Args:
        poses: at least one, in the order of time.
        times: (T,) seconds.

    Returns:
        (T, 17, 2) pixels and (T, 17) confidence.
    """
    keypoints, scores = stack(poses)
    stamps = np.array([pose.timestamp for pose in poses])
    after = np.clip(np.searchsorted(stamps, times), 1, len(stamps) - 1) if len(stamps) > 1 else 0
    before = np.maximum(after - 1, 0)
    span = np.maximum(stamps[after] - stamps[before], 1e-9)
    share = np.clip((times - stamps[before]) / span, 0.0, 1.0).astype(np.float32)
    share = np.broadcast_to(share, times.shape)
    return (
        keypoints[before] + share[:, None, None] * (keypoints[after] - keypoints[before]),
        scores[before] + share[:, None] * (scores[after] - scores[before]),
    )


def stack(poses: Sequence[Pose2D]) -> tuple[FloatArray, FloatArray]:
    """Keypoints (T, 17, 2) in pixels and scores (T, 17) of successive poses."""
    return (
        np.stack([pose.keypoints for pose in poses]).astype(np.float32),
        np.stack([pose.scores for pose in poses]).astype(np.float32),
    )
