"""Hands pictures from the workers to the window, at a pace that looks even."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Final

from posemamba_live.run.assembly import Picture

_CAPACITY: Final = 60
"""Pictures of a file that may wait to be shown."""


class Screen:
    """Live, the newest picture; of a file, one after the other.

    A file's poses become final in bursts, a window at a time. They are shown at the mean
    rate at which they come, or at the file's own where that is lower.

    Args:
        fps: of the file; None for live use.
        waits: hold the file back to its own rate; else pictures are left out instead.
    """

    def __init__(self, fps: float | None, *, waits: bool = False) -> None:
        self._fps = fps
        self._waits = waits
        self._pictures: deque[Picture] = deque(maxlen=1 if fps is None else None)
        self._closed = False
        self._held = False
        self._count = 0
        self._began = 0.0
        self._next_at = 0.0
        self._changed = threading.Condition()

    @property
    def waiting(self) -> bool:
        """Whether there is a picture that has to be shown before the end."""
        return self._waits and not self._closed and (self._held or bool(self._pictures))

    @property
    def empty(self) -> bool:
        """Whether no picture waits at the moment."""
        return not self._pictures

    def hold(self) -> None:
        """Stay open after the last picture, until `close`; for a screen that `waits`."""
        self._held = True

    def put(self, picture: Picture) -> None:
        """Add the next picture; waits for room if this screen `waits`."""
        with self._changed:
            while self._waits and len(self._pictures) >= _CAPACITY and not self._closed:
                self._changed.wait()
            if self._fps is not None and len(self._pictures) >= _CAPACITY:
                self._pictures.popleft()
            self._began = self._began or time.monotonic()
            self._count += 1
            self._pictures.append(picture)
            self._changed.notify_all()

    def close(self) -> None:
        """Show no more; nobody waits any longer."""
        with self._changed:
            self._closed = True
            self._pictures.clear()
            self._changed.notify_all()

    def next(self, timeout: float) -> Picture | None:
        """The picture to show now; None if none is due within `timeout` seconds."""
        with self._changed:
            now = time.monotonic()
            if self._pictures and self._next_at > now:
                self._changed.wait(min(timeout, self._next_at - now))
            elif not self._pictures:
                self._changed.wait(timeout)
            now = time.monotonic()
            if not self._pictures or now < self._next_at:
                return None
            picture = self._pictures.popleft()
            self._changed.notify_all()
            if self._fps is not None:
                # From the due time, not from now: a late picture does not delay the rest.
                self._next_at = max(self._next_at, now - self._interval(now)) + self._interval(now)
            return picture

    def _interval(self, now: float) -> float:
        """Seconds from one picture of a file to the next."""
        assert self._fps is not None
        came = (now - self._began) / self._count
        return max(came, 1.0 / self._fps if self._waits else 0.0)
