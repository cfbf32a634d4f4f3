"""The real window under a virtual X server, driven by real key and mouse events."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from posemamba.checkpoint import Checkpoint
from posemamba_live.detectors.base import OneStage
from posemamba_live.drawing.colours import PALETTE, person_colors
from posemamba_live.errors import SinkError
from posemamba_live.lifting.factory import lifter_factory
from posemamba_live.plan import plan_lifting
from posemamba_live.run.outputs import Outputs
from posemamba_live.run.pipeline import Run
from posemamba_live.run.statistics import RunStats
from posemamba_live.run.watch import Watch
from posemamba_live.types import Frame, Image, Pose2D, Pose3D
from posemamba_live.viewer.display import display_available
from posemamba_live.viewer.hud import HudInfo, Panel, ViewInfo, panel_width, picture_place
from posemamba_live.viewer.keys import KEY_BINDINGS, PIPELINE_ACTIONS, Action
from posemamba_live.viewer.viewer import Viewer
from tests.test_pipeline import Film, Finder, Tape, outputs, plan

DEMO: Final = Path(__file__).parents[1] / "demo_videos"
SIZE: Final = (640, 360)


@dataclass(frozen=True)
class Clip:
    """A demo clip with its true poses in place of an estimate."""

    frames: list[Image]
    truth: dict[str, NDArray[np.float64]]

    def frame(self, index: int) -> Frame:
        return Frame(index, index / 30.0, self.frames[index], time.monotonic())

    def pose(self, index: int, person: int = 0, *, aside: float = 0.0, predicted: bool = False,
             ) -> Pose3D:  # fmt: skip
        keypoints = self.truth["joints_2d"][index].astype(np.float32)
        pose2d = Pose2D(
            index, index / 30.0, person, keypoints, np.ones(17, np.float32), SIZE, predicted
        )
        joints = self.truth["joints_camera"][index].astype(np.float32)
        world = self.truth["joints_world"][index].astype(np.float32)
        world[:, 0] += aside
        return Pose3D(pose2d, joints - joints[0], joints[0], world, 0)


@pytest.fixture(scope="module")
def clip() -> Clip:
    video = cv2.VideoCapture(str(DEMO / "walk_turn.mp4"))
    frames = [np.asarray(video.read()[1], np.uint8) for _ in range(120)]
    with np.load(DEMO / "walk_turn_gt.npz") as data:
        truth = {key: data[key] for key in ("joints_2d", "joints_camera", "joints_world")}
    return Clip(frames, truth)


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    """A virtual X server of our own: events sent to it can't reach anybody's desktop."""
    server = shutil.which("Xvfb")
    if server is None:
        pytest.skip("Xvfb is not installed")
    read_end, write_end = os.pipe()
    # Without -noreset the server starts anew whenever its last window closes, and the next
    # one may meet it in the middle of that.
    command = [server, "-displayfd", str(write_end), "-screen", "0", "1400x900x24", "-noreset"]
    process = subprocess.Popen(command, pass_fds=[write_end], stderr=subprocess.DEVNULL)
    os.close(write_end)
    with os.fdopen(read_end) as answer:
        number = answer.readline().strip()
    assert number, "Xvfb did not start"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DISPLAY", f":{number}")
        patch.delenv("WAYLAND_DISPLAY", raising=False)
        yield f":{number}"
    process.terminate()
    process.wait(timeout=10)


@pytest.fixture
def viewer(display: str) -> Iterator[Viewer]:
    window = Viewer("test window", SIZE)
    yield window
    window.close()


@pytest.fixture
def xdo(display: str) -> Callable[..., None]:
    """Sends real input events, with the pointer over the window so that it gets the keys."""
    tool = shutil.which("xdotool")
    if tool is None:
        pytest.skip("xdotool is not installed")

    def send(*arguments: object) -> None:
        subprocess.run([tool, *map(str, arguments)], check=True, timeout=20)

    send("mousemove", 450, 200)
    return send


def refresh(viewer: Viewer) -> None:
    """Poll until input has been handled and everything is on the screen."""
    deadline = time.monotonic() + 20.0
    for _ in range(3):
        viewer.poll()
        time.sleep(0.02)
    while viewer.pending:
        assert time.monotonic() < deadline, "the window never gets up to date"
        viewer.poll()
        time.sleep(0.002)


def picture(viewer: Viewer, folder: Path) -> NDArray[np.int16]:
    """What the window shows, RGB."""
    path = folder / "shot.png"
    viewer.screenshot(path)
    image = cv2.imread(str(path))
    path.unlink()
    return np.asarray(image[..., ::-1], dtype=np.int16)


def scene(shown: NDArray[np.int16]) -> NDArray[np.int16]:
    """The part of the window beside the panel."""
    return shown[:, panel_width(len(shown)) + 2 :]


def where(
    shown: NDArray[np.int16], color: tuple[float, float, float], darkest: float = 90.0
) -> NDArray[np.bool_]:
    """Pixels of this hue, whatever their brightness above `darkest`."""
    hue = np.array(color) / np.linalg.norm(color)
    length = np.linalg.norm(shown, axis=-1)
    return np.asarray((shown @ hue > 0.99 * length) & (length > darkest))


def difference(a: NDArray[np.int16], b: NDArray[np.int16]) -> float:
    return float(np.abs(a - b).mean())


def test_the_window_shows_a_person_in_left_and_right_colours(
    viewer: Viewer, clip: Clip, tmp_path: Path
) -> None:
    viewer.show(clip.frame(60), [], HudInfo())
    refresh(viewer)
    empty = scene(picture(viewer, tmp_path))
    viewer.show(clip.frame(60), [clip.pose(60)], HudInfo())
    refresh(viewer)
    shown = scene(picture(viewer, tmp_path))
    colors = person_colors(0)
    for color in (colors.left, colors.right):
        assert not where(empty, color).any()
        assert where(shown, color).sum() > 800
    rows, columns = np.nonzero(where(shown, colors.left) | where(shown, colors.right))
    assert np.ptp(rows) > 0.45 * SIZE[1], "the person fills the height"
    middle = shown.shape[1] / 2
    assert abs(np.median(columns) - middle) < 0.15 * shown.shape[1], "and stands in the middle"


def test_several_people_have_their_own_colours_and_ghosts_are_faint(
    viewer: Viewer, clip: Clip, tmp_path: Path
) -> None:
    seen = [clip.pose(60, 0), clip.pose(60, 1, aside=0.9)]
    viewer.show(clip.frame(60), seen, HudInfo())
    both = scene(picture(viewer, tmp_path))
    assert where(both, PALETTE[0].left).sum() > 500
    assert where(both, PALETTE[1].left).sum() > 500
    ghost = [clip.pose(60, 0), clip.pose(60, 1, aside=0.9, predicted=True)]
    viewer.show(clip.frame(60), ghost, HudInfo())
    faint = scene(picture(viewer, tmp_path))
    assert where(faint, PALETTE[0].left).sum() > 500
    assert not where(faint, PALETTE[1].left).any()
    assert difference(faint, both) > 0.2


def test_the_panel_is_on_its_pixels_exactly(viewer: Viewer, clip: Clip, tmp_path: Path) -> None:
    hud = HudInfo(fps=29.6, age_ms=41.0, dropped=7, status="camera lost", recording=True)
    viewer.show(clip.frame(60), [clip.pose(60)], hud)
    shown = picture(viewer, tmp_path)
    panel = Panel().paint(SIZE[1], clip.frame(60), [clip.pose(60)], hud, ViewInfo())
    np.testing.assert_allclose(shown[:, : panel.shape[1]], panel.astype(np.int16), atol=2)


def test_the_camera_picture_in_the_panel_keeps_its_shape(clip: Clip) -> None:
    red = np.zeros((400, 200, 3), np.uint8)
    red[..., 2] = 255
    panel = Panel().paint(720, Frame(0, 0.0, red, 0.0), [], HudInfo(), ViewInfo())
    rows, columns = np.nonzero((panel[..., 0] > 250) & (panel[..., 1] < 5))
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    assert height / width == pytest.approx(2.0, abs=0.03)


def test_the_panel_mirrors_the_camera_picture() -> None:
    image = np.zeros((90, 160, 3), np.uint8)
    image[:, :80] = 255
    frame = Frame(0, 0.0, image, 0.0)
    plain = Panel().paint(720, frame, [], HudInfo(), ViewInfo())
    mirrored = Panel().paint(720, frame, [], HudInfo(), ViewInfo(mirror=True))
    row, left, right = 170, 60, panel_width(720) - 60
    assert plain[row, left].min() == 255
    assert plain[row, right].max() == 0
    assert mirrored[row, left].max() == 0
    assert mirrored[row, right].min() == 255


def test_text_that_does_not_fit_stays_in_the_panel() -> None:
    long = HudInfo(status="x" * 300, title="weights " * 40, age_ms=123456.0, dropped=10**6)
    for height in (200, 720, 1440):
        panel = Panel().paint(height, None, [], long, ViewInfo(notice="saved"))
        assert panel.shape == (height, panel_width(height), 3)


def test_keys_that_the_pipeline_answers_are_handed_on(
    viewer: Viewer, xdo: Callable[..., None]
) -> None:
    refresh(viewer)
    xdo("key", "space", "Left", "Right", "Home", "r", "x", "s", "n")
    refresh(viewer)
    expected = [Action.PAUSE, Action.BACK, Action.ONWARD, Action.AGAIN]
    expected += [Action.RECORD, Action.EXPORT, Action.SCREENSHOT, Action.NEXT]
    assert viewer.take_actions() == expected
    assert viewer.take_actions() == []
    assert set(expected) == PIPELINE_ACTIONS


@pytest.mark.parametrize("mirror", [False, True])
def test_a_click_in_the_camera_picture_chooses_a_place_in_it(
    mirror: bool, viewer: Viewer, clip: Clip, xdo: Callable[..., None]
) -> None:
    xdo("search", "--name", "test window", "windowmove", 30, 40)
    viewer.show(clip.frame(60), [clip.pose(60)], HudInfo())
    if mirror:
        xdo("key", "m")
    refresh(viewer)
    left, top, width, tall = picture_place(SIZE[1], SIZE)
    found = subprocess.run(
        ["xdotool", "search", "--name", "test window"], capture_output=True, text=True, check=True
    )
    window = found.stdout.split()[-1]

    def press(x: float, y: float, *then: object) -> None:
        xdo("mousemove", "--window", window, round(left + x * width), round(top + y * tall))
        refresh(viewer)
        xdo("mousedown", 1, *then, "mouseup", 1)
        refresh(viewer)

    press(0.25, 0.8)
    choice = viewer.take_choice()
    assert choice == pytest.approx((0.75 if mirror else 0.25, 0.8), abs=0.02)
    assert viewer.take_choice() is None
    press(0.25, 0.8, "mousemove_relative", 25, 0)
    assert viewer.take_choice() is None, "a drag is no click"
    press(0.5, 1.3)
    assert viewer.take_choice() is None, "below the picture"
    assert viewer.take_actions() == []


def test_with_more_than_one_person_the_picture_has_their_numbers(clip: Clip) -> None:
    frame, pair = clip.frame(60), [clip.pose(60, 0), clip.pose(60, 5, aside=0.9)]
    alone = Panel().paint(720, frame, pair[:1], HudInfo(), ViewInfo())
    left, top, width, tall = picture_place(720, frame.size)
    for mirror in (False, True):
        view = ViewInfo(mirror=mirror)
        both = Panel().paint(720, frame, pair, HudInfo(), view)
        x = pair[0].pose2d.keypoints[10, 0] / SIZE[0] * width
        x = round(left + (width - x if mirror else x))
        y = round(top + pair[0].pose2d.keypoints[10, 1] / SIZE[1] * tall)
        above = slice(y - 24, y - 6), slice(x - 12, x + 12)
        plain = Panel().paint(720, frame, pair[:1], HudInfo(), view)
        assert np.abs(both[above].astype(int) - plain[above]).max() > 100
    assert alone.shape == both.shape


@pytest.mark.parametrize("key", ["v", "t", "g", "m", "h"])
def test_keys_of_the_window_change_what_is_seen(
    key: str, viewer: Viewer, clip: Clip, xdo: Callable[..., None], tmp_path: Path
) -> None:
    for index in range(30, 61, 5):
        viewer.show(clip.frame(index), [clip.pose(index)], HudInfo())
        refresh(viewer)
    before = picture(viewer, tmp_path)
    xdo("key", key)
    refresh(viewer)
    for index in range(65, 80, 5):  # a trail needs new poses after the key to grow
        viewer.show(clip.frame(index), [clip.pose(index)], HudInfo())
    viewer.show(clip.frame(60), [clip.pose(60)], HudInfo())
    refresh(viewer)
    assert difference(picture(viewer, tmp_path), before) > 0.05
    assert viewer.take_actions() == []
    assert viewer.mirror is (key == "m")


def test_the_mirror_view_is_the_view_flipped(
    viewer: Viewer, clip: Clip, xdo: Callable[..., None], tmp_path: Path
) -> None:
    viewer.show(clip.frame(60), [clip.pose(60)], HudInfo())
    refresh(viewer)
    xdo("mousedown", 1, "mousemove_relative", 50, 0, "mouseup", 1)
    refresh(viewer)
    plain = scene(picture(viewer, tmp_path))
    xdo("key", "m")
    refresh(viewer)
    mirrored = scene(picture(viewer, tmp_path))
    for color in (person_colors(0).left, person_colors(0).right):
        there = np.array(np.nonzero(where(mirrored, color, 45.0)))
        flipped = np.array(np.nonzero(where(plain, color, 45.0)[:, ::-1]))
        # The light stays where it is: compare outlines, not every pixel.
        np.testing.assert_allclose(there.min(axis=1), flipped.min(axis=1), atol=8)
        np.testing.assert_allclose(there.max(axis=1), flipped.max(axis=1), atol=8)


def test_views_cycle_and_come_back(
    viewer: Viewer, clip: Clip, xdo: Callable[..., None], tmp_path: Path
) -> None:
    viewer.show(clip.frame(60), [clip.pose(60)], HudInfo())
    shots = []
    for _ in range(5):
        refresh(viewer)
        shots.append(scene(picture(viewer, tmp_path)))
        xdo("key", "v")
    for i in range(4):
        for j in range(i):
            assert difference(shots[i], shots[j]) > 0.5, f"views {j} and {i} look the same"
    assert difference(shots[4], shots[0]) < 0.05


def test_the_camera_view_has_left_and_right_where_the_picture_has_them(
    viewer: Viewer, clip: Clip, xdo: Callable[..., None], tmp_path: Path
) -> None:
    index = 100
    viewer.show(clip.frame(index), [clip.pose(index)], HudInfo())
    refresh(viewer)
    xdo("key", "v", "v", "v")
    refresh(viewer)
    shown = scene(picture(viewer, tmp_path))
    colors = person_colors(0)
    keypoints = clip.truth["joints_2d"][index]
    seen = [np.mean(np.nonzero(where(shown, c)), axis=1)[::-1] for c in (colors.left, colors.right)]
    true = [
        keypoints[[4, 5, 6, 11, 12, 13]].mean(axis=0),
        keypoints[[1, 2, 3, 14, 15, 16]].mean(axis=0),
    ]
    assert np.sign(seen[0][0] - seen[1][0]) == np.sign(true[0][0] - true[1][0])


def test_pinned_people_stay_and_free_ones_walk(
    viewer: Viewer, clip: Clip, xdo: Callable[..., None], tmp_path: Path
) -> None:
    def centre(index: int) -> float:
        viewer.show(clip.frame(index), [clip.pose(index)], HudInfo())
        refresh(viewer)
        shown = scene(picture(viewer, tmp_path))
        colors = person_colors(0)
        person = where(shown, colors.left) | where(shown, colors.right)
        return float(np.nonzero(person)[1].mean())

    walked = abs(np.subtract(*clip.truth["joints_world"][[40, 60], 0, 0]))
    assert walked > 0.3, "the clip has somebody walking sideways"
    xdo("mousemove", 450, 200)
    centre(40)
    xdo("key", "f")  # follow -> pinned
    refresh(viewer)
    assert abs(centre(60) - centre(40)) < 12
    xdo("key", "f")  # pinned -> free
    refresh(viewer)
    assert abs(centre(60) - centre(40)) > 25


def test_the_mouse_orbits_pans_and_zooms(
    viewer: Viewer, clip: Clip, xdo: Callable[..., None], tmp_path: Path
) -> None:
    viewer.show(clip.frame(60), [clip.pose(60)], HudInfo())
    refresh(viewer)
    last = scene(picture(viewer, tmp_path))
    for gesture in (
        ("mousedown", 1, "mousemove_relative", 60, 10, "mouseup", 1),
        ("mousedown", 3, "mousemove_relative", "--", -40, 15, "mouseup", 3),
        ("click", 4, "click", 4),
    ):
        xdo(*gesture)
        refresh(viewer)
        shown = scene(picture(viewer, tmp_path))
        assert difference(shown, last) > 0.3, f"{gesture} changed nothing"
        last = shown
    xdo("mousemove_relative", 30, 30)
    refresh(viewer)
    shown = scene(picture(viewer, tmp_path))
    assert difference(shown, last) < 0.02, "moving without a button turns nothing"


@pytest.mark.parametrize("key", ["q", "Escape"])
def test_quit_keys_end_the_loop(viewer: Viewer, xdo: Callable[..., None], key: str) -> None:
    refresh(viewer)
    assert viewer.poll()
    xdo("key", key)
    time.sleep(0.1)
    assert not viewer.poll()


def test_open3d_keys_neither_write_files_nor_change_the_picture(
    viewer: Viewer,
    clip: Clip,
    xdo: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    ours = {key for binding in KEY_BINDINGS for key in binding.keys.lower().split(", ")}
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1) if chr(c) not in ours]
    others = [*"0123456789", "Print", "bracketleft", "bracketright", "minus", "equal", "F1"]
    chords = ["ctrl+c", "ctrl+v", "ctrl+r", "ctrl+q", "ctrl+0", "ctrl+9", "shift+4", "alt+Return"]
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    viewer.show(clip.frame(60), [clip.pose(60)], HudInfo())
    refresh(viewer)
    before = picture(viewer, tmp_path)
    for key in [*letters, *others, *chords]:
        xdo("key", key)
        viewer.poll()
    refresh(viewer)
    assert viewer.poll(), "one of them closed the window"
    assert viewer.take_actions() == []
    assert list(here.iterdir()) == []
    assert difference(picture(viewer, tmp_path), before) < 0.02
    assert capfd.readouterr().out == ""


def test_a_resized_window_is_laid_out_anew(
    viewer: Viewer, clip: Clip, xdo: Callable[..., None], tmp_path: Path
) -> None:
    viewer.show(clip.frame(60), [clip.pose(60)], HudInfo())
    refresh(viewer)
    xdo("search", "--name", "test window", "windowsize", 901, 500)
    for _ in range(3):
        refresh(viewer)
        time.sleep(0.05)
    shown = picture(viewer, tmp_path)
    assert shown.shape == (500, 901, 3)
    panel = Panel().paint(500, clip.frame(60), [clip.pose(60)], HudInfo(), ViewInfo())
    np.testing.assert_allclose(shown[:, : panel.shape[1]], panel.astype(np.int16), atol=2)
    assert where(scene(shown), person_colors(0).left).sum() > 800


@pytest.mark.parametrize("small", [(300, 1), (300, 2), (300, 17), (17, 300), (1, 1)])
def test_a_window_without_room_waits_for_some(
    viewer: Viewer,
    clip: Clip,
    xdo: Callable[..., None],
    tmp_path: Path,
    small: tuple[int, int],
) -> None:
    def resize(width: int, height: int) -> None:
        xdo("search", "--name", "test window", "windowsize", width, height)
        for _ in range(10):
            viewer.show(clip.frame(60), [clip.pose(60)], HudInfo())
            assert viewer.poll()
            time.sleep(0.02)

    resize(*small)
    assert viewer._canvas.size == small
    if min(small) < 16:
        with pytest.raises(SinkError, match="minimised"):
            viewer.screenshot(tmp_path / "small.png")
        assert not (tmp_path / "small.png").exists()
    resize(901, 500)
    refresh(viewer)
    assert where(scene(picture(viewer, tmp_path)), person_colors(0).left).sum() > 800


def test_memory_does_not_grow(viewer: Viewer, clip: Clip) -> None:
    def resident_mb() -> float:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc")

    def run(count: int) -> None:
        for i in range(count):
            index = i % len(clip.frames)
            poses = [clip.pose(index, person) for person in range(i // 50 % 3)]
            viewer.show(clip.frame(index), poses, HudInfo(fps=i, dropped=i))
            viewer._next_draw = 0.0  # draw every one of them, however slow the machine
            assert viewer.poll()

    run(120)
    before = resident_mb()
    run(500)
    assert resident_mb() - before < 15.0


def test_drawing_leaves_time_to_others(viewer: Viewer, clip: Clip) -> None:
    """However fast poses come, a draw is followed by a pause of twice its own length."""
    drawn = 0
    for i in range(200):
        viewer.show(clip.frame(i % 100), [clip.pose(i % 100)], HudInfo())
        assert viewer.pending
        viewer.poll()
        drawn += not viewer.pending
    assert 0 < drawn < 100


def test_a_screenshot_shows_the_figures_of_one_moment(
    viewer: Viewer, clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the pictures it is averaged from, none may have a panel of its own."""
    viewer.show(clip.frame(10), [clip.pose(10)], HudInfo(fps=11.0))
    refresh(viewer)
    painted = []
    paint = viewer._panel.paint

    def counted(*arguments: Any) -> Any:
        painted.append(arguments)
        return paint(*arguments)

    monkeypatch.setattr(viewer._panel, "paint", counted)
    before = picture(viewer, tmp_path)
    assert len(painted) == 1
    assert difference(before, picture(viewer, tmp_path)) < 0.05


def test_screenshots_fail_with_the_path_and_the_cause(viewer: Viewer, tmp_path: Path) -> None:
    target = tmp_path / "missing" / "shot.png"
    with pytest.raises(SinkError, match="cannot write") as caught:
        viewer.screenshot(target)
    assert str(target) in caught.value.what
    assert caught.value.why


def test_a_closed_window_stays_closed(display: str) -> None:
    window = Viewer("short", (320, 180))
    window.close()
    window.close()
    assert window.poll() is False


@pytest.mark.parametrize("name", ["", ":65123", "127.0.0.1:47", "nonsense", "localhost:999999"])
def test_without_a_display_the_message_tells_the_way_out(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("DISPLAY", name)
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-that-is-not-there")
    assert not display_available()
    with pytest.raises(SinkError, match="no window") as caught:
        Viewer("nowhere")
    assert "--headless" in caught.value.hint
    assert "DISPLAY" in caught.value.why


def test_a_display_is_found(display: str) -> None:
    assert display_available()


def test_a_display_that_refuses_us_is_a_message_too(tmp_path: Path) -> None:
    """In a process of its own, because GLFW holds on to the first display that it finds."""
    code = (
        "import posemamba_live.viewer.viewer as v; v.display_available = lambda: True; "
        "v.Viewer('nowhere')"
    )
    environment = {k: v for k, v in os.environ.items() if k != "WAYLAND_DISPLAY"}
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=environment | {"DISPLAY": ":65123"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 1
    assert "SinkError: no window can be opened" in result.stderr
    assert "--headless" in result.stderr
    assert "GLFW" not in result.stdout + result.stderr


def test_every_action_has_a_key_and_every_key_one_action() -> None:
    assert {binding.action for binding in KEY_BINDINGS} == set(Action)
    codes = [code for binding in KEY_BINDINGS for code in binding.codes]
    assert len(codes) == len(set(codes))


# -- a film that is only watched -----------------------------------------------------------------


def test_a_watched_film_stays_steps_and_plays_again(
    viewer: Viewer, xdo: Callable[..., None], tiny_checkpoint: Checkpoint
) -> None:
    film = Film(24, fps=60.0)
    out = Outputs([], None, lambda path: Tape(), {"fps": 60.0, "image_size": film.size})
    made = plan(film, out)
    lifting = plan_lifting(tiny_checkpoint.meta, live=False, fps=60.0, fov_deg=60.0)
    watch = Watch(viewer, made, stays=True)
    run = Run(
        made, film, OneStage("finder", Finder()), lifter_factory(tiny_checkpoint, lifting), out,
        RunStats("cpu", "test"), screen=watch.screen,
    )  # fmt: skip

    def shown() -> int:
        assert viewer._frame is not None
        return viewer._frame.index

    def user() -> Iterator[None]:
        while not viewer._hud.ended:
            yield
        assert shown() == 23, "it stays open at its end"
        for key, expected in (("Left", 22), ("Left", 21), ("Right", 22)):
            xdo("key", key)
            while shown() != expected:
                yield
            assert viewer._hud.paused
        xdo("key", "Home")
        while shown() >= 20:
            yield
        while not viewer._hud.ended:  # it plays to its end again
            yield
        xdo("key", "Home")
        while shown() >= 10:
            yield
        xdo("key", "space")
        while not viewer._hud.paused:
            yield
        held = shown()
        for _ in range(20):
            yield
        assert shown() == held
        xdo("key", "q")
        while True:
            yield

    acts, deadline = user(), time.monotonic() + 60.0

    def each(run: Run) -> None:
        assert time.monotonic() < deadline, "the user waits in vain"
        watch(run)
        next(acts)

    result = run.run(each)
    assert (result.errors, result.frames, result.interrupted) == ((), 24, False)


def test_a_film_with_files_closes_at_its_end(
    viewer: Viewer, tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    film = Film(12, fps=60.0)
    made = plan(film, out := outputs(tmp_path))
    lifting = plan_lifting(tiny_checkpoint.meta, live=False, fps=60.0, fov_deg=60.0)
    watch = Watch(viewer, made, stays=True)  # not even when asked to
    run = Run(
        made, film, OneStage("finder", Finder()), lifter_factory(tiny_checkpoint, lifting), out,
        RunStats("cpu", "test"), screen=watch.screen,
    )  # fmt: skip
    assert run.run(watch).errors == ()
    assert (tmp_path / "poses.npz").exists()


def test_hidden_help_leaves_no_empty_panel(
    viewer: Viewer, xdo: Callable[..., None], tmp_path: Path
) -> None:
    xdo("key", "g")  # the floor's colour is close to the panel's
    refresh(viewer)
    full = picture(viewer, tmp_path)
    viewer.end_introduction()
    refresh(viewer)
    short = picture(viewer, tmp_path)
    corner = slice(-60, -10), slice(10, panel_width(len(full)) - 10)
    panel = np.round(255 * np.array([0.105, 0.118, 0.150]))
    assert (np.abs(full[corner] - panel).max(axis=2) <= 2).mean() > 0.5
    assert (np.abs(short[corner] - panel).max(axis=2) <= 2).mean() < 0.1, "the room shows there"
    xdo("key", "h")
    refresh(viewer)
    assert difference(picture(viewer, tmp_path), full) < 1.0
    viewer.end_introduction()
    refresh(viewer)
    assert difference(picture(viewer, tmp_path), full) < 1.0, "whoever asked for it keeps it"
