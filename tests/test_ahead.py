"""Two frames of a film at once: what is seen ahead of its turn counts, or is looked at again."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from posemamba.skeleton import LIMB_JOINTS
from posemamba_live.detectors import DetectorSettings, Found, Region, TopDown, create_detector
from posemamba_live.detectors.base import KeypointModel
from posemamba_live.sources import open_source
from posemamba_live.tracking.ahead import as_good
from posemamba_live.tracking.people import PeopleTracker
from posemamba_live.types import Frame, Image, Pose2D
from tests.support.two_people import CROSSING

FRAMES = 40


class Looks:
    """A keypoint model, and who asked it for how many people."""

    def __init__(self, model: KeypointModel) -> None:
        self._model = model
        self.in_turn: list[int] = []
        self.ahead: list[int] = []

    def locate(self, image: Image, regions: Sequence[Region]) -> list[Found]:
        ahead = threading.current_thread().name.startswith("ahead")
        (self.ahead if ahead else self.in_turn).append(len(regions))
        return self._model.locate(image, regions)

    def describe(self) -> dict[str, object]:
        return self._model.describe()

    def close(self) -> None:
        self._model.close()


def film(clip: Path) -> list[Frame]:
    with open_source(str(clip), max_frames=FRAMES) as source:
        return list(source)


def followed(
    frames: Sequence[Frame], people: int = 1, *, threads: int = 1
) -> tuple[list[list[Pose2D]], Looks]:
    """All poses of a film, two frames at a time, each network on so many threads."""
    settings = DetectorSettings(people=people, device="cpu", threads=threads)
    models = create_detector("blazepose", settings)
    assert isinstance(models, TopDown)
    looks = Looks(models.keypoints)
    tracker = PeopleTracker(TopDown("blazepose", models.person, looks), people)
    rows = []
    for frame, poses in tracker.follow(frames):
        assert frame is frames[len(rows)]
        rows.append(poses)
    models.close()
    return rows, looks


def alone(frames: Sequence[Frame], people: int = 1) -> list[list[Pose2D]]:
    """The same, one frame after the other."""
    models = create_detector("blazepose", DetectorSettings(people=people, device="cpu"))
    tracker = PeopleTracker(models, people)
    rows: list[list[Pose2D]] = []
    for frame in frames:
        rows.append(tracker(frame))
        for pose in tracker.earlier:
            rows[pose.frame_index] = sorted(
                [*rows[pose.frame_index], pose], key=lambda one: one.person_id
            )
    models.close()
    return rows


def test_every_second_frame_is_seen_ahead_and_as_well(walk_clip: Path) -> None:
    frames = film(walk_clip)
    rows, looks = followed(frames)
    assert sum(looks.ahead) >= FRAMES // 2 - 3
    assert sum(looks.in_turn) + sum(looks.ahead) <= FRAMES + 3, "hardly anybody is looked at twice"
    away = [
        np.linalg.norm(two.keypoints - one.keypoints, axis=1)[list(LIMB_JOINTS)].mean()
        for (two,), (one,) in zip(rows, alone(frames), strict=True)
    ]
    assert np.median(away) < 1.0, "pixels of 640"
    assert max(away) < 4.0
    assert [two.person_id for (two,) in rows] == [0] * FRAMES


def test_the_result_is_the_same_however_many_threads_there_are(walk_clip: Path) -> None:
    frames = film(walk_clip)
    first, _ = followed(frames)
    again, _ = followed(frames, threads=2)
    for (one,), (other,) in zip(first, again, strict=True):
        assert np.array_equal(one.keypoints, other.keypoints)
        assert np.array_equal(one.scores, other.scores)


def test_who_is_close_to_somebody_else_is_looked_at_in_turn() -> None:
    frames = [CROSSING.frame(i) for i in range(CROSSING.length)]
    rows, looks = followed(frames, 2)
    one_by_one = alone(frames, 2)
    assert sum(looks.ahead) < sum(looks.in_turn)
    assert [[p.person_id for p in row] for row in rows] == [
        [p.person_id for p in row] for row in one_by_one
    ]


def moved(frame: Frame, x: int) -> Frame:
    return replace(frame, image=np.roll(frame.image, x, axis=1))


def mirrored(frame: Frame) -> Frame:
    return replace(frame, image=np.ascontiguousarray(frame.image[:, ::-1]))


@pytest.mark.parametrize("spoil", [lambda f: moved(f, 60), mirrored, lambda f: moved(f, -45)])
def test_who_is_elsewhere_than_expected_is_looked_at_again(
    walk_clip: Path, spoil: Callable[[Frame], Frame]
) -> None:
    """The person is somewhere else from a frame on that was seen ahead, or from the one after."""
    for first in (20, 21):
        frames = [spoil(f) if f.index >= first else f for f in film(walk_clip)]
        for row, single in zip(followed(frames)[0], alone(frames), strict=True):
            assert [p.person_id for p in row] == [p.person_id for p in single]
            for two, one in zip(row, single, strict=True):
                away = np.linalg.norm(two.keypoints - one.keypoints, axis=1)[list(LIMB_JOINTS)]
                assert away.mean() < 4.0


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (Region((104.0, 103.0), 100.0, 100.0, 0.1), True),
        (Region((112.0, 100.0), 100.0, 100.0, 0.0), False),
        (Region((100.0, 100.0), 125.0, 125.0, 0.0), False),
        (Region((100.0, 100.0), 100.0, 100.0, 0.4), False),
        (Region((100.0, 100.0), 100.0, 100.0, 2.0 * math.pi - 0.1), True),
    ],
)
def test_regions_that_say_the_same(other: Region, same: bool) -> None:
    region = Region((100.0, 100.0), 100.0, 100.0, 0.0)
    assert as_good(region, other) is same
    assert as_good(other, region) is same
