"""A camera that moves is noticed, one that stands still is not: a window over a real clip."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import pytest

from posemamba_live.scene.camera_motion import CameraMotion
from posemamba_live.sources import open_source
from posemamba_live.types import Frame, Image, Pose2D

CLIP = Path(__file__).parent.parent / "demo_videos" / "walk_turn.mp4"
COUNT = 75
SIZE = (480, 270)
Place = Callable[[float], tuple[float, float, float]]


@lru_cache
def pictures() -> list[Image]:
    with open_source(str(CLIP), max_frames=COUNT) as source:
        return [frame.image for frame in source]


def noticed(place: Place, *, people: bool = True) -> float | None:
    """Seconds after which a camera is noticed whose picture begins at x, y of the clip's and is
    `zoom` times as large; None if it is not."""
    with np.load(CLIP.with_name("walk_turn_gt.npz"), allow_pickle=False) as truth:
        joints = truth["joints_2d"]
    motion = CameraMotion()
    for index, image in enumerate(pictures()):
        now = index / 30.0
        x, y, zoom = place(now)
        warp = np.array([[zoom, 0.0, -zoom * x], [0.0, zoom, -zoom * y]])
        view = cv2.warpAffine(image, warp, SIZE, flags=cv2.INTER_LINEAR)
        frame = Frame(index, now, np.asarray(view, np.uint8), 0.0)
        keypoints = ((joints[index] - (x, y)) * zoom).astype(np.float32)
        pose = Pose2D(index, now, 0, keypoints, np.ones(17, np.float32), SIZE)
        if motion(frame, [pose] if people else []):
            assert motion.moves
            return now
    assert not motion.moves
    return None


@pytest.mark.parametrize("people", [True, False])
def test_a_still_camera_is_not_noticed(people: bool) -> None:
    assert noticed(lambda now: (80.0, 40.0, 1.0), people=people) is None


@pytest.mark.parametrize(
    "place",
    [
        pytest.param(lambda now: (20.0 + 30.0 * now, 40.0, 1.0), id="pan"),
        pytest.param(lambda now: (80.0, 40.0, 1.0 + 0.06 * now), id="zoom"),
        pytest.param(
            lambda now: (80 + 6 * math.sin(4.0 * now), 40 + 5 * math.sin(5.5 * now + 1), 1.0),
            id="hand",
        ),
    ],
)
def test_a_camera_that_moves_is_noticed_soon(place: Place) -> None:
    seconds = noticed(place)
    assert seconds is not None
    assert seconds < 1.5


def test_a_cut_is_no_motion() -> None:
    """Another picture altogether from one frame to the next, and back."""
    rng = np.random.default_rng(2)
    other = cv2.resize(rng.integers(0, 255, (34, 60, 3), dtype=np.uint8), SIZE)
    motion = CameraMotion()
    for index, image in enumerate(pictures()):
        view = image[:270, :480] if index // 25 % 2 == 0 else other
        assert not motion(Frame(index, index / 30.0, np.ascontiguousarray(view), 0.0), [])


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 4000, 3), (300, 300, 3)])
def test_odd_pictures_say_nothing(shape: tuple[int, int, int]) -> None:
    motion = CameraMotion()
    for index in range(3):
        assert not motion(Frame(index, float(index) / 2, np.zeros(shape, np.uint8), 0.0), [])
