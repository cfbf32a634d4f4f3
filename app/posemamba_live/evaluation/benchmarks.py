"""Weights on the windows of the field's benchmarks."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from posemamba.checkpoint import Checkpoint
from posemamba.network import Network
from posemamba.normalize import (
    image_window,
    mirror_image,
    mirrored_inputs,
    reflected,
    root_relative,
)
from posemamba.training.benchmark_sets import Predict, Sequence
from posemamba.training.scoring import predict
from posemamba_live.evaluation.synthetic import lift_causally

Float = NDArray[np.float32]

_BENCHMARK_STEP_S: Final = 0.02
"""Human3.6M has 50 frames a second, and so have most sequences of MPI-INF-3DHP."""


def benchmark_predictor(checkpoint: Checkpoint, flip: bool, height: float) -> Predict:
    """Weights as a function from a benchmark's windows to millimetres.

    Networks in image units are scored in them where the benchmark says what a unit is, as
    their authors did. All others answer in body heights, and `height` makes these metres.
    """

    def in_units(sequence: Sequence, rows: NDArray[np.int64]) -> Float:
        inputs = image_window(sequence.keypoints[rows], sequence.image_size)
        out = predict(checkpoint.model, inputs)
        if flip:
            out = 0.5 * (out + reflected(predict(checkpoint.model, mirrored_inputs(inputs))))
        assert sequence.unit_mm is not None
        return np.asarray(root_relative(out) * sequence.unit_mm[rows][..., None, None])

    def in_heights(sequence: Sequence, rows: NDArray[np.int64]) -> Float:
        fov = checkpoint.meta.fov_deg
        if sequence.focal is not None:
            fov = math.degrees(2 * math.atan(0.5 * max(sequence.image_size) / sequence.focal))
        keypoints, scores = sequence.keypoints[rows], sequence.scores[rows]
        size = sequence.image_size
        if checkpoint.meta.causal:

            def causal(points: Float, trust: Float) -> Float:
                return lift_causally(checkpoint, points, trust, size, _BENCHMARK_STEP_S, fov)

            out = causal(keypoints, scores)
            if flip:
                out = 0.5 * (out + reflected(causal(*mirror_image(keypoints, scores, size[0]))))
        else:
            out = Network(checkpoint, fov_deg=fov, mirrored=flip)(keypoints, scores, size)
        return np.asarray(1000.0 * height * out)

    def either(sequence: Sequence, rows: NDArray[np.int64]) -> Float:
        native = checkpoint.meta.output_unit == "image" and sequence.unit_mm is not None
        return (in_units if native else in_heights)(sequence, rows)

    return either
