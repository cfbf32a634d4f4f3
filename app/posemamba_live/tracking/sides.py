"""Left and right stay what they were, where the model exchanges them for some frames.

Keypoint models now and then give a person's left limbs for the right ones, in single frames or
for a second, mostly of people who lean, or who are seen from behind or from the side. Limbs do
not change places within a frame: where exchanged labels continue the frame before much better
than the labels as they are, the model has changed its mind. Which of the two was right is decided
by the majority of the frames, to the left and to the right of the change as far as may be looked:
a hidden Markov model of whether arms, legs or both are exchanged.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from posemamba.skeleton import HIP, LEFT, RIGHT, THORAX
from posemamba_live.keypoints import breaks_track, bridged
from posemamba_live.types import ExtraPoints, FloatArray, Pose2D

Array = NDArray[np.float64]
Row: TypeAlias = tuple[int, float, list[Pose2D]]
"""Index, time and poses of a frame."""

LOOK_AHEAD_S: Final = 0.5
"""Seconds of film after a frame that have a say in its left and right. What is shown of a film, and
clicked at, is so much older than what is followed: not longer."""
_LEGS: Final = (list(LEFT[:3]), list(RIGHT[:3]))
_ARMS: Final = (list(LEFT[3:]), list(RIGHT[3:]))
_LEG_WORDS: Final = ("hip", "knee", "ankle", "heel", "foot", "toe")
_CHANGES: Final = np.array([0.97, 0.005, 0.01, 0.015])
"""How likely the model exchanges, from one frame to the next, nothing, arms, legs, both."""
_KINDS: Final = np.bitwise_xor.outer(np.arange(4), np.arange(4))
"""(4, 4) which of them leads from state to state; states have bit 1 for arms, bit 2 for legs."""
_FIRST: Final = np.array([0.8, 0.04, 0.04, 0.12])
"""The states of a first frame."""
_MOVES: Final = 0.04
"""Torso lengths by which limbs usually move within a thirtieth of a second."""
_MOST: Final = 10.0
"""Log odds, at most, that one pair of frames can give."""
_TRUST_PER_S: Final = 6.0
"""Log odds that a second of frames gives to the labels as they are."""
_ODD: Final = 3.0
"""Log odds against any exchange below which it is worth asking what comes after."""
_USUAL_STEP_S: Final = 1.0 / 30.0


@dataclass(frozen=True, slots=True)
class _Sight:
    pose: Pose2D
    step: Array
    """(4, 4) probability of each state, given the frame before and its state."""
    trust: Array
    """(4,) likelihood of each state by itself."""
    belief: Array
    """(4,) probability of each state, given all frames up to this one."""
    odd: bool


class Sides:
    """Hands poses on with left and right as they should be.

    Args:
        look_ahead: seconds of later frames that have a say, for which poses wait; 0 live.
    """

    def __init__(self, look_ahead: float = 0.0) -> None:
        self._look_ahead = look_ahead
        self._people: dict[int, deque[_Sight]] = {}
        """Of frames that wait for a decision, and of the last one before them."""
        self._frames: deque[tuple[int, float, list[int]]] = deque()
        """Index, time and people of the frames that wait."""

    @property
    def first_waiting(self) -> int | None:
        """Index of the first frame that is not handed on yet."""
        return self._frames[0][0] if self._frames else None

    def push(
        self,
        frame_index: int,
        timestamp: float,
        poses: Sequence[Pose2D],
        earlier: Sequence[Pose2D] = (),
    ) -> list[Row]:
        """Take the next frame's poses; returns the frames now decided.

        Args:
            earlier: poses of frames that may still wait, in order, of people who had none there.
        """
        back = bool(self._frames) and timestamp < self._frames[-1][1]
        done = self.flush() if back else []
        waiting = {index: people for index, _, people in self._frames}
        for pose in earlier:
            if pose.frame_index in waiting:
                seen = self._people.setdefault(pose.person_id, deque())
                seen.append(_sight(seen[-1] if seen else None, pose))
                waiting[pose.frame_index].append(pose.person_id)
                waiting[pose.frame_index].sort()
        for pose in poses:
            seen = self._people.setdefault(pose.person_id, deque())
            seen.append(_sight(seen[-1] if seen else None, pose))
        self._frames.append((frame_index, timestamp, [pose.person_id for pose in poses]))
        return done + self._decided(timestamp - self._look_ahead)

    def flush(self) -> list[Row]:
        """The frames that still wait, after the last one."""
        return self._decided(np.inf)

    def _decided(self, until: float) -> list[Row]:
        done = []
        while self._frames and self._frames[0][1] <= until + 1e-6:
            index, timestamp, people = self._frames.popleft()
            done.append((index, timestamp, [self._decide(i, index) for i in people]))
            for person_id, seen in list(self._people.items()):
                if len(seen) == 1 and not bridged(timestamp - seen[0].pose.timestamp):
                    del self._people[person_id]
        return done

    def _decide(self, person_id: int, frame_index: int) -> Pose2D:
        """The pose of that frame; the frames before it are forgotten."""
        seen = self._people[person_id]
        while seen[0].pose.frame_index != frame_index:
            seen.popleft()
        first = seen[0]
        state = first.belief
        if any(one.odd for one in seen) or int(state.argmax()) != 0:
            after = np.ones(4)
            for one in list(seen)[:0:-1]:
                after = one.step @ (one.trust * after)
                after /= after.sum()
            state = state * after
        best = int(state.argmax())
        return exchanged(first.pose, arms=bool(best & 1), legs=bool(best & 2))


def _sight(before: _Sight | None, pose: Pose2D) -> _Sight:
    if before is None or breaks_track(before.pose, pose):
        return _Sight(pose, np.tile(_FIRST, (4, 1)), np.ones(4), _FIRST, odd=False)
    seconds = max(pose.timestamp - before.pose.timestamp, 1e-3)
    arms, legs = _continuity(before.pose, pose, seconds)
    weight = np.log(_CHANGES) - np.array([0.0, arms, legs, arms + legs])
    chance = np.exp(weight - weight.max())
    step = (chance / chance.sum())[_KINDS]
    trust = np.exp(-_TRUST_PER_S * seconds * np.array([0.0, 1.0, 1.0, 2.0]))
    belief = (before.belief @ step) * trust
    odd = bool(weight[1:].max() > weight[0] - _ODD)
    return _Sight(pose, step, trust, belief / belief.sum(), odd)


def _continuity(before: Pose2D, pose: Pose2D, seconds: float) -> tuple[float, float]:
    """Log odds that arms, and that legs, have the labels that they had in the frame before."""
    trunks = [p.keypoints[THORAX] - p.keypoints[HIP] for p in (before, pose)]
    torso = max(*(float(np.hypot(*trunk)) for trunk in trunks), 1.0)
    scores = np.minimum(before.scores, pose.scores)
    usual = _MOVES * torso * max(seconds / _USUAL_STEP_S, 1.0)
    odds = []
    for left, right in (_ARMS, _LEGS):
        old, new, swapped = left + right, pose.keypoints[left + right], right + left
        kept = np.linalg.norm(new - before.keypoints[old], axis=1)
        other = np.linalg.norm(new - before.keypoints[swapped], axis=1)
        weights = np.tile(np.minimum(scores[left], scores[right]), 2)
        gain = float((weights * (other - kept)).sum()) / len(old)
        odds.append(float(np.clip(gain / usual, -_MOST, _MOST)))
    return odds[0], odds[1]


def exchanged(pose: Pose2D, *, arms: bool, legs: bool) -> Pose2D:
    """The pose with left and right exchanged; the face goes with the arms."""
    if not (arms or legs):
        return pose
    order = np.arange(len(pose.keypoints))
    for (left, right), wanted in ((_ARMS, arms), (_LEGS, legs)):
        if wanted:
            order[left + right] = right + left

    def taken(values: FloatArray | None) -> FloatArray | None:
        return None if values is None else values[order]

    return replace(
        pose,
        keypoints=pose.keypoints[order],
        scores=pose.scores[order],
        visibility=taken(pose.visibility),
        peak=taken(pose.peak),
        extra=_exchanged_extra(pose.extra, arms=arms, legs=legs),
    )


def _exchanged_extra(extra: ExtraPoints | None, *, arms: bool, legs: bool) -> ExtraPoints | None:
    if extra is None:
        return None
    places = {name: i for i, name in enumerate(extra.names)}
    order = np.arange(len(extra.names))
    for name, i in places.items():
        leg = any(word in name for word in _LEG_WORDS)
        if "left" in name and (legs if leg else arms):
            other = places.get(name.replace("left", "right"))
            if other is not None:
                order[[i, other]] = other, i
    return replace(extra, points=extra.points[order], scores=extra.scores[order])
