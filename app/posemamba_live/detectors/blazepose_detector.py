"""BlazePose's person detector: whole picture to the circle around each body.

It works on 224 pixels of the picture's longer side, so people of less than a quarter of
that side may be missed: looking at parts of the picture finds them.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from posemamba_live.detectors.base import Region
from posemamba_live.detectors.onnx_runtime import Session
from posemamba_live.errors import DetectorError
from posemamba_live.types import FloatArray, Image

SIDE: Final = 224
"""Pixels of the input."""
_LAYERS: Final = ((8, 2), (16, 2), (32, 6))
"""Strides of the output's grids, and answers per cell: two for each layer of that stride."""
MIN_SCORE: Final = 0.5
_MAX_OVERLAP: Final = 0.3
"""Intersection over union from which two answers are of one person."""
_HIPS, _CIRCLE = 2, 3
"""Of an answer's points (centre, size, then four points): the middle of the hips, and a
point on the circle around the whole body."""


class BlazePoseDetector:
    """Finds everybody who is large enough in the picture.

    Args:
        session: `blazepose-detector.onnx`, or one with the same outputs.

    Raises:
        DetectorError: another network.
    """

    def __init__(self, session: Session) -> None:
        if not is_blazepose_detector(session):
            raise DetectorError(
                f"{session.path} is not BlazePose's person detector",
                why=session.signature(),
                hint="weights/convert_blazepose.py makes it from MediaPipe's",
            )
        self._session: Session | None = session
        self._about = {"model": session.path.name, **session.runs_on()}

    def find(self, image: Image) -> list[Region]:
        """Everybody in the picture (H, W, 3) BGR, the surest first.

        Raises:
            DetectorError: the network failed, or is closed.
        """
        if self._session is None:
            raise DetectorError("The person detector is closed")
        picture, scale, offset = _letterbox(image)
        boxes, logits = self._session.run(picture[None])
        points, scores = decode(boxes[0], logits[0, :, 0])
        return [
            region_of((p[_HIPS] - offset) / scale, (p[_CIRCLE] - offset) / scale, float(score))
            for p, score in zip(points, scores, strict=True)
        ]

    def describe(self) -> dict[str, Any]:
        return dict(self._about)

    def close(self) -> None:
        self._session = None


def open_blazepose_detector(path: Path, device: str, threads: int) -> BlazePoseDetector:
    """The detector in a file.

    Raises:
        DetectorError: the file is not one.
    """
    return BlazePoseDetector(Session(path, device=device, threads=threads))


def is_blazepose_detector(session: Session) -> bool:
    """Tell whether a network has this detector's input and outputs."""
    outputs = {output.name: list(output.shape[1:]) for output in session.outputs}
    answers = len(_ANCHORS)
    return (
        len(session.inputs) == 1
        and list(session.inputs[0].shape[1:]) == [SIDE, SIDE, 3]
        and outputs == {"boxes": [answers, 12], "scores": [answers, 1]}
    )


def region_of(hips: NDArray[Any], on_circle: NDArray[Any], score: float = 1.0) -> Region:
    """The square around a body's circle, turned so that `on_circle` is above the hips.

    Args:
        hips: (2,) pixels.
        on_circle: (2,) pixels of the point of the circle that is above an upright person.
    """
    x, y = float(on_circle[0] - hips[0]), float(on_circle[1] - hips[1])
    side = 2.0 * math.hypot(x, y)
    return Region((float(hips[0]), float(hips[1])), side, side, math.atan2(x, -y), score)


def decode(boxes: FloatArray, logits: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The network's answers to people, by non-maximum suppression with weighted means.

    Args:
        boxes: (A, 12) six points relative to the answer's cell, in pixels of the input;
            the second is not a point but the box's width and height.
        logits: (A,).

    Returns:
        (N, 6, 2) the same in pixels of the input, and (N,) scores, the surest first.
    """
    sure = np.flatnonzero(logits >= math.log(MIN_SCORE / (1.0 - MIN_SCORE)))  # NaN is not
    order = sure[np.argsort(-logits[sure], kind="stable")]
    scores = 1.0 / (1.0 + np.exp(-logits[order]))
    points = boxes[order].reshape(-1, 6, 2).copy()
    points[:, [0, 2, 3, 4, 5]] += _ANCHORS[order, None]
    low, high = points[:, 0] - 0.5 * points[:, 1], points[:, 0] + 0.5 * points[:, 1]
    areas = np.prod(np.maximum(high - low, 0.0), axis=1)
    people, kept = [], []
    left = np.arange(len(order))
    while len(left):
        first = left[0]
        sides = np.minimum(high[left], high[first]) - np.maximum(low[left], low[first])
        common = np.prod(np.maximum(sides, 0.0), axis=1)
        same = common > _MAX_OVERLAP * np.maximum(areas[left] + areas[first] - common, 1e-6)
        same[0] = True
        people.append(np.average(points[left[same]], axis=0, weights=scores[left[same]]))
        kept.append(scores[first])
        left = left[~same]
    found = np.asarray(people, np.float32).reshape(-1, 6, 2)
    finite = np.isfinite(found).all((1, 2))
    return found[finite], np.asarray(kept, np.float32)[finite]


def _anchors() -> FloatArray:
    """(A, 2) middle of each answer's cell, pixels of the input, in the outputs' order."""
    middles = []
    for stride, answers in _LAYERS:
        along = (np.arange(SIDE // stride) + 0.5) * stride
        x, y = np.meshgrid(along, along)
        middles.append(np.repeat(np.stack([x, y], -1).reshape(-1, 2), answers, axis=0))
    return np.asarray(np.concatenate(middles), np.float32)


_ANCHORS: Final = _anchors()


def _letterbox(image: Image) -> tuple[FloatArray, NDArray[np.float64], NDArray[np.float64]]:
    """Fit a picture into the middle of the input, black around it.

    Returns:
        (SIDE, SIDE, 3) RGB, -1 to 1; (2,) input pixels per pixel of the picture, across
        and down, which differ by rounding; (2,) input pixels of its top left corner.
    """
    height, width = image.shape[:2]
    ratio = SIDE / max(width, height)
    fitted = max(1, round(width * ratio)), max(1, round(height * ratio))
    x, y = (SIDE - fitted[0]) // 2, (SIDE - fitted[1]) // 2
    small = cv2.resize(image, fitted, interpolation=cv2.INTER_LINEAR)
    picture = np.full((SIDE, SIDE, 3), -1.0, np.float32)
    rgb = cv2.cvtColor(small, cv2.COLOR_BGR2RGB)
    np.multiply(rgb, np.float32(1.0 / 127.5), out=picture[y : y + fitted[1], x : x + fitted[0]])
    picture[y : y + fitted[1], x : x + fitted[0]] -= 1.0
    return picture, np.array(fitted) / (width, height), np.array([x, y], np.float64)
