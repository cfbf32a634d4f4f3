"""The motion model against its stochastic differential equation, and what it is for."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import expm

from posemamba_live.tracking.kalman import Array, Motion

SIZE = 140.0


def seen(x: float, y: float = 0.0, scale: float = 1.0) -> tuple[Array, float]:
    """Place and size."""
    return np.array([x, y]), SIZE * scale


@pytest.mark.parametrize("elapsed", [0.01, 0.2, 1.0])
def test_prediction_is_that_of_the_equation(elapsed: float) -> None:
    """dx = v dt, dv = -v dt + sqrt(2) s dW, discretised after Van Loan (1978)."""
    motion = Motion(*seen(0.0), 0.0)
    place, change, spread = motion.predict(elapsed)
    for axis, (speed, noise) in enumerate([(1.0, 0.05), (1.0, 0.05), (0.5, 0.1)]):
        drift = np.array([[0.0, 1.0], [0.0, -1.0]])
        diffusion = np.diag([0.0, 2.0 * speed**2])
        block = expm(np.block([[-drift, diffusion], [np.zeros((2, 2)), drift.T]]) * elapsed)
        step = block[2:, 2:].T
        covariance = step @ np.diag([noise**2, speed**2]) @ step.T + step @ block[:2, 2:]
        unit = SIZE if axis < 2 else 1.0
        assert spread[axis] == pytest.approx(unit * np.sqrt(covariance[0, 0]), rel=1e-6)
    np.testing.assert_allclose(place, seen(0.0)[0], atol=1e-4)
    assert change == pytest.approx(1.0)


def test_a_walker_is_found_again_behind_an_obstacle() -> None:
    rng = np.random.default_rng(1)
    motion = Motion(*seen(0.0), 0.0)
    for i in range(1, 40):
        motion.update(*seen(4.0 * i + rng.normal(0, 1.5), rng.normal(0, 1.5)), i / 30.0)
    place, _, spread = motion.predict(39 / 30.0 + 0.4)
    truth = seen(4.0 * (39 + 12))[0]
    assert abs(place[0] - truth[0]) < 20.0, "half of the 48 pixels or better"
    assert motion.surprise(*seen(4.0 * 51), 39 / 30.0 + 0.4)[0] < 2.0
    assert motion.surprise(*seen(4.0 * 27), 39 / 30.0 + 0.4) > motion.surprise(
        *seen(4.0 * 51), 39 / 30.0 + 0.4
    )
    assert 10.0 < spread[0] < 60.0


def test_who_comes_nearer_grows_and_is_expected_larger() -> None:
    motion = Motion(*seen(0.0), 0.0)
    for i in range(1, 40):
        motion.update(*seen(0.0, scale=1.01**i), i / 30.0)
    assert motion.size == pytest.approx(SIZE * 1.01**39, rel=0.05)
    assert motion.predict(1.5)[1] > 1.02


@pytest.mark.parametrize(
    ("after", "x", "scale", "same"),
    [(1 / 30, 10, 1.0, True), (1 / 30, 90, 1.0, False), (1 / 30, 0, 2.0, False),
     (0.2, 60, 1.0, True), (1.0, 200, 1.0, True), (1.0, 420, 1.0, False)],
)  # fmt: skip
def test_the_gate_grows_with_time(after: float, x: float, scale: float, same: bool) -> None:
    motion = Motion(*seen(0.0), 0.0)
    for i in range(1, 30):
        motion.update(*seen(0.0), i / 30.0)
    assert (motion.surprise(*seen(x, scale=scale), 29 / 30.0 + after)[0] < 14.0) is same
