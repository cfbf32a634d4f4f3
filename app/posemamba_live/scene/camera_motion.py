"""Whether the camera stays where it is: the background's motion from picture to picture.

A hand that holds it, a pan, a zoom. Positions in the room mean nothing then: every pose is placed
as if the camera stood still. Poses themselves, and the camera frame, are not touched by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from posemamba_live.types import Frame, Image, Pose2D

_WIDTH: Final = 240
"""Pixels of the longer side of what is compared."""
_LEAST_SIDE: Final = 32
_SPACING_S: Final = 0.2
"""Seconds between two pictures that are compared."""
_GAP_S: Final = 1.0
"""Seconds after which pictures are not compared any more."""
_POINTS: Final = 120
_FEWEST: Final = 16
"""Points of the background that have to be followed to say anything."""
_AGREE: Final = 0.6
"""Share of the points that one motion has to explain: trees and traffic move by themselves."""
_GRID: Final = (4, 3)
_CELLS: Final = 5
"""Of _GRID's cells, those that have points of that motion in them."""
_STEP: Final = 0.0012
"""Share of the picture's longer side from which a step is one; a still camera's are 0.0003, where
trees move 0.001 and once 0.002."""
_MOVED: Final = 0.012
"""Share that the picture has to have gone, there and back counting once; with a still camera it
stayed below 0.003 in each of 26 clips."""
_MARGIN: Final = 0.25
"""Sizes of a person around their keypoints that are not background."""


class CameraMotion:
    """Notices a camera that moves; call it with every frame and the people in it.

    What it costs: about a millisecond for one picture in six.
    """

    def __init__(self) -> None:
        self.moves = False
        """Whether it has moved; stays true."""
        self._picture: Image | None = None
        self._time = 0.0
        self._offset = np.zeros(4)
        """How far corners have gone since the beginning, shares of the longer side."""
        self._least, self._most = np.zeros(4), np.zeros(4)

    def __call__(self, frame: Frame, people: Sequence[Pose2D]) -> bool:
        """Take the next frame; whether it was now noticed that the camera moves."""
        since = frame.timestamp - self._time
        if self.moves or (self._picture is not None and 0.0 <= since < _SPACING_S):
            return False
        picture, scale = _reduced(frame.image)
        before, self._picture, self._time = self._picture, picture, frame.timestamp
        if before is None or before.shape != picture.shape or not 0.0 < since <= _GAP_S:
            return False
        step = _step(before, picture, _background(people, scale, picture.shape))
        if step is None or np.abs(step).max() < _STEP:
            return False
        self._offset += step
        self._least = np.minimum(self._least, self._offset)
        self._most = np.maximum(self._most, self._offset)
        self.moves = bool((self._most - self._least).max() > _MOVED)
        return self.moves


def _reduced(image: Image) -> tuple[Image, float]:
    """A small grey picture, and its pixels per pixel of the frame."""
    scale = min(1.0, _WIDTH / max(image.shape[:2]))
    green = np.ascontiguousarray(image[..., 1])
    if scale < 1.0:
        h, w = (max(1, round(length * scale)) for length in green.shape)
        green = np.asarray(cv2.resize(green, (w, h), interpolation=cv2.INTER_AREA), np.uint8)
    return green, scale


def _background(people: Sequence[Pose2D], scale: float, shape: tuple[int, ...]) -> Image:
    """255 where nobody is."""
    mask = np.full(shape[:2], 255, np.uint8)
    for pose in people:
        low, high = pose.keypoints.min(0), pose.keypoints.max(0)
        margin = _MARGIN * float((high - low).max())
        x0, y0 = np.maximum((low - margin) * scale, 0.0).astype(int)
        x1, y1 = np.maximum((high + margin) * scale, 0.0).astype(int)
        mask[y0:y1, x0:x1] = 0
    return mask


def _step(before: Image, after: Image, mask: Image) -> NDArray[np.float64] | None:
    """How far the background has gone, (4,) of two opposite corners as x, y; shares of the longer
    side. None where too little is seen of it, or where it is not one motion."""
    if min(before.shape) < _LEAST_SIDE:
        return None
    points = cv2.goodFeaturesToTrack(before, _POINTS, 0.01, 6, mask=mask)
    if points is None or len(points) < _FEWEST:
        return None
    moved, there, _ = cv2.calcOpticalFlowPyrLK(before, after, points, points.copy())
    back, again, _ = cv2.calcOpticalFlowPyrLK(after, before, moved, points.copy())
    good = (there[:, 0] > 0) & (again[:, 0] > 0)
    good &= np.linalg.norm(back - points, axis=-1)[:, 0] < 0.5
    if good.sum() < _FEWEST:
        return None
    start, end = points[good, 0], moved[good, 0]
    motion, agree = cv2.estimateAffinePartial2D(start, end, ransacReprojThreshold=0.5)
    if motion is None or agree is None:
        return None
    held = agree[:, 0] > 0
    h, w = before.shape[:2]
    cells = np.floor(start[held] / (w, h) * _GRID).astype(int)
    if held.mean() < _AGREE or len({(int(x), int(y)) for x, y in cells}) < _CELLS:
        return None
    corners = np.array([[0.0, 0.0, 1.0], [w, h, 1.0]])
    gone = corners @ motion.T - corners[:, :2]
    return np.asarray(gone.ravel() / max(w, h), np.float64)
