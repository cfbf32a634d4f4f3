"""Identities with the real detector: people who cross, come back, and stand in the way."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from posemamba.skeleton import LIMB_JOINTS
from posemamba_live.detectors import DetectorSettings, Region, TopDown, create_detector
from posemamba_live.detectors.base import Found, KeypointModel
from posemamba_live.sources import open_source
from posemamba_live.tracking.people import PeopleTracker
from posemamba_live.types import FloatArray, Image
from tests.support.two_people import CROSSING, FPS, Actor, Scene, walks

Row = dict[int, int | None]
"""For each person_id of a frame whose it is: the number of an actor, None for nobody's."""
_LIMBS = list(LIMB_JOINTS)


def follow(scene: Scene, people: int, frames: Iterable[int]) -> dict[int, Row]:
    """Run the tracker, and find out by the true poses who was called what."""
    models = create_detector("blazepose", DetectorSettings(people=people, device="cpu"))
    tracker = PeopleTracker(models, people)
    rows = {}
    for index in frames:
        poses = tracker(scene.frame(index))
        rows[index] = {p.person_id: whose(p.keypoints, scene, index) for p in poses}
    models.close()
    return rows


def whose(keypoints: FloatArray, scene: Scene, index: int) -> int | None:
    """The actor whose limbs are nearest, at most 0.15 heights away on average."""
    best, actor = 0.15, None
    for number, truth in enumerate(scene.truth(index)):
        if truth is not None:
            away = np.linalg.norm(keypoints - truth, axis=1)[_LIMBS].mean() / np.ptp(truth[:, 1])
            if away < best:
                best, actor = float(away), number
    return actor


def apart(scene: Scene, index: int) -> bool:
    """Whether everybody's hip is 0.2 heights from the others': who is who can be seen."""
    present = [truth for truth in scene.truth(index) if truth is not None]
    return all(
        abs(a[0, 0] - b[0, 0]) > 0.2 * np.ptp(a[:, 1])
        for i, a in enumerate(present)
        for b in present[:i]
    )


def names(rows: dict[int, Row], scene: Scene) -> dict[int | None, list[int]]:
    """For each actor the person_ids in the order of their frames, those in a cluster left out."""
    called: dict[int | None, list[int]] = {}
    for index, row in rows.items():
        if apart(scene, index):
            for person_id, actor in row.items():
                called.setdefault(actor, []).append(person_id)
    return called


def switches(ids: list[int]) -> int:
    return sum(a != b for a, b in itertools.pairwise(ids))


def every_frame(index: int) -> bool:
    return True


def dropped(index: int) -> bool:
    """A camera under load: every second frame, and now and then a quarter second of none."""
    return index % 2 == 0 and not 20 <= index % 50 < 27


@pytest.mark.parametrize("seen", [every_frame, dropped])
def test_two_who_cross_keep_their_identities(seen: Callable[[int], bool]) -> None:
    frames = [index for index in range(CROSSING.length) if seen(index)]
    rows = follow(CROSSING, 2, frames)
    called = names(rows, CROSSING)
    clear = sum(apart(CROSSING, index) for index in frames)
    for actor in (0, 1):
        assert switches(called[actor]) == 0
        assert len(called[actor]) > 0.97 * clear, "each is found nearly wherever they are clear"
    assert {called[0][0], called[1][0]} == {0, 1}
    assert {i for row in rows.values() for i in row} == {0, 1}, "and nobody else is made up"
    assert len(called.get(None, [])) < 0.05 * clear
    hidden = [index for index in frames if len(rows[index]) < 2 and 25 < index < 50]
    assert hidden, "the clip has somebody hidden for some time"


def test_a_bystander_who_walks_by_in_front_does_not_become_the_subject() -> None:
    scene = Scene(
        [
            Actor(walks()),
            Actor(lambda i: i - 5 if i >= 15 else None, mirrored=True, nearer=1.3),
        ],
        75,
    )
    rows = follow(scene, 1, range(scene.length))
    called = names(rows, scene)
    assert set(called) <= {0, None}
    assert len(called.get(None, [])) <= 2
    assert set(called[0]) == {0}
    assert len(called[0]) > 0.9 * sum(apart(scene, i) for i in range(scene.length))
    assert any(0 in rows[i] for i in range(70, 75)), "the smaller one is still followed"


@pytest.mark.parametrize(("away", "same"), [(0.7, True), (1.4, False)])
def test_who_comes_back_within_a_second_is_the_same(away: float, same: bool) -> None:
    gone = range(15, 15 + round(away * FPS))
    scene = Scene([Actor(lambda i: None if i in gone else 60 + i, aside=lambda i: -150.0)], 75)
    called = names(follow(scene, 1, range(scene.length)), scene)
    assert set(called) == {0}
    assert switches(called[0]) == (0 if same else 1)
    assert len(called[0]) >= 75 - len(gone) - 6


def test_nobody_is_nobody() -> None:
    scene = Scene([Actor(lambda i: None)], 8)
    assert all(row == {} for row in follow(scene, 2, range(8)).values())


class Wavering:
    """A real model whose word for presence is another one when `presence` is set."""

    def __init__(self, model: KeypointModel) -> None:
        self._model = model
        self.presence: float | None = None
        self.describe, self.close = model.describe, model.close

    def locate(self, image: Image, regions: Sequence[Region]) -> list[Found]:
        found = self._model.locate(image, regions)
        if self.presence is None:
            return found
        return [replace(one, presence=self.presence) for one in found]


@pytest.mark.parametrize(("presence", "kept"), [(0.4, True), (0.2, False)])
def test_presence_that_wavers_costs_nobody_who_is_plainly_seen(
    presence: float, kept: bool, walk_clip: Path
) -> None:
    """As of somebody half hidden, whose joints are as clear as before."""
    models = create_detector("blazepose", DetectorSettings(device="cpu"))
    assert isinstance(models, TopDown)
    wavering = Wavering(models.keypoints)
    tracker = PeopleTracker(replace(models, keypoints=wavering), 1)
    with open_source(str(walk_clip)) as source:
        frames = list(itertools.islice(source, 12))
    there = []
    for frame in frames:
        wavering.presence = presence if frame.index in (5, 6, 9) else None
        there.append(len(tracker(frame)))
    models.close()
    assert there == [int(kept or index not in (5, 6, 9)) for index in range(12)]
