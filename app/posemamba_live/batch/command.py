"""posemamba-batch: lifts many videos, on this machine or on a Ray cluster."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, NoReturn

from posemamba_live.batch.options import SHARED, BatchOptions, shown
from posemamba_live.command_line import Program, declared_parameters, set_up_logging, start
from posemamba_live.errors import (
    EXIT_FAILURE,
    EXIT_INTERRUPTED,
    EXIT_OK,
    describe,
)
from posemamba_live.options import Options
from posemamba_live.run.signals import Interrupts
from posemamba_live.shown import printable
from posemamba_live.terminal import put, say

_MOST_NAMED: Final = 10
"""Failed videos that are told one by one."""

_program: Final = Program(
    "posemamba-batch",
    lambda error, words: f"{error.format_message()}\n  try:   posemamba-batch --help",
)
app: Final = _program.app


def command(version: bool = False, **given: Any) -> int:
    """Lift many videos, on this machine or on a Ray cluster.

    What is there already is not lifted again; a report names every video.
    """
    values = {name: value for name, value in given.items() if value is not None}
    own = {name: value for name, value in values.items() if name not in SHARED}
    batch = BatchOptions(**own)
    shared = Options(**{name: value for name, value in values.items() if name in SHARED})
    set_up_logging(shared.verbosity, _program.words)
    batch.check(shared)
    return execute(batch, shared)


# The batch's own options, and those that it shares with posemamba-live.
_program.declare(
    command,
    [
        *declared_parameters(BatchOptions),
        *(option for option in declared_parameters(Options) if option[0] in SHARED),
    ],
)


def execute(batch: BatchOptions, shared: Options) -> int:
    """Find the videos, lift what is missing, and report on all of them.

    Returns:
        The exit code.

    Raises:
        LiveError: what keeps the batch from starting.
    """
    from posemamba_live.batch.jobs import plan_jobs
    from posemamba_live.batch.run import Batch
    from posemamba_live.batch.storage import open_folder
    from posemamba_live.batch.videos import check_places, find_videos

    assert batch.output is not None
    with Interrupts() as interrupts:
        folder = open_folder(batch.output)
        videos = find_videos(batch.inputs, batch.suffixes, batch.output)
        check_places(videos, batch.output, batch.suffixes_of_results)
        jobs = plan_jobs(videos, batch, _with_absolute_files(shared), folder)
        if batch.dry_run:
            return _tell_plan(jobs)
        run = Batch(batch, shared, folder, jobs)
        interrupts.run_begins(run.interrupt, partial(say, "error: interrupted"))
        noise = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (for good: Ray has threads)
        with (
            contextlib.nullcontext() if shared.verbosity > 0 else contextlib.redirect_stdout(noise)
        ):
            rows, errors, interrupted = run.run()
        interrupts.run_ended()
    return _tell(batch, shared, rows, errors, interrupted=interrupted)


def _with_absolute_files(shared: Options) -> Options:
    """Workers have other working folders."""
    changes: dict[str, Any] = {}
    for name in ("weights", "detector_model", "person_model"):
        value = getattr(shared, name)
        if value is not None and os.path.isfile(value):
            changes[name] = type(value)(os.path.abspath(value))
    return replace(shared, **changes)


def _tell_plan(jobs: Sequence[Any]) -> int:
    """What would be done, a line for each video."""
    for job in jobs:
        if job.blocked:
            line = f"fail  {shown(job.video.address)}  ({job.blocked} is somebody else's)"
        elif job.why:
            line = f"lift  {shown(job.video.address)}  -> {job.video.name}  ({job.why})"
        else:
            line = f"keep  {shown(job.video.address)}  -> {job.video.name}"
        put(printable(line))
    count = Counter("fail" if job.blocked else "lift" if job.why else "keep" for job in jobs)
    size = sum(job.size for job in jobs if job.why and not job.blocked)
    put(
        f"{len(jobs)} videos: {count['lift']} to lift ({size / 1e6:.1f} MB), "
        f"{count['keep']} to keep" + (f", {count['fail']} would fail" if count["fail"] else "")
    )
    return EXIT_OK


def _tell(
    batch: BatchOptions,
    shared: Options,
    rows: Sequence[Any],
    errors: Sequence[Exception],
    *,
    interrupted: bool,
) -> int:
    from posemamba_live.batch.tables import DONE, FAILED, KEPT, NOT_DONE

    failed = [row for row in rows if row.status == FAILED]
    for row in failed[:_MOST_NAMED]:
        say(f"failed: {printable(row.path)}: {row.error}")
    if len(failed) > _MOST_NAMED:
        say(f"... and {len(failed) - _MOST_NAMED} more")
    for error in errors:
        say(f"error: {describe(error)}")
    count = Counter(row.status for row in rows)
    words = [f"{count[DONE]} done", f"{count[KEPT]} there already", f"{len(failed)} failed"]
    if count[NOT_DONE]:
        words.append(f"{count[NOT_DONE]} not done: the same command goes on with them")
    if shared.verbosity >= 0:
        place = shown(str(batch.output)).rstrip("/")
        put(f"{len(rows)} videos: {', '.join(words)}\nreport: {printable(place)}/report.csv")
    if interrupted:
        say("error: interrupted")
        return EXIT_INTERRUPTED
    return EXIT_FAILURE if failed or errors or count[NOT_DONE] else EXIT_OK


def run(arguments: Sequence[str]) -> int:
    """Run the command; every failure becomes one message on stderr and an exit code."""
    return _program.run(arguments)


def main() -> NoReturn:
    """Entry point."""
    start(run)
