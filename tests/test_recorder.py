"""The recorded video: layout, timing, atomic files, and pictures that show what they should."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from posemamba.skeleton import (
    HIP,
    L_ANKLE,
    L_ELBOW,
    L_HIP,
    L_KNEE,
    L_SHOULDER,
    L_WRIST,
    R_ANKLE,
    R_ELBOW,
    R_HIP,
    R_KNEE,
    R_SHOULDER,
    R_WRIST,
)
from posemamba_live.drawing.colours import PALETTE
from posemamba_live.drawing.figure import SkeletonRenderer, ViewPoint
from posemamba_live.drawing.overlay import draw_overlay
from posemamba_live.errors import SinkError, UsageError
from posemamba_live.sinks.encoder import Encoder, remux
from posemamba_live.sinks.recorder import Composer, Recorder
from posemamba_live.sources import VideoFile
from posemamba_live.types import Frame, Image, Pose2D, Pose3D
from tests.support.films import encode, numbered

DEMO = Path(__file__).parent.parent / "demo_videos"
FPS = 30.0
Truth = dict[str, Any]


@pytest.fixture(scope="module")
def truth() -> Truth:
    with np.load(DEMO / "walk_turn_gt.npz", allow_pickle=False) as file:
        return dict(file)


@pytest.fixture(scope="module")
def pictures() -> list[Image]:
    """The first frames of a real clip."""
    capture = cv2.VideoCapture(str(DEMO / "walk_turn.mp4"))
    frames = [np.asarray(capture.read()[1], np.uint8) for _ in range(12)]
    capture.release()
    return frames


def true_pose(truth: Truth, i: int, *, person: int = 0, predicted: bool = False) -> Pose3D:
    camera = truth["joints_camera"][i]
    return Pose3D(
        pose2d=Pose2D(
            frame_index=i,
            timestamp=i / FPS,
            person_id=person,
            keypoints=truth["joints_2d"][i].astype(np.float32),
            scores=np.ones(17, np.float32),
            image_size=(640, 360),
            predicted=predicted,
        ),
        joints=camera - camera[0],
        root=camera[0],
        joints_world=truth["joints_world"][i].copy(),
        look_ahead=0,
    )


def aside(pose: Pose3D, metres: float) -> Pose3D:
    """The same pose farther to the right in the world."""
    shift = np.array([metres, 0.0, 0.0], np.float32)
    return replace(pose, joints_world=pose.joints_world + shift)


def frame(i: int, image: Image, timestamp: float | None = None) -> Frame:
    return Frame(i, i / FPS if timestamp is None else timestamp, image, 0.0)


def read(path: Path) -> tuple[list[Image], float]:
    capture = cv2.VideoCapture(str(path))
    fps = capture.get(cv2.CAP_PROP_FPS)
    frames = []
    while True:
        ok, image = capture.read()
        if not ok:
            return frames, fps
        frames.append(np.asarray(image, np.uint8))


def flat(value: int, size: tuple[int, int] = (64, 48)) -> Image:
    return np.full((size[1], size[0], 3), value, np.uint8)


def test_every_frame_is_recorded(
    tmp_path: Path,
    truth: Truth,
    pictures: list[Image],
) -> None:
    path = tmp_path / "out.mp4"
    with Recorder(path, fps=FPS, image_size=(640, 360)) as recorder:
        for i, picture in enumerate(pictures):
            recorder.write(frame(i, picture), [true_pose(truth, i)])
        assert [file.name for file in tmp_path.iterdir()] == ["out.partial.mp4"]
    assert list(tmp_path.iterdir()) == [path]
    frames, fps = read(path)
    assert len(frames) == len(pictures)
    assert fps == pytest.approx(FPS)
    assert frames[0].shape == (540, 960 + 540, 3)
    # The left side is the source: enlarged, under the overlay, and after lossy coding.
    for got, picture in zip(frames, pictures, strict=True):
        expected = cv2.resize(picture, (960, 540))
        far_from_overlay = np.s_[:, :400]
        error = np.abs(got[:, :960][far_from_overlay].astype(int) - expected[far_from_overlay])
        assert error.mean() < 8.0


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ((640, 360), (960 + 540, 540)),
        ((1920, 1080), (1280 + 720, 720)),
        ((1080, 1920), (404 + 720, 720)),  # portrait
        ((641, 359), (964 + 540, 540)),  # odd
        ((3840, 800), (1280 + 540, 540)),  # wider than fits: bars above and below
        ((33, 31), (574 + 540, 540)),
    ],
)
def test_layout_is_even_and_bounded(source: tuple[int, int], expected: tuple[int, int]) -> None:
    composer = Composer(source, FPS)
    assert composer.size == expected
    image = composer.compose(frame(0, flat(255, source)), [])
    assert image.shape == (expected[1], expected[0], 3)
    white = (image[:, : expected[0] - expected[1]].min(-1) > 250).mean()
    filled = min(1.0, (expected[0] - expected[1]) / source[0] * source[1] / expected[1])
    assert white == pytest.approx(filled, abs=0.01)


def test_realtime_keeps_the_clock_of_a_source_that_skips(tmp_path: Path) -> None:
    path = tmp_path / "live.mp4"
    shades = {0.0: 20, 0.1: 60, 0.11: 100, 0.5: 140, 0.6: 180, 60.6: 220}
    with Recorder(path, fps=20.0, image_size=(64, 48), realtime=True) as recorder:
        for i, (time, shade) in enumerate(shades.items()):
            recorder.write(frame(i, flat(shade), time), [])
    frames, _ = read(path)
    seen = [round(float(image[200:300, 100:500].mean()) / 20) * 20 for image in frames]
    # 0.11 s falls into the slot of 0.1 s; the minute without frames is not recorded.
    assert seen == [20] * 2 + [60] * 8 + [140] * 2 + [180, 220]


def test_frames_of_another_size_are_fitted(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    with Recorder(path, fps=FPS, image_size=(64, 48)) as recorder:
        recorder.write(frame(0, flat(200)), [])
        recorder.write(frame(1, flat(200, (48, 64))), [])
    frames, _ = read(path)
    assert len(frames) == 2
    assert frames[1][270, 20].mean() < 60  # bars beside the upright picture
    assert frames[1][270, 360].mean() > 180


@pytest.mark.skipif(os.name == "nt", reason="Windows has no colons in names")
def test_a_time_of_day_in_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("12:30.mp4")  # which FFmpeg takes for a protocol
    with Recorder(path, fps=FPS, image_size=(64, 48)) as recorder:
        recorder.write(frame(0, flat(200)), [])
    assert [file.name for file in tmp_path.iterdir()] == ["12:30.mp4"]
    frames, _ = read(path.absolute())
    assert len(frames) == 1


def test_without_frames_there_is_no_file(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "out.mp4", fps=FPS, image_size=(64, 48))
    recorder.close()
    recorder.close()
    assert list(tmp_path.iterdir()) == []


def test_paths_are_checked_before_the_run(tmp_path: Path) -> None:
    def record(path: Path, **options: bool) -> None:
        Recorder(path, fps=FPS, image_size=(64, 48), **options).close()

    (tmp_path / "mine.mp4").write_bytes(b"mine")
    with pytest.raises(UsageError, match="--overwrite"):
        record(tmp_path / "mine.mp4")
    with pytest.raises(UsageError, match=r"\.mp4"):
        record(tmp_path / "out.gif")
    with pytest.raises(SinkError, match="does not exist"):
        record(tmp_path / "missing" / "out.mp4")
    record(tmp_path / "mine.mp4", overwrite=True)
    assert (tmp_path / "mine.mp4").read_bytes() == b"mine"  # nothing came to replace it


def test_overlay_colours_sides_where_the_joints_are(truth: Truth) -> None:
    pose = true_pose(truth, 100).pose2d
    image = draw_overlay(flat(0, (1280, 720)), [pose], scale=2.0)
    for joint, rgb in ((L_WRIST, PALETTE[0].left), (R_WRIST, PALETTE[0].right)):
        x, y = np.floor(pose.keypoints[joint] * 2.0).astype(int)
        np.testing.assert_allclose(image[y, x][::-1] / 255.0, rgb, atol=0.02)
    # Keypoints far outside the picture, as detectors invent them, do no harm.
    wild = Pose2D(0, 0.0, 0, np.full((17, 2), 1e9, np.float32), np.zeros(17, np.float32), (8, 8))
    np.testing.assert_array_equal(draw_overlay(flat(7), [wild]), flat(7))


def test_room_shows_people_where_they_stand(truth: Truth) -> None:
    def drawn(poses: list[Pose3D]) -> Image:
        return SkeletonRenderer((300, 300), ViewPoint(azimuth_deg=0.0)).draw(poses, 0.0)

    def reach(poses: list[Pose3D]) -> Image:
        """Which pixels changed by a lot against the same view of nobody."""
        renderer = SkeletonRenderer((300, 300), ViewPoint(azimuth_deg=0.0))
        with_people = renderer.draw(poses, 0.0).astype(int)
        return np.asarray(np.abs(with_people - renderer.draw([], 0.0)).max(-1) > 60, np.uint8)

    one = true_pose(truth, 100)
    mask = reach([one])
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    assert 0.5 * 300 < rows[-1] - rows[0] < 0.95 * 300  # fills the picture, fits into it
    assert abs(columns.mean() - 150) < 30

    # Ghosts are fainter than people who were seen.
    assert reach([true_pose(truth, 100, predicted=True)]).sum() < 0.8 * mask.sum()

    # Two people side by side are both in the picture, in colours of their own.
    both = (
        drawn([one, aside(true_pose(truth, 100, person=1), 1.5)])
        .reshape(-1, 3)[:, ::-1]
        .astype(float)
    )
    for person in (0, 1):
        hue = np.array(PALETTE[person].left)
        ratio = both @ hue / (np.linalg.norm(both, axis=1) * np.linalg.norm(hue) + 1e-9)
        assert ((ratio > 0.995) & (both.sum(1) > 200)).sum() > 50


def test_nearer_limbs_cover_farther_ones(truth: Truth) -> None:
    """Seen from opposite sides, the left and the right half of a body swap what is in front."""
    pose = true_pose(truth, 20)
    side = pose.joints_world[4, :2] - pose.joints_world[1, :2]  # towards the left hip
    azimuth = float(np.degrees(np.arctan2(side[0], -side[1])))

    def amount(view_azimuth: float, rgb: tuple[float, float, float]) -> int:
        room = SkeletonRenderer((300, 300), ViewPoint(view_azimuth)).draw([pose], 0.0)
        pixels = room.reshape(-1, 3)[:, ::-1].astype(float)
        hue = np.array(rgb)
        ratio = pixels @ hue / (np.linalg.norm(pixels, axis=1) * np.linalg.norm(hue) + 1e-9)
        return int(((ratio > 0.99) & (pixels.sum(1) > 200)).sum())

    colors = PALETTE[0]
    assert amount(azimuth, colors.left) > 1.5 * amount(azimuth, colors.right)
    assert amount(azimuth + 180, colors.right) > 1.5 * amount(azimuth + 180, colors.left)


@pytest.mark.parametrize("step", [0.0, 0.1, 0.2])
def test_legs_begin_behind_the_pelvis(truth: Truth, step: float) -> None:
    """Whoever stands, or leans back: the round end of a thigh does not lie on the trunk."""
    pose = true_pose(truth, 20)
    body = pose.joints_world
    for shoulder, elbow, wrist in (
        (R_SHOULDER, R_ELBOW, R_WRIST),
        (L_SHOULDER, L_ELBOW, L_WRIST),
    ):  # arms are raised, out of the way
        body[elbow] = body[shoulder] + np.array([0.0, 0.0, 0.25])
        body[wrist] = body[shoulder] + np.array([0.0, 0.0, 0.50])
    body[[R_KNEE, L_KNEE], 1] = body[HIP, 1] - step
    body[[R_ANKLE, L_ANKLE], 1] = body[HIP, 1] - 2.0 * step - 0.1
    renderer = SkeletonRenderer((300, 300), ViewPoint(0.0, 4.0))
    room = renderer.draw([pose], 0.0)
    for hip in (R_HIP, L_HIP):
        x, y = renderer.project(body[hip].astype(np.float64))[0].astype(int)
        color = room[y, x].astype(int)
        assert color.max() - color.min() < 60, "grey, as the trunk is"


def test_the_view_glides(truth: Truth) -> None:
    """A person who jumps a metre aside is followed, without a cut."""
    renderer = SkeletonRenderer((200, 200), ViewPoint(azimuth_deg=0.0))
    pose = true_pose(truth, 100)
    moved = aside(pose, 1.0)
    centres = []
    for step in range(40):
        image = renderer.draw([pose if step < 5 else moved], step / 20.0)
        bright = image.max(-1) > 150
        centres.append(float(np.flatnonzero(bright.any(0)).mean()))
    assert centres[5] - centres[4] > 20
    assert abs(centres[-1] - centres[4]) < 6
    assert all(after < before + 2.0 for before, after in pairwise(centres[5:]))


def film_with_sound(path: Path, sound: str = "aac") -> None:
    encode(path, [numbered(i) for i in range(90)], tone_s=3.0, sound=sound)


def loudness(path: Path) -> list[tuple[float, float]]:
    """(seconds, amplitude) of the sound of a file, whose tone gets louder with time."""
    with av.open(str(path)) as film:
        if not film.streams.audio:
            return []
        return [(float(f.time), float(np.abs(f.to_ndarray()).max())) for f in film.decode(audio=0)]


def test_every_frame_keeps_its_time(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    times = [0.0, 0.1, 0.15, 1.0, 1.5, 36_000.0, 36_000.1]
    with Recorder(path, fps=10.0, image_size=(64, 48)) as recorder:
        for i, at in enumerate(times):
            recorder.write(frame(i, flat(20 * i), at), [])
    with av.open(str(path)) as film:
        recorded = [float(f.time) for f in film.decode(video=0)]
    # The clock's jump of ten hours is one step of the recording.
    np.testing.assert_allclose(recorded, [0.0, 0.1, 0.15, 1.0, 1.5, 1.6, 1.7], atol=1e-4)


@pytest.mark.parametrize("fps", [0.2, 1000.0])
def test_any_rate_can_be_recorded(tmp_path: Path, fps: float) -> None:
    path = tmp_path / "out.mp4"
    with Recorder(path, fps=fps, image_size=(64, 48)) as recorder:
        for i in range(6):
            recorder.write(frame(i, flat(0), i / fps), [])
    frames, rate = read(path)
    assert len(frames) == 6
    assert rate == pytest.approx(fps, rel=0.01)


def test_the_film_keeps_its_sound_for_the_span_that_was_recorded(tmp_path: Path) -> None:
    film_with_sound(tmp_path / "film.mp4")
    with (
        VideoFile(tmp_path / "film.mp4", start=1.0, end=2.5) as source,
        Recorder(
            tmp_path / "out.mp4", fps=30.0, image_size=source.size, sound=source.sound
        ) as recorder,
    ):
        for picture in source:
            recorder.write(picture, [])
    heard = loudness(tmp_path / "out.mp4")
    assert heard[0][0] == pytest.approx(0.0, abs=0.05)
    assert heard[-1][0] == pytest.approx(1.5, abs=0.06)
    for seconds, amplitude in heard[4:-4]:  # it fades in where it was cut
        assert amplitude == pytest.approx(0.8 * (seconds + 1.0) / 3.0, abs=0.05)
    frames, _ = read(tmp_path / "out.mp4")
    assert len(frames) == 45
    content = (tmp_path / "out.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


def test_sound_that_mp4_does_not_hold_is_left_out_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    film_with_sound(tmp_path / "film.mkv", "pcm_s16le")
    with (
        VideoFile(tmp_path / "film.mkv") as source,
        Recorder(
            tmp_path / "out.mp4", fps=30.0, image_size=source.size, sound=source.sound
        ) as recorder,
    ):
        recorder.write(next(iter(source)), [])
    assert loudness(tmp_path / "out.mp4") == []
    assert "pcm_s16le" in caplog.text


def test_what_was_recorded_survives_the_program(tmp_path: Path) -> None:
    """Killed while it records, with its last two seconds missing at most."""
    program = f"""
import sys, numpy as np
from pathlib import Path
from posemamba_live.sinks.encoder import Encoder, remux
from posemamba_live.sinks.recorder import Recorder
from posemamba_live.types import Frame
recorder = Recorder(Path({str(tmp_path / "out.mp4")!r}), fps=30.0, image_size=(64, 48))
for i in range(200):
    recorder.write(Frame(i, i / 30, np.full((48, 64, 3), i, np.uint8), 0.0), [])
print("ready", flush=True)
sys.stdin.read()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == b"ready"
    process.kill()
    process.communicate()
    (part,) = tmp_path.iterdir()
    assert part.name == "out.partial.mp4"
    frames, _ = read(part)
    assert len(frames) >= 140
    with av.open(str(part)) as film:
        keys = [float(f.time) for f in film.decode(video=0) if f.key_frame]
    assert max(np.diff(keys)) <= 1.0
    # The next recording of that name does not touch it.
    with Recorder(tmp_path / "out.mp4", fps=FPS, image_size=(64, 48)) as recorder:
        recorder.write(frame(0, flat(0)), [])
        assert (tmp_path / "out.partial-2.mp4").exists()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.mp4", "out.partial.mp4"]


def test_a_picture_that_is_cut_off_is_left_out(tmp_path: Path) -> None:
    """As a full disk cuts it: FFmpeg's readers would hand out what there is of it."""
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    for whole in (3, 0):
        part, path = tmp_path / f"{whole}.part", tmp_path / f"{whole}.mp4"
        encoder = Encoder(part, (64, 48), FPS)
        for i in range(whole):
            encoder.write(noise, i / FPS)
        size = part.stat().st_size
        encoder.write(noise[::-1].copy(), 1.0)
        encoder.close()
        data = part.read_bytes()
        part.write_bytes(data[: data.index(b"mdat", size) + 40])
        assert remux(part, path, FPS) == whole
        assert len(read(path)[0]) == whole


@pytest.mark.skipif(os.name == "nt", reason="no such limit there")
def test_a_full_disk_leaves_what_there_was_room_for(tmp_path: Path) -> None:
    program = f"""
import resource, signal, numpy as np
from pathlib import Path
from posemamba_live.errors import SinkError
from posemamba_live.sinks.encoder import Encoder, remux
from posemamba_live.sinks.recorder import Recorder
from posemamba_live.types import Frame
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
noise = np.random.default_rng(0).integers(0, 255, (360, 640, 3), np.uint8)
recorder = Recorder(Path({str(tmp_path / "out.mp4")!r}), fps=30.0, image_size=(640, 360))
for i in range(300):
    try:
        recorder.write(Frame(i, i / 30, np.roll(noise, i, 0), 0.0), [])
    except SinkError as error:
        print(i, Path(error.what.split()[-1]).name)
        break
try:
    recorder.close()
except SinkError:
    pass  # `write` has told it
print(recorder.path.name)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    written, path = done.stdout.splitlines()
    assert written.split()[1] == "out.mp4", "the user's name for it"
    frames, _ = read(tmp_path / path)
    assert 0 < len(frames) <= int(written.split()[0])
    assert [file.name for file in tmp_path.iterdir()] == [path]


def test_a_file_that_appears_meanwhile_is_left_alone(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "out.mp4", fps=FPS, image_size=(64, 48))
    recorder.write(frame(0, flat(0)), [])
    (tmp_path / "out.mp4").write_bytes(b"somebody else's")
    with pytest.raises(SinkError, match=r"out-2\.mp4"):
        recorder.close()
    assert (tmp_path / "out.mp4").read_bytes() == b"somebody else's"
    assert recorder.path == tmp_path / "out-2.mp4"
    assert len(read(recorder.path)[0]) == 1
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode here")
def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.mp4")
    with Recorder(path, fps=FPS, image_size=(64, 48)) as recorder:
        recorder.write(frame(0, flat(0)), [])
    assert path.stat().st_size > 1000
    assert list(tmp_path.iterdir()) == [path]
