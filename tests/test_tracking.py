"""Who is who, and which gaps are filled."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from conftest import MakeTrack
from scipy.optimize import linear_sum_assignment

from posemamba_live.tracking import (
    REENTRY_S,
    GapFiller,
    Tracker,
    assign,
    person_size,
    without_duplicates,
)
from posemamba_live.types import Detection, Frame, Pose2D

FPS = 30.0
PICTURE = np.zeros((360, 640, 3), np.uint8)


def frame(index: int) -> Frame:
    return Frame(index, index / FPS, PICTURE, 0.0)


def person(x: float, y: float = 180.0, size: float = 100.0, score: float = 0.9) -> Detection:
    """Somebody about `size` pixels high, hip at (x, y)."""
    shape = np.random.default_rng(2).uniform(-0.5, 0.5, (17, 2))
    return Detection(
        (np.array([x, y]) + size * shape).astype(np.float32), np.full(17, score, np.float32)
    )


def ids(poses: list[Pose2D]) -> list[int]:
    return [pose.person_id for pose in poses]


def test_one_person_is_one_track_with_the_detections_untouched() -> None:
    tracker = Tracker()
    for i in range(30):
        detection = person(100 + 8 * i)
        (pose,) = tracker.update(frame(i), [detection])
        assert (pose.person_id, pose.frame_index, pose.predicted) == (0, i, False)
        np.testing.assert_array_equal(pose.keypoints, detection.keypoints)
        assert pose.image_size == (640, 360)


def test_the_subject_is_the_largest_and_is_kept() -> None:
    tracker = Tracker()
    (first,) = tracker.update(frame(0), [person(100, size=80), person(400, size=150)])
    assert first.keypoints.mean() > 250
    for i in range(1, 10):  # someone larger comes; the subject stays the subject
        poses = tracker.update(frame(i), [person(100, size=300), person(400 + i, size=150)])
        assert ids(poses) == [0]
        assert poses[0].keypoints[:, 0].mean() > 300


def test_a_bystander_does_not_take_over_while_the_subject_is_hidden() -> None:
    tracker = Tracker()
    tracker.update(frame(0), [person(150)])
    hidden = int(REENTRY_S * FPS)
    for i in range(1, hidden):
        assert tracker.update(frame(i), [person(560)]) == []
    assert ids(tracker.update(frame(hidden), [person(160)])) == [0]


def test_after_a_second_somebody_new_is_somebody_new() -> None:
    tracker = Tracker()
    tracker.update(frame(0), [person(150)])
    late = int(REENTRY_S * FPS) + 1
    assert ids(tracker.update(frame(late), [person(150)])) == [1]


def test_a_change_of_size_is_a_change_of_person() -> None:
    tracker = Tracker()
    tracker.update(frame(0), [person(150, size=100)])
    assert tracker.update(frame(1), [person(150, size=190)]) == []


def test_people_who_cross_keep_their_identities() -> None:
    tracker = Tracker(people=2)
    for i in range(50):
        left, right = person(100 + 9 * i, 170), person(540 - 9 * i, 190)
        found = [left, right] if i % 2 else [right, left]
        poses = tracker.update(frame(i), found)
        if i == 0:
            first = {pose.person_id: pose.keypoints[:, 0].mean() for pose in poses}
        assert sorted(ids(poses)) == [0, 1]
    walked_right = {pose.person_id: pose.keypoints[:, 0].mean() > 320 for pose in poses}
    assert all(walked_right[i] == (start < 320) for i, start in first.items())


def test_no_more_people_than_asked_for() -> None:
    tracker = Tracker(people=2)
    crowd = [person(80 + 130 * i, size=100 + 10 * i) for i in range(4)]
    poses = tracker.update(frame(0), crowd)
    assert [round(pose.keypoints[:, 0].mean()) for pose in poses] == [
        round(crowd[i].keypoints[:, 0].mean()) for i in (3, 2)
    ]
    with pytest.raises(ValueError, match="at least 1"):
        Tracker(0)


def test_duplicates_of_one_person_are_dropped() -> None:
    sure, unsure, other = person(200, score=0.9), person(204, score=0.5), person(400, score=0.4)
    assert without_duplicates([unsure, other, sure]) == [sure, other]


def test_person_size_is_never_zero() -> None:
    nowhere = Detection(np.zeros((17, 2), np.float32), np.zeros(17, np.float32))
    assert person_size(nowhere) == 1.0
    assert ids(Tracker().update(frame(0), [nowhere])) == [0]


def test_assignment_is_optimal() -> None:
    rng = np.random.default_rng(4)
    for rows, columns in itertools.product(range(1, 5), repeat=2):
        costs = rng.random((rows, columns))
        chosen = assign(costs.tolist())
        total = sum(costs[i, j] for i, j in enumerate(chosen) if j is not None)
        reference = costs[linear_sum_assignment(costs)].sum()
        assert sum(j is not None for j in chosen) == min(rows, columns)
        np.testing.assert_allclose(total, reference)


def test_assignment_prefers_more_pairs_and_keeps_off_forbidden_ones() -> None:
    assert assign([[0.1, 0.9], [0.2, None]]) == [1, 0]
    assert assign([[None], [0.5]]) == [None, 0]
    assert assign([[], []]) == [None, None]
    assert assign([]) == []


# -- gaps ------------------------------------------------------------------------------------


def fill(track: list[Pose2D], missing: set[int], count: int) -> list[Pose2D]:
    filler = GapFiller()
    out: list[Pose2D] = []
    for i in range(count):
        seen = [pose for pose in track if pose.frame_index == i and i not in missing]
        out += filler.push(i, i / FPS, seen)
    return out


@pytest.mark.parametrize("length", [1, 4, 7])
def test_gaps_up_to_a_quarter_second_are_filled_and_marked(
    make_track: MakeTrack, length: int
) -> None:
    track = make_track(30)
    missing = set(range(10, 10 + length))
    poses = fill(track, missing, 30)
    assert [pose.frame_index for pose in poses] == list(range(30))
    assert {pose.frame_index for pose in poses if pose.predicted} == missing
    before, after = track[9], track[10 + length]
    for pose in poses[10 : 10 + length]:
        share = (pose.frame_index - 9) / (length + 1)
        expected = (1 - share) * before.keypoints + share * after.keypoints
        np.testing.assert_allclose(pose.keypoints, expected, rtol=1e-4)
        assert pose.timestamp == pose.frame_index / FPS
        assert (pose.scores < before.scores).all()


def test_longer_gaps_have_no_rows(make_track: MakeTrack) -> None:
    missing = set(range(10, 18))
    poses = fill(make_track(30), missing, 30)
    assert [pose.frame_index for pose in poses] == [i for i in range(30) if i not in missing]
    assert not any(pose.predicted for pose in poses)


def test_nothing_is_filled_before_the_first_or_after_the_last(make_track: MakeTrack) -> None:
    poses = fill(make_track(10, first=5), set(), 25)
    assert [pose.frame_index for pose in poses] == list(range(5, 15))


def test_frames_are_undecided_only_while_a_gap_may_close(make_track: MakeTrack) -> None:
    filler = GapFiller()
    for pose in make_track(5):
        filler.push(pose.frame_index, pose.timestamp, [pose])
        assert filler.first_undecided(pose.frame_index, pose.timestamp) is None
    waits = []
    for i in range(5, 15):
        filler.push(i, i / FPS, [])
        waits.append(filler.first_undecided(i, i / FPS))
    assert waits == [5] * 7 + [None] * 3
