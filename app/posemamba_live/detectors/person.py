"""Finds people's boxes with YOLOX or RTMDet, published either with or without NMS."""

from __future__ import annotations

from typing import Final

import numpy as np

from posemamba_live.detectors.onnx_graph import first_operators
from posemamba_live.detectors.onnx_model import Kind, OnnxModel, Outputs, grid_cells
from posemamba_live.detectors.placement import letterbox, planes
from posemamba_live.types import FloatArray, Image

MIN_SCORE: Final = 0.5
_MAX_OVERLAP: Final = 0.65
"""Intersection over union from which the less sure of two boxes is dropped."""
_PERSON: Final = 0
"""Class of people in COCO, the only one of models for people alone."""
_DECODED: Final = 4.0
"""Offsets within a cell stay well below this many strides; positions in the input do not."""

# RTMDet was trained on normalised BGR, YOLOX on plain 0 to 255.
_RTMDET_MEAN: Final = (103.53, 116.28, 123.675)
_RTMDET_STD: Final = (57.375, 57.12, 58.395)


class PersonDetector:
    """Boxes of people, the surest first.

    YOLOX and RTMDet have the same outputs but want other pixels. They are told apart by
    how the network begins: YOLOX takes the picture into four by slicing, RTMDet begins
    with a convolution.

    Args:
        model: of kind BOXES or GRID.
    """

    def __init__(self, model: OnnxModel) -> None:
        self.model = model
        plain = model.kind is Kind.GRID or "Conv" not in first_operators(
            model.path, model.input_name
        )
        self.family = "YOLOX" if plain else "RTMDet"
        self._cells = grid_cells(model.size)

    def find(self, image: Image) -> FloatArray:
        """(N, 4) left, top, right, bottom in pixels of the picture (BGR)."""
        picture, placement = letterbox(image, self.model.size)
        if self.family == "RTMDet":
            pixels = planes(picture, _RTMDET_MEAN, _RTMDET_STD)
        else:
            pixels = planes(picture)
        outputs = self.model.run(pixels[None])
        boxes, scores = self._read(outputs)
        corners = np.ascontiguousarray(boxes[keep(boxes, scores, MIN_SCORE)]).reshape(-1, 2)
        corners = np.clip(placement.to_picture(corners), 0.0, image.shape[1::-1])
        return corners.reshape(-1, 4)

    def _read(self, outputs: Outputs) -> tuple[FloatArray, FloatArray]:
        """(N, 4) boxes in the input and (N,) scores of people, everything included."""
        first = outputs.first[0]
        if self.model.kind is Kind.BOXES:
            people = np.ones(len(first), bool)
            if outputs.second.size:
                people = outputs.second[0] == _PERSON
            return first[people, :4], first[people, 4]
        stride = self._cells[:, 2:]
        middle, size = first[:, :2], first[:, 2:4]
        if not np.abs(middle).max(initial=0.0) > _DECODED * stride.max():
            middle = (middle + self._cells[:, :2]) * stride
            size = np.exp(np.minimum(size, 10.0)) * stride
        boxes = np.concatenate([middle - 0.5 * size, middle + 0.5 * size], 1)
        return boxes, first[:, 4] * first[:, 5 + _PERSON]


def keep(boxes: FloatArray, scores: FloatArray, min_score: float) -> list[int]:
    """Indices of the boxes that are sure enough and not mostly under a surer one, by score."""
    good = np.isfinite(boxes).all(1) & (scores >= min_score)  # NaN is not
    good &= (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    order = [int(i) for i in np.argsort(-scores, kind="stable") if good[i]]
    kept: list[int] = []
    for index in order:
        if all(overlap(boxes[index], boxes[other]) <= _MAX_OVERLAP for other in kept):
            kept.append(index)
    return kept


def overlap(a: FloatArray, b: FloatArray) -> float:
    """Intersection over union of two boxes (left, top, right, bottom)."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    if (sides <= 0).any():
        return 0.0
    common = float(sides.prod())
    return common / (float((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod()) - common)
