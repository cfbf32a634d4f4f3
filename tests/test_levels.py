"""Dark and flat pictures: what networks are shown of them, and who is found there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from posemamba_live.detectors import DetectorSettings, create_detector
from posemamba_live.detectors.base import Found, OneStage
from posemamba_live.detectors.levels import Levels, wanted
from posemamba_live.sources import VideoFile
from posemamba_live.tracking.people import PeopleTracker
from posemamba_live.types import Frame, Image

DEMO = Path(__file__).parents[1] / "demo_videos"


def frames(name: str, count: int) -> list[Frame]:
    with VideoFile(DEMO / f"{name}.mp4", max_frames=count) as video:
        return list(video)


def dark(image: Image) -> Image:
    """12 % of the brightness, with noise of 6 levels."""
    rng = np.random.default_rng(int(image[::8, ::8].sum()))
    noisy = 0.12 * image + rng.normal(0.0, 6.0, image.shape)
    return np.asarray(np.clip(np.rint(noisy), 0, 255), np.uint8)


def flat(image: Image) -> Image:
    """15 % of the contrast."""
    return np.asarray(np.rint(0.15 * image + 0.85 * 128.0), np.uint8)


def overexposed(image: Image) -> Image:
    return np.asarray(np.clip(2.0 * image.astype(np.float32) + 100.0, 0, 255), np.uint8)


@pytest.fixture(scope="module")
def picture() -> Image:
    return frames("walk_turn", 1)[0].image


def spread(image: Image) -> float:
    """From the 2nd to the 98th percentile."""
    low, high = np.percentile(cv2.resize(image, (64, 36), interpolation=cv2.INTER_AREA), [2, 98])
    return float(high - low)


def test_good_levels_and_overexposed_ones_are_handed_on_as_they_are(picture: Image) -> None:
    for image in (picture, overexposed(picture), (0.8 * picture).astype(np.uint8)):
        assert Levels()(image, 0.0) is image


def test_a_plain_wall_is_not_flat_because_of_somebody_small_before_it() -> None:
    wall = np.full((360, 640, 3), 150, np.uint8)
    assert Levels()(wall, 0.0) is wall, "nothing to be seen"
    wall[200:270, 300:330] = 30
    assert Levels()(wall, 0.0) is wall


def test_somebody_lit_before_black_keeps_contrast(picture: Image) -> None:
    stage = np.zeros_like(picture)
    stage[::2] = 5
    performer = cv2.resize(picture, (40, 50), interpolation=cv2.INTER_AREA)
    stage[200:250, 300:340] = performer
    better = Levels()(stage, 0.0)[205:245, 305:335]
    assert better.std() > 0.3 * performer[5:45, 5:35].std()
    assert (better == 255).mean() < 0.25


@pytest.mark.parametrize("worse", [dark, flat])
def test_low_and_narrow_levels_are_stretched(picture: Image, worse) -> None:
    image = worse(picture)
    before = image.copy()
    better = Levels()(image, 0.0)
    np.testing.assert_array_equal(image, before)  # it is what people are shown
    assert better.shape == image.shape
    assert better.dtype == np.uint8
    assert spread(image) < 40
    assert 150 < spread(better) <= 255


def test_the_noise_that_stretching_shows_is_blurred(picture: Image) -> None:
    image = dark(picture)
    need = wanted(image)
    assert need.noise == pytest.approx(6.0, abs=0.7)
    better = Levels()(image, 0.0)
    grain = cv2.Laplacian(better, cv2.CV_32F).std()
    assert grain < 0.2 * need.gain * cv2.Laplacian(image, cv2.CV_32F).std()
    sharp = Levels()(flat(picture), 0.0)
    assert wanted(flat(picture)).noise < 1.0
    assert cv2.Laplacian(sharp, cv2.CV_32F).std() > 0.7 * cv2.Laplacian(picture, cv2.CV_32F).std()


def test_a_change_of_the_light_is_followed_slowly_and_a_cut_at_once(picture: Image) -> None:
    night = (0.12 * picture).astype(np.uint8)
    levels = Levels()
    assert levels(picture, 0.0) is picture
    means = [float(levels(night, i / 30.0).mean()) for i in range(1, 120)]
    steps = np.diff(means)
    assert steps.max() < 12.0, "no flicker"
    assert (steps > -0.5).all()
    assert means[-1] > 0.7 * Levels()(night, 0.0).mean()
    assert levels(picture, 4.1, afresh=True) is picture
    assert levels(night, 4.2, afresh=True).mean() == Levels()(night, 0.0).mean()


@pytest.mark.parametrize("worse", [dark, flat])
@pytest.mark.parametrize("name", ["walk_turn", "arm_signals"])
def test_people_are_found_in_bad_light_from_the_first_frame(name: str, worse) -> None:
    truth = np.load(DEMO / f"{name}_gt.npz")["joints_2d"]
    models = create_detector("blazepose", DetectorSettings(device="cpu"))
    tracker = PeopleTracker(models)
    for frame in frames(name, 8):
        (pose,) = tracker(replace(frame, image=worse(frame.image)))
        away = np.linalg.norm(pose.keypoints - truth[frame.index], axis=1).mean()
        assert away < 0.08 * np.ptp(truth[frame.index][:, 1])
    models.close()


def test_every_detector_is_shown_the_stretched_picture(picture: Image) -> None:
    shown: list[Image] = []

    class Looker:
        def detect(self, frame: Frame) -> list[Found]:
            shown.append(frame.image)
            return []

        def describe(self) -> dict[str, str]:
            return {}

        def close(self) -> None:
            pass

    tracker = PeopleTracker(OneStage("looker", Looker()))
    night = Frame(0, 0.0, (0.12 * picture).astype(np.uint8), 0.0)
    assert tracker(night) == []
    assert spread(shown[0]) > 150
