"""What people wear: the colours of trunk and thighs, to tell those apart who overlap.

Where two people are close a keypoint model may take one for the other, and whoever comes out
from behind somebody can be anywhere near. Positions do not tell then who is who; shirts do.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from posemamba.skeleton import L_HIP, L_KNEE, L_SHOULDER, R_HIP, R_KNEE, R_SHOULDER
from posemamba_live.types import Detection, Image

Array = NDArray[np.float64]

_CORNERS: Final = [L_SHOULDER, R_SHOULDER, L_HIP, R_HIP, L_KNEE, R_KNEE]
_PLACES: Final = np.array(
    [
        ((1 - y) * x, (1 - y) * (1 - x), y * x, y * (1 - x), 0.0, 0.0)
        for y in (0.15, 0.35, 0.55, 0.75)
        for x in (0.2, 0.5, 0.8)
    ]
    + [
        (0.0, 0.0, (1 - y) * x, (1 - y) * (1 - x), y * x, y * (1 - x))
        for y in (0.25, 0.5, 0.75)
        for x in (0.0, 1.0)
    ]
)
"""(18, 6) places on the trunk, then on the thighs, as means of the corners."""
_PARTS: Final = (slice(0, 12), slice(12, 18))
_AROUND: Final = np.array([(x, y) for y in (-1, 0, 1) for x in (-1, 0, 1)])
"""Pixels of a place: their mean has less noise."""
_SEEN: Final = 0.3
"""Score of the corners from which a place counts."""
_ENOUGH: Final = 0.3
"""Of a part's places that have to count."""
_NOISE: Final = 12.0
"""Levels by which the colour of plain clothes differs anyway: light, folds."""
_CAP: Final = 9.0
"""Squared deviations that count at most: a place may be hidden."""
_LEARN_S: Final = 0.3
"""Seconds in which two thirds of a change are learnt."""
_MOST: Final = 0.5
"""Weight of the newest colours at most, but for the first ones."""
_FEW: Final = 3
"""Looks from which clothes are known."""
OWN: Final = 1.5
"""Difference (see `Clothes.difference`) up to which clothes are the same: 0.3 to 1.5 is usual."""
OTHER: Final = 2.2
"""The same from which they are not."""


def colours(image: Image, detection: Detection) -> Array:
    """(18, 3) levels at places of trunk and thighs of the picture (H, W, 3); NaN where unseen."""
    points = _PLACES @ detection.keypoints[_CORNERS]
    height, width = image.shape[:2]
    inside = ((points >= 1.0) & (points < (width - 2.0, height - 2.0))).all(1)
    inside &= _PLACES @ detection.scores[_CORNERS] >= _SEEN
    x, y = (points[inside].astype(np.intp)[:, None] + _AROUND).transpose(2, 0, 1)
    levels = np.full((len(points), 3), np.nan)
    levels[inside] = image[y, x].mean(1)
    return levels


class Clothes:
    """The colours that somebody was seen in."""

    def __init__(self) -> None:
        self._mean = np.zeros((len(_PARTS), 3))
        self._square = np.zeros((len(_PARTS), 3))
        self._looks = [0] * len(_PARTS)
        self.learnt_at = -math.inf
        """Seconds, source time."""

    def learn(self, levels: Array, now: float) -> None:
        """Take the (18, 3) colours of somebody who is plainly seen, alone."""
        share = min(1.0 - math.exp((self.learnt_at - now) / _LEARN_S), _MOST)
        self.learnt_at = now
        for i, part in enumerate(_PARTS):
            seen = _counted(levels[part])
            if seen is None:
                continue
            self._looks[i] += 1
            weight = max(share, 1.0 / self._looks[i])
            self._mean[i] += weight * (seen.mean(0) - self._mean[i])
            self._square[i] += weight * ((seen * seen).mean(0) - self._square[i])

    def difference(self, levels: Array) -> float:
        """Mean squared deviation of (18, 3) colours, 0 to 9; NaN where nothing is known."""
        total, parts = 0.0, 0
        for i, part in enumerate(_PARTS):
            seen = _counted(levels[part])
            if seen is None or self._looks[i] < _FEW:
                continue
            variance = np.maximum(self._square[i] - self._mean[i] ** 2, 0.0) + _NOISE**2
            away = ((seen - self._mean[i]) ** 2 / variance).mean(1)
            total, parts = total + float(np.minimum(away, _CAP).mean()), parts + 1
        return total / parts if parts else math.nan


def _counted(levels: Array) -> Array | None:
    seen = levels[~np.isnan(levels[:, 0])]
    return seen if len(seen) >= _ENOUGH * len(levels) else None
