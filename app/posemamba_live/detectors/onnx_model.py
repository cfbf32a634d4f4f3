"""An ONNX file on ONNX Runtime: opened, asked what it is, and run.

The same code serves every network here; what differs is data (`Kind`) and lies in the
graph: sizes and meaning of inputs and outputs, found by looking and by one trial run.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from posemamba_live.detectors.skeletons import SKELETONS
from posemamba_live.errors import DetectorError
from posemamba_live.types import FloatArray

logger = logging.getLogger(__name__)

CUDA: Final = "CUDAExecutionProvider"
CPU: Final = "CPUExecutionProvider"
SIMCC_SPLIT: Final = 2
"""Bins of SimCC per pixel of the input."""
_STRIDES: Final = (8, 16, 32)
_DEFAULT_SIZE: Final = (640, 640)
"""W, H for graphs that leave them open."""
_MIN_SIDE: Final = 32
_MAX_SIDE: Final = 2048
_ERRORS_ONLY: Final = 4
"""Severity of ONNX Runtime's own log: its errors come as exceptions as well."""


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
        path: an `.onnx` file.
        device: "auto" and "cuda" take CUDA if this ONNX Runtime has it, "cpu" never.
        threads: CPU threads of one run.

    Raises:
        DetectorError: not an ONNX file, or none of `Kind`.
    """

    def __init__(self, path: Path, *, device: str = "auto", threads: int = 1) -> None:
        self.path = path
        self.threads = threads
        self._session = _open(path, _providers(device), threads)
        self.provider: str = self._session.get_providers()[0]
        self._input = self._picture_input()
        self.size = self._input_size()
        """W, H of the input."""
        dimension = self._input.shape[0]
        self.batched = not isinstance(dimension, int)
        """Whether one run takes any number of pictures."""
        self.kind, self._order = self._recognise()

    def runs_on(self) -> dict[str, Any]:
        """Provider and CPU threads, as JSON values."""
        return {"provider": self.provider, "threads": self.threads}

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
        answers = self._run(pictures)
        first = answers[self._order[0]]
        second = answers[self._order[1]] if len(self._order) > 1 else np.zeros(0, np.float32)
        return Outputs(first, second)

    def _run(self, pictures: NDArray[Any]) -> list[FloatArray]:
        dtype = np.float16 if self._input.type == "tensor(float16)" else np.float32
        feed = {self._input.name: np.ascontiguousarray(pictures, dtype)}
        try:
            answers = self._session.run(None, feed)
        except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
            raise DetectorError(
                f"The model {self.path.name} failed", why=_first_line(error), hint=_PUBLISHED
            ) from error
        return [np.asarray(answer, np.float32) for answer in answers]

    def _picture_input(self) -> Any:
        inputs = self._session.get_inputs()
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
        shapes = [answer.shape for answer in self._run(np.zeros((1, 3, *self.size[::-1])))]
        names = [output.name for output in self._session.get_outputs()]
        recognised = recognise(dict(zip(names, shapes, strict=True)), self.size)
        if recognised is None:
            found = ", ".join(f"{name} {shape}" for name, shape in zip(names, shapes, strict=True))
            raise self._foreign("\n         ".join(["one of", *(k.value for k in Kind)]), found)
        kind, roles = recognised
        return kind, tuple(names.index(role) for role in roles)

    def _foreign(self, expected: str, found: str = "") -> DetectorError:
        inputs = ", ".join(f"{i.name} {i.shape} {i.type}" for i in self._session.get_inputs())
        return DetectorError(
            f"{self.path} is not a model that this detector knows",
            why=f"input {inputs}; output {found or self._declared()}\n  wanted: {expected}",
            hint=_PUBLISHED,
        )

    def _declared(self) -> str:
        return ", ".join(f"{output.name} {output.shape}" for output in self._session.get_outputs())


_PUBLISHED: Final = "an end2end.onnx as OpenMMLab publishes them for RTMPose, RTMO, YOLOX, RTMDet"


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


def _providers(device: str) -> list[str]:
    if device == "cpu":
        return [CPU]
    if CUDA in onnxruntime.get_available_providers():
        # Finds the CUDA libraries that PyTorch's packages bring.
        onnxruntime.preload_dlls()
        return [CUDA, CPU]
    if device == "cuda":
        logger.warning("the detector runs on the CPU: %s", _why_no_cuda())
    return [CPU]


def _why_no_cuda() -> str:
    try:
        metadata.version("onnxruntime-gpu")
    except metadata.PackageNotFoundError:
        return "pip install onnxruntime-gpu brings CUDA for it"
    return (
        "onnxruntime lies over onnxruntime-gpu; "
        "pip install --force-reinstall --no-deps onnxruntime-gpu puts that right"
    )


def _open(path: Path, providers: list[str], threads: int) -> Any:
    onnxruntime.disable_telemetry_events()  # builds for Windows report home otherwise
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    # Threads that wait for work by spinning would take the lifter's core.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    why = "the file is empty"
    try:
        if path.stat().st_size:
            return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except OSError as error:
        why = error.strerror or str(error)
    except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
        why = _first_line(error)
    raise DetectorError(f"Cannot load the model {path}", why=why, hint=_PUBLISHED)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
