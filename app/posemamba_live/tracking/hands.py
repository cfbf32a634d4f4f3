"""Hands that have left the picture are beyond its edge, not where the model puts them.

Of a hand that is out of the picture BlazePose often says that it is seen, and puts the wrist
somewhere on the trunk, somewhere else in each encoding of the same film. What gives it away is the
heatmap: a wrist that is there has a sharp peak, one that was put anywhere has not, and one that the
body hides is not called visible at all. Of wrists in the picture whose elbow is seen near its edge,
with a visibility above 0.1 and a peak below 0.5, 319 of 320 were off by more than 0.4 of the trunk;
from a peak of 0.65 on 12 of 4,039 (rendered clips in three qualities of encoding and three frame
rates). Where the elbow is not seen either, both are behind something, often within the picture.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from posemamba.skeleton import HIP, L_ELBOW, L_SHOULDER, L_WRIST, R_ELBOW, R_SHOULDER, R_WRIST
from posemamba_live.types import Detection

_ARMS: Final = ((L_ELBOW, L_WRIST), (R_ELBOW, R_WRIST))
_ELBOW_SEEN: Final = 0.3
"""Visibility of the elbow from which its forearm is known to reach beyond the edge."""
_NOT_HIDDEN: Final = 0.1
"""Visibility of a wrist above which the body does not hide it."""
_VAGUE: Final = 0.5
"""Peak below which a wrist that is not hidden was put anywhere."""
_CLEAR: Final = 0.65
"""Peak of a wrist that is there, of a hand that was beyond the edge."""
_FRAMES: Final = 2
"""So many in a row show a hand that is back: the model mistakes the other hand for it now and then,
and is sure of it for a frame."""
_REACH: Final = 0.9
"""Trunk lengths from the elbow to the edge within which a hand may be beyond it."""
_REACH_ON: Final = 1.2 * _REACH
"""The same of a hand that is beyond the edge: its elbow is seen less well, too."""
_FOREARM: Final = 0.5
"""Trunk lengths."""
_OUTWARD: Final = np.array([[-1.0, 0.0], [0.0, -1.0], [1.0, 0.0], [0.0, 1.0]])
"""Across the left, upper, right and lower edge."""

Array = NDArray[np.float64]


class Hands:
    """The hands of one person, frame after frame."""

    def __init__(self) -> None:
        self._doubts = [0 for _ in _ARMS]
        self._crossed = [0 for _ in _ARMS]
        """Edges beyond which they are: the nearest when they left, for an elbow may come as near to
        another one."""

    def __call__(self, detection: Detection, image_size: tuple[int, int]) -> Detection:
        """The same with wrists that are beyond the picture's edge a forearm from their elbows,
        straight towards it.

        Args:
            detection: with `visibility` and `peak`, or it is given back as it is.
            image_size: (W, H) pixels.
        """
        if detection.visibility is None or detection.peak is None:
            return detection
        points = detection.keypoints
        middle = 0.5 * (points[L_SHOULDER] + points[R_SHOULDER])
        trunk = float(np.hypot(*(middle - points[HIP])))
        moved: dict[int, Array] = {}
        for i, (elbow, wrist) in enumerate(_ARMS):
            edges, beyond = _to_edges(points[elbow], image_size), self._doubts[i] > 0
            if not beyond or edges[self._crossed[i]] >= _REACH_ON * trunk:
                self._crossed[i] = int(edges.argmin())
            away = edges[self._crossed[i]]
            if (
                _inside(points[wrist], image_size)
                and edges.min() > 0.0
                and away < (_REACH_ON if beyond else _REACH) * trunk
                and _put_anywhere(detection, elbow, wrist, beyond=beyond)
            ):
                self._doubts[i] = _FRAMES
            else:
                self._doubts[i] = max(self._doubts[i] - 1, 0)
            if self._doubts[i]:
                outward = _OUTWARD[self._crossed[i]]
                moved[wrist] = points[elbow] + _FOREARM * trunk * outward
        if not moved:
            return detection
        keypoints = points.copy()
        for wrist, place in moved.items():
            keypoints[wrist] = place
        return replace(detection, keypoints=keypoints)


def _put_anywhere(detection: Detection, elbow: int, wrist: int, *, beyond: bool) -> bool:
    assert detection.visibility is not None
    assert detection.peak is not None
    peak, visibility = float(detection.peak[wrist]), detection.visibility
    if beyond:
        return peak < _CLEAR
    return bool(
        peak < _VAGUE and visibility[wrist] > _NOT_HIDDEN and visibility[elbow] > _ELBOW_SEEN
    )


def _to_edges(point: NDArray[np.floating[Any]], image_size: tuple[int, int]) -> Array:
    """(4,) pixels to the left, upper, right and lower edge, negative beyond them."""
    (x, y), (width, height) = point.tolist(), image_size
    return np.array([x, y, width - x, height - y])


def _inside(point: NDArray[np.floating[Any]], image_size: tuple[int, int]) -> bool:
    return bool(_to_edges(point, image_size).min() > 0.0)
