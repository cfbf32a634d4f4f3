"""BlazePose's landmark model: a picture of one person to 33 landmarks and the next region.

The same networks, and between them the same arithmetic, as MediaPipe's Pose Landmarker,
without its smoothing over time and its segmentation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from posemamba.folders import weights_folders
from posemamba_live.detectors.base import Circle, DetectorSettings, Found, Region, TopDown
from posemamba_live.detectors.blazepose_detector import open_blazepose_detector, region_of
from posemamba_live.detectors.onnx_runtime import Session
from posemamba_live.detectors.person import open_person_detector
from posemamba_live.detectors.skeletons import BLAZEPOSE_33, from_blazepose_parts
from posemamba_live.errors import DetectorError
from posemamba_live.types import FloatArray, Image

SIDE: Final = 256
"""Pixels of the input."""
_POINTS: Final = 39
"""BLAZEPOSE_33, two for the next region, four of the hands that nobody reads."""
_HIPS, _CIRCLE = 33, 34
"""The middle of the hips, and a point on the circle around the whole body."""
_MARGIN: Final = 1.25
"""Input relative to the circle's diameter."""
_CELLS: Final = 64
"""Columns and rows of a heatmap."""
_REACH: Final = 4
"""Cells on each side of a landmark of which the mean is taken."""
_WINDOW: Final = np.arange(-_REACH, _REACH + 1)
_MOMENTS: Final = np.stack(
    [*(axis.ravel() for axis in np.meshgrid(_WINDOW, _WINDOW)), np.ones(_WINDOW.size**2)], -1
).astype(np.float32)
"""(81, 3) weights of a window's values: their columns', their rows' and their own sum."""
_FAR: Final = 1e6
_LEAST: Final = 1e-6
_MIN_PEAK: Final = 0.5
"""Highest value among those from which the mean is trusted more than the regression."""

_PIXELS: Final = "tensor(uint8)"
"""Pictures as they are: the network's first weights know of blue first and of 255 levels."""
_OUTPUTS: Final = {
    "landmarks": [5 * _POINTS],
    "presence": [1],
    "heatmaps": [_CELLS, _CELLS, _POINTS],
}
_DETECTOR: Final = "blazepose-detector.onnx"
_LANDMARKS: Final = "blazepose-full.onnx"


def build(name: str, settings: DetectorSettings) -> TopDown:
    """The detector of the command line; given models take the place of the shipped ones.

    Raises:
        UsageError: settings that do not go together.
        DetectorError: a model cannot be used.
    """
    device, threads = settings.device, settings.threads
    model = BlazePose(
        Session(
            settings.model or _shipped(_LANDMARKS),
            device=device,
            threads=threads,
            foreign=settings.model is not None,
            hint="weights/convert_blazepose.py makes such files from MediaPipe's networks; "
            "a .task bundle goes with --detector mediapipe, RTMPose with --detector rtmpose",
        )
    )
    person = open_person_detector(
        settings, lambda: open_blazepose_detector(_shipped(_DETECTOR), device, threads)
    )
    return TopDown(name, person, model, settings.detect_every)


def _shipped(file: str) -> Path:
    for folder in weights_folders():
        if (path := folder / file).is_file():
            return path
    raise DetectorError(
        f"{file} is missing", why="this installation is incomplete", hint="install it again"
    )


class BlazePose:
    """Landmarks of people, one region each, all in one run.

    Args:
        session: `blazepose-full.onnx`, or one with the same outputs (lite, heavy).

    Raises:
        DetectorError: another network.
    """

    def __init__(self, session: Session) -> None:
        given = session.inputs[0]
        outputs = {output.name: list(output.shape[1:]) for output in session.outputs}
        if (given.type, list(given.shape[1:]), outputs) != (_PIXELS, [SIDE, SIDE, 3], _OUTPUTS):
            raise DetectorError(
                f"{session.path} is not BlazePose's landmark model",
                why=session.signature(),
                hint=session.hint,
            )
        self._names = [output.name for output in session.outputs]
        self._session: Session | None = session
        self._about = {"model": session.path.name, **session.runs_on()}

    def locate(self, image: Image, regions: Sequence[Region]) -> list[Found]:
        """Look into each region of the picture (H, W, 3) BGR.

        Raises:
            DetectorError: the network failed, or is closed.
        """
        if self._session is None:
            raise DetectorError("The landmark model is closed")
        if not regions:
            return []
        to_picture = [placed(region) for region in regions]
        pictures = np.empty((len(regions), SIDE, SIDE, 3), np.uint8)
        for matrix, picture in zip(to_picture, pictures, strict=True):
            _cut_out(image, matrix, picture)
        outputs = dict(zip(self._names, self._session.run(pictures), strict=True))
        landmarks = outputs["landmarks"].reshape(-1, _POINTS, 5)
        points, peaks = refine(landmarks[..., :2], outputs["heatmaps"])
        visibility = _sigmoid(landmarks[..., 3])
        return [
            _found(points[i] @ to_picture[i][:, :2].T + to_picture[i][:, 2], region, *parts)
            for i, (region, *parts) in enumerate(
                zip(regions, visibility, peaks, outputs["presence"][:, 0], strict=True)
            )
        ]

    def describe(self) -> dict[str, Any]:
        return dict(self._about)

    def close(self) -> None:
        self._session = None


def refine(points: FloatArray, heatmaps: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Move points to the middle of the peak around them in their heatmap.

    Args:
        points: (B, K, 2) pixels of the input.
        heatmaps: (B, C, C, K) logits.

    Returns:
        (B, K, 2) pixels of the input; points without a clear peak stay. (B, K) the highest
        value near each point, 0 to 1; 0 for points outside the input.
    """
    batch, count = points.shape[:2]
    # fmin and fmax make a number of NaN, one that is outside.
    cells = np.fmax(np.fmin(points * (_CELLS / SIDE), _FAR), -_FAR).astype(np.intp)
    along = cells[..., None] + _WINDOW  # (B, K, 2, 9) columns and rows around each point
    held = np.minimum(np.maximum(along, 0), _CELLS - 1)
    # One gather from the flat heatmaps: views of all their windows take twice as long.
    at = (held[..., 1, :, None] * _CELLS + held[..., 0, None, :]) * count
    at += np.arange(count)[:, None, None]
    if batch > 1:
        at += np.arange(batch)[:, None, None, None] * heatmaps[0].size
    values = _sigmoid(heatmaps.reshape(-1).take(at))  # (B, K, 9 rows, 9 columns)
    near = along == held  # what is beyond an edge does not count
    if not near.all():
        values *= near[..., 1, :, None] & near[..., 0, None, :]
    values = values.reshape(batch, count, -1)
    peaks = values.max(-1)
    peaks[~near[..., _REACH].all(-1)] = 0.0  # points that are outside themselves
    sums = values @ _MOMENTS
    middle = (cells + sums[..., :2] / np.maximum(sums[..., 2:], _LEAST)) * (SIDE / _CELLS)
    moved = np.where((peaks >= _MIN_PEAK)[..., None], middle, points)
    return moved.astype(np.float32), peaks


def placed(region: Region) -> NDArray[np.float64]:
    """(2, 3) matrix from pixels of the input to pixels of the picture."""
    scale = _MARGIN * max(region.width, region.height, 1.0) / SIDE
    x, y = scale * math.cos(region.rotation), scale * math.sin(region.rotation)
    across, down = region.centre
    half = 0.5 * SIDE
    return np.array([[x, -y, across - half * (x - y)], [y, x, down - half * (x + y)]])


def _cut_out(image: Image, to_picture: NDArray[np.float64], out: Image) -> None:
    """Fill the input (SIDE, SIDE, 3) BGR; the picture's edge goes on outside of it."""
    # As the network knows it from MediaPipe: the centre of the input's first pixel is in the
    # region's corner. Half a pixel of the input is three of the picture for half a body.
    cv2.warpAffine(
        image,
        to_picture,
        (SIDE, SIDE),
        dst=out,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _found(
    points: NDArray[np.float64],
    region: Region,
    visibility: FloatArray,
    peaks: FloatArray,
    presence: np.float32,
) -> Found:
    """(39, 2) pixels of the picture, (39,) each, and the model's presence to an answer."""
    count = len(BLAZEPOSE_33)
    # Products of what is finite are: one that is not is told by any of these.
    if not math.isfinite(points[:, 0] @ points[:, 1] + visibility @ peaks + presence):
        nothing = np.zeros(count, np.float32)
        points = np.tile(region.centre, (count, 1))
        return Found(from_blazepose_parts(points, nothing, nothing), 0.0, region)
    following = region_of(points[_HIPS], points[_CIRCLE], float(presence))
    return Found(
        from_blazepose_parts(points[:count], visibility[:count], peaks[:count]),
        float(presence),
        following,
        Circle(following.centre, 0.5 * following.width),
    )


def _sigmoid(logits: FloatArray) -> FloatArray:
    return np.asarray(1.0 / (1.0 + np.exp(-np.maximum(logits, -80.0))), np.float32)
