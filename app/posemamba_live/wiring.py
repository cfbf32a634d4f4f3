"""Runs what the options ask for, and tells how it went.

The heavy libraries (torch, ONNX Runtime, Open3D) are imported from here on, after the checks
that need none of them.
"""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import cv2

from posemamba_live import __version__
from posemamba_live.address import StreamAddress
from posemamba_live.errors import (
    EXIT_FAILURE,
    EXIT_INTERRUPTED,
    EXIT_OK,
    SinkError,
    describe,
)
from posemamba_live.files import free_name
from posemamba_live.garbage import loaded
from posemamba_live.options import Options, UnseenName
from posemamba_live.parts import Parts, build, libraries_ahead
from posemamba_live.plan import SEEN_WITH, RunPlan, plan_run
from posemamba_live.run.progress import reporter, summary
from posemamba_live.run.signals import Interrupts
from posemamba_live.run.stage import hanging
from posemamba_live.run.statistics import RunStats
from posemamba_live.shown import public, safe
from posemamba_live.sinks import check_export, check_output
from posemamba_live.sources import STDIN, CameraMode, Source, open_source, sound_of
from posemamba_live.sources.camera_list import described, list_cameras
from posemamba_live.takes.journal import how_to_lift, leftovers
from posemamba_live.takes.journal_file import in_use
from posemamba_live.terminal import leave, put, say
from posemamba_live.viewer.display import display_available

if TYPE_CHECKING:
    from posemamba_live.detectors import Models
    from posemamba_live.run.head_start import HeadStart
    from posemamba_live.run.pipeline import Run
    from posemamba_live.run.screen import Screen
    from posemamba_live.run.stage import RunResult
    from posemamba_live.sinks import Recording
    from posemamba_live.sources.video import Sound
    from posemamba_live.streams import Stream
    from posemamba_live.types import Pose3D
    from posemamba_live.viewer.viewer import Viewer

logger = logging.getLogger(__name__)

_FEW_CORES: Final = 2
"""Here the stages' own threads have them all; OpenCV's would wait for each other, which takes time
of the processor's too: a fourteenth of what a recording takes."""


def execute(options: Options) -> int:
    """Do what the options ask for.

    Returns:
        The exit code.

    Raises:
        LiveError: what keeps the run from starting. What fails later is told on stderr.
    """
    if options.camera == "list":
        print(described(list_cameras()))
        return EXIT_OK
    _check_outputs(options)
    if (os.cpu_count() or 1) <= _FEW_CORES:
        cv2.setNumThreads(1)
    with ExitStack() as stack:
        interrupts = stack.enter_context(Interrupts())
        libraries_ahead(options)
        # A source that cannot be opened should say so before seconds are spent on loading.
        # A pipe cannot be opened twice: it plays while the rest is loaded.
        piped = options.source == STDIN and options.realtime
        source = stack.enter_context(_open(options, realtime=piped))
        options = _with_window_if_possible(options)  # what is wrong with the source comes first
        note = getattr(source, "note", "")
        if note and not options.quiet:
            say(f"{source.name}: {note}")
        plan = plan_run(options, source)
        streams = [_open_stream(address, plan, stack) for address in options.addresses]
        starts: list[HeadStart] = []
        parts = build(options, plan, detector_ready=partial(_start, starts, stack, plan, source))
        stack.callback(parts.detector.close)
        window = None
        if plan.watched:
            window = _open_window(options)
            stack.callback(window.close)
        if plan.replayed:
            source.close()  # was only tried: it plays from here on, not while loading
            source = stack.enter_context(_open(options, realtime=True))

        from posemamba_live.run.pipeline import idle

        watch = None
        if window is not None:
            from posemamba_live.run.watch import Watch

            title = f"{plan.source}   {parts.checkpoint.meta.name}   {parts.runtime.device}"
            stays = not (options.outputs or options.streams)
            watch = Watch(window, plan, title, stays=stays)
        screen = watch.screen if watch is not None else None
        start = starts[0] if starts else None
        run = prepare(options, plan, source, parts, streams=streams, screen=screen, start=start)
        loaded()
        interrupts.run_begins(run.interrupt, lambda: say(_interrupted(run.last_words())))
        with reporter(plan) as report:
            result = run.run(watch or idle, report)
        stats, runtime = run.stats, parts.runtime
        stats.device, stats.backend = runtime.device, runtime.backend  # a GPU may have failed
        stats.streams = [stream.figures for stream in streams]
        code = _tell(options, plan, result, stats, run.outputs.written)
        interrupts.run_ended()
        if result.left_behind:
            leave(code)  # closing what hangs would hang
    return code


def _start(
    starts: list[HeadStart], stack: ExitStack, plan: RunPlan, source: Source, detector: Models
) -> None:
    """Let a film begin while the lifter is loading."""
    from posemamba_live.run.head_start import HeadStart, make_tracker

    if not plan.live:
        start = HeadStart(source, make_tracker(plan, detector), plan.duration)
        stack.callback(start.close)  # the lifter may fail to load
        starts.append(start)


def prepare(
    options: Options,
    plan: RunPlan,
    source: Source,
    parts: Parts,
    *,
    streams: Sequence[Stream] = (),
    screen: Screen | None = None,
    start: HeadStart | None = None,
) -> Run:
    """The run of these parts over a source, with its outputs and statistics.

    Args:
        start: what is known of the source's first frames.
    """
    from posemamba_live.run.outputs import Film, Outputs
    from posemamba_live.run.pipeline import Run

    stats = RunStats(parts.runtime.device, parts.runtime.backend)
    stats.detector = parts.detector.describe()
    # A pipe cannot be read again: of it the running estimate is recorded.
    film = None if plan.live or options.source == STDIN else options.source
    outputs = Outputs(
        plan.exports,
        plan.record,
        partial(_open_recorder, plan, source, None if options.no_sound else sound_of(source)),
        _metadata(options, plan, parts, stats.detector),
        plan.overwrite,
        plan.live,
        _how(options, plan.weights, film),
        film=None if film is None else Film(film, partial(_open, options, realtime=False)),
    )
    return Run(
        plan,
        source,
        parts.detector,
        parts.make_lifter,
        outputs,
        stats,
        averaged=parts.averaged,
        streams=streams,
        screen=screen,
        start=start,
    )


def _tell(
    options: Options, plan: RunPlan, result: RunResult, stats: RunStats, written: Sequence[Path]
) -> int:
    """Write the statistics, say how it went, and choose the exit code."""
    errors, written = list(result.errors), list(written)
    if options.stats is not None:
        try:
            path, note = stats.write(options.stats, overwrite=options.overwrite)
            written.append(path)
            errors += [note] if note is not None else []
        except SinkError as error:
            errors.append(error)
    if not plan.quiet:
        put(safe(summary(result, stats, written, live=plan.live)))
    for failure in errors:
        say(f"error: {describe(failure)}")
    if result.left_behind:
        say(_interrupted(f"{hanging(result.left_behind)}\n{result.kept}"))
    elif result.kept:
        say(_interrupted(result.kept) if result.interrupted else f"error: {result.kept}")
    if result.interrupted:
        return EXIT_INTERRUPTED
    return EXIT_FAILURE if errors else EXIT_OK


def _interrupted(words: str) -> str:
    """The last message of a run that was interrupted and could not do everything."""
    return f"error: interrupted: {words or 'nothing had been captured'}"


def _with_window_if_possible(options: Options) -> Options:
    if options.headless or display_available():
        return options
    if not (options.outputs or options.streams):
        raise SinkError(
            "No window can be opened",
            why="there is no display",
            hint="write files instead: --headless with --export poses.npz or --record video.mp4, "
            "or watch in a browser: --headless with --stream ws://localhost:8765",
        )
    logger.warning("no display: running without a window, as with --headless")
    return replace(options, headless=True)


def _check_outputs(options: Options) -> None:
    for path in options.exports:
        check_export(path, overwrite=options.overwrite)
    _name_leftovers(options)
    if options.record is not None:
        from posemamba_live.sinks.recorder import SUFFIXES

        check_output(options.record, overwrite=options.overwrite, suffixes=SUFFIXES)
    if options.stats is not None:
        check_output(options.stats, overwrite=options.overwrite, suffixes=(".json",))


def _name_leftovers(options: Options) -> None:
    """Say what earlier runs with this output could not finish."""
    output = next(iter(options.exports), options.record)
    if output is None:
        return
    for path in leftovers(output):
        if in_use(path):
            say(f"note: another run is writing {path}")
            continue
        words, names = ["posemamba-export", str(path)], list(map(Path, options.exports[:1]))
        how = how_to_lift(path)
        film, record = how.get("film"), how.get("record")
        if isinstance(film, str) and isinstance(record, str):
            words += ["--video", film]
            names.append(Path(record))
        names = names or [output.with_suffix(".npz")]
        line = shlex.join([*words, *(str(free_name(name)) for name in names)])
        say(f"note: {path} holds poses of a run that did not end; this line gets them:\n  {line}")


def _how(options: Options, weights: str | Path, film: str | None) -> dict[str, str]:
    """What a journal says of how its files are made later."""
    how = {"weights": str(Path(weights).resolve() if Path(weights).exists() else weights)}
    if options.record is not None and film is not None and Path(film).exists():
        how |= {"film": str(Path(film).resolve()), "record": str(options.record)}
    return how


def _open(options: Options, *, realtime: bool) -> Source:
    source = open_source(
        options.source,
        camera=options.camera,
        realtime=realtime,
        start=options.start,
        end=options.end,
        max_frames=options.max_frames,  # the duration is the run's: it begins with a frame
        rotate=options.rotate,
        fps=options.fps,
        camera_mode=CameraMode.parse(options.camera_size) if options.camera_size else None,
    )
    logger.info("source %s: %dx%d, %.4g fps", source.name, *source.size, source.fps)
    return source


def _open_stream(address: StreamAddress, plan: RunPlan, stack: ExitStack) -> Stream:
    from posemamba_live.streams import StreamInfo, open_stream

    info = StreamInfo(
        plan.source,
        plan.live,
        plan.fps,
        fov_deg=plan.fov_deg,
        hides_unseen=plan.unseen is UnseenName.HIDE,
    )
    stream = open_stream(address, info, people=plan.people)
    stack.callback(stream.close)
    if not plan.quiet:
        if address.scheme == "ws":
            say(f"watch at {address.page}")
        if not plan.live:
            say(f"{address}: as fast as the file is processed; --realtime plays it at its own rate")
    return stream


def _open_recorder(
    plan: RunPlan,
    source: Source,
    sound: Sound | None,
    path: Path,
    take: Sequence[Pose3D] | None = None,
) -> Recording:
    from posemamba_live.sinks.recorder import Recorder

    return Recorder(
        path,
        fps=source.fps,  # a camera's as it is by now
        image_size=plan.image_size,
        overwrite=plan.overwrite,
        realtime=plan.live,
        sound=sound,
        take=take,
        unseen=plan.unseen,
    )


def _metadata(
    options: Options,
    plan: RunPlan,
    parts: Parts,
    detector: Mapping[str, Any],
) -> dict[str, Any]:
    """What exports say of the run."""
    checkpoint, lifting = parts.checkpoint, parts.lifting
    averaged = {key: parts.averaged[key].meta for key in SEEN_WITH if key in parts.averaged}
    return {
        "app_version": __version__,
        "source": plan.source,
        "fps": plan.fps,
        "image_size": plan.image_size,
        "weights": checkpoint.meta.name,
        "weights_sha256": checkpoint.meta.sha256,
        **dict.fromkeys(f"{key}{part}" for key in SEEN_WITH for part in ("", "_sha256")),
        **{key: meta.name for key, meta in averaged.items()},
        **{f"{key}_sha256": meta.sha256 for key, meta in averaged.items()},
        "detector": options.detector,
        "detector_model": str(options.detector_model) if options.detector_model else None,
        "detector_info": detector,
        "lifter": "causal" if lifting.causal else "window",
        "mode": options.mode.value,
        "window": lifting.window,
        "look_ahead": lifting.look_ahead,
        "live": plan.live,
        "height_m": plan.heights_m[0] if len(plan.heights_m) == 1 else list(plan.heights_m),
        "pitch_deg": plan.pitch_deg,
        "camera_moves": False,
        "background": None,
        "fov_deg": plan.fov_deg,
        "rotate": options.rotate,
        "start": options.start,
        "pictures_fps": options.fps,
        "unseen": plan.unseen.value,
        "smooth": plan.smooth,
        "people": plan.people,
        "subject": plan.subject.value,
        "command_line": shlex.join(("posemamba-live", *map(public, options.command_line))),
    }


def _open_window(options: Options) -> Viewer:
    from posemamba_live.viewer.viewer import Viewer

    return Viewer("posemamba-live", mirror=options.mirror, unseen=options.unseen)
