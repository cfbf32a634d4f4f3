"""Where something moves: somebody may be there whom the person detector does not see.

A person detector needs sharper pictures than a keypoint model: of people 100 to 200 pixels
tall, blurred over 21, it finds hardly anybody, whole or in parts, while the keypoint model
sees them as well as ever once it is shown the place. People move, furniture does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np

from posemamba_live.detectors.base import Region
from posemamba_live.types import FloatArray, Image

_SIDE: Final = 160
"""Pixels of the longer side at which pictures are compared, about: that has no noise."""
_AFTER_S: Final = 0.25
"""Seconds between two pictures that are compared."""
_OLD_S: Final = 1.5
"""The same after which the light may be another."""
_CHANGED: Final = 8.0
"""Levels, of 255."""
_EVERYWHERE: Final = 0.25
"""Of the picture: where so much has changed it is the camera that moves, or the light."""
_LEAST: Final = 40
"""Pixels of those that change together."""
_REACH: Final = 5
"""Pixels, of those, by which a shape is widened: limbs and their trunk are one."""
_SIZES: Final = (1.15, 2.0)
"""Of somebody's circle, relative to what moves: the whole person, or arms alone."""
_THEIRS: Final = 0.5
"""Of the box of what moves within somebody's from which it is theirs."""


class Moving:
    """Tells where to look from what changes between two pictures."""

    def __init__(self) -> None:
        self._before: tuple[float, FloatArray] | None = None

    def restart(self) -> None:
        """Another scene."""
        self._before = None

    def __call__(
        self, image: Image, now: float, known: Sequence[Region], most: int
    ) -> list[Region]:
        """Where people may be in the picture (H, W, 3), of each place in two sizes.

        Args:
            now: seconds; nothing is said before some time has gone by.
            known: where people are who are known.
            most: places, the largest of them.
        """
        before = self._before
        if before is not None and 0.0 <= now - before[0] < _AFTER_S - 0.01:
            return []
        step = max(1, round(max(image.shape[:2]) / _SIDE))
        height, width = image.shape[0] // step, image.shape[1] // step
        grey = cv2.resize(image[..., 1], (width, height), interpolation=cv2.INTER_AREA)
        small = np.asarray(grey, np.float32)
        self._before = now, small
        if before is None or before[1].shape != small.shape or not 0.0 <= now - before[0] < _OLD_S:
            return []
        changed = (np.abs(small - before[1]) > _CHANGED).astype(np.uint8)
        if changed.mean() > _EVERYWHERE:
            return []
        changed = cv2.dilate(changed, np.ones((_REACH, _REACH), np.uint8))
        _, _, shapes, _ = cv2.connectedComponentsWithStats(changed)
        places: list[Region] = []
        for left, top, across, down, area in sorted(shapes[1:].tolist(), key=lambda s: -s[4]):
            if area < _LEAST or len(places) == most:
                break
            box = Region.of_box([step * e for e in (left, top, left + across, top + down)])
            if not any(_share(box, other) > _THEIRS for other in known):
                places.append(box)
        return [
            Region(place.centre, size * side, size * side)
            for place in places
            for side in [max(place.width, place.height)]
            for size in _SIZES
        ]


def _share(box: Region, of: Region) -> float:
    """Share of a box that is within somebody's."""
    a, b = box.box(), of.box()
    sides = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0.0)
    return float(np.prod(sides)) / max(box.width * box.height, 1.0)
