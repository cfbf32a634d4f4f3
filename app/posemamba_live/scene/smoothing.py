"""Filters over time: steady joints without lag, and depth that does not tremble.

Both filters take the time stamps as they come (cameras do not keep a rate) and start anew
after a gap, so that nothing is carried over from before a person was lost.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MAX_GAP: Final = 0.5
"""Seconds without a sample after which a filter forgets."""
MIN_CUTOFF: Final = 1.5
"""Hz at rest for strength 1: takes most of the detector's tremble away."""
SPEED_COEFFICIENT: Final = 10.0
"""Hz per m/s for strength 1: a wrist at 1 m/s lags 14 ms. (Live, on the demo clip with fast
limbs: 5 costs 1.3 mm and saves 0.2 mm/frame^2, 20 saves 0.9 mm and costs 0.2 mm/frame^2.)"""
DERIVATIVE_CUTOFF: Final = 1.5
"""Hz; how fast the estimate of the speed itself may change."""
_OFFLINE_GAIN: Final = 2.0


class OneEuroFilter:
    """The One Euro filter (Casiez, Roussel and Vogel, CHI 2012) on arrays, per coordinate.

    A first-order low pass whose cutoff frequency grows with speed: slow movement is
    smoothed (jitter shows there), fast movement passes (lag shows there).

    Args:
        strength: 0 passes samples through untouched; 1 is meant for 30 frames a second;
            more divides both frequencies further.
    """

    def __init__(self, strength: float = 1.0) -> None:
        if not (strength >= 0.0 and math.isfinite(strength)):
            raise ValueError(f"strength must be finite and at least 0, not {strength}")
        self._strength = strength
        self._time = -math.inf
        self._value: Array = np.empty(0)
        self._speed: Array = np.empty(0)

    def reset(self) -> None:
        """Forget the past: the next sample passes unchanged."""
        self._time = -math.inf

    def __call__(self, value: NDArray[np.floating[Any]], timestamp: float) -> Array:
        """Filter one sample.

        Args:
            value: metres, any shape, the same in every call.
            timestamp: seconds, increasing. A sample that is not newer than the last one is
                taken to begin a new sequence, like one that comes after MAX_GAP.
        """
        x = np.array(value, np.float64)
        if self._strength == 0.0:
            return x
        dt = timestamp - self._time
        self._time = timestamp
        if not 0.0 < dt <= MAX_GAP:
            self._value, self._speed = x, np.zeros_like(x)
            return x.copy()
        speed = (x - self._value) / dt
        self._speed = self._speed + _alpha(DERIVATIVE_CUTOFF, dt) * (speed - self._speed)
        cutoff = (MIN_CUTOFF + SPEED_COEFFICIENT * np.abs(self._speed)) / self._strength
        self._value = self._value + _alpha(cutoff, dt) * (x - self._value)
        return self._value.copy()


def _alpha(cutoff: float | Array, dt: float) -> float | Array:
    """Share of the new sample in a first-order low pass of `cutoff` Hz at step `dt` seconds."""
    return 1.0 / (1.0 + 1.0 / (2.0 * math.pi * cutoff * dt))


def smooth_zero_phase(values: NDArray[np.floating[Any]], times: Array, strength: float) -> Array:
    """One Euro forwards, then backwards over the result: no lag. For whole recordings.

    Where nothing lags, smoothing costs only a little blur, so that each pass can afford
    _OFFLINE_GAIN times the strength.

    Args:
        values: (N, ...) metres.
        times: (N,) seconds, increasing.
        strength: as in `OneEuroFilter`.
    """
    out = np.array(values, np.float64)
    if strength == 0.0:
        return out
    forwards, backwards = (OneEuroFilter(_OFFLINE_GAIN * strength) for _ in range(2))
    for i, time in enumerate(times):
        out[i] = forwards(out[i], float(time))
    for i in reversed(range(len(times))):
        out[i] = backwards(out[i], -float(times[i]))
    return out


class DepthFilter:
    """Constant-velocity Kalman filter for one distance, with measurements that may be wild.

    State: distance (m) and its rate (m/s); the rate is driven by white acceleration. A
    measurement far from its prediction has its variance raised in proportion, so that one
    bad frame moves the estimate little while a lasting change still gets through.
    """

    ACCELERATION: Final = 0.6
    """Spectral density, m^2/s^3: starting and stopping to walk."""
    _MAX_SPEED: Final = 1.0
    """m/s, one sigma of the rate of someone just met."""
    _GATE: Final = 2.5

    def __init__(self) -> None:
        self._time = -math.inf
        self.state: Array = np.zeros(2)
        self.covariance: Array = np.zeros((2, 2))
        self.predicted_state: Array = np.zeros(2)
        self.predicted_covariance: Array = np.zeros((2, 2))
        self.transition: Array = np.eye(2)

    def __call__(self, measured: float, variance: float, timestamp: float) -> float:
        """Take one measurement (m, m^2, s); returns the filtered distance in metres."""
        dt = timestamp - self._time
        self._time = timestamp
        if not 0.0 < dt <= MAX_GAP:
            self.state = np.array([measured, 0.0])
            self.covariance = np.diag([variance, self._MAX_SPEED**2])
            self.predicted_state, self.predicted_covariance = self.state, self.covariance
            self.transition = np.zeros((2, 2))  # nothing of what follows reaches back
            return measured
        f = np.array([[1.0, dt], [0.0, 1.0]])
        q = self.ACCELERATION * np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]])
        x, p = f @ self.state, f @ self.covariance @ f.T + q
        self.predicted_state, self.predicted_covariance, self.transition = x, p, f

        innovation = measured - x[0]
        sigma = math.sqrt(p[0, 0] + variance)
        variance *= max(1.0, (abs(innovation) / (self._GATE * sigma))) ** 2
        gain = p[:, 0] / (p[0, 0] + variance)
        self.state = x + gain * innovation
        self.covariance = p - np.outer(gain, p[0])
        return float(self.state[0])


def smooth_depth(measured: Array, variances: Array, times: Array) -> Array:
    """`DepthFilter` with the Rauch-Tung-Striebel backward pass: no lag. For whole recordings.

    Args:
        measured: (N,) metres, variances: (N,) square metres, times: (N,) seconds, increasing.

    Returns:
        (N,) metres.
    """
    kalman = DepthFilter()
    steps = []
    for z, variance, time in zip(measured, variances, times, strict=True):
        kalman(float(z), float(variance), float(time))
        steps.append(
            (kalman.state, kalman.covariance, kalman.predicted_state,
             kalman.predicted_covariance, kalman.transition)
        )  # fmt: skip
    out = np.empty(len(steps))
    if not steps:
        return out
    state, *_ = steps[-1]
    out[-1] = state[0]
    for i in range(len(steps) - 2, -1, -1):
        x, p, *_ = steps[i]
        _, _, x_next, p_next, f = steps[i + 1]
        state = x + p @ f.T @ np.linalg.solve(p_next, state - x_next)
        out[i] = state[0]
    return out
