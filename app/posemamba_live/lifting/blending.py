"""Tracks over time: where they break, interpolation between poses, and poses as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from posemamba_live.types import FloatArray, Pose2D

NETWORK_FPS: Final = 30.0
"""The rate of half of the training data; the rest has 25 to 60 frames a second."""


def resample(
    poses: Sequence[Pose2D], times: NDArray[np.float64]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """What `stack` gives at any times, by linear interpolation; constant beyond the ends.

    Args:
        poses: at least one, in the order of time.
        times: (T,) seconds.

    Returns:
        (T, 17, 2) pixels, (T, 17) scores and peaks.
    """
    keypoints, scores, peaks = stack(poses)
    stamps = np.array([pose.timestamp for pose in poses])
    after = np.clip(np.searchsorted(stamps, times), 1, len(stamps) - 1) if len(stamps) > 1 else 0
    before = np.maximum(after - 1, 0)
    span = np.maximum(stamps[after] - stamps[before], 1e-9)
    fraction = np.clip((times - stamps[before]) / span, 0.0, 1.0).astype(np.float32)
    fraction = np.broadcast_to(fraction, times.shape)
    return (
        keypoints[before] + fraction[:, None, None] * (keypoints[after] - keypoints[before]),
        scores[before] + fraction[:, None] * (scores[after] - scores[before]),
        peaks[before] + fraction[:, None] * (peaks[after] - peaks[before]),
    )


def stack(poses: Sequence[Pose2D]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Keypoints (T, 17, 2) in pixels, scores and peaks (T, 17) of successive poses."""
    return (
        np.stack([pose.keypoints for pose in poses]).astype(np.float32),
        np.stack([pose.scores for pose in poses]).astype(np.float32),
        np.stack([peaks_of(pose) for pose in poses]).astype(np.float32),
    )


def peaks_of(pose: Pose2D) -> FloatArray:
    """(17,) how sharply each keypoint was localised; the scores where no detector says so."""
    return pose.scores if pose.peak is None else pose.peak
