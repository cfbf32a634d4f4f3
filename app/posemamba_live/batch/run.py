"""A batch from its jobs to its report."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from functools import partial

from posemamba_live.batch.cluster import Cluster, Needs
from posemamba_live.batch.engine import Answer, Engine
from posemamba_live.batch.jobs import Job
from posemamba_live.batch.options import BatchOptions, scheme_of, shown
from posemamba_live.batch.progress import State, shown_as
from posemamba_live.batch.receipt import Figures, receipt_name
from posemamba_live.batch.storage import Folder
from posemamba_live.batch.tables import FAILED, KEPT, NOT_DONE, ReportRow, write_report
from posemamba_live.batch.worker import Outcome, VideoWorker, Work
from posemamba_live.errors import LiveError
from posemamba_live.options import Options
from posemamba_live.terminal import say


class Batch:
    """Lifts what is missing. Call `run` once, from the main thread.

    Args:
        batch, shared: options.
        folder: of the results.
        jobs: one for each video, those with nothing to do included.
    """

    def __init__(
        self, batch: BatchOptions, shared: Options, folder: Folder, jobs: Sequence[Job]
    ) -> None:
        self._batch = batch
        self._shared = shared
        self._folder = folder
        self._jobs = jobs
        self._rows: dict[str, ReportRow] = {}
        """By the names of the videos' results."""
        self._stopping = threading.Event()
        self._strange_hosts: set[str] = set()
        missing = [job for job in jobs if job.why and not job.blocked]
        self._missing = missing
        self._state = State(len(missing), sum(job.size for job in missing))

    def interrupt(self) -> None:
        """End as soon as can be; any thread may say so."""
        self._stopping.set()

    def run(self) -> tuple[list[ReportRow], list[Exception], bool]:
        """Returns a row for each video, what else failed, and whether it was interrupted."""
        errors: list[Exception] = []
        for job in self._jobs:
            self._rows[job.video.name] = _row_before(job)
        self._folder.tidy()
        if self._missing:
            try:
                self._lift()
            except LiveError as error:
                errors.append(error)
        rows = list(self._rows.values())
        errors += write_report(self._folder, rows)
        return rows, errors, self._stopping.is_set()

    def _lift(self) -> None:
        batch = self._batch
        needs = Needs(
            batch.address, batch.workers, batch.cpus_per_worker, batch.gpus_per_worker,
            batch.dashboard, verbose=self._shared.verbosity > 0,
        )  # fmt: skip
        assert batch.output is not None
        work = Work(
            self._output(), batch.suffixes_of_exports, batch.record, self._shared,
            batch.cpus_per_worker, on_gpu=batch.gpus_per_worker > 0.0,
        )  # fmt: skip
        with shown_as(self._state, quiet=self._shared.verbosity < 0) as show, Cluster(needs) as ray:
            engine: Engine[Job] = Engine(ray, partial(VideoWorker, work), self._take, say)

            def tick() -> None:
                state = self._state
                state.workers, state.running_frames = engine.workers, engine.frames
                if state.workers:
                    state.began(time.monotonic())
                show()

            engine.run(self._missing, self._stopping.is_set, tick)

    def _output(self) -> str:
        from posemamba_live.batch.storage import local_path

        path = local_path(str(self._batch.output))
        return str(path) if path is not None else str(self._batch.output)

    def _take(self, answer: Answer[Job]) -> None:
        video, who = answer.job.video, answer.worker
        outcome = answer.outcome
        if not isinstance(outcome, Outcome):
            outcome = Outcome(FAILED, Figures(), answer.error)
        host, worker = (who.host, str(who.process)) if who is not None else ("", "")
        figures = outcome.figures
        if outcome.status == KEPT:
            host, worker = figures.host, figures.worker
        self._rows[video.name] = ReportRow(
            shown(video.address), outcome.status, outcome.error, figures.frames, figures.people,
            figures.poses, figures.fps, figures.seen, figures.seconds, host, worker, video.name,
        )  # fmt: skip
        failed = outcome.status == FAILED
        self._state.video_done(answer.job.size, figures.frames, failed=failed)
        if not failed and host not in self._strange_hosts:
            self._strange_hosts.add(host)
            self._look_for(answer.job, host)

    def _look_for(self, job: Job, host: str) -> None:
        """A folder of results that each machine has for itself is a mistake."""
        output = str(self._batch.output)
        if scheme_of(output) or self._folder.size(receipt_name(job.video.name)) is not None:
            return
        say(
            f"warning: what {host} writes to {output} is not to be seen here: the folder of "
            "results has to be one that all machines share"
        )


def _row_before(job: Job) -> ReportRow:
    """What is known of a job before anything is done."""
    path, name = shown(job.video.address), job.video.name
    if job.blocked:
        error = f"{job.blocked} exists already and is not from a batch; --force replaces it"
        return ReportRow(path, FAILED, error, name=name)
    if job.why or job.before is None:
        return ReportRow(path, NOT_DONE, name=name)
    made = job.before.figures
    return ReportRow(
        path, KEPT, "", made.frames, made.people, made.poses, made.fps, made.seen, made.seconds,
        made.host, made.worker, name,
    )  # fmt: skip
