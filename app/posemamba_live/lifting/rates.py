"""Lifters around lifters, for sources whose frame rate networks do not know.

A network sees movements as changes from frame to frame; it was trained at 25 to 60 frames
a second.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

from posemamba_live.keypoints import breaks_track, interpolate
from posemamba_live.lifting.batching import Lifting
from posemamba_live.lifting.blending import NETWORK_FPS
from posemamba_live.lifting.window import Lifter
from posemamba_live.types import LiftedPose, Pose2D

MIN_FPS: Final = 20.0
MAX_FPS: Final = 65.0
"""Recordings below and above are brought to a rate that the network knows."""
_TARGET_FPS: Final = 40.0
"""About what each phase of a recording above MAX_FPS has."""
_MOST_PHASES: Final = 250
"""Enough for ten thousand frames a second; what files say of their rates may be nonsense."""
_NOT_A_FRAME: Final = -1


def at_known_rate(make: Callable[[], Lifter], fps: float) -> Callable[[], Lifter]:
    """What makes lifters for a recording of `fps` frames a second, out of plain ones."""
    if fps > MAX_FPS:
        return partial(InterleavedLifter, make, phases(fps))
    return lambda: UpsampledLifter(make())


def rate_seen(fps: float) -> float:
    """Frames a second that those lifters see of such a recording."""
    if fps > MAX_FPS:
        return fps / phases(fps)
    return fps if fps >= MIN_FPS else NETWORK_FPS


def phases(fps: float) -> int:
    """As how many sequences such a recording is lifted, each of every so many-th frame."""
    return max(2, round(min(fps / _TARGET_FPS, _MOST_PHASES))) if fps > MAX_FPS else 1


class InterleavedLifter(Lifter):
    """Every `phases`-th frame to a lifter of its own, for sources of a high frame rate.

    A network trained at 25 to 60 frames a second takes 240 of them for slow motion. Each
    phase is a sequence at a rate that it knows; the answers are put in order again. What they
    had seen ahead is told in frames of the source.
    """

    def __init__(self, make: Callable[[], Lifter], phases: int) -> None:
        self._lifters = [make() for _ in range(phases)]
        self._order: deque[int] = deque()
        self._done: dict[int, LiftedPose] = {}

    def pushing(self, pose: Pose2D) -> Lifting:
        self._order.append(pose.frame_index)
        lifter = self._lifters[pose.frame_index % len(self._lifters)]
        return self._sorted((yield from lifter.pushing(pose)))

    def flushing(self) -> Lifting:
        done: list[LiftedPose] = []
        for lifter in self._lifters:
            done += yield from lifter.flushing()
        return self._sorted(done)

    def reset(self) -> None:
        for lifter in self._lifters:
            lifter.reset()
        self._order.clear()
        self._done.clear()

    def _sorted(self, done: list[LiftedPose]) -> list[LiftedPose]:
        count = len(self._lifters)
        for one in done:
            seen = replace(one, look_ahead=count * one.look_ahead)
            self._done[one.pose2d.frame_index] = seen
        out = []
        while self._order and self._order[0] in self._done:
            out.append(self._done.pop(self._order.popleft()))
        return out


def upsampled(before: Pose2D, after: Pose2D) -> list[Pose2D]:
    """Interpolated poses between two that are further apart than 1 / MIN_FPS seconds."""
    step = after.timestamp - before.timestamp
    if step * MIN_FPS <= 1.0 + 1e-3:
        return []
    count = round(step * NETWORK_FPS)
    times = (before.timestamp + step * i / count for i in range(1, count))
    return [interpolate(before, after, _NOT_A_FRAME, time) for time in times]


class UpsampledLifter(Lifter):
    """Interpolated poses between the real ones, for sources of a low frame rate.

    The network sees movements at a speed that it knows; only real frames are given out, with
    what it had seen ahead of them in real frames.
    """

    def __init__(self, lifter: Lifter) -> None:
        self._lifter = lifter
        self._begin()

    def _begin(self) -> None:
        self._last: Pose2D | None = None
        self._pushed = 0
        self._given = 0
        self._real: deque[int] = deque()
        """Which of those that were pushed, and not given out yet, are real ones."""

    def pushing(self, pose: Pose2D) -> Lifting:
        done: list[LiftedPose] = []
        last, self._last = self._last, pose
        if last is not None and not breaks_track(last, pose):
            for between in upsampled(last, pose):
                self._pushed += 1
                done += yield from self._lifter.pushing(between)
        self._real.append(self._pushed)
        self._pushed += 1
        done += yield from self._lifter.pushing(pose)
        return self._real_ones(done)

    def flushing(self) -> Lifting:
        done = self._real_ones((yield from self._lifter.flushing()))
        self._begin()
        return done

    def reset(self) -> None:
        self._begin()
        self._lifter.reset()

    def _real_ones(self, done: list[LiftedPose]) -> list[LiftedPose]:
        """Of what the lifter gives out: each that was pushed, in order."""
        out = []
        for lifted in done:
            place, self._given = self._given, self._given + 1
            if lifted.pose2d.frame_index != _NOT_A_FRAME:
                self._real.popleft()
                seen = bisect_right(self._real, place + lifted.look_ahead)
                out.append(replace(lifted, look_ahead=seen))
        return out
