"""Whether what a model says can be a person, and the one it is taken for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from posemamba_live.detectors.base import Region
from posemamba_live.tracking.sight import Sight

_PRESENT: Final = 0.5
"""The model's own word for somebody being there."""
_STILL_PRESENT: Final = 0.3
"""The same of somebody who was there a moment ago and whose joints are plainly seen."""
PLAIN: Final = 0.5
"""Score of the best eight joints of somebody who is plainly seen."""
_SURE: Final = 0.3
"""Score of the best eight joints of somebody who is followed."""
NEW: Final = 0.4
"""The same of a newcomer where nobody else is, and of who is found again."""
_ANOTHER: Final = 0.5
"""The same of one beside others: pieces of two people often look like a third."""
_AGREE: Final = 0.35
"""Distance of two regions' middles, in sizes of the larger, within which they are of one person."""
_ALIKE: Final = 1.5
"""How many times larger one of those may be."""
_TWICE: Final = 0.12
"""The same within which they are next to the same region."""


def is_person(sight: Sight) -> bool:
    return sight.found.presence >= _PRESENT and sight.score >= _SURE


def is_still_there(sight: Sight) -> bool:
    """`is_person` of what is seen where somebody was: who is cut off or half hidden makes the
    model's word for presence waver about its threshold while the joints are as clear as before."""
    plain = sight.found.presence >= _STILL_PRESENT and sight.score >= PLAIN
    return plain or is_person(sight)


def is_newcomer(sight: Sight, *, alone: bool) -> bool:
    """Whether somebody who was not followed is believed; `alone`: nobody else is there."""
    return sight.found.presence >= _PRESENT and sight.score >= (NEW if alone else _ANOTHER)


def agree(a: Region, b: Region) -> bool:
    """Whether two regions are of one person."""
    one, other = max(a.width, a.height), max(b.width, b.height)
    away = math.dist(a.centre, b.centre) / max(one, other, 1.0)
    return away < _AGREE and max(one, other) < _ALIKE * min(one, other)


def twice(a: Region, b: Region) -> bool:
    """Whether two regions say the same, so that one is enough to look at."""
    one, other = max(a.width, a.height), max(b.width, b.height)
    near = math.dist(a.centre, b.centre) < _TWICE * min(one, other)
    return near and max(one, other) < (1.0 + 2.0 * _TWICE) * min(one, other)


def unmatched(
    regions: Sequence[Region], known: Sequence[Region], *, closely: bool = False
) -> list[Region]:
    """Regions that are of nobody known; each of the known has one at most, the nearest.

    Args:
        closely: somebody may stand close to those known: only a region that says the same
            as theirs is theirs.
    """
    same = twice if closely else agree
    pairs = sorted(
        (math.dist(region.centre, other.centre), i, j)
        for i, region in enumerate(regions)
        for j, other in enumerate(known)
        if same(region, other)
    )
    taken: set[int] = set()
    own: set[int] = set()
    for _, i, j in pairs:
        if i not in taken and j not in own:
            taken.add(i)
            own.add(j)
    return [region for i, region in enumerate(regions) if i not in taken]
