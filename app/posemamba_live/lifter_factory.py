"""Which lifter suits the weights, the source and the time there is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from posemamba.checkpoint import Checkpoint
from posemamba.runtime import LifterRuntime
from posemamba_live.lifter import FileLifter, Lifter, LiveLifter
from posemamba_live.network import Network
from posemamba_live.rates import at_known_rate
from posemamba_live.stream_lifter import StreamLifter


@dataclass(frozen=True, slots=True)
class Mode:
    """How much work a lifter does per frame."""

    overlap: int
    """Windows that cover each frame of a file; they start frames / overlap apart."""
    mirrored_files: bool
    """Lift the mirrored person too and average."""
    mirrored_live: bool = False
    """The same for live sources, where every pose costs a window."""

    def mirrored(self, live: bool) -> bool:
        return self.mirrored_live if live else self.mirrored_files


MODES: Final = {
    "fast": Mode(overlap=2, mirrored_files=False),
    # More overlap wins next to nothing; the mirrored pass a millimetre.
    "balanced": Mode(overlap=2, mirrored_files=True),
    "accurate": Mode(overlap=6, mirrored_files=True, mirrored_live=True),
}


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
        frames: window, where the weights take one.
        delay: frames of look-ahead in live use.
        runtime: runs the model of window weights; by default it runs where it is.

    Raises:
        ValueError: a window that the weights do not take, or a delay outside of it.
    """
    if checkpoint.meta.input_kind == "stream":
        if delay:
            raise ValueError("these weights see no later frames, so that a delay is of no use")
        make: Callable[[], Lifter] = partial(StreamLifter, checkpoint, fov_deg=fov_deg)
    else:
        network = Network(
            checkpoint,
            fov_deg=fov_deg,
            mirrored=mode.mirrored(live),
            frames=frames,
            runtime=runtime,
        )
        if live:
            LiveLifter(network, delay)  # a delay that is out of range shows here
            return partial(LiveLifter, network, delay)
        make = partial(FileLifter, network, mode.overlap)
    return make if live else at_known_rate(make, fps)
