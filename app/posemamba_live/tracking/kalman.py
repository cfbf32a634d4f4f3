"""How a person's position and size in the picture move on: a Kalman filter for each track.

Velocities decay (an integrated Ornstein-Uhlenbeck process: the continuous "Singer" model of
target tracking): whoever is hidden goes on for a moment and is then expected about there,
within bounds that grow with the time of hiding, not with its square.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_MEMORY_S: Final = 1.0
"""Seconds in which a velocity decays to a third."""
_SPEED: Final = (1.0, 1.0, 0.5)
"""Usual speed of x and y, in person sizes a second (people run at 3 m/s and are 1.7 m tall),
and of the logarithm of the size."""
_NOISE: Final = (0.05, 0.05, 0.10)
"""Of one observation: detectors' jitter, and hips that nobody sees."""


class _Axis(NamedTuple):
    """One value that moves on, and how sure it is.

    Plain numbers: the same with matrices takes NumPy four times as long, a dozen times a frame.
    """

    value: float
    speed: float
    variance: float
    """Of the value."""
    both: float
    """Covariance of value and speed."""
    of_speed: float
    """Variance of the speed."""


class Motion:
    """Place, size and their velocities, from what was seen at irregular times.

    The state is x, y in person sizes (of the first sight) and the logarithm of the size,
    each with its own velocity and (2, 2) covariance.

    Args:
        position: (2,) pixels, of the torso's middle.
        size: pixels.
        now: seconds, source time.
    """

    def __init__(self, position: Array, size: float, now: float) -> None:
        self._unit = size
        self._axes = [
            _Axis(value, 0.0, noise**2, 0.0, speed**2)
            for value, noise, speed in zip(
                self._observed(position, size), _NOISE, _SPEED, strict=True
            )
        ]
        self.time = now
        """Seconds, of the last sight."""
        self._expected: tuple[float, list[_Axis]] | None = None
        """When and what: all of a frame's questions are about the same time."""

    @property
    def size(self) -> float:
        """Pixels, when last seen."""
        return self._unit * math.exp(self._axes[2].value)

    def predict(self, now: float) -> tuple[Array, float, Array]:
        """Where the person is expected.

        Returns:
            (2,) pixels of the torso's middle; size relative to the last sight; (3,) standard
            deviation of x and y, in pixels, and of the logarithm of the size.
        """
        x, y, size = self._ahead(now)
        change = math.exp(size.value - self._axes[2].value)
        spread = [
            unit * math.sqrt(axis.variance)
            for axis, unit in ((x, self._unit), (y, self._unit), (size, 1.0))
        ]
        return np.array([x.value * self._unit, y.value * self._unit]), change, np.array(spread)

    def surprise(self, position: Array, size: float, now: float) -> tuple[float, float]:
        """How unexpected a sight is.

        Returns:
            Squared Mahalanobis distance (3 dimensions), and the logarithm of how much wider
            the expectation is than an observation: the sum of both is minus twice the
            logarithm of the likelihood, but for a constant.
        """
        axes = self._ahead(now)
        distance, width = 0.0, 1.0
        for axis, seen, noise in zip(
            axes, self._observed(position, size), self._noise(axes), strict=True
        ):
            expected = axis.variance + noise
            distance += (seen - axis.value) ** 2 / expected
            width *= expected / noise
        return distance, math.log(width)

    def update(self, position: Array, size: float, now: float) -> None:
        """Take what was seen now."""
        axes = self._ahead(now)
        observed, noises = self._observed(position, size), self._noise(axes)
        self._axes = [
            _corrected(axis, seen, noise)
            for axis, seen, noise in zip(axes, observed, noises, strict=True)
        ]
        self.time, self._expected = now, None

    def _noise(self, axes: list[_Axis]) -> tuple[float, float, float]:
        """Variance of an observation: pixels count relative to the present size."""
        larger = math.exp(axes[2].value)
        x, y, size = _NOISE
        return (larger * x) ** 2, (larger * y) ** 2, size**2

    def _observed(self, position: Array, size: float) -> tuple[float, float, float]:
        x, y = position.tolist()
        return x / self._unit, y / self._unit, math.log(size / self._unit)

    def _ahead(self, now: float) -> list[_Axis]:
        """The axes at a later time."""
        if self._expected is not None and self._expected[0] == now:
            return self._expected[1]
        elapsed = max(now - self.time, 0.0)
        decay = math.exp(-elapsed / _MEMORY_S)
        reach = _MEMORY_S * (1.0 - decay)
        t = elapsed / _MEMORY_S
        # Variance that a stationary velocity of unit variance adds in the meantime.
        position = _MEMORY_S**2 * (2.0 * t - 3.0 + 4.0 * decay - decay**2)
        both = reach * (1.0 - decay)
        larger = math.exp(self._axes[2].value)
        axes = []
        for axis, usual, unit in zip(self._axes, _SPEED, (larger, larger, 1.0), strict=True):
            added = (usual * unit) ** 2
            axes.append(
                _Axis(
                    axis.value + reach * axis.speed,
                    decay * axis.speed,
                    axis.variance
                    + reach * (2.0 * axis.both + reach * axis.of_speed)
                    + added * position,
                    decay * (axis.both + reach * axis.of_speed) + added * both,
                    decay**2 * axis.of_speed + added * (1.0 - decay**2),
                )
            )
        self._expected = now, axes
        return axes


def _corrected(axis: _Axis, seen: float, noise: float) -> _Axis:
    """An axis after an observation of its value."""
    expected = axis.variance + noise
    gain, of_speed = axis.variance / expected, axis.both / expected
    miss = seen - axis.value
    return _Axis(
        axis.value + gain * miss,
        axis.speed + of_speed * miss,
        (1.0 - gain) * axis.variance,
        (1.0 - gain) * axis.both,
        axis.of_speed - of_speed * axis.both,
    )
