"""What a run does, decided once and read by everybody else.

`RunPlan` is made from the options as soon as the source is open: live or file, what comes in,
what goes out, how many threads. `LiftingPlan` follows once the weights and the device are
known: window or causal, how much of it, how far it sees ahead.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from posemamba.normalize import ASSUMED_FOV_DEG
from posemamba_live.options import DeviceName, ModeName, Options, SubjectName, UnseenName

if TYPE_CHECKING:
    from posemamba.metadata import CheckpointMeta

FILM_WEIGHTS: Final = "window-m7"
"""Of films, and of live sources where later frames or a window are asked for."""
LIVE_WEIGHTS: Final = "causal-m10"
"""A small step for each frame: fresher and steadier than a window, and cheap for many people."""
SECOND_WEIGHTS: Final = LIVE_WEIGHTS
"""Averaged with windows: over whole films, and live where it is worth the work."""
WHOLE_WEIGHTS: Final = "film-m2"
"""Sees eight seconds at once, in both directions of time: averaged with both over whole films."""
SHIPPED: Final = (FILM_WEIGHTS, LIVE_WEIGHTS, WHOLE_WEIGHTS)
"""What runs have unless they are told otherwise."""
SEEN_WITH: Final = ("second_weights", "whole_weights")
"""What a run's meta calls the weights that a film is averaged with when it has been read; their
checksums are beside them as NAME_sha256."""
DEFAULT_HEIGHT_M: Final = 1.70
_MOST_THREADS: Final = 4
"""More make neither network faster."""


class SourceFacts(Protocol):
    """What the plan has to know of an opened source."""

    @property
    def name(self) -> str: ...
    @property
    def live(self) -> bool: ...
    @property
    def fps(self) -> float: ...
    @property
    def size(self) -> tuple[int, int]: ...
    @property
    def frame_count(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Mode:
    """How much work a lifter does per frame."""

    overlap: int
    """Windows that cover each frame of a file; they start frames / overlap apart."""
    mirrored: bool
    """Lift the mirrored person too and average."""
    mirrored_windows_live: bool = False
    """The same where every pose costs a window: live, with weights that are not causal."""
    live_frames: int | None = None
    """Frames of a live window up to the shown one, on a CPU; all that the weights take if None."""


MODES: Final = {
    "fast": Mode(overlap=2, mirrored=False, live_frames=13),
    # More overlap wins next to nothing; the mirrored pass a millimetre. What happened more than
    # 18 frames ago changes the newest pose by 0.1 mm, for half as much time again; 13 frames
    # cost it 1.2 mm (validation motion).
    "balanced": Mode(overlap=2, mirrored=True, live_frames=18),
    "accurate": Mode(overlap=6, mirrored=True, mirrored_windows_live=True),
}
"""By ModeName."""


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What is decided before anything is loaded."""

    source: str
    """Its name, as shown."""
    live: bool
    """A camera, a stream, or a file that is played as one: the newest frame wins."""
    replayed: bool
    """A file that is played as if it were a camera."""
    fps: float
    """Nominal, frames a second."""
    image_size: tuple[int, int]
    """(W, H) pixels."""
    frames: int | None = None
    """How many will come, if that is known."""
    duration: float | None = None
    """Seconds from the first frame on, of a file's own time or of the clock."""
    people: int = 1
    """How many to follow at most."""
    subject: SubjectName = SubjectName.FIRST
    """Who comes first where there are more."""
    heights_m: Sequence[float] = (DEFAULT_HEIGHT_M,)
    """Of people in the order of their identities; the last is of all others."""
    pitch_deg: float | None = None
    """Of the camera, negative looks down; None where it is not known."""
    fov_deg: float = ASSUMED_FOV_DEG
    """Field of view across the picture's longer side."""
    weights: str = FILM_WEIGHTS
    """The lifter's: a name, or a file."""
    second_weights: str | None = None
    """Weights with whose answers those of windows are averaged: over a whole film when it has been
    read, live causal ones as they come."""
    whole_weights: str | None = None
    """Weights of long windows with which all that is averaged once more."""
    smooth: float = 1.0
    """Strength of the smoothing over time, 0 for none."""
    unseen: UnseenName = UnseenName.FAINT
    """What becomes of joints that nobody has seen for some seconds, in pictures and streams."""
    device: DeviceName = DeviceName.AUTO
    """What is asked for; LiftingPlan has what there is."""
    lifter_threads: int = 1
    """CPU threads of the lifter."""
    detector_threads: int = 1
    """CPU threads of the detector."""
    exports: Sequence[Path] = ()
    record: Path | None = None
    overwrite: bool = False
    watched: bool = False
    """There is a window."""
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class LiftingPlan:
    """How 2D becomes 3D: what weights, source, device and the user's wishes come to."""

    live: bool
    causal: bool
    """The network goes from frame to frame and has no window."""
    window: int
    """Frames that the network sees together; 1 for causal networks."""
    delay: int
    """Live: frames between the shown pose and the newest frame."""
    mirrored: bool
    """The mirrored person is lifted too, and both are averaged."""
    overlap: int
    """Windows that cover each frame of a file."""
    fps: float
    """Of the source, nominal."""
    fov_deg: float

    @property
    def look_ahead(self) -> int:
        """Most frames after a pose's own that the network has seen for it."""
        return self.delay if self.live or self.causal else self.window - 1


def plan_run(options: Options, source: SourceFacts) -> RunPlan:
    """What is decided once the source is open."""
    frames = source.frame_count
    if frames is not None and options.duration is not None:
        frames = min(frames, math.ceil(options.duration * source.fps))
    lifter_threads = options.threads or _threads_but(1)
    live = source.live or options.realtime
    return RunPlan(
        source=source.name,
        live=live,
        replayed=options.realtime and not source.live,
        fps=source.fps,
        image_size=source.size,
        frames=frames,
        duration=options.duration,
        people=options.people,
        subject=options.subject,
        heights_m=tuple(options.heights) or (DEFAULT_HEIGHT_M,),
        pitch_deg=options.pitch,
        fov_deg=_fov(options, source),
        weights=options.weights or default_weights(options, live=live),
        second_weights=second_weights(options, live=live),
        whole_weights=whole_weights(options, live=live),
        smooth=options.smooth,
        unseen=options.unseen,
        device=options.device,
        lifter_threads=lifter_threads,
        detector_threads=_threads_but(lifter_threads),
        exports=tuple(options.exports),
        record=options.record,
        overwrite=options.overwrite,
        watched=not options.headless,
        quiet=options.verbosity < 0,
    )


def default_weights(options: Options, *, live: bool) -> str:
    """The shipped weights that do best what is asked for."""
    window = options.delay or options.window is not None or options.mode is ModeName.ACCURATE
    # One frame's step is too little work for a GPU.
    return (
        LIVE_WEIGHTS
        if live and not window and options.device is not DeviceName.CUDA
        else FILM_WEIGHTS
    )


def second_weights(options: Options, *, live: bool) -> str | None:
    """What windows are averaged with: nothing where weights or windows are asked for, which are
    then to be seen as they are."""
    if options.weights is not None or options.window is not None:
        return None
    if live:
        newest = options.delay == 0 and options.device is not DeviceName.CUDA
        return SECOND_WEIGHTS if newest and options.mode is ModeName.ACCURATE else None
    return None if options.mode is ModeName.FAST else SECOND_WEIGHTS


def whole_weights(options: Options, *, live: bool) -> str | None:
    """What films are averaged with at the end, besides."""
    return None if live or second_weights(options, live=False) is None else WHOLE_WEIGHTS


def _fov(options: Options, source: SourceFacts) -> float:
    """What is told, or what the source says of its lens, or what is usual."""
    if options.fov is not None:
        return options.fov
    said: float | None = getattr(source, "fov_deg", None)
    return ASSUMED_FOV_DEG if said is None else said


def plan_lifting(
    meta: CheckpointMeta,
    *,
    live: bool,
    fps: float,
    fov_deg: float,
    mode: str = ModeName.BALANCED.value,
    window: int | None = None,
    delay: int = 0,
    on_gpu: bool = False,
) -> LiftingPlan:
    """How these weights are used.

    Args:
        meta: of the weights.
        live: each pose is wanted as soon as its frame is there.
        fps: of the source, nominal.
        fov_deg: field of view across the picture's longer side.
        mode: how much work it is worth; a key of MODES.
        window: frames that the network is to see together, if the user says so.
        delay: frames of look-ahead in live use; files have what the window gives.
        on_gpu: where a longer window costs next to nothing.

    Raises:
        ValueError: a window that the weights do not take, or a delay outside of it.
    """
    work = MODES[mode]
    delay = delay if live else 0
    if meta.causal:
        if delay:
            raise ValueError("these weights see no later frames, so that a delay is of no use")
        if window is not None:
            raise ValueError("these weights have no window: they see every frame so far")
        frames = 1
    else:
        default = _default_window(meta, work, live=live, delay=delay, on_gpu=on_gpu)
        frames = default if window is None else window
        if not 1 <= frames <= meta.frames:
            raise ValueError(f"a window of {frames} frames; the weights take 1 to {meta.frames}")
        if not 0 <= delay < frames:
            raise ValueError(f"a delay of {delay} frames; the window has {frames}")
    return LiftingPlan(
        live=live,
        causal=meta.causal,
        window=frames,
        delay=delay,
        mirrored=work.mirrored_windows_live if live and not meta.causal else work.mirrored,
        overlap=work.overlap,
        fps=fps,
        fov_deg=fov_deg,
    )


def _default_window(
    meta: CheckpointMeta, work: Mode, *, live: bool, delay: int, on_gpu: bool
) -> int:
    # Published networks have only ever seen windows of full length.
    if not live or on_gpu or work.live_frames is None or meta.input_kind == "image":
        return meta.frames
    return min(meta.frames, work.live_frames + delay)


def _threads_but(taken: int) -> int:
    """CPU threads for one network, where the other has so many."""
    return max(1, min(_MOST_THREADS, (os.cpu_count() or 2) - taken))
