"""A network of the OpenMMLab family: asked what it is, and run.

The same code serves every network here; what differs is data (`Kind`) and lies in the
graph: sizes and meaning of inputs and outputs, found by looking and by one trial run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from posemamba_live.detectors.onnx_runtime import Session, declared
from posemamba_live.detectors.skeletons import SKELETONS
from posemamba_live.errors import DetectorError
from posemamba_live.types import FloatArray

PUBLISHED: Final = "an end2end.onnx as OpenMMLab publishes them for RTMPose, RTMO, YOLOX, RTMDet"
"""What files should be, for messages."""
SIMCC_SPLIT: Final = 2
"""Bins of SimCC per pixel of the input."""
_STRIDES: Final = (8, 16, 32)
_DEFAULT_SIZE: Final = (640, 640)
"""W, H for graphs that leave them open."""
_MIN_SIDE: Final = 32
_MAX_SIDE: Final = 2048


class Kind(Enum):
    """What a network answers."""

    POSE = "RTMPose: simcc_x (1, K, 2W) and simcc_y (1, K, 2H), K of 17, 26 or 133"
    ONE_STAGE = "RTMO: dets (1, N, 5) and keypoints (1, N, 17, 3)"
    BOXES = "YOLOX or RTMDet with NMS: dets (1, N, 5), or with labels (1, N) as well"
    GRID = "YOLOX without NMS: (1, A, 5 + classes), A cells of strides 8, 16, 32"


@dataclass(frozen=True, slots=True)
class Outputs:
    """One run's answers, by role; those that a kind does not have are empty."""

    first: FloatArray
    second: FloatArray


class OnnxModel:
    """A network of one picture input.

    Args:
        session: an opened file.

    Raises:
        DetectorError: none of `Kind`.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.path = session.path
        self._input = self._picture_input()
        self.size = self._input_size()
        """W, H of the input."""
        dimension = self._input.shape[0]
        self.batched = not isinstance(dimension, int)
        """Whether one run takes any number of pictures."""
        self.kind, self._order = self._recognise()

    @classmethod
    def open(
        cls, path: Path, *, device: str = "auto", threads: int = 1, foreign: bool = False
    ) -> OnnxModel:
        """The network in a file, which a user has brought or not.

        Raises:
            DetectorError: not an ONNX file, or none of `Kind`.
        """
        session = Session(path, device=device, threads=threads, hint=PUBLISHED, foreign=foreign)
        return cls(session)

    def runs_on(self) -> dict[str, Any]:
        """Provider and CPU threads, as JSON values."""
        return self._session.runs_on()

    @property
    def input_name(self) -> str:
        return str(self._input.name)

    def run(self, pictures: NDArray[Any]) -> Outputs:
        """Run the network.

        Args:
            pictures: (B, 3, H, W), B = 1 unless `batched`.

        Raises:
            DetectorError: ONNX Runtime failed.
        """
        answers = self._session.run(pictures)
        first = answers[self._order[0]]
        second = answers[self._order[1]] if len(self._order) > 1 else np.zeros(0, np.float32)
        return Outputs(first, second)

    def _picture_input(self) -> Any:
        inputs = self._session.inputs
        if len(inputs) == 1:
            found = inputs[0]
            channels = found.shape[1] if len(found.shape) == 4 else None
            if found.type in ("tensor(float)", "tensor(float16)") and channels in (3, "3"):
                return found
        raise self._foreign("one input (batch, 3, height, width) of floating point")

    def _input_size(self) -> tuple[int, int]:
        height, width = self._input.shape[2:]
        if not (isinstance(height, int) and isinstance(width, int)):
            return _DEFAULT_SIZE
        if not all(_MIN_SIDE <= side <= _MAX_SIDE for side in (width, height)):
            raise self._foreign(f"pictures of {_MIN_SIDE} to {_MAX_SIDE} pixels")
        return width, height

    def _recognise(self) -> tuple[Kind, tuple[int, ...]]:
        """The kind, and which outputs are its first and second, from a trial run."""
        shapes = [answer.shape for answer in self._session.run(np.zeros((1, 3, *self.size[::-1])))]
        names = [output.name for output in self._session.outputs]
        recognised = recognise(dict(zip(names, shapes, strict=True)), self.size)
        if recognised is None:
            found = ", ".join(f"{name} {shape}" for name, shape in zip(names, shapes, strict=True))
            raise self._foreign("\n         ".join(["one of", *(k.value for k in Kind)]), found)
        kind, roles = recognised
        return kind, tuple(names.index(role) for role in roles)

    def _foreign(self, expected: str, found: str = "") -> DetectorError:
        inputs, outputs = declared(self._session.inputs), declared(self._session.outputs)
        return DetectorError(
            f"{self.path} is not a model that this detector knows",
            why=f"input {inputs}; output {found or outputs}\n  wanted: {expected}",
            hint=PUBLISHED,
        )


def recognise(
    outputs: Mapping[str, tuple[int, ...]], size: tuple[int, int]
) -> tuple[Kind, tuple[str, ...]] | None:
    """Tell what a network is from the shapes that it answers with.

    Args:
        outputs: shape of each output for one picture.
        size: W, H of the input.

    Returns:
        The kind and its outputs, the first and the second one; None for any other network.
    """
    by_rank: dict[int, list[str]] = {}
    for name in outputs:
        by_rank.setdefault(len(outputs[name]), []).append(name)
    twos, threes, fours = (by_rank.get(rank, []) for rank in (2, 3, 4))
    counts = len(outputs), len(twos), len(threes), len(fours)
    if counts == (2, 0, 2, 0):
        x, y = sorted(threes) if set(threes) == {"simcc_x", "simcc_y"} else threes
        same = outputs[x][1] == outputs[y][1] and outputs[x][1] in SKELETONS
        bins = SIMCC_SPLIT * size[0], SIMCC_SPLIT * size[1]
        if same and (outputs[x][2], outputs[y][2]) == bins:
            return Kind.POSE, (x, y)
    elif counts == (2, 0, 1, 1):
        points = outputs[fours[0]]
        if outputs[threes[0]][2] == 5 and points[2] in SKELETONS and points[3] == 3:
            return Kind.ONE_STAGE, (threes[0], fours[0])
    elif counts in ((1, 0, 1, 0), (2, 1, 1, 0)):
        _, rows, columns = outputs[threes[0]]
        if columns == 5:
            return Kind.BOXES, (threes[0], *twos)
        if not twos and columns > 5 and rows == len(grid_cells(size)):
            return Kind.GRID, (threes[0],)
    return None


def grid_cells(size: tuple[int, int]) -> FloatArray:
    """(A, 3) column, row and stride of YOLOX's cells: stride after stride, row after row."""
    cells = []
    for stride in _STRIDES:
        columns, rows = np.meshgrid(np.arange(size[0] // stride), np.arange(size[1] // stride))
        cells.append(np.stack([columns, rows, np.full_like(rows, stride)], -1).reshape(-1, 3))
    return np.asarray(np.concatenate(cells), np.float32)
