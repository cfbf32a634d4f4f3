"""Real time: capture in a thread of its own, and the newest frame wins."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from posemamba_live.errors import SourceError
from posemamba_live.sources.base import Source, fit, is_long_gap
from posemamba_live.sources.video import Sound
from posemamba_live.types import Frame

logger = logging.getLogger(__name__)

BACK_OFF_S: Final = (0.25, 0.5, 1.0, 2.0, 5.0)
"""Waits before a lost camera is tried again; the last one for good."""
HELD_S: Final = 5.0
"""A connection that lasts shorter is no success: the waits go on where they were."""
TOLD_EVERY_S: Final = 30.0
"""Seconds between two times that somebody is told that a source was lost, or is back."""
SILENCE_S: Final = 1.0
"""Without a picture for so long, `status` says so."""
_JOIN_S: Final = 1.0
_RATE_FRAMES: Final = 31


class LiveSource(Source):
    """Turns a camera, stream or file into a live source that is never behind.

    Its thread reads every picture and keeps the newest; whoever iterates gets the newest
    that it has not had, and waits where there is none. A picture that was replaced before
    it was taken counts as dropped.

    A camera or stream that disappears is opened again and again until it is back. Indices
    count captured pictures and time stamps go on with the monotonic clock meanwhile. A file
    keeps its own indices and time stamps, plays at its own rate and ends.

    Args:
        opener: opens the source underneath; called here, and again when it was lost.
        inner: that source, if it is open already.
        max_frames: end after so many frames were taken.
        duration: end after so many seconds.

    Raises:
        SourceError: the source cannot be opened in the first place.
    """

    live = True

    def __init__(
        self,
        opener: Callable[[], Source],
        *,
        inner: Source | None = None,
        max_frames: int | None = None,
        duration: float | None = None,
    ) -> None:
        inner = opener() if inner is None else inner
        self._inner = inner
        self.name = inner.name
        self.size = inner.size
        self.frame_count = inner.frame_count
        self.fov_deg = inner.fov_deg
        self.captured = 0
        """Pictures read so far."""
        self.dropped = 0
        """Of these, replaced by a newer one before anybody took them."""
        self._opener = opener
        self.sound: Sound | None = getattr(inner, "sound", None)
        self._nominal_fps = inner.fps
        self._is_file = not inner.live
        self._max_frames = max_frames
        self._deadline = time.monotonic() + duration if duration is not None else None
        self._first: float | None = None
        self._times: deque[float] = deque(maxlen=_RATE_FRAMES)
        self._lost = ""
        self._attempt = 0
        """Which of BACK_OFF_S comes next."""
        self._connected = time.monotonic()
        self._told = -TOLD_EVERY_S
        self._slot: Frame | None = None
        self._ended = False
        self._error: Exception | None = None
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(inner,), name=f"capture {self.name}", daemon=True
        )
        self._thread.start()

    @property
    def fps(self) -> float:
        """A file's rate; a camera's as measured over the last second, once there is one."""
        times = list(self._times)
        if self._is_file or len(times) < _RATE_FRAMES or times[-1] <= times[0]:
            return self._nominal_fps
        return (len(times) - 1) / (times[-1] - times[0])

    @property
    def status(self) -> str:
        """What is wrong at the moment, for people; empty while pictures come."""
        if self._lost or self._ended or self._is_file or not self._times:
            return self._lost
        silence = time.monotonic() - self._times[-1]
        return f"no picture for {silence:.0f} s" if silence > SILENCE_S else ""

    def __iter__(self) -> Iterator[Frame]:
        delivered = 0
        while self._max_frames is None or delivered < self._max_frames:
            frame = self._take()
            if frame is None:
                return
            yield frame
            delivered += 1

    def close(self) -> None:
        """Stop capturing. A read that hangs in the network is left behind, not waited for."""
        self._stop.set()
        with self._changed:
            self._ended, self._slot = True, None
            self._changed.notify_all()
        self._inner.close()  # wakes the thread where it waits for a picture
        if self._thread is not threading.current_thread():
            self._thread.join(_JOIN_S)

    def _take(self) -> Frame | None:
        """Wait for the newest frame; None at the end."""
        with self._changed:
            while self._slot is None and not self._ended:
                left = None if self._deadline is None else self._deadline - time.monotonic()
                if left is not None and left <= 0:
                    return None
                self._changed.wait(left)
            frame, self._slot = self._slot, None
            if frame is None and self._error is not None:
                error, self._error = self._error, None
                raise error
        return frame

    def _run(self, inner: Source) -> None:
        try:
            self._capture(inner)
        except Exception as error:  # told to whoever iterates: a thread has no caller
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _capture(self, inner: Source | None) -> None:
        while inner is not None:
            with inner:
                if self._is_file:
                    self._play(inner)
                    return
                try:
                    for frame in inner:
                        if self._stop.is_set():
                            return
                        self._put(self._relabelled(frame))
                except SourceError as error:
                    logger.debug("%s", error)
                if self._stop.is_set() or getattr(inner, "finished", False):
                    return
            self._lost = f"{self.name} lost, waiting for it…"
            if time.monotonic() - self._connected >= HELD_S:
                self._attempt = 0
            loud = time.monotonic() - self._told >= TOLD_EVERY_S
            if loud:
                self._told = time.monotonic()
            level = logging.WARNING if loud else logging.DEBUG
            logger.log(level, "%s was lost; waiting for it to come back", self.name)
            inner = self._reopened(level)

    def _play(self, inner: Source) -> None:
        """Read a file at its own rate. Where its clock jumps by hours nobody waits for them."""
        start, last, step = 0.0, 0.0, 1.0 / inner.fps
        for frame in inner:
            now = time.monotonic()
            if not self.captured or is_long_gap(frame.timestamp - last, step):
                start = now - frame.timestamp
            last = frame.timestamp
            if self._stop.wait(max(0.0, start + frame.timestamp - now)):
                return
            self._put(Frame(frame.index, frame.timestamp, frame.image, time.monotonic()))

    def _reopened(self, level: int) -> Source | None:
        """Try until the source is back, and say so at a level; None when told to stop."""
        while not self._stop.wait(BACK_OFF_S[min(self._attempt, len(BACK_OFF_S) - 1)]):
            self._attempt += 1
            try:
                inner = self._opener()
            except SourceError as error:
                logger.debug("attempt %d: %s", self._attempt, error)
                continue
            self._inner = inner
            self._connected = time.monotonic()
            self._lost = ""
            self._times.clear()
            logger.log(level, "%s is back", self.name)
            return inner
        return None

    def _relabelled(self, frame: Frame) -> Frame:
        if self._first is None:
            self._first = frame.captured_at
        timestamp = frame.captured_at - self._first
        return Frame(self.captured, timestamp, fit(frame.image, self.size), frame.captured_at)

    def _put(self, frame: Frame) -> None:
        with self._changed:
            if self._stop.is_set():
                return
            self.captured += 1
            self.dropped += self._slot is not None
            self._times.append(frame.captured_at)
            self._slot = frame
            self._changed.notify_all()
