"""What a batch says of itself while it goes on."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Final, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from posemamba_live.terminal import say

_LINE_S: Final = 60.0
"""Between two lines where there is no terminal."""
_SPAN_S: Final = 0.2


class State:
    """Where a batch is.

    Args:
        videos: to be done.
        size: bytes of them together.
    """

    def __init__(self, videos: int, size: int) -> None:
        self.videos = videos
        self.size = size
        self.done = 0
        self.failed = 0
        self.frames = 0
        """Of the videos that are done."""
        self.running_frames = 0
        """Of those that are not."""
        self.workers = 0
        self._done_size = 0
        self._begun: float | None = None

    def began(self, now: float) -> None:
        """A worker is there: from here on there is a rate."""
        if self._begun is None:
            self._begun = now

    def video_done(self, size: int, frames: int, *, failed: bool) -> None:
        self.done += 1
        self.failed += failed
        self.frames += frames
        self._done_size += size

    def rate(self, now: float) -> float:
        """Frames a second, of all workers."""
        seconds = now - self._begun if self._begun is not None else 0.0
        return (self.frames + self.running_frames) / seconds if seconds > 0.0 else 0.0

    def seconds_left(self, now: float) -> float | None:
        """By the bytes that are done: how many frames are left nobody knows yet."""
        if self._begun is None or not self.done or now <= self._begun:
            return None
        if self._done_size and self.size:
            part = self._done_size / self.size
        else:
            part = self.done / self.videos
        return (now - self._begun) * (1.0 - part) / part if part > 0.0 else None

    def line(self, now: float) -> str:
        """All of it in one line."""
        left = self.seconds_left(now)
        words = [
            f"{self.done}/{self.videos} videos",
            f"{self.rate(now):.1f} frames/s",
            f"{_duration(left)} left" if left is not None else f"{self.workers} workers",
        ]
        return ", ".join([*words, *([f"{self.failed} failed"] if self.failed else [])])


class Shown(Protocol):
    """Shows a state from `__enter__` to `__exit__`, as often as it is called."""

    def __enter__(self) -> Shown: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
    def __call__(self) -> None: ...


class Bar:
    """A bar on a terminal."""

    def __init__(self, state: State, console: Console) -> None:
        self._state = state
        self._progress = Progress(
            BarColumn(), TextColumn("{task.description}", markup=False), console=console
        )
        self._task = self._progress.add_task("starting Ray", total=state.videos)
        self._updated = 0.0

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._progress.stop()

    def __call__(self) -> None:
        now = time.monotonic()
        if now - self._updated >= _SPAN_S:
            self._updated = now
            self._progress.update(
                self._task, completed=self._state.done, description=self._state.line(now)
            )


class Lines:
    """A line from time to time, for logs."""

    def __init__(self, state: State, every: float = _LINE_S) -> None:
        self._state = state
        self._every = every
        self._said = time.monotonic()

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def __call__(self) -> None:
        now = time.monotonic()
        if now - self._said >= self._every:
            self._said = now
            say(self._state.line(now))


def shown_as(state: State, *, quiet: bool) -> Shown:
    """What suits the terminal."""
    console = Console(stderr=True)
    if quiet:
        return Lines(state, float("inf"))
    return Bar(state, console) if console.is_terminal else Lines(state)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
