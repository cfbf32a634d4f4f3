"""How good a network is on windows whose poses are known: for the trainer and for evaluation."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from posemamba.skeleton import NUM_JOINTS
from posemamba.training.metrics import score
from posemamba.training.synth import Batch

Float = NDArray[np.float32]


def predict(model: nn.Module, inputs: Float, batch: int = 64) -> Float:
    """The network's answer to (n, T, 17, C) inputs: (n, T, 17, 3) in its own unit."""
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            parts = torch.from_numpy(inputs).split(batch)
            answers = [model(x.to(device))[:, :, :NUM_JOINTS] for x in parts]
            return np.concatenate([answer.float().cpu().numpy() for answer in answers])
    finally:
        model.train(was_training)


def evaluate_model(model: nn.Module, windows: Batch, batch: int = 64) -> dict[str, float]:
    """Score a network on a set of windows: all metrics, 12 limb joints, millimetres.

    `centre_*` and `last_*` score only the middle and the newest frame of each window (which is
    what live use shows); without a prefix every frame counts. `n_far` and `n_close` are
    N-MPJPE of room and webcam views.
    """
    predicted = millimetres(predict(model, windows.inputs, batch), windows)
    true = millimetres(windows.target, windows)
    out = score(predicted, true).as_dict()
    middle = predicted.shape[1] // 2
    for name, frame in (("centre", slice(middle, middle + 1)), ("last", slice(-1, None))):
        one = score(predicted[:, frame], true[:, frame])
        out |= {f"{name}_mpjpe": one.mpjpe, f"{name}_pa_mpjpe": one.pa_mpjpe}
    for name, own in (("n_far", ~windows.close), ("n_close", windows.close)):
        if own.any():
            out[name] = score(predicted[own], true[own]).n_mpjpe
    return out


def millimetres(joints: Float, windows: Batch) -> Float:
    """(n, T, 17, 3) body heights of the people in the windows to millimetres."""
    return np.asarray(joints * (1000.0 * windows.height)[:, None, None, None])
