"""Detector skeletons into Human3.6M-17, against positions worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from posemamba.skeleton import JOINT_NAMES
from posemamba_live.detectors.skeletons import (
    BLAZEPOSE_33,
    COCO_17,
    HALPE_26,
    SKELETONS,
    WHOLEBODY_133,
    blazepose_joints,
    from_blazepose,
    from_keypoints,
)

PERSON = {  # pixels; the person faces the camera, so their left is on the picture's right
    "nose": (100, 40), "left_ear": (110, 38), "right_ear": (90, 42),
    "left_shoulder": (120, 80), "right_shoulder": (80, 84),
    "left_elbow": (130, 120), "right_elbow": (70, 121),
    "left_wrist": (135, 160), "right_wrist": (65, 161),
    "left_hip": (112, 170), "right_hip": (88, 174),
    "left_knee": (113, 240), "right_knee": (87, 241),
    "left_ankle": (114, 300), "right_ankle": (86, 301),
}  # fmt: skip
EXPECTED = {
    "Hip": (100, 172), "Thorax": (100, 82), "Spine": (100, 127), "Nose": (100, 40),
    "Head": (100, 82 + 1.6 * (40 - 82)),
    "RHip": (88, 174), "RKnee": (87, 241), "RAnkle": (86, 301),
    "LHip": (112, 170), "LKnee": (113, 240), "LAnkle": (114, 300),
    "LShoulder": (120, 80), "LElbow": (130, 120), "LWrist": (135, 160),
    "RShoulder": (80, 84), "RElbow": (70, 121), "RWrist": (65, 161),
}  # fmt: skip

SKELETONS_KNOWN = pytest.mark.parametrize(
    ("names", "adapt"),
    [
        (BLAZEPOSE_33, from_blazepose),
        (COCO_17, from_keypoints),
        (HALPE_26, from_keypoints),
        (WHOLEBODY_133, from_keypoints),
    ],
    ids=["blazepose", "coco", "halpe", "wholebody"],
)


def as_array(names: tuple[str, ...]) -> np.ndarray:
    return np.array([PERSON.get(name, (np.nan, np.nan)) for name in names])


@SKELETONS_KNOWN
def test_joints_are_where_the_rule_puts_them(names, adapt):
    detection = adapt(as_array(names), np.ones(len(names)))
    expected = np.array([EXPECTED[name] for name in JOINT_NAMES])
    np.testing.assert_allclose(detection.keypoints, expected, atol=1e-4)
    assert detection.keypoints.dtype == np.float32
    np.testing.assert_array_equal(detection.scores, np.ones(17, np.float32))


@SKELETONS_KNOWN
def test_derived_joints_are_as_sure_as_their_least_sure_part(names, adapt):
    scores = np.ones(len(names))
    scores[names.index("left_hip")] = 0.2
    scores[names.index("right_shoulder")] = 0.6
    scores[names.index("right_ear")] = 0.3
    got = dict(zip(JOINT_NAMES, adapt(as_array(names), scores).scores, strict=True))
    assert got["Hip"] == got["LHip"] == got["Spine"] == pytest.approx(0.2)
    assert got["Thorax"] == got["RShoulder"] == pytest.approx(0.6)
    assert got["Head"] == pytest.approx(0.3)
    assert got["Nose"] == got["RHip"] == got["LWrist"] == 1.0


@SKELETONS_KNOWN
def test_points_that_are_no_joints_of_the_17_are_kept_by_name(names, adapt):
    points = np.arange(2.0 * len(names)).reshape(-1, 2)
    extra = adapt(points, np.linspace(-0.5, 1.5, len(names))).extra
    assert len(extra.names) == len(names) - 13  # 12 limb joints and the nose are taken over
    assert not {"nose", "left_hip", "right_wrist"} & set(extra.names)
    for name, point, score in zip(extra.names, extra.points, extra.scores, strict=True):
        index = names.index(name)
        np.testing.assert_array_equal(point, points[index])
        assert score == pytest.approx(np.clip(2.0 * index / (len(names) - 1) - 0.5, 0, 1), abs=1e-6)


def test_feet_and_hands_are_where_their_data_sets_put_them():
    # As mmpose's own descriptions of Halpe and COCO-WholeBody have them.
    assert HALPE_26[17:20] == ("head", "neck", "hip")
    assert HALPE_26[20:22] == ("left_big_toe", "right_big_toe")
    assert HALPE_26[24:] == ("left_heel", "right_heel")
    assert WHOLEBODY_133[17:20] == ("left_big_toe", "left_small_toe", "left_heel")
    assert (WHOLEBODY_133[23], WHOLEBODY_133[90]) == ("face_0", "face_67")
    assert (WHOLEBODY_133[91], WHOLEBODY_133[112]) == ("left_hand_root", "right_hand_root")
    assert (WHOLEBODY_133[95], WHOLEBODY_133[132]) == ("left_thumb4", "right_pinky_finger4")
    assert [len(set(names)) for names in SKELETONS.values()] == [17, 26, 133] == list(SKELETONS)


def test_an_unsure_ear_does_not_move_the_head():
    scores = np.ones(33)
    scores[BLAZEPOSE_33.index("left_ear")] = 0.0
    sure = from_blazepose(as_array(BLAZEPOSE_33), np.ones(33))
    unsure = from_blazepose(as_array(BLAZEPOSE_33), scores)
    np.testing.assert_array_equal(sure.keypoints, unsure.keypoints)


def test_scores_stay_between_0_and_1():
    scores = from_keypoints(as_array(COCO_17), np.linspace(-0.5, 1.5, 17)).scores
    assert scores.min() == 0.0
    assert scores.max() == 1.0


def test_world_landmarks_follow_the_same_rule():
    flat = as_array(BLAZEPOSE_33)
    metres = np.concatenate([flat, flat[:, :1]], 1)
    joints = blazepose_joints(metres)
    expected = np.array([(*EXPECTED[name], EXPECTED[name][0]) for name in JOINT_NAMES])
    np.testing.assert_allclose(joints, expected, atol=1e-4)
