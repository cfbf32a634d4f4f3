"""How right the newest pose is, as live use shows it, after so many frames of a take.

    python benchmarks/newest_frame.py --motion MOTION --weights window-m7 --weights causal-m8

Takes of validation motion at 30 frames a second, with the cameras and the detector's errors of
training; no tracker, no scene, no smoothing. Windows are of the newest frames, as many as the mode
gives them live on a CPU, and mirrored passes as it has them; causal networks begin with each
take's first frame. Errors are of the 12 limb joints, in millimetres at the statures that the takes
have: no scale is fitted.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer
from numpy.typing import NDArray

from posemamba.checkpoint import Checkpoint, load_checkpoint
from posemamba.normalize import ray_window, reflected, root_relative
from posemamba.skeleton import LIMB_JOINTS
from posemamba.training.metrics import joint_error, procrustes
from posemamba.training.motion import load_motion
from posemamba.training.scoring import predict
from posemamba.training.synth import Batch, SynthConfig, evaluation_windows
from posemamba_live.evaluation.synthetic import lift_causally, mirrored
from posemamba_live.plan import LiftingPlan, plan_lifting

Float = NDArray[np.float32]

AFTER: Final = (5, 27, 54, 81, 120, 240, 480, 960)
"""Frames of the take that have been seen, the newest included."""
NEIGHBOURS: Final = 3
"""Poses before each of these that are scored with it: one moment of a take says little."""


def main(
    motion: Annotated[Path, typer.Option(help="Folder of the motion files.")],
    weights: Annotated[list[str], typer.Option(help="Names or files, one or more.")],
    mode: Annotated[list[str], typer.Option(help="fast, balanced, accurate.")] = ["balanced"],  # noqa: B006
    takes: Annotated[int, typer.Option()] = 384,
    frames: Annotated[int, typer.Option(help="Length of a take.")] = 120,
    seed: Annotated[int, typer.Option()] = 2024,
) -> None:
    """Print MPJPE / PA-MPJPE of the newest pose, for each of the weights."""
    batch = validation_takes(motion, takes, frames, seed)
    after = [n for n in AFTER if n <= frames]
    print("after frames".ljust(24), *(f"{n:>12}" for n in after))
    for name, work in itertools.product(weights, mode):
        rows = errors(load_checkpoint(name), batch, after, work)
        label = f"{Path(name).stem} {work}".ljust(24)
        print(label, *(f"{a:6.1f}/{b:5.1f}" for a, b in rows), flush=True)


def errors(
    checkpoint: Checkpoint, batch: Batch, after: Sequence[int], mode: str
) -> list[tuple[float, float]]:
    """MPJPE and PA-MPJPE of the pose that is newest after so many frames."""
    limbs = list(LIMB_JOINTS)
    shown = [t for n in after for t in range(n - 1 - NEIGHBOURS, n)]
    true = root_relative(batch.joints)[:, shown][:, :, limbs] * 1000.0
    lifted = newest(checkpoint, batch, shown, mode)
    ours = lifted[:, :, limbs] * (1000.0 * batch.height)[:, None, None, None]
    plain = joint_error(ours, true).mean((0, 2))
    aligned = joint_error(procrustes(ours, true), true).mean((0, 2))
    means = (error.reshape(len(after), -1).mean(1) for error in (plain, aligned))
    return [(float(a), float(b)) for a, b in zip(*means, strict=True)]


def validation_takes(motion: Path, takes: int, frames: int, seed: int) -> Batch:
    """Takes of validation motion at its own rate, with the detector's errors of training."""
    config = SynthConfig.evaluation(0.2, 0.4, shoulders=True, occlusion=True)
    config = dataclasses.replace(config, native_rate=1.0)
    return evaluation_windows(load_motion(motion, "val"), takes, frames, seed, config)


def newest(checkpoint: Checkpoint, batch: Batch, shown: list[int], mode: str) -> Float:
    """(n, len(shown), 17, 3) root-relative, camera axes, body heights: each as it was newest."""
    meta = checkpoint.meta
    plan = plan_lifting(meta, live=True, fps=30.0, fov_deg=meta.fov_deg, mode=mode)
    straight = _newest(checkpoint, batch, shown, plan)
    if not plan.mirrored:
        return straight
    both = straight + reflected(_newest(checkpoint, mirrored(batch), shown, plan))
    return np.asarray(0.5 * both, np.float32)


def _newest(checkpoint: Checkpoint, batch: Batch, shown: list[int], plan: LiftingPlan) -> Float:
    meta = checkpoint.meta
    if meta.causal:
        lifted = lift_causally(
            checkpoint, batch.keypoints, batch.scores, batch.image_size, 1.0 / batch.fps,
            plan.fov_deg, batch.peaks,
        )  # fmt: skip
        return lifted[:, shown]
    answers = []
    for t in shown:
        part = slice(max(0, t + 1 - plan.window), t + 1)
        window = ray_window(
            batch.keypoints[:, part], batch.scores[:, part], batch.image_size, plan.fov_deg,
            batch.peaks[:, part],
        )  # fmt: skip
        answer = predict(checkpoint.model, window.inputs[..., : meta.config.in_channels])
        answers.append(window.to_camera(answer[:, -1:]))
    return root_relative(np.concatenate(answers, 1))


if __name__ == "__main__":
    typer.run(main)
