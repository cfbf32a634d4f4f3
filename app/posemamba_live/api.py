"""The public API: a video to a take in one call, and people live, frame by frame.

    take = posemamba_live.lift_video("clip.mp4", height_m=1.82)
    take.save("walk.bvh")

    with posemamba_live.open_source(camera=0) as camera, posemamba_live.Tracker3D() as track:
        for frame in camera:
            for pose in track(frame):
                print(pose.person_id, pose.joints_world)

The parts are those of the command, built by the same functions. Nothing here needs a display
or Open3D. Joints are Human3.6M-17 (`posemamba.skeleton.JOINT_NAMES`); the camera frame has x to
the right, y down, z forward, the world frame Z up and the floor at z = 0; both are in metres.

What can go wrong is a `LiveError`: `UsageError` for arguments that cannot be meant,
`SourceError` for what cannot be opened or read, `DetectorError` and `SinkError` for keypoints
and files. `str(error)` says what, why and what to try.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from posemamba_live import sources
from posemamba_live.errors import LiveError, UsageError
from posemamba_live.options import DeviceName, ModeName, Options, SubjectName
from posemamba_live.plan import plan_run
from posemamba_live.sources import Source
from posemamba_live.takes import take as takes
from posemamba_live.types import Frame, Pose3D

if TYPE_CHECKING:
    from typing_extensions import Self

    from posemamba_live.run.pipeline import Run

__all__ = ["Take", "Tracker3D", "lift_video", "open_source"]

Float = NDArray[np.float32]
Progress = Callable[[int, "int | None"], None]
E = TypeVar("E", bound=Enum)

_DEFAULTS: Final = Options()
_OPTION: Final = re.compile(r"--([a-z][a-z-]*)")
_ARGUMENTS: Final = {"height": "height_m", "fov": "fov_deg"}
"""Options of the command that have other names here."""


class Take(takes.Take):
    """All poses of a recording: N rows, one for each person in each frame where there is one.

    Rows are sorted by frame, then person. The arrays are those of `poses.npz`, and `arrays`
    has all of them by their keys; `poses` has the same as records, `people` those of each
    person, `meta` how they were made.
    """

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a recording: the `.npz` that `save` or `posemamba-live --export` wrote.

        Raises:
            LiveError: it cannot be read, or is no such file.
        """
        read = takes.read_take(Path(path))
        return cls(read.poses, read.meta, read.name)

    def save(self, path: str | Path, *, overwrite: bool = False) -> list[Path]:
        """Write a file of the kind that its suffix says, whole or not at all.

        Args:
            path: ends in .npz, .csv, .long.csv, .angles.csv, .parquet, .json, .trc, .mot,
                .c3d, .bvh or .glb.
            overwrite: replace an existing file.

        Returns:
            The files written: one, or one for each person where a format holds only one.

        Raises:
            UsageError: another suffix, or the file exists and `overwrite` is false.
            SinkError: it cannot be written, or nobody was seen and the format cannot say so.
        """
        from posemamba_live.export import export_take

        with _in_python():
            return export_take(self, Path(path), overwrite=overwrite)

    def plot(
        self,
        path: str | Path,
        *,
        person: int | None = None,
        moments: Sequence[float] = (),
        overwrite: bool = False,
    ) -> Path:
        """Draw a page: skeletons, joint angles and speeds over time.

        Args:
            path: ends in .png or .html.
            person: a `person_id`; by default whoever was seen most.
            moments: seconds at which to draw the skeleton; by default evenly spread.
            overwrite: replace an existing file.

        Raises:
            UsageError: another suffix, an existing file, nobody by that number or at that moment.
            SinkError: it cannot be written.
        """
        from posemamba_live.plot import save_plot

        with _in_python():
            return save_plot(self, Path(path), person=person, moments=moments, overwrite=overwrite)

    def angles(self) -> dict[str, NDArray[np.float64]]:
        """Joint angles by name: (N,) degrees each, a value for every row of the take.

        Names, signs and zeros are in `takes.angles`: `knee_angle_r` is 0 for a straight leg
        and grows as it bends. NaN where an angle is undefined.
        """
        from posemamba_live.takes.angles import ANGLES, joint_angles

        table = {angle.name: np.full(len(self.poses), np.nan) for angle in ANGLES}
        for person, poses in self.people.items():
            joints, times = takes.joints_and_times(poses)
            rows = np.flatnonzero(self.person_id == person)
            at = np.searchsorted(times, self.timestamp[rows])
            for name, values in joint_angles(joints, times).items():
                table[name][rows] = values[at]
        return table

    @cached_property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """Every array of `poses.npz` by its key; the README says what each one is."""
        from posemamba_live.sinks.npz import take_arrays

        return {key: np.asarray(value) for key, value in take_arrays(self).items()}

    @property
    def frame_index(self) -> NDArray[np.int64]:
        """(N,) which frame of the source, in decoding order from 0."""
        return self.arrays["frame_index"]

    @property
    def timestamp(self) -> NDArray[np.float64]:
        """(N,) seconds from the source's first frame."""
        return self.arrays["timestamp"]

    @property
    def person_id(self) -> NDArray[np.int32]:
        """(N,) which person."""
        return self.arrays["person_id"]

    @property
    def joints_2d(self) -> Float:
        """(N, 17, 2) pixels."""
        return self.arrays["joints_2d"]

    @property
    def scores_2d(self) -> Float:
        """(N, 17) confidence of the keypoints, 0 to 1."""
        return self.arrays["scores_2d"]

    @property
    def joints_3d(self) -> Float:
        """(N, 17, 3) metres, camera axes, relative to Hip."""
        return self.arrays["joints_3d"]

    @property
    def root_3d(self) -> Float:
        """(N, 3) metres, camera frame: where Hip is."""
        return self.arrays["root_3d"]

    @property
    def joints_world(self) -> Float:
        """(N, 17, 3) metres, world frame."""
        return self.arrays["joints_world"]

    @property
    def predicted(self) -> NDArray[np.bool_]:
        """(N,) whether the row's keypoints were filled in, not seen."""
        return self.arrays["predicted"]

    @property
    def fps(self) -> float:
        """Frames a second of the source, nominal."""
        return float(self.meta["fps"])

    @property
    def image_size(self) -> tuple[int, int]:
        """(W, H) pixels of the source's pictures."""
        width, height = self.meta["image_size"]
        return int(width), int(height)

    def __repr__(self) -> str:
        people = len(self.people)
        who = f"{people} {'person' if people == 1 else 'people'}"
        return f"<Take of {self.meta.get('source', self.name)}: {len(self.poses)} poses of {who}>"


def lift_video(
    source: str | Path,
    *,
    height_m: float = _DEFAULTS.height,
    fov_deg: float = _DEFAULTS.fov,
    people: int = _DEFAULTS.people,
    subject: str = _DEFAULTS.subject.value,
    detector: str = _DEFAULTS.detector,
    detector_model: str | Path | None = None,
    weights: str | Path | None = None,
    mode: str = _DEFAULTS.mode.value,
    window: int | None = None,
    smooth: float = _DEFAULTS.smooth,
    start: float = 0.0,
    end: float | None = None,
    max_frames: int | None = None,
    threads: int | None = None,
    device: str = _DEFAULTS.device.value,
    progress: Progress | None = None,
) -> Take:
    """Lift every frame of a video: the poses that `posemamba-live VIDEO --export` writes.

    Args:
        source: a video file, a folder or pattern of pictures, or the URL of a video file.
        height_m: standing height of the people, metres; sets the scale of everything.
        fov_deg: field of view across the picture's longer side, degrees.
        people: how many to follow, at most 8.
        subject: whom where there are more: "first", "largest" or "centre".
        detector: what finds keypoints; the names are those of `--detector`.
        detector_model: a model file for it instead of its own.
        weights: of the lifter: a name of shipped ones, or a file.
        mode: "fast", "balanced" or "accurate".
        window: frames that the lifter sees together; by default all that the weights take.
        smooth: strength of the smoothing over time, 0 for none.
        start, end: seconds of the source.
        max_frames: at most so many.
        threads: CPU threads of the lifter; PyTorch has so many in this process from then on.
        device: of the networks: "auto", "cpu" or "cuda"; "coreml" and "directml" for the
            detector alone.
        progress: called a few times a second with the frames done, and how many there will be,
            or None where that is unknown. What it raises ends the work and comes out here.

    Returns:
        The poses of the whole video, with no rows where nobody was seen.

    Raises:
        UsageError: an argument that cannot be meant, or a source that is live.
        SourceError: the video cannot be opened or read.
        DetectorError: the detector's model is missing or fails.
        LiveError: the weights cannot be used, or there is no such device.
        KeyboardInterrupt: Ctrl-C; what had been lifted is lost.
    """
    with _in_python():
        options = _options(
            source=str(source),
            height=height_m,
            fov=fov_deg,
            people=people,
            subject=_choice(SubjectName, "subject", subject),
            detector=detector,
            detector_model=_file(detector_model),
            weights=_text(weights),
            mode=_choice(ModeName, "mode", mode),
            window=window,
            smooth=smooth,
            start=start,
            end=end,
            max_frames=max_frames,
            threads=threads,
            device=_choice(DeviceName, "device", device),
        )
        with open_source(source, start=start, end=end, max_frames=max_frames) as opened:
            if opened.live:
                raise UsageError(
                    f"{opened.name} is live and may never end",
                    hint="Tracker3D takes its frames, one after another",
                )
            return _lift(options, opened, progress)


def _lift(options: Options, source: Source, progress: Progress | None) -> Take:
    from posemamba_live.run.pipeline import idle
    from posemamba_live.wiring import build, prepare

    plan = plan_run(options, source)
    parts = build(options, plan)
    try:
        run = prepare(options, plan, source, parts)

        def report(run: Run) -> None:
            if progress is not None:
                progress(run.stats.frames_out, plan.frames)

        result = run.run(idle, report)
    finally:
        parts.detector.close()
    if result.interrupted:
        raise KeyboardInterrupt
    if result.errors:
        raise result.errors[0]
    poses = sorted(run.solve(), key=lambda pose: (pose.frame_index, pose.person_id))
    return Take(poses, {**run.outputs.meta, "command_line": "posemamba_live.lift_video"})


def open_source(
    source: str | Path | None = None,
    *,
    camera: int | str | None = None,
    realtime: bool = False,
    start: float = 0.0,
    end: float | None = None,
    duration: float | None = None,
    max_frames: int | None = None,
) -> Source:
    """Open pictures: a context manager that yields a `Frame` after the other when iterated.

    A file yields every frame. A camera, a stream and a file in `realtime` yield the newest
    picture that there is, skip those that came in between, and wait where there is none.

    Args:
        source: a video file, a folder or pattern of pictures, or a URL; one of a stream
            (rtsp://, http://) is live unless it ends like a video file.
        camera: its number, from 0, or its device path, instead of `source`.
        realtime: play a file at its own rate, as if it were a camera.
        start, end: seconds of a file.
        duration: seconds, from `start` on.
        max_frames: at most so many.

    Raises:
        UsageError: neither or both of `source` and `camera`, or limits that leave nothing.
        SourceError: it cannot be opened; while iterating: it cannot be read any more.
    """
    with _in_python():
        return sources.open_source(
            _text(source),
            camera=camera,
            realtime=realtime,
            start=start,
            end=end,
            duration=duration,
            max_frames=max_frames,
        )


class Tracker3D:
    """Frames in, people in 3D out: a context manager; call it with one frame after another.

    With `live` each pose comes with its own frame, or `delay` frames later, as the window of
    the command shows it. Otherwise poses come as late as the lifter's windows need, with the
    accuracy that files have; `finish` returns the last ones. Scale, floor and filters are
    running estimates in either case: `lift_video` has the whole video to estimate them from.

    Use it from one thread. Frames are those of `open_source`, or your own: `Frame(index,
    timestamp, image, captured_at)` with indices and seconds that increase.

    Args:
        live: poses are wanted at once.
        fps: frames a second, nominal; must be said where `live` is false.
        delay: live: frames of look-ahead, which make poses steadier.
        height_m, fov_deg, people, subject, detector, detector_model, weights, mode, window,
            smooth, threads, device: see `lift_video`; a live window on a CPU is shorter.

    Raises:
        UsageError, DetectorError, LiveError: see `lift_video`.
    """

    def __init__(
        self,
        live: bool = True,
        *,
        fps: float | None = None,
        delay: int = _DEFAULTS.delay,
        height_m: float = _DEFAULTS.height,
        fov_deg: float = _DEFAULTS.fov,
        people: int = _DEFAULTS.people,
        subject: str = _DEFAULTS.subject.value,
        detector: str = _DEFAULTS.detector,
        detector_model: str | Path | None = None,
        weights: str | Path | None = None,
        mode: str = _DEFAULTS.mode.value,
        window: int | None = None,
        smooth: float = _DEFAULTS.smooth,
        threads: int | None = None,
        device: str = _DEFAULTS.device.value,
    ) -> None:
        from posemamba_live.lifting.people import People
        from posemamba_live.run.assembly import Assembler
        from posemamba_live.run.pipeline import SceneSettings
        from posemamba_live.tracking.people import PeopleTracker, Subject
        from posemamba_live.wiring import build

        if fps is None and not live:
            raise UsageError("fps is not given", hint="frames a second, which live=False needs")
        if fps is not None and not 0.0 < fps < float("inf"):
            raise UsageError(f"fps {fps:g} is out of range", hint="more than 0")
        with _in_python():
            options = _options(
                height=height_m,
                fov=fov_deg,
                people=people,
                subject=_choice(SubjectName, "subject", subject),
                detector=detector,
                detector_model=_file(detector_model),
                weights=_text(weights),
                mode=_choice(ModeName, "mode", mode),
                window=window,
                delay=delay,
                smooth=smooth,
                threads=threads,
                device=_choice(DeviceName, "device", device),
            )
            plan = plan_run(options, _Frames(live, fps or _USUAL_FPS))
            parts = build(options, plan)
        self._detector = parts.detector
        wanted = Subject(plan.subject.value)
        self._tracker = PeopleTracker(parts.detector, plan.people, wanted, live=live)
        self._people = People(parts.make_lifter, fill_gaps=not live)
        scene = SceneSettings(plan.height_m, plan.fov_deg, plan.smooth)
        self._assembler = Assembler(scene.tracker(), pictures=False)

    def __call__(self, frame: Frame) -> list[Pose3D]:
        """Take the next frame.

        Returns:
            The poses that are now known, by frame, then person; `pose.frame_index` says of
            which frame, `pose.pose2d` has the keypoints. Empty where nobody is seen.

        Raises:
            DetectorError: the detector cannot go on, or is closed.
        """
        lifted = self._people.push(frame, self._tracker(frame))
        return [pose for picture in self._assembler.push(lifted) for pose in picture.poses]

    def finish(self) -> list[Pose3D]:
        """After the last frame: the poses that were still waiting for later ones."""
        lifted = self._people.flush()
        return [pose for picture in self._assembler.push(lifted) for pose in picture.poses]

    def choose(self, x: float, y: float) -> None:
        """Follow whoever is at this point, fractions of the picture's width and height."""
        self._tracker.choose(x, y)

    def choose_next(self) -> None:
        """Follow the next person instead of the primary subject."""
        self._tracker.choose_next()

    def close(self) -> None:
        """Free the detector; a second call does nothing."""
        self._detector.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


_USUAL_FPS: Final = 30.0
"""Where poses are live, nothing depends on the nominal rate."""


@dataclass(frozen=True, slots=True)
class _Frames:
    """What a plan has to know of frames that somebody else brings."""

    live: bool
    fps: float
    name: str = "frames"
    size: tuple[int, int] = (0, 0)
    frame_count: int | None = None


def _options(**given: Any) -> Options:
    """The command's options of these settings, checked; nothing is said on the terminal."""
    options = Options(headless=True, quiet=True, **given)
    options.check_numbers()
    model = options.detector_model
    if model is not None and not os.path.isfile(model):
        raise UsageError(f"There is no detector model {model}", hint="--detector-model is a file")
    return options


def _choice(kind: type[E], name: str, value: str) -> E:
    try:
        return kind(value)
    except ValueError as error:
        known = ", ".join(repr(one.value) for one in kind)
        raise UsageError(f"There is no {name} {value!r}", hint=f"one of: {known}") from error


def _text(value: str | Path | None) -> str | None:
    return None if value is None else str(value)


def _file(value: str | Path | None) -> Path | None:
    return None if value is None else Path(value)


@contextmanager
def _in_python() -> Iterator[None]:
    """Errors that name options of the command name arguments instead."""
    try:
        yield
    except LiveError as error:
        error.what, error.why, error.hint = map(_renamed, (error.what, error.why, error.hint))
        raise


def _renamed(text: str) -> str:
    def argument(match: re.Match[str]) -> str:
        return _ARGUMENTS.get(match[1], match[1].replace("-", "_"))

    return _OPTION.sub(argument, text)
