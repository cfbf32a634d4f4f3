"""What a run says of itself on the terminal while it works, and at its end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from posemamba_live.plan import RunPlan
from posemamba_live.run.statistics import RunStats
from posemamba_live.shown import printable
from posemamba_live.streams.base import StreamFigures

if TYPE_CHECKING:
    from posemamba_live.run.pipeline import Run
    from posemamba_live.run.stage import RunResult

_UPDATE_S: Final = 0.2


class Reporter(Protocol):
    """Shows a run's progress from `__enter__` to `__exit__`."""

    def __enter__(self) -> Reporter: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
    def __call__(self, run: Run) -> None: ...


class Silent:
    """Says nothing: for --quiet, and where stderr is no terminal."""

    def __enter__(self) -> Silent:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def __call__(self, run: Run) -> None:
        pass


class FileProgress:
    """A bar with frames, rate and time left.

    Args:
        name: of the file.
        frames: how many there are, if known.
        console: a terminal.
    """

    def __init__(self, name: str, frames: int | None, console: Console) -> None:
        columns = (
            [BarColumn(), TaskProgressColumn(), MofNCompleteColumn()]
            if frames
            else [SpinnerColumn(), TextColumn("{task.completed} frames")]
        )
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            *columns,
            TextColumn("{task.fields[rate]:.1f} fps"),
            TimeRemainingColumn() if frames else TimeElapsedColumn(),
            console=console,
        )
        self._task = self._progress.add_task(printable(name), total=frames, rate=0.0)
        self._updated = 0.0
        self._drawing: TaskID | None = None
        self._drawing_since = 0.0

    def __enter__(self) -> FileProgress:
        self._progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._progress.stop()

    def __call__(self, run: Run) -> None:
        now = time.monotonic()
        if now - self._updated >= _UPDATE_S:
            self._updated = now
            self._show(run.stats)
            if run.drawn is not None:
                self._show_drawing(run.drawn, run.stats.frames_out, now)

    def _show(self, stats: RunStats) -> None:
        self._progress.update(self._task, completed=stats.frames_out, rate=stats.fps_out)

    def _show_drawing(self, drawn: int, frames: int, now: float) -> None:
        """The recording, which is drawn when all is lifted, has a bar of its own."""
        if self._drawing is None:
            self._drawing = self._progress.add_task("recording", total=frames, rate=0.0)
            self._drawing_since = now
        rate = drawn / max(now - self._drawing_since, 1e-6)
        self._progress.update(self._drawing, completed=drawn, rate=rate)


class LiveStatus:
    """One line that is written over and over: rate, age of the pose, drops, trouble."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._updated = 0.0
        self._counted = (0, 0.0)

    def __enter__(self) -> LiveStatus:
        return self

    def __exit__(self, *exc: object) -> None:
        self._write("")

    def __call__(self, run: Run) -> None:
        now = time.monotonic()
        if now - self._updated < 5 * _UPDATE_S:
            return
        frames, then = self._counted
        rate = (run.stats.frames_out - frames) / (now - then) if then else 0.0
        self._updated, self._counted = now, (run.stats.frames_out, now)
        line = (
            f"{rate:5.1f} poses/s   {run.stats.latency_ms:4.0f} ms old   "
            f"{run.stats.frames_dropped} dropped"
        )
        self._write(f"{line}   {run.status}" if run.status else f"{line}   Ctrl-C ends")

    def _write(self, line: str) -> None:
        self._console.file.write(f"\r\x1b[2K{printable(line)[: self._console.width - 1]}")
        self._console.file.flush()


def reporter(plan: RunPlan) -> Reporter:
    """The reporter that suits the source and the terminal."""
    console = Console(stderr=True)
    if plan.quiet or not console.is_terminal:
        return Silent()
    return LiveStatus(console) if plan.live else FileProgress(plan.source, plan.frames, console)


def summary(result: RunResult, stats: RunStats, written: Sequence[Path], *, live: bool) -> str:
    """A few lines on what was done."""
    people = {0: "nobody seen", 1: "1 person"}.get(result.people, f"{result.people} people")
    lines = [
        f"{result.frames} frames at {stats.fps_out:.1f} fps, {people}, {result.poses} poses"
        + (f", {stats.frames_dropped} frames dropped" if live else "")
    ]
    if live and result.frames:
        lines[0] += f", {stats.latency_ms:.0f} ms from capture to pose (median)"
    lines += [f"wrote {printable(path)}" for path in written]
    lines += [_streamed(figures) for figures in stats.streams]
    return "\n".join(lines)


def _streamed(figures: StreamFigures) -> str:
    line = f"streamed {figures.sent} messages to {figures.url}"
    if figures.dropped:
        line += f", {figures.dropped} dropped"
    return f"{line} ({figures.trouble})" if figures.trouble else line
