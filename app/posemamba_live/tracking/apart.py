"""A second look at people who are mixed up: each with the other further towards the edge.

A keypoint model that looks at one of two who hug may give them the other's head, and from
there on everything else of the other. Where the other is further from the middle it does not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Final, NamedTuple

from posemamba_live.detectors.base import KeypointModel, Region
from posemamba_live.tracking.association import entangled, same_person
from posemamba_live.tracking.plausibility import is_still_there
from posemamba_live.tracking.sight import Sight
from posemamba_live.tracking.tracks import Track
from posemamba_live.types import Image

_AWAY: Final = (0.1, 0.2)
"""How far a region is moved, in its own sizes."""
_CLOSE: Final = 0.4
"""Distance of torsos, in sizes of the larger person, within which they may be mixed up."""


class Where(NamedTuple):
    """Who was looked for, and where."""

    track: Track
    region: Region


def told_apart(
    keypoints: KeypointModel,
    image: Image,
    now: float,
    looked: Sequence[Where],
    sights: Sequence[Sight],
    *,
    cost: Callable[[Track, Sight], float],
    mistaken: Callable[[Track, Sight], bool],
) -> list[Sight]:
    """What was seen, or something better of those who were mixed up.

    Args:
        image: (H, W, 3) BGR.
        now: seconds, source time.
        sights: as many as were looked for.
        cost: how badly a sight suits somebody.
        mistaken: whether a sight seems to be of somebody else.
    """
    better = list(sights)
    pairs = [
        (i, j)
        for i, j in combinations(range(len(looked)), 2)
        if _close(looked[i].track, looked[j].track, now)
        and (
            entangled(sights[i], sights[j])
            or any(mistaken(looked[k].track, sights[k]) for k in (i, j))
        )
    ]
    asked = [
        (k, region)
        for i, j in pairs
        for k, other in ((i, j), (j, i))
        for region in _moved_away(looked[k], looked[other].track, now)
    ]
    if not asked:
        return better
    found = keypoints.locate(image, [region for _, region in asked])
    choice = {k: [sights[k]] for k, _ in asked}
    for (k, _), one in zip(asked, found, strict=True):
        sight = Sight.of(one)
        if is_still_there(sight):
            choice[k].append(sight)
    for i, j in pairs:
        ways = [
            (cost(looked[i].track, a) + cost(looked[j].track, b), a, b)
            for a in choice[i]
            for b in choice[j]
            if is_still_there(a) and is_still_there(b) and not same_person(a, b, known=True)
        ]
        least, a, b = min(ways, key=lambda way: way[0], default=(math.inf, sights[i], sights[j]))
        if math.isfinite(least):
            better[i], better[j] = a, b
    return better


def _close(a: Track, b: Track, now: float) -> bool:
    """Whether two people who were followed for long may be taken for each other."""
    away = math.dist(a.motion.predict(now)[0], b.motion.predict(now)[0])
    return a.is_known and b.is_known and away < _CLOSE * max(a.sight.size, b.sight.size)


def _moved_away(where: Where, other: Track, now: float) -> list[Region]:
    """Regions of somebody with somebody else further towards the edge."""
    x, y = where.track.motion.predict(now)[0] - other.motion.predict(now)[0]
    size = max(where.region.width, where.region.height) / max(math.hypot(x, y), 1.0)
    return [where.region.moved(share * size * x, share * size * y) for share in _AWAY]
