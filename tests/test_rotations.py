"""Quaternions against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from posemamba_live.takes import rotations

RNG = np.random.default_rng(5)


@pytest.fixture(scope="module")
def pair() -> tuple[Rotation, Rotation]:
    return Rotation.random(200, random_state=1), Rotation.random(200, random_state=2)


def same(a: np.ndarray, b: np.ndarray) -> None:
    """Equal as rotations: a quaternion and its negative are one."""
    np.testing.assert_allclose(np.abs((a * b).sum(-1)), 1.0, atol=1e-12)


def test_products_inverses_and_angles(pair: tuple[Rotation, Rotation]) -> None:
    a, b = pair
    same(rotations.multiply(a.as_quat(), b.as_quat()), (a * b).as_quat())
    same(rotations.inverse(a.as_quat()), a.inv().as_quat())
    np.testing.assert_allclose(
        rotations.angle_between(a.as_quat(), b.as_quat()), (a.inv() * b).magnitude(), atol=1e-6
    )


def test_turning_vectors(pair: tuple[Rotation, Rotation]) -> None:
    vectors = RNG.normal(size=(200, 3))
    np.testing.assert_allclose(
        rotations.rotate(pair[0].as_quat(), vectors), pair[0].apply(vectors), atol=1e-12
    )
    one = rotations.rotate(pair[0].as_quat(), vectors[0])  # broadcasts
    np.testing.assert_allclose(one, pair[0].apply(np.repeat(vectors[:1], 200, 0)), atol=1e-12)


def test_matrices_and_half_turns(pair: tuple[Rotation, Rotation]) -> None:
    half_turns = Rotation.from_rotvec(np.pi * np.eye(3))
    for some in (pair[0], half_turns, Rotation.identity(1)):
        matrices = some.as_matrix()
        same(rotations.from_matrix(matrices), some.as_quat())
        np.testing.assert_allclose(rotations.to_matrix(some.as_quat()), matrices, atol=1e-12)
    assert (rotations.from_matrix(pair[0].as_matrix())[:, 3] >= 0).all()


def test_cross() -> None:
    a, b = RNG.normal(size=(2, 4, 5, 3))
    np.testing.assert_allclose(rotations.cross(a, b), np.cross(a, b), atol=1e-12)


def test_y_up_turns_positions_and_rotations_alike(pair: tuple[Rotation, Rotation]) -> None:
    up, front, left = np.array([[0.0, 0.0, 1.0], [0.0, -1.0, 0.0], [1.0, 0.0, 0.0]])
    np.testing.assert_array_equal(
        rotations.to_y_up(np.stack([up, front, left])), [[0, 1, 0], [0, 0, 1], [1, 0, 0]]
    )
    vectors = RNG.normal(size=(200, 3))
    turned = Rotation.from_quat(rotations.to_y_up(pair[0].as_quat()))
    np.testing.assert_allclose(
        turned.apply(rotations.to_y_up(vectors)),
        rotations.to_y_up(pair[0].apply(vectors)),
        atol=1e-12,
    )
