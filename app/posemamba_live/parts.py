"""What finds people and lifts them, loaded and warm: detector, network and lifters of a plan."""

from __future__ import annotations

import ctypes
import importlib.util
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from posemamba.devices import cuda_possible
from posemamba.skeleton import NUM_JOINTS
from posemamba_live.errors import LiveError, UsageError
from posemamba_live.nearest import nearest
from posemamba_live.options import DeviceName, ModeName, Options
from posemamba_live.plan import SEEN_WITH, SHIPPED, LiftingPlan, RunPlan, plan_lifting
from posemamba_live.terminal import say

if TYPE_CHECKING:
    from posemamba.checkpoint import Checkpoint
    from posemamba.runtime import LifterRuntime
    from posemamba_live.detectors import DetectorSettings, Models
    from posemamba_live.lifting.window import Lifter

logger = logging.getLogger(__name__)

_NOTE_AFTER_S: Final = 2.0
"""Start-up steps that take longer than this say what they do."""


class Parts(NamedTuple):
    """What finds people and lifts them, loaded and warm."""

    checkpoint: Checkpoint
    detector: Models
    """Whoever asked for it closes it."""
    runtime: LifterRuntime
    lifting: LiftingPlan
    make_lifter: Callable[[], Lifter]
    """For each person."""
    averaged: Mapping[str, Checkpoint]
    """By what `meta` calls them (`plan.SEEN_WITH`): what its poses are averaged with, at once if
    live, else when the film has been read."""


def libraries_ahead(options: Options) -> None:
    """Where PyTorch will be needed: let the system load its library in a thread meanwhile.

    It takes a tenth of the start-up, in which an import would keep the interpreter from everybody.
    On a CPU our own weights are lifted without it; published checkpoints are its pickles.
    """
    needed = Path(options.weights or "").suffix in (".bin", ".tr") or (
        options.device is not DeviceName.CPU and cuda_possible()
    )
    if sys.platform != "linux" or not needed:
        return
    spec = importlib.util.find_spec("torch")
    folders = spec.submodule_search_locations if spec is not None else None
    library = Path(next(iter(folders or ()), "")) / "lib" / "libtorch_cpu.so"
    if library.is_file():
        # As a C function: `CDLL` does not let others run meanwhile.
        load, flags = ctypes.CDLL(None).dlopen, os.RTLD_NOW | os.RTLD_LOCAL
        work = threading.Thread(
            target=load, args=(os.fsencode(library), flags), name="libraries", daemon=True
        )
        work.start()


def build(
    options: Options,
    plan: RunPlan,
    again: Parts | None = None,
    *,
    detector_ready: Callable[[Models], None] = lambda detector: None,
) -> Parts:
    """Load what the plan asks for; takes seconds.

    Args:
        detector_ready: called with the detector as soon as it is there; the rest takes longer.
        again: parts of a run before, with the same options of networks and of how many people:
            what was loaded and is warm is used once more. Its detector must not be one that
            follows people by itself.

    Raises:
        UsageError, DetectorError, LiveError: what does not fit together or cannot be loaded.
    """
    if again is not None:
        lifting, make = _fit(options, plan, again.checkpoint, again.runtime, again.averaged)
        return again._replace(lifting=lifting, make_lifter=make)
    checkpoint, detector = _load(options, plan, detector_ready)
    try:
        runtime = _runtime(plan, checkpoint)
        averaged = {
            key: _load_weights(name)
            for key in SEEN_WITH
            if (name := getattr(plan, key)) is not None
        }
        lifting, make_lifter = _lifters(options, plan, checkpoint, runtime, averaged)
    except BaseException:
        detector.close()
        raise
    return Parts(checkpoint, detector, runtime, lifting, make_lifter, averaged)


def _load(
    options: Options, plan: RunPlan, detector_ready: Callable[[Models], None]
) -> tuple[Checkpoint, Models]:
    """Load network and detector at the same time; each takes seconds, mostly of importing."""
    from posemamba_live.detectors import create_detector

    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(_load_weights, plan.weights)
        detector = create_detector(options.detector, _detector_settings(options, plan))
        try:
            detector_ready(detector)
            return loading.result(), detector
        except BaseException:
            detector.close()
            raise


def _detector_settings(options: Options, plan: RunPlan) -> DetectorSettings:
    from posemamba_live.detectors import DetectorSettings

    return DetectorSettings(
        model=options.detector_model,
        people=plan.people,
        person_model=options.person_model,
        detect_every=options.detect_every,
        device=plan.device.value,
        threads=plan.detector_threads,
    )


def _load_weights(name: str) -> Checkpoint:
    from posemamba.checkpoint import CheckpointError, load_checkpoint, shipped_weights

    try:
        return load_checkpoint(name)
    except CheckpointError as error:
        names = sorted(shipped_weights())
        meant = None if Path(name).exists() else nearest(name, names)
        raise LiveError(
            "The weights cannot be used",
            why=str(error),
            hint="install posemamba-live again: they come with it"
            if name in names or name in SHIPPED
            else f"did you mean --weights {meant}?"
            if meant
            else "--weights takes a file, or one of the shipped names: "
            + (", ".join(names) or "none here"),
        ) from error


def _runtime(plan: RunPlan, checkpoint: Checkpoint) -> LifterRuntime:
    from posemamba.runtime import DeviceError, LifterRuntime

    device = plan.device.of_lifter.value
    if checkpoint.meta.causal and plan.device is not DeviceName.CPU:
        # A frame at a time is too little work for a GPU to be faster with.
        if plan.device is DeviceName.CUDA:
            logger.warning("--device cuda is for window weights; these run on the CPU")
        device = "cpu"
    try:
        return LifterRuntime(checkpoint, device)
    except DeviceError as error:
        raise LiveError(
            "There is no CUDA device",
            why=str(error),
            hint="--device cpu, or install a PyTorch build for CUDA",
        ) from error


def _lifters(
    options: Options,
    plan: RunPlan,
    checkpoint: Checkpoint,
    runtime: LifterRuntime,
    averaged: Mapping[str, Checkpoint],
) -> tuple[LiftingPlan, Callable[[], Lifter]]:
    """How people are lifted, and what makes a lifter for each of them, warmed up."""
    from posemamba.network import use_threads
    from posemamba_live.lifting.window import windows_at_once
    from posemamba_live.types import Pose2D

    if options.delay and not plan.live:
        logger.warning("--delay is for live sources; a file is lifted with whole windows")
    if checkpoint.meta.causal and options.mode is ModeName.ACCURATE:
        logger.warning("--mode accurate is for window weights; with these it is as balanced")
    on_gpu = runtime.device != "cpu"
    lifting, make = _fit(options, plan, checkpoint, runtime, averaged)
    use_threads(plan.lifter_threads)
    with _note("compiling the network's kernels for this machine: once, up to a minute", plan):
        if on_gpu:
            windows = 1 if plan.live else windows_at_once(lifting.window)
            runtime.warm_up(windows * (1 + lifting.mirrored), lifting.window)
        still = np.linspace(100.0, 300.0, 2 * NUM_JOINTS, dtype=np.float32).reshape(-1, 2)
        lifter = make()
        pose = Pose2D(0, 0.0, 0, still, np.ones(NUM_JOINTS, np.float32), (640, 480))
        answers = [*lifter.push(pose), *lifter.flush()]
    if not all(np.isfinite(answer.joints).all() for answer in answers):
        raise LiveError(
            "The weights cannot be used",
            why=f"{checkpoint.meta.name} answers with numbers that are not finite",
            hint="the file is damaged or was never trained; choose other --weights",
        )
    return lifting, make


def _fit(
    options: Options,
    plan: RunPlan,
    checkpoint: Checkpoint,
    runtime: LifterRuntime,
    averaged: Mapping[str, Checkpoint],
) -> tuple[LiftingPlan, Callable[[], Lifter]]:
    """How these networks lift this source."""
    from posemamba_live.lifting.factory import lifter_factory

    try:
        lifting = plan_lifting(
            checkpoint.meta,
            live=plan.live,
            fps=plan.fps,
            fov_deg=plan.fov_deg,
            mode=options.mode.value,
            window=options.window,
            delay=options.delay,
            on_gpu=runtime.device != "cpu",
        )
    except ValueError as error:
        raise UsageError(
            "--window or --delay does not suit the weights",
            why=str(error),
            hint="leave both out, or choose other --weights",
        ) from error
    second = averaged.get("second_weights") if plan.live else None
    return lifting, lifter_factory(checkpoint, lifting, runtime=runtime, second=second)


@contextmanager
def _note(text: str, plan: RunPlan) -> Iterator[None]:
    """Say what is going on, if it takes long."""
    if plan.quiet:
        yield
        return
    timer = threading.Timer(_NOTE_AFTER_S, say, (f"{text}...",))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
