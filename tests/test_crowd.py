"""Many at once, and few pictures a second: the tracker with the real networks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from posemamba.skeleton import HIP, LIMB_JOINTS
from posemamba_live.detectors import DetectorSettings, Found, Region, TopDown, create_detector
from posemamba_live.detectors.blazepose import BlazePose
from posemamba_live.tracking.people import PeopleTracker
from posemamba_live.types import Frame, Image

DEMOS = Path(__file__).parent.parent / "demo_videos"
TOP, DOWN, ACROSS = 40, 300, 220
"""Pixels of a clip that are shown, around the person."""
PLACES = 8
LIMBS = list(LIMB_JOINTS)


def films() -> list[tuple[list[Image], NDArray[np.float32]]]:
    """Both demo clips, cut to the part around the person: pictures and (T, 17, 2) pixels."""
    cut = []
    for name in ("arm_signals", "walk_turn"):
        truth = np.load(DEMOS / f"{name}_gt.npz")["joints_2d"].astype(np.float32)
        left = np.rint(truth[:, HIP, 0]).astype(int) - ACROSS // 2
        video = cv2.VideoCapture(str(DEMOS / f"{name}.mp4"))
        pictures: list[Image] = []
        while (step := video.read())[0]:
            x = left[len(pictures)]
            pictures.append(np.asarray(step[1], np.uint8)[TOP : TOP + DOWN, x : x + ACROSS])
        truth[..., 0] -= left[:, None]
        truth[..., 1] -= TOP
        cut.append((pictures, truth))
    return cut


class Batches:
    """The landmark model, and how many people it was shown in each run."""

    def __init__(self, model: BlazePose) -> None:
        self._model = model
        self.sizes: list[int] = []

    def locate(self, image: Image, regions: Sequence[Region]) -> list[Found]:
        self.sizes.append(len(regions))
        return self._model.locate(image, regions)

    def describe(self) -> dict[str, object]:
        return self._model.describe()

    def close(self) -> None:
        self._model.close()


def test_eight_people_are_followed_in_one_batch() -> None:
    """A collage of eight pieces of film, four across and two down."""
    clips = films()
    models = create_detector("blazepose", DetectorSettings(people=PLACES, device="cpu"))
    assert isinstance(models, TopDown)
    assert isinstance(models.keypoints, BlazePose)
    batches = Batches(models.keypoints)
    tracker = PeopleTracker(TopDown("blazepose", models.person, batches), PLACES)
    called: list[dict[int, int]] = []
    for index in range(12):
        parts, truth = [], []
        for place in range(PLACES):
            pictures, joints = clips[place % 2]
            at = index + 18 * place
            parts.append(pictures[at])
            truth.append(joints[at] + [ACROSS * (place % 4), DOWN * (place // 4)])
        picture = np.vstack([np.hstack(parts[:4]), np.hstack(parts[4:])])
        poses = tracker(Frame(index, index / 30.0, picture, 0.0))
        row = {}
        for pose in poses:
            away = [float(np.linalg.norm(pose.keypoints - t, axis=1)[LIMBS].mean()) for t in truth]
            assert min(away) < 20.0, "nobody is made up"
            row[int(np.argmin(away))] = pose.person_id
        called.append(row)
    models.close()
    assert called == [called[0]] * len(called)
    assert len(called[0]) == PLACES
    assert sorted(called[0].values()) == list(range(PLACES))
    assert batches.sizes.count(PLACES) >= 11, "all of a frame in one run"


@pytest.mark.parametrize("fps", [0.5, 2.0, 5.0])
def test_few_pictures_a_second_are_still_one_person(fps: float) -> None:
    pictures, _ = films()[0]
    models = create_detector("blazepose", DetectorSettings(device="cpu"))
    tracker = PeopleTracker(models)
    step = min(round(30.0 / fps), 14)  # the clip is 6 s long: at 0.5 fps it is slowed down
    ids = [
        [p.person_id for p in tracker(Frame(i, i / fps, pictures[step * i], 0.0))]
        for i in range(12)
    ]
    models.close()
    assert ids == [[0]] * 12
