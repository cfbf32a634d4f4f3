"""Pictures that fall apart into blocks: what networks are shown of them, and who is seen there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from posemamba_live.detectors import DetectorSettings, create_detector
from posemamba_live.detectors.blocks import Blocks, smoothed, strength
from posemamba_live.sources import VideoFile
from posemamba_live.tracking.people import PeopleTracker
from posemamba_live.types import Frame, Image

DEMO = Path(__file__).parents[1] / "demo_videos"


def frames(name: str, count: int) -> list[Frame]:
    with VideoFile(DEMO / f"{name}.mp4", max_frames=count) as video:
        return list(video)


def coded(image: Image, quality: int) -> Image:
    """As JPEG gives it back."""
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


@pytest.fixture(scope="module", params=["walk_turn", "arm_signals"])
def picture(request: pytest.FixtureRequest) -> Image:
    return frames(request.param, 1)[0].image


def test_good_pictures_are_handed_on_as_they_are(picture: Image) -> None:
    small = cv2.resize(picture, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    noisy = picture + np.random.default_rng(1).normal(0.0, 8.0, picture.shape)
    for image in (
        picture,
        coded(picture, 50),
        np.asarray(small, np.uint8),
        np.asarray(cv2.blur(picture, (21, 1)), np.uint8),
        np.asarray(np.clip(noisy, 0, 255), np.uint8),
        np.full_like(picture, 90),
        picture[:7, :5],
    ):
        assert Blocks()(image, 0.0) is image


def test_the_worse_a_picture_the_more_it_is_smoothed(picture: Image) -> None:
    by_quality = [strength(coded(picture, quality)) for quality in (5, 10, 20, 30)]
    assert by_quality[0] == 1.0
    assert by_quality == sorted(by_quality, reverse=True)
    assert by_quality[-1] < 0.3


def test_blocks_are_known_wherever_they_begin(picture: Image) -> None:
    bad = coded(picture, 5)
    for image in (bad[3:, 5:], bad[::-1, :-3][:, ::-1], bad.transpose(1, 0, 2)):
        assert strength(np.ascontiguousarray(image)) > 0.9


def test_smoothing_brings_a_picture_nearer_to_what_it_was(picture: Image) -> None:
    bad = coded(picture, 5)
    before = bad.copy()
    better = Blocks()(bad, 0.0)
    assert better.shape == bad.shape
    assert better.dtype == np.uint8
    assert np.array_equal(bad, before), "what people are shown is the camera's picture"
    colours = [cv2.cvtColor(one, cv2.COLOR_BGR2YCrCb)[..., 1:] for one in (picture, bad, better)]
    good, blocky, smooth = (colour.astype(np.float32) for colour in colours)
    assert np.abs(smooth - good).mean() < np.abs(blocky - good).mean()


def test_a_plain_picture_keeps_its_colour() -> None:
    plain = np.full((37, 50, 3), (40, 120, 200), np.uint8)
    assert np.abs(smoothed(plain, 1.0).astype(int) - plain).max() <= 2


def test_strength_changes_slowly_and_at_once_after_a_cut(picture: Image) -> None:
    bad, blocks = coded(picture, 5), Blocks()
    assert blocks(picture, 0.0) is picture
    assert blocks(bad, 0.1) is bad, "not yet time to measure"
    halfway = blocks(bad, 0.4).astype(int)
    whole = smoothed(bad, 1.0).astype(int)
    assert 0 < np.abs(halfway - bad).sum() < np.abs(whole - bad).sum()
    assert np.array_equal(blocks(bad, 0.5, afresh=True), whole)
    assert blocks(picture, 0.0) is picture, "another film"


def test_somebody_is_seen_better_without_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """`walk_turn` at half its size."""
    shown = []
    for frame in frames("walk_turn", 60):
        small = cv2.resize(frame.image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        shown.append(replace(frame, image=coded(np.asarray(small, np.uint8), 5)))
    truth = 0.5 * np.load(DEMO / "walk_turn_gt.npz")["joints_2d"]

    def seen() -> tuple[int, float]:
        tracker = PeopleTracker(create_detector("blazepose", DetectorSettings(device="cpu")), 1)
        poses = [pose for _, found in tracker.follow(shown) for pose in found]
        away = [np.linalg.norm(p.keypoints - truth[p.frame_index], axis=1).mean() for p in poses]
        return len(poses), float(np.mean(away))

    rows, error = seen()
    monkeypatch.setattr(Blocks, "__call__", lambda _self, image, _now, **_: image)
    rows_before, error_before = seen()
    assert rows >= max(55, rows_before)
    assert error < 0.95 * error_before


def test_a_few_lines_on_a_plain_ground_are_no_blocks() -> None:
    """They may lie where blocks would begin, and nothing else has any steps."""
    image = np.zeros((360, 640, 3), np.uint8)
    image[80:240, 160:320] = (40, 180, 90)
    assert strength(image) == 0.0
