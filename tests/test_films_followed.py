"""One person always in view, in films that are cut, zoomed, or change their size: one identity."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from posemamba.skeleton import LIMB_JOINTS
from posemamba_live.detectors import DetectorSettings, create_detector
from posemamba_live.errors import SourceError
from posemamba_live.sources import VideoFile, camera, open_source
from posemamba_live.tracking.people import PeopleTracker
from posemamba_live.types import Image, Pose2D
from tests.support.films import encode

ROOT = Path(__file__).parents[1]
WALK = ROOT / "demo_videos" / "walk_turn.mp4"
INPUTS = ROOT.parent / "shared" / "inputs"
SIZE = (640, 360)
PIECE = 30
GREY = (90, 90, 90)
LIMBS = list(LIMB_JOINTS)

View = tuple[float, float, float]
"""How a picture is shown: times so much, then moved to the right and down by pixels."""
AS_IT_IS: View = (1.0, 0.0, 0.0)
FAR: View = (0.5, 20.0, 120.0)
NEAR: View = (1.7, -300.0, -120.0)

Follow = Callable[[Path], list[list[Pose2D]]]


@pytest.fixture
def follow() -> Iterator[Follow]:
    models = create_detector("blazepose", DetectorSettings(device="cpu"))

    def everybody(path: Path) -> list[list[Pose2D]]:
        tracker = PeopleTracker(models)
        with open_source(str(path)) as film:
            return [tracker(frame) for frame in film]

    yield everybody
    models.close()


def piece(start: int, view: View) -> tuple[list[Image], NDArray[np.float64]]:
    """A second of the walk from a frame on: pictures, and (T, 17, 2) where the joints are."""
    scale, x, y = view
    matrix = np.array([[scale, 0.0, x], [0.0, scale, y]])
    with VideoFile(WALK, start=start / 30, max_frames=PIECE) as film:
        images = [
            np.asarray(cv2.warpAffine(frame.image, matrix, SIZE, borderValue=GREY), np.uint8)
            for frame in film
        ]
    known = np.load(WALK.with_name("walk_turn_gt.npz"))["joints_2d"]
    truth = known[start : start + PIECE].astype(np.float64)
    return images, truth * scale + np.array([x, y])


def check(found: list[list[Pose2D]], truth: NDArray[np.float64]) -> None:
    """One person in every frame, always the same, where they are."""
    assert [[pose.person_id for pose in people] for people in found] == [[0]] * len(truth)
    for index, ((pose,), joints) in enumerate(zip(found, truth, strict=True)):
        assert pose.image_size == SIZE
        away = np.linalg.norm(pose.keypoints - joints, axis=1)[LIMBS].mean()
        assert away < 0.15 * np.ptp(joints[:, 1]), index


@pytest.mark.parametrize(
    "shots",
    [
        [(0, AS_IT_IS), (100, FAR), (50, NEAR)],
        [(0, AS_IT_IS), (30, NEAR)],
        [(60, FAR), (90, AS_IT_IS)],
    ],
    ids=["cuts", "zoom in", "zoom out"],
)
def test_cuts_and_zooms(shots: list[tuple[int, View]], tmp_path: Path, follow: Follow) -> None:
    pieces = [piece(start, view) for start, view in shots]
    path = tmp_path / "film.mp4"
    encode(path, [image for images, _ in pieces for image in images])
    check(follow(path), np.concatenate([truth for _, truth in pieces]))


@pytest.mark.parametrize("scale", [2.0, 0.5])
def test_a_picture_that_changes_its_size(scale: float, tmp_path: Path, follow: Follow) -> None:
    """Keypoints are in pixels of the first size."""
    images, truth = piece(0, AS_IT_IS)
    later, there = piece(PIECE, AS_IT_IS)
    larger = [np.asarray(cv2.resize(image, None, fx=scale, fy=scale), np.uint8) for image in later]
    encode(tmp_path / "a.ts", images)
    encode(tmp_path / "b.ts", larger, times=[1.0 + i / 30 for i in range(PIECE)])
    path = tmp_path / "film.ts"
    path.write_bytes((tmp_path / "a.ts").read_bytes() + (tmp_path / "b.ts").read_bytes())
    check(follow(path), np.concatenate([truth, there]))


class Webcam:
    """Shows the walk, in a picture that grows and shrinks."""

    sizes = (SIZE, (1280, 720), (320, 180))

    def __init__(self) -> None:
        self._images = [image for start in (0, 30, 60) for image in piece(start, AS_IT_IS)[0]]
        self._index = -1

    def isOpened(self) -> bool:
        return True

    def set(self, prop: int, value: float) -> bool:
        return True

    def get(self, prop: int) -> float:
        return 30.0

    def grab(self) -> bool:
        time.sleep(1 / 30)
        self._index += 1
        return self._index < len(self._images)

    def retrieve(self) -> tuple[bool, Image]:
        image = cv2.resize(self._images[self._index], self.sizes[self._index // PIECE])
        return True, np.asarray(image, np.uint8)

    def release(self) -> None:
        pass


def test_poses_go_on_moving_in_front_of_a_webcam_that_grows_and_shrinks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    webcam = Webcam()
    monkeypatch.setattr(cv2, "VideoCapture", lambda *args: webcam)
    truth = np.load(WALK.with_name("walk_turn_gt.npz"))["joints_2d"]
    models = create_detector("blazepose", DetectorSettings(device="cpu"))
    tracker = PeopleTracker(models, live=True)
    seen: dict[int, NDArray[np.float64]] = {}
    ids = set()
    with camera.Camera(0) as source, contextlib.suppress(SourceError):
        for frame in source:
            for pose in tracker(frame):
                ids.add(pose.person_id)
                assert pose.image_size == SIZE
                seen[frame.index] = np.linalg.norm(pose.keypoints - truth[frame.index], axis=1)
    models.close()
    assert ids == {0}
    for part in range(3):
        away = [seen[i][LIMBS].mean() for i in seen if part * PIECE < i < (part + 1) * PIECE]
        assert len(away) > 4
        assert np.max(away) < 0.15 * 220, "of the height, in pixels"


@pytest.mark.parametrize(
    ("name", "poses"),
    [
        ("cut.mp4", 120), ("zoom.mp4", 120), ("tworesolutions.ts", 90), ("grow.ts", 120),
        ("fps05.mp4", 12), ("fps2.mp4", 12),
    ],
)  # fmt: skip
def test_shared_films(name: str, poses: int, follow: Follow) -> None:
    path = INPUTS / name
    if not path.exists():
        pytest.skip("the shared inputs are not here")
    found = follow(path)
    assert [[pose.person_id for pose in people] for people in found] == [[0]] * poses
    hips = np.array([people[0].keypoints[0] for people in found])
    assert ((hips > 0) & (hips < SIZE)).all()
    assert {people[0].image_size for people in found} == {SIZE}
    # They go on moving to the end.
    assert (np.linalg.norm(np.diff(hips[-10:], axis=0), axis=1) > 0.0).all()


def people_of(path: Path, turned: bool = False) -> list[list[int]]:
    """Who of two is followed in each frame of a film."""
    models = create_detector("blazepose", DetectorSettings(people=2, device="cpu"))
    tracker = PeopleTracker(models, 2)
    with VideoFile(path, rotate=180 if turned else 0) as film:
        rows = [[pose.person_id for pose in poses] for _, poses in tracker.follow(film)]
    models.close()
    return rows


def test_two_who_hug_are_both_followed_to_the_end() -> None:
    path = ROOT.parent / "shared" / "field" / "two_hug.mp4"
    if not path.is_file():
        pytest.skip("needs the shared clips")
    rows = people_of(path)
    assert {person for row in rows for person in row} == {0, 1}
    assert sum(row == [0, 1] for row in rows) >= 70, "of 77"
    assert all(row == [0, 1] for row in rows[60:]), "they hold each other's arms and shoulders"


def test_pieces_of_who_is_in_front_are_nobody_behind() -> None:
    path = ROOT.parent / "shared" / "dev_clips" / "bystander_behind.mp4"
    if not path.is_file():
        pytest.skip("needs the shared clips")
    rows = people_of(path, turned=True)
    assert all(0 in row for row in rows)
    assert {person for row in rows for person in row} == {0, 1}
    assert rows[126:] == 4 * [[0]], "the other one is hidden"
