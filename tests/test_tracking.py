"""Who is who, and which gaps are filled."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from posemamba_live.detectors.base import Circle, Found, OneStage, Region, TopDown
from posemamba_live.tracking.association import Seen, assign, same_person, without_duplicates
from posemamba_live.tracking.clothes import OTHER, OWN, Clothes, colours
from posemamba_live.tracking.gaps import GapFiller
from posemamba_live.tracking.people import PeopleTracker, Subject
from posemamba_live.tracking.plausibility import unmatched
from posemamba_live.tracking.sight import Sight, stature
from posemamba_live.tracking.tracks import HOLD_S
from posemamba_live.types import Detection, Frame, Image, Pose2D
from tests.conftest import MakeTrack

FPS = 30.0
PICTURE = np.zeros((360, 640, 3), np.uint8)


def frame(index: int) -> Frame:
    return Frame(index, index / FPS, PICTURE, 0.0)


def person(x: float, y: float = 180.0, size: float = 100.0, score: float = 0.9) -> Found:
    """Somebody about `size` pixels high, torso at (x, y)."""
    shape = np.random.default_rng(2).uniform(-0.5, 0.5, (17, 2))
    keypoints = (np.array([x, y]) + size * shape).astype(np.float32)
    seen = Detection(keypoints, np.full(17, score, np.float32))
    box = np.array([*keypoints.min(0), *keypoints.max(0)])
    return Found(seen, 1.0, Region.of_box(box), Circle((x, y), 0.5 * size))


class Crowd:
    """A one-stage model that says what it is told."""

    def __init__(self) -> None:
        self.people: list[Found] = []

    def detect(self, frame: Frame) -> list[Found]:
        return self.people

    def describe(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        pass


class Tracker:
    """The tracker, and what it sees in each frame."""

    def __init__(self, people: int = 1, subject: Subject = Subject.FIRST) -> None:
        self._crowd = Crowd()
        self._tracker = PeopleTracker(OneStage("crowd", self._crowd), people, subject)
        self.choose = self._tracker.choose
        self.choose_next = self._tracker.choose_next

    def update(self, frame: Frame, people: list[Found]) -> list[Pose2D]:
        self._crowd.people = people
        return self._tracker(frame)


def ids(poses: list[Pose2D]) -> list[int]:
    return [pose.person_id for pose in poses]


def test_one_person_is_one_track_with_the_detections_untouched() -> None:
    tracker = Tracker()
    for i in range(30):
        detection = person(100 + 8 * i)
        (pose,) = tracker.update(frame(i), [detection])
        assert (pose.person_id, pose.frame_index, pose.predicted) == (0, i, False)
        np.testing.assert_array_equal(pose.keypoints, detection.detection.keypoints)
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
    for i in range(30):
        tracker.update(frame(i), [person(150), person(560)])
    hidden = int(HOLD_S * FPS)
    for i in range(30, 29 + hidden):
        assert tracker.update(frame(i), [person(560)]) == []
    assert ids(tracker.update(frame(29 + hidden), [person(160)])) == [0]


def test_a_phantom_frees_its_place_at_once() -> None:
    tracker = Tracker()
    for i in range(3):
        tracker.update(frame(i), [person(150, size=120), person(560)])
    came = [i for i in range(3, 30) if tracker.update(frame(i), [person(560)])]
    assert 3 <= came[0] <= 7, "it is somebody else's after a tenth of a second"


@pytest.mark.parametrize(
    ("seen", "gone", "same"), [(5, 20, False), (60, 60, True), (60, 130, False)]
)
def test_who_was_followed_longer_is_remembered_longer(seen: int, gone: int, same: bool) -> None:
    tracker = Tracker()
    for i in range(seen):
        tracker.update(frame(i), [person(150)])
    for i in range(seen, seen + gone):
        assert tracker.update(frame(i), []) == []
    assert ids(tracker.update(frame(seen + gone), [person(150)])) == [0 if same else 1]


def test_one_person_before_and_after_a_jump_is_one_person() -> None:
    """A zoom, or a model that had gone astray: nobody else is there, and nobody left."""
    tracker = Tracker()
    for i in range(10):
        tracker.update(frame(i), [person(150, size=100)])
    assert ids(tracker.update(frame(10), [person(420, size=190)])) == [0]


@pytest.mark.parametrize("fps", [0.5, 2.0])
def test_slow_films_have_one_identity(fps: float) -> None:
    tracker = Tracker()
    for i in range(12):
        shown = Frame(i, i / fps, PICTURE, 0.0)
        assert ids(tracker.update(shown, [person(150 + 20 * (i % 5))])) == [0]


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
        round(crowd[i].detection.keypoints[:, 0].mean()) for i in (3, 2)
    ]
    with pytest.raises(ValueError, match="at least 1"):
        Tracker(0)


def test_of_two_sights_of_one_person_the_better_suited_stays() -> None:
    sure, unsure, other = (
        Sight.of(found)
        for found in (person(200, score=0.9), person(204, score=0.5), person(400, score=0.4))
    )
    assert without_duplicates([Seen(unsure), Seen(other), Seen(sure)]) == [sure, other]
    assert without_duplicates([Seen(sure), Seen(unsure, 2.0)]) == [unsure]


def test_of_two_who_were_followed_only_one_and_the_same_is_settled() -> None:
    here, close, same = (Sight.of(person(200 + away)) for away in (0, 10, 4))
    assert same_person(here, close)
    assert not same_person(here, close, known=True)
    assert same_person(here, same, known=True)
    assert without_duplicates([Seen(here, 1.0, True), Seen(close, 1.5, True)]) == [here, close]
    assert without_duplicates([Seen(here, 1.0, True), Seen(close, 1.5)]) == [here]
    assert without_duplicates([Seen(here, 1.0, True), Seen(same, 1.5, True)]) == [here]


class Room:
    """A two-stage detector that sees who it is told: in each region whoever is nearest."""

    def __init__(self) -> None:
        self.people: list[Found] = []
        self.looks = 0

    def find(self, image: Image) -> list[Region]:
        self.looks += 1
        return [one.next_region for one in self.people]

    def locate(self, image: Image, regions: Sequence[Region]) -> list[Found]:
        return [
            self.people[
                int(np.argmin([math.dist(p.next_region.centre, r.centre) for p in self.people]))
            ]
            for r in regions
        ]

    def describe(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        pass


def hug(steps: int) -> tuple[PeopleTracker, Room]:
    """Two people who were followed for so many steps of 5 pixels towards each other."""
    room = Room()
    tracker = PeopleTracker(TopDown("room", room, room), 2)
    for i in range(steps):
        room.people = [person(200), person(290 - 5 * i)]
        assert ids(tracker(frame(i))) == [0, 1]
    return tracker, room


def test_two_who_hug_are_both_followed() -> None:
    tracker, room = hug(17)
    for i in range(17, 60):
        room.people = [person(200), person(212)]
        poses = tracker(frame(i))
        assert {
            p.person_id: round(p.keypoints[0, 0] - poses[0].keypoints[0, 0]) for p in poses
        } == {
            0: 0,
            1: 12,
        }


def test_who_jumps_onto_somebody_else_is_not_followed_there_and_is_looked_for_at_once() -> None:
    tracker, room = hug(17)
    looks = room.looks
    room.people = [person(200), person(209, size=118)]  # the model mixes them up
    assert ids(tracker(frame(17))) == [0]
    assert room.looks > looks


def dressed(colour: tuple[int, int, int], right: tuple[int, int, int] | None = None) -> Image:
    """A picture in which whoever is left of the middle wears one colour, who is right another."""
    picture = np.full((360, 640, 3), colour, np.uint8)
    picture[:, 320:] = colour if right is None else right
    return picture


RED, BLUE = (0, 0, 200), (200, 0, 0)


def test_clothes_tell_people_apart() -> None:
    left, right = person(200).detection, person(400).detection
    picture = dressed(RED, BLUE)
    clothes = Clothes()
    assert math.isnan(clothes.difference(colours(picture, left)))
    for i in range(5):
        clothes.learn(colours(picture, left), i / 10.0)
    assert clothes.difference(colours(picture, left)) < 0.1
    assert clothes.difference(colours(picture, right)) > OTHER
    darker = (0.95 * picture).astype(np.uint8)
    assert clothes.difference(colours(darker, left)) < OWN


def test_who_is_seen_in_the_clothes_of_somebody_who_may_be_there_is_that_person() -> None:
    tracker = Tracker(2)
    for i in range(30):
        seen = replace(frame(i), image=dressed(RED, BLUE))
        assert ids(tracker.update(seen, [person(115 + 5 * i), person(360, size=110)])) == [0, 1]
    blue = person(358, size=110)
    for i in range(30, 45):  # the other one goes behind
        assert len(tracker.update(replace(frame(i), image=dressed(RED, BLUE)), [blue])) == 1
    assert ids(tracker.update(replace(frame(45), image=dressed(RED)), [blue])) == [1]
    assert ids(tracker.update(replace(frame(46), image=dressed(BLUE)), [blue])) == [0]


@pytest.mark.parametrize(("score", "found"), [(0.4, [0]), (0.6, [0, 1])])
def test_who_was_hidden_is_found_again_when_plainly_seen(score: float, found: list[int]) -> None:
    """Pieces of who is in front look like whoever is behind."""
    tracker = Tracker(2)
    for i in range(30):
        assert ids(tracker.update(frame(i), [person(320), person(380, size=90)])) == [0, 1]
    for i in range(30, 33):
        assert ids(tracker.update(frame(i), [person(320)])) == [0]
    assert ids(tracker.update(frame(33), [person(321), person(382, size=90, score=score)])) == found
    tracker = Tracker(2)
    for i in range(30):  # alone, and hardly seen after a blurred frame
        tracker.update(frame(i), [person(380, size=90)])
    assert tracker.update(frame(30), []) == []
    assert ids(tracker.update(frame(31), [person(362, size=90, score=0.4)])) == [0]


def test_clothes_that_change_with_the_light_make_nobody_another() -> None:
    """Whoever wears the same is too far away to be there."""
    tracker = Tracker(2)
    for i in range(30):
        seen = replace(frame(i), image=dressed(RED, BLUE))
        assert ids(tracker.update(seen, [person(265), person(360, size=110)])) == [0, 1]
    both = [person(265), person(358, size=110)]
    assert ids(tracker.update(replace(frame(30), image=dressed(RED)), both)) == [0, 1]


class Confused(Room):
    """Gives one of two who are close the other's body, unless that is far from the middle."""

    def locate(self, image: Image, regions: Sequence[Region]) -> list[Found]:
        found = super().locate(image, regions)
        second = self.people[1]
        edge = second.next_region.centre[0] + 5.0
        return [
            person(210) if one is second and self.mixes and region.centre[0] < edge else one
            for one, region in zip(found, regions, strict=True)
        ]

    mixes = False


def test_two_who_are_mixed_up_are_looked_at_again_further_from_each_other() -> None:
    room = Confused()
    tracker = PeopleTracker(TopDown("room", room, room), 2)
    for i in range(60):
        away = max(90 - 4 * i, 20)
        room.people = [person(200), person(200 + away)]
        room.mixes = i >= 30
        poses = tracker(frame(i))
        assert ids(poses) == [0, 1]
        apart = poses[1].keypoints[0, 0] - poses[0].keypoints[0, 0]
        assert apart == pytest.approx(away, abs=1)


def followed_in(
    pictures: Sequence[Image], people: Sequence[Found]
) -> tuple[PeopleTracker, Room, list[int]]:
    """The first of some people followed through pictures: in which frames they were looked for."""
    room = Room()
    room.people = list(people)
    tracker, looks = PeopleTracker(TopDown("room", room, room)), []
    for i, picture in enumerate(pictures):
        before = room.looks
        assert ids(tracker(replace(frame(i), image=picture))) == [0]
        looks += [i] if room.looks > before else []
    return tracker, room, looks


def test_who_is_alone_is_looked_for_less_often_until_something_changes_beside_them() -> None:
    here, beside = PICTURE.copy(), PICTURE.copy()
    here[150:210, 270:330] = 60  # somebody moves
    beside[200:240, 560:600] = 60
    still = [PICTURE, here] * 75
    _, _, looks = followed_in(still, [person(300)])
    assert min(np.diff(looks)) >= 55, "every two seconds"
    _, _, looks = followed_in(still[:80] + [beside] * 30, [person(300)])
    assert 80 in looks, "at once: half a second has long passed"


def test_others_are_looked_for_as_often_as_ever() -> None:
    _, _, looks = followed_in([PICTURE] * 90, [person(300, size=120), person(560)])
    assert max(np.diff(looks)) <= 16, "every half second"


def test_who_is_hardly_seen_is_looked_for_as_often_as_ever() -> None:
    _, _, looks = followed_in([PICTURE] * 90, [person(300, score=0.45)])
    assert max(np.diff(looks)) <= 16


def test_a_click_looks_for_people_at_once() -> None:
    tracker, room, looks = followed_in([PICTURE] * 65, [person(300)])
    assert looks[-1] < 62
    room.people = [person(300), person(560)]
    tracker.choose(560 / 640, 0.5)
    assert ids(tracker(frame(65))) == [1]


@pytest.mark.parametrize("cut", [False, True])
def test_a_flash_is_no_cut_for_who_stays_where_they_were(cut: bool) -> None:
    """Somebody hidden by it is the same afterwards; after a cut nobody is."""
    tracker = Tracker(people=2)
    for i in range(30):
        assert ids(tracker.update(frame(i), [person(100), person(400)])) == [0, 1]
    other = 250 if cut else 100
    for i in range(30, 36):
        seen = replace(frame(i), image=np.full_like(PICTURE, 255))
        tracker.update(seen, [person(other, size=200 if cut else 100)])
    for i in range(36, 42):
        poses = tracker.update(frame(i), [person(100), person(400)])
    assert (1 in ids(poses)) == (not cut)


def test_a_region_close_to_somebody_is_not_theirs_while_another_is_lost() -> None:
    here, beside = Region((200.0, 100.0), 100.0, 100.0), Region((225.0, 100.0), 110.0, 110.0)
    assert unmatched([here, beside], [here]) == [beside], "each has one at most"
    assert unmatched([beside], [here]) == []
    assert unmatched([beside], [here], closely=True) == [beside]
    assert unmatched([replace(here, centre=(203.0, 101.0))], [here], closely=True) == []


def test_a_size_is_never_zero_and_a_point_is_nobody() -> None:
    nowhere = Detection(np.zeros((17, 2), np.float32), np.zeros(17, np.float32))
    assert stature(nowhere) == 1.0
    assert Tracker().update(frame(0), [Found(nowhere, 1.0, Region((0.0, 0.0), 0.0, 0.0))]) == []


def test_somebody_half_in_view_is_somebody() -> None:
    """Head and shoulders at a webcam: most joints are out of the picture and unsure."""
    sitting = person(300, size=600)
    scores = np.full(17, 0.05, np.float32)
    scores[[7, 8, 9, 10, 11, 12, 14, 15]] = 0.6
    sitting = replace(sitting, detection=replace(sitting.detection, scores=scores))
    assert ids(Tracker().update(frame(0), [sitting])) == [0]
    assert Tracker().update(frame(0), [replace(sitting, presence=0.3)]) == []


def middle(pose: Pose2D) -> float:
    return float(pose.keypoints[:, 0].mean())


@pytest.mark.parametrize(("subject", "x"), [("first", 80), ("largest", 540), ("centre", 300)])
def test_who_gets_a_free_place_of_those_who_are_there(subject: str, x: float) -> None:
    tracker = Tracker(subject=Subject(subject))
    crowd = [person(80, size=110), person(300, size=100), person(540, size=140)]
    tracker.update(frame(0), [person(310, size=300), crowd[0]])  # the subject, who soon leaves
    for i in range(1, 12):
        poses = tracker.update(frame(i), crowd)
        if poses:
            break
    (pose,) = poses
    assert abs(middle(pose) - x) < 30.0
    assert pose.person_id == 1


def test_a_click_makes_somebody_the_subject_and_another_one_gives_it_back() -> None:
    tracker = Tracker()
    crowd = [person(100, size=150), person(400)]
    for i in range(5):
        assert [round(middle(p)) < 250 for p in tracker.update(frame(i), crowd)] == [True]
    tracker.choose(0.99, 0.05)  # nobody is there
    for i in range(5, 50):
        assert ids(tracker.update(frame(i), crowd)) == [0]
    tracker.choose(400 / 640, 180 / 360)
    for i in range(50, 60):
        (pose,) = tracker.update(frame(i), crowd)
        assert (pose.person_id, middle(pose) > 250) == (1, True)
    tracker.choose(100 / 640, 180 / 360)
    assert ids(tracker.update(frame(60), crowd)) == [0], "who was known before is known again"


def test_a_click_waits_a_moment_for_somebody_to_be_seen_there() -> None:
    tracker = Tracker()
    tracker.update(frame(0), [person(100)])
    tracker.choose(400 / 640, 0.5)
    for i in range(1, 20):
        assert ids(tracker.update(frame(i), [person(100)])) == [0]
    assert ids(tracker.update(frame(20), [person(100), person(400)])) == [1]


def test_the_next_subject_is_the_one_to_the_right_and_then_the_first_again() -> None:
    tracker = Tracker()
    crowd = [person(100), person(300), person(500, size=130)]
    order = [middle(tracker.update(frame(0), crowd)[0])]
    for i in range(1, 4):
        tracker.choose_next()
        order.append(middle(tracker.update(frame(i), crowd)[0]))
    assert [round(x / 100) for x in order] == [5, 1, 3, 5]


def test_with_all_slots_taken_the_last_one_is_given_up_for_a_click() -> None:
    tracker = Tracker(people=2)
    crowd = [person(100, size=140), person(300, size=120), person(500)]
    assert ids(tracker.update(frame(0), crowd)) == [0, 1]
    tracker.choose(500 / 640, 0.5)
    assert ids(tracker.update(frame(1), crowd)) == [0, 2]


def test_a_newcomer_inside_somebody_has_to_stay_to_count() -> None:
    tracker = Tracker(people=2)
    tracker.update(frame(0), [person(200, size=150)])
    ghost = person(245, size=100)
    counts = [len(tracker.update(frame(i), [person(200, size=150), ghost])) for i in range(1, 9)]
    assert counts == [1, 1, 1, 1, 1, 2, 2, 2]


def test_assignment_is_the_best_of_all() -> None:
    rng = np.random.default_rng(4)
    for rows, columns in itertools.product(range(5), repeat=2):
        costs = rng.random((rows, columns)) * 2.0
        costs[rng.random((rows, columns)) < 0.2] = np.inf

        def total(chosen: Sequence[int | None], costs: NDArray[np.float64] = costs) -> float:
            return sum(0.9 if j is None else costs[i, j] for i, j in enumerate(chosen))

        options = itertools.product([None, *range(columns)], repeat=rows)
        possible = [o for o in options if len({*o} - {None}) == sum(j is not None for j in o)]
        chosen = assign(costs, unassigned=0.9)
        assert tuple(chosen) in possible
        assert total(chosen) == pytest.approx(min(map(total, possible)))


def test_a_bad_pair_is_not_made_up_for_by_another() -> None:
    """The second detection suits nobody but the first track, and that one badly."""
    assert assign(np.array([[0.1, 8.0], [8.0, np.inf]]), unassigned=10.0) == [0, None]


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


@pytest.mark.parametrize(("fps", "length"), [(12, 3), (20, 5), (24, 6), (60, 15)])
def test_a_gap_of_just_a_quarter_second_is_undecided_till_it_is_filled(
    fps: int, length: int
) -> None:
    """Whatever the rounding of times says: frames that were given up are not filled later."""

    def seen(index: int) -> Pose2D:
        flat = np.zeros((17, 2), np.float32)
        return Pose2D(index, index / fps, 0, flat, np.ones(17, np.float32), (640, 360))

    for start in range(100):
        filler = GapFiller()
        filler.push(start, start / fps, [seen(start)])
        gap = range(start + 1, start + 1 + length)
        for i in gap:
            filler.push(i, i / fps, [])
            assert filler.first_undecided(i, i / fps) == start + 1
        filled = filler.push(gap.stop, gap.stop / fps, [seen(gap.stop)])
        assert [pose.frame_index for pose in filled] == [*gap, gap.stop]


def test_frames_that_were_given_up_stay_empty(make_track: MakeTrack) -> None:
    """One long step between frames, as variable frame rates have it."""
    first, second, *_ = make_track(5)
    filler = GapFiller()
    filler.push(0, 0.0, [first])
    filler.push(1, 0.3, [])
    assert filler.first_undecided(1, 0.3) is None
    again = replace(second, frame_index=2, timestamp=0.4)
    assert filler.push(2, 0.4, [again]) == [again]
