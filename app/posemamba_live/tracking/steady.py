"""Regions that do not tremble: a One Euro filter for where somebody is looked for.

A network that is shown the same person in a slightly other crop answers slightly otherwise,
and its answer is the next crop. For somebody half in view the crop is several times the
picture, and a pixel of it many of the picture: then that tremble is most of the error.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from posemamba_live.detectors.base import Region

Array = NDArray[np.float64]

_DERIVATIVE_HZ: Final = 1.0


class OneEuro:
    """Smooths what stands still and follows what moves (Casiez, Roussel, Vogel 2012).

    Args:
        min_cutoff: Hz, for values at rest.
        beta: Hz of more cutoff for each unit of speed.
    """

    def __init__(self, min_cutoff: float, beta: float) -> None:
        self._min_cutoff, self._beta = min_cutoff, beta
        self._value: Array | None = None
        self._raw: Array | None = None
        self._speed: Array | None = None
        self._time = 0.0

    def __call__(self, value: Array, now: float, unit: float = 1.0) -> Array:
        """Take the value of a time in seconds.

        Args:
            unit: what speeds are measured in.
        """
        step = now - self._time
        raw, self._raw = self._raw, value
        if raw is None or self._value is None or self._speed is None or step <= 0.0:
            self._value, self._speed, self._time = value, np.zeros_like(value), now
            return value
        speed = (value - raw) / (step * unit)
        self._speed = self._speed + _weight(_DERIVATIVE_HZ, step) * (speed - self._speed)
        cutoff = self._min_cutoff + self._beta * np.abs(self._speed)
        self._value = self._value + _weight(cutoff, step) * (value - self._value)
        self._time = now
        return self._value


def _weight(cutoff: Array | float, step: float) -> Array:
    return np.asarray(1.0 / (1.0 + 1.0 / (2.0 * math.pi * np.asarray(cutoff) * step)))


class SteadyRegion:
    """Smooths the regions of one person: middle and the point on the circle."""

    _MIN_CUTOFF: Final = 0.3
    _BETA: Final = 10.0

    def __init__(self) -> None:
        self._filter = OneEuro(self._MIN_CUTOFF, self._BETA)

    def __call__(self, region: Region, now: float) -> Region:
        up = np.array([math.sin(region.rotation), -math.cos(region.rotation)])
        middle = np.array(region.centre)
        size = max(region.width, region.height, 1.0)
        points = np.concatenate([middle, middle + 0.5 * size * up])
        steady = self._filter(points, now, size)
        x, y = steady[2:] - steady[:2]
        factor = 2.0 * math.hypot(x, y) / size
        return replace(
            region,
            centre=(float(steady[0]), float(steady[1])),
            width=factor * region.width,
            height=factor * region.height,
            rotation=math.atan2(x, -y),
        )
