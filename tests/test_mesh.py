"""Bodies, floor, shadows and trails as meshes: outlines, orientation, colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from posemamba.skeleton import BONES, HEAD, HIP, L_WRIST, NOSE, R_WRIST
from posemamba_live.drawing.colours import BACKGROUND, GRID, person_colors
from posemamba_live.drawing.mesh import (
    FLOOR_RADIUS,
    Body,
    Mesh,
    body_mesh,
    floor_mesh,
    merge,
    shadow_mesh,
    trail_mesh,
)

EYE = np.array([0.0, -4.0, 1.2])
FORWARD = np.array([0.0, 1.0, 0.0])
DEMO = Path(__file__).parents[1] / "demo_videos"


@pytest.fixture(scope="module")
def joints() -> NDArray[np.float64]:
    poses = np.load(DEMO / "walk_turn_gt.npz")["joints_world"]
    return np.asarray(poses[40], dtype=np.float64)


@pytest.fixture(scope="module")
def body(joints: NDArray[np.float64]) -> Mesh:
    return body_mesh([Body(joints, person_colors(0))], EYE, FORWARD)


def face_normals(mesh: Mesh) -> NDArray[np.float64]:
    """Twice the area of each triangle, along the direction it faces."""
    a, b, c = (mesh.vertices[mesh.triangles[:, i]] for i in range(3))
    return np.asarray(np.cross(b - a, c - a))


def distance_to_segment(
    points: NDArray[np.float64], a: NDArray[np.float64], b: NDArray[np.float64]
) -> NDArray[np.float64]:
    along = np.clip((points - a) @ (b - a) / ((b - a) @ (b - a)), 0.0, 1.0)
    return np.asarray(np.linalg.norm(points - (a + along[:, None] * (b - a)), axis=1))


def test_triangles_and_normals_of_a_body_face_outwards(body: Mesh) -> None:
    assert body.normals is not None
    np.testing.assert_allclose(np.linalg.norm(body.normals, axis=1), 1.0, atol=1e-9)
    facing = np.einsum("fc,fc->f", face_normals(body), body.normals[body.triangles].mean(axis=1))
    assert (facing > 0).all()


def test_a_body_is_a_thin_hull_around_its_bones(body: Mesh, joints: NDArray[np.float64]) -> None:
    distances = [distance_to_segment(body.vertices, joints[a], joints[b]) for a, b in BONES]
    assert np.min(distances, axis=0).max() < 0.16, "something sticks out"
    for joint in set(range(17)) - {HEAD, NOSE}:
        nearest = np.linalg.norm(body.vertices - joints[joint], axis=1).min()
        assert 0.02 < nearest < 0.1, f"no limb around joint {joint}"
    top = body.vertices[:, 2].max()
    assert abs(top - joints[HEAD, 2]) < 0.07, "the crown is the top of the head"


def test_left_and_right_have_their_colours(body: Mesh, joints: NDArray[np.float64]) -> None:
    colors = person_colors(0)
    for joint, expected in ((L_WRIST, colors.left), (R_WRIST, colors.right)):
        near = np.linalg.norm(body.vertices - joints[joint], axis=1) < 0.06
        shown = body.colors[near] / np.linalg.norm(body.colors[near], axis=1, keepdims=True)
        expected_hue = np.array(expected) / np.linalg.norm(expected)
        np.testing.assert_allclose(shown, np.broadcast_to(expected_hue, shown.shape), atol=1e-6)


def test_what_is_farther_from_the_viewer_is_darker(joints: NDArray[np.float64]) -> None:
    reach = joints.copy()
    reach[L_WRIST] = joints[HIP] + [0.0, -0.6, 0.4]
    front = body_mesh([Body(reach, person_colors(0))], EYE, FORWARD)
    back = body_mesh([Body(reach, person_colors(0))], -EYE, -FORWARD)
    hand = np.linalg.norm(front.vertices - reach[L_WRIST], axis=1) < 0.05
    assert front.colors[hand].mean() > 1.3 * back.colors[hand].mean()


def test_a_predicted_person_fades_into_the_background(joints: NDArray[np.float64]) -> None:
    seen = body_mesh([Body(joints, person_colors(0))], EYE, FORWARD)
    ghost = body_mesh([Body(joints, person_colors(0), ghost=True)], EYE, FORWARD)
    sky = np.array(BACKGROUND)
    contrast = np.abs(ghost.colors - sky).mean() / np.abs(seen.colors - sky).mean()
    assert contrast < 0.6
    np.testing.assert_array_equal(seen.vertices, ghost.vertices)


def test_people_are_drawn_independently_of_each_other(joints: NDArray[np.float64]) -> None:
    other = joints[:, [1, 0, 2]] + [1.5, 0.0, 0.0]
    people = [Body(joints, person_colors(0)), Body(other, person_colors(1))]
    both = body_mesh(people, EYE, FORWARD)
    alone = [body_mesh([person], EYE, FORWARD) for person in people]
    np.testing.assert_allclose(both.vertices, np.concatenate([m.vertices for m in alone]))
    np.testing.assert_allclose(both.colors, np.concatenate([m.colors for m in alone]))
    assert both.triangles.max() == len(both.vertices) - 1
    assert len(both.triangles) == sum(len(m.triangles) for m in alone)


def test_nobody_is_an_empty_mesh() -> None:
    nobody = body_mesh([], EYE, FORWARD)
    assert nobody.vertices.shape == (0, 3)
    assert nobody.triangles.shape == (0, 3)
    assert shadow_mesh(nobody, [0.0, 0.0]).vertices.shape == (0, 3)
    assert merge([]).triangles.shape == (0, 3)


def test_degenerate_poses_stay_finite() -> None:
    collapsed = body_mesh([Body(np.zeros((17, 3)), person_colors(0))], EYE, FORWARD)
    assert np.isfinite(collapsed.vertices).all()
    assert collapsed.normals is not None
    assert np.isfinite(collapsed.normals).all()


def test_limbs_of_a_child_are_thinner(joints: NDArray[np.float64], body: Mesh) -> None:
    child = body_mesh([Body(0.6 * joints, person_colors(0))], EYE, FORWARD)
    np.testing.assert_allclose(child.vertices, 0.6 * body.vertices, atol=0.01)


def test_the_shadow_lies_on_the_floor_under_the_body(body: Mesh) -> None:
    shadow = shadow_mesh(body, [0.0, 0.0])
    assert (shadow.vertices[:, 2] > 0).all()
    assert (shadow.vertices[:, 2] < 0.01).all()
    low = body.vertices[:, 2] < 0.15
    moved = np.linalg.norm(shadow.vertices[low, :2] - body.vertices[low, :2], axis=1)
    assert moved.max() < 0.05, "the shadow starts at the feet"


def test_floor_lines_mark_whole_metres_and_fade_out() -> None:
    centre = np.array([0.3, -1.2])
    floor = floor_mesh(centre)
    assert (face_normals(floor)[:, 2] > 0).all(), "seen from above"
    lines = floor.vertices[:, 2] > 0.001
    flat = floor.vertices[lines, :2]
    off_line = np.abs(flat - np.rint(flat)).min(axis=1)
    assert off_line.max() < 0.01
    distance = np.linalg.norm(flat - centre, axis=1)
    near, far = floor.colors[lines][distance < 1.0], floor.colors[lines][distance > 5.9]
    assert (near.mean(axis=0) > 0.7 * np.array(GRID)).all()
    np.testing.assert_allclose(far, np.broadcast_to(BACKGROUND, far.shape), atol=0.02)
    assert distance.max() < FLOOR_RADIUS + 0.05


def test_a_trail_follows_its_path_and_faces_the_viewer() -> None:
    time = np.linspace(0.0, 1.0, 20)[:, None]
    path = np.hstack([time, 0.2 * time, 1.0 + 0.3 * np.sin(4 * time)])
    ribbon = trail_mesh(path, (0.2, 0.6, 1.0), EYE, width=0.02)
    middle = ribbon.vertices.reshape(20, 2, 3).mean(axis=1)
    np.testing.assert_allclose(middle, path, atol=1e-9)
    edge = ribbon.vertices.reshape(20, 2, 3)[:, 1] - middle
    np.testing.assert_allclose(np.einsum("nc,nc->n", edge, path - EYE), 0.0, atol=1e-9)
    widths = 2 * np.linalg.norm(edge, axis=1)
    assert widths[0] == 0.0
    np.testing.assert_allclose(widths[-1], 0.02, rtol=1e-6)
    assert (np.diff(ribbon.colors[::2, 2]) > 0).all(), "brighter towards the newest end"
    assert trail_mesh(path[:1], (1.0, 1.0, 1.0), EYE).vertices.shape == (0, 3)
