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
OFFLINE_CUTOFF: Final = 5.0
"""Hz for strength 1, in whole recordings. (On nine clips with ground truth the position error is
the same from 3 to 8 Hz, that of the acceleration smallest at 3 to 5; movement analysis uses 4
to 8.)"""


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
    """Smooth a whole recording without lag, by a spline per coordinate.

    The cubic smoothing spline (Reinsch, Numerische Mathematik 10, 1967) minimises the integral of
    (z - x)^2 + z''^2 / (2 pi f)^4: for even times a Butterworth filter of second order run forwards
    and backwards, which is what movement analysis uses, and it takes times as they come. Being
    linear, it leaves fast movement as it is; a filter whose cutoff follows the speed bends it.

    Args:
        values: (N, ...) metres.
        times: (N,) seconds, increasing. Nothing is carried over gaps longer than MAX_GAP.
        strength: 0 for none; the cutoff f is OFFLINE_CUTOFF / strength.
    """
    out = np.array(values, np.float64)
    if strength == 0.0 or not len(out):
        return out
    penalty = (2.0 * math.pi * OFFLINE_CUTOFF / strength) ** -4
    steps = np.diff(times)
    breaks = np.flatnonzero((steps <= 0.0) | (steps > MAX_GAP)) + 1
    for rows in np.split(np.arange(len(out)), breaks):
        if len(rows) > 2:
            columns = out[rows].reshape(len(rows), -1)
            out[rows] = _spline(columns, times[rows], penalty).reshape(out[rows].shape)
    return out


def _spline(values: Array, times: Array, penalty: float) -> Array:
    """(N, K) smoothed. Q, R and the solution's name gamma are those of Green and Silverman (1994),
    section 2.3; every sample weighs as much as the time around it."""
    from scipy.linalg import solveh_banded  # heavy to import, and live use needs none of it

    h = np.diff(times)
    weights = np.empty(len(times))
    weights[1:-1], weights[0], weights[-1] = 0.5 * (h[:-1] + h[1:]), h[0], h[-1]
    before, after = 1.0 / h[:-1], 1.0 / h[1:]
    middle = -before - after  # column j of Q: before, middle, after in rows j, j + 1, j + 2
    w = penalty / weights
    bands = np.zeros((3, len(middle)))  # upper form: row 2 holds the diagonal
    bands[2] = (h[:-1] + h[1:]) / 3.0
    bands[2] += before**2 * w[:-2] + middle**2 * w[1:-1] + after**2 * w[2:]
    bands[1, 1:] = h[1:-1] / 6.0
    bands[1, 1:] += middle[:-1] * before[1:] * w[1:-2] + after[:-1] * middle[1:] * w[2:-1]
    bands[0, 2:] = after[:-2] * before[2:] * w[2:-2]
    bends = before[:, None] * values[:-2] + middle[:, None] * values[1:-1]
    bends += after[:, None] * values[2:]
    gamma = solveh_banded(bands, bends, check_finite=False)
    change = np.zeros_like(values)
    change[:-2] += before[:, None] * gamma
    change[1:-1] += middle[:, None] * gamma
    change[2:] += after[:, None] * gamma
    smoothed: Array = values - w[:, None] * change
    return smoothed


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
