"""Pictures opened, and a video lifted in one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from posemamba_live import sources
from posemamba_live.api.settings import (
    DEFAULTS,
    choice,
    in_python,
    options_of,
    path_of,
    several,
    text_of,
)
from posemamba_live.api.take import Take
from posemamba_live.errors import UsageError
from posemamba_live.options import DeviceName, ModeName, Options, SubjectName
from posemamba_live.plan import DEFAULT_HEIGHT_M, plan_run
from posemamba_live.sources import Source

if TYPE_CHECKING:
    from posemamba_live.run.pipeline import Run

Progress = Callable[[int, "int | None"], None]


def lift_video(
    source: str | Path,
    *,
    height_m: float | Sequence[float] = DEFAULT_HEIGHT_M,
    pitch_deg: float | None = None,
    fov_deg: float | None = DEFAULTS.fov,
    people: int = DEFAULTS.people,
    subject: str = DEFAULTS.subject.value,
    detector: str = DEFAULTS.detector,
    detector_model: str | Path | None = None,
    person_model: str | Path | None = None,
    detect_every: int | None = None,
    weights: str | Path | None = None,
    mode: str = DEFAULTS.mode.value,
    window: int | None = None,
    smooth: float = DEFAULTS.smooth,
    start: float = 0.0,
    end: float | None = None,
    max_frames: int | None = None,
    rotate: int = DEFAULTS.rotate,
    fps: float | None = None,
    threads: int | None = None,
    device: str = DEFAULTS.device.value,
    progress: Progress | None = None,
) -> Take:
    """Lift every frame of a video: the poses that `posemamba-live VIDEO --export` writes.

    Args:
        source: a video file, a folder or pattern of pictures, or the URL of a video file.
        height_m: standing height of the people, metres; sets the scale of everything. Several are
            of people in the order of their identities, the last of all others.
        pitch_deg: how far the camera looks down (negative) or up, degrees, if it is known.
        fov_deg: field of view across the picture's longer side, degrees; None for what the film
            says, or 60.
        people: how many to follow, at most 8.
        subject: whom where there are more: "first", "largest" or "centre".
        detector: what finds keypoints; the names are those of `--detector`.
        detector_model: a model file for it instead of its own.
        person_model: a model file that finds the people for it, where it needs one.
        detect_every: frames between two searches for people, for detectors that search.
        weights: of the lifter: a name of shipped ones, or a file.
        mode: "fast", "balanced" or "accurate".
        window: frames that the lifter sees together; by default all that the weights take.
        smooth: strength of the smoothing over time, 0 for none.
        start, end: seconds of the source.
        max_frames: at most so many.
        rotate: 90, 180 or 270 degrees clockwise, after what the file itself says.
        fps: frames a second of a folder or pattern of pictures, and of nothing else.
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
    with in_python():
        options = options_of(
            source=str(source),
            heights=several(height_m),
            pitch=pitch_deg,
            fov=fov_deg,
            people=people,
            subject=choice(SubjectName, "subject", subject),
            detector=detector,
            detector_model=path_of(detector_model),
            person_model=path_of(person_model),
            detect_every=detect_every,
            weights=text_of(weights),
            mode=choice(ModeName, "mode", mode),
            window=window,
            smooth=smooth,
            start=start,
            end=end,
            max_frames=max_frames,
            rotate=rotate,
            fps=fps,
            threads=threads,
            device=choice(DeviceName, "device", device),
        )
        with open_source(
            source, start=start, end=end, max_frames=max_frames, rotate=rotate, fps=fps
        ) as opened:
            if opened.live:
                raise UsageError(
                    f"{opened.name} is live and may never end",
                    hint="Tracker3D takes its frames, one after another",
                )
            return _lift(options, opened, progress)


def _lift(options: Options, source: Source, progress: Progress | None) -> Take:
    from posemamba_live.parts import build
    from posemamba_live.run.pipeline import idle
    from posemamba_live.wiring import prepare

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
    rotate: int = DEFAULTS.rotate,
    fps: float | None = None,
    camera_size: str | None = None,
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
        rotate: 90, 180 or 270 degrees clockwise, after what the file itself says.
        fps: frames a second of a folder or pattern of pictures, and of nothing else.
        camera_size: what to ask a camera for, "1280x720" or "1280x720@30".

    Raises:
        UsageError: neither or both of `source` and `camera`, or limits that leave nothing.
        SourceError: it cannot be opened; while iterating: it cannot be read any more.
    """
    with in_python():
        return sources.open_source(
            text_of(source),
            camera=camera,
            realtime=realtime,
            start=start,
            end=end,
            duration=duration,
            max_frames=max_frames,
            rotate=rotate,
            fps=fps,
            camera_mode=sources.CameraMode.parse(camera_size) if camera_size else None,
        )
