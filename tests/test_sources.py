"""Files and pictures as sources: real ones, odd ones, broken ones."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from posemamba_live.errors import LiveError, SourceError, UsageError
from posemamba_live.sources import ImageSequence, LiveSource, VideoFile, camera, open_source
from posemamba_live.sources.base import fit
from posemamba_live.sources.video import Clock
from tests.support.mp4_edit import set_pixel_aspect, set_rotation, slow_down

WALK = Path(__file__).parents[1] / "demo_videos" / "walk_turn.mp4"


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """60 frames, 320x180, 30 fps; frame i is numbered. The file's index is at its end."""
    path = tmp_path_factory.mktemp("clip") / "numbered.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 30.0, (320, 180))
    for index in range(60):
        writer.write(numbered(index, (320, 180)))
    writer.release()
    return path


def numbered(index: int, size: tuple[int, int]) -> np.ndarray:
    """A dark picture with a bright bar whose place tells the number, 0 to 63."""
    image = np.full((size[1], size[0], 3), 30, np.uint8)
    step = size[0] // 64
    image[:, index * step : (index + 1) * step] = 220
    return image


def number(image: np.ndarray) -> int:
    step = image.shape[1] // 64
    return int(image[:, : 64 * step].mean((0, 2)).reshape(64, step).mean(1).argmax())


def test_a_video_gives_every_frame_in_order_at_its_time():
    with open_source(str(WALK)) as source:
        assert isinstance(source, VideoFile)
        assert (source.size, source.fps, source.frame_count) == ((640, 360), 30.0, 167)
        assert not source.live
        frames = list(source)
    assert [frame.index for frame in frames] == list(range(167))
    np.testing.assert_allclose([frame.timestamp for frame in frames], np.arange(167) / 30)
    assert {frame.size for frame in frames} == {(640, 360)}
    assert all(frame.image.flags.c_contiguous for frame in frames)
    assert np.all(np.diff([frame.captured_at for frame in frames]) >= 0)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"start": 0.5}, range(15, 60)),
        ({"end": 0.5}, range(15)),
        ({"start": 0.5, "end": 1.0}, range(15, 30)),
        ({"start": 0.5, "duration": 0.2}, range(15, 21)),
        ({"max_frames": 7}, range(7)),
        ({"start": 1.0, "max_frames": 3}, range(30, 33)),
        ({"end": 100.0}, range(60)),
    ],
)
def test_a_part_keeps_the_indices_and_times_of_the_whole(clip, limits, expected):
    with open_source(str(clip), **limits) as source:
        promised = source.frame_count
        frames = list(source)
    assert [frame.index for frame in frames] == list(expected)
    assert [number(frame.image) for frame in frames] == list(expected)
    np.testing.assert_allclose([frame.timestamp for frame in frames], np.array(expected) / 30)
    assert promised == len(frames)


def test_a_part_beyond_the_end_says_how_long_the_video_is(clip):
    with open_source(str(clip), start=50.0) as source, pytest.raises(SourceError) as caught:
        list(source)
    assert "60 frames" in caught.value.why


@pytest.mark.parametrize(
    ("clockwise", "turn"),
    [
        (90, cv2.ROTATE_90_CLOCKWISE),
        (180, cv2.ROTATE_180),
        (270, cv2.ROTATE_90_COUNTERCLOCKWISE),
    ],
)
def test_phone_videos_come_upright(tmp_path, clockwise, turn):
    path = tmp_path / "phone.mp4"
    set_rotation(WALK, path, clockwise)
    with open_source(str(WALK), max_frames=2) as stored, open_source(str(path)) as source:
        turned = [cv2.rotate(frame.image, turn) for frame in stored]
        size = source.size
        for expected, frame in zip(turned, source, strict=False):
            assert frame.size == size
            np.testing.assert_array_equal(frame.image, expected)


def test_matroska_names_the_finest_step_of_a_varying_rate(tmp_path, caplog):
    path = tmp_path / "conference.mkv"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 30.0, (320, 180))
    for index in range(60):
        writer.write(numbered(index, (320, 180)))
    writer.release()
    with open_source(str(path)) as source:
        assert source.fps == 30.0
    content = bytearray(path.read_bytes())
    duration = content.index(b"\x23\xe3\x83") + 4  # the track's DefaultDuration, nanoseconds
    length = content[duration - 1] & 0x7F
    assert int.from_bytes(content[duration : duration + length], "big") == 33_333_333
    content[duration : duration + length] = (8_333_333).to_bytes(length, "big")
    path.write_bytes(content)
    with open_source(str(path)) as source:
        assert source.fps == pytest.approx(30.0, rel=0.02)
        assert source.frame_count == pytest.approx(60, abs=2)
        frames = list(source)
    assert [number(frame.image) for frame in frames] == list(range(60))
    assert not caplog.records
    path.write_bytes(content[: len(content) // 2])
    with open_source(str(path)) as source:
        assert 20 < len(list(source)) < 40
    assert "could be decoded" in caplog.text


@pytest.mark.parametrize(
    ("aspect", "clockwise", "size"),
    [
        ((4, 3), 0, (427, 180)),
        ((8, 9), 0, (320, 202)),
        ((4, 3), 90, (180, 427)),
        ((4320, 4319), 0, (320, 180)),
        ((100, 1), 0, (320, 180)),
    ],
)
def test_pixels_come_out_square(clip, tmp_path, aspect, clockwise, size):
    path = tmp_path / "wide.mp4"
    set_pixel_aspect(clip, path, *aspect)
    if clockwise:
        set_rotation(path, path, clockwise)
    with open_source(str(clip)) as stored, open_source(str(path)) as source:
        assert source.size == size
        for plain, frame in zip(stored, source, strict=True):
            assert frame.size == size
            upright = cv2.rotate(plain.image, cv2.ROTATE_90_CLOCKWISE) if clockwise else plain.image
            # Stretched over the whole picture, not fitted between bars.
            np.testing.assert_allclose(frame.image, cv2.resize(upright, size), atol=1)


def test_variable_frame_rate_keeps_the_true_times(clip, tmp_path):
    path = tmp_path / "vfr.mp4"
    slow_down(clip, path, after=20, factor=3)
    with open_source(str(path)) as source:
        frames = list(source)
    expected = np.concatenate([np.arange(20), 20 + 3 * np.arange(40)]) / 30
    assert [frame.index for frame in frames] == list(range(60))
    np.testing.assert_allclose([frame.timestamp for frame in frames], expected, atol=1e-3)


@pytest.mark.parametrize(
    ("msec", "expected"),
    [
        ([0, 40, 80, 120], [0, 0.04, 0.08, 0.12]),
        ([1000, 1040, 1100], [0, 0.04, 0.1]),
        ([0, 0, 0, 0], [0, 0.05, 0.1, 0.15]),
        ([np.nan, np.nan, np.nan], [0, 0.05, 0.1]),
        ([0, 40, 0, 40, 80], [0, 0.04, 0.09, 0.13, 0.17]),  # two clips, one after the other
        ([0, 40, 40, 120], [0, 0.04, 0.09, 0.17]),
    ],
)
def test_times_increase_whatever_the_container_says(msec, expected):
    clock = Clock(fps=20.0)
    got = [clock.tick(value / 1000, damaged=False) for value in msec]
    np.testing.assert_allclose(got, expected, atol=1e-9)


def test_leftovers_after_damage_have_no_time():
    clock = Clock(fps=25.0)
    assert clock.tick(0.0, damaged=False) == 0.0
    assert clock.tick(1.0, damaged=True) == pytest.approx(1.0)
    assert clock.tick(0.08, damaged=True) is None
    assert clock.tick(1.04, damaged=True) == pytest.approx(1.04)


def test_damage_in_the_middle_loses_only_what_it_hit(tmp_path, caplog):
    content = bytearray(WALK.read_bytes())
    content[90_000:110_000] = bytes(20_000)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(content)
    with open_source(str(path)) as source:
        frames = list(source)
    assert 100 < len(frames) < 167
    assert [frame.index for frame in frames] == list(range(len(frames)))
    times = [frame.timestamp for frame in frames]
    assert np.all(np.diff(times) > 0)
    assert times[-1] == pytest.approx(166 / 30)
    assert re.search(rf"promised 167 frames, {len(frames)} could be decoded", caplog.text)


def test_a_file_cut_short_gives_what_it_has(tmp_path, caplog):
    path = tmp_path / "cut.mp4"
    path.write_bytes(WALK.read_bytes()[:110_000])
    with open_source(str(path)) as source:
        frames = list(source)
    assert 40 < len(frames) < 120
    assert "promised 167 frames" in caplog.text


def test_a_whole_file_gives_no_warning(caplog):
    caplog.set_level(logging.WARNING)
    with open_source(str(WALK)) as source:
        assert len(list(source)) == 167
    assert caplog.text == ""


def _broken(kind: str, folder: Path, clip: Path) -> Path:
    path = folder / f"{kind}.mp4"
    if kind == "empty":
        path.touch()
    elif kind == "text":
        path = folder / "notes.txt"  # FFmpeg would draw it
        path.write_text("not a vidéo\n" * 500)
    elif kind == "random":
        path.write_bytes(np.random.default_rng(0).bytes(50_000))
    elif kind == "no_index":
        content = clip.read_bytes()
        path.write_bytes(content[: content.index(b"moov") - 4])
    elif kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "spoilt.png":
        path = folder / kind
        cv2.imwrite(str(path), np.zeros((90, 160, 3), np.uint8))
        path.write_bytes(path.read_bytes()[:20])
    return path


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("missing", "no such file"),
        ("empty", "empty"),
        ("text", "text file"),
        ("random", "no video"),
        ("no_index", "cut short"),
        ("folder", "holds none"),
        ("spoilt.png", "can be decoded"),
        pytest.param(
            "fifo",
            "not a regular file",
            marks=pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here"),
        ),
    ],
)
def test_what_is_no_video_says_why_and_what_to_try(kind, why, tmp_path, clip, capfd):
    path = _broken(kind, tmp_path, clip)
    with pytest.raises(SourceError) as caught:
        open_source(str(path))
    assert str(path) in caught.value.what
    assert why in caught.value.why
    assert caught.value.hint
    assert capfd.readouterr().err == ""


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything"
)
def test_a_file_that_may_not_be_read_says_so(clip, tmp_path):
    path = tmp_path / "private.mp4"
    path.write_bytes(clip.read_bytes())
    path.chmod(0)
    with pytest.raises(SourceError, match="denied"):
        open_source(str(path))


def test_names_that_ffmpeg_would_take_for_protocols(clip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("clip:1.mp4", "100%d.mp4", "a b ä.mp4"):
        Path(name).write_bytes(clip.read_bytes())
        with open_source(name, max_frames=1) as source:
            assert len(list(source)) == 1


@pytest.fixture
def pictures(tmp_path) -> Path:
    """Numbered pictures shot_1.png … shot_12.png, and a file that is none of them."""
    folder = tmp_path / "shots"
    folder.mkdir()
    for index in range(12):
        cv2.imwrite(str(folder / f"shot_{index + 1}.png"), numbered(index, (160, 90)))
    (folder / "notes.txt").write_text("not a picture")
    return folder


@pytest.mark.parametrize("location", ["", "shot_*.png", "shot_%d.png"])
def test_pictures_come_in_natural_order(pictures, location):
    with open_source(str(pictures / location)) as source:
        assert isinstance(source, ImageSequence)
        assert (source.size, source.fps, source.frame_count) == ((160, 90), 30.0, 12)
        frames = list(source)
    assert [number(frame.image) for frame in frames] == list(range(12))
    np.testing.assert_allclose([frame.timestamp for frame in frames], np.arange(12) / 30)


def test_a_padded_pattern_takes_padded_names_only(pictures):
    for index in range(3):
        (pictures / f"shot_{index + 1}.png").rename(pictures / f"shot_{index + 1:04d}.png")
    with open_source(str(pictures / "shot_%04d.png")) as source:
        assert [frame.index for frame in source] == [0, 1, 2]


def test_one_picture_is_a_sequence_of_one(pictures):
    with open_source(str(pictures / "shot_5.png")) as source:
        assert [number(frame.image) for frame in source] == [4]


def test_part_of_a_sequence(pictures):
    with open_source(str(pictures), start=0.1, end=0.3, max_frames=4) as source:
        assert source.frame_count == 4
        assert [frame.index for frame in source] == [3, 4, 5, 6]


def test_a_broken_picture_is_left_out_and_another_size_is_fitted(pictures, caplog):
    (pictures / "shot_4.png").write_bytes(b"\x89PNG broken")
    cv2.imwrite(str(pictures / "shot_6.png"), np.full((90, 90, 3), 200, np.uint8))
    with open_source(str(pictures)) as source:
        frames = {frame.index: frame for frame in source}
    assert sorted(frames) == [0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11]
    assert "shot_4.png" in caplog.text
    assert {frame.size for frame in frames.values()} == {(160, 90)}
    assert frames[5].image[45, 80].tolist() == [200, 200, 200]
    assert frames[5].image[45, 10].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("shape", "size", "inside"),
    [
        ((360, 640), (1280, 720), (slice(0, 720), slice(0, 1280))),
        ((720, 1280), (640, 360), (slice(0, 360), slice(0, 640))),
        ((480, 640), (1280, 720), (slice(0, 720), slice(160, 1120))),
        ((640, 360), (640, 360), (slice(0, 360), slice(219, 421))),
    ],
)
def test_fitting_keeps_the_aspect_and_pads_with_black(shape, size, inside):
    out = fit(np.full((*shape, 3), 255, np.uint8), size)
    assert out.shape == (size[1], size[0], 3)
    expected = np.zeros_like(out)
    expected[inside] = 255
    assert np.mean(out != expected) < 0.01  # half a pixel of rounding at the bars


def test_a_video_behind_a_url_is_read_like_a_file():
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format, *args):
            pass

    handler = functools.partial(Quiet, directory=str(WALK.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/{WALK.name}"
        with open_source(url) as source:
            assert not source.live
            assert len(list(source)) == 167
        server.shutdown()


@pytest.mark.parametrize("device", [97, "97", "/dev/video97"])
def test_a_camera_that_is_not_there(device, capfd):
    with pytest.raises(SourceError, match="97") as caught:
        open_source(camera=device)
    assert caught.value.hint
    assert capfd.readouterr().err == ""


class FakeDevice:
    """Answers as a webcam does that knows 640x480 at 25 only, and is unplugged after 5 reads."""

    def __init__(self, *args: object) -> None:
        self.asked: list[tuple[int, float]] = []
        self.left = 5

    def isOpened(self) -> bool:
        return True

    def set(self, prop: int, value: float) -> bool:
        self.asked.append((prop, value))
        return True

    def get(self, prop: int) -> float:
        return 25.0 if prop == cv2.CAP_PROP_FPS else 0.0

    def grab(self) -> bool:
        self.left -= 1
        return self.left >= 0

    def retrieve(self) -> tuple[bool, np.ndarray]:
        return True, np.zeros((480, 640, 3), np.uint8)

    def release(self) -> None:
        pass


def test_a_camera_is_asked_for_720p_and_taken_as_it_is(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    device = FakeDevice()
    monkeypatch.setattr(camera.cv2, "VideoCapture", lambda *args: device)
    source = camera.Camera(0)
    asked = dict(device.asked)
    assert asked[cv2.CAP_PROP_FRAME_WIDTH] == 1280
    assert asked[cv2.CAP_PROP_FRAME_HEIGHT] == 720
    assert asked[cv2.CAP_PROP_FPS] == 30
    assert asked[cv2.CAP_PROP_BUFFERSIZE] == 1
    assert (source.size, source.fps) == ((640, 480), 25.0)
    assert "640x480 at 25 fps" in caplog.text
    indices = []
    with pytest.raises(SourceError, match="camera 0"):
        indices += [frame.index for frame in source]  # of what comes at once the newest
    source.close()


def test_a_camera_is_asked_for_what_was_wanted(monkeypatch, caplog):
    device = FakeDevice()
    monkeypatch.setattr(camera.cv2, "VideoCapture", lambda *args: device)
    with camera.Camera(0, mode=camera.CameraMode(1920, 1080, 60.0)) as source:
        asked = dict(device.asked)
        assert asked[cv2.CAP_PROP_FRAME_WIDTH] == 1920
        assert asked[cv2.CAP_PROP_FRAME_HEIGHT] == 1080
        assert asked[cv2.CAP_PROP_FPS] == 60
        assert source.size == (640, 480)
    assert "gives 640x480, not 1920x1080" in caplog.text


class GrowingDevice(FakeDevice):
    """A webcam whose pictures grow and shrink, as when another program changes its mode."""

    sizes = ((320, 180), (640, 360), (192, 108))

    def __init__(self) -> None:
        super().__init__()
        self.left = 30

    def grab(self) -> bool:
        time.sleep(0.02)
        return super().grab()

    def retrieve(self) -> tuple[bool, np.ndarray]:
        index = 29 - self.left
        return True, numbered(index, self.sizes[index // 10])


def test_a_webcam_that_grows_and_shrinks_shows_what_it_sees(monkeypatch):
    monkeypatch.setattr(camera.cv2, "VideoCapture", lambda *args: GrowingDevice())
    shown = []
    with camera.Camera(0) as source, contextlib.suppress(SourceError):
        for frame in source:
            assert frame.size == (320, 180)
            shown.append((frame.index, number(frame.image)))
    assert len(shown) > 15
    assert all(index == seen for index, seen in shown)


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"source": "a.mp4", "camera": 0},
        {"source": "a.mp4", "start": -1.0},
        {"source": "a.mp4", "start": 2.0, "end": 1.0},
        {"source": "a.mp4", "duration": 0.0},
        {"source": "a.mp4", "max_frames": 0},
        {"source": "a.mp4", "start": float("nan")},
        {"source": "ftp://host/a.mp4"},
        {"camera": "front"},
        {"camera": -1},
        {"camera": 0, "start": 1.0},
        {"source": "rtsp://127.0.0.1:9/x", "end": 5.0},
    ],
    ids=str,
)
def test_impossible_requests_are_usage_errors(request_):
    with pytest.raises(UsageError) as caught:
        open_source(**request_)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x", "http://127.0.0.1:9/x.mp4"])
def test_an_address_where_nobody_answers(url, capfd):
    with pytest.raises(LiveError) as caught:
        open_source(url)
    assert isinstance(caught.value, SourceError)
    assert capfd.readouterr().err == ""


def test_realtime_turns_a_file_into_a_live_source(clip):
    with open_source(str(clip), realtime=True, start=1.0) as source:
        assert isinstance(source, LiveSource)
        assert source.live
        indices = [frame.index for frame in source]
    assert indices[0] >= 30
    assert indices[-1] == 59
