"""Where something moves: somebody may be there whom the person detector does not see.

A person detector needs sharper pictures than a keypoint model: of people 100 to 200 pixels
tall, blurred over 21, it finds hardly anybody, whole or in parts, while the keypoint model
sees them as well as ever once it is shown the place. People move, furniture does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import cv2
import numpy as np

from posemamba_live.detectors.base import Region
from posemamba_live.types import FloatArray, Image

_SIDE: Final = 160
"""Pixels of the longer side at which pictures are compared, about: that has no noise."""
_AFTER_S: Final = 0.25
"""Seconds between two pictures that are compared."""
_JUST_S: Final = 0.1
"""The same where somebody may be coming in just now."""
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
        self._before: _Small | None = None

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
        if self._before is not None and 0.0 <= now - self._before.time < _AFTER_S - 0.01:
            return []
        before, self._before = self._before, _Small.of(image, now)
        return [
            Region(place.centre, size * side, size * side)
            for place in _changed(before, self._before, known, most)
            for side in [max(place.width, place.height)]
            for size in _SIZES
        ]


class Stirring:
    """Tells where something has changed just now: somebody may come in there."""

    def __init__(self) -> None:
        self._before: _Small | None = None

    def restart(self) -> None:
        """Another scene."""
        self._before = None

    def __call__(self, image: Image, now: float, known: Sequence[Region]) -> Region | None:
        """The upright box of what has changed most in the picture (H, W, 3), if anything has.

        Args:
            now: seconds, from call to call.
            known: where people are who are known.
        """
        before, small = self._before, _Small.of(image, now)
        if before is None or not 0.0 <= now - before.time < _JUST_S - 0.01:
            self._before = small
        return next(iter(_changed(before, small, known, 1)), None)


class _Small(NamedTuple):
    """A small copy of a picture."""

    time: float
    """Seconds."""
    levels: FloatArray
    """(h, w) of green, every `step` pixels."""
    step: int

    @classmethod
    def of(cls, image: Image, now: float) -> _Small:
        step = max(1, round(max(image.shape[:2]) / _SIDE))
        size = image.shape[1] // step, image.shape[0] // step
        green = cv2.resize(image[..., 1], size, interpolation=cv2.INTER_AREA)
        return cls(now, np.asarray(green, np.float32), step)


def _changed(
    before: _Small | None, now: _Small, known: Sequence[Region], most: int
) -> list[Region]:
    """Upright boxes of what differs between two pictures, the largest first, and is of nobody
    known."""
    if before is None or before.levels.shape != now.levels.shape:
        return []
    if not 0.0 <= now.time - before.time < _OLD_S:
        return []
    differs = (np.abs(now.levels - before.levels) > _CHANGED).astype(np.uint8)
    if differs.mean() > _EVERYWHERE:
        return []
    differs = cv2.dilate(differs, np.ones((_REACH, _REACH), np.uint8))
    _, _, shapes, _ = cv2.connectedComponentsWithStats(differs)
    places: list[Region] = []
    for left, top, across, down, area in sorted(shapes[1:].tolist(), key=lambda s: -s[4]):
        if area < _LEAST or len(places) == most:
            break
        edges = (left, top, left + across, top + down)
        box = Region.of_box([now.step * edge for edge in edges])
        if not any(_share(box, other) > _THEIRS for other in known):
            places.append(box)
    return places


def _share(box: Region, of: Region) -> float:
    """Share of a box that is within somebody's."""
    a, b = box.box(), of.box()
    sides = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0.0)
    return float(np.prod(sides)) / max(box.width * box.height, 1.0)
