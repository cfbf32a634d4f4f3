"""Which lifter suits the weights, the source and the time there is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from posemamba.checkpoint import Checkpoint
from posemamba.network import Network
from posemamba.runtime import LifterRuntime
from posemamba_live.lifting.causal import StreamLifter
from posemamba_live.lifting.rates import at_known_rate
from posemamba_live.lifting.window import FileLifter, Lifter, LiveLifter


@dataclass(frozen=True, slots=True)
class Mode:
    """How much work a lifter does per frame."""

    overlap: int
    """Windows that cover each frame of a file; they start frames / overlap apart."""
    mirrored_files: bool
    """Lift the mirrored person too and average."""
    mirrored_live: bool = False
    """The same for live sources, where every pose costs a window."""
    live_frames: int | None = None
    """Frames of a live window up to the shown one, on a CPU; all that the weights take if None."""

    def mirrored(self, live: bool) -> bool:
        return self.mirrored_live if live else self.mirrored_files


MODES: Final = {
    "fast": Mode(overlap=2, mirrored_files=False, live_frames=13),
    # More overlap wins next to nothing; the mirrored pass a millimetre. What happened more than
    # 18 frames ago changes the newest pose by 0.1 mm, for half as much time again; 13 frames
    # cost it 1.2 mm (validation motion).
    "balanced": Mode(overlap=2, mirrored_files=True, live_frames=18),
    "accurate": Mode(overlap=6, mirrored_files=True, mirrored_live=True),
}


def window_frames(
    checkpoint: Checkpoint,
    mode: Mode,
    *,
    live: bool,
    delay: int = 0,
    frames: int | None = None,
    on_gpu: bool = False,
) -> int:
    """How many frames the network sees together; 1 for causal weights.

    Args:
        frames: what the user wants, if anything.
        on_gpu: where a longer window costs next to nothing.
    """
    built_for = checkpoint.meta.frames
    if checkpoint.meta.causal:
        return 1
    if frames is not None:
        return frames
    # Published networks have only ever seen windows of full length.
    if not live or on_gpu or mode.live_frames is None or checkpoint.meta.input_kind != "rays":
        return built_for
    return min(built_for, mode.live_frames + delay)


def lifter_factory(
    checkpoint: Checkpoint,
    *,
    mode: Mode,
    fov_deg: float,
    fps: float,
    live: bool,
    frames: int | None = None,
    delay: int = 0,
    runtime: LifterRuntime | None = None,
) -> Callable[[], Lifter]:
    """What makes the lifters, one for each person, that suit weights and source.

    Args:
        checkpoint: window or causal weights.
        mode: how much work it is worth.
        fov_deg: field of view across the picture's longer side.
        fps: of the source.
        live: each pose is wanted as soon as its frame is there.
        frames: window, where the weights take one; by default `window_frames` chooses.
        delay: frames of look-ahead in live use.
        runtime: runs the model of window weights; by default it runs where it is.

    Raises:
        ValueError: a window that the weights do not take, or a delay outside of it.
    """
    if checkpoint.meta.causal:
        if delay:
            raise ValueError("these weights see no later frames, so that a delay is of no use")
        if frames is not None:
            raise ValueError("these weights have no window: they see every frame so far")
        make: Callable[[], Lifter] = partial(StreamLifter, checkpoint, fov_deg=fov_deg)
    else:
        on_gpu = runtime is not None and runtime.device.type != "cpu"
        network = Network(
            checkpoint,
            fov_deg=fov_deg,
            mirrored=mode.mirrored(live),
            frames=window_frames(
                checkpoint, mode, live=live, delay=delay, frames=frames, on_gpu=on_gpu
            ),
            runtime=runtime,
        )
        if live:
            LiveLifter(network, delay)  # a delay that is out of range shows here
            return partial(LiveLifter, network, delay)
        make = partial(FileLifter, network, mode.overlap)
    return make if live else at_known_rate(make, fps)
