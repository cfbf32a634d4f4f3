"""The run: stages, the threads between them, and what happens when one of them ends.

    source -> detector, tracker -> lifter -> scene -> recorder, window, streams
     read          detect           lift      draw      record            stream

A film's recording is drawn when the run is over (`run.redraw`).

Each arrow between stages is a bounded channel. With a file a full channel makes the stage
before it wait, and nothing is dropped. A live source only ever hands out its newest
picture, so that there a wait becomes a dropped frame, not a delay.

Streams never make anything wait: each has a thread of its own, and what it has not taken is
replaced by something newer. One that fails takes nothing with it.

The main thread belongs to whoever called `Run.run`: it keeps the run's time, and calls a loop
of somebody else's (`run.watch` shows the window there) as often as that returns.

A stage that fails ends like one that has finished: the stages after it complete what they
have, the ones before it stop, and the files hold everything up to the failure.

After an interrupt nobody is waited for without a limit: a stage that does not end is left
behind, those after it complete what they have, and what it held is in the journal in 2D.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, Final

from posemamba.checkpoint import Checkpoint
from posemamba.network import use_threads
from posemamba_live.detectors import Models
from posemamba_live.errors import SinkError, SourceError
from posemamba_live.lifting.people import Lifted, People
from posemamba_live.lifting.window import Lifter
from posemamba_live.plan import RunPlan
from posemamba_live.run.assembly import Assembler, Picture
from posemamba_live.run.background import Background
from posemamba_live.run.channel import Channel
from posemamba_live.run.head_start import Found, HeadStart, make_tracker, unseen
from posemamba_live.run.notices import Notices
from posemamba_live.run.outputs import Outputs
from posemamba_live.run.redraw import draw_film, watch_drawing
from posemamba_live.run.screen import Screen
from posemamba_live.run.stage import RunResult, Stage, feed, hanging, until, wait
from posemamba_live.run.statistics import RunStats
from posemamba_live.scene.settings import SceneSettings
from posemamba_live.scene.verticals import plain
from posemamba_live.sources import LiveSource, Source
from posemamba_live.streams import Stream
from posemamba_live.takes.journal import Journal
from posemamba_live.tracking.ahead import with_next
from posemamba_live.types import Frame, LiftedPose, Pose2D, Pose3D

logger = logging.getLogger(__name__)

_FILE_CAPACITY: Final = 8
"""Frames between two stages of a file run: evens out stages whose work comes in bursts."""
_RECORD_CAPACITY: Final = 15
"""Frames that may wait to be recorded live."""
_BEHIND_S: Final = 0.3
"""Seconds that a live recording may be behind, and a crash may lose. Frames that have waited
longer are left out where there is a newer one: a loaded machine draws fewer, not later ones."""
_STREAM_CAPACITY: Final = 64
"""Pictures of a file, which come in bursts, that a stream may be behind; live there is one."""
_IDLE_S: Final = 0.05
_STAGES_S: Final = 2.0
"""Seconds that the stages have after an interrupt, with _CUT_S for each that is left behind."""
_CUT_S: Final = 0.5
_DRAWN_S: Final = 3.8
"""Seconds after an interrupt for which a recording is still drawn."""
_FINISH_S: Final = 4.3
"""Seconds after an interrupt by which files are written, or are left to be made later."""
_SEEN_BY_S: Final = 2.5
"""Seconds after an interrupt by which a film has been seen as a whole; what would take longer is
left out."""
_SEEING_S: Final = 0.002
"""Seconds a pose that the first network takes for that, at most, if little else is running."""
_LONGER: Final = 2.5
"""How much longer the next one may take."""
_SYNC_S: Final = 0.5
_PATIENT_S: Final = 30.0
"""Seconds that a disk has for the last poses, without an interrupt."""


def idle(run: Run) -> None:
    """What a run's thread does where there is no window."""
    time.sleep(_IDLE_S)


class Run:
    """One run from a source to its outputs. Call `run` once, from the main thread.

    Args:
        plan: what was decided; `live` is the source's own.
        source, detector: opened; the caller closes them.
        make_lifter: for each person.
        outputs: files to write.
        averaged: what a film's poses are averaged with when it has been read, in turn, by what
            `meta` calls them.
        stats: filled in as it goes.
        streams: take every picture as soon as its poses are there. They are closed at the end.
        screen: where pictures are handed over to be shown; None where nobody watches.
        start: what is known of the source's first frames; it goes on from there.
    """

    def __init__(
        self,
        plan: RunPlan,
        source: Source,
        detector: Models,
        make_lifter: Callable[[], Lifter],
        outputs: Outputs,
        stats: RunStats,
        *,
        averaged: Mapping[str, Checkpoint] | None = None,
        streams: Sequence[Stream] = (),
        screen: Screen | None = None,
        start: HeadStart | None = None,
    ) -> None:
        self.plan = plan
        self._averaged = {} if averaged is None or plan.live else averaged
        self.source = source
        self.outputs = outputs
        self.stats = stats
        self.status = ""
        """What somebody should know at the moment; empty while all is well."""
        self.drawn: int | None = None
        """Frames of a film's recording that are drawn; None before that begins."""
        self._live = source if isinstance(source, LiveSource) else None
        self._dropped_before = self._live.dropped if self._live else 0
        self._start = start
        self._tracker = start.tracker if start is not None else make_tracker(plan, detector)
        self._people = People(make_lifter, fill_gaps=not plan.live)
        self._background = Background(plan.fov_deg, live=plan.live)
        self._notices = Notices(plan, outputs, self._background)
        self._scene = SceneSettings(plan.heights_m, plan.fov_deg, plan.smooth, plan.pitch_deg)
        self._draws = screen is not None or outputs.recording
        self._draws |= any(getattr(stream, "pictures", False) for stream in streams)
        self._streams = streams
        self._screen = screen
        self._stopping = threading.Event()
        self._interrupted = False
        self._deadline: float | None = None
        self._errors: list[Exception] = []
        self._interrupted_at = float("inf")
        self._poses = outputs.memory()
        self._journal = self._poses if isinstance(self._poses, Journal) else None
        self._stages: list[Stage] = []
        self._doing = ""
        """What the calling thread is in."""
        self._pose_count = 0
        self._person_ids: set[int] = set()

        capacity = 1 if plan.live else _FILE_CAPACITY
        self._frames: Channel[Frame] = Channel(capacity)
        self._detected: Channel[tuple[Frame, list[Pose2D], list[Pose2D]]] = Channel(capacity)
        self._results: Channel[Lifted] = Channel(capacity)
        self._recorded: Channel[tuple[float, Picture]] = Channel(_RECORD_CAPACITY)
        pending = 1 if plan.live else _STREAM_CAPACITY
        self._streamed: list[Channel[Picture]] = [Channel(pending) for _ in streams]

    # What may be asked of a run while it goes on, by any thread.

    def stop(self) -> None:
        """Read no more and complete what was read. Any thread or signal handler may call it."""
        self._stopping.set()

    def interrupt(self) -> None:
        """`stop`, and say in the result that it ended early: within five seconds."""
        if not self._interrupted:
            self._interrupted, self._interrupted_at = True, time.monotonic()
        self.stop()

    def last_words(self) -> str:
        """What hangs and what is kept, when an interrupt has not led to the end in time."""
        if self._journal is not None:
            self._journal.sync(_SYNC_S / 2)
        running = [stage.name for stage in self._stages if stage.thread.is_alive()]
        return "\n".join(filter(None, [hanging([*running, self._doing]), self._kept()]))

    @property
    def working(self) -> bool:
        """Whether pictures may still come."""
        return any(stage.thread.is_alive() for stage in self._stages)

    def choose(self, x: float, y: float) -> None:
        """Follow whoever is at this point, fractions of the picture's width and height."""
        self._tracker.choose(x, y)

    def choose_next(self) -> None:
        """Follow the next person instead of the primary subject."""
        self._tracker.choose_next()

    def solve(self) -> list[Pose3D]:
        """Everything that was lifted so far and is still remembered, placed as one take.

        A film's is seen as a whole before that, unless an interrupt leaves no time for it.
        """
        from posemamba_live.lifting.both_ways import seen_as_a_whole

        poses, plan = self._poses.poses(), self.plan
        expected = _SEEING_S * len(poses)
        for key, checkpoint in self._averaged.items():
            if self._left(_SEEN_BY_S) < expected:
                self.outputs.meta |= {key: None, f"{key}_sha256": None}
                expected = math.inf  # the next one is averaged with what this one made of it
                continue
            began = time.monotonic()
            poses = seen_as_a_whole(poses, checkpoint, fps=plan.fps, fov_deg=plan.fov_deg)
            expected = _LONGER * (time.monotonic() - began)
        return self._scene.solve(poses, self._background.said)

    def run(
        self,
        each: Callable[[Run], None] = idle,
        report: Callable[[Run], None] = lambda run: None,
    ) -> RunResult:
        """Work until the source ends or `stop`, then write the files.

        A loop or a `report` that fails ends the run like any stage that does: in its result.

        Args:
            each: what the calling thread does meanwhile, again and again, with this object: a
                few milliseconds at a time, waiting included.
            report: called after it with this object, and once more at the end.
        """
        threads = self._make_threads()
        if self._start is not None:
            self._start.stop()
        for thread in threads:
            thread.start()
        try:
            while self._goes_on(threads) or self._unseen:
                self._keep_time()
                self._doing = "the window"
                each(self)
                self._doing = "the terminal"
                report(self)
            report(self)
        except Exception as error:  # of the window or the terminal: the files come first
            logger.debug("watching failed", exc_info=error)
            self._errors.append(error)
        finally:
            self._doing = "closing the source"
            self._leave_source()
            self._doing = ""
            left_behind = self._join(threads)
        self._write_files(left_behind, each, report)
        return RunResult(
            frames=self.stats.frames_out,
            poses=self._pose_count,
            people=len(self._person_ids),
            interrupted=self._interrupted,
            errors=(*self._errors, *self.outputs.errors),
            left_behind=tuple(left_behind),
            kept=self._kept(),
        )

    def _goes_on(self, threads: Sequence[threading.Thread]) -> bool:
        return any(thread.is_alive() for thread in threads) and self._left(_STAGES_S) > 0.0

    def _left(self, limit: float) -> float:
        """Seconds until so many after the interrupt; infinity where there was none."""
        return self._interrupted_at + limit - time.monotonic()

    def _join(self, threads: Sequence[threading.Thread]) -> list[str]:
        """Wait for the stages; returns the names of those that an interrupt leaves behind."""
        wait(threads, lambda: self._left(_STAGES_S))
        for stage in self._stages:
            if stage.thread.is_alive():
                # Whoever comes after it gets an end, whoever comes before it is let go.
                stage.release()
                wait(threads, partial(until, time.monotonic() + _CUT_S))
        return [thread.name for thread in threads if thread.is_alive()]

    def _write_files(
        self,
        left_behind: Sequence[str],
        each: Callable[[Run], None],
        report: Callable[[Run], None],
    ) -> None:
        """Recording and exports, as far as an interrupt leaves time for them."""
        journal, lifted = self._journal, "lift" not in left_behind
        if journal is not None:
            seconds = _SYNC_S if self._interrupted else _PATIENT_S
            journal.close(seconds) if lifted else journal.sync(seconds)
        if not self.stats.frames_in:
            self.outputs.unfinished.clear()
            self.outputs.undrawn = None
            if not (self._errors or self._interrupted):
                self._errors.append(SourceError(f"no frame came from {self.plan.source}"))

        solve = cache(self.solve)

        def export() -> None:
            if lifted and self.outputs.unfinished:
                self.outputs.export(solve)
            if lifted and self.outputs.undrawn is not None:
                recording.join()  # what a key began while the film ran is ended first
                draw_film(self, solve, lambda: self._left(_DRAWN_S) > 0.0)

        recording = threading.Thread(target=self.outputs.stop_recording, name="record", daemon=True)
        work = [recording, threading.Thread(target=export, name="export", daemon=True)]
        for thread in work:
            thread.start()
        self._doing = "writing the files"
        if self.outputs.undrawn is not None and not self._errors:
            try:
                watch_drawing(self, work[1], each, report, lambda: not self._interrupted)
            except Exception as error:
                logger.debug("watching failed", exc_info=error)
                self._errors.append(error)
        wait(work, lambda: self._left(_FINISH_S))
        self._doing = ""
        if journal is None:
            return
        if journal.lost:
            self._errors.append(
                SinkError(
                    f"{journal.lost} poses were lost", why="the disk did not take them in time"
                )
            )
        done = lifted and not any(thread.is_alive() for thread in work)
        if done and self.outputs.whole:
            journal.remove()
            self._journal = None

    def _kept(self) -> str:
        return self.outputs.how_to_finish(self._journal) if self._journal is not None else ""

    # The stages: each runs in a thread of its own.

    def _make_threads(self) -> list[threading.Thread]:
        streams = [
            threading.Thread(target=self._stream, args=pair, name="stream", daemon=True)
            for pair in zip(self._streams, self._streamed, strict=True)
        ]
        if self._live is not None:
            self._stages = [
                self._stage("detect", self._detect_live, None, self._detected),
                self._stage("lift", self._lift, self._detected, self._results),
                self._stage("draw", self._draw, self._results, self._recorded),
                self._stage("record", self._record, self._recorded, None),
            ]
        else:
            self._stages = [
                self._stage("read", self._read, None, self._frames),
                self._stage("detect", self._detect, self._frames, self._detected),
                self._stage("lift", self._lift, self._detected, self._results),
                self._stage("draw", self._draw, self._results, None),
            ]
        return [*streams, *(stage.thread for stage in self._stages)]

    def _stage(
        self,
        name: str,
        work: Callable[[], None],
        inbox: Channel[Any] | None,
        outbox: Channel[Any] | None,
    ) -> Stage:
        def body() -> None:
            try:
                work()
            except Exception as error:  # a thread has no caller: the result hands it on
                logger.debug("%s failed", name, exc_info=error)
                self._errors.append(error)
                self.stop()
            finally:
                stage.release()

        stage = Stage(threading.Thread(target=body, name=name, daemon=True), inbox, outbox)
        return stage

    def _read(self) -> None:
        frames = unseen(self.source, self._start, self.plan.duration, self.stats)
        while not self._stopping.is_set():
            with self.stats.stage("read"):
                frame = next(frames, None)
            if frame is None:
                return
            self.stats.frame_in()
            self._frames.put(frame)

    def _detect(self) -> None:
        for found in self._start.found() if self._start is not None else ():
            self._hand_on(found)
        for frame, after in with_next(self._frames):
            self._detect_one(frame, after)

    def _detect_live(self) -> None:
        for frame in self.source:
            if self._stopping.is_set():
                return
            self.stats.frame_in()
            if self._deadline is None and self.plan.duration is not None:
                self._deadline = time.monotonic() + self.plan.duration
            self._detect_one(frame)

    def _detect_one(self, frame: Frame, after: Frame | None = None) -> None:
        with self.stats.stage("detect"):
            poses = self._tracker(frame, after)
        self._hand_on(Found(frame, poses, self._tracker.earlier, self._tracker.in_view))

    def _hand_on(self, found: Found) -> None:
        frame, poses, earlier, in_view = found
        if self._journal is not None:
            self._journal.track([*earlier, *poses])
        self._background(frame, poses)
        self.outputs.meta["background"] = plain(self._background.said)
        self._detected.put((frame, poses, earlier))
        self._notices.look(frame, poses, in_view)  # meanwhile they are lifted

    def _lift(self) -> None:
        use_threads(self.plan.lifter_threads)
        for frame, poses, earlier in self._detected:
            with self.stats.stage("lift"):
                lifted = self._people.push(frame, poses, earlier)
            self._keep(lifted.poses)
            self._results.put(lifted)
        last = self._people.flush()
        self._keep(last.poses)
        self._errors += self._people.trouble
        self._results.put(last)

    def _keep(self, poses: Sequence[LiftedPose]) -> None:
        self._poses.extend(poses)
        self._pose_count += len(poses)
        self._person_ids.update(pose.pose2d.person_id for pose in poses)

    def _draw(self) -> None:
        placed = self._draws or bool(self._streams)
        scene = self._scene.tracker() if placed else None
        assembler = Assembler(scene, self._background, pictures=self._draws)
        try:
            for lifted in self._results:
                for picture in assembler.push(lifted):
                    self._give_out(picture)
        finally:
            for channel in self._streamed:
                channel.close()

    def _give_out(self, picture: Picture) -> None:
        self.stats.frame_out(picture.frame.captured_at)
        for channel in self._streamed:
            channel.push(picture)
        if self._live is not None:
            self._recorded.push((time.monotonic(), picture))
        else:
            self._write(picture)
        if self._screen is not None:
            self._screen.put(picture)

    def _record(self) -> None:
        for given, picture in self._recorded:
            if time.monotonic() - given < _BEHIND_S or not len(self._recorded):
                self._write(picture)

    def _write(self, picture: Picture) -> None:
        if self.outputs.recording:
            with self.stats.stage("draw"):
                self.outputs.write_frame(picture.frame, picture.poses)

    def _stream(self, stream: Stream, pictures: Channel[Picture]) -> None:
        error = feed(stream, pictures)
        if error is not None:
            self._errors.append(error)

    # The calling thread.

    @property
    def _unseen(self) -> bool:
        """Whether a picture waits that has to be shown before the end."""
        return self._screen is not None and self._screen.waiting

    def _keep_time(self) -> None:
        if self._live is not None:
            self.stats.frames_dropped = self._live.dropped - self._dropped_before
            self.status = self._live.status
        if self._deadline is not None and time.monotonic() >= self._deadline:
            self.stop()
        if self._stopping.is_set():
            self._leave_source()

    def _leave_source(self) -> None:
        """Wake whoever waits for a picture or for the window."""
        self.stop()
        if self._screen is not None:
            self._screen.close()
        if self._live is not None:
            self._live.close()
