"""Metrics against independent references: SciPy's optimisers and hand-made errors."""

from __future__ import annotations

import numpy as np
import pytest

from posemamba.skeleton import L_HIP, R_HIP
from posemamba.training import metrics

scipy_linalg = pytest.importorskip("scipy.linalg")
from scipy.optimize import least_squares, minimize_scalar  # noqa: E402
from scipy.spatial.transform import Rotation  # noqa: E402


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_procrustes_undoes_any_similarity(rng: np.random.Generator) -> None:
    true = rng.normal(size=(3, 5, 17, 3))
    turn = Rotation.random(15, rng=1).as_matrix().reshape(3, 5, 3, 3)
    moved = 0.37 * true @ turn + rng.normal(size=(3, 5, 1, 3))
    np.testing.assert_allclose(metrics.procrustes(moved, true), true, atol=1e-9)


def test_procrustes_is_the_optimum_that_a_solver_finds(rng: np.random.Generator) -> None:
    true, predicted = rng.normal(size=(2, 12, 3))
    aligned = metrics.procrustes(predicted, true)

    def residual(x: np.ndarray) -> np.ndarray:
        return (np.exp(x[6]) * Rotation.from_rotvec(x[:3]).apply(predicted) + x[3:6] - true).ravel()

    starts = [np.r_[start, 0, 0, 0, 0] for start in np.eye(3) * 2 - 1]
    best = min((least_squares(residual, start) for start in starts), key=lambda r: r.cost)
    assert ((aligned - true) ** 2).sum() == pytest.approx(2 * best.cost, rel=1e-6)


def test_procrustes_agrees_with_scipy_where_no_mirror_is_needed(rng: np.random.Generator) -> None:
    true = rng.normal(size=(12, 3))
    predicted = true + 0.05 * rng.normal(size=(12, 3))
    p, t = predicted - predicted.mean(0), true - true.mean(0)
    turn, total = scipy_linalg.orthogonal_procrustes(p, t)
    expected = p @ turn * total / (p**2).sum() + true.mean(0)
    np.testing.assert_allclose(metrics.procrustes(predicted, true), expected, atol=1e-9)


def test_procrustes_never_mirrors(rng: np.random.Generator) -> None:
    true = rng.normal(size=(17, 3))
    mirrored = true * np.array([-1.0, 1.0, 1.0])
    assert metrics.joint_error(metrics.procrustes(mirrored, true), true).mean() > 0.1


def test_procrustes_of_coinciding_points_moves_them_to_the_centre(
    rng: np.random.Generator,
) -> None:
    true = rng.normal(size=(17, 3))
    aligned = metrics.procrustes(np.ones((17, 3)), true)
    np.testing.assert_allclose(aligned, np.broadcast_to(true.mean(0), (17, 3)), atol=1e-12)


def test_best_scale_is_the_least_squares_optimum(rng: np.random.Generator) -> None:
    predicted, true = rng.normal(size=(2, 4, 27, 12, 3))
    scale = metrics.best_scale(predicted, true)
    assert scale.shape == (4, 1, 1, 1)
    for p, t, s in zip(predicted, true, scale.ravel(), strict=True):
        found = minimize_scalar(lambda x, p=p, t=t: float(((x * p - t) ** 2).sum()))
        assert s == pytest.approx(found.x, abs=1e-6)
    assert metrics.best_scale(np.zeros((1, 2, 3, 3)), true[:1, :2, :3]).item() == 1.0


def test_hip_alignment_forgives_a_moved_body_only(rng: np.random.Generator) -> None:
    true = rng.normal(size=(2, 9, 17, 3))
    moved = true + rng.normal(size=(2, 9, 1, 3))
    np.testing.assert_allclose(metrics.hip_aligned(moved), metrics.hip_aligned(true), atol=1e-12)
    middle = metrics.hip_aligned(true)[..., (R_HIP, L_HIP), :].mean(-2)
    np.testing.assert_allclose(middle, 0.0, atol=1e-12)


def test_rates_of_known_motion() -> None:
    time = np.arange(10.0)
    still = np.zeros((1, 10, 17, 3))
    falling = still.copy()
    falling[..., 2] = (0.5 * 3.0 * time**2)[None, :, None]
    np.testing.assert_allclose(metrics.acceleration_error(falling, still), 3.0)
    np.testing.assert_allclose(metrics.jitter(falling), 0.0, atol=1e-9)
    steady = still.copy()
    steady[..., 0] = (5.0 * time)[None, :, None]
    np.testing.assert_allclose(metrics.velocity_error(steady, still), 5.0)
    np.testing.assert_allclose(metrics.acceleration_error(steady, still), 0.0, atol=1e-9)


def test_pck_and_auc_of_known_errors() -> None:
    error = np.array([0.0, 75.0, 150.0, 151.0])
    assert metrics.pck(error) == 75.0
    assert metrics.pck(error, 74.0) == 25.0
    # 31 thresholds: the four errors pass 31, 16, 1 and 0 of them.
    assert metrics.auc(error) == pytest.approx(100.0 * (31 + 16 + 1) / (4 * 31))


def test_score_separates_scale_turn_and_shape(rng: np.random.Generator) -> None:
    true = 300.0 * rng.normal(size=(5, 27, 17, 3))
    same = metrics.score(true, true)
    assert same.mpjpe == same.n_mpjpe == same.velocity == same.accel == 0.0
    assert same.pa_mpjpe == pytest.approx(0.0, abs=1e-6)
    assert same.pck150 == 100.0

    scaled = metrics.score(0.8 * true, true)
    assert scaled.mpjpe > 50.0
    assert scaled.n_mpjpe == pytest.approx(0.0, abs=1e-6)

    turned = metrics.score(true @ Rotation.from_euler("y", 20, degrees=True).as_matrix(), true)
    assert turned.n_mpjpe > 50.0
    assert turned.pa_mpjpe == pytest.approx(0.0, abs=1e-6)


def test_score_of_a_single_frame_has_no_rates(rng: np.random.Generator) -> None:
    true = rng.normal(size=(3, 1, 17, 3))
    scores = metrics.score(true, true)
    assert scores.mpjpe == 0.0
    assert np.isnan([scores.velocity, scores.accel, scores.jitter]).all()
