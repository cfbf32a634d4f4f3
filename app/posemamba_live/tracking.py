"""Who is who: detections of single frames become tracks of people.

`Tracker` gives each detection the identity of the track that it continues, and refuses the
ones that continue nothing while every place is taken, so that a passer-by cannot take
over a track. `GapFiller` bridges short gaps in tracks that are read to their end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from posemamba_live.types import Detection, FloatArray, Frame, Pose2D
from posemamba_live.window import MAX_GAP_S, interpolate

REENTRY_S: Final = 1.0
"""Seconds for which a lost person's place, and identity, is kept."""
_GATE: Final = 0.25
"""Mean distance of keypoints between two frames, in person sizes, that is still one person."""
_GATE_SPEED: Final = 1.5
"""Growth of the gate in person sizes a second: people run at about 3 m/s, 1.7 m tall."""
_SIZE_GATE: Final = 0.5
"""Largest change of the logarithm of a person's size."""
_SAME: Final = 0.15
"""Two detections of one frame nearer than this are one person seen twice."""
_VELOCITY_SHARE: Final = 0.3
"""Weight of the newest step in a track's running velocity."""
_FILLED_SCORE: Final = 0.3
"""Confidence of a filled-in keypoint relative to the less sure of its two neighbours."""


@dataclass(slots=True)
class _Track:
    person_id: int
    detection: Detection
    seen_at: float
    """Seconds, source time."""
    image_size: tuple[int, int]
    velocity: FloatArray
    """(2,) pixels a second, of the whole person."""

    def expected(self, timestamp: float) -> Detection:
        """Where the person should be now: the last pose, moved on for at most a moment."""
        ahead = min(timestamp - self.seen_at, MAX_GAP_S)
        return Detection(self.detection.keypoints + ahead * self.velocity, self.detection.scores)


class Tracker:
    """Follows up to `people` people.

    The largest detections take the free places. A place is free again when its person has
    not been seen for REENTRY_S; who comes later is a new person.
    """

    def __init__(self, people: int = 1) -> None:
        if people < 1:
            raise ValueError(f"people must be at least 1, not {people}")
        self._people = people
        self._tracks: list[_Track] = []
        self._next_id = 0

    def update(self, frame: Frame, detections: Sequence[Detection]) -> list[Pose2D]:
        """Identify the people of the next frame; at most `people` poses, by identity."""
        now = frame.timestamp
        self._tracks = [
            track
            for track in self._tracks
            if now - track.seen_at <= REENTRY_S and track.image_size == frame.size
        ]
        found = without_duplicates(detections)
        chosen = assign([[self._cost(t, d, now) for d in found] for t in self._tracks])
        for track, j in zip(self._tracks, chosen, strict=True):
            if j is not None:
                _follow(track, found[j], now)

        strangers = [d for j, d in enumerate(found) if j not in chosen]
        for detection in sorted(strangers, key=person_size, reverse=True):
            if len(self._tracks) == self._people:
                break
            still = np.zeros(2, np.float32)
            self._tracks.append(_Track(self._next_id, detection, now, frame.size, still))
            self._next_id += 1

        return [
            Pose2D(
                frame_index=frame.index,
                timestamp=now,
                person_id=track.person_id,
                keypoints=track.detection.keypoints,
                scores=track.detection.scores,
                image_size=frame.size,
                extra=track.detection.extra,
            )
            for track in self._tracks
            if track.seen_at == now
        ]

    def _cost(self, track: _Track, detection: Detection, now: float) -> float | None:
        """Distance in person sizes, None where this cannot be the same person."""
        change = np.log(person_size(detection) / person_size(track.detection))
        distance = pose_distance(track.expected(now), detection)
        gate = _GATE + _GATE_SPEED * (now - track.seen_at)
        return distance if distance <= gate and abs(change) <= _SIZE_GATE else None


def _follow(track: _Track, detection: Detection, now: float) -> None:
    step = detection.keypoints.mean(0) - track.detection.keypoints.mean(0)
    velocity = step / max(now - track.seen_at, 1e-3)
    track.velocity = track.velocity + _VELOCITY_SHARE * (velocity - track.velocity)
    track.detection, track.seen_at = detection, now


def person_size(detection: Detection) -> float:
    """Diagonal of the keypoints' bounding box in pixels, at least 1."""
    extent = np.ptp(detection.keypoints, axis=0)
    return max(float(np.hypot(*extent)), 1.0)


def pose_distance(a: Detection, b: Detection) -> float:
    """Mean distance of corresponding keypoints in person sizes; sure keypoints count more."""
    weights = np.minimum(a.scores, b.scores) + 1e-3
    distances = np.linalg.norm(a.keypoints - b.keypoints, axis=1)
    mean = float((weights * distances).sum() / weights.sum())
    return mean / max(person_size(a), person_size(b))


def without_duplicates(detections: Sequence[Detection]) -> list[Detection]:
    """Drop the less sure of detections that lie on each other."""
    kept: list[Detection] = []
    for detection in sorted(detections, key=lambda d: float(d.scores.mean()), reverse=True):
        if all(pose_distance(detection, other) > _SAME for other in kept):
            kept.append(detection)
    return kept


def assign(costs: Sequence[Sequence[float | None]]) -> list[int | None]:
    """Assign columns to rows: as many as possible, then at the least total cost.

    Tries every assignment, which is meant for a handful of people.

    Args:
        costs: one row per track, one column per detection; None forbids the pair.

    Returns:
        For each row its column, or None.
    """

    def best(row: int, free: frozenset[int]) -> tuple[int, float, list[int | None]]:
        if row == len(costs):
            return 0, 0.0, []
        matched, total, rest = best(row + 1, free)
        answer: tuple[int, float, list[int | None]] = (matched, total, [None, *rest])
        for column in free:
            cost = costs[row][column]
            if cost is None:
                continue
            matched, total, rest = best(row + 1, free - {column})
            candidate = (matched + 1, total + cost, [column, *rest])
            if (-candidate[0], candidate[1]) < (-answer[0], answer[1]):
                answer = candidate
        return answer

    return best(0, frozenset(range(len(costs[0]) if costs else 0)))[2]


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
        while timestamp - self._frames[0][1] > MAX_GAP_S:
            self._frames.pop(0)
        self._last = {
            person_id: pose
            for person_id, pose in self._last.items()
            if timestamp - pose.timestamp <= REENTRY_S
        }
        return out

    def first_undecided(self, frame_index: int, timestamp: float) -> int | None:
        """First frame that may still get a filled pose, given that this one was pushed last."""
        return min(
            (
                pose.frame_index + 1
                for pose in self._last.values()
                if pose.frame_index < frame_index and timestamp - pose.timestamp <= MAX_GAP_S
            ),
            default=None,
        )

    def _between(self, last: Pose2D, pose: Pose2D) -> list[Pose2D]:
        missing = [f for f in self._frames if last.frame_index < f[0]]
        # Frames that left the list are too long ago: the first one missing must be there.
        if not missing or len(missing) != pose.frame_index - last.frame_index - 1:
            return []
        if pose.timestamp - missing[0][1] > MAX_GAP_S + 1e-6:
            return []
        return [
            interpolate(last, pose, index, timestamp, score_factor=_FILLED_SCORE)
            for index, timestamp in missing
        ]
