"""The turntable camera, checked by projecting points as a pinhole camera does."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from posemamba_live.viewer.orbit import (
    MAX_DISTANCE,
    MAX_ELEVATION,
    MIN_DISTANCE,
    OrbitCamera,
    camera_centre,
    focal_length,
)

FOCAL = 1000.0
DEMO = Path(__file__).parents[1] / "demo_videos"


def project(
    camera: OrbitCamera, point: NDArray[np.float64], shift: float = 0.0
) -> NDArray[np.float64]:
    """Pixels right of and below the middle of the window."""
    rotation, eye = camera.placed(shift, FOCAL)
    x, y, z = rotation @ (point - eye)
    assert z > 0
    return np.array([x / z, y / z]) * FOCAL


@pytest.mark.parametrize("azimuth", [-2.0, 0.0, 0.7, 3.0])
@pytest.mark.parametrize("elevation", [-0.4, 0.0, 0.3, MAX_ELEVATION])
def test_the_view_is_a_rotation_with_a_level_horizon(azimuth: float, elevation: float) -> None:
    camera = OrbitCamera(azimuth, elevation)
    np.testing.assert_allclose(camera.rotation @ camera.rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(camera.rotation) == pytest.approx(1.0)
    assert camera.right[2] == 0.0
    assert camera.rotation[1, 2] <= 0.0, "up is up"


def test_the_target_is_in_the_middle_of_what_the_panel_leaves_free() -> None:
    camera = OrbitCamera(0.6, 0.2, 5.0, np.array([1.0, 2.0, 0.9]))
    np.testing.assert_allclose(project(camera, camera.target), [0.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(project(camera, camera.target, 188.0), [188.0, 0.0], atol=1e-9)


def test_making_room_for_the_panel_keeps_distance_azimuth_and_horizon() -> None:
    camera = OrbitCamera(0.6, 0.0, 5.0, np.array([1.0, 2.0, 0.9]))
    rotation, eye = camera.placed(188.0, FOCAL)
    np.testing.assert_allclose(camera.target - eye, 5.0 * camera.forward, atol=1e-9)
    tilted = OrbitCamera(0.6, 0.2, 5.0, np.array([1.0, 2.0, 0.9]))
    rotation, eye = tilted.placed(188.0, FOCAL)
    assert rotation[0, 2] == 0.0
    assert np.linalg.norm(tilted.target - eye) == pytest.approx(5.0)
    flat = (tilted.target - eye)[:2]
    assert math.atan2(-flat[0], flat[1]) == pytest.approx(0.6, abs=0.01)


def test_front_view_has_the_cameras_left_and_right() -> None:
    camera = OrbitCamera(0.0, 0.0)
    assert project(camera, camera.target + 0.5 * np.eye(3)[0])[0] > 0
    assert project(camera, camera.target + 0.5 * np.eye(3)[2])[1] < 0


def test_dragging_moves_the_scene_with_the_mouse() -> None:
    camera = OrbitCamera(0.3, 0.2)
    near = camera.target - 0.3 * camera.forward
    before = project(camera, near)
    camera.orbit(40.0, 0.0)
    assert project(camera, near)[0] > before[0]
    camera.orbit(0.0, 30.0)
    assert project(camera, near)[1] > before[1]

    camera = OrbitCamera(0.3, 0.2)
    thing = camera.target.copy()
    camera.pan(25.0, -10.0, FOCAL)
    np.testing.assert_allclose(project(camera, thing), [25.0, -10.0], rtol=0.02)


def test_orbit_and_zoom_stay_within_bounds() -> None:
    camera = OrbitCamera()
    camera.orbit(1e5, 1e5)
    assert camera.elevation == MAX_ELEVATION
    assert abs(camera.azimuth) <= math.pi
    camera.zoom(1000.0)
    assert camera.distance == MIN_DISTANCE
    camera.zoom(-1000.0)
    assert camera.distance == MAX_DISTANCE


def test_look_from_puts_the_eye_where_it_is_told() -> None:
    camera = OrbitCamera(target=np.array([0.5, 1.0, 1.0]))
    eye = np.array([2.0, -3.0, 1.8])
    camera.look_from(eye)
    np.testing.assert_allclose(camera.placed(0.0, FOCAL)[1], eye, atol=1e-9)


def test_the_window_shows_its_field_of_view() -> None:
    height = 720
    half = math.atan(0.5 * height / focal_length(height))
    assert math.degrees(2 * half) == pytest.approx(30.0)


def test_the_filming_camera_is_found_from_a_pose_in_both_frames() -> None:
    truth = np.load(DEMO / "walk_turn_gt.npz")
    expected = -truth["R"].T @ truth["t"]
    for frame in (0, 80):
        seen = truth["joints_camera"][frame]
        found = camera_centre(seen - seen[0], seen[0], truth["joints_world"][frame])
        np.testing.assert_allclose(found, expected, atol=1e-3)
