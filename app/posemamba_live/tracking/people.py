"""Who is who: detections of single frames become tracks of people.

`Tracker` gives each detection the identity of the track that it continues and hands out
those of the people who were chosen: a passer-by is followed too, if only so that nobody
takes the passer-by for the subject. `GapFiller` bridges short gaps in finished tracks.

Tracking libraries were weighed: those at hand count frames where live use needs seconds
(norfair, supervision's ByteTrack), assign greedily (norfair), or bring detectors and
appearance networks along (boxmot). What is left to write is small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from posemamba_live.keypoints import bridged, interpolate
from posemamba_live.tracking.kalman import Motion, person_size
from posemamba_live.types import Detection, Expected, FloatArray, Frame, Pose2D

REENTRY_S: Final = 1.0
"""Seconds for which a lost person's place, and identity, is kept."""
_GATE: Final = 14.0
"""Squared Mahalanobis distance beyond which it is somebody else: 99.7 % of the own ones."""
_POSE_WEIGHT: Final = 6.0
"""Of the poses' dissimilarity (0 to 1) beside the squared distance of place and size."""
_UNASSIGNED: Final = 40.0
"""Cost of a track without a detection: above that of any pair within the gate."""
_JOINT_FALLOFF: Final = 0.08
"""Distance in person sizes at which a keypoint is 0.6 similar; limbs move about so much."""
_FALLOFF_SPEED: Final = 0.4
"""Growth of that in person sizes a second."""
_SAME: Final = 0.15
"""Two detections of one frame nearer than this, in person sizes, are one person seen twice."""
_OVERLAP: Final = 0.4
"""Share of a newcomer's box inside another person's from which it may be a false alarm."""
_CONFIRM_S: Final = 0.15
"""Seconds for which such a newcomer has to be seen."""
_BYSTANDERS: Final = 4
"""People followed beside the chosen ones."""
_CHOICE_S: Final = 1.0
"""Seconds for which a choice waits for its person to be seen."""
_PRESENT_S: Final = 0.7
"""Seconds since the last sight within which somebody can be chosen: detectors look for
bystanders now and then only."""
_REACH: Final = 0.1
"""Person sizes around a person that a click may miss by."""
_FILLED_SCORE: Final = 0.3
"""Confidence of a filled-in keypoint relative to the less sure of its two neighbours."""


class Subject(str, Enum):
    """Who takes a free place, of the people then in the picture; it is kept from there on."""

    FIRST = "first"
    LARGEST = "largest"
    CENTRE = "centre"


@dataclass(slots=True)
class _Track:
    key: int
    motion: Motion
    detection: Detection
    began: float
    """Seconds, source time, like all times."""
    seen_at: float
    image_size: tuple[int, int]
    doubtful: bool = False
    """Perhaps no person of its own; not to be handed out before it has been seen for long."""
    person_id: int | None = None
    """None for who was never chosen."""

    def expected(self, now: float) -> Detection:
        """The last pose where and as large as the person should be now."""
        place, change, _ = self.motion.predict(now)
        middle = torso(self.detection.keypoints)
        keypoints = place + change * (self.detection.keypoints - middle)
        return Detection(keypoints.astype(np.float32), self.detection.scores)

    def confirmed(self) -> bool:
        return not self.doubtful or self.seen_at - self.began >= _CONFIRM_S


class Tracker:
    """Follows everybody and hands out up to `people` of them.

    A place is free again when its person has not been seen for REENTRY_S; who comes later
    is a new person.

    Args:
        people: how many places there are.
        subject: who gets a free place.
    """

    def __init__(self, people: int = 1, subject: Subject = Subject.FIRST) -> None:
        if people < 1:
            raise ValueError(f"people must be at least 1, not {people}")
        self._people = people
        self._subject = subject
        self._tracks: list[_Track] = []
        self._places: list[_Track] = []
        """Of the chosen people, the subject first."""
        self._next_key = 0
        self._next_id = 0
        self._wish: _Wish | None = None

    def choose(self, x: float, y: float) -> None:
        """Make the person at a point of the picture the subject. Any thread may call it.

        Whoever is there within a second takes the first place; with all places taken the
        last one is given up.

        Args:
            x, y: shares of the picture's width and height, 0 to 1.
        """
        self._wish = _Wish((x, y))

    def choose_next(self) -> None:
        """Make the next person to the right of the subject the subject, as `choose` does."""
        self._wish = _Wish(None)

    def expected(self, timestamp: float) -> list[Expected]:
        """Everybody followed, where they should be at this time."""
        return [
            Expected(
                key=track.key,
                keypoints=track.expected(timestamp).keypoints,
                reach=3.0 * float(track.motion.predict(timestamp)[2][:2].max()),
                seen_at=track.seen_at,
                chosen=track in self._places,
            )
            for track in self._tracks
        ]

    def update(self, frame: Frame, detections: Sequence[Detection]) -> list[Pose2D]:
        """Identify the people of the next frame; at most `people` poses, by identity."""
        now = frame.timestamp
        self._tracks = [
            track
            for track in self._tracks
            if 0.0 <= now - track.seen_at <= REENTRY_S and track.image_size == frame.size
        ]
        found = without_duplicates(detections)
        costs = np.array([[_cost(t, d, now) for d in found] for t in self._tracks])
        costs = costs.reshape(len(self._tracks), len(found))
        chosen = assign(costs, unassigned=_UNASSIGNED)
        for track, j in zip(self._tracks, chosen, strict=True):
            if j is not None:
                track.motion.update(found[j], now)
                track.detection, track.seen_at = found[j], now
        strangers = [d for j, d in enumerate(found) if j not in chosen]
        for detection in sorted(strangers, key=_size, reverse=True):
            self._begin(detection, frame)
        self._choose(frame)
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
            for track in sorted(self._places, key=lambda track: track.person_id or 0)
            if track.person_id is not None and track.seen_at == now
        ]

    def _begin(self, detection: Detection, frame: Frame) -> None:
        if len(self._tracks) >= self._people + _BYSTANDERS:
            return
        now = frame.timestamp
        hidden = any(
            inside(detection.keypoints, track.expected(now).keypoints) > _OVERLAP
            for track in self._tracks
        )
        motion = Motion(detection, now)
        self._tracks.append(
            _Track(self._next_key, motion, detection, now, now, frame.size, doubtful=hidden)
        )
        self._next_key += 1

    def _choose(self, frame: Frame) -> None:
        """Fill the free places, and do what was wished."""
        now = frame.timestamp
        self._places = [track for track in self._places if track in self._tracks]
        waiting = [
            track
            for track in self._tracks
            if track not in self._places and track.seen_at == now and track.confirmed()
        ]
        while waiting and len(self._places) < self._people:
            track = min(waiting, key=lambda track: self._rank(track, frame))
            waiting.remove(track)
            self._places.append(track)
        wish = self._wish
        if wish is not None:
            wish.since = now if wish.since is None else wish.since
            track_or_none = self._wished(wish, frame)
            if track_or_none is not None:
                others = [t for t in self._places if t is not track_or_none]
                self._places = [track_or_none, *others][: self._people]
            if track_or_none is not None or not 0.0 <= now - wish.since < _CHOICE_S:
                self._wish = None if self._wish is wish else self._wish
        for track in self._places:
            if track.person_id is None:
                track.person_id = self._next_id
                self._next_id += 1

    def _rank(self, track: _Track, frame: Frame) -> tuple[float, float]:
        """Lower comes first."""
        size = person_size(track.detection.keypoints)
        if self._subject is Subject.LARGEST:
            return -size, 0.0
        if self._subject is Subject.CENTRE:
            away = torso(track.detection.keypoints) - np.array(frame.size) / 2.0
            return float(np.hypot(*away)), -size
        return track.began, -size

    def _wished(self, wish: _Wish, frame: Frame) -> _Track | None:
        now = frame.timestamp
        present = [t for t in self._tracks if now - t.seen_at <= _PRESENT_S and t.confirmed()]
        if wish.point is None:
            others = [t for t in present if t not in self._places[:1]]
            if not self._places or not others:
                return None
            x = float(torso(self._places[0].expected(now).keypoints)[0])
            return min(
                others,
                key=lambda t: (float(torso(t.expected(now).keypoints)[0]) - x) % frame.size[0],
            )
        point = np.array(wish.point) * frame.size
        near: list[tuple[float, int]] = []
        for i, track in enumerate(present):
            keypoints = track.expected(now).keypoints
            margin = _REACH * person_size(keypoints)
            low, high = keypoints.min(0) - margin, keypoints.max(0) + margin
            if ((low <= point) & (point <= high)).all():
                near.append((float(np.hypot(*(torso(keypoints) - point))), i))
        return present[min(near)[1]] if near else None


@dataclass(slots=True)
class _Wish:
    point: tuple[float, float] | None
    """Shares of the picture; None for the next person."""
    since: float | None = None
    """Source time, from the first frame that could fulfil it."""


def _cost(track: _Track, detection: Detection, now: float) -> float:
    """How badly a detection continues a track; infinite where it cannot.

    Who has long been hidden could be anywhere: that alone must not make somebody else's
    detection suit better, which is why the width of the expectation counts.
    """
    distance, width = track.motion.surprise(detection, now)
    if distance > _GATE:
        return float("inf")
    falloff = _JOINT_FALLOFF + _FALLOFF_SPEED * (now - track.seen_at)
    pose = _POSE_WEIGHT * (1.0 - similarity(track.expected(now), detection, falloff))
    return distance + width + pose


def _size(detection: Detection) -> float:
    return person_size(detection.keypoints)


def torso(keypoints: FloatArray) -> NDArray[np.float64]:
    """(17, 2) keypoints to the (2,) middle of hips and shoulders."""
    return np.asarray(keypoints[[1, 4, 11, 14]].mean(0), np.float64)


def inside(a: FloatArray, b: FloatArray) -> float:
    """Share of the bounding box of keypoints `a` (17, 2) that lies in that of `b`."""
    low, high = np.maximum(a.min(0), b.min(0)), np.minimum(a.max(0), b.max(0))
    area = float(np.prod(np.ptp(a, axis=0)))
    return float(np.prod(np.maximum(high - low, 0.0))) / max(area, 1.0)


def similarity(a: Detection, b: Detection, falloff: float) -> float:
    """Object keypoint similarity, 0 to 1: the mean of exp(-d^2 / 2 falloff^2).

    As in COCO's evaluation, but d is in person sizes and keypoints count by their scores.
    """
    weights = np.minimum(a.scores, b.scores) + 1e-3
    size = max(_size(a), _size(b))
    distances = np.linalg.norm(a.keypoints - b.keypoints, axis=1) / size
    each = np.exp(-0.5 * (distances / falloff) ** 2)
    return float((weights * each).sum() / weights.sum())


def pose_distance(a: Detection, b: Detection) -> float:
    """Mean distance of corresponding keypoints in person sizes; sure keypoints count more."""
    weights = np.minimum(a.scores, b.scores) + 1e-3
    distances = np.linalg.norm(a.keypoints - b.keypoints, axis=1)
    mean = float((weights * distances).sum() / weights.sum())
    return mean / max(_size(a), _size(b))


def without_duplicates(detections: Sequence[Detection]) -> list[Detection]:
    """Drop the less sure of detections that lie on each other."""
    kept: list[Detection] = []
    for detection in sorted(detections, key=lambda d: float(d.scores.mean()), reverse=True):
        if all(pose_distance(detection, other) > _SAME for other in kept):
            kept.append(detection)
    return kept


def assign(costs: NDArray[np.float64], *, unassigned: float) -> list[int | None]:
    """Assign columns to rows at the least total cost (the Hungarian method).

    Args:
        costs: (rows, columns); infinite forbids the pair.
        unassigned: what a row without a column costs, so that one bad pair is not made up
            for by another.

    Returns:
        For each row its column, or None.
    """
    rows, columns = costs.shape
    # A column of its own for each row to stay alone in; forbidden pairs cost more than that.
    alone = np.full((rows, rows), unassigned)
    forbidden = (rows + 1) * (unassigned + 1.0)
    padded = np.hstack([np.where(np.isfinite(costs), costs, forbidden), alone])
    _, chosen = linear_sum_assignment(padded)
    return [int(j) if j < columns else None for j in chosen]


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
            if timestamp - pose.timestamp <= REENTRY_S
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
