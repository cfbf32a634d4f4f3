"""Normalisation: geometry against independent formulas, and the two kinds against each other."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from posemamba import normalize
from posemamba.skeleton import HIP, L_SHOULDER, R_SHOULDER

SIZE = (1280, 720)


def walker(batch: int = 2, frames: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Joints (B, T, 17, 3) in metres in front of a 60 degree camera, keypoints, scores."""
    rng = np.random.default_rng(3)
    joints = rng.normal([0.9, -0.2, 4.0], 0.4, (batch, 1, 17, 3))
    joints = joints + np.linspace(0, 0.5, frames)[None, :, None, None] * [1.0, 0.0, 0.3]
    joints = joints.astype(np.float32)
    focal = 640 / np.tan(np.radians(30))
    keypoints = joints[..., :2] / joints[..., 2:] * focal + [640, 360]
    return joints, keypoints.astype(np.float32), rng.uniform(0.3, 1, joints.shape[:-1]).astype("f4")


def test_focal_length_is_that_of_a_pinhole() -> None:
    focal = normalize.focal_pixels(np.array([[1280, 720], [720, 1280]]), 60.0)
    np.testing.assert_allclose(focal, 640 * np.sqrt(3), rtol=1e-6)


def test_the_virtual_camera_looks_at_the_shoulders_and_does_not_roll() -> None:
    _, keypoints, scores = walker(frames=1)
    window = normalize.ray_window(keypoints, scores, SIZE)
    np.testing.assert_allclose(np.linalg.det(window.rotation), 1.0, atol=1e-5)
    np.testing.assert_allclose(window.rotation[:, 0, 1], 0.0, atol=1e-6)  # x stays level
    middle = 0.5 * (window.inputs[:, 0, L_SHOULDER] + window.inputs[:, 0, R_SHOULDER])
    np.testing.assert_allclose(middle[:, :2], 0.0, atol=0.02)


def test_inputs_are_the_projection_of_the_turned_joints() -> None:
    joints, keypoints, scores = walker()
    window = normalize.ray_window(keypoints, scores, SIZE)
    for b in range(len(joints)):
        turned = Rotation.from_matrix(window.rotation[b]).apply(joints[b].reshape(-1, 3))
        flat = (turned[:, :2] / turned[:, 2:]).reshape(-1, 17, 2)
        log_size = window.inputs[b, ..., 3]
        assert np.ptp(log_size) == 0.0  # one size per window
        np.testing.assert_allclose(
            window.inputs[b, ..., :2] * 0.11 * np.exp(log_size[..., None]), flat, atol=1e-5
        )
    np.testing.assert_array_equal(window.inputs[..., 2], scores)


def test_turning_there_and_back() -> None:
    joints, keypoints, scores = walker()
    window = normalize.ray_window(keypoints, scores, SIZE)
    there = window.to_virtual(joints)
    np.testing.assert_allclose(window.to_camera(there), joints, atol=1e-5)
    assert np.abs(there - joints).max() > 0.1


def test_tilt_is_how_far_below_the_middle_the_shoulders_are() -> None:
    """The same person lower in the picture: 10 degrees below the axis, by the pinhole formula."""
    _, keypoints, scores = walker(batch=1, frames=1)
    centre = 0.5 * (keypoints[:, :, L_SHOULDER] + keypoints[:, :, R_SHOULDER])
    below = np.array([640.0, 360.0 + 640 / np.tan(np.radians(30)) * np.tan(np.radians(10))])
    moved = (keypoints - centre[:, :, None] + below).astype(np.float32)
    tilt = normalize.ray_window(moved, scores, SIZE).inputs[..., 4]
    np.testing.assert_allclose(tilt, np.sin(np.radians(10)) / 0.15, rtol=1e-3)
    level = moved - (below - [640.0, 360.0]).astype(np.float32)
    np.testing.assert_allclose(
        normalize.ray_window(level, scores, SIZE).inputs[..., 4], 0, atol=1e-3
    )


def test_scale_of_the_picture_does_not_matter() -> None:
    _, keypoints, scores = walker()
    small = normalize.ray_window(keypoints / 2, scores, (640, 360))
    full = normalize.ray_window(keypoints, scores, SIZE)
    np.testing.assert_allclose(small.inputs, full.inputs, atol=1e-4)


def test_the_peak_is_the_last_input_and_the_score_stands_for_it() -> None:
    _, keypoints, scores = walker()
    peaks = np.random.default_rng(4).uniform(0, 1, scores.shape).astype(np.float32)
    window = normalize.ray_window(keypoints, scores, SIZE, peaks=peaks)
    np.testing.assert_array_equal(window.inputs[..., 5], peaks)
    stream = normalize.RayStream().update(keypoints[:, 0], scores[:, 0], SIZE, 0.0, peaks[:, 0])
    np.testing.assert_array_equal(stream.inputs[:, 0, :, 5], peaks[:, 0])
    without = normalize.ray_window(keypoints, scores, SIZE).inputs
    np.testing.assert_array_equal(without[..., 5], scores)
    np.testing.assert_array_equal(without[..., :5], window.inputs[..., :5])


def test_the_first_frame_of_a_stream_is_a_window_of_one() -> None:
    _, keypoints, scores = walker()
    stream = normalize.RayStream().update(keypoints[:, 0], scores[:, 0], SIZE, 0.0)
    window = normalize.ray_window(keypoints[:, :1], scores[:, :1], SIZE)
    np.testing.assert_allclose(stream.inputs, window.inputs, atol=1e-5)
    np.testing.assert_allclose(stream.rotation, window.rotation, atol=1e-6)


def test_a_stream_without_forgetting_ends_where_the_window_is() -> None:
    _, keypoints, scores = walker()
    stream = normalize.RayStream()
    for t in range(keypoints.shape[1]):
        last = stream.update(keypoints[:, t], scores[:, t], SIZE, 0.0)
    window = normalize.ray_window(keypoints, scores, SIZE)
    np.testing.assert_allclose(last.rotation, window.rotation, atol=1e-5)


def test_a_stream_forgets() -> None:
    _, keypoints, scores = walker()
    stream = normalize.RayStream()
    stream.update(keypoints[:, 0], scores[:, 0], SIZE, 0.0)
    late = stream.update(keypoints[:, -1], scores[:, -1], SIZE, 20.0)
    alone = normalize.ray_window(keypoints[:, -1:], scores[:, -1:], SIZE)
    np.testing.assert_allclose(late.rotation, alone.rotation, atol=1e-5)


def test_a_track_is_a_stream_of_which_all_frames_are_there() -> None:
    joints, keypoints, scores = walker()
    peaks = scores[..., ::-1].copy()
    track = normalize.ray_track(keypoints, scores, SIZE, 0.04, peaks=peaks)
    assert track.rotation.shape == (2, 12, 3, 3)
    stream = normalize.RayStream()
    for t in range(keypoints.shape[1]):
        one = stream.update(keypoints[:, t], scores[:, t], SIZE, 0.04, peaks[:, t])
        np.testing.assert_array_equal(track.inputs[:, t], one.inputs[:, 0])
        np.testing.assert_array_equal(track.rotation[:, t], one.rotation)
    there = track.to_virtual(joints)
    np.testing.assert_allclose(track.to_camera(there), joints, atol=1e-5)
    own = Rotation.from_matrix(track.rotation[1, 7]).apply(joints[1, 7])
    np.testing.assert_allclose(there[1, 7], own, atol=1e-5)


@pytest.mark.parametrize(
    ("pixel", "expected"),
    [((0, 0), (-1, -720 / 1280)), ((1280, 720), (1, 720 / 1280)), ((640, 360), (0, 0))],
)
def test_official_normalisation(pixel: tuple[int, int], expected: tuple[float, float]) -> None:
    np.testing.assert_allclose(
        normalize.image_window(np.array(pixel, np.float32), SIZE), expected, atol=1e-6
    )


def test_root_relative() -> None:
    joints, _, _ = walker()
    relative = normalize.root_relative(joints)
    np.testing.assert_array_equal(relative[:, :, HIP], 0.0)
    np.testing.assert_allclose(relative + joints[:, :, HIP : HIP + 1], joints, atol=1e-6)
