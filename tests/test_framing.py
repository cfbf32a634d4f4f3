"""The view of the room: nobody's joints leave the panel, and what is not seen is shown as that."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageDraw

from posemamba_live.drawing.colours import PALETTE
from posemamba_live.drawing.figure import SkeletonRenderer
from posemamba_live.drawing.limbs import BASE, POINTS, RADII, outlines
from posemamba_live.drawing.overlay import SUBPIXEL_BITS, draw_overlay, fixed_point
from posemamba_live.drawing.text import _font, fitted, put_text, text_width
from posemamba_live.keypoints import UNSEEN_S, Sights, marked
from posemamba_live.options import UnseenName
from posemamba_live.sinks.recorder import Composer
from posemamba_live.types import Frame, Image, Pose2D, Pose3D

SIDE = 240
LEGS = [2, 3, 5, 6]
BODY = np.array(
    [[0, 0, .95], [-.13, 0, .95], [-.14, 0, .5], [-.14, .02, .09], [.13, 0, .95], [.14, 0, .5],
     [.14, .02, .09], [0, 0, 1.2], [0, 0, 1.45], [0, -.1, 1.6], [0, 0, 1.74], [.17, 0, 1.42],
     [.2, 0, 1.13], [.2, -.1, .9], [-.17, 0, 1.42], [-.2, 0, 1.13], [-.2, -.1, .9]]
)  # fmt: skip
"""(17, 3) metres: somebody who stands at the origin."""
THERE = BODY + np.array([0.0, 3.0, 0.0])


def pose(
    index: int, world: np.ndarray, *, person: int = 0, scores: np.ndarray | None = None
) -> Pose3D:
    flat = Pose2D(
        index, index / 30.0, person, np.full((17, 2), 100, np.float32),
        np.full(17, 0.9, np.float32) if scores is None else scores.astype(np.float32), (640, 360),
    )  # fmt: skip
    placed = world.astype(np.float32)
    return Pose3D(flat, placed - placed[0], np.array([0, 0, 4], np.float32), placed, 0)


def motion(kind: str) -> list[list[Pose3D]]:
    """Five seconds at 30 frames a second."""
    frames = []
    for i in range(150):
        at, more = np.array([0.0, 3.0, 0.0]), []
        body = BODY.copy()
        if kind == "runs":
            at += [0.0 if i < 60 else 0.2 * (i - 60), 0.0, 0.0]
        elif kind == "jumps":
            at += [0.0, 0.0, max(0.0, 0.9 * np.sin(i / 6.0))]
            body[[13, 16], 2] = 2.3
        elif kind == "floats":
            at += [0.0, 0.0, -1.5 if i < 40 else 2.0]
        elif kind == "lies":
            body = BODY[:, [2, 1, 0]]
        elif kind == "two":
            if 30 <= i < 120:
                more = [pose(i, BODY + np.array([6.0, 9.0, 0.0]), person=1)]
        elif kind == "teleports":
            at += [5.0 * (i // 50), 4.0 * (i // 75), 0.0]
        frames.append([pose(i, body + at), *more])
    return frames


@pytest.mark.parametrize("known", [True, False], ids=["planned", "following"])
@pytest.mark.parametrize("kind", ["runs", "jumps", "floats", "lies", "two", "teleports"])
def test_every_joint_stays_in_the_panel(kind: str, known: bool) -> None:
    frames = motion(kind)
    take = [one for people in frames for one in people]
    renderer = SkeletonRenderer((SIDE, SIDE), take=take if known else None)
    for people in frames:
        renderer.draw(people, people[0].pose2d.timestamp)
        for one in people:
            pixels, depth = renderer.project(one.joints_world.astype(np.float64))
            assert pixels.min() >= 0.0
            assert pixels.max() <= SIDE
            assert depth.min() > 1.0


def test_a_planned_view_is_smooth_and_near() -> None:
    frames = motion("runs")
    renderer = SkeletonRenderer((SIDE, SIDE), take=[people[0] for people in frames])
    places, heights = [], []
    for people in frames:
        renderer.draw(people, people[0].pose2d.timestamp)
        pixels, _ = renderer.project(people[0].joints_world.astype(np.float64))
        places.append(renderer.project(np.array([6.0, 4.0, 0.0]))[0])
        heights.append(np.ptp(pixels[:, 1]))
    assert np.linalg.norm(np.diff(places, axis=0), axis=1).max() > 0.03 * SIDE, "it runs along"
    assert np.abs(np.diff(places, 2, axis=0)).max() < 0.01 * SIDE, "it starts before the runner"
    assert heights[0] > 0.55 * SIDE, "somebody who stands fills the panel"
    assert np.abs(np.diff(heights)).max() < 0.02 * SIDE


# -- unseen joints ---------------------------------------------------------------------------


def at_a_desk(seen_at: int = -1) -> list[Pose3D]:
    """Ten seconds in which legs are seen in one frame only, if at all."""
    scores = np.full(17, 0.9)
    scores[LEGS] = 0.02
    frames = [pose(i, THERE, scores=scores) for i in range(300)]
    if seen_at >= 0:
        frames[seen_at] = pose(seen_at, THERE)
    return frames


def test_joints_that_nobody_sees_for_seconds_are_unseen() -> None:
    sights = Sights()
    frames = at_a_desk(seen_at=120)
    live = [sights.mark(one).unseen for one in frames]
    whole = [one.unseen for one in marked(frames)]
    around = round(UNSEEN_S * 30)
    for unseen, first in ((live, 120), (whole, 120 - around)):
        rows = np.array(unseen)
        assert np.flatnonzero(rows.any(0)).tolist() == LEGS
        assert not rows[first : 120 + around, LEGS].any()
        assert rows[: first - 1, LEGS].all()
        assert rows[120 + around + 1 :, LEGS].all()
    # A filled-in row is no sight.
    filled = [replace(p, pose2d=replace(p.pose2d, predicted=p.frame_index == 120)) for p in frames]
    assert np.array([one.unseen for one in marked(filled)])[:, LEGS].all()


def coloured(image: Image, rgb: tuple[float, float, float], least: int = 140) -> int:
    """Pixels of this hue that are at least so bright."""
    pixels = image.reshape(-1, 3)[:, ::-1].astype(float)
    hue = np.array(rgb) - np.mean(rgb)
    own = pixels - pixels.mean(1, keepdims=True)
    likeness = own @ hue / (np.linalg.norm(own, axis=1) * np.linalg.norm(hue) + 1e-9)
    return int(((likeness > 0.97) & (pixels.max(1) > least) & (np.ptp(pixels, axis=1) > 50)).sum())


def test_unseen_limbs_are_faint_or_not_there() -> None:
    def drawn(unseen: UnseenName, frames: list[Pose3D]) -> Image:
        renderer = SkeletonRenderer((SIDE, SIDE), unseen=unseen)
        return renderer.draw([marked(frames)[100]], 0.0)

    colors = PALETTE[0]
    whole = [pose(i, THERE) for i in range(300)]
    everything = drawn(UnseenName.FAINT, whole)
    faint, hidden = (drawn(unseen, at_a_desk()) for unseen in UnseenName)
    for color in (colors.left, colors.right):
        assert coloured(faint, color) < 0.7 * coloured(everything, color)
    lower = np.s_[round(0.62 * SIDE) : round(0.82 * SIDE)]
    for color in (colors.left, colors.right):
        assert coloured(faint[lower], color, 70) > 30, "still there"
        assert coloured(hidden[lower], color, 70) == 0, "nothing but floor"


def test_a_trunk_whose_hips_nobody_sees_is_no_wedge_of_its_own() -> None:
    """Head and shoulders at a webcam: these are there, where the trunk goes is a guess."""

    def whites(unseen_joints: list[int], unseen: UnseenName) -> tuple[int, int]:
        """Bright grey pixels about the shoulders, and about the waist."""
        scores = np.full(17, 0.9)
        scores[unseen_joints] = 0.02
        renderer = SkeletonRenderer((SIDE, SIDE), unseen=unseen)
        drawn = renderer.draw([marked([pose(0, THERE, scores=scores)])[0]], 0.0)
        rows = [float(renderer.project(THERE)[0][j, 1]) for j in (14, 7)]
        bright = (drawn.min(-1) > 150) & (np.ptp(drawn, axis=-1) < 40)
        return tuple(int(bright[round(y) - 3 : round(y) + 3].sum()) for y in rows)  # type: ignore[return-value]

    whole = whites([], UnseenName.FAINT)
    lower = [0, 1, 4, 7, *LEGS]
    for unseen in UnseenName:
        shoulders, waist = whites(lower, unseen)
        assert shoulders > 0.7 * whole[0]
        assert waist < 0.1 * whole[1]
    assert whites([0, 4, 7], UnseenName.HIDE)[1] > 0.9 * whole[1], "one hip tells where it goes"


def test_hidden_joints_are_not_drawn_over_the_picture_either() -> None:
    flat = pose(0, BODY).pose2d
    points = np.stack([300 + 200 * BODY[:, 0], 340 - 180 * BODY[:, 2]], 1).astype(np.float32)
    scores = np.full(17, 0.9, np.float32)
    scores[LEGS] = 0.1
    flat = replace(flat, keypoints=points, scores=scores)
    unseen = np.zeros(17, np.bool_)
    unseen[LEGS] = True
    knees = np.s_[210:330, 200:400]
    faint = draw_overlay(np.full((360, 640, 3), 90, np.uint8), [flat])
    hidden = draw_overlay(np.full((360, 640, 3), 90, np.uint8), [flat], hidden=[unseen])
    assert (faint[knees] != 90).any()
    assert (hidden[knees] == 90).all()
    np.testing.assert_array_equal(faint[:170], hidden[:170])


def test_lines_do_not_cover_small_people() -> None:
    def covered(height: float) -> float:
        points = np.stack([320 + height / 1.74 * BODY[:, 0], 300 - height / 1.74 * BODY[:, 2]], 1)
        flat = replace(pose(0, BODY).pose2d, keypoints=points.astype(np.float32))
        image = draw_overlay(np.full((540, 960, 3), 90, np.uint8), [flat])
        return float((image != 90).any(-1).sum()) / (height * height)

    assert covered(60.0) < 0.16, "a third of such a body, about"
    assert covered(60.0) < 2.2 * covered(280.0)


# -- outlines --------------------------------------------------------------------------------


def test_outlines_hold_their_balls_and_no_more() -> None:
    random = np.random.default_rng(3)
    pixels = random.uniform(50.0, 450.0, (20, 2))
    radii = RADII * 300.0
    for polygon, points, sizes in zip(
        outlines(pixels[POINTS], radii, (BASE,))[:, 0], POINTS, radii, strict=True
    ):
        balls = np.zeros((500, 500), np.uint8)
        drawn = balls.copy()
        circle = np.stack([(np.cos(a), np.sin(a)) for a in np.linspace(0, 2 * np.pi, 720)])
        around = pixels[points][:, None] + sizes[:, None, None] * circle
        hull = cv2.convexHull(around.reshape(-1, 2).astype(np.float32))[:, 0]
        cv2.fillConvexPoly(balls, fixed_point(hull), 255, cv2.LINE_AA, SUBPIXEL_BITS)
        cv2.fillConvexPoly(drawn, polygon, 255, cv2.LINE_AA, SUBPIXEL_BITS)
        assert cv2.isContourConvex(polygon) or len(np.unique(polygon, axis=0)) < 4
        edge = cv2.arcLength(hull, closed=True)
        assert np.abs(balls.astype(int) - drawn).sum() / 255.0 < 0.3 * edge, "0.3 pixels off"


# -- text ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [10, 16, 40])
def test_text_is_never_cut(size: int) -> None:
    text = "Größe 1,70 m · тест · αβγ"
    image = np.zeros((120, 900, 3), np.uint8)
    put_text(image, text, (100, 60), size=size)
    inside = int((image > 100).sum())
    columns = np.flatnonzero(image.any((0, 2)))
    assert columns[-1] - columns[0] == pytest.approx(text_width(text, size=size), abs=0.1 * size)
    for origin in ((-50, 60), (880, 60), (100, 2), (100, 130)):
        moved = np.zeros((120, 900, 3), np.uint8)
        put_text(moved, text, origin, size=size)
        assert int((moved > 100).sum()) == inside
    assert text_width(fitted(text, 60.0, size=size), size=size) <= 60.0


@pytest.mark.parametrize("size", [(480, 360), (640, 360), (3840, 2160)])
def test_captions_are_there_and_within_the_panel(size: tuple[int, int]) -> None:
    composer = Composer(size, 29.97)
    people = [pose(0, BODY + np.array([i, 3.0, 0.0]), person=i) for i in range(8)]
    frame = Frame(123_456, 4_115.2, np.zeros((size[1], size[0], 3), np.uint8), 0.0)
    image = composer.compose(frame, people)
    height = image.shape[0]
    plain = SkeletonRenderer((height, height)).draw(people, frame.timestamp)
    room = np.abs(image[:, -height:].astype(int) - plain)
    for rows in (np.s_[: height // 14], np.s_[-height // 14 :]):
        written = room[rows].max(-1) > 50
        lines = np.flatnonzero(written.any(1))
        assert lines[-1] - lines[0] >= height / 60, "legible at a size of 360 lines"
        assert not written[:, :8].any()
        assert not written[:, -8:].any()


@pytest.mark.parametrize("size", [6, 9, 14, 16, 24, 33])
@pytest.mark.parametrize("bold", [False, True])
def test_figures_are_put_together_as_the_font_has_them(size: int, bold: bool) -> None:
    for text in ("12.34 s", "frame 1007", "29.97 fps", "3.7 m away   grid 1 m", "0", "11"):
        image = np.zeros((60, 600, 3), np.uint8)
        put_text(image, text, (10, 40), size=size, color=(1.0, 1.0, 1.0), bold=bold)
        whole = Pillow.new("L", (600, 60))
        ImageDraw.Draw(whole).text((10, 40), text, 255, _font(size, bold), anchor="ls")
        np.testing.assert_array_equal(image[..., 0], np.asarray(whole))
