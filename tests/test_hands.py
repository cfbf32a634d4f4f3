"""Wrists of hands that have left the picture are beyond its edge, and all others stay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from posemamba.skeleton import HIP, L_ELBOW, L_SHOULDER, L_WRIST, R_ELBOW, R_SHOULDER, R_WRIST
from posemamba_live.detectors import DetectorSettings, create_detector
from posemamba_live.sources import open_source
from posemamba_live.tracking.hands import Hands
from posemamba_live.tracking.people import PeopleTracker
from posemamba_live.types import Detection

SIZE = (640, 360)
TRUNK = 160.0
CLIPS = Path(__file__).parents[2] / "shared" / "dev_clips"

PLACES = {
    HIP: (320.0, 330.0),
    L_SHOULDER: (380.0, 170.0),
    R_SHOULDER: (260.0, 170.0),
    L_ELBOW: (390.0, 260.0),
    R_ELBOW: (250.0, 260.0),
    L_WRIST: (330.0, 200.0),
    R_WRIST: (240.0, 340.0),
}
"""A left wrist on the chest, a right one that hangs."""


def person(
    places: Mapping[int, tuple[float, float]] = PLACES,
    *,
    visible: float = 0.9,
    peak: float = 0.4,
    elbow: float = 0.95,
) -> Detection:
    """Somebody in front of a webcam; what is said of the left wrist and elbow is told."""
    keypoints = np.full((17, 2), 100.0, np.float32)
    for joint, place in {**PLACES, **places}.items():
        keypoints[joint] = place
    visibility, peaks = np.full(17, 0.95, np.float32), np.full(17, 0.9, np.float32)
    visibility[L_WRIST], peaks[L_WRIST] = visible, peak
    visibility[L_ELBOW] = elbow
    return Detection(keypoints, visibility * peaks, visibility=visibility, peak=peaks)


def test_a_wrist_put_anywhere_is_a_forearm_from_its_elbow_towards_the_edge() -> None:
    found = person()
    moved = Hands()(found, SIZE)
    assert moved.keypoints[L_WRIST].tolist() == [390.0, 260.0 + 0.5 * TRUNK]
    others = np.arange(17) != L_WRIST
    assert (moved.keypoints[others] == found.keypoints[others]).all()
    assert moved.scores is found.scores
    assert found.keypoints[L_WRIST].tolist() == [330.0, 200.0]  # as the model gave it


def test_a_wrist_that_is_called_half_hidden_was_put_anywhere_too() -> None:
    moved = Hands()(person(visible=0.2, peak=0.25, elbow=0.5), SIZE)
    assert moved.keypoints[L_WRIST].tolist() == [390.0, 260.0 + 0.5 * TRUNK]


def test_a_hand_stays_beyond_the_edge_that_it_has_crossed() -> None:
    """An elbow in the picture's corner comes as near to one edge as to the other."""
    hands = Hands()
    for x in (540.0, 560.0, 590.0):  # the right edge becomes the nearer one
        moved = hands(person({L_ELBOW: (x, 275.0)}), SIZE)
        assert moved.keypoints[L_WRIST].tolist() == [x, 275.0 + 0.5 * TRUNK]
    far = person({L_ELBOW: (590.0, 150.0)})  # the lower one is out of reach
    assert hands(far, SIZE).keypoints[L_WRIST].tolist() == [590.0 + 0.5 * TRUNK, 150.0]


@pytest.mark.parametrize(
    ("elbow", "wrist", "expected"),
    [
        ((60.0, 200.0), (150.0, 180.0), (60.0 - 80.0, 200.0)),
        ((600.0, 200.0), (500.0, 180.0), (680.0, 200.0)),
        ((330.0, 70.0), (330.0, 150.0), (330.0, -10.0)),
    ],
)
def test_any_edge(
    elbow: tuple[float, float], wrist: tuple[float, float], expected: tuple[float, float]
) -> None:
    moved = Hands()(person({L_ELBOW: elbow, L_WRIST: wrist}), SIZE)
    assert tuple(moved.keypoints[L_WRIST].tolist()) == expected


@pytest.mark.parametrize(
    "found",
    [
        person(peak=0.55),  # localised
        person(visible=0.08),  # hidden by the body, where it may be
        person(visible=0.25, elbow=0.05),  # hidden with its elbow, behind a table
        person({L_WRIST: (390.0, 400.0)}),  # beyond the edge already
        person({L_ELBOW: (390.0, 180.0)}),  # too far from the edge to reach it
        person({L_ELBOW: (390.0, 400.0)}),  # nothing is known of an arm that is out itself
        replace(person(), peak=None),
        replace(person(), visibility=None),
    ],
)
def test_other_wrists_stay(found: Detection) -> None:
    assert Hands()(found, SIZE) is found


def test_a_hand_is_away_until_it_is_seen_clearly() -> None:
    """What is called hidden, or half sharp, while it is away is not believed either."""
    hands = Hands()
    hands(person(), SIZE)
    for found in (person(visible=0.05), person(peak=0.6), person({L_ELBOW: (390.0, 195.0)})):
        assert (hands(found, SIZE).keypoints[L_WRIST] != found.keypoints[L_WRIST]).any()
    back = person(peak=0.7)
    assert hands(back, SIZE) is not back  # once may be the other hand
    assert hands(back, SIZE) is back
    assert hands(person(visible=0.05), SIZE).keypoints[L_WRIST].tolist() == [330.0, 200.0]


@pytest.mark.skipif(not CLIPS.is_dir(), reason="needs shared/dev_clips")
def test_a_hand_below_a_real_picture() -> None:
    """Somebody at a desk whose left hand hangs just out of sight for four seconds."""
    film = CLIPS / "desk_gestures.mp4"
    with np.load(film.with_name("desk_gestures_gt.npz")) as truth:
        wrist = truth["joints_2d"][:, L_WRIST]
    tracker = PeopleTracker(create_detector("blazepose", DetectorSettings(threads=1)), 1)
    off = []
    with open_source(str(film)) as source:
        for frame, poses in tracker.follow(source):
            points = poses[0].keypoints
            trunk = np.hypot(*(points[[L_SHOULDER, R_SHOULDER]].mean(0) - points[HIP]))
            off.append(np.hypot(*(points[L_WRIST] - wrist[frame.index])) / trunk)
    assert np.mean(np.array(off) > 0.4) < 0.15  # 0.64 of them as the model gives them
