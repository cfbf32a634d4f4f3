"""The lifters that a plan asks for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from posemamba.checkpoint import Checkpoint
from posemamba.network import Network
from posemamba.runtime import LifterRuntime
from posemamba.streams import CausalNetwork
from posemamba_live.lifting.averaged import AveragedLifter
from posemamba_live.lifting.blending import NETWORK_FPS
from posemamba_live.lifting.causal import CausalLifter
from posemamba_live.lifting.rates import at_known_rate, rate_seen
from posemamba_live.lifting.window import FileLifter, Lifter, LiveLifter
from posemamba_live.plan import LiftingPlan


def lifter_factory(
    checkpoint: Checkpoint,
    plan: LiftingPlan,
    *,
    runtime: LifterRuntime | None = None,
    second: Checkpoint | None = None,
) -> Callable[[], Lifter]:
    """What makes the lifters, one for each person.

    Args:
        checkpoint: window or causal weights.
        plan: made for these weights (`plan.plan_lifting`).
        runtime: runs window weights; by default they run on the CPU.
        second: causal weights with which live windows are averaged.
    """
    if plan.causal:
        stream = CausalNetwork(checkpoint, mirrored=plan.mirrored)
        make: Callable[[], Lifter] = partial(CausalLifter, stream, fov_deg=plan.fov_deg)
    else:
        network = Network(
            checkpoint,
            fov_deg=plan.fov_deg,
            mirrored=plan.mirrored,
            frames=plan.window,
            runtime=runtime,
            fps=NETWORK_FPS if plan.live else rate_seen(plan.fps),
        )
        if plan.live:
            live = partial(LiveLifter, network, plan.delay)
            if second is None:
                return live
            stream = CausalNetwork(second, mirrored=plan.mirrored)
            return lambda: AveragedLifter(live(), CausalLifter(stream, fov_deg=plan.fov_deg))
        make = partial(FileLifter, network, plan.overlap)
    return make if plan.live else at_known_rate(make, plan.fps)
