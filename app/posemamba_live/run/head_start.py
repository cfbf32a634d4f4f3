"""The first frames of a film, found and followed while the lifter is still loading."""

from __future__ import annotations

import logging
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from posemamba_live.detectors import Models
from posemamba_live.plan import RunPlan
from posemamba_live.run.statistics import RunStats
from posemamba_live.sources import Source
from posemamba_live.tracking.ahead import with_next
from posemamba_live.tracking.people import PeopleTracker, Subject
from posemamba_live.types import Frame, Pose2D

logger = logging.getLogger(__name__)

_MOST_BYTES: Final = 256 * 2**20
"""Of pictures that wait."""
_SWITCH_S: Final = 0.0005
"""Seconds for which a thread that imports may keep the interpreter from the others; Python's own
5 ms come several times a frame."""
_JOIN_S: Final = 2.0


class Found(NamedTuple):
    """A frame, and who was followed in it."""

    frame: Frame
    poses: list[Pose2D]
    earlier: list[Pose2D]
    """Of the frames before."""
    in_view: int
    """People, followed or not."""


class HeadStart:
    """Follows people from the start of a film in a thread of its own, until `stop`.

    Args:
        source: a film, opened; whoever runs on takes the rest of it from here.
        tracker: likewise.
        duration: seconds from the first frame on.
    """

    def __init__(self, source: Source, tracker: PeopleTracker, duration: float | None) -> None:
        self.tracker = tracker
        tracker.ahead.at_once = False  # one core is for what is loading
        self._frames = self._read(source, duration)
        self._after: Frame | None = None
        """Read, but not looked at."""
        self._unreadable: Exception | None = None
        self._moments: list[float] = []
        self._found: deque[Found] = deque()
        self._error: Exception | None = None
        self._enough = threading.Event()
        self._usual_switch_s = sys.getswitchinterval()
        sys.setswitchinterval(min(_SWITCH_S, self._usual_switch_s))
        self._thread = threading.Thread(target=self._work, name="head start", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Begin no other frame; waits for nothing. Idempotent."""
        if not self._enough.is_set():
            self._enough.set()
            self.tracker.ahead.at_once = True
            sys.setswitchinterval(self._usual_switch_s)

    def close(self) -> None:
        """Stop, and wait for the frame in work, though not for one that hangs."""
        self.stop()
        self._thread.join(_JOIN_S)

    def found(self) -> Iterator[Found]:
        """What it found, in order, each of it once. Waits for the frame in work."""
        self._thread.join()
        while self._found:
            yield self._found.popleft()

    def moments(self) -> list[float]:
        """When the frames came that it looked at (time.monotonic()). Waits likewise."""
        self._thread.join()
        return self._moments

    def rest(self) -> Iterator[Frame]:
        """The frames that it did not look at. Waits likewise.

        Iterating raises what kept the source from going on.

        Raises:
            DetectorError: nobody can go on.
        """
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._rest()

    def _rest(self) -> Iterator[Frame]:
        if self._after is not None:
            yield self._after
        yield from self._frames
        if self._unreadable is not None:
            raise self._unreadable

    def _read(self, source: Source, duration: float | None) -> Iterator[Frame]:
        """The frames, with an error kept for after the last of them."""
        try:
            yield from within(source, duration)
        except Exception as error:
            self._unreadable = error

    def _work(self) -> None:
        waiting = 0
        try:
            for frame, after in with_next(self._frames):
                poses, tracker = self.tracker(frame, after), self.tracker
                self._found.append(Found(frame, poses, tracker.earlier, tracker.in_view))
                self._moments.append(frame.captured_at)
                self._after = after
                waiting += frame.image.nbytes
                if self._enough.is_set() or waiting > _MOST_BYTES:
                    return
        except Exception as error:  # a thread has no caller: whoever runs on is told
            logger.debug("the head start failed", exc_info=error)
            self._error = error


def within(frames: Iterable[Frame], duration: float | None) -> Iterator[Frame]:
    """Frames of so many seconds, from the first one's time on."""
    end = None
    for frame in frames:
        if end is None:
            end = frame.timestamp + (duration or float("inf"))
        if frame.timestamp >= end:
            return
        yield frame


def unseen(
    source: Source, start: HeadStart | None, duration: float | None, stats: RunStats
) -> Iterator[Frame]:
    """The frames of a film that nobody has looked at; those of the head start count as read."""
    if start is None:
        return within(source, duration)
    for moment in start.moments():
        stats.frame_in(moment)
    return start.rest()


def make_tracker(plan: RunPlan, detector: Models) -> PeopleTracker:
    """The people tracker of a run."""
    subject = Subject(plan.subject.value)
    return PeopleTracker(detector, plan.people, subject, live=plan.live)
