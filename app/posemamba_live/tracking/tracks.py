"""One person followed, and who of them is wanted: slots, identities, choices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

import numpy as np

from posemamba_live.detectors.base import Region
from posemamba_live.tracking.association import cost
from posemamba_live.tracking.clothes import Clothes
from posemamba_live.tracking.hands import Hands
from posemamba_live.tracking.kalman import Array, Motion
from posemamba_live.tracking.sight import Sight, torso, visible_box
from posemamba_live.tracking.steady import SteadyRegion
from posemamba_live.types import Detection, Frame

REMEMBER_S: Final = 5.0
"""Seconds, at most, for which somebody who is gone is known again."""
_REMEMBERED: Final = 2.0
"""Seconds of that for each second of having been followed."""
HOLD_S: Final = 1.0
"""Seconds, at most, for which the slot of somebody who is gone is kept from others."""
_FEW: Final = 2.5
"""Frame distances that every such limit has at least."""
_KNOWN_S: Final = 0.5
"""Seconds of having been followed from which somebody is a person, close to others or not."""
_CONFIRM_S: Final = 0.15
"""Seconds for which somebody tentative has to be seen."""
_CHOICE_S: Final = 1.0
"""Seconds for which a choice waits for its person to be seen."""
_PRESENT_S: Final = 0.7
"""Seconds since the last sight within which somebody can be chosen: it is looked for
bystanders now and then only."""
_REACH: Final = 0.1
"""Person sizes around a person that a click may miss by."""


_STEADY_S: Final = 0.2
"""Seconds without a sight after which regions are not smoothed together."""


class Subject(str, Enum):
    """Who takes a free slot, of the people then in the picture; it is kept from there on."""

    FIRST = "first"
    LARGEST = "largest"
    CENTRE = "centre"


@dataclass(slots=True, eq=False)
class Track:
    """One person followed."""

    motion: Motion
    sight: Sight
    """The last one."""
    region: Region
    """Where to look next."""
    began: float
    """Seconds, source time, like all times."""
    seen_at: float
    clothes: Clothes = field(default_factory=Clothes)
    steady: SteadyRegion = field(default_factory=SteadyRegion)
    hands: Hands = field(default_factory=Hands)
    followed: float = 0.0
    """Seconds for which the person was seen, gaps not counted."""
    tentative: bool = False
    """Perhaps no person of its own; not to be handed out before it has been seen for long."""
    person_id: int | None = None
    """None for who was never chosen."""
    shown_at: float = -math.inf
    """When the person was last handed out."""
    _asked: tuple[float, Sight, float] | None = None
    """When, about which sight, and how badly it suits: that is asked twice a frame."""

    @classmethod
    def begin(cls, sight: Sight, now: float, *, tentative: bool = False) -> Track:
        motion = Motion(sight.position, sight.size, now)
        return cls(motion, sight, sight.found.next_region, now, now, tentative=tentative)

    def see(self, sight: Sight, now: float, *, afresh: bool = False) -> None:
        """Take what was seen of the person now.

        Args:
            afresh: after a cut: position and size have nothing to do with those before.
        """
        if afresh:
            self.motion = Motion(sight.position, sight.size, now)
        else:
            self.motion.update(sight.position, sight.size, now)
        self.followed += min(now - self.seen_at, HOLD_S)
        if afresh or now - self.seen_at > _STEADY_S:
            self.steady, self.hands = SteadyRegion(), Hands()
        self.region = self.steady(sight.found.next_region, now)
        self.sight, self.seen_at, self._asked = sight, now, None

    def continue_as(self, other: Track) -> None:
        """Take over what is known of a newcomer who turned out to be the same person."""
        self.motion, self.sight, self.region = other.motion, other.sight, other.region
        self.followed += other.followed
        self.seen_at, self._asked = other.seen_at, None

    def expected(self, now: float) -> Detection:
        """The last pose where and as large as the person should be now."""
        position, change, _ = self.motion.predict(now)
        keypoints = self.sight.detection.keypoints
        moved = position + change * (keypoints - torso(keypoints))
        return Detection(moved.astype(np.float32), self.sight.detection.scores)

    def misfit(self, sight: Sight, now: float) -> float:
        """How badly a sight suits the person; infinite if not at all."""
        if self._asked is None or self._asked[0] != now or self._asked[1] is not sight:
            self._asked = now, sight, cost(self.motion, self.expected(now), sight, now)
        return self._asked[2]

    def remembered(self, now: float, step: float) -> bool:
        """Whether the person would be known again; `step` is the frame distance in seconds."""
        limit = min(_REMEMBERED * self.followed, REMEMBER_S)
        return 0.0 <= now - self.seen_at <= max(limit, _FEW * step)

    def held(self, now: float, step: float) -> bool:
        """Whether nobody else may take the person's slot yet."""
        limit = min(_REMEMBERED * self.followed, HOLD_S)
        return 0.0 <= now - self.seen_at <= max(limit, _FEW * step)

    @property
    def is_known(self) -> bool:
        """Whether somebody was followed for long enough to be a person, close to others or not."""
        return self.followed >= _KNOWN_S

    def confirmed(self) -> bool:
        return not self.tentative or self.seen_at - self.began >= _CONFIRM_S


@dataclass(slots=True)
class _Wish:
    point: tuple[float, float] | None
    """Shares of the picture; None for the next person."""
    since: float | None = None
    """Source time, from the first frame that could fulfil it."""


class Slots:
    """Who is wanted, of everybody followed.

    Args:
        people: how many slots there are.
        subject: who gets a free slot.
    """

    def __init__(self, people: int, subject: Subject) -> None:
        self.people = people
        self._subject = subject
        self.taken: list[Track] = []
        """The chosen people, the subject first."""
        self._next_id = 0
        self._wish: _Wish | None = None

    @property
    def wished(self) -> bool:
        """Whether somebody was chosen who is still to be found."""
        return self._wish is not None

    def choose(self, x: float, y: float) -> None:
        self._wish = _Wish((x, y))

    def choose_next(self) -> None:
        self._wish = _Wish(None)

    def fill(self, tracks: Sequence[Track], frame: Frame, step: float) -> None:
        """Fill the free slots, and do what was wished."""
        now = frame.timestamp
        self.taken = [t for t in self.taken if t in tracks and t.held(now, step)]
        waiting = [
            track
            for track in tracks
            if track not in self.taken and track.seen_at == now and track.confirmed()
        ]
        while waiting and len(self.taken) < self.people:
            track = min(waiting, key=lambda track: self._rank(track, frame))
            waiting.remove(track)
            self.taken.append(track)
        self._fulfil(tracks, frame)
        for track in self.taken:
            if track.person_id is None:
                track.person_id = self._next_id
                self._next_id += 1

    def _fulfil(self, tracks: Sequence[Track], frame: Frame) -> None:
        wish, now = self._wish, frame.timestamp
        if wish is None:
            return
        wish.since = now if wish.since is None else wish.since
        track = self._wished(wish, tracks, frame)
        if track is not None:
            others = [t for t in self.taken if t is not track]
            self.taken = [track, *others][: self.people]
        if track is not None or not 0.0 <= now - wish.since < _CHOICE_S:
            self._wish = None if self._wish is wish else self._wish

    def _rank(self, track: Track, frame: Frame) -> tuple[float, float]:
        """Lower comes first; somebody unsure counts as smaller, so that ghosts do not win."""
        size = track.sight.size * track.sight.score
        if self._subject is Subject.LARGEST:
            return -size, 0.0
        if self._subject is Subject.CENTRE:
            away = track.sight.position - np.array(frame.size) / 2.0
            return float(np.hypot(*away)), -size
        known = track.began if track.person_id is None else -float("inf")
        return known, -size

    def _wished(self, wish: _Wish, tracks: Sequence[Track], frame: Frame) -> Track | None:
        now = frame.timestamp
        present = [t for t in tracks if now - t.seen_at <= _PRESENT_S and t.confirmed()]
        if wish.point is None:
            others = [t for t in present if t not in self.taken[:1]]
            if not self.taken or not others:
                return None
            x = float(_place(self.taken[0], now)[0])
            return min(others, key=lambda t: (float(_place(t, now)[0]) - x) % frame.size[0])
        point = np.array(wish.point) * frame.size
        near: list[tuple[float, int]] = []
        for i, track in enumerate(present):
            low, high = visible_box(track.expected(now))
            margin = _REACH * track.sight.size
            if ((low - margin <= point) & (point <= high + margin)).all():
                near.append((float(np.hypot(*(_place(track, now) - point))), i))
        return present[min(near)[1]] if near else None


def _place(track: Track, now: float) -> Array:
    return track.motion.predict(now)[0]
