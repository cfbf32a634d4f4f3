"""The plane people stand on where it looks like a slope: a floor seen through an unknown lens.

A long lens that is taken for a wide one puts everybody too near by one factor, at their true
size. So depth is pressed together and a level floor becomes a slope, while those who stand on it
are as upright as before: no pitch of the camera explains both. Live, where the pitch is still
being learnt as well, that people stand is surer than either, and they are shown standing; in a
film, where a level floor would make somebody small.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from posemamba_live.scene.ground import ANKLE_HEIGHT, GroundEvidence, lowest_contacts
from posemamba_live.scene.heights import LEAST_CAMERA_HEIGHT, STRANGER, possible, spread
from posemamba_live.types import Ground

Array = NDArray[np.float64]

_STEEPEST: Final = 0.7
"""Metres by which a floor may rise in one of distance: a camera that looks down by 15 degrees, and
distances a quarter of the true ones. To a roof behind somebody it would rise more steeply."""
_STEP: Final = 0.01
_FINE_STEP: Final = 0.001
_BEGINS: Final = 5.0
_GOES_ON: Final = 2.0
"""What a slope has to explain better than unequal heights do, to be believed and to stay so; costs
as of squared standard deviations."""
_USUAL: Final = 0.35
"""Spread of slopes."""
_MEASURED: Final = 0.05
"""Error of a relative height."""
_UNEQUAL: Final = 0.09
"""The same and how unequal people are who stand on a slope: it lies far below the camera, so that
a small change of their height moves them much."""
_SEEN: Final = 0.5
"""How surely somebody's feet are seen whose place is asked for."""
_QUANTILE: Final = 0.4
"""Of the heights at which somebody's lowest contact is found: feet are lifted at times."""
_ENDS: Final = (0.3, 0.7)
"""Of the distances at which somebody was: the near and the far ones."""
_UNSTEADY: Final = 0.06
"""Error of the difference between the relative heights that both tell."""


def sloped(
    people: Sequence[GroundEvidence],
    feet_seen: Sequence[float],
    ground: Ground,
    before: float = 0.0,
) -> Ground:
    """The plane through people's feet, if that is not the floor of the ground.

    Args:
        people: what each of them tells of the floor, turned upright, metres.
        feet_seen: how surely the feet of each are seen, 0 to 1.
        ground: level, and the floor by all that is known.
        before: slope that was found before, metres per metre of distance.

    Returns:
        The plane as the floor of a camera with another pitch, or `ground`.
    """
    forward = ground.rotation[1]
    standing = [
        _places(evidence, ground, forward)
        for evidence, seen in zip(people, feet_seen, strict=True)
        if seen >= _SEEN and len(evidence.axes)
    ]
    if len(standing) < 2:
        return ground
    places = np.array(standing)
    coarse = np.arange(_STEP, _STEEPEST, _STEP)
    costs, _ = _cost(coarse, places, _told)
    costs += (coarse / _USUAL) ** 2
    fine = coarse[costs.argmin()] + np.arange(-_STEP, _STEP, _FINE_STEP)
    costs, heights = _cost(fine, places, _told)
    costs += (fine / _USUAL) ** 2
    i = int(costs.argmin())
    level, _ = _cost(np.zeros(1), places, _any)
    if level[0] < costs[i] + (_GOES_ON if before > 0.0 else _BEGINS):
        return ground
    return tilted(ground, float(fine[i]), float(heights[i]))


def tilted(ground: Ground, slope: float, height: float) -> Ground:
    """The plane that rises by `slope` with the distance and is `height` below the camera."""
    angle = math.atan(slope)
    return Ground(ground.pitch - angle, ground.roll, height * math.cos(angle))


def slope_of(plane: Ground, ground: Ground) -> float:
    """Metres by which a plane rises in one of distance."""
    return math.tan(ground.pitch - plane.pitch)


def floor_under(root: Array, plane: Ground, ground: Ground) -> Ground:
    """The level floor under somebody who stands on a plane.

    Args:
        root: (3,) metres, camera frame: the hip.
        plane: where people stand; ground: what is level.
    """
    slope = slope_of(plane, ground)
    height = plane.height * math.sqrt(1.0 + slope**2) - slope * float(ground.rotation[1] @ root)
    return Ground(ground.pitch, ground.roll, height)


def _places(evidence: GroundEvidence, ground: Ground, forward: Array) -> Array:
    """(2, 2) where somebody was when near and when far: metres away, and above the camera of what
    stood there (negative)."""
    below, _, _ = lowest_contacts(evidence, ground)
    away = evidence.roots @ forward
    near, far = np.quantile(away, _ENDS)
    return np.array(
        [
            (np.median(away[part]), np.quantile(below[part], _QUANTILE))
            for part in (away <= near, away >= far)
        ]
    )


def _cost(slopes: Array, places: Array, spreads: Callable[[Array], Array]) -> tuple[Array, Array]:
    """What unequal heights of P people cost on each of S slopes.

    Args:
        slopes: (S,), places: (P, 2, 2) of `_places`.
        spreads: standard deviations of log relative heights.

    Returns:
        (S,) squared standard deviations, and (S,) metres from the camera down to the plane.
    """
    under = ANKLE_HEIGHT - (places[..., 1] - slopes[:, None, None] * places[..., 0])  # (S, P, 2)
    logs = np.log(np.maximum(under, 1e-3))
    own = logs.mean(-1)
    # It is the same person near and far.
    unsteady = ((logs[..., 0] - logs[..., 1]) / _UNSTEADY) ** 2
    unsteady = np.where((under > LEAST_CAMERA_HEIGHT).all(-1), unsteady, STRANGER)[:, None]
    taller = own[:, :, None] - own[:, None]  # (S, candidates, P): if that one is as tall as told

    def costs_of(taller: Array) -> Array:
        likely = np.where(possible(taller), (taller / spreads(taller)) ** 2, STRANGER)
        return np.asarray(np.minimum(likely + unsteady, STRANGER), np.float64)

    costs = costs_of(taller)
    rows, best = np.arange(len(slopes)), costs.sum(-1).argmin(1)
    there = costs[rows, best] < STRANGER
    shift = (there * taller[rows, best]).sum(-1) / np.maximum(there.sum(-1), 1)
    costs = costs_of(taller[rows, best][:, None] - shift[:, None, None]).sum((1, 2))
    return costs, np.exp(own[rows, best] - shift)


def _told(logs: Array) -> Array:
    return np.full_like(logs, _UNEQUAL)


def _any(logs: Array) -> Array:
    return np.hypot(spread(logs), _MEASURED)
