"""One Euro against a scalar written from the paper, the spline against SciPy's; Kalman against the
textbook's batch form."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.interpolate import make_smoothing_spline

from posemamba_live.scene.smoothing import (
    DERIVATIVE_CUTOFF,
    MIN_CUTOFF,
    OFFLINE_CUTOFF,
    SPEED_COEFFICIENT,
    DepthFilter,
    OneEuroFilter,
    smooth_depth,
    smooth_zero_phase,
)


class ScalarOneEuro:
    """Algorithm 1 of Casiez, Roussel and Vogel, CHI 2012, for one number."""

    def __init__(self, min_cutoff: float, beta: float, derivative_cutoff: float) -> None:
        self.min_cutoff, self.beta, self.derivative_cutoff = min_cutoff, beta, derivative_cutoff
        self.previous: tuple[float, float, float] | None = None

    def filter(self, x: float, t: float) -> float:
        if self.previous is None:
            self.previous = (x, 0.0, t)
            return x
        x_hat, dx_hat, t_last = self.previous
        rate = 1.0 / (t - t_last)
        dx_hat = self._low_pass((x - x_hat) * rate, dx_hat, self.derivative_cutoff, rate)
        x_hat = self._low_pass(x, x_hat, self.min_cutoff + self.beta * abs(dx_hat), rate)
        self.previous = (x_hat, dx_hat, t)
        return x_hat

    @staticmethod
    def _low_pass(x: float, last: float, cutoff: float, rate: float) -> float:
        tau = 1.0 / (2.0 * math.pi * cutoff)
        alpha = 1.0 / (1.0 + tau * rate)
        return alpha * x + (1.0 - alpha) * last


@pytest.fixture
def walk() -> tuple[np.ndarray, np.ndarray]:
    """(200, 17, 3) metres of noisy movement at an uneven rate, and its times."""
    rng = np.random.default_rng(1)
    times = np.cumsum(rng.uniform(0.02, 0.06, 200))
    phase = rng.uniform(0, 6, (17, 3))
    values = 0.4 * np.sin(3.0 * times[:, None, None] + phase) + rng.normal(0, 0.01, (200, 17, 3))
    return values, times


@pytest.mark.parametrize("strength", [0.3, 1.0, 3.0])
def test_equals_the_scalar_filter_of_the_paper(
    walk: tuple[np.ndarray, np.ndarray], strength: float
) -> None:
    values, times = walk
    ours = OneEuroFilter(strength)
    got = np.array([ours(v, t) for v, t in zip(values, times, strict=True)])
    for joint, axis in [(0, 0), (3, 1), (16, 2)]:
        reference = ScalarOneEuro(
            MIN_CUTOFF / strength, SPEED_COEFFICIENT / strength, DERIVATIVE_CUTOFF
        )
        expected = [
            reference.filter(float(values[i, joint, axis]), float(times[i])) for i in range(200)
        ]
        np.testing.assert_allclose(got[:, joint, axis], expected, rtol=0, atol=1e-12)


def test_strength_zero_passes_everything_through(walk: tuple[np.ndarray, np.ndarray]) -> None:
    values, times = walk
    ours = OneEuroFilter(0.0)
    for value, time in zip(values, times, strict=True):
        np.testing.assert_array_equal(ours(value, time), value)
    np.testing.assert_array_equal(smooth_zero_phase(values, times, 0.0), values)


@pytest.mark.parametrize("strength", [-0.1, math.nan, math.inf])
def test_impossible_strength_is_refused(strength: float) -> None:
    with pytest.raises(ValueError, match="strength"):
        OneEuroFilter(strength)


def test_starts_anew_after_a_gap_a_reset_and_a_step_back() -> None:
    ours = OneEuroFilter(1.0)
    still, far = np.zeros((17, 3)), np.full((17, 3), 2.0)
    for i in range(10):
        ours(still, i / 30)
    assert np.all(ours(far, 10 / 30) < far)  # no gap: the jump is smoothed
    np.testing.assert_array_equal(ours(still, 10 / 30 + 0.51), still)
    np.testing.assert_array_equal(ours(far, 0.2), far)
    ours.reset()
    np.testing.assert_array_equal(ours(still, 0.23), still)


def test_default_lags_less_than_a_frame_when_fast_and_calms_when_still() -> None:
    times = np.arange(90) / 30.0
    speed = 1.5  # m/s, an arm
    ours = OneEuroFilter(1.0)
    got = np.array([ours(np.array([speed * t]), t)[0] for t in times])
    lag = (speed * times - got)[-1] / speed
    assert lag < 1 / 30

    noise = np.random.default_rng(2).normal(0, 0.01, (300, 51))
    ours = OneEuroFilter(1.0)
    calm = np.array([ours(x, i / 30.0) for i, x in enumerate(noise)])[30:]
    assert np.diff(calm, axis=0).std() < 0.3 * np.diff(noise, axis=0).std()


def test_zero_phase_does_not_lag(walk: tuple[np.ndarray, np.ndarray]) -> None:
    times = np.arange(300) / 30.0
    clean = 0.3 * np.sin(2.0 * math.pi * 1.0 * times)
    noisy = clean + np.random.default_rng(3).normal(0, 0.01, 300)
    ours = OneEuroFilter(1.0)
    causal = np.array([ours(np.array([x]), t)[0] for x, t in zip(noisy, times, strict=True)])
    zero_phase = smooth_zero_phase(noisy[:, None], times, 1.0)[:, 0]

    def shift(x: np.ndarray) -> float:
        """Seconds by which x comes after the clean movement, from the phase at 1 Hz."""
        wave = np.exp(-2j * math.pi * times)
        return float(np.angle((clean @ wave) / (x @ wave))) / (2.0 * math.pi)

    assert shift(causal) > 0.01
    assert abs(shift(zero_phase)) < 0.002
    assert np.diff(zero_phase, 2).std() < 0.6 * np.diff(noisy, 2).std()


@pytest.mark.parametrize("strength", [0.5, 1.0, 4.0])
def test_the_spline_is_that_of_another_library(
    walk: tuple[np.ndarray, np.ndarray], strength: float
) -> None:
    values, times = walk
    steps = np.diff(times)
    around = np.concatenate([steps[:1], (steps[1:] + steps[:-1]) / 2, steps[-1:]])
    penalty = (2.0 * math.pi * OFFLINE_CUTOFF / strength) ** -4
    got = smooth_zero_phase(values, times, strength)
    for joint, axis in [(0, 0), (3, 1), (16, 2)]:
        other = make_smoothing_spline(times, values[:, joint, axis], w=around, lam=penalty)
        np.testing.assert_allclose(got[:, joint, axis], other(times), atol=1e-9)


@pytest.mark.parametrize("fps", [24.0, 120.0])
def test_the_spline_halves_what_is_at_its_cutoff(fps: float) -> None:
    times = np.arange(round(8 * fps)) / fps
    middle = slice(round(2 * fps), round(6 * fps))
    for hertz, share in ((2.0, 1.0 / (1.0 + (2.0 / 5.0) ** 4)), (5.0, 0.5)):
        wave = np.sin(2.0 * math.pi * hertz * times)
        smoothed = smooth_zero_phase(wave[:, None], times, 1.0)[:, 0]
        gain = float(smoothed[middle] @ wave[middle] / (wave[middle] @ wave[middle]))
        assert gain == pytest.approx(share, abs=0.05)


def test_the_spline_does_not_reach_over_gaps() -> None:
    times = np.concatenate([np.arange(40), 40 + 30 + np.arange(40), [140, 150]]) / 30.0
    values = np.where(times < 2.0, 1.0, 5.0)[:, None]
    np.testing.assert_allclose(smooth_zero_phase(values, times, 1.0), values, atol=1e-9)
    assert smooth_zero_phase(np.empty((0, 3)), np.empty(0), 1.0).shape == (0, 3)


def batch_smoother(z: np.ndarray, variance: np.ndarray, times: np.ndarray) -> np.ndarray:
    """The same Gaussian model solved as one dense least-squares problem over all states."""
    n, q = len(z), DepthFilter.ACCELERATION
    information, rhs = np.zeros((2 * n, 2 * n)), np.zeros(2 * n)
    information[1, 1] += 1.0  # first rate: N(0, 1 m/s)
    for i in range(n):
        information[2 * i, 2 * i] += 1.0 / variance[i]
        rhs[2 * i] += z[i] / variance[i]
    for i in range(1, n):
        dt = times[i] - times[i - 1]
        noise = q * np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]])
        step = np.hstack([-np.array([[1.0, dt], [0.0, 1.0]]), np.eye(2)])
        rows = slice(2 * i - 2, 2 * i + 2)
        information[rows, rows] += step.T @ np.linalg.solve(noise, step)
    return np.linalg.solve(information, rhs)[::2]


def test_depth_smoother_is_the_least_squares_solution() -> None:
    rng = np.random.default_rng(4)
    times = np.cumsum(rng.uniform(0.02, 0.06, 60))
    z = 4.0 + 0.3 * np.sin(times) + rng.normal(0, 0.02, 60)
    variance = rng.uniform(0.01, 0.04, 60)  # wide enough that no measurement is gated
    np.testing.assert_allclose(
        smooth_depth(z, variance, times), batch_smoother(z, variance, times), atol=1e-6
    )
    causal = DepthFilter()
    last = [causal(*row) for row in zip(z, variance, times, strict=True)][-1]
    assert last == pytest.approx(batch_smoother(z, variance, times)[-1], abs=1e-6)


def test_depth_survives_outliers_and_gaps() -> None:
    times = np.concatenate([np.arange(60) / 30.0, 10.0 + np.arange(60) / 30.0])
    z = np.where(times < 5.0, 4.0, 7.0)
    z[[20, 21, 40]] = 9.0
    variance = np.full(120, 0.05**2)
    smoothed = smooth_depth(z, variance, times)
    np.testing.assert_allclose(smoothed[:60], 4.0, atol=0.15)
    np.testing.assert_allclose(smoothed[60:], 7.0, atol=1e-6)  # nothing leaks over the gap
    assert smooth_depth(np.empty(0), np.empty(0), np.empty(0)).shape == (0,)
