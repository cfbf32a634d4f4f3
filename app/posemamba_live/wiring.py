"""Builds the parts that the options ask for, runs them, and tells how it went.

The heavy libraries (torch, MediaPipe, Open3D) are imported from here on, after the checks
that need none of them.
"""

from __future__ import annotations

import logging
import math
import os
import shlex
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from posemamba.skeleton import NUM_JOINTS
from posemamba_live import __version__
from posemamba_live.errors import (
    EXIT_FAILURE,
    EXIT_INTERRUPTED,
    EXIT_OK,
    LiveError,
    SinkError,
    UsageError,
)
from posemamba_live.options import DeviceName, ModeName, Options
from posemamba_live.run.progress import reporter, say, summary
from posemamba_live.run.statistics import RunStats
from posemamba_live.sinks import check_export, check_output
from posemamba_live.sources import Source, open_source
from posemamba_live.sources.base import without_password
from posemamba_live.viewer.display import display_available

if TYPE_CHECKING:
    from posemamba.checkpoint import Checkpoint
    from posemamba.runtime import LifterRuntime
    from posemamba_live.detectors import Detector, DetectorSettings
    from posemamba_live.lifting.window import Lifter
    from posemamba_live.run.outputs import Outputs
    from posemamba_live.run.pipeline import RunResult
    from posemamba_live.sinks import Sink
    from posemamba_live.streams import Stream, StreamAddress
    from posemamba_live.viewer.viewer import Viewer

logger = logging.getLogger(__name__)

DEFAULT_WEIGHTS: Final = "window-m3"
_NOTE_AFTER_S: Final = 2.0
"""Start-up steps that take longer than this say what they do."""


def execute(options: Options) -> int:
    """Do what the options ask for.

    Returns:
        The exit code.

    Raises:
        LiveError: what keeps the run from starting. What fails later is told on stderr.
    """
    options = _with_window_if_possible(options)
    _check_outputs(options)
    with ExitStack() as stack:
        # A source that cannot be opened should say so before seconds are spent on loading.
        source = stack.enter_context(_open(options, realtime=False))
        streams = [_open_stream(options, address, source, stack) for address in options.addresses]
        checkpoint, detector = _load(options, live=source.live or options.realtime)
        stack.callback(detector.close)
        runtime = _runtime(options, checkpoint)
        make_lifter = _lifters(options, checkpoint, source, runtime)
        window = None
        if not options.headless:
            window = _open_window(options)
            stack.callback(window.close)
        if options.realtime and not source.live:
            source.close()  # was only tried: it plays from here on, not while loading
            source = stack.enter_context(_open(options, realtime=True))

        from posemamba_live.run.pipeline import Run, SceneSettings
        from posemamba_live.tracking.people import Subject

        device = runtime.device.type
        stats = RunStats(device, runtime.backend)
        stats.detector = detector.describe()
        outputs = _outputs(options, source, checkpoint, detector, on_gpu=device != "cpu")
        run = Run(
            source,
            detector,
            make_lifter,
            SceneSettings(options.height, options.fov, options.smooth),
            outputs,
            stats,
            people=options.people,
            subject=Subject(options.subject.value),
            duration=options.duration,
            threads=_threads(options),
            window=window,
            title=f"{source.name}   {checkpoint.meta.name}   {device}",
            streams=streams,
        )
        quiet = options.verbosity < 0
        frames = _expected_frames(options, source)
        with reporter(source.name, live=source.live, frames=frames, quiet=quiet) as report:
            result = run.run(report)
        stats.device, stats.backend = runtime.device.type, runtime.backend  # a GPU may have failed
        live = source.live
    stats.streams = [stream.figures for stream in streams]
    return _tell(options, result, stats, outputs.written, live=live)


def _tell(
    options: Options, result: RunResult, stats: RunStats, written: Sequence[Path], *, live: bool
) -> int:
    """Write the statistics, say how it went, and choose the exit code."""
    errors, written = list(result.errors), list(written)
    if options.stats is not None:
        try:
            stats.write(options.stats)
            written.append(options.stats)
        except SinkError as error:
            errors.append(error)
    if options.verbosity >= 0:
        print(summary(result, stats, written, live=live), flush=True)
    for failure in errors:
        say(f"error: {failure if isinstance(failure, LiveError) else describe(failure)}")
    if result.interrupted:
        return EXIT_INTERRUPTED
    return EXIT_FAILURE if errors else EXIT_OK


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
    from posemamba_live.sinks.recorder import SUFFIXES

    for path in options.exports:
        check_export(path, overwrite=options.overwrite)
    if options.record is not None:
        check_output(options.record, overwrite=options.overwrite, suffixes=SUFFIXES)
    if options.stats is not None:
        check_output(options.stats, overwrite=options.overwrite, suffixes=(".json",))


def _open(options: Options, *, realtime: bool) -> Source:
    source = open_source(
        options.source,
        camera=options.camera,
        realtime=realtime,
        start=options.start,
        end=options.end,
        max_frames=options.max_frames,  # the duration is the run's: it begins with a frame
    )
    logger.info("source %s: %dx%d, %.4g fps", source.name, *source.size, source.fps)
    return source


def _open_stream(
    options: Options, address: StreamAddress, source: Source, stack: ExitStack
) -> Stream:
    from posemamba_live.streams import StreamInfo, open_stream

    live = source.live or options.realtime
    stream = open_stream(address, StreamInfo(source.name, live, source.fps), people=options.people)
    stack.callback(stream.close)
    if options.verbosity >= 0:
        if address.scheme == "ws":
            say(f"watch at {address.page}")
        if not live:
            say(f"{address}: as fast as the file is processed; --realtime plays it at its own rate")
    return stream


def _expected_frames(options: Options, source: Source) -> int | None:
    if source.frame_count is None or options.duration is None:
        return source.frame_count
    return min(source.frame_count, math.ceil(options.duration * source.fps))


def _load(options: Options, *, live: bool) -> tuple[Checkpoint, Detector]:
    """Load network and detector at the same time; each takes seconds, mostly of importing."""
    from posemamba_live.detectors import create_detector

    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(_load_weights, options)
        detector = create_detector(options.detector, _detector_settings(options, live=live))
        try:
            return loading.result(), detector
        except BaseException:
            detector.close()
            raise


def _detector_settings(options: Options, *, live: bool) -> DetectorSettings:
    from posemamba_live.detectors import DetectorSettings

    return DetectorSettings(
        model=options.detector_model,
        people=options.people,
        person_model=options.person_model,
        detect_every=options.detect_every,
        live=live,
        device=options.device.value,
        threads=_detector_threads(options),
    )


def _load_weights(options: Options) -> Checkpoint:
    from posemamba.checkpoint import CheckpointError, load_checkpoint, shipped_weights

    try:
        return load_checkpoint(options.weights or DEFAULT_WEIGHTS)
    except CheckpointError as error:
        names = ", ".join(sorted(shipped_weights())) or "none here"
        raise LiveError(
            "The weights cannot be used",
            why=str(error),
            hint=f"--weights takes a file, or one of the shipped names: {names}",
        ) from error


def _runtime(options: Options, checkpoint: Checkpoint) -> LifterRuntime:
    from posemamba.runtime import DeviceError, LifterRuntime

    device = options.device.of_lifter.value
    if checkpoint.meta.input_kind == "stream" and options.device is not DeviceName.CPU:
        # A frame at a time is too little work for a GPU to be faster with.
        if options.device is DeviceName.CUDA:
            logger.warning("--device cuda is for window weights; these run on the CPU")
        device = "cpu"
    try:
        return LifterRuntime(checkpoint.model, device)
    except DeviceError as error:
        raise LiveError(
            "There is no CUDA device",
            why=str(error),
            hint="--device cpu, or install a PyTorch build for CUDA",
        ) from error


def _lifters(
    options: Options, checkpoint: Checkpoint, source: Source, runtime: LifterRuntime
) -> Callable[[], Lifter]:
    """What makes a lifter for each person, warmed up."""
    from posemamba_live.lifting.factory import MODES, lifter_factory, window_frames
    from posemamba_live.lifting.network import use_threads
    from posemamba_live.lifting.window import windows_at_once
    from posemamba_live.types import Pose2D

    live = source.live or options.realtime
    if options.delay and not live:
        logger.warning("--delay is for live sources; a file is lifted with whole windows")
    if checkpoint.meta.input_kind == "stream" and options.mode is not ModeName.BALANCED:
        logger.warning("--mode is for window weights; these do the same work in each")
    try:
        make = lifter_factory(
            checkpoint,
            mode=MODES[options.mode.value],
            fov_deg=options.fov,
            fps=source.fps,
            live=live,
            frames=options.window,
            delay=options.delay if live else 0,
            runtime=runtime,
        )
    except ValueError as error:
        raise UsageError("--window or --delay does not suit the weights", why=str(error)) from error
    use_threads(_threads(options))
    with _note("compiling the network's kernels for this machine: once, up to a minute"):
        if runtime.device.type != "cpu":
            mode = MODES[options.mode.value]
            window = window_frames(checkpoint, mode, live=live, frames=options.window, on_gpu=True)
            windows = 1 if live else windows_at_once(window)
            runtime.warm_up(windows * (1 + mode.mirrored(live)), window)
        still = np.linspace(100.0, 300.0, 2 * NUM_JOINTS, dtype=np.float32).reshape(-1, 2)
        lifter = make()
        lifter.push(Pose2D(0, 0.0, 0, still, np.ones(NUM_JOINTS, np.float32), (640, 480)))
        lifter.flush()
    return make


@contextmanager
def _note(text: str) -> Iterator[None]:
    """Say what is going on, if it takes long."""
    timer = threading.Timer(_NOTE_AFTER_S, say, (f"{text}...",))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _threads(options: Options) -> int:
    """CPU threads of the network: one core is the detector's."""
    return options.threads or max(1, min(4, (os.cpu_count() or 2) - 1))


def _detector_threads(options: Options) -> int:
    """CPU threads of the detector: the cores that the network leaves."""
    return max(1, min(4, (os.cpu_count() or 2) - _threads(options)))


def _outputs(
    options: Options, source: Source, checkpoint: Checkpoint, detector: Detector, *, on_gpu: bool
) -> Outputs:
    from posemamba_live.lifting.factory import MODES, window_frames
    from posemamba_live.run.outputs import Outputs
    from posemamba_live.sinks.recorder import Recorder

    def open_recorder(path: Path) -> Sink:
        return Recorder(
            path,
            fps=source.fps,
            image_size=source.size,
            overwrite=options.overwrite,
            realtime=source.live,
        )

    causal = checkpoint.meta.input_kind == "stream"
    window = window_frames(
        checkpoint,
        MODES[options.mode.value],
        live=source.live,
        delay=options.delay,
        frames=options.window,
        on_gpu=on_gpu,
    )
    meta = {
        "app_version": __version__,
        "source": source.name,
        "fps": source.fps,
        "image_size": source.size,
        "weights": checkpoint.meta.name,
        "weights_sha256": checkpoint.meta.sha256,
        "detector": options.detector,
        "detector_model": str(options.detector_model) if options.detector_model else None,
        "detector_info": detector.describe(),
        "lifter": "stream" if causal else "window",
        "mode": options.mode.value,
        "window": window,
        "look_ahead": options.delay if source.live or causal else window - 1,
        "live": source.live,
        "height_m": options.height,
        "fov_deg": options.fov,
        "smooth": options.smooth,
        "people": options.people,
        "subject": options.subject.value,
        "command_line": shlex.join(("posemamba-live", *map(_shown, options.command_line))),
    }
    return Outputs(options.exports, options.record, open_recorder, meta, options.overwrite)


def _shown(word: str) -> str:
    """A word of the command line as it may be kept in files that people pass on."""
    return without_password(word) if "://" in word else word


def _open_window(options: Options) -> Viewer:
    from posemamba_live.viewer.viewer import Viewer

    return Viewer("posemamba-live", mirror=options.mirror)


def describe(error: BaseException) -> str:
    """One message for an error that nobody foresaw."""
    return str(
        LiveError(
            "Something went wrong inside posemamba-live",
            why=f"{type(error).__name__}: {error}",
            hint="-vv shows where; please report it",
        )
    )
