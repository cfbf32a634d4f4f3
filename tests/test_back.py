"""Films are looked back at: who is found was perhaps there before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from posemamba.skeleton import LIMB_JOINTS
from posemamba_live.detectors import DetectorSettings, create_detector
from posemamba_live.detectors.base import Region, TopDown
from posemamba_live.sources import VideoFile
from posemamba_live.tracking.people import PeopleTracker
from posemamba_live.types import Frame, Image, Pose2D

ROOT = Path(__file__).parents[1]
FILM = ROOT / "demo_videos" / "walk_turn.mp4"
DEV_CLIPS = ROOT.parent / "shared" / "dev_clips"
BLIND = 12
"""Frames, of 30 a second."""


class LateRiser:
    """A person detector that finds nobody while the film is young."""

    def __init__(self, models: TopDown) -> None:
        self._models = models
        self.asleep = True

    def find(self, image: Image) -> list[Region]:
        return [] if self.asleep else self._models.person.find(image)

    def describe(self) -> dict[str, object]:
        return {}

    def close(self) -> None:
        pass


def frames_of(path: Path, count: int | None = None) -> list[Frame]:
    with VideoFile(path, max_frames=count) as film:
        return list(film)


def still(frames: Sequence[Frame]) -> list[Frame]:
    """The first picture again and again: nothing moves."""
    return [replace(frame, image=frames[0].image) for frame in frames]


def followed(
    frames: Sequence[Frame], *, blind: int, people: int = 1, live: bool = False
) -> list[list[Pose2D]]:
    """Everybody in each frame, by a detector that finds nobody in the first `blind`."""
    models = create_detector("blazepose", DetectorSettings(people=people, device="cpu"))
    assert isinstance(models, TopDown)
    person = LateRiser(models)
    tracker = PeopleTracker(TopDown("late", person, models.keypoints), people, live=live)

    rows: list[list[Pose2D]] = []
    for frame in frames:
        person.asleep = len(rows) < blind
        rows.append(tracker(frame))
        for pose in tracker.earlier:
            rows[pose.frame_index].append(pose)
    models.close()
    return rows


def test_who_is_found_late_was_there_from_the_first_frame() -> None:
    rows = followed(frames_of(FILM, BLIND + 6), blind=BLIND)
    assert [[pose.person_id for pose in row] for row in rows] == (BLIND + 6) * [[0]]
    truth = np.load(FILM.with_name("walk_turn_gt.npz"))["joints_2d"]
    tall = np.ptp(truth[0, :, 1])
    limbs = list(LIMB_JOINTS)
    for index, (pose,) in enumerate(rows):
        assert pose.frame_index == index
        away = np.linalg.norm(pose.keypoints[limbs] - truth[index, limbs], axis=1)
        assert away.mean() < 0.05 * tall


def test_live_nobody_looks_back() -> None:
    # A still picture: where nothing moves only the person detector finds anybody.
    rows = followed(still(frames_of(FILM, BLIND + 3)), blind=BLIND, live=True)
    assert [len(row) for row in rows] == [*BLIND * [0], 1, 1, 1]


def test_it_goes_back_half_a_second_and_no_further() -> None:
    rows = followed(still(frames_of(FILM, 33)), blind=30)
    assert [len(row) for row in rows] == [*15 * [0], *18 * [1]]


def test_it_does_not_go_back_beyond_a_cut() -> None:
    frames = frames_of(FILM, BLIND + 3)
    other = np.random.default_rng(3).integers(60, 200, (6, 4, 3), np.uint8)
    room = cv2.resize(other, frames[0].size, interpolation=cv2.INTER_CUBIC)
    frames[:5] = [replace(frame, image=room) for frame in frames[:5]]
    rows = followed(frames, blind=BLIND)
    assert [len(row) for row in rows] == [*5 * [0], *(BLIND - 2) * [1]]


@pytest.mark.parametrize("people", [1, 2])
def test_no_more_people_than_asked_for(people: int) -> None:
    """One is followed from the start, another found late who was there as long."""
    film = still(frames_of(FILM, BLIND + 12))
    left = film[0].image
    both = np.concatenate([left, left[:, ::-1]], axis=1)
    single = np.concatenate([left, np.zeros_like(left)], axis=1)
    models = create_detector("blazepose", DetectorSettings(people=people, device="cpu"))
    assert isinstance(models, TopDown)

    class OneEyed(LateRiser):
        def find(self, image: Image) -> list[Region]:
            if self.asleep:
                return models.person.find(single) if image.shape == single.shape else []
            return models.person.find(image)

    person = OneEyed(models)
    tracker = PeopleTracker(TopDown("late", person, models.keypoints), people)
    rows: list[list[int]] = []
    for i, frame in enumerate(film):
        person.asleep = i < BLIND
        rows.append([p.person_id for p in tracker(replace(frame, image=both.copy()))])
        for pose in tracker.earlier:
            rows[pose.frame_index].append(pose.person_id)
    models.close()
    assert rows == len(film) * [[0] if people == 1 else [0, 1]]


def test_follow_hands_out_frames_with_those_who_were_found_later() -> None:
    frames = frames_of(FILM, 40)
    models = create_detector("blazepose", DetectorSettings(device="cpu"))
    assert isinstance(models, TopDown)
    person = LateRiser(models)
    tracker = PeopleTracker(TopDown("late", person, models.keypoints))

    def waking() -> Iterator[Frame]:
        for frame in frames:
            person.asleep = frame.index < BLIND
            yield frame

    given = [
        (frame.index, [pose.frame_index for pose in poses])
        for frame, poses in tracker.follow(waking())
    ]
    models.close()
    assert given == [(i, [i]) for i in range(40)]


def test_who_comes_in_through_the_edge_is_there_at_once_and_is_the_same_again() -> None:
    path = DEV_CLIPS / "comes_and_goes.mp4"
    if not path.is_file():
        pytest.skip("needs the shared clips")
    models = create_detector("blazepose", DetectorSettings(device="cpu"))
    tracker = PeopleTracker(models)
    rows = {f.index: [p.person_id for p in poses] for f, poses in tracker.follow(frames_of(path))}
    models.close()
    # Four limb joints and more are in the picture from frame 11 and from frame 134 on.
    for first in (11, 134):
        assert [rows[first + i] for i in range(40)] == 40 * [[0]]
    assert [rows[i] for i in range(85, 125)] == 40 * [[]], "nobody is there"
