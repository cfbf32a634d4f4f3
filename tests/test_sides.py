"""Left and right that a model exchanges for some frames are put right, and nothing else is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from posemamba.skeleton import L_ANKLE, L_WRIST, MIRROR, R_ANKLE, R_WRIST
from posemamba_live.tracking.sides import LOOK_AHEAD_S, Sides, exchanged
from posemamba_live.types import ExtraPoints, Pose2D

DEMO = Path(__file__).parents[1] / "demo_videos"
RATE = 30.0


def _poses(clip: str = "arm_signals", every: int = 1, trembling: float = 1.0) -> list[Pose2D]:
    """A demo clip's true keypoints, with the tremble of a model in pixels."""
    with np.load(DEMO / f"{clip}_gt.npz", allow_pickle=False) as truth:
        points = truth["joints_2d"][::every].astype(np.float32)
    rng = np.random.default_rng(5)
    points += rng.normal(0.0, trembling, points.shape).astype(np.float32)
    return [
        Pose2D(i, i * every / RATE, 0, keypoints, np.full(17, 0.8, np.float32), (640, 360))
        for i, keypoints in enumerate(points)
    ]


def _wrong(pose: Pose2D, *, arms: bool = True, legs: bool = True) -> Pose2D:
    return exchanged(pose, arms=arms, legs=legs)


def _through(poses: Sequence[Pose2D], look_ahead: float) -> list[Pose2D]:
    sides = Sides(look_ahead)
    frames = [
        frame for pose in poses for frame in sides.push(pose.frame_index, pose.timestamp, [pose])
    ]
    frames += sides.flush()
    assert [index for index, _, _ in frames] == [pose.frame_index for pose in poses]
    return [pose for _, _, own in frames for pose in own]


def _same(a: Sequence[Pose2D], b: Sequence[Pose2D]) -> np.ndarray:
    return np.array(
        [(x.keypoints == y.keypoints).all() for x, y in zip(a, b, strict=True)], np.bool_
    )


@pytest.mark.parametrize("look_ahead", [0.0, LOOK_AHEAD_S])
@pytest.mark.parametrize("clip", ["walk_turn", "arm_signals"])
@pytest.mark.parametrize("every", [1, 3, 6])
def test_right_labels_stay(clip: str, every: int, look_ahead: float) -> None:
    poses = _poses(clip, every)
    assert _same(_through(poses, look_ahead), poses).all()


@pytest.mark.parametrize("look_ahead", [0.0, LOOK_AHEAD_S])
@pytest.mark.parametrize("length", [1, 4, 9])
def test_an_exchange_for_some_frames_is_undone(length: int, look_ahead: float) -> None:
    poses = _poses()
    shown = [_wrong(p) if 60 <= p.frame_index < 60 + length else p for p in poses]
    assert not _same(shown, poses)[60 : 60 + length].any()
    assert _same(_through(shown, look_ahead), poses).all()


@pytest.mark.parametrize("look_ahead", [0.0, LOOK_AHEAD_S])
@pytest.mark.parametrize("part", ["arms", "legs"])
def test_so_is_one_of_arms_or_legs_alone(part: str, look_ahead: float) -> None:
    poses = _poses()
    shown = [_wrong(p, **{"arms": False, "legs": False, part: True}) for p in poses[70:73]]
    shown = [*poses[:70], *shown, *poses[73:]]
    assert _same(_through(shown, look_ahead), poses).all()


def test_a_wrong_start_is_found_out_by_what_comes_after_it() -> None:
    poses = _poses()
    shown = [_wrong(p) if p.frame_index < 6 else p for p in poses]
    assert _same(_through(shown, LOOK_AHEAD_S), poses).all()


def test_a_wrong_start_is_not_kept_for_ever_live() -> None:
    poses = _poses()
    shown = [_wrong(p) if p.frame_index < 6 else p for p in poses]
    right = _same(_through(shown, 0.0), poses)
    assert right[-len(poses) // 2 :].all()


def test_somebody_who_turns_round_is_believed() -> None:
    """Half a turn within a second: shoulders and hips narrow, and widen the other way."""
    standing = _poses()[0].keypoints
    middle = standing.mean(0)
    poses = []
    for i in range(90):
        turn = np.pi * np.clip((i - 30) / 30.0, 0.0, 1.0)
        keypoints = standing.copy()
        keypoints[:, 0] = middle[0] + np.cos(turn) * (standing[:, 0] - middle[0])
        scores = np.full(17, 0.8, np.float32)
        poses.append(Pose2D(i, i / RATE, 0, keypoints, scores, (640, 360)))
    for look_ahead in (0.0, LOOK_AHEAD_S):
        assert _same(_through(poses, look_ahead), poses).all()


def test_people_are_judged_apart_and_come_back_in_their_frames() -> None:
    one = _poses()
    other = [replace(p, person_id=3, keypoints=p.keypoints + 100.0) for p in one]
    sides = Sides(LOOK_AHEAD_S)
    frames = []
    for i, (a, b) in enumerate(zip(one, other, strict=True)):
        shown = [_wrong(a) if i in (40, 41) else a]
        shown += [] if 50 <= i < 60 else [b]  # a gap is bridged or not, it changes nothing
        frames += sides.push(i, a.timestamp, shown)
        assert sides.first_waiting == max(0, i - round(LOOK_AHEAD_S * RATE) + 1)
    frames += sides.flush()
    assert sides.first_waiting is None
    for i, _, poses in frames:
        assert [p.person_id for p in poses] == ([0] if 50 <= i < 60 else [0, 3])
        assert (poses[0].keypoints == one[i].keypoints).all()
        assert all((p.keypoints == other[i].keypoints).all() for p in poses[1:])


def test_poses_of_earlier_frames_are_put_into_those_that_still_wait() -> None:
    poses = _poses()[:60]
    sides = Sides(LOOK_AHEAD_S)
    frames = []
    for i, pose in enumerate(poses):
        late = poses[:30] if i == 30 else []  # half a second of them still waits
        own = [pose] if i >= 30 else []
        other = replace(pose, person_id=1)
        frames += sides.push(i, pose.timestamp, [*own, other], late)
    frames += sides.flush()
    first = 30 - round(LOOK_AHEAD_S * RATE)
    assert [[p.person_id for p in row] for _, _, row in frames] == (
        first * [[1]] + (60 - first) * [[0, 1]]
    )
    assert all(p.frame_index == index for index, _, row in frames for p in row)
    assert _same([row[0] for _, _, row in frames[first:]], poses[first:]).all()


def test_time_that_runs_backwards_begins_anew() -> None:
    poses = _poses()[:40]
    again = [replace(p, frame_index=p.frame_index + 40) for p in poses]
    sides = Sides(LOOK_AHEAD_S)
    frames = [f for p in [*poses, *again] for f in sides.push(p.frame_index, p.timestamp, [p])]
    frames += sides.flush()
    assert [index for index, _, _ in frames] == list(range(80))


def test_everything_that_has_a_side_is_exchanged() -> None:
    names = (
        "left_eye",
        "right_eye",
        "left_heel",
        "right_heel",
        "mouth_left",
        "mouth_right",
        "nose",
    )
    points = np.arange(14, dtype=np.float32).reshape(7, 2)
    extra = ExtraPoints(names, points, np.arange(7, dtype=np.float32))
    pose = replace(
        _poses()[0],
        scores=np.arange(17, dtype=np.float32),
        visibility=np.arange(17, dtype=np.float32) + 20.0,
        peak=np.arange(17, dtype=np.float32) + 40.0,
        extra=extra,
    )
    both = exchanged(pose, arms=True, legs=True)
    order = list(MIRROR)
    for key in ("keypoints", "scores", "visibility", "peak"):
        assert (getattr(both, key) == getattr(pose, key)[order]).all(), key
    assert both.extra is not None
    assert both.extra.scores.tolist() == [1, 0, 3, 2, 5, 4, 6]

    legs = exchanged(pose, arms=False, legs=True)
    assert legs.scores[[L_ANKLE, R_ANKLE]].tolist() == pose.scores[[R_ANKLE, L_ANKLE]].tolist()
    assert (legs.keypoints[[L_WRIST, R_WRIST]] == pose.keypoints[[L_WRIST, R_WRIST]]).all()
    assert legs.extra is not None
    assert legs.extra.scores.tolist() == [0, 1, 3, 2, 4, 5, 6]
