"""RTMPose through the command line, from a video of drawn people to the exported poses."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from posemamba.skeleton import LIMB_JOINTS
from posemamba_live import cli
from posemamba_live.detectors.skeletons import HALPE_26, from_keypoints
from tests.support import onnx_models

pytestmark = pytest.mark.usefixtures("restored_logging")
LIMBS = list(LIMB_JOINTS)
FRAMES = 40
HIDDEN = range(20, 23)
"""Frames in which the first person is not to be seen."""


def person(which: int, index: int) -> tuple[tuple[float, ...], np.ndarray]:
    """Box and Halpe keypoints: one walks right, the other stands and sways."""
    left = 40.0 + 3 * index if which == 0 else 440.0 + 4 * np.sin(index / 3)
    box = (left, 50.0, left + 130.0, 310.0)
    grid = np.array([(i % 5 / 4, i // 5 / 5) for i in range(26)])
    jitter = np.random.default_rng(which).uniform(-3, 3, (26, 2))
    return box, np.array([left + 15, 65.0]) + grid * np.array([100.0, 230.0]) + jitter


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lossless video of both people."""
    path = tmp_path_factory.mktemp("clip") / "people.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"FFV1"), 30.0, (640, 360))
    assert writer.isOpened()
    for index in range(FRAMES):
        image = np.zeros((360, 640, 3), np.uint8)
        for which in (0, 1):
            onnx_models.draw_person(image, *person(which, index), which)
        if index in HIDDEN:
            onnx_models.draw_cover(image, person(0, index)[0])
        writer.write(image)
    writer.release()
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {
        "pose": onnx_models.pose_model(folder / "halpe.onnx", points=26),
        "person": onnx_models.person_model(folder / "rtmdet.onnx", "rtmdet"),
        "one-stage": onnx_models.rtmo_model(folder / "rtmo.onnx"),
        "foreign": onnx_models.foreign_model(folder / "foreign.onnx"),
    }


def run(clip: Path, tiny_weights: Path, tmp_path: Path, *more: object) -> tuple[dict, dict]:
    export, stats = tmp_path / "poses.npz", tmp_path / "stats.json"
    arguments = [clip, "--headless", "--weights", tiny_weights, "--export", export,
                 "--stats", stats, "--detector", "rtmpose", *more]  # fmt: skip
    assert cli.run([str(argument) for argument in arguments]) == 0
    with np.load(export, allow_pickle=False) as file:
        return dict(file), json.loads(stats.read_text())


def test_two_people_in_a_video(clip, models, tiny_weights, tmp_path, capsys):
    data, stats = run(clip, tiny_weights, tmp_path, "--people", 2, "--detector-model",
                      models["pose"], "--person-model", models["person"])  # fmt: skip
    assert data["joints_2d"].shape == (2 * FRAMES, 17, 2)  # the hidden frames are filled in
    first_is_left = data["joints_2d"][data["person_id"] == 0][0, :, 0].mean() < 320
    for row in range(2 * FRAMES):
        which = int(data["person_id"][row]) if first_is_left else 1 - int(data["person_id"][row])
        index = int(data["frame_index"][row])
        _, points = person(which, index)
        expected = from_keypoints(points, np.ones(26)).keypoints
        filled = which == 0 and index in HIDDEN
        assert data["predicted"][row] == filled
        error = np.linalg.norm(data["joints_2d"][row] - expected, axis=1)[LIMBS]
        assert error.mean() < 0.4
        extra = dict(zip(data["extra_names"], data["extra_2d"][row], strict=True))
        heel = extra["left_heel"]
        if filled:
            assert np.isnan(data["extra_2d"][row]).all()
            assert not data["extra_scores"][row].any()
        else:
            np.testing.assert_allclose(heel, points[HALPE_26.index("left_heel")], atol=0.6)
            assert data["extra_scores"][row].min() > 0.3
    assert data["extra_2d"].dtype == data["extra_scores"].dtype == np.float32

    meta = json.loads(str(data["meta"]))
    assert meta["detector"] == "rtmpose"
    assert meta["detector_model"] == str(models["pose"])
    assert meta["detector_info"] == stats["detector"]
    assert stats["detector"]["person_model"] == "rtmdet.onnx"
    assert stats["detector"]["provider"] == "CPUExecutionProvider"
    assert stats["detector"]["threads"] >= 1
    assert stats["detector"]["detect_every"] is None
    assert stats["stage_ms"]["detect"]["p50"] > 0.0
    assert "onnxruntime" in meta["versions"]
    assert "warning" not in capsys.readouterr().err.lower()


def test_one_stage_with_one_person(clip, models, tiny_weights, tmp_path):
    data, stats = run(
        clip, tiny_weights, tmp_path, "--detector-model", models["one-stage"], "--max-frames", 10
    )
    assert data["joints_2d"].shape == (10, 17, 2)
    assert "left_eye" in data["extra_names"]
    assert stats["detector"]["model"] == "rtmo.onnx"


def test_live_it_looks_for_people_now_and_then(clip, models, tiny_weights, tmp_path):
    _, stats = run(
        clip, tiny_weights, tmp_path, "--realtime", "--detector-model", models["pose"],
        "--person-model", models["person"],
    )  # fmt: skip
    assert stats["detector"]["detect_every"] is None
    _, stats = run(
        clip, tiny_weights, tmp_path, "--realtime", "--detector-model", models["pose"],
        "--person-model", models["person"], "--detect-every", 3, "--overwrite",
    )  # fmt: skip
    assert stats["detector"]["detect_every"] == 3


@pytest.mark.parametrize(
    ("arguments", "code", "fragments"),
    [
        (["--detector-model", "foreign"], 1, ["logits", "simcc_x", "end2end.onnx"]),
        (["--detector-model", "half"], 1, ["half.onnx", "cause:", "try:"]),
        (["--detector-model", "person"], 2, ["--person-model for this one"]),
        (["--detector-model", "pose", "--person-model", "pose"], 2, ["does not find people"]),
        (["--detector-model", "pose", "--person-model", "none", "--people", "2"], 2, ["--people"]),
        (["--detector", "mediapipe", "--detector-model", "pose"], 1, ["blazepose or rtmpose"]),
    ],
)
def test_models_that_cannot_be_used(
    clip, models, tiny_weights, tmp_path, capsys, arguments, code, fragments
):
    half = tmp_path / "half.onnx"
    half.write_bytes(models["pose"].read_bytes()[:5000])
    known = {**models, "half": half}
    given = ["--detector", "rtmpose", *(str(known.get(word, word)) for word in arguments)]
    export = tmp_path / "poses.npz"
    common = [str(clip), "--headless", "--weights", str(tiny_weights), "--export", str(export)]
    assert cli.run([*common, *given]) == code
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    assert out == ""
    assert err.count("error: ") == 1
    assert all(fragment in err for fragment in fragments), err
    assert not export.exists()
