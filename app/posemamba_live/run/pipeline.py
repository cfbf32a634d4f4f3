"""The run: stages, the threads between them, and what happens when one of them ends.

    source -> detector, tracker -> lifter -> scene -> recorder, window, streams
     read          detect           lift      draw      record            stream

Each arrow between stages is a bounded channel. With a file a full channel makes the stage
before it wait, and nothing is dropped. A live source only ever hands out its newest
picture, so that there a wait becomes a dropped frame, not a delay.

Streams never make anything wait: each has a thread of its own, and what it has not taken is
replaced by something newer. One that fails takes nothing with it.

A stage that fails ends like one that has finished: the stages after it complete what they
have, the ones before it stop, and the files hold everything up to the failure.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from posemamba_live.detectors import Detector, Guided
from posemamba_live.errors import LiveError, SinkError
from posemamba_live.lifting.network import use_threads
from posemamba_live.lifting.people import Lifted, People
from posemamba_live.lifting.window import Lifter
from posemamba_live.run.assembly import Assembler, Picture
from posemamba_live.run.channel import Channel
from posemamba_live.run.history import History
from posemamba_live.run.outputs import Outputs, fresh_name
from posemamba_live.run.screen import Screen
from posemamba_live.run.statistics import RunStats
from posemamba_live.scene.scene import SceneTracker, solve_scene
from posemamba_live.sources import LiveSource, Source
from posemamba_live.streams import Stream
from posemamba_live.tracking.people import Subject, Tracker
from posemamba_live.types import Frame, LiftedPose, Pose2D, Pose3D
from posemamba_live.viewer.hud import HudInfo
from posemamba_live.viewer.keys import Action

logger = logging.getLogger(__name__)

_FILE_CAPACITY: Final = 8
"""Frames between two stages of a file run: evens out stages whose work comes in bursts."""
_RECORD_CAPACITY: Final = 30
"""Frames that a live recording may be behind; the next one is left out."""
_STREAM_CAPACITY: Final = 64
"""Pictures of a file, which come in bursts, that a stream may be behind; live there is one."""
_KEPT_POSES: Final = 20_000
"""What "export now" can go back to in an endless run: about ten minutes of one person."""
_IDLE_S: Final = 0.05
_POLL_S: Final = 1.0 / 120.0
_HUD_S: Final = 0.25
"""Seconds after which the window's figures are renewed though there is no new picture."""
_RATE_FRAMES: Final = 45


class Window(Protocol):
    """What the pipeline needs of a viewer (sinks.viewer.Viewer); main thread only."""

    def show(self, frame: Frame, poses: Sequence[Pose3D], hud: HudInfo) -> None: ...
    def poll(self) -> bool: ...
    def take_actions(self) -> list[Action]: ...
    def take_choice(self) -> tuple[float, float] | None: ...
    def notify(self, text: str) -> None: ...
    def screenshot(self, path: Path) -> None: ...


@dataclass(frozen=True, slots=True)
class SceneSettings:
    """How poses become metres."""

    height_m: float
    fov_deg: float
    smooth: float
    """Strength of the One Euro filter, 0 for none."""

    def tracker(self) -> SceneTracker:
        return SceneTracker(self.height_m, self.fov_deg, smooth=self.smooth)

    def solve(self, track: Sequence[LiftedPose]) -> list[Pose3D]:
        return solve_scene(track, self.height_m, self.fov_deg, smooth=self.smooth)


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run went."""

    frames: int
    poses: int
    people: int
    interrupted: bool
    errors: tuple[Exception, ...]
    """What failed, in the order of failing; empty if all went well."""


class Run:
    """One run from a source to its outputs. Call `run` once, from the main thread.

    Args:
        source, detector: opened; the caller closes them.
        make_lifter: for each person.
        scene: how poses become metres.
        outputs: files to write.
        stats: filled in as it goes.
        people: how many at most.
        subject: who comes first where there are more.
        duration: seconds from the first frame on, of a file's own time or of the clock.
        threads: for the network.
        window: shows the run; None without one.
        streams: take every picture as soon as its poses are there. They are closed at the end.
        title: the window's line on source and weights.
    """

    def __init__(
        self,
        source: Source,
        detector: Detector,
        make_lifter: Callable[[], Lifter],
        scene: SceneSettings,
        outputs: Outputs,
        stats: RunStats,
        *,
        people: int = 1,
        subject: Subject = Subject.FIRST,
        duration: float | None = None,
        threads: int = 1,
        window: Window | None = None,
        title: str = "",
        streams: Sequence[Stream] = (),
    ) -> None:
        self.stats = stats
        self.source = source
        self.status = ""
        """What somebody should know at the moment; empty while all is well."""
        self._live = source if isinstance(source, LiveSource) else None
        self._dropped_before = self._live.dropped if self._live else 0
        self._detector = detector
        self._tracker = Tracker(people, subject)
        self._people = People(make_lifter, fill_gaps=not source.live)
        self._scene = scene
        self._outputs = outputs
        self._duration = duration
        self._threads = threads
        self._window = window
        self._title = title
        self._draws = window is not None or outputs.recording
        self._streams = streams
        self._stopping = threading.Event()
        self._interrupted = False
        self._deadline: float | None = None
        self._errors: list[Exception] = []
        # A camera may run for days: without a file to write, only what X may want is kept.
        endless = source.live and not outputs.exports
        self._lifted = History(_KEPT_POSES if endless else None)
        self._pose_count = 0
        self._person_ids: set[int] = set()

        capacity = 1 if source.live else _FILE_CAPACITY
        self._frames: Channel[Frame] = Channel(capacity)
        self._detected: Channel[tuple[Frame, list[Pose2D]]] = Channel(capacity)
        self._results: Channel[Lifted] = Channel(capacity)
        self._recorded: Channel[Picture] = Channel(_RECORD_CAPACITY)
        pending = 1 if source.live else _STREAM_CAPACITY
        self._streamed: list[Channel[Picture]] = [Channel(pending) for _ in streams]
        only_watched = not (outputs.exports or outputs.recording)
        self._screen = Screen(None if source.live else source.fps, waits=only_watched)
        self._shown: Picture | None = None
        self._shown_at = 0.0
        self._show_times: deque[float] = deque(maxlen=_RATE_FRAMES)
        self._paused = False

    def stop(self) -> None:
        """Read no more and complete what was read. Any thread or signal handler may call it."""
        self._stopping.set()

    def interrupt(self) -> None:
        """`stop`, and say in the result that it ended early."""
        self._interrupted = True
        self.stop()

    def run(self, report: Callable[[Run], None] = lambda run: None) -> RunResult:
        """Work until the source ends or `stop`, then write the files.

        Ctrl-C, SIGTERM and a terminal that is closed are taken as `interrupt` meanwhile. A window
        or a `report` that fails ends the run like any stage that does: in its result.

        Args:
            report: called several times a second with this object.
        """
        with _signals(self.interrupt):
            threads = self._stages()
            for thread in threads:
                thread.start()
            try:
                while any(thread.is_alive() for thread in threads) or self._screen.waiting:
                    self._tick()
                    report(self)
                report(self)
            except Exception as error:  # of the window or the terminal: the files come first
                logger.debug("watching failed", exc_info=error)
                self._errors.append(error)
            finally:
                self._leave_source()
                for thread in threads:
                    thread.join()
            self._outputs.stop_recording()
            if self._outputs.exports:
                self._outputs.export(self._solve)
        return RunResult(
            frames=self.stats.frames_out,
            poses=self._pose_count,
            people=len(self._person_ids),
            interrupted=self._interrupted,
            errors=(*self._errors, *self._outputs.errors),
        )

    # The stages: each runs in a thread of its own.

    def _stages(self) -> list[threading.Thread]:
        streams = [
            threading.Thread(target=self._stream, args=pair, name="stream", daemon=True)
            for pair in zip(self._streams, self._streamed, strict=True)
        ]
        if self._live is not None:
            return [
                self._stage("detect", self._detect_live, None, self._detected),
                self._stage("lift", self._lift, self._detected, self._results),
                self._stage("draw", self._draw, self._results, self._recorded),
                self._stage("record", self._record, self._recorded, None),
                *streams,
            ]
        return [
            *streams,
            self._stage("read", self._read, None, self._frames),
            self._stage("detect", self._detect, self._frames, self._detected),
            self._stage("lift", self._lift, self._detected, self._results),
            self._stage("draw", self._draw, self._results, None),
        ]

    def _stage(
        self,
        name: str,
        work: Callable[[], None],
        inbox: Channel[Any] | None,
        outbox: Channel[Any] | None,
    ) -> threading.Thread:
        def body() -> None:
            try:
                work()
            except Exception as error:  # a thread has no caller: the result hands it on
                logger.debug("%s failed", name, exc_info=error)
                self._errors.append(error)
                self.stop()
            finally:
                if inbox is not None:
                    inbox.abandon()
                if outbox is not None:
                    outbox.close()

        return threading.Thread(target=body, name=name, daemon=True)

    def _read(self) -> None:
        frames = iter(self.source)
        end: float | None = None
        while not self._stopping.is_set():
            with self.stats.stage("read"):
                frame = next(frames, None)
            if frame is None:
                return
            if end is None:
                end = frame.timestamp + (self._duration or float("inf"))
            if frame.timestamp >= end:
                return
            self.stats.frame_in()
            self._frames.put(frame)

    def _detect(self) -> None:
        for frame in self._frames:
            self._detect_one(frame)

    def _detect_live(self) -> None:
        for frame in self.source:
            if self._stopping.is_set():
                return
            self.stats.frame_in()
            if self._deadline is None and self._duration is not None:
                self._deadline = time.monotonic() + self._duration
            self._detect_one(frame)

    def _detect_one(self, frame: Frame) -> None:
        with self.stats.stage("detect"):
            if isinstance(self._detector, Guided):
                self._detector.expect(self._tracker.expected(frame.timestamp))
            poses = self._tracker.update(frame, self._detector.detect(frame))
        self._detected.put((frame, poses))

    def _lift(self) -> None:
        use_threads(self._threads)
        for frame, poses in self._detected:
            with self.stats.stage("lift"):
                lifted = self._people.push(frame, poses)
            self._keep(lifted.poses)
            self._results.put(lifted)
        last = self._people.flush()
        self._keep(last.poses)
        self._results.put(last)

    def _keep(self, poses: Sequence[LiftedPose]) -> None:
        self._lifted.extend(poses)
        self._pose_count += len(poses)
        self._person_ids.update(pose.pose2d.person_id for pose in poses)

    def _draw(self) -> None:
        placed = self._draws or bool(self._streams)
        scene = self._scene.tracker() if placed else None
        assembler = Assembler(scene, pictures=self._draws)
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
            self._recorded.offer(picture)
        else:
            self._write(picture)
        if self._window is not None:
            self._screen.put(picture)

    def _record(self) -> None:
        for picture in self._recorded:
            self._write(picture)

    def _write(self, picture: Picture) -> None:
        if self._outputs.recording:
            with self.stats.stage("draw"):
                self._outputs.write_frame(picture.frame, picture.poses)

    def _stream(self, stream: Stream, pictures: Channel[Picture]) -> None:
        try:
            for picture in pictures:
                stream.write(picture.frame, picture.poses)
            stream.close()
        except Exception as error:
            pictures.abandon()
            what = f"streaming to {stream.figures.url} failed"
            logger.debug("%s", what, exc_info=error)
            self._errors.append(SinkError(what, why=f"{type(error).__name__}: {error}"))
        stream.figures.dropped += pictures.lost

    # The main thread.

    def _tick(self) -> None:
        if self._live is not None:
            self.stats.frames_dropped = self._live.dropped - self._dropped_before
            self.status = self._live.status
        if self._deadline is not None and time.monotonic() >= self._deadline:
            self.stop()
        if self._stopping.is_set():
            self._leave_source()
        if self._window is None:
            time.sleep(_IDLE_S)
        else:
            self._show(self._window)

    def _leave_source(self) -> None:
        """Wake whoever waits for a picture or for the window."""
        self.stop()
        self._screen.close()
        if self._live is not None:
            self._live.close()

    def _show(self, window: Window) -> None:
        if not window.poll():
            self.stop()
        for action in window.take_actions():
            self._act(action, window)
        choice = window.take_choice()
        if choice is not None:
            self._tracker.choose(*choice)
        now = time.monotonic()
        if self._paused:
            time.sleep(_POLL_S)
            new = None
        else:
            new = self._screen.next(_POLL_S)
        if new is not None:
            self._shown = new
            self._show_times.append(now)
        if self._shown is not None and (new is not None or now - self._shown_at > _HUD_S):
            self._shown_at = now
            with self.stats.stage("show"):
                window.show(self._shown.frame, self._shown.poses, self._hud(self._shown, now))

    def _hud(self, shown: Picture, now: float) -> HudInfo:
        times = self._show_times
        span = times[-1] - times[0] if len(times) > 1 else 0.0
        age = 1e3 * (now - shown.frame.captured_at)
        return HudInfo(
            fps=(len(times) - 1) / span if span > 0.0 else 0.0,
            age_ms=age if self._live is not None else None,
            dropped=self.stats.frames_dropped,
            status=self.status,
            recording=self._outputs.recording,
            paused=self._paused,
            title=self._title,
        )

    def _act(self, action: Action, window: Window) -> None:
        if action is Action.PAUSE:
            self._paused = not self._paused
        elif action is Action.RECORD:
            done = self._outputs.toggle_recording()
            window.notify("recording" if self._outputs.recording else f"saved {done or 'nothing'}")
        elif action is Action.EXPORT:
            path = self._outputs.export_now(self._solve)
            window.notify(f"saved {path}" if path else "could not export")
        elif action is Action.NEXT:
            self._tracker.choose_next()
        elif action is Action.SCREENSHOT:
            path = fresh_name("screenshot", ".png")
            try:
                window.screenshot(path)
                window.notify(f"saved {path}")
            except LiveError as error:
                window.notify(error.what)

    def _solve(self) -> list[Pose3D]:
        return self._scene.solve(self._lifted.poses())


@contextmanager
def _signals(interrupt: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP call `interrupt`; a third one gives up at once.

    Handlers belong to the main thread; in any other one nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    count = 0

    def handle(signum: int, frame: object) -> None:
        nonlocal count
        count += 1
        if count > 2:
            raise KeyboardInterrupt
        interrupt()

    # What there is of these depends on the platform; nohup has SIGHUP ignored, and means it.
    numbers = [
        number
        for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
        if (number := getattr(signal, name, None)) is not None
        and signal.getsignal(number) is not signal.SIG_IGN
    ]
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
