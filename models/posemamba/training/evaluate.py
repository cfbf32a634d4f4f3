"""posemamba-eval: how good are these weights?

One command per question: windows synthesised from motion capture (`synthetic`), videos with
ground truth through the product itself (`clips`), and the field's benchmarks (`h36m`, `mpi`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from torch import nn

from posemamba.checkpoint import CheckpointError, load_checkpoint
from posemamba.skeleton import JOINT_NAMES, LIMB_JOINTS
from posemamba.training.metrics import (
    best_scale,
    hip_aligned,
    joint_error,
    procrustes,
    score,
)
from posemamba.training.motion import MotionError, load_motion
from posemamba.training.synth import Batch, SynthConfig, evaluation_windows

Float = NDArray[np.float32]

SYNTHETIC_WINDOWS: Final = 1024
CLOSE_WINDOWS: Final = 512

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)


def predict(model: nn.Module, windows: Batch, batch: int = 64) -> Float:
    """The network's answer in body heights, virtual-camera axes: (n, T, 17, 3)."""
    device = next(model.parameters()).device
    inputs = torch.from_numpy(windows.inputs)
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            parts = [model(part.to(device)).float().cpu() for part in inputs.split(batch)]
    finally:
        model.train(was_training)
    return np.asarray(torch.cat(parts).detach().numpy(), np.float32)


def millimetres(joints: Float, windows: Batch) -> Float:
    """(n, T, 17, 3) body heights to millimetres."""
    return np.asarray(joints * (1000.0 * windows.height)[:, None, None, None])


def evaluate_model(model: nn.Module, windows: Batch, batch: int = 64) -> dict[str, float]:
    """Score a network on a set of windows: all metrics, 12 limb joints, millimetres.

    `centre_*` and `last_*` score only the middle and the newest frame of each window (which is
    what live use shows); without a prefix every frame counts.
    """
    predicted = millimetres(predict(model, windows, batch), windows)
    true = millimetres(windows.target, windows)
    out = score(predicted, true).as_dict()
    middle = predicted.shape[1] // 2
    for name, frame in (("centre", slice(middle, middle + 1)), ("last", slice(-1, None))):
        one = score(predicted[:, frame], true[:, frame])
        out |= {f"{name}_mpjpe": one.mpjpe, f"{name}_pa_mpjpe": one.pa_mpjpe}
    return out


def main() -> None:
    """Entry point."""
    app()


if __name__ == "__main__":
    main()
