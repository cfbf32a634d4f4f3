"""RTMO: one network that finds everybody and their keypoints in one run."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from posemamba_live.detectors.onnx_model import OnnxModel
from posemamba_live.detectors.person import keep
from posemamba_live.detectors.placement import letterbox, planes
from posemamba_live.detectors.skeletons import from_keypoints
from posemamba_live.errors import DetectorError
from posemamba_live.types import Detection, Frame

_MIN_SCORE: Final = 0.5


class RTMODetector:
    """Keypoints of everybody, at a cost that does not depend on how many they are.

    Args:
        model: of kind ONE_STAGE.
    """

    def __init__(self, model: OnnxModel, name: str = "rtmo") -> None:
        self.name = name
        self._model: OnnxModel | None = model
        self._about = {
            "name": name,
            "model": model.path.name,
            "person_model": None,
            "detect_every": 1,
            **model.runs_on(),
        }

    def describe(self) -> dict[str, Any]:
        return dict(self._about)

    def detect(self, frame: Frame) -> list[Detection]:
        """Return the people in the picture, in pixels of the picture.

        Raises:
            DetectorError: the model failed, or the detector is closed.
        """
        if self._model is None:
            raise DetectorError("The RTMO detector is closed")
        picture, placement = letterbox(frame.image, self._model.size)
        outputs = self._model.run(planes(picture)[None])  # plain BGR, as in training
        boxes, keypoints = outputs.first[0], outputs.second[0]
        people = []
        for index in keep(boxes[:, :4], boxes[:, 4], _MIN_SCORE):
            points, scores = keypoints[index, :, :2] + 0.5, keypoints[index, :, 2]
            if np.isfinite(keypoints[index]).all():
                people.append(from_keypoints(placement.to_picture(points), scores))
        return people

    def close(self) -> None:
        self._model = None
