"""How a person's position and size in the picture move on: a Kalman filter for each track.

Velocities decay (an integrated Ornstein-Uhlenbeck process: the continuous "Singer" model of
target tracking): whoever is hidden goes on for a moment and is then expected about there,
within bounds that grow with the time of hiding, not with its square.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_MEMORY_S: Final = 1.0
"""Seconds in which a velocity decays to a third."""
_SPEED: Final = np.array([1.0, 1.0, 0.5])
"""Usual speed of x and y, in person sizes a second (people run at 3 m/s and are 1.7 m tall),
and of the logarithm of the size."""
_NOISE: Final = np.array([0.05, 0.05, 0.10])
"""Of one observation: detectors' jitter, and hips that nobody sees."""


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
        self._state = np.stack([self._observed(position, size), np.zeros(3)], 1)  # (3, 2)
        self._covariance = np.zeros((3, 2, 2))
        self._covariance[:, 0, 0] = _NOISE**2
        self._covariance[:, 1, 1] = _SPEED**2
        self.time = now
        """Seconds, of the last sight."""
        self._expected: tuple[float, Array, Array] | None = None
        """When, state and covariance: all of a frame's questions are about the same time."""

    @property
    def size(self) -> float:
        """Pixels, when last seen."""
        return self._unit * math.exp(self._state[2, 0])

    def predict(self, now: float) -> tuple[Array, float, Array]:
        """Where the person is expected.

        Returns:
            (2,) pixels of the torso's middle; size relative to the last sight; (3,) standard
            deviation of x and y, in pixels, and of the logarithm of the size.
        """
        state, covariance = self._ahead(now)
        change = math.exp(state[2, 0] - self._state[2, 0])
        spread = np.sqrt(covariance[:, 0, 0])
        spread[:2] *= self._unit
        return state[:2, 0] * self._unit, change, spread

    def surprise(self, position: Array, size: float, now: float) -> tuple[float, float]:
        """How unexpected a sight is.

        Returns:
            Squared Mahalanobis distance (3 dimensions), and the logarithm of how much wider
            the expectation is than an observation: the sum of both is minus twice the
            logarithm of the likelihood, but for a constant.
        """
        state, covariance = self._ahead(now)
        noise = self._noise(state)
        expected = covariance[:, 0, 0] + noise
        miss = self._observed(position, size) - state[:, 0]
        return float((miss**2 / expected).sum()), float(np.log(expected / noise).sum())

    def update(self, position: Array, size: float, now: float) -> None:
        """Take what was seen now."""
        state, covariance = self._ahead(now)
        gain = covariance[:, :, 0] / (covariance[:, 0, 0] + self._noise(state))[:, None]
        self._state = state + gain * (self._observed(position, size) - state[:, 0])[:, None]
        self._covariance = covariance - gain[:, :, None] * covariance[:, None, 0, :]
        self.time, self._expected = now, None

    def _noise(self, state: Array) -> Array:
        """(3,) variance of an observation: pixels count relative to the present size."""
        larger = math.exp(state[2, 0])
        return np.asarray((_NOISE * [larger, larger, 1.0]) ** 2)

    def _observed(self, position: Array, size: float) -> Array:
        return np.array([*(position / self._unit), math.log(size / self._unit)])

    def _ahead(self, now: float) -> tuple[Array, Array]:
        """State (3, 2) and covariance (3, 2, 2) at a later time; not to be written to."""
        if self._expected is not None and self._expected[0] == now:
            return self._expected[1:]
        elapsed = max(now - self.time, 0.0)
        decay = math.exp(-elapsed / _MEMORY_S)
        step = np.array([[1.0, _MEMORY_S * (1.0 - decay)], [0.0, decay]])
        t = elapsed / _MEMORY_S
        # Variance that a stationary velocity of unit variance adds in the meantime.
        position = _MEMORY_S**2 * (2.0 * t - 3.0 + 4.0 * decay - decay**2)
        both = _MEMORY_S * (1.0 - decay) ** 2
        added = np.array([[position, both], [both, 1.0 - decay**2]])
        speed = _SPEED * np.array([*[math.exp(self._state[2, 0])] * 2, 1.0])
        covariance = step @ self._covariance @ step.T + speed[:, None, None] ** 2 * added
        self._expected = now, self._state @ step.T, covariance
        return self._expected[1:]
