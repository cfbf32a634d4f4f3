"""The run as a whole: nothing lost in files, nothing late in live use, every ending clean.

Detector and source are stand-ins where a test is about order, failure or time; the stages,
threads, lifters and files are the real ones.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posemamba.checkpoint import Checkpoint
from posemamba.network import Network
from posemamba_live.detectors.base import Circle, Found, OneStage, Region
from posemamba_live.errors import DetectorError, LiveError, SinkError, SourceError
from posemamba_live.lifting.batching import Lifting
from posemamba_live.lifting.people import Lifted
from posemamba_live.lifting.window import FileLifter, Lifter, LiveLifter
from posemamba_live.options import Options
from posemamba_live.plan import RunPlan, plan_run
from posemamba_live.run import pipeline
from posemamba_live.run.assembly import Assembler
from posemamba_live.run.background import Background
from posemamba_live.run.channel import Channel
from posemamba_live.run.notices import Notices
from posemamba_live.run.outputs import Outputs
from posemamba_live.run.pipeline import Run, RunResult, idle
from posemamba_live.run.statistics import Reservoir, RunStats
from posemamba_live.run.watch import Watch
from posemamba_live.scene.settings import SceneSettings
from posemamba_live.sources import LiveSource, Source
from posemamba_live.streams import StreamFigures
from posemamba_live.takes.journal import Journal
from posemamba_live.takes.journal_content import read_content
from posemamba_live.takes.recovery import recover
from posemamba_live.types import Detection, FloatArray, Frame, LiftedPose, Pose2D, Pose3D
from posemamba_live.viewer.hud import HudInfo
from posemamba_live.viewer.keys import Action
from tests.conftest import WINDOW

FPS = 30.0
SIZE = (320, 240)


class Film(Source):
    """A source of blank pictures that may fail on the way."""

    live = False

    def __init__(self, frames: int, *, fps: float = FPS, fail_at: int = -1) -> None:
        self.name, self.size, self.frame_count = "film", SIZE, frames
        self.read = 0
        self._fps = fps
        self._fail_at = fail_at

    @property
    def fps(self) -> float:
        return self._fps

    def __iter__(self) -> Iterator[Frame]:
        for i in range(self.frame_count or 0):
            if i == self._fail_at:
                raise SourceError("the film has torn")
            self.read += 1
            image = np.zeros((self.size[1], self.size[0], 3), np.uint8)
            yield Frame(i, i / self._fps, image, time.monotonic())

    def close(self) -> None:
        pass


def found(keypoints: FloatArray) -> Found:
    """What a one-stage model says of somebody who is plainly there."""
    seen = Detection(keypoints, np.full(17, 0.9, np.float32))
    low, high = keypoints.min(0), keypoints.max(0)
    middle = (float(keypoints[0, 0]), float(keypoints[0, 1]))
    radius = 0.5 * float(np.hypot(*(high - low)))
    return Found(seen, 1.0, Region.of_box(np.array([*low, *high])), Circle(middle, radius))


class Finder:
    """Finds one person, who moves with the frame's index, except in the frames `blind`."""

    def __init__(
        self,
        *,
        blind: Sequence[int] = (),
        fail_at: int = -1,
        on_frame: Callable[[int], None] = lambda index: None,
    ) -> None:
        self._body = np.random.default_rng(3).uniform(-50, 50, (17, 2))
        self._blind, self._fail_at, self._on_frame = set(blind), fail_at, on_frame

    def detect(self, frame: Frame) -> list[Found]:
        self._on_frame(frame.index)
        if frame.index == self._fail_at:
            raise DetectorError("the detector is broken")
        if frame.index in self._blind:
            return []
        centre = np.array([100.0 + 0.5 * frame.index, 120.0])
        return [found((centre + self._body).astype(np.float32))]

    def describe(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        pass


class Tape:
    """A recording that only remembers, and may run out of room."""

    def __init__(self, fail_at: int = -1) -> None:
        self.frames: list[int] = []
        self.people: list[int] = []
        self.closed = 0
        self._fail_at = fail_at

    def write(self, frame: Frame, poses: Sequence[Pose3D]) -> None:
        if len(self.frames) == self._fail_at:
            raise SinkError("cannot record", why="No space left on device")
        self.frames.append(frame.index)
        self.people.append(len(poses))

    def close(self) -> None:
        self.closed += 1

    def discard(self) -> None:
        self.frames.clear()


@pytest.fixture
def file_lifter(tiny_checkpoint: Checkpoint) -> Callable[[], Lifter]:
    return partial(FileLifter, Network(tiny_checkpoint, fov_deg=60.0))


@pytest.fixture
def live_lifter(tiny_checkpoint: Checkpoint) -> Callable[[], Lifter]:
    return partial(LiveLifter, Network(tiny_checkpoint, fov_deg=60.0), 2)


def outputs(folder: Path, tape: Tape | None = None, name: str = "poses.npz") -> Outputs:
    return Outputs(
        exports=[folder / name],
        record=folder / "tape.mp4" if tape is not None else None,
        open_recorder=lambda path, take: tape if tape is not None else Tape(),
        meta={"fps": FPS, "image_size": SIZE},
    )


def plan(source: Source, out: Outputs, **changes: Any) -> RunPlan:
    made = plan_run(Options(heights=(1.7,)), source)
    return replace(made, exports=out.exports, record=out.record, **changes)


def run(
    source: Source,
    detector: Finder,
    make: Callable[[], Lifter],
    out: Outputs,
    *,
    window: FakeWindow | None = None,
    streams: Sequence[Antenna] = (),
    **plan_changes: Any,
) -> tuple[RunResult, RunStats]:
    stats = RunStats("cpu", "test")
    made = plan(source, out, **plan_changes)
    watch = Watch(window, made) if window is not None else None
    screen = watch.screen if watch is not None else None
    models = OneStage("finder", detector)
    run = Run(made, source, models, make, out, stats, streams=streams, screen=screen)
    return run.run(watch or idle), stats


def rows(folder: Path, key: str = "frame_index") -> list[int]:
    with np.load(folder / "poses.npz", allow_pickle=False) as data:
        return list(data[key])


# -- files -----------------------------------------------------------------------------------


def test_every_frame_of_a_file_is_recorded_and_exported(
    file_lifter: Callable[[], Lifter], tmp_path: Path
) -> None:
    tape = Tape()
    result, stats = run(Film(100), Finder(), file_lifter, outputs(tmp_path, tape))
    assert tape.frames == rows(tmp_path) == list(range(100))
    assert (result.frames, result.poses, result.people) == (100, 100, 1)
    assert (result.errors, result.interrupted) == ((), False)
    values = stats.to_dict()
    assert (values["frames_in"], values["frames_dropped"], values["frames_out"]) == (100, 0, 100)
    assert {"read", "detect", "lift", "draw"} == set(values["stage_ms"])
    assert tape.closed == 1


class Pan(Film):
    """A camera that turns past a wall full of posters."""

    def __iter__(self) -> Iterator[Frame]:
        posters = np.random.default_rng(4).integers(0, 255, (30, 80, 3), np.uint8)
        wall = posters.repeat(10, 0).repeat(10, 1)
        for frame in super().__iter__():
            view = wall[:, 2 * frame.index : 2 * frame.index + SIZE[0]][: SIZE[1]]
            yield replace(frame, image=np.ascontiguousarray(view))


@pytest.mark.parametrize(("kind", "told"), [(Film, 0), (Pan, 1)])
def test_a_camera_that_moves_is_told_once_and_marked(
    kind: type[Film],
    told: int,
    file_lifter: Callable[[], Lifter],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run(kind(60), Finder(), file_lifter, outputs(tmp_path))
    assert sum("camera moves" in record.message for record in caplog.records) == told
    with np.load(tmp_path / "poses.npz", allow_pickle=False) as data:
        assert json.loads(str(data["meta"])).get("camera_moves", False) == bool(told)


def test_a_journal_knows_that_the_camera_moved(
    file_lifter: Callable[[], Lifter], tmp_path: Path
) -> None:
    """A run that was cut off, as far as its journal says."""
    made = outputs(tmp_path)
    made.meta["camera_moves"] = False
    journal = made.memory()
    assert isinstance(journal, Journal)
    journal.begin()
    assert journal.sync(10.0)
    notices = Notices(plan(Pan(60), made), made, Background(60.0, live=False))
    for frame in Pan(60):
        notices.look(frame, [], 0)
    assert journal.sync(10.0)
    assert journal.path is not None
    with open(journal.path, "rb") as file:
        content = read_content(file)
    assert content.meta["camera_moves"] is True
    assert not content.complete
    journal.close()


def test_short_gaps_are_filled_and_long_ones_are_empty(
    file_lifter: Callable[[], Lifter], tmp_path: Path
) -> None:
    tape = Tape()
    blind = [0, 1, *range(20, 24), *range(50, 70), 89]
    run(Film(90), Finder(blind=blind), file_lifter, outputs(tmp_path, tape))
    missing = {0, 1, *range(50, 70), 89}
    assert rows(tmp_path) == [i for i in range(90) if i not in missing]
    predicted = dict(zip(rows(tmp_path), rows(tmp_path, "predicted"), strict=True))
    assert [i for i, filled in predicted.items() if filled] == [20, 21, 22, 23]
    assert tape.frames == list(range(90)), "frames without anybody are recorded too"
    assert tape.people == [int(i not in missing) for i in range(90)]
    assert set(rows(tmp_path, "person_id")) == {0}, "within a second it is the same person"


def test_a_film_without_anybody(file_lifter: Callable[[], Lifter], tmp_path: Path) -> None:
    tape = Tape()
    result, _ = run(Film(30), Finder(blind=range(30)), file_lifter, outputs(tmp_path, tape))
    assert (result.frames, result.poses, result.people) == (30, 0, 0)
    assert rows(tmp_path) == []
    assert tape.people == [0] * 30


def test_duration_is_a_files_own_time(file_lifter: Callable[[], Lifter], tmp_path: Path) -> None:
    run(Film(100), Finder(), file_lifter, outputs(tmp_path), duration=1.0)
    assert rows(tmp_path) == list(range(30))


def test_reading_never_runs_far_ahead(file_lifter: Callable[[], Lifter], tmp_path: Path) -> None:
    film = Film(120)
    ahead: list[int] = []
    finder = Finder(on_frame=lambda index: ahead.append(film.read - index))
    run(film, finder, file_lifter, outputs(tmp_path))
    assert max(ahead) < 15


@pytest.mark.parametrize("broken", ["source", "detector", "lifter"])
def test_what_came_before_a_failure_is_kept(
    broken: str, file_lifter: Callable[[], Lifter], tmp_path: Path
) -> None:
    class Breaking(FileLifter):
        def pushing(self, pose: Pose2D) -> Lifting:
            if pose.frame_index == 60:
                raise RuntimeError("no more")
            return super().pushing(pose)

    make = file_lifter
    if broken == "lifter":
        assert isinstance(file_lifter, partial)
        make = partial(Breaking, *file_lifter.args)
    tape = Tape()
    result, _ = run(
        Film(90, fail_at=60 if broken == "source" else -1),
        Finder(fail_at=60 if broken == "detector" else -1),
        make,
        outputs(tmp_path, tape),
    )
    assert len(result.errors) == 1
    assert not result.interrupted
    kept = rows(tmp_path)
    # What the lifter still held is lost with it, and nothing else.
    assert kept == list(range(len(kept)))
    assert len(kept) == 60 if broken != "lifter" else len(kept) > 60 - 8 * WINDOW
    assert tape.closed == 1


def test_a_recording_that_fails_takes_nothing_with_it(
    file_lifter: Callable[[], Lifter], tmp_path: Path
) -> None:
    tape = Tape(fail_at=10)
    result, _ = run(Film(60), Finder(), file_lifter, outputs(tmp_path, tape))
    *first, last = result.errors
    assert all(error.what.startswith("cannot record to ") for error in first)
    assert all(error.hint.startswith("it goes on in ") for error in first)
    assert str(last).splitlines()[0] == "cannot record"
    assert len(first) > 0
    assert len(result.errors) < 6
    assert rows(tmp_path) == list(range(60))
    assert tape.closed == len(result.errors)


def test_after_an_encoders_error_the_recording_goes_on_in_another_file(
    file_lifter: Callable[[], Lifter], tmp_path: Path
) -> None:
    tapes = [Tape(fail_at=10), Tape()]
    (tmp_path / "tape.mp4").write_text("what was recorded before the error")
    opened: list[Path] = []

    def open_recorder(path: Path, take: object) -> Tape:
        opened.append(path)
        return tapes[len(opened) - 1]

    out = replace(outputs(tmp_path, Tape()), open_recorder=open_recorder)
    result, _ = run(Film(60), Finder(), file_lifter, out)
    (error,) = result.errors
    assert error.what == f"cannot record to {tmp_path / 'tape.mp4'}"
    assert error.hint == f"it goes on in {tmp_path / 'tape-2.mp4'}"
    assert opened == [tmp_path / "tape.mp4", tmp_path / "tape-2.mp4"]
    assert [*tapes[0].frames, *tapes[1].frames] == [i for i in range(60) if i != 10]
    assert [tape.closed for tape in tapes] == [1, 1]


def test_an_export_that_fails_takes_nothing_with_it(
    file_lifter: Callable[[], Lifter], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    tape = Tape()
    out = replace(
        outputs(tmp_path, tape), exports=[tmp_path / "gone" / "first.npz", tmp_path / "poses.npz"]
    )
    result, _ = run(Film(40), Finder(), file_lifter, out)
    assert len(result.errors) == 1
    assert "first.npz instead" in str(result.errors[0])
    assert rows(tmp_path) == tape.frames == list(range(40))
    assert [path.name for path in here.iterdir()] == ["first.npz"]


def test_a_run_without_a_frame_leaves_no_file(
    file_lifter: Callable[[], Lifter], tmp_path: Path
) -> None:
    result, _ = run(Film(0), Finder(), file_lifter, outputs(tmp_path, Tape()))
    assert [str(error) for error in result.errors] == ["no frame came from film"]
    assert list(tmp_path.iterdir()) == []


def test_a_take_that_cannot_be_solved_leaves_the_journal(
    file_lifter: Callable[[], Lifter], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> list[Pose3D]:
        raise LiveError("the take cannot be solved", why="a network is damaged")

    monkeypatch.setattr(SceneSettings, "solve", fail)
    result, _ = run(Film(60), Finder(), file_lifter, outputs(tmp_path))
    assert [str(error) for error in result.errors] == [
        "the take cannot be solved\n  cause: a network is damaged"
    ]
    assert f"posemamba-export {tmp_path / 'poses.npz.journal'}" in result.kept
    assert len(recover(tmp_path / "poses.npz.journal").take.poses) == 60


@pytest.mark.parametrize("in_time", [True, False])
def test_after_an_interrupt_films_are_averaged_as_far_as_there_is_time(
    in_time: bool,
    file_lifter: Callable[[], Lifter],
    tiny_checkpoint: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    averaged = {"second_weights": tiny_checkpoint, "whole_weights": tiny_checkpoint}
    told = dict.fromkeys(averaged, "tiny") | {f"{key}_sha256": "0" * 64 for key in averaged}
    if not in_time:
        monkeypatch.setattr(pipeline, "_SEEN_BY_S", 0.0)
    joints = []
    for own in (averaged, {}):
        out, runs = outputs(tmp_path, name=f"{len(own)}.npz"), list[Run]()
        out.meta |= told
        film = Film(60)
        finder = Finder(on_frame=lambda index: runs[0].interrupt() if index == 59 else None)  # noqa: B023
        models, stats = OneStage("finder", finder), RunStats("cpu", "test")
        runs.append(Run(plan(film, out), film, models, file_lifter, out, stats, averaged=own))
        assert runs[0].run().interrupted
        with np.load(out.exports[0], allow_pickle=False) as data:
            joints.append(data["joints_3d"])
            meta = json.loads(str(data["meta"]))
        if own:
            left = {key: meta[key] for key in told}
            assert left == (told if in_time else dict.fromkeys(told))
    assert np.array_equal(*joints) != in_time


def test_interrupting_completes_what_was_read(
    file_lifter: Callable[[], Lifter], tmp_path: Path
) -> None:
    tape = Tape()
    film = Film(100_000)
    runs: list[Run] = []

    def watch(index: int) -> None:
        if index == 50:
            runs[0].interrupt()

    out = outputs(tmp_path, tape)
    finder = Finder(on_frame=watch)
    runs.append(
        Run(plan(film, out), film, OneStage("finder", finder), file_lifter, out, RunStats())
    )
    result = runs[0].run()
    assert result.interrupted
    assert rows(tmp_path) == tape.frames == list(range(film.read))
    assert 50 < film.read < 80


def test_large_pictures_are_kept_small_and_keypoints_with_them(
    file_lifter: Callable[[], Lifter],
) -> None:
    size = (3840, 2160)
    pose2d = Pose2D(0, 0.0, 0, np.full((17, 2), 1920.0, np.float32), np.ones(17), size)
    rng = np.random.default_rng(0)
    lifted = LiftedPose(pose2d, rng.normal(size=(17, 3)).astype(np.float32), 0)
    frame = Frame(0, 0.0, np.zeros((2160, 3840, 3), np.uint8), 0.0)
    background = Background(60.0, live=False)
    scene = SceneSettings(1.7, 60.0, 0.0).tracker()
    (picture,) = Assembler(scene, background).push(Lifted(frame, [lifted], 0))
    assert picture.frame.size == picture.poses[0].pose2d.image_size == (1280, 720)
    np.testing.assert_allclose(picture.poses[0].pose2d.keypoints, 640.0)


# -- live ------------------------------------------------------------------------------------


class Camera(Film):
    """The film at 60 frames a second, as a camera that never ends by itself."""

    live = True

    def __iter__(self) -> Iterator[Frame]:
        for frame in super().__iter__():
            time.sleep(1 / 60)
            yield frame


def test_live_drops_what_it_cannot_follow_and_says_so(
    live_lifter: Callable[[], Lifter], tmp_path: Path
) -> None:
    slow = Finder(on_frame=lambda index: time.sleep(0.05))
    tape = Tape()
    with LiveSource(lambda: Camera(100_000)) as camera:
        result, stats = run(camera, slow, live_lifter, outputs(tmp_path, tape), duration=1.5)
    values = stats.to_dict()
    assert values["frames_dropped"] > 10
    assert values["frames_in"] == values["frames_out"] + values["frames_dropped"]
    assert result.frames == values["frames_out"] == len(tape.frames)
    assert (np.diff(tape.frames) > 1).any()
    assert rows(tmp_path) == tape.frames, "the last `delay` frames are given out at the end"
    assert values["latency_ms"]["p50"] > 50.0
    assert not result.errors


def test_a_live_run_can_be_interrupted_while_the_camera_is_silent(
    live_lifter: Callable[[], Lifter], tmp_path: Path
) -> None:
    silent = threading.Event()

    class Silent(Camera):
        def __iter__(self) -> Iterator[Frame]:
            for frame in super().__iter__():
                if frame.index == 20:
                    silent.wait(20.0)
                yield frame

    with LiveSource(lambda: Silent(100)) as camera:
        stats, out = RunStats(), outputs(tmp_path)
        models = OneStage("finder", Finder())
        live = Run(plan(camera, out), camera, models, live_lifter, out, stats)
        threading.Timer(1.0, live.interrupt).start()
        result = live.run()
        silent.set()
    assert result.interrupted
    assert 0 < len(rows(tmp_path)) <= 20


class FakeWindow:
    """A window without a screen: remembers what it was shown, presses keys at given frames."""

    def __init__(self, keys: dict[int, Action], close_at: int | None = None) -> None:
        self.shown: list[int] = []
        self.huds: list[HudInfo] = []
        self.notices: list[str] = []
        self.subjects: list[float] = []
        """Where the first person is, across the picture."""
        self.clicks: dict[int, tuple[float, float]] = {}
        """By the number of frames shown: where in the picture."""
        self._keys, self._close_at = dict(keys), close_at
        self._thread = threading.current_thread()

    def show(self, frame: Frame, poses: Sequence[Pose3D], hud: HudInfo) -> None:
        assert threading.current_thread() is self._thread
        if not self.shown or self.shown[-1] != frame.index:
            self.shown.append(frame.index)
        self.huds.append(hud)
        self.subjects += [float(pose.pose2d.keypoints[:, 0].mean()) for pose in poses[:1]]

    def poll(self) -> bool:
        return self._close_at is None or len(self.shown) < self._close_at

    def take_actions(self) -> list[Action]:
        due = [count for count in self._keys if count <= len(self.shown)]
        return [self._keys.pop(count) for count in due]

    def take_choice(self) -> tuple[float, float] | None:
        due = [count for count in self.clicks if count <= len(self.shown)]
        return self.clicks.pop(due[0]) if due else None

    def notify(self, text: str) -> None:
        self.notices.append(text)

    def end_introduction(self) -> None:
        pass

    def screenshot(self, path: Path) -> None:
        path.write_bytes(b"picture")


class Pair(Finder):
    """Finds two people who stand beside each other."""

    def detect(self, frame: Frame) -> list[Found]:
        left = (self._body + np.array([90, 120])).astype(np.float32)
        return [found(left), found(left * 0.8 + np.float32([160, 30]))]


@pytest.mark.parametrize("how", ["click", "key"])
def test_a_click_and_a_key_choose_another_subject(
    how: str, file_lifter: Callable[[], Lifter], tmp_path: Path
) -> None:
    window, pair = FakeWindow({5: Action.NEXT} if how == "key" else {}), Pair()
    if how == "click":
        window.clicks[5] = (232 / SIZE[0], 126 / SIZE[1])
    out = Outputs([], None, lambda path, take: Tape(), {"fps": FPS, "image_size": SIZE})
    result, _ = run(Film(250, fps=120.0), pair, file_lifter, out, window=window)
    assert (result.errors, result.people, result.poses) == ((), 2, 250)
    assert window.subjects[0] < 125.0 < window.subjects[-1], "the larger one, on the left, first"
    assert len(window.shown) == 250


def test_the_window_shows_a_file_in_order_and_its_keys_work(
    file_lifter: Callable[[], Lifter], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tapes: list[Tape] = []

    def open_tape(path: Path, take: object) -> Tape:
        tapes.append(Tape())
        return tapes[-1]

    keys = {5: Action.RECORD, 15: Action.RECORD, 16: Action.EXPORT, 20: Action.SCREENSHOT}
    window = FakeWindow(keys)
    out = Outputs([], None, open_tape, {"fps": FPS, "image_size": SIZE})
    # Longer than what may wait to be shown, so that keys come while frames do.
    result, stats = run(Film(200, fps=200.0), Finder(), file_lifter, out, window=window)
    assert window.shown == list(range(200)), "a file that is only watched is shown whole"
    assert result.errors == ()
    assert len(tapes) == 1
    assert tapes[0].closed == 1
    assert any(hud.recording for hud in window.huds)
    assert [notice.split(" ")[0] for notice in window.notices] == ["recording", *["saved"] * 3]
    assert len(list(tmp_path.glob("poses-*.npz"))) == 1
    assert len(list(tmp_path.glob("screenshot-*.png"))) == 1
    assert "show" in stats.to_dict()["stage_ms"]


def test_closing_the_window_ends_the_run_with_its_files(
    file_lifter: Callable[[], Lifter], tmp_path: Path
) -> None:
    window = FakeWindow({}, close_at=10)
    result, _ = run(Film(100_000), Finder(), file_lifter, outputs(tmp_path), window=window)
    assert not result.interrupted
    assert rows(tmp_path) == list(range(result.frames))
    assert result.frames >= 10


@pytest.mark.parametrize("live", [False, True])
def test_a_window_that_fails_takes_nothing_with_it(
    live: bool,
    file_lifter: Callable[[], Lifter],
    live_lifter: Callable[[], Lifter],
    tmp_path: Path,
) -> None:
    class Broken(FakeWindow):
        def poll(self) -> bool:
            if len(self.shown) >= 10:
                raise ValueError("negative dimensions are not allowed")
            return True

    tape = Tape()
    out = outputs(tmp_path, tape)
    film = Camera(100_000) if live else Film(100_000)
    make = live_lifter if live else file_lifter
    result, _ = run(
        LiveSource(lambda: film) if live else film, Finder(), make, out, window=Broken({})
    )
    assert [str(error) for error in result.errors] == ["negative dimensions are not allowed"]
    assert not result.interrupted
    assert len(rows(tmp_path)) >= 10
    assert tape.closed == 1


def test_pause_holds_the_live_picture_while_work_goes_on(
    live_lifter: Callable[[], Lifter], tmp_path: Path
) -> None:
    window = FakeWindow({5: Action.PAUSE})
    with LiveSource(lambda: Camera(100_000)) as camera:
        result, _ = run(
            camera, Finder(), live_lifter, outputs(tmp_path), window=window, duration=1.0
        )
    assert len(window.shown) == 5
    assert window.huds[-1].paused
    assert result.frames > 10


# -- streams ---------------------------------------------------------------------------------


class Antenna:
    """A stream that only remembers; it may hang in its first picture, or break."""

    def __init__(self, *, wait: threading.Event | None = None, fail_at: int = -1) -> None:
        self.figures = StreamFigures("test://antenna")
        self.frames: list[int] = []
        self.poses: list[Pose3D] = []
        self.closed = 0
        self._wait, self._fail_at = wait, fail_at

    def write(self, frame: Frame, poses: Sequence[Pose3D]) -> None:
        if self._wait is not None:
            self._wait.wait(240.0)
        if len(self.frames) == self._fail_at:
            raise RuntimeError("the antenna has come off")
        self.frames.append(frame.index)
        self.poses.extend(poses)

    def close(self) -> None:
        self.closed += 1


def test_streams_get_every_picture_of_a_file(
    file_lifter: Callable[[], Lifter], tmp_path: Path
) -> None:
    antenna, out = Antenna(), outputs(tmp_path)
    # Short bursts, which the stream's few places can hold.
    run(Film(100), Finder(blind=range(50, 70)), file_lifter, out, streams=[antenna])
    assert antenna.frames == list(range(100)), "pictures without anybody too"
    assert [pose.frame_index for pose in antenna.poses] == [*range(50), *range(70, 100)]
    assert antenna.closed == 1
    assert antenna.figures.dropped == 0
    assert antenna.poses[0].pose2d.image_size == SIZE, "nothing was drawn, nothing was resized"


def test_streaming_alone_is_work_enough(live_lifter: Callable[[], Lifter]) -> None:
    antenna = Antenna()
    nothing = Outputs([], None, lambda path, take: Tape(), {})
    with LiveSource(lambda: Camera(100_000)) as camera:
        result, _ = run(camera, Finder(), live_lifter, nothing, duration=1.0, streams=[antenna])
    assert result.errors == ()
    assert antenna.frames
    assert antenna.frames == sorted(set(antenna.frames))
    assert len(antenna.frames) + antenna.figures.dropped == result.frames


def test_a_stream_that_hangs_slows_nobody(
    live_lifter: Callable[[], Lifter], tmp_path: Path
) -> None:
    freed = threading.Event()
    hanging, sound, tape = Antenna(wait=freed), Antenna(), Tape()
    looked_at: list[int] = []

    def watch(index: int) -> None:
        looked_at.append(index)
        if len(looked_at) == 60:  # so many have passed while the stream was stuck
            freed.set()

    with LiveSource(lambda: Camera(100_000)) as camera:
        out = outputs(tmp_path, tape)
        live = Run(
            plan(camera, out), camera, OneStage("finder", Finder(on_frame=watch)), live_lifter,
            out, RunStats(),
            streams=[hanging, sound],
        )  # fmt: skip
        threading.Thread(target=lambda: (freed.wait(240.0), live.stop())).start()
        result = live.run()
    assert freed.is_set()
    assert tape.frames == rows(tmp_path), "recording and export have them all"
    assert hanging.frames[0] == tape.frames[0]
    assert tape.frames.index(hanging.frames[1]) > 40, "after that the newest, none that waited"
    for stream in (hanging, sound):
        assert len(stream.frames) + stream.figures.dropped == result.frames
        assert stream.closed == 1


def test_a_stream_that_breaks_takes_nothing_with_it(
    file_lifter: Callable[[], Lifter], tmp_path: Path
) -> None:
    broken, sound = Antenna(fail_at=10), Antenna()
    result, _ = run(Film(60), Finder(), file_lifter, outputs(tmp_path), streams=[broken, sound])
    assert len(result.errors) == 1
    assert "test://antenna" in str(result.errors[0])
    assert "come off" in str(result.errors[0])
    assert rows(tmp_path) == sound.frames == list(range(60))
    assert not result.interrupted


# -- parts -----------------------------------------------------------------------------------


def test_channel_passes_everything_in_order_and_holds_the_writer_back() -> None:
    channel: Channel[int] = Channel(3)
    most = 0

    def write() -> None:
        for i in range(200):
            channel.put(i)
        channel.close()

    writer = threading.Thread(target=write)
    writer.start()
    got = []
    for item in channel:
        got.append(item)
        most = max(most, len(channel))
    writer.join()
    assert got == list(range(200))
    assert most <= 3


def test_abandoning_a_channel_frees_its_writer() -> None:
    channel: Channel[int] = Channel(1)
    channel.put(1)
    writer = threading.Thread(target=channel.put, args=(2,))
    writer.start()
    channel.abandon()
    writer.join(5.0)
    assert not writer.is_alive()
    channel.put(3)
    assert list(channel) == []


def test_push_never_waits_and_keeps_the_newest() -> None:
    channel: Channel[int] = Channel(2)
    for item in range(5):
        channel.push(item)
    channel.close()
    assert list(channel) == [3, 4]
    assert channel.lost == 3


def test_reservoir_is_bounded_and_even() -> None:
    reservoir = Reservoir(500)
    for i in range(20_000):
        reservoir.add(float(i))
    assert reservoir.maximum == 19_999.0
    assert abs(reservoir.percentile(50) - 10_000) < 1_500
    assert reservoir.percentile(95) > 17_000
    assert Reservoir().percentile(50) == 0.0


def test_results_that_come_all_at_once_took_as_long_as_their_frames(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    times = iter([100.0, 100.5, 101.0, 101.5, *[102.0] * 5])
    monkeypatch.setattr("posemamba_live.run.statistics.time.monotonic", lambda: next(times))
    stats = RunStats()
    assert stats.fps_out == 0.0
    for _ in range(4):
        stats.frame_in()
    for _ in range(4):
        stats.frame_out(101.0)
    assert stats.fps_out == pytest.approx(2.0)
    assert stats.to_dict()["fps_out"] == pytest.approx(2.0)


def test_stats_that_cannot_be_written_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    stats = RunStats("cpu", "numba")
    path, note = stats.write(tmp_path / "gone" / "stats.json")
    assert path == tmp_path / "stats.json"
    assert note is not None
    assert "could not be written" in str(note)
    path, note = stats.write(path)
    assert (path, note) == (tmp_path / "stats.json", None)
    assert [path.name for path in tmp_path.iterdir()] == ["stats.json"]


class Crowd(Finder):
    """Finds three people who stand beside each other."""

    def detect(self, frame: Frame) -> list[Found]:
        return [
            found((0.6 * self._body + np.array([x, 120])).astype(np.float32))
            for x in (50, 160, 270)
        ]


@pytest.mark.parametrize(("people", "told"), [(1, 1), (3, 0)])
def test_a_crowd_is_mentioned_once_where_one_person_is_followed(
    people: int,
    told: int,
    file_lifter: Callable[[], Lifter],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(Film(20), Crowd(), file_lifter, outputs(tmp_path), people=people)
    err = capsys.readouterr().err
    assert err.count("3 people are in view, one is followed; --people 3 follows them all") == told
