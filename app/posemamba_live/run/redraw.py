"""The recording of a film, drawn when the run is over: from the solved take, in a second decode.

It shows what the exports hold. Before that, window and streams show an estimate.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from posemamba_live.types import Pose3D

if TYPE_CHECKING:
    import threading

    from posemamba_live.run.pipeline import Run


def draw_film(run: Run, solve: Callable[[], Sequence[Pose3D]], go_on: Callable[[], bool]) -> None:
    """Draw all frames that the run has seen, as long as it may `go_on`."""
    then = time.perf_counter()

    def drawn(count: int) -> None:
        nonlocal then
        then, before = time.perf_counter(), then
        run.stats.stage_took("draw", then - before)
        run.drawn = count

    run.drawn = 0
    run.outputs.draw(solve, run.stats.frames_out, go_on, drawn)


def watch_drawing(
    run: Run,
    drawing: threading.Thread,
    each: Callable[[Run], None],
    report: Callable[[Run], None],
    patient: Callable[[], bool],
) -> None:
    """Keep window and terminal alive meanwhile: it takes a while."""
    while drawing.is_alive() and patient():
        each(run)
        report(run)
    report(run)
