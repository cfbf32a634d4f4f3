"""MediaPipe's own Pose Landmarker through its Tasks API, in video mode.

An optional part: `blazepose` runs the same networks without the package. Versions after
0.10.21 carry no models, and look up a host of their maker's while they run.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from posemamba_live.detectors.base import DetectorSettings, Found, OneStage, Region
from posemamba_live.detectors.bundle import load_bundle
from posemamba_live.detectors.native_log import without_native_log
from posemamba_live.detectors.placement import around_seen
from posemamba_live.detectors.skeletons import BLAZEPOSE_33, from_blazepose
from posemamba_live.errors import DetectorError, UsageError

try:
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision
except ImportError as error:
    raise DetectorError(
        "MediaPipe is not there",
        why=str(error),
        hint="pip install 'posemamba-live[mediapipe]', or --detector blazepose, which runs "
        "the same networks without it",
    ) from error
from posemamba_live.types import Detection, Frame

logger = logging.getLogger(__name__)

MIN_CONFIDENCE: Final = 0.5
_RESTART_GAP_MS: Final = 33
"""Put between two sources that one detector sees one after the other."""


def build(name: str, settings: DetectorSettings) -> OneStage:
    """The detector of the command line.

    Raises:
        UsageError: a setting for other detectors.
        DetectorError: the model cannot be used.
    """
    for option, given in (
        ("--person-model", settings.person_model),
        ("--detect-every", settings.detect_every),
    ):
        if given is not None:
            raise UsageError(
                f"{option} is not for {name}, which finds people by itself",
                hint=f"leave out {option}, or choose --detector blazepose",
            )
    return OneStage(name, MediaPipeDetector(settings.model, settings.people))


class MediaPipeDetector:
    """Detects, and follows from frame to frame, up to `people` people.

    With one person MediaPipe smooths the landmarks over time; with several it does not.
    It works on about one core and lets go of Python's lock meanwhile.

    Args:
        model: a `.task` bundle of a pose landmarker (lite, full or heavy); the full model
            that MediaPipe's wheel carries where None.
        people: how many people at most.
        min_confidence: threshold for detection, presence and tracking alike, 0 to 1.

    Raises:
        DetectorError: the bundle cannot be read or is none.
    """

    def __init__(
        self,
        model: Path | None = None,
        people: int = 1,
        min_confidence: float = MIN_CONFIDENCE,
    ) -> None:
        bundle = load_bundle() if model is None else _read_model(model)
        self._model = model
        options = vision.PoseLandmarkerOptions(
            base_options=BaseOptions(model_asset_buffer=bundle),
            running_mode=vision.RunningMode.VIDEO,
            num_poses=people,
            min_pose_detection_confidence=min_confidence,
            min_pose_presence_confidence=min_confidence,
            min_tracking_confidence=min_confidence,
        )
        trial = replace(options, running_mode=vision.RunningMode.IMAGE)
        self._landmarker: Any = None
        self._quiet = not logger.isEnabledFor(logging.DEBUG)
        self._last_ms = -1
        self._offset_ms = 0
        self._last_timestamp = -np.inf
        try:
            with self._log_filter():
                if model is not None:
                    _try_out(trial)
                self._landmarker = vision.PoseLandmarker.create_from_options(options)
        except (RuntimeError, ValueError) as error:
            raise DetectorError(
                "MediaPipe cannot load its pose landmarker",
                why=f"{model or 'the cached bundle'}: {_first_line(error)}",
                hint="a .task bundle of the Pose Landmarker (lite, full or heavy); "
                "an .onnx model goes with --detector blazepose or rtmpose",
            ) from error

    def detect(self, frame: Frame) -> list[Found]:
        """Everybody in the picture, in pixels of the picture as it came.

        Raises:
            DetectorError: MediaPipe failed, or the detector is closed.
        """
        limits = np.array(frame.size, np.float32)
        return [
            # MediaPipe keeps to itself how sure it is; who is not sure enough is left out.
            Found(detection, 1.0, around_seen(detection, limits) or Region.of_box([0, 0, *limits]))
            for detection, _ in self.detect_world(frame)
        ]

    def detect_world(self, frame: Frame) -> list[tuple[Detection, NDArray[np.float32]]]:
        """Like `detect`, with MediaPipe's own 3D estimate beside each person.

        Returns:
            Pairs of the detection and (33, 3) metres in BLAZEPOSE_33 order: x right, y down,
            z away from the camera, relative to the middle of the hips.
        """
        result = self._run(frame)
        people = []
        for landmarks, world in zip(
            result.pose_landmarks, result.pose_world_landmarks, strict=True
        ):
            points = _positions(landmarks)[:, :2] * np.asarray(frame.size, np.float32)
            visibility = np.array([point.visibility for point in landmarks], np.float32)
            if np.isfinite(points).all():
                people.append((from_blazepose(points, visibility), _positions(world)))
        if people:
            self._quiet = False  # the last of MediaPipe's start-up messages comes with a person
        return people

    def describe(self) -> dict[str, Any]:
        model = "pose_landmarker_full" if self._model is None else self._model.name
        return {"model": model, "version": mediapipe.__version__}

    def close(self) -> None:
        landmarker, self._landmarker = self._landmarker, None
        if landmarker is not None:
            with suppress(RuntimeError):  # what it failed with was told when it did
                landmarker.close()

    def _run(self, frame: Frame) -> vision.PoseLandmarkerResult:
        if self._landmarker is None:
            raise DetectorError("The MediaPipe detector is closed")
        rgb = cv2.cvtColor(frame.image, cv2.COLOR_BGR2RGB)
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=rgb)
        try:
            with self._log_filter():
                return self._landmarker.detect_for_video(image, self._next_ms(frame.timestamp))
        except (RuntimeError, ValueError) as error:
            width, height = frame.size
            raise DetectorError(
                f"MediaPipe failed on frame {frame.index}",
                why=f"{_first_line(error)} (picture of {width}x{height})",
                hint="-v shows MediaPipe's own log",
            ) from error

    def _next_ms(self, timestamp: float) -> int:
        """Milliseconds for MediaPipe, which refuses a time that is not after the last one."""
        if timestamp < self._last_timestamp:
            self._offset_ms = self._last_ms + _RESTART_GAP_MS - round(timestamp * 1000)
        self._last_timestamp = timestamp
        self._last_ms = max(self._last_ms + 1, round(timestamp * 1000) + self._offset_ms)
        return self._last_ms

    def _log_filter(self) -> AbstractContextManager[None]:
        return without_native_log() if self._quiet else nullcontext()


def _try_out(options: vision.PoseLandmarkerOptions) -> None:
    """Look at a black picture: a bundle may load, and hold other networks.

    Raises:
        RuntimeError, ValueError: MediaPipe failed.
    """
    landmarker = vision.PoseLandmarker.create_from_options(options)
    try:
        black = np.zeros((64, 64, 3), np.uint8)
        landmarker.detect(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=black))
    finally:
        landmarker.close()


def _positions(landmarks: Sequence[Any]) -> NDArray[np.float32]:
    """(33, 3) x, y, z."""
    positions = np.array([(point.x, point.y, point.z) for point in landmarks], np.float32)
    return positions.reshape(len(BLAZEPOSE_33), 3)


def _read_model(path: Path) -> bytes:
    why = "the file is empty"
    try:
        if content := path.read_bytes():
            return content
    except OSError as error:
        why = error.strerror or str(error)
    raise DetectorError(
        f"Cannot read the detector model {path}",
        why=why,
        hint="--detector-model takes a .task bundle of MediaPipe's Pose Landmarker",
    )


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
