"""What upright lines of the background say of the camera: drawn walls, and real clips."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from posemamba_live.run.background import Background
from posemamba_live.scene.ground import GroundEvidence, before_evidence, fit_ground
from posemamba_live.scene.pinhole import Pinhole
from posemamba_live.scene.verticals import (
    Upright,
    Verticals,
    camera_of,
    plain,
    steep_lines,
    upright_of,
)
from posemamba_live.sources import open_source
from posemamba_live.types import Frame, Ground, Image, Pose2D

FILMS = Path(__file__).parent.parent / "demo_videos"
SIZE = (1280, 720)
FOV = 60.0


def room(ground: Ground, size: tuple[int, int] = SIZE, fov: float = FOV) -> Image:
    """A wall with seven doors, 6 m away, as a camera sees it."""
    picture = np.full((size[1], size[0], 3), 200, np.uint8)
    camera = Pinhole.from_fov(size, fov)
    for x in np.linspace(-3.0, 3.0, 7):
        corners = np.array([(x, 6, 0.1), (x, 6, 2.2), (x + 0.3, 6, 2.2), (x + 0.3, 6, 0.1)])
        pixels = camera.project(ground.to_camera(corners))
        cv2.fillPoly(picture, [np.round(16 * pixels).astype(np.int32)], (90, 60, 40), 16, 4)
    return picture


def said_of(picture: Image, fov: float = FOV) -> Upright | None:
    verticals = Verticals(fov)
    verticals(Frame(0, 0.0, picture, 0.0), [])
    return verticals.said


@pytest.mark.parametrize("pitch", [-20.0, -6.0, 0.0, 9.0])
@pytest.mark.parametrize("roll", [-4.0, 0.0, 3.0])
def test_doors_tell_pitch_and_roll(pitch: float, roll: float) -> None:
    said = said_of(room(Ground(math.radians(pitch), math.radians(roll), 1.4)))
    assert said is not None
    assert math.degrees(said.pitch) == pytest.approx(pitch, abs=0.8)
    assert math.degrees(said.roll) == pytest.approx(roll, abs=0.4)


def test_pictures_of_any_size_and_shape_tell_the_same() -> None:
    ground = Ground(math.radians(-7.0), math.radians(1.0), 1.4)
    for size in ((640, 360), (1920, 1080), (720, 1280)):
        said = said_of(room(ground, size))
        assert said is not None, size
        assert math.degrees(said.pitch) == pytest.approx(-7.0, abs=1.0), size


def test_a_bare_wall_noise_and_a_grid_seen_askew_tell_nothing() -> None:
    rng = np.random.default_rng(1)
    assert said_of(np.full((360, 640, 3), 127, np.uint8)) is None
    assert said_of(rng.integers(0, 255, (360, 640, 3), np.uint8)) is None
    leaning = np.full((360, 640, 3), 200, np.uint8)
    for x, y in rng.uniform(0, 1, (60, 2)) * (640, 360):
        lean = rng.uniform(-0.6, 0.6)
        end = (round(x + 60 * math.sin(lean)), round(y + 60 * math.cos(lean)))
        cv2.line(leaning, (round(x), round(y)), end, (0, 0, 0), 3)
    assert said_of(leaning) is None
    assert camera_of([np.empty((0, 4))], SIZE, FOV) is None


def test_lines_of_people_are_not_asked() -> None:
    picture = room(Ground(0.0, 0.0, 1.4))
    everywhere = np.array([(0.0, 0.0)] * 16 + [SIZE], np.float32)
    pose = Pose2D(0, 0.0, 0, everywhere, np.ones(17, np.float32), SIZE)
    assert len(steep_lines(picture))
    assert not len(steep_lines(picture, [pose]))


@pytest.mark.parametrize(("clip", "pitch"), [("walk_turn", -2.7), ("arm_signals", -3.6)])
def test_demo_clips(clip: str, pitch: float) -> None:
    """As a lens of 60 degrees sees them: theirs have 42 and 40."""
    verticals = Verticals(FOV)
    with open_source(str(FILMS / f"{clip}.mp4"), max_frames=1) as source:
        for frame in source:
            verticals(frame, [])
    assert verticals.said is not None
    assert math.degrees(verticals.said.pitch) == pytest.approx(pitch, abs=1.0)
    assert math.degrees(verticals.said.roll) == pytest.approx(0.0, abs=0.5)


def test_it_looks_ever_more_seldom_and_anew_at_other_pictures() -> None:
    first, other = Ground(-0.1, 0.0, 1.4), Ground(0.1, 0.0, 1.4)
    pictures = {True: room(first, (640, 360)), False: room(other, (320, 180))}
    verticals, looked = Verticals(FOV), []
    for index in range(0, 60 * 10, 2):
        frame = Frame(index, 0.1 * index, pictures[index < 400], 0.0)
        if verticals.due(frame):
            looked.append(frame.timestamp)
        verticals(frame, [])
    assert looked[:5] == pytest.approx([0.0, 1.0, 3.0, 7.0, 15.0], abs=0.25)
    assert verticals.said is not None
    assert verticals.said.pitch == pytest.approx(0.1, abs=0.03)


def test_what_is_said_comes_back_from_json() -> None:
    said = said_of(room(Ground(-0.1, 0.02, 1.4)))
    assert said is not None
    assert upright_of(json.loads(json.dumps(plain(said)))) == said
    assert upright_of(json.loads(json.dumps(plain(None)))) is None


@pytest.mark.parametrize(
    "said",
    [
        3,
        {},
        {"pitch": 0.0},
        plain(Upright(math.nan, 0.0, 1.0, 1.0, 0.0)),
        plain(Upright(3.0, 0.0, 1.0, 1.0, 0.0)),
        plain(Upright(0.0, 0.0, 1.0, 1.0, 5.0)),
    ],
)
def test_nonsense_is_refused(said: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        upright_of(said)


def leaning(angle: float, count: int = 20) -> GroundEvidence:
    """Of people who stand before a level camera and lean away from it by an angle."""
    up = np.array([0.0, -math.cos(angle), math.sin(angle)])
    feet = np.zeros((count, 13, 3))
    return GroundEvidence(
        np.tile(up, (count, 1)),
        np.ones(count),
        feet + np.array([0.0, 0.9, 0.0]),
        np.tile([0.0, 0.6, 4.0], (count, 1)),
        np.ones((count, 13)),
    )


def test_the_background_is_believed_rather_than_people_who_lean() -> None:
    lines = Upright(0.0, 0.0, 1.0 / math.radians(1.3) ** 2, 1.0 / math.radians(0.6) ** 2, 0.0)
    alone = fit_ground(leaning(math.radians(-7.0)))
    both = fit_ground(leaning(math.radians(-7.0)), upright=lines)
    assert abs(both.ground.pitch) < 0.5 * abs(alone.ground.pitch)
    told = fit_ground(leaning(math.radians(-7.0)), pitch=math.radians(-5.0), upright=lines)
    assert told.ground.pitch == pytest.approx(math.radians(-5.0), abs=math.radians(0.1))
    assert before_evidence(None, lines).ground.pitch == 0.0
    assert before_evidence(0.2, lines).ground.pitch == 0.2


def test_lines_that_no_upright_person_agrees_with_are_not_believed() -> None:
    sure = 1.0 / math.radians(1.0) ** 2
    fitted = fit_ground(leaning(math.radians(-3.0)), upright=Upright(0.7, 0.0, sure, sure, 0.0))
    assert abs(fitted.ground.pitch) < math.radians(10.0)


def test_live_only_the_first_look_is_waited_for() -> None:
    picture = room(Ground(-0.1, 0.0, 1.4))
    background = Background(FOV, live=True)
    background(Frame(0, 0.0, picture, 0.0), [])
    first = background.said
    assert first is not None
    background(Frame(30, 1.1, room(Ground(-0.05, 0.0, 1.4)), 0.0), [])
    deadline = time.monotonic() + 10.0
    while background.said is first and time.monotonic() < deadline:
        time.sleep(0.01)
    assert background.said is not first
    background.give_up()
    assert background.said is None
    background(Frame(300, 10.0, picture, 0.0), [])
    assert background.said is None


def test_a_picture_that_cannot_be_looked_at_stops_nothing() -> None:
    background = Background(FOV, live=False)
    background(Frame(0, 0.0, np.zeros((0, 0, 3), np.uint8), 0.0), [])
    assert background.said is None
