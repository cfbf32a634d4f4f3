"""From identified 2D poses to poses in body heights: sides, gaps, a lifter for each person."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from posemamba_live.errors import LiveError
from posemamba_live.keypoints import bridged
from posemamba_live.lifting.batching import Lifting, together
from posemamba_live.lifting.window import Lifter
from posemamba_live.tracking.gaps import GapFiller
from posemamba_live.tracking.sides import LOOK_AHEAD_S, Sides
from posemamba_live.types import Frame, LiftedPose, Pose2D


@dataclass(frozen=True, slots=True)
class Lifted:
    """What one frame brought: poses of this frame and of earlier ones that are now final."""

    frame: Frame | None
    """None after the last frame."""
    poses: Sequence[LiftedPose]
    settled: float
    """Index of the last frame for which no more poses will come; infinity after the end."""


class People:
    """Puts left and right in order, fills gaps and lifts.

    Args:
        make_lifter: for each person.
        fill_gaps: look at later frames: bridge short gaps, and let what comes after decide which
            side is left. Results wait for it (files).
    """

    def __init__(self, make_lifter: Callable[[], Lifter], *, fill_gaps: bool) -> None:
        self._sides = Sides(LOOK_AHEAD_S if fill_gaps else 0.0)
        self._filler = GapFiller() if fill_gaps else None
        self._lifter = PeopleLifter(make_lifter)
        self._undecided: int | None = None
        """First frame that may still get poses that are filled in."""
        self._spoilt = 0

    @property
    def trouble(self) -> list[LiveError]:
        """What a run has to tell at its end; empty if all poses were usable."""
        if not self._spoilt:
            return []
        return [
            LiveError(
                f"{self._spoilt} poses were left out",
                why="the network answered with numbers that are not finite",
                hint="other weights (--weights)",
            )
        ]

    def push(self, frame: Frame, poses: Sequence[Pose2D], earlier: Sequence[Pose2D] = ()) -> Lifted:
        """Take the next frame and everybody in it.

        Args:
            earlier: who turns out to have been in the frames before (`PeopleTracker.earlier`).
        """
        decided = self._sides.push(frame.index, frame.timestamp, poses, earlier)
        lifted = self._lift(decided)
        unsettled = (self._sides.first_waiting, self._undecided, self._lifter.first_waiting)
        waiting = [i for i in unsettled if i is not None]
        return Lifted(frame, lifted, min(waiting) - 1 if waiting else frame.index)

    def flush(self) -> Lifted:
        """After the last frame: everything that was still waiting."""
        lifted = self._lift(self._sides.flush())
        return Lifted(None, lifted + self._finite(self._lifter.flush()), float("inf"))

    def _lift(self, frames: Sequence[tuple[int, float, list[Pose2D]]]) -> list[LiftedPose]:
        lifted: list[LiftedPose] = []
        for index, timestamp, poses in frames:
            if self._filler is not None:
                poses = self._filler.push(index, timestamp, poses)
                self._undecided = self._filler.first_undecided(index, timestamp)
            lifted += self._finite(self._lifter.push(poses, timestamp))
        return lifted

    def _finite(self, poses: list[LiftedPose]) -> list[LiftedPose]:
        """Those that can be drawn, sent and written."""
        finite = [pose for pose in poses if np.isfinite(pose.joints).all()]
        self._spoilt += len(poses) - len(finite)
        return finite


class PeopleLifter:
    """One lifter per person, all of a frame's in one batch; who is gone is forgotten."""

    def __init__(self, make: Callable[[], Lifter]) -> None:
        self._make = make
        self._people: dict[int, _Person] = {}

    @property
    def first_waiting(self) -> int | None:
        """Index of the first frame in which somebody still waits to be lifted."""
        heads = [person.waiting[0] for person in self._people.values() if person.waiting]
        return min(heads, default=None)

    def push(self, poses: Sequence[Pose2D], timestamp: float) -> list[LiftedPose]:
        """Take all poses of one frame (and those filled in before it).

        Args:
            timestamp: the frame's, seconds; by it people are found to be gone.

        Returns:
            The poses that are now final: in order for each person, people one after another.
        """
        news: dict[int, list[Pose2D]] = {}
        for pose in poses:
            if pose.person_id not in self._people:
                self._people[pose.person_id] = _Person(self._make())
            news.setdefault(pose.person_id, []).append(pose)
        works = [self._people[person_id].pushing(own) for person_id, own in news.items()]
        for person_id, person in list(self._people.items()):
            if person_id not in news and not bridged(timestamp - person.seen_at):
                del self._people[person_id]
                works.append(person.lifter.flushing())
        return [lifted for done in together(works) for lifted in done]

    def flush(self) -> list[LiftedPose]:
        """End of everything: the poses that were still waiting."""
        works = [person.lifter.flushing() for person in self._people.values()]
        self._people.clear()
        return [lifted for done in together(works) for lifted in done]


@dataclass(slots=True)
class _Person:
    lifter: Lifter
    waiting: deque[int] = field(default_factory=deque)
    """Frame indices that were pushed and have not come back."""
    seen_at: float = 0.0

    def pushing(self, poses: Sequence[Pose2D]) -> Lifting:
        done: list[LiftedPose] = []
        for pose in poses:
            self.waiting.append(pose.frame_index)
            self.seen_at = pose.timestamp
            done += yield from self.lifter.pushing(pose)
        for _ in done:
            self.waiting.popleft()
        return done
