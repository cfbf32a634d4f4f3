"""The public API: the command's poses to the last bit, takes as arrays, people live."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import posemamba_live as pml
from posemamba_live import cli
from posemamba_live.takes.angles import ANGLES

FRAMES = 40

pytestmark = pytest.mark.usefixtures("restored_logging")


@pytest.fixture(scope="module")
def take(walk_clip: Path) -> pml.Take:
    return pml.lift_video(walk_clip, height_m=1.82, max_frames=FRAMES)


def test_a_video_gives_what_the_command_exports(
    take: pml.Take, walk_clip: Path, tmp_path: Path
) -> None:
    path = tmp_path / "poses.npz"
    words = [str(walk_clip), "--headless", "-q", "--export", str(path)]
    assert cli.run([*words, "--height", "1.82", "--max-frames", str(FRAMES)]) == 0
    with np.load(path) as file:
        exported = dict(file)
    assert take.arrays.keys() == exported.keys()
    for key in exported.keys() - {"meta"}:
        np.testing.assert_array_equal(take.arrays[key], exported[key], err_msg=key)
    assert take.joints_world.shape == (FRAMES, 17, 3)
    assert (take.fps, take.image_size) == (30.0, (640, 360))
    for key in ("frame_index", "timestamp", "person_id", "joints_2d", "scores_2d", "joints_3d",
                "root_3d", "joints_world", "predicted"):  # fmt: skip
        assert getattr(take, key) is take.arrays[key]

    command = pml.Take.load(path)
    same = {**take.meta, "image_size": [640, 360], "command_line": ""}
    read = {**command.meta, "command_line": ""}
    assert {key: read[key] for key in same} == same
    assert take.meta["command_line"] == "posemamba_live.lift_video"


def test_a_take_is_saved_and_read_again(take: pml.Take, tmp_path: Path) -> None:
    path = tmp_path / "walk.npz"
    assert take.save(path) == [path]
    again = pml.Take.load(str(path))
    np.testing.assert_array_equal(again.joints_world, take.joints_world)
    np.testing.assert_array_equal(again.joints_2d, take.joints_2d)
    with pytest.raises(pml.UsageError, match="exists already") as caught:
        take.save(path)
    assert caught.value.hint == "choose another name, or replace it with overwrite"
    assert take.save(path, overwrite=True) == [path]
    assert take.save(tmp_path / "walk.bvh")[0].read_text().startswith("HIERARCHY")
    assert take.plot(tmp_path / "walk.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(pml.UsageError, match="unknown file type"):
        take.save(tmp_path / "walk.xyz")
    assert repr(take) == f"<Take of walk_turn.mp4: {FRAMES} poses of 1 person>"


def test_angles_have_a_value_for_every_row(take: pml.Take) -> None:
    angles = take.angles()
    assert list(angles) == [angle.name for angle in ANGLES]
    assert all(values.shape == (FRAMES,) for values in angles.values())
    # The knee's angle by itself: between thigh and shin.
    hip, knee, ankle = (take.joints_world[:, joint].astype(float) for joint in (1, 2, 3))
    cosine = ((knee - hip) * (ankle - knee)).sum(-1)
    cosine /= np.linalg.norm(knee - hip, axis=-1) * np.linalg.norm(ankle - knee, axis=-1)
    truth, told = np.degrees(np.arccos(cosine)), np.abs(angles["knee_angle_r"])
    bent = truth > 15.0  # a nearly straight leg may bend a little to the side, too
    assert bent.sum() > 10
    np.testing.assert_allclose(told[bent], truth[bent], atol=0.5)
    np.testing.assert_allclose(told, truth, atol=1.5)


def test_two_people_have_their_own_angles(take: pml.Take) -> None:
    """Rows of both are in turns, and of one of them some are missing."""
    other = [
        dataclasses.replace(pose, pose2d=dataclasses.replace(pose.pose2d, person_id=1))
        for pose in take.poses[10:30]
    ]
    both = sorted([*take.poses, *other], key=lambda pose: (pose.frame_index, pose.person_id))
    angles = pml.Take(both, take.meta).angles()["knee_angle_l"]
    people = pml.Take(both, take.meta).person_id
    np.testing.assert_array_equal(angles[people == 0], take.angles()["knee_angle_l"])
    alone = pml.Take(other, take.meta).angles()["knee_angle_l"]
    np.testing.assert_array_equal(angles[people == 1], alone)


def test_a_take_of_nobody() -> None:
    take = pml.Take([], {"fps": 25.0, "image_size": (320, 240)})
    assert take.joints_world.shape == (0, 17, 3)
    assert take.angles()["trunk_flexion"].shape == (0,)


def test_live_every_pose_is_of_its_frame_or_of_the_delay_before(walk_clip: Path) -> None:
    with (
        pml.open_source(walk_clip, max_frames=12) as film,
        pml.Tracker3D(live=True) as now,
        pml.Tracker3D(live=True, delay=2) as later,
    ):
        for frame in film:
            (pose,) = now(frame)
            assert (pose.frame_index, pose.person_id, pose.look_ahead) == (frame.index, 0, 0)
            assert pose.joints_world.shape == (17, 3)
            assert np.abs(pose.joints_world[0, 2] - 0.9) < 0.4  # the hip's height, metres
            assert [p.frame_index for p in later(frame)] == list(range(frame.index + 1))[-3:-2]
        assert now.finish() == []
        assert [pose.frame_index for pose in later.finish()] == [10, 11]


class Wall:
    """Pictures of a wall full of posters, past which a camera turns or before which it stands."""

    def __init__(self, speed: int) -> None:
        posters = np.random.default_rng(4).integers(0, 255, (30, 80, 3), np.uint8)
        wall = posters.repeat(10, 0).repeat(10, 1)
        self.pictures = [wall[:240, speed * i : speed * i + 320].copy() for i in range(45)]

    def save(self, folder: Path) -> Path:
        folder.mkdir()
        for number, picture in enumerate(self.pictures):
            cv2.imwrite(str(folder / f"{number:03}.png"), picture)
        return folder


@pytest.mark.parametrize(("speed", "moves"), [(0, False), (2, True)])
def test_a_camera_that_moves_is_said(speed: int, moves: bool, tmp_path: Path) -> None:
    wall = Wall(speed)
    assert pml.lift_video(wall.save(tmp_path / "wall"), fps=30.0).camera_moves is moves
    with pml.Tracker3D(live=True) as track:
        for index, picture in enumerate(wall.pictures):
            track(pml.Frame(index, index / 30.0, picture, 0.0))
        assert track.camera_moves is moves


def test_frames_of_a_file_come_late_and_complete(walk_clip: Path) -> None:
    with (
        pml.open_source(walk_clip, max_frames=40) as film,
        pml.Tracker3D(live=False, fps=film.fps, mode="fast") as track,
    ):
        poses = [pose for frame in film for pose in track(frame)]
        assert len(poses) < 40
        poses += track.finish()
    assert [pose.frame_index for pose in poses] == list(range(40))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"height_m": 9.0}, "height_m 9 is out of range"),
        ({"height_m": (1.7, 9.0)}, "height_m 9 is out of range"),
        ({"pitch_deg": 95.0}, "pitch_deg 95 is out of range"),
        ({"max_frames": 0}, "max_frames 0 leaves nothing"),
        ({"mode": "best"}, "There is no mode 'best'"),
        ({"subject": "me"}, "There is no subject 'me'"),
        ({"device": "tpu"}, "There is no device 'tpu'"),
        ({"detector": "crystal"}, "Unknown detector 'crystal'"),
        ({"detector_model": "none.task"}, "There is no detector model none.task"),
        ({"weights": "none-m9"}, "The weights cannot be used"),
        ({"start": 3.0, "end": 2.0}, "end 2 is not after start 3"),
    ],
)
def test_arguments_that_cannot_be_meant(
    arguments: dict[str, object], message: str, walk_clip: Path
) -> None:
    with pytest.raises(pml.LiveError) as caught:
        pml.lift_video(walk_clip, **arguments)  # type: ignore[arg-type]
    assert message in caught.value.what
    assert "--" not in str(caught.value)


def test_what_is_not_there_is_a_source_error(tmp_path: Path) -> None:
    with pytest.raises(pml.SourceError):
        pml.lift_video(tmp_path / "none.mp4")
    with pytest.raises(pml.UsageError, match="Nothing to look at"):
        pml.open_source()
    with pytest.raises(pml.UsageError, match="fps is not given"):
        pml.Tracker3D(live=False)


def test_what_progress_raises_comes_out(walk_clip: Path) -> None:
    class Enough(Exception):
        pass

    told = []

    def report(done: int, total: int | None) -> None:
        told.append(total)
        raise Enough

    with pytest.raises(Enough):
        pml.lift_video(walk_clip, max_frames=FRAMES, mode="fast", progress=report)
    assert told == [FRAMES]


def test_importing_loads_nothing_heavy() -> None:
    program = (
        "import sys, posemamba_live as pml; dir(pml); pml.LiveError\n"
        "assert not {'numpy', 'torch', 'cv2'} & set(sys.modules)\n"
        "import posemamba_live.wiring; pml.lift_video, pml.Tracker3D\n"
        "assert 'torch' not in sys.modules\n"
        "assert all(hasattr(pml, name) for name in pml.__all__)\n"
        "assert 'open3d' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with pytest.raises(AttributeError, match="no attribute 'lift_picture'"):
        pml.lift_picture  # noqa: B018


def test_a_film_on_its_side_and_pictures_without_a_rate(walk_clip: Path, tmp_path: Path) -> None:
    with pml.open_source(walk_clip, rotate=90, max_frames=2) as source:
        assert source.size == (360, 640)
        frames = [frame.image for frame in source]
    assert [image.shape for image in frames] == [(640, 360, 3)] * 2
    for i, image in enumerate(frames):
        cv2.imwrite(str(tmp_path / f"{i:03d}.png"), image)
    with pml.open_source(tmp_path, fps=12.5) as source:
        assert source.fps == 12.5
        assert [frame.timestamp for frame in source] == [0.0, 0.08]

    upright = pml.lift_video(tmp_path, rotate=270, fps=12.5, detect_every=2)
    assert upright.image_size == (640, 360)
    assert upright.fps == 12.5
    assert len(upright.joints_3d) == 2


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"rotate": 45}, "rotate 45 is no quarter turn"),
        ({"fps": 25.0}, "fps"),
        ({"person_model": "nobody.onnx"}, "There is no person model nobody.onnx"),
        ({"detect_every": 0}, "detect_every"),
    ],
)
def test_options_of_the_command_that_do_not_fit(
    settings: dict[str, Any], what: str, walk_clip: Path
) -> None:
    with pytest.raises(pml.UsageError, match=what) as caught:
        pml.lift_video(walk_clip, max_frames=1, **settings)
    assert "--" not in str(caught.value)


def test_a_cameras_size_is_for_cameras(walk_clip: Path) -> None:
    with pytest.raises(pml.UsageError, match="camera_size is for cameras"):
        pml.open_source(walk_clip, camera_size="640x480")
