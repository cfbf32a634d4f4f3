"""A person's keypoints over time: which gaps are bridged, where a track breaks, what lies between.

Geometry of 2D poses that several rooms need and none of them owns.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from posemamba_live.types import Pose2D

MAX_GAP_S: Final = 0.25
"""Seconds without a pose that a window bridges; a longer gap begins a new window."""


def bridged(seconds: float) -> bool:
    """Whether somebody who was not seen for so long is taken to have been there.

    Times of frames are no exact multiples of anything, and everybody who asks has to get the
    same answer.
    """
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
    fraction = np.float32((timestamp - before.timestamp) / span if span > 0 else 0.0)
    return Pose2D(
        frame_index=frame_index,
        timestamp=timestamp,
        person_id=before.person_id,
        keypoints=before.keypoints + fraction * (after.keypoints - before.keypoints),
        scores=np.float32(score_factor) * np.minimum(before.scores, after.scores),
        image_size=before.image_size,
        predicted=True,
    )
