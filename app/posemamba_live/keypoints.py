"""A person's keypoints over time: which gaps are bridged, where a track breaks, what lies between.

Geometry of 2D poses that several rooms need and none of them owns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from posemamba_live.types import ALL_SEEN, Pose2D, Pose3D

MAX_GAP_S: Final = 0.25
"""Seconds without a pose that a window bridges; a longer gap begins a new window."""
SEEN_SCORE: Final = 0.3
"""Confidence from which a joint counts as seen."""
_FORGOTTEN_S: Final = 60.0
UNSEEN_S: Final = 2.0
"""Seconds without a sight after which a joint is a guess: an arm behind the back is none yet, legs
under a desk are."""


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
        score_factor: confidence (and peak) relative to the less sure of the two neighbours.
    """
    span = after.timestamp - before.timestamp
    fraction = np.float32((timestamp - before.timestamp) / span if span > 0 else 0.0)
    sharp = None
    if before.peak is not None and after.peak is not None:
        sharp = np.float32(score_factor) * np.minimum(before.peak, after.peak)
    return Pose2D(
        frame_index=frame_index,
        timestamp=timestamp,
        person_id=before.person_id,
        keypoints=before.keypoints + fraction * (after.keypoints - before.keypoints),
        scores=np.float32(score_factor) * np.minimum(before.scores, after.scores),
        image_size=before.image_size,
        predicted=True,
        peak=sharp,
    )


class Sights:
    """Which joints of whom nobody has seen for UNSEEN_S, while poses come."""

    def __init__(self) -> None:
        self._seen_at: dict[int, NDArray[np.float64]] = {}
        """(17,) seconds of each person's last sights."""

    def mark(self, pose: Pose3D) -> Pose3D:
        """The pose with its unseen joints. Poses of one person must come in the order of time."""
        flat = pose.pose2d
        now = flat.timestamp
        seen_at = self._seen_at.get(flat.person_id)
        if seen_at is None:
            for person in [k for k, v in self._seen_at.items() if now - v.max() > _FORGOTTEN_S]:
                del self._seen_at[person]
            seen_at = self._seen_at[flat.person_id] = np.full(len(flat.scores), -np.inf)
        if not flat.predicted:
            seen_at[flat.scores >= SEEN_SCORE] = now
        return _with_unseen(pose, now - seen_at > UNSEEN_S)


def marked(poses: Sequence[Pose3D]) -> list[Pose3D]:
    """The same of a whole take, where what is seen later counts as well; in the same order."""
    rows: dict[int, list[int]] = {}
    for i, pose in enumerate(poses):
        rows.setdefault(pose.person_id, []).append(i)
    out = list(poses)
    for mine in rows.values():
        mine.sort(key=lambda i: poses[i].pose2d.timestamp)
        flat = [poses[i].pose2d for i in mine]
        times = np.array([pose.timestamp for pose in flat])[:, None]
        seen = np.array([pose.scores for pose in flat]) >= SEEN_SCORE
        seen &= ~np.array([pose.predicted for pose in flat])[:, None]
        before = np.maximum.accumulate(np.where(seen, times, -np.inf))
        after = np.minimum.accumulate(np.where(seen, times, np.inf)[::-1])[::-1]
        unseen = np.minimum(times - before, after - times) > UNSEEN_S
        for i, hidden in zip(mine, unseen, strict=True):
            out[i] = _with_unseen(poses[i], hidden)
    return out


def _with_unseen(pose: Pose3D, unseen: NDArray[np.bool_]) -> Pose3D:
    if not unseen.any():
        return pose if pose.unseen is ALL_SEEN else replace(pose, unseen=ALL_SEEN)
    return replace(pose, unseen=unseen)
