"""Joint angles: zero, sign and size of each in postures that are known by construction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from posemamba_live.takes.angles import ANGLES, joint_angles
from posemamba_live.takes.armature import JOINT_NODES, NODES, forward_kinematics, rest_offsets

Array = NDArray[np.float64]

LENGTHS = np.array([0, 0.11, 0.42, 0.41, 0.11, 0.42, 0.41, 0.23, 0.26, 0.2, 0.17] + 2 * [0] * 3)
LENGTHS[11:] = [0.18, 0.27, 0.25] * 2
OFFSETS = rest_offsets(LENGTHS)
HANGING = {"LeftArm": ("y", 90.0), "RightArm": ("y", -90.0)}
"""From the T-pose; turns are (axis, degrees): x to the left, y backwards, z up."""


def angles_of(turns: dict[str, tuple[str, float] | tuple[str, list[float]]]) -> dict[str, float]:
    """Angles of somebody who stands with hanging arms but for these turns, for a second."""
    quats = [
        Rotation.from_euler(*{**HANGING, **turns}.get(node.name, ("x", 0.0)), degrees=True)
        for node in NODES
    ]
    rotations = np.array([np.ravel(quat.as_quat()) for quat in quats])
    joints = forward_kinematics(np.zeros(3), rotations, OFFSETS)[list(JOINT_NODES)]
    found = joint_angles(np.repeat(joints[None], 31, 0), np.arange(31) / 30.0)
    return {name: float(values[-1]) for name, values in found.items()}


def test_standing_is_zero() -> None:
    found = angles_of({})
    assert set(found) == {angle.name for angle in ANGLES}
    undefined = {name for name, value in found.items() if np.isnan(value)}
    assert undefined == {"shoulder_plane_r", "shoulder_plane_l"}
    assert max(abs(value) for name, value in found.items() if name not in undefined) < 1e-6


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        ({"RightLeg": ("x", 90.0)}, {"knee_angle_r": 90.0}),
        ({"LeftLeg": ("x", 40.0)}, {"knee_angle_l": 40.0}),
        ({"RightUpLeg": ("x", -60.0)}, {"hip_flexion_r": 60.0}),
        ({"LeftUpLeg": ("x", 20.0)}, {"hip_flexion_l": -20.0}),
        ({"RightUpLeg": ("y", 25.0)}, {"hip_adduction_r": -25.0}),  # leg out to the right
        ({"LeftUpLeg": ("y", -25.0)}, {"hip_adduction_l": -25.0}),  # leg out to the left
        (  # toes inwards, seen by the bent knee
            {"RightUpLeg": ("z", 30.0), "RightLeg": ("x", 60.0)},
            {"hip_rotation_r": 30.0, "knee_angle_r": 60.0},
        ),
        (
            {"LeftUpLeg": ("z", -30.0), "LeftLeg": ("x", 60.0)},
            {"hip_rotation_l": 30.0, "knee_angle_l": 60.0},
        ),
        ({"RightForeArm": ("z", 90.0)}, {"elbow_flex_r": 90.0}),
        ({"LeftForeArm": ("z", -90.0)}, {"elbow_flex_l": 90.0}),
        (  # arm forwards
            {"RightArm": ("z", 90.0)},
            {"shoulder_elevation_r": 90.0, "shoulder_plane_r": 90.0},
        ),
        (  # arms out to the sides
            {"RightArm": ("y", 0.0), "LeftArm": ("y", 0.0)},
            {"shoulder_elevation_r": 90.0, "shoulder_plane_r": 0.0, "arm_add_r": -90.0}
            | {"shoulder_elevation_l": 90.0, "shoulder_plane_l": 0.0, "arm_add_l": -90.0},
        ),
        (  # half way up, forwards
            {"LeftArm": ("yx", [90.0, -45.0])},
            {"arm_flex_l": 45.0, "shoulder_elevation_l": 45.0, "shoulder_plane_l": 90.0},
        ),
        ({"Spine1": ("z", 20.0)}, {"lumbar_rotation": 20.0}),  # shoulders to the left
        ({"Hips": ("x", 30.0)}, {"trunk_flexion": 30.0}),  # bows from the ankles
        ({"Hips": ("y", -15.0)}, {"trunk_bending": 15.0}),
        ({"Hips": ("z", 130.0)}, {"trunk_flexion": 0.0}),  # facing elsewhere changes nothing
        ({"Spine1": ("x", 20.0)}, {"lumbar_extension": -20.0, "trunk_flexion": 10.6}),
        ({"Spine1": ("y", -20.0)}, {"lumbar_bending": 20.0, "trunk_bending": 10.6}),
    ],
)
def test_one_movement(turns: dict[str, tuple[str, float]], expected: dict[str, float]) -> None:
    """The angle has its size and sign, and none that it does not concern has moved."""
    found = angles_of(turns)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=0.1), name
    moved = {name.rsplit("_", 1)[0].split("_")[0] for name in expected}
    related = {"arm", "shoulder"} if moved & {"arm", "shoulder"} else set()
    for name, value in found.items():
        if name.split("_")[0] not in moved | related and not np.isnan(value):
            assert value == pytest.approx(0.0, abs=0.1), name


def test_lying_people_have_no_forwards() -> None:
    found = angles_of({"Hips": ("y", 88.0)})
    assert np.isnan(found["trunk_flexion"])
    assert np.isnan(found["trunk_bending"])
    assert found["knee_angle_r"] == pytest.approx(0.0, abs=1e-6)


def test_walking_is_as_in_the_textbooks() -> None:
    """The clip's true motion: knees bend 50 to 80 degrees in swing and are nearly straight at
    heel strike; hips go from about 20 degrees of extension to 30 of flexion."""
    folder = Path(__file__).parent.parent / "demo_videos"
    joints = np.load(folder / "walk_turn_gt.npz")["joints_world"]
    found = joint_angles(joints, np.arange(len(joints)) / 30.0)
    for side in "rl":
        knee, hip = found[f"knee_angle_{side}"], found[f"hip_flexion_{side}"]
        assert 50.0 < knee.max() < 80.0
        assert -10.0 < knee.min() < 15.0
        assert -35.0 < hip.min() < 0.0
        assert 15.0 < hip.max() < 45.0
        assert np.abs(found[f"hip_adduction_{side}"]).max() < 20.0
    assert np.abs(found["trunk_bending"]).max() < 15.0
