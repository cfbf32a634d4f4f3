"""How right the poses of films are, with windows alone and seen both ways as well.

    python benchmarks/whole_films.py --motion MOTION --both-ways causal-m9

Takes of validation motion at 30 frames a second, with the cameras and the detector's errors of
training, through the lifters of the program; no tracker, no scene, no smoothing. Errors are of
the 12 limb joints, in millimetres at the statures that the takes have.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from newest_frame import validation_takes
from numpy.typing import NDArray

from posemamba.checkpoint import load_checkpoint
from posemamba.normalize import root_relative
from posemamba.training.metrics import Scores, score
from posemamba.training.synth import Batch
from posemamba_live.lifting.both_ways import seen_as_a_whole
from posemamba_live.lifting.factory import lifter_factory
from posemamba_live.plan import FILM_WEIGHTS, SECOND_WEIGHTS, WHOLE_WEIGHTS, plan_lifting
from posemamba_live.types import LiftedPose, Pose2D

FPS = 30.0


def main(
    motion: Annotated[Path, typer.Option(help="Folder of the motion files.")],
    weights: Annotated[str, typer.Option(help="Of the windows.")] = FILM_WEIGHTS,
    both_ways: Annotated[list[str], typer.Option(help="Averaged with, in turn.")] = [  # noqa: B006
        SECOND_WEIGHTS,
        WHOLE_WEIGHTS,
    ],
    mode: Annotated[str, typer.Option(help="fast, balanced, accurate.")] = "balanced",
    takes: Annotated[int, typer.Option()] = 192,
    frames: Annotated[int, typer.Option(help="Length of a take.")] = 120,
    seed: Annotated[int, typer.Option()] = 2024,
) -> None:
    """Print N-MPJPE / PA-MPJPE / MPJPE / acceleration error."""
    batch = validation_takes(motion, takes, frames, seed)
    for name, own in scores(batch, weights, both_ways, mode):
        print(
            f"{name:34s} {own.n_mpjpe:5.1f} / {own.pa_mpjpe:5.1f} / {own.mpjpe:5.1f} / "
            f"{own.accel:4.1f}",
            flush=True,
        )


def scores(
    batch: Batch, weights: str, both_ways: Sequence[str], mode: str = "balanced"
) -> Iterator[tuple[str, Scores]]:
    """What windows make of the takes, and with each of the others in turn as well."""
    checkpoint = load_checkpoint(weights)
    fov = checkpoint.meta.fov_deg
    plan = plan_lifting(checkpoint.meta, live=False, fps=FPS, fov_deg=fov, mode=mode)
    make = lifter_factory(checkpoint, plan)
    lifted: list[LiftedPose] = []
    for number in range(len(batch.keypoints)):
        lifter = make()
        lifted += [done for pose in take(batch, number) for done in lifter.push(pose)]
        lifted += lifter.flush()
    yield weights, score_of(lifted, batch)
    label = weights
    for name in both_ways:
        lifted = seen_as_a_whole(lifted, load_checkpoint(name), fps=FPS, fov_deg=fov)
        label += f" and {Path(name).stem}"
        yield label, score_of(lifted, batch)


def take(batch: Batch, number: int) -> list[Pose2D]:
    """One take as the track of a person of its own."""
    width, height = (int(side) for side in batch.image_size[number])
    return [
        Pose2D(t, t / FPS, number, keypoints, scores, (width, height), peak=batch.peaks[number, t])
        for t, (keypoints, scores) in enumerate(
            zip(batch.keypoints[number], batch.scores[number], strict=True)
        )
    ]


def score_of(lifted: Sequence[LiftedPose], batch: Batch) -> Scores:
    ours: NDArray[np.float32] = np.stack([pose.joints for pose in lifted]).reshape(
        batch.joints.shape
    )
    scale = (1000.0 * batch.height)[:, None, None, None]
    return score(ours * scale, root_relative(batch.joints) * np.float32(1000.0))


if __name__ == "__main__":
    typer.run(main)
