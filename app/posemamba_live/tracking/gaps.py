"""Bridges short gaps in finished tracks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from posemamba_live.keypoints import MAX_GAP_S, bridged, interpolate
from posemamba_live.types import Pose2D

_FILLED_SCORE: Final = 0.3
"""Confidence of a filled-in keypoint relative to the less sure of its two neighbours."""


class GapFiller:
    """Fills the gaps of up to MAX_GAP_S in each track by interpolation, marked `predicted`.

    It looks back from where a person is seen again, so filled poses come late, but each
    person's poses stay in the order of time.
    """

    def __init__(self) -> None:
        self._last: dict[int, Pose2D] = {}
        self._frames: list[tuple[int, float]] = []

    def push(self, frame_index: int, timestamp: float, poses: Sequence[Pose2D]) -> list[Pose2D]:
        """Take one frame's poses; returns them, each after the poses filled in before it."""
        out: list[Pose2D] = []
        for pose in poses:
            last = self._last.get(pose.person_id)
            if last is not None and last.image_size == pose.image_size:
                out += self._between(last, pose)
            out.append(pose)
            self._last[pose.person_id] = pose
        self._frames.append((frame_index, timestamp))
        while not bridged(timestamp - self._frames[0][1]):
            self._frames.pop(0)
        self._last = {
            person_id: pose
            for person_id, pose in self._last.items()
            if timestamp - pose.timestamp <= 2.0 * MAX_GAP_S
        }
        return out

    def first_undecided(self, frame_index: int, timestamp: float) -> int | None:
        """First frame that may still get a filled pose, given that this one was pushed last."""
        return min(
            (
                pose.frame_index + 1
                for pose in self._last.values()
                if pose.frame_index < frame_index and bridged(timestamp - pose.timestamp)
            ),
            default=None,
        )

    def _between(self, last: Pose2D, pose: Pose2D) -> list[Pose2D]:
        missing = [f for f in self._frames if last.frame_index < f[0]]
        # Frames that left the list are too long ago: the first one missing must be there.
        if not missing or len(missing) != pose.frame_index - last.frame_index - 1:
            return []
        # The second is what `first_undecided` went by: frames that were given up stay empty.
        if not (
            bridged(pose.timestamp - missing[0][1]) and bridged(missing[-1][1] - last.timestamp)
        ):
            return []
        return [
            interpolate(last, pose, index, timestamp, score_factor=_FILLED_SCORE)
            for index, timestamp in missing
        ]
