"""Positions to rotations and back: exact bones, anatomical hinges, no flips, no future."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from posemamba.skeleton import (
    HEAD,
    L_ANKLE,
    L_ELBOW,
    L_KNEE,
    L_WRIST,
    MIRROR,
    NOSE,
    NUM_JOINTS,
    R_ELBOW,
    R_KNEE,
    R_WRIST,
    THORAX,
)
from posemamba_live.takes.armature import (
    JOINT_NODES,
    NODE_INDEX,
    NODES,
    NUM_NODES,
    ArmatureSolver,
    bone_lengths,
    forward_kinematics,
    rest_offsets,
)
from posemamba_live.takes.rotations import angle_between

Array = NDArray[np.float64]

LENGTHS = np.array(
    [0, 0.11, 0.42, 0.41, 0.11, 0.42, 0.41, 0.23, 0.26, 0.2, 0.17, *[0.18, 0.27, 0.25] * 2]
)
OFFSETS = rest_offsets(LENGTHS)
STILL = np.tile([0.0, 0.0, 0.0, 1.0], (NUM_NODES, 1))
IDENTITY = np.array([0.0, 0.0, 0.0, 1.0])


def posed(turns: dict[str, Array], root: tuple[float, float, float] = (0.3, -0.2, 0.95)) -> Array:
    """(17, 3) of a figure with these rotation vectors (degrees), by SciPy's arithmetic."""
    turned: list[Rotation] = []
    places: list[Array] = []
    for node, offset in zip(NODES, OFFSETS, strict=True):
        own = Rotation.from_rotvec(turns.get(node.name, np.zeros(3)), degrees=True)
        if node.parent < 0:
            turned.append(own)
            places.append(np.array(root))
        else:
            places.append(places[node.parent] + turned[node.parent].apply(offset))
            turned.append(turned[node.parent] * own)
    return np.array(places)[list(JOINT_NODES)]


def solve(poses: NDArray[np.floating], fps: float = 30.0) -> tuple[Array, Array]:
    """(T, 17, 3) to roots (T, 3) and rotations (T, NUM_NODES, 4)."""
    solver = ArmatureSolver()
    found = [solver.update(joints, i / fps) for i, joints in enumerate(poses)]
    return np.array([p.root for p in found]), np.array([p.rotations for p in found])


def degrees(rotations: Array, name: str) -> Array:
    """(..., 3) rotation vectors of a node, degrees."""
    return Rotation.from_quat(rotations[..., NODE_INDEX[name], :]).as_rotvec(degrees=True)


@pytest.fixture(scope="module", params=["walk_turn", "arm_signals"])
def truth(request: pytest.FixtureRequest) -> Array:
    folder = Path(__file__).parent.parent / "demo_videos"
    return np.load(folder / f"{request.param}_gt.npz")["joints_world"].astype(np.float64)


def test_the_tree_has_every_joint_once_and_parents_first() -> None:
    assert sorted(n.joint for n in NODES if n.joint is not None) == list(range(NUM_JOINTS))
    assert all(node.parent < i for i, node in enumerate(NODES))
    assert len({node.name for node in NODES}) == NUM_NODES
    leaves = set(range(NUM_NODES)) - {node.parent for node in NODES}
    assert leaves == {i for i, node in enumerate(NODES) if node.tip}


def test_the_rest_pose_is_a_t_pose_facing_minus_y() -> None:
    places = forward_kinematics(np.zeros(3), STILL, OFFSETS)[list(JOINT_NODES)]
    arms = places[[L_ELBOW, L_WRIST, R_ELBOW, R_WRIST]]
    np.testing.assert_allclose(arms[:, 1:], np.tile(places[THORAX, 1:], (4, 1)), atol=1e-12)
    assert places[L_WRIST, 0] > 0.5 > -0.5 > places[R_WRIST, 0]
    assert places[L_ANKLE, 2] == pytest.approx(-0.83)
    assert places[NOSE, 1] < -0.1, "looks along -Y"
    assert places[HEAD, 2] > places[NOSE, 2] > places[THORAX, 2]
    mirrored = places[list(MIRROR)] * [-1, 1, 1]
    np.testing.assert_allclose(mirrored, places, atol=1e-12)
    np.testing.assert_allclose(bone_lengths(places), LENGTHS, atol=1e-12)
    _, rotations = solve(places[None])
    np.testing.assert_allclose(rotations[0], STILL, atol=1e-9)


def test_forward_kinematics_is_scipys() -> None:
    rng = np.random.default_rng(4)
    turns = {node.name: rng.uniform(-60, 60, 3) for node in NODES}
    quats = np.array([Rotation.from_rotvec(turns[n.name], degrees=True).as_quat() for n in NODES])
    ours = forward_kinematics(np.array([0.3, -0.2, 0.95]), quats[None, None], OFFSETS)
    np.testing.assert_allclose(ours[0, 0, list(JOINT_NODES)], posed(turns), atol=1e-12)


@pytest.mark.parametrize("heading", [0.0, 60.0, 170.0, -95.0])
def test_a_bent_figure_is_recognised(heading: float) -> None:
    """Known rotations of every kind come back, whichever way the person faces."""
    turns = {
        "Hips": np.array([0.0, 0.0, heading]),
        "Spine1": np.array([0.0, 0.0, 20.0]),  # shoulders turned left
        "Neck": np.array([0.0, 0.0, -25.0]),  # looks right
        "LeftArm": np.array([0.0, 80.0, 0.0]),  # hangs down
        "LeftForeArm": np.array([0.0, 0.0, -70.0]),  # forearm forwards
        "RightArm": np.array([0.0, 0.0, 75.0]),  # points forwards
        "RightForeArm": np.array([0.0, 0.0, 40.0]),
        "LeftUpLeg": np.array([-80.0, 0.0, 0.0]),  # thigh raised
        "LeftLeg": np.array([95.0, 0.0, 0.0]),  # knee bent
        "RightUpLeg": np.array([15.0, 0.0, 0.0]),
    }
    poses = np.repeat(posed(turns)[None], 60, 0)
    root, rotations = solve(poses)
    np.testing.assert_allclose(root, np.tile([0.3, -0.2, 0.95], (60, 1)), atol=1e-12)
    for node in NODES:
        found = degrees(rotations[-1], node.name)
        expected = turns.get(node.name, np.zeros(3))
        if node.name in ("Spine", "Spine1"):
            continue  # share the turn of the shoulders between them
        np.testing.assert_allclose(found, expected, atol=0.01, err_msg=node.name)
    both = degrees(rotations[-1], "Spine") + degrees(rotations[-1], "Spine1")
    np.testing.assert_allclose(both, [0.0, 0.0, 20.0], atol=0.01)


def test_an_upper_arm_turns_with_the_plane_of_its_elbow() -> None:
    """Hanging, bent at a right angle, then swung from forwards to across the belly."""
    frames = []
    for turn in np.linspace(0.0, 80.0, 40):
        down = Rotation.from_rotvec([0.0, 90.0, 0.0], degrees=True)
        about_itself = Rotation.from_rotvec([0.0, 0.0, -turn], degrees=True)
        arm = (about_itself * down).as_rotvec(degrees=True)
        frames.append(posed({"LeftArm": arm, "LeftForeArm": np.array([0.0, 0.0, -90.0])}))
    frames += [frames[-1]] * 10
    _, rotations = solve(np.array(frames))
    np.testing.assert_allclose(degrees(rotations[-1], "LeftForeArm"), [0, 0, -90], atol=0.5)
    lag = np.linalg.norm(degrees(rotations, "LeftForeArm") - [0, 0, -90], axis=-1)
    assert lag.max() < 12.0, "a hinge but for a short lag"


def test_bones_come_back_exactly(truth: Array) -> None:
    """Real motion with constant bones: forward kinematics is within a tenth of a millimetre."""
    from posemamba_live.scene.body import rebuild

    lengths = bone_lengths(truth)
    poses = rebuild(truth - truth[:, :1], lengths) + truth[:, :1]
    root, rotations = solve(poses)
    places = forward_kinematics(root, rotations, rest_offsets(lengths))[:, list(JOINT_NODES)]
    assert np.linalg.norm(places - poses, axis=-1).max() < 1e-4


def test_hips_that_are_not_opposite_cost_millimetres() -> None:
    joints = posed({})
    joints[[4, 5, 6], 2] += 0.012  # the left hip 6 degrees too high
    root, rotations = solve(joints[None])
    offsets = rest_offsets(bone_lengths(joints))
    places = forward_kinematics(root, rotations, offsets)[0, list(JOINT_NODES)]
    assert np.linalg.norm(places - joints, axis=-1).max() < 0.0035


def test_nothing_flips(truth: Array) -> None:
    """30 frames a second of real motion: every rotation moves less than 20 degrees a frame,
    and its quaternion never changes sign."""
    rng = np.random.default_rng(0)
    noise = rng.normal(scale=0.004, size=truth.shape)  # 4 mm, as jitter
    for poses in (truth, truth + noise):
        _, rotations = solve(poses)
        assert np.degrees(angle_between(rotations[1:], rotations[:-1])).max() < 20.0
        assert (rotations[1:] * rotations[:-1]).sum(-1).min() > 0.9


def test_a_straight_limb_keeps_its_twist_and_noise_does_not_shake_it() -> None:
    rng = np.random.default_rng(1)
    standing = {"LeftArm": np.array([0.0, 85.0, 0.0]), "RightArm": np.array([0.0, -85.0, 0.0])}
    poses = np.repeat(posed(standing)[None], 90, 0) + rng.normal(scale=0.005, size=(90, 17, 3))
    _, rotations = solve(poses)
    for name in ("LeftArm", "RightArm", "LeftUpLeg", "RightUpLeg"):
        expected = standing.get(name, np.zeros(3))
        wrong = np.linalg.norm(degrees(rotations, name) - expected, axis=-1)
        assert wrong.max() < 12.0, name  # most of it the noise of a collarbone's direction


def test_a_knee_that_noise_bends_forwards_does_not_turn_the_thigh() -> None:
    poses = np.array([posed({"LeftLeg": np.array([-25.0, 0.0, 0.0])})] * 30)
    _, rotations = solve(poses)
    np.testing.assert_allclose(degrees(rotations, "LeftUpLeg"), 0.0, atol=1e-6)
    np.testing.assert_allclose(degrees(rotations, "LeftLeg"), [[-25.0, 0, 0]] * 30, atol=1e-6)


def test_it_looks_back_only(truth: Array) -> None:
    _, whole = solve(truth)
    _, part = solve(truth[:50])
    np.testing.assert_array_equal(part, whole[:50])


def test_a_gap_begins_anew(truth: Array) -> None:
    solver = ArmatureSolver()
    for i, joints in enumerate(truth[:40]):
        solver.update(joints, i / 30.0)
    after = solver.update(truth[100], 10.0)
    fresh = ArmatureSolver().update(truth[100], 0.0)
    np.testing.assert_array_equal(after.rotations, fresh.rotations)


@pytest.mark.parametrize("kind", ["one point", "folded", "collinear", "opposite arms"])
def test_impossible_bodies_stay_finite(kind: str) -> None:
    rng = np.random.default_rng(2)
    good = posed({})
    bad = good.copy()
    if kind == "one point":
        bad[:] = 0.0
    elif kind == "folded":
        bad[[L_ANKLE, 3]], bad[[L_WRIST, R_WRIST]] = bad[[4, 1]], bad[[11, 14]]
    elif kind == "collinear":
        bad = np.outer(rng.normal(size=17), [1.0, 0.0, 0.0])
    elif kind == "opposite arms":
        bad[[L_ELBOW, R_ELBOW]] = bad[[11, 14]] + [[-0.27, 0, 0], [0.27, 0, 0]]
        bad[[L_KNEE, R_KNEE]] += [0.0, 0.0, 0.84]
    _, rotations = solve(np.array([good, bad, bad, good]))
    assert np.isfinite(rotations).all()
    np.testing.assert_allclose(np.linalg.norm(rotations, axis=-1), 1.0, atol=1e-9)
    np.testing.assert_allclose(rotations[3, 0], IDENTITY, atol=1e-9)
