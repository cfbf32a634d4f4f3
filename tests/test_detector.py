"""MediaPipe's own graph on real clips, and everything that can be wrong with its model."""

from __future__ import annotations

import io
import logging
import os
import re
import sys
import threading
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from posemamba.skeleton import JOINT_NAMES, LIMB_JOINTS
from posemamba_live.detectors import DetectorSettings, bundle, create_detector
from posemamba_live.detectors.native_log import without_native_log
from posemamba_live.detectors.skeletons import blazepose_joints
from posemamba_live.errors import DetectorError, UsageError
from posemamba_live.sources import VideoFile
from posemamba_live.types import Detection, Frame
from tests.support.mediapipe_models import mediapipe_with_models

mediapipe = mediapipe_with_models()

from posemamba_live.detectors.mediapipe import MediaPipeDetector  # noqa: E402

DEMO = Path(__file__).parents[1] / "demo_videos"
LIMBS = list(LIMB_JOINTS)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """A cache of our own: the user's is left alone."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(bundle.CACHE_VARIABLE, str(folder))
        yield folder


@pytest.fixture
def detector():
    built = MediaPipeDetector()
    yield built
    built.close()


def look(detector: MediaPipeDetector, frame: Frame) -> list[Detection]:
    return [found.detection for found in detector.detect(frame)]


def clip(name: str, count: int) -> list[Frame]:
    with VideoFile(DEMO / f"{name}.mp4", max_frames=count) as video:
        return list(video)


def truth(name: str, key: str) -> np.ndarray:
    return np.load(DEMO / f"{name}_gt.npz", allow_pickle=False)[key]


@pytest.mark.parametrize("name", ["walk_turn", "arm_signals"])
def test_finds_the_person_within_5_pixels(detector, name):
    frames = clip(name, 40)
    found = [look(detector, frame) for frame in frames]
    assert [len(people) for people in found] == [1] * 40
    keypoints = np.stack([people[0].keypoints for people in found])
    error = np.linalg.norm(keypoints - truth(name, "joints_2d")[:40], axis=-1)[:, LIMBS]
    assert error.mean() < 5.0
    scores = np.stack([people[0].scores for people in found])
    assert scores.min() >= 0.0
    assert 0.5 < scores.mean() <= 1.0


def test_world_landmarks_are_metres_in_camera_axes(detector):
    frames = clip("arm_signals", 20)
    world = np.stack([blazepose_joints(detector.detect_world(frame)[0][1]) for frame in frames])
    expected = truth("arm_signals", "joints_camera")[:20]
    error = (world - world[:, :1]) - (expected - expected[:, :1])
    # MPJPE of this clip is 71 mm; a wrong axis or unit would give hundreds.
    assert np.linalg.norm(error, axis=-1)[:, LIMBS].mean() < 0.12


def test_feet_and_hands_come_along_by_name(detector):
    for frame in clip("walk_turn", 10):
        found = look(detector, frame)[0]
    joints = dict(zip(JOINT_NAMES, found.keypoints, strict=True))
    extra = dict(zip(found.extra.names, found.extra.points, strict=True))
    assert len(extra) == 20
    height = np.ptp(found.keypoints[:, 1])
    for side, short in (("left", "L"), ("right", "R")):
        for name, joint in (("heel", "Ankle"), ("foot_index", "Ankle"), ("index", "Wrist")):
            apart = np.linalg.norm(extra[f"{side}_{name}"] - joints[short + joint])
            assert 0.0 < apart < 0.2 * height
        assert extra[f"{side}_heel"][1] > joints[f"{short}Knee"][1]  # below the knee
    assert found.extra.scores.shape == (20,)


def test_nobody_is_an_empty_list_and_people_may_leave_and_return(detector):
    frames = clip("walk_turn", 30)
    empty = np.full_like(frames[0].image, 128)
    counts = []
    for frame in frames:
        gone = 10 <= frame.index < 20
        image = empty if gone else frame.image
        counts.append(len(look(detector, Frame(frame.index, frame.timestamp, image, 0.0))))
    assert counts[:10] == [1] * 10
    assert counts[10:20] == [0] * 10
    assert counts[25:] == [1] * 5


@pytest.mark.parametrize("size", [(321, 243), (1921, 1081), (96, 54)])
def test_odd_sizes_scale_with_the_picture(size):
    frames = clip("walk_turn", 6)
    expected = truth("walk_turn", "joints_2d")[5]
    scale = min(size[0] / 640, size[1] / 360)
    width, height = round(640 * scale), round(360 * scale)
    detector = MediaPipeDetector()
    for frame in frames:
        image = np.zeros((size[1], size[0], 3), np.uint8)
        image[:height, :width] = cv2.resize(frame.image, (width, height))
        found = look(detector, Frame(frame.index, frame.timestamp, image, 0.0))
    detector.close()
    assert len(found) == 1
    error = np.linalg.norm(found[0].keypoints / scale - expected, axis=-1)[LIMBS]
    assert error.mean() < 9.0


def test_tiny_pictures_hold_nobody(detector):
    for index, size in enumerate([(1, 1), (2, 3), (7, 5)]):
        image = np.zeros((size[1], size[0], 3), np.uint8)
        assert look(detector, Frame(index, index / 30, image, 0.0)) == []


def test_time_stamps_that_stand_still_or_go_back_are_no_trouble(detector):
    frames = clip("walk_turn", 12)
    times = [0.0, 0.0, 0.0001, 0.0002, 0.5, 0.4, 0.4, 0.0, 0.033, 1e6, 1e6, 0.0]
    for frame, time in zip(frames, times, strict=True):
        assert len(look(detector, Frame(frame.index, time, frame.image, 0.0))) == 1


def test_works_off_the_main_thread(detector):
    frame = clip("walk_turn", 1)[0]
    found = []
    thread = threading.Thread(target=lambda: found.extend(look(detector, frame)))
    thread.start()
    thread.join()
    assert len(found) == 1


def test_a_closed_detector_says_so(detector):
    frame = clip("walk_turn", 1)[0]
    detector.close()
    detector.close()
    with pytest.raises(DetectorError, match="closed"):
        look(detector, frame)


def test_mediapipe_log_stays_off_stderr(capfd):
    built = MediaPipeDetector()
    for frame in clip("walk_turn", 3):
        look(built, frame)
    built.close()
    assert capfd.readouterr().err == ""


def test_other_output_survives_the_log_filter(capfd):
    with without_native_log():
        os.write(2, b"I0000 00:00:1795248268.268736    6975 task_runner.cc:85] no GPU\n")
        print("progress 10 %", file=sys.stderr)
        os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n")
        os.write(2, b"no newline at the end")
    print("!", file=sys.stderr)
    assert capfd.readouterr().err == "progress 10 %\nno newline at the end!\n"


def test_log_filter_puts_stderr_back_after_a_failure(capfd):
    with pytest.raises(ValueError, match="inside"), without_native_log():
        raise ValueError("inside")
    os.write(2, b"visible\n")
    assert capfd.readouterr().err == "visible\n"


def test_bundle_is_built_once_and_mended_when_damaged(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setenv(bundle.CACHE_VARIABLE, str(tmp_path / "new" / "cache"))
    content = bundle.load_bundle()
    path = bundle.bundle_path()
    assert bundle.is_bundle(content)
    assert path.read_bytes() == content
    assert re.search(r"First run: building", caplog.text)
    assert "0.10" in path.name

    caplog.clear()
    assert bundle.load_bundle() == content
    assert caplog.text == ""

    for damage in (b"", content[: len(content) // 2], b"\0" * 10 + content[10:]):
        path.write_bytes(damage)
        assert bundle.is_bundle(bundle.load_bundle())
        assert bundle.is_bundle(path.read_bytes())
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 0xFF
    assert not bundle.is_bundle(bytes(flipped))
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_cache_that_cannot_be_written_costs_a_warning_only(tmp_path, monkeypatch, caplog):
    blocker = tmp_path / "file"
    blocker.write_text("not a folder")
    monkeypatch.setenv(bundle.CACHE_VARIABLE, str(blocker))
    assert bundle.is_bundle(bundle.load_bundle())
    assert "Cannot keep the detector bundle" in caplog.text


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="XDG is for Linux")
def test_cache_follows_the_user_settings(tmp_path, monkeypatch):
    monkeypatch.delenv(bundle.CACHE_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert bundle.cache_dir() == tmp_path / "posemamba-live"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert bundle.cache_dir() == tmp_path / ".cache" / "posemamba-live"


def test_any_other_bundle_can_be_given(tmp_path):
    path = tmp_path / "mine.task"
    path.write_bytes(bundle.load_bundle())
    built = create_detector("mediapipe", DetectorSettings(path))
    assert len(look(built.model, clip("walk_turn", 1)[0])) == 1
    built.close()


_WRONG = ("empty", "text", "other", "rubbish", "exchanged", "missing", "folder")


def _wrong_models(folder: Path) -> dict[str, Path]:
    files = {name: folder / f"{name}.task" for name in _WRONG[:5]}
    files["empty"].touch()
    files["text"].write_text("not a model\n" * 100)
    with zipfile.ZipFile(files["other"], "w") as archive:
        archive.writestr("hand_detector.tflite", b"x")
        archive.writestr("hand_landmarks_detector.tflite", b"x")
    with zipfile.ZipFile(files["rubbish"], "w") as archive:
        archive.writestr("pose_detector.tflite", b"x" * 1000)
        archive.writestr("pose_landmarks_detector.tflite", b"x" * 1000)
    with zipfile.ZipFile(io.BytesIO(bundle.load_bundle())) as whole:
        (one, first), (other, second) = ((name, whole.read(name)) for name in whole.namelist())
    with zipfile.ZipFile(files["exchanged"], "w") as archive:
        archive.writestr(one, second)
        archive.writestr(other, first)
    return {**files, "missing": folder / "missing.task", "folder": folder}


@pytest.mark.parametrize("kind", _WRONG)
def test_a_wrong_model_gives_cause_and_remedy(tmp_path, kind, capfd):
    path = _wrong_models(tmp_path)[kind]
    with pytest.raises(DetectorError) as caught:
        create_detector("mediapipe", DetectorSettings(path))
    assert str(path) in str(caught.value)
    assert caught.value.why
    assert ".task" in caught.value.hint
    assert capfd.readouterr().err == ""


def test_the_answer_says_where_to_look_next_and_what_runs(detector):
    frame = clip("walk_turn", 1)[0]
    (found,) = detector.detect(frame)
    left, top, right, bottom = found.next_region.box()
    limbs = found.detection.keypoints[LIMBS]
    seen = found.detection.scores[LIMBS] >= 0.3
    assert (limbs[seen] >= (left, top)).all()
    assert (limbs[seen] <= (right, bottom)).all()
    assert found.presence == 1.0
    assert found.circle is None
    about = create_detector("mediapipe").describe()
    assert about == {
        "name": "mediapipe", "model": "pose_landmarker_full", "version": mediapipe.__version__
    }  # fmt: skip


def test_without_mediapipe_the_message_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    monkeypatch.delitem(sys.modules, "posemamba_live.detectors.mediapipe")
    with pytest.raises(DetectorError) as caught:
        create_detector("mediapipe")
    assert "posemamba-live[mediapipe]" in caught.value.hint
    assert "--detector blazepose" in caught.value.hint


def test_a_mediapipe_without_models_wants_a_bundle(tmp_path, monkeypatch):
    monkeypatch.setenv(bundle.CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setattr(mediapipe, "__file__", str(tmp_path / "mediapipe" / "__init__.py"))
    with pytest.raises(DetectorError, match="carries no models") as caught:
        create_detector("mediapipe")
    assert "--detector-model" in caught.value.hint


def test_unknown_detectors_and_numbers_are_usage_errors():
    with pytest.raises(UsageError, match="yolo") as caught:
        create_detector("yolo")
    assert "mediapipe" in caught.value.hint
    with pytest.raises(UsageError):
        create_detector("mediapipe", DetectorSettings(people=0))
