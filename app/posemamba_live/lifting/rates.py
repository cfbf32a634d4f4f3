"""Lifters around lifters, for sources whose frame rate networks do not know.

A network sees movements as changes from frame to frame; it was trained at 25 to 60 frames
a second.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
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
        return partial(InterleavedLifter, make, _phases(fps))
    return lambda: UpsampledLifter(make())


def rate_seen(fps: float) -> float:
    """Frames a second that those lifters see of such a recording."""
    if fps > MAX_FPS:
        return fps / _phases(fps)
    return fps if fps >= MIN_FPS else NETWORK_FPS


def _phases(fps: float) -> int:
    return max(2, round(min(fps / _TARGET_FPS, _MOST_PHASES)))


class InterleavedLifter(Lifter):
    """Every `phases`-th frame to a lifter of its own, for sources of a high frame rate.

    A network trained at 25 to 60 frames a second takes 240 of them for slow motion. Each
    phase is a sequence at a rate that it knows; the answers are put in order again.
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
        self._done.update((lifted.pose2d.frame_index, lifted) for lifted in done)
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

    The network sees movements at a speed that it knows; only real frames are given out.
    """

    def __init__(self, lifter: Lifter) -> None:
        self._lifter = lifter
        self._last: Pose2D | None = None

    def pushing(self, pose: Pose2D) -> Lifting:
        done: list[LiftedPose] = []
        last, self._last = self._last, pose
        if last is not None and not breaks_track(last, pose):
            for between in upsampled(last, pose):
                done += yield from self._lifter.pushing(between)
        done += yield from self._lifter.pushing(pose)
        return _real(done)

    def flushing(self) -> Lifting:
        self._last = None
        return _real((yield from self._lifter.flushing()))

    def reset(self) -> None:
        self._last = None
        self._lifter.reset()


def _real(done: list[LiftedPose]) -> list[LiftedPose]:
    return [lifted for lifted in done if lifted.pose2d.frame_index != _NOT_A_FRAME]
