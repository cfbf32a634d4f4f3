"""The search for people: in the whole picture, and in parts of it while somebody is missing.

A person detector sees a few hundred pixels of the whole picture: somebody a quarter of its
height may be too small for it. In overlapping parts of the picture they are not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from posemamba_live.detectors.base import PersonDetector, Region
from posemamba_live.tracking.plausibility import twice
from posemamba_live.types import Image

_PART: Final = 0.6
"""Of the picture's width and height: two parts overlap by a fifth."""
_PARTS_S: Final = 0.5
"""Seconds from one search of all parts to the next."""
_AT_SEAM: Final = 2.0
"""Pixels from the edge of a part at which a box ends that would go on beyond it."""
_PIECE: Final = 0.85
"""Fraction of such a box within somebody's from which it is a piece of them."""


class Search:
    """Finds regions of people.

    Args:
        live: one part at a time, so that no frame takes long; else all at once, but seldom.
    """

    def __init__(self, *, live: bool) -> None:
        self._live = live
        self._searched_at = -np.inf
        self._next = 0

    def restart(self) -> None:
        """Somebody may be anywhere: do not wait with the parts."""
        self._searched_at = -np.inf

    def __call__(
        self, person: PersonDetector, image: Image, now: float, *, missing: bool
    ) -> list[Region]:
        """Everybody in the picture, the whole of it first; at seams nobody twice.

        Args:
            missing: more people are wanted than are followed: search in parts too, in time.
        """
        found = person.find(image)
        if not missing:
            return found
        for x, y, part in self._parts(image, now):
            for region in person.find(part):
                moved = region.moved(x, y)
                piece = _ends_at_seam(region, x, y, part, image)
                if not any(
                    twice(moved, other) or (piece and _holds(other, moved)) for other in found
                ):
                    found.append(moved)
        return found

    def _parts(self, image: Image, now: float) -> Iterator[tuple[int, int, Image]]:
        """Parts to search now, and where they begin."""
        height, width = image.shape[:2]
        h, w = round(_PART * height), round(_PART * width)
        corners = [(x, y) for y in (0, height - h) for x in (0, width - w)]
        if self._live:
            corners = [corners[self._next % len(corners)]]
            self._next += 1
        elif 0.0 <= now - self._searched_at < _PARTS_S:
            return
        self._searched_at = now
        for x, y in corners:
            yield x, y, np.ascontiguousarray(image[y : y + h, x : x + w])


def _ends_at_seam(region: Region, x: int, y: int, part: Image, image: Image) -> bool:
    """Whether a box found in a part ends just where the part does and the picture does not."""
    height, width = part.shape[:2]
    low = (region.centre[0] - 0.5 * region.width, region.centre[1] - 0.5 * region.height)
    high = (low[0] + region.width, low[1] + region.height)
    return region.rotation == 0.0 and (
        (x > 0 and abs(low[0]) < _AT_SEAM)
        or (y > 0 and abs(low[1]) < _AT_SEAM)
        or (x + width < image.shape[1] and abs(high[0] - width) < _AT_SEAM)
        or (y + height < image.shape[0] and abs(high[1] - height) < _AT_SEAM)
    )


def _holds(whole: Region, piece: Region) -> bool:
    """Whether nearly all of `piece` lies within `whole`, both upright."""
    across = 0.5 * (whole.width + piece.width) - abs(whole.centre[0] - piece.centre[0])
    down = 0.5 * (whole.height + piece.height) - abs(whole.centre[1] - piece.centre[1])
    shared = min(across, piece.width) * min(down, piece.height)
    return min(across, down) > 0.0 and shared > _PIECE * piece.width * piece.height
