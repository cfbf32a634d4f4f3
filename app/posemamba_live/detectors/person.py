"""Person detectors: the one that was asked for, and the kinds that find boxes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from posemamba_live.detectors.base import DetectorSettings, PersonDetector, Region
from posemamba_live.detectors.blazepose_detector import BlazePoseDetector, is_blazepose_detector
from posemamba_live.detectors.onnx_graph import first_operators
from posemamba_live.detectors.onnx_model import PUBLISHED, Kind, OnnxModel, Outputs, grid_cells
from posemamba_live.detectors.onnx_runtime import Session
from posemamba_live.detectors.placement import letterbox, planes
from posemamba_live.errors import DetectorError, UsageError
from posemamba_live.types import FloatArray, Image

NO_PERSON_MODEL: Final = "none"
"""Instead of a person detector: the whole picture is where somebody is."""

MIN_SCORE: Final = 0.5
_MAX_OVERLAP: Final = 0.65
"""Intersection over union from which the less sure of two boxes is dropped."""
_PERSON: Final = 0
"""Class of people in COCO, the only one of models for people alone."""
_DECODED: Final = 4.0
"""Offsets within a cell stay well below this many strides; positions in the input do not."""

_MOST_BOXES: Final = 300
"""Candidates that are compared with each other; RTMDet gives no more."""
# RTMDet was trained on normalised BGR, YOLOX on plain 0 to 255.
_RTMDET_MEAN: Final = (103.53, 116.28, 123.675)
_RTMDET_STD: Final = (57.375, 57.12, 58.395)


def open_person_detector(
    settings: DetectorSettings, default: Callable[[], PersonDetector]
) -> PersonDetector:
    """The person detector that was asked for, or else the default one.

    Raises:
        UsageError: a model that does not find people, or none where one is needed.
        DetectorError: a model cannot be used.
    """
    if settings.person_model is None:
        return default()
    if settings.person_model != NO_PERSON_MODEL:
        path = Path(settings.person_model)
        session = Session(
            path,
            device=settings.device,
            threads=settings.threads,
            hint=PUBLISHED,
            foreign=True,
        )
        if is_blazepose_detector(session):
            return BlazePoseDetector(session)
        model = OnnxModel(session)
        if model.kind not in (Kind.BOXES, Kind.GRID):
            raise UsageError(
                f"{path} does not find people ({model.kind.value})",
                hint="--person-model takes a YOLOX or RTMDet model, or the word none",
            )
        return BoxDetector(model)
    if settings.people > 1:
        raise UsageError(
            f"--people {settings.people} needs a person detector",
            hint="--person-model FILE instead of --person-model none",
        )
    if settings.detect_every:
        raise UsageError(
            f"--detect-every {settings.detect_every} needs a person detector",
            hint="leave it out, or --person-model FILE instead of --person-model none",
        )
    return WholePicture()


class WholePicture:
    """Stands in for a person detector where one person fills the picture."""

    def find(self, image: Image) -> list[Region]:
        """The picture (H, W, 3)."""
        height, width = image.shape[:2]
        return [Region.of_box(np.array([0, 0, width, height], np.float32))]

    def describe(self) -> dict[str, Any]:
        return {"model": None}

    def close(self) -> None:
        pass


class BoxDetector:
    """Boxes of people by YOLOX or RTMDet, published either with or without NMS.

    The two have the same outputs but want other pixels. They are told apart by
    how the network begins: YOLOX takes the picture into four by slicing, RTMDet begins
    with a convolution.

    Args:
        model: of kind BOXES or GRID.
    """

    def __init__(self, model: OnnxModel) -> None:
        self._model: OnnxModel | None = model
        self._about = {"model": model.path.name, **model.runs_on()}
        plain = model.kind is Kind.GRID or "Conv" not in first_operators(
            model.path, model.input_name
        )
        self.family = "YOLOX" if plain else "RTMDet"
        self._cells = grid_cells(model.size)

    def find(self, image: Image) -> list[Region]:
        """Everybody in the picture (H, W, 3) BGR, the surest first.

        Raises:
            DetectorError: the model failed, or is closed.
        """
        if self._model is None:
            raise DetectorError("The person detector is closed")
        picture, placement = letterbox(image, self._model.size)
        if self.family == "RTMDet":
            pixels = planes(picture, _RTMDET_MEAN, _RTMDET_STD)
        else:
            pixels = planes(picture)
        boxes, scores = self._read(self._model.kind, self._model.run(pixels[None]))
        kept = keep(boxes, scores, MIN_SCORE)
        corners = np.ascontiguousarray(boxes[kept]).reshape(-1, 2)
        corners = np.clip(placement.to_picture(corners), 0.0, image.shape[1::-1])
        return [
            Region.of_box(box, float(score))
            for box, score in zip(corners.reshape(-1, 4), scores[kept], strict=True)
        ]

    def describe(self) -> dict[str, Any]:
        return dict(self._about)

    def close(self) -> None:
        self._model = None

    def _read(self, kind: Kind, outputs: Outputs) -> tuple[FloatArray, FloatArray]:
        """(N, 4) boxes in the input and (N,) scores of people, everything included."""
        first = outputs.first[0]
        if kind is Kind.BOXES:
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
    # The surest of them: comparing each with each of a network's 200,000 would take minutes.
    sure = np.flatnonzero(good)
    order = sure[np.argsort(-scores[sure], kind="stable")][:_MOST_BOXES]
    kept: list[int] = []
    while len(order):
        first, others = order[0], order[1:]
        kept.append(int(first))
        order = others[overlap(boxes[first], boxes[others]) <= _MAX_OVERLAP]
    return kept


def overlap(one: FloatArray, others: FloatArray) -> NDArray[np.float64]:
    """Intersection over union of a box (left, top, right, bottom) with each of (N, 4) others."""
    low, high = np.maximum(one[:2], others[:, :2]), np.minimum(one[2:], others[:, 2:])
    common = np.prod(np.maximum(high - low, 0.0), axis=1, dtype=np.float64)
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1, dtype=np.float64)
    whole = np.prod(one[2:] - one[:2], dtype=np.float64) + areas - common
    return np.asarray(common / whole)
