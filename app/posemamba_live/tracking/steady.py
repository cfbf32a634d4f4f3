"""Regions that do not tremble: a One Euro filter for where somebody is looked for.

A network that is shown the same person in a slightly other crop answers slightly otherwise,
and its answer is the next crop. For somebody half in view the crop is several times the
picture, and a pixel of it many of the picture: then that tremble is most of the error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from posemamba_live.detectors.base import Region

_DERIVATIVE_HZ: Final = 1.0


class OneEuro:
    """Smooths what stands still and follows what moves (Casiez, Roussel, Vogel 2012).

    For a handful of values: plain numbers are faster than arrays of them.

    Args:
        min_cutoff: Hz, for values at rest.
        beta: Hz of more cutoff for each unit of speed.
    """

    def __init__(self, min_cutoff: float, beta: float) -> None:
        self._min_cutoff, self._beta = min_cutoff, beta
        self._last: list[tuple[float, float, float]] = []
        """Value as given, smoothed, and its smoothed speed, each at the last time."""
        self._time = 0.0

    def __call__(self, values: Sequence[float], now: float, unit: float = 1.0) -> list[float]:
        """Take the values of a time in seconds, as many as ever.

        Args:
            unit: what speeds are measured in.
        """
        step = now - self._time
        self._time = now
        if not self._last or step <= 0.0:
            self._last = [(value, value, 0.0) for value in values]
            return list(values)
        follow = _weight(_DERIVATIVE_HZ, step)
        last = []
        for value, (raw, steady, speed) in zip(values, self._last, strict=True):
            faster = speed + follow * ((value - raw) / (step * unit) - speed)
            weight = _weight(self._min_cutoff + self._beta * abs(faster), step)
            last.append((value, steady + weight * (value - steady), faster))
        self._last = last
        return [steady for _, steady, _ in last]


def _weight(cutoff: float, step: float) -> float:
    return 1.0 / (1.0 + 1.0 / (2.0 * math.pi * cutoff * step))


class SteadyRegion:
    """Smooths the regions of one person: middle and the point on the circle."""

    _MIN_CUTOFF: Final = 0.3
    _BETA: Final = 10.0

    def __init__(self) -> None:
        self._filter = OneEuro(self._MIN_CUTOFF, self._BETA)

    def __call__(self, region: Region, now: float) -> Region:
        (x, y), size = region.centre, max(region.width, region.height, 1.0)
        above = x + 0.5 * size * math.sin(region.rotation)
        over = y - 0.5 * size * math.cos(region.rotation)
        x, y, above, over = self._filter((x, y, above, over), now, size)
        factor = 2.0 * math.hypot(above - x, over - y) / size
        return replace(
            region,
            centre=(x, y),
            width=factor * region.width,
            height=factor * region.height,
            rotation=math.atan2(above - x, y - over),
        )
