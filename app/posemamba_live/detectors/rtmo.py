"""RTMO: one network that finds everybody and their keypoints in one run."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from posemamba_live.detectors.base import Found, Region
from posemamba_live.detectors.onnx_model import OnnxModel
from posemamba_live.detectors.person import keep
from posemamba_live.detectors.placement import letterbox, planes
from posemamba_live.detectors.skeletons import from_keypoints
from posemamba_live.errors import DetectorError
from posemamba_live.types import Frame

_MIN_SCORE: Final = 0.5


class RTMO:
    """Keypoints of everybody, at a cost that does not depend on how many they are.

    Args:
        model: of kind ONE_STAGE.
    """

    def __init__(self, model: OnnxModel) -> None:
        self._model: OnnxModel | None = model
        self._about = {"model": model.path.name, **model.runs_on()}

    def detect(self, frame: Frame) -> list[Found]:
        """Everybody in the picture, the surest first.

        Raises:
            DetectorError: the model failed, or is closed.
        """
        if self._model is None:
            raise DetectorError("The RTMO detector is closed")
        picture, placement = letterbox(frame.image, self._model.size)
        outputs = self._model.run(planes(picture)[None])  # plain BGR, as in training
        boxes, keypoints = outputs.first[0], outputs.second[0]
        people = []
        for index in keep(boxes[:, :4], boxes[:, 4], _MIN_SCORE):
            if np.isfinite(keypoints[index]).all():
                points, scores = keypoints[index, :, :2] + 0.5, keypoints[index, :, 2]
                detection = from_keypoints(placement.to_picture(points), scores)
                corners = placement.to_picture(boxes[index, :4].reshape(2, 2))
                score = float(boxes[index, 4])
                people.append(Found(detection, score, Region.of_box(corners.reshape(4), score)))
        return people

    def describe(self) -> dict[str, Any]:
        return dict(self._about)

    def close(self) -> None:
        self._model = None
