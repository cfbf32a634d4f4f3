"""posemamba-eval: commands, clip scores and the benchmarks' formats and protocols."""

from __future__ import annotations

import json
import math
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from posemamba.checkpoint import Checkpoint, CheckpointMeta, load_checkpoint, save_checkpoint
from posemamba.config import PoseMambaConfig
from posemamba.model import PoseMamba
from posemamba.network import Network
from posemamba.normalize import reflected
from posemamba.skeleton import JOINT_NAMES, LIMB_JOINTS, MIRROR
from posemamba.streams import CausalNetwork
from posemamba.training import benchmark_sets, h36m_cameras
from posemamba.training.benchmark_sets import BenchmarkError, evaluate_sequences
from posemamba.training.metrics import procrustes
from posemamba.training.motion import load_motion
from posemamba.training.scoring import evaluate_model
from posemamba.training.synth import SynthConfig, evaluation_windows
from posemamba_live.errors import DetectorError
from posemamba_live.evaluation import clips
from posemamba_live.evaluation.benchmarks import benchmark_predictor
from posemamba_live.evaluation.evaluate import app
from posemamba_live.evaluation.synthetic import lift, mirrored
from posemamba_live.lifting.causal import CausalLifter
from posemamba_live.types import Pose2D
from tests.support.mediapipe_models import mediapipe_with_models
from tests.support.motion_files import walking, write_motion

DEMO_VIDEOS = Path(__file__).resolve().parent.parent / "demo_videos"


@pytest.fixture(scope="module")
def motion_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("motion")
    write_motion(
        folder / "lab.npz", [walking(150, 0.1), walking(200)], ["test", "test"], ["lab", "lab"]
    )
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    config = PoseMambaConfig(dim=16, depth=1, frames=15, in_channels=5)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    meta = CheckpointMeta(name="tiny", config=config, input_kind="rays", output_unit="body_height")
    save_checkpoint(path, PoseMamba(config).state_dict(), meta)
    return path


class Recorded(nn.Module):
    """Answers with prepared poses, one after another."""

    def __init__(self, answers: np.ndarray) -> None:
        super().__init__()
        self.answers = nn.Parameter(torch.from_numpy(answers))
        self.next = 0

    def forward(self, x: Tensor) -> Tensor:
        self.next += len(x)
        return self.answers[self.next - len(x) : self.next]


# --- synthetic ------------------------------------------------------------------------------


def test_the_truth_scores_zero(motion_folder: Path) -> None:
    windows = evaluation_windows(
        load_motion(motion_folder, "test"), 20, config=SynthConfig.evaluation(close=0.5)
    )
    scores = evaluate_model(Recorded(windows.target), windows, batch=8)
    assert scores["mpjpe"] == scores["accel"] == scores["last_mpjpe"] == scores["n_close"] == 0.0
    assert scores["pa_mpjpe"] == pytest.approx(0.0, abs=1e-3)
    assert scores["pck150"] == 100.0


def test_errors_come_in_millimetres(motion_folder: Path) -> None:
    windows = evaluation_windows(load_motion(motion_folder, "test"), 20)
    answers = windows.target.copy()
    answers[:, :, LIMB_JOINTS[-1], 0] += 0.1 / windows.height[:, None]
    scores = evaluate_model(Recorded(answers), windows)
    assert scores["mpjpe"] == pytest.approx(100.0 / 12, rel=1e-3)
    assert scores["velocity"] < 1.0


def test_synthetic_command_writes_every_table(
    motion_folder: Path, weights: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    command = ["synthetic", "--motion", str(motion_folder), "--weights", str(weights)]
    command += ["--windows", "12", "--json", str(report)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    numbers = json.loads(report.read_text())
    assert numbers["frames"] == 15
    assert numbers["webcam"]["windows"] == 6
    room = numbers["room"]
    assert set(room["joint"]) == set(JOINT_NAMES)
    assert set(room["delay"]) == {"0", "5", "13"}
    assert sum(row["windows"] for row in room["action"].values()) == 12
    assert room["all"]["n_mpjpe"] == pytest.approx(room["source"]["lab"]["n_mpjpe"])
    for word in ("room views", "webcam views", "walk", "LWrist", "look-ahead"):
        assert word in result.output


def test_the_mirrored_pass_is_that_of_the_application(motion_folder: Path, weights: Path) -> None:
    sample = evaluation_windows(load_motion(motion_folder, "test"), 6, frames=15)
    checkpoint = load_checkpoint(weights)
    both = 0.5 * (lift(checkpoint, sample) + reflected(lift(checkpoint, mirrored(sample))))
    network = Network(checkpoint, fov_deg=60.0, mirrored=True)
    for i in range(len(sample)):
        one = sample.part(slice(i, i + 1))
        width, height = (int(v) for v in one.image_size[0])
        camera = network(one.keypoints, one.scores, (width, height))
        virtual = camera @ one.rotation[:, None].swapaxes(-1, -2)
        np.testing.assert_allclose(both[i : i + 1] - both[i : i + 1, :, :1], virtual, atol=1e-5)
    np.testing.assert_allclose(mirrored(mirrored(sample)).inputs, sample.inputs, atol=1e-4)


def test_one_pass_on_request(motion_folder: Path, weights: Path, tmp_path: Path) -> None:
    reports = []
    for option in ("--flip", "--no-flip"):
        path = tmp_path / f"{option}.json"
        command = ["synthetic", "--motion", str(motion_folder), "--weights", str(weights)]
        command += ["--windows", "8", option, "--json", str(path)]
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output
        assert ("mirrored" in result.output) == (option == "--flip")
        reports.append(json.loads(path.read_text())["room"])
    both, single = reports
    assert single["all"] == single["one_pass"] == both["one_pass"] != both["all"]
    assert single["delay"] == both["delay"]


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--motion", "nowhere"], 1, "nowhere: no test clips"),
        (["--motion", "{motion}", "--weights", "nowhere.safetensors"], 1, "nowhere"),
        (["--motion", "{motion}", "--split", "train"], 2, "test or val"),
    ],
)
def test_synthetic_command_says_what_is_wrong(
    options: list[str], code: int, message: str, motion_folder: Path, weights: Path
) -> None:
    options = [option.format(motion=motion_folder) for option in options]
    if "--weights" not in options:
        options += ["--weights", str(weights)]
    result = CliRunner().invoke(app, ["synthetic", *options])
    assert result.exit_code == code
    assert message in result.output


# --- clips ----------------------------------------------------------------------------------


@pytest.fixture
def clip_folder(tmp_path: Path) -> Path:
    """A clip of a walking person, and an export with a bystander and a missing frame."""
    joints = walking(40)[..., [0, 2, 1]] * np.float32([1, -1, 1]) + np.float32([0, 0.5, 4])
    flat = joints[..., :2] / joints[..., 2:] * 500 + 320
    np.savez(tmp_path / "walk_gt.npz", joints_camera=joints, joints_2d=flat)
    (tmp_path / "walk.mp4").touch()
    (tmp_path / "no_truth.mp4").touch()
    relative = joints - joints[:, :1]
    frame = np.delete(np.arange(40), 20)
    bystander = np.zeros_like(relative)
    np.savez(
        tmp_path / "walk.npz",
        frame_index=np.concatenate([frame, np.arange(40)]),
        joints_3d=np.concatenate([0.8 * relative[frame], bystander]),
        joints_2d=np.concatenate([flat[frame] + 2, flat + 200]),
    )
    return tmp_path


def test_clip_scores_are_of_the_right_person(clip_folder: Path) -> None:
    (clip,) = clips.find_clips(clip_folder)
    poses = clips.read_export(clip_folder / "walk.npz", clip)
    # Where the person is missing, the bystander is all that there is.
    assert poses.frame.tolist() == list(range(40))
    alone = clips.Poses(np.delete(poses.frame, 20), np.delete(poses.joints, 20, 0))
    scores = clips.score_clip(clip, "ours", alone)
    assert scores.found == pytest.approx(97.5)
    assert scores.n_mpjpe == pytest.approx(0.0, abs=1e-3)
    assert scores.pa_mpjpe == pytest.approx(0.0, abs=1e-3)
    assert scores.accel == pytest.approx(0.0, abs=1e-3)
    hips = 0.5 * (clip.joints[:, 1] + clip.joints[:, 4])
    distance = np.linalg.norm(clip.joints - hips[:, None], axis=-1)[:, LIMB_JOINTS]
    assert scores.mpjpe == pytest.approx(200.0 * np.delete(distance, 20, 0).mean(), rel=1e-4)


def test_clips_command_scores_exports(clip_folder: Path) -> None:
    command = ["clips", str(clip_folder), "--poses", str(clip_folder), "--no-detector"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "walk  posemamba" in result.output
    assert "no_truth" not in result.output


def test_clips_command_says_what_is_wrong(clip_folder: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    result = CliRunner().invoke(app, ["clips", str(empty)])
    assert result.exit_code == 1
    assert "NAME_gt.npz" in result.output
    result = CliRunner().invoke(app, ["clips", str(clip_folder), "--poses", str(empty)])
    assert result.exit_code == 1
    assert "walk.npz" in result.output


def test_without_mediapipe_ours_is_scored_all_the_same(
    clip_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_there(clip: clips.Clip) -> clips.Poses:
        raise DetectorError("MediaPipe is not there", why="No module named 'mediapipe'")

    monkeypatch.setattr(clips, "run_mediapipe", not_there)
    command = ["clips", str(clip_folder), "--poses", str(clip_folder)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert result.output.count("without MediaPipe's own 3D: No module named 'mediapipe'") == 1
    assert "posemamba" in result.output
    assert "  mediapipe " not in result.output


def test_mediapipe_scores_as_published_on_a_real_clip() -> None:
    mediapipe_with_models()
    found = {clip.name: clip for clip in clips.find_clips(DEMO_VIDEOS)}
    clip = found["walk_turn"]
    scores = clips.score_clip(clip, "mediapipe", clips.run_mediapipe(clip))
    # The clip's own README: 61.0 mm PA-MPJPE, every frame detected.
    assert scores.found == 100.0
    assert scores.pa_mpjpe == pytest.approx(61.0, abs=5.0)
    assert scores.n_mpjpe == pytest.approx(80.5, abs=5.0)


# --- benchmarks -----------------------------------------------------------------------------


def h36m_world(frames: int, seed: int) -> np.ndarray:
    """(frames, 32, 3) metres about the middle of the room, as the field's file stores them."""
    rng = np.random.default_rng(seed)
    joints = rng.normal(0.0, 0.3, (1, 32, 3)) + np.array([0.0, 0.0, 0.9])
    return (joints + rng.normal(0.0, 0.01, (frames, 32, 3))).astype(np.float32)


@pytest.fixture
def h36m_files(tmp_path: Path) -> tuple[Path, Path]:
    frames = {"Walking 1": 40, "Walking": 25, "Sitting": 7}
    subjects = ("S1", "S9", "S11")
    world = {s: {a: h36m_world(n, i) for i, (a, n) in enumerate(frames.items())} for s in subjects}
    # Detections run a few frames longer than the positions, as they do in the real files.
    seen = {s: {a: [np.full((n + 2, 17, 2), 500.0)] * 4 for a, n in frames.items()} for s in world}
    np.savez(tmp_path / "data_3d_h36m.npz", positions_3d=np.array(world, dtype=object))
    np.savez(
        tmp_path / "data_2d.npz", positions_2d=np.array(seen, dtype=object), metadata=np.zeros(1)
    )
    return tmp_path / "data_3d_h36m.npz", tmp_path / "data_2d.npz"


def truth_plus(offset: float, action: str):
    """A predictor that errs by `offset` mm in one action, in every joint but the root."""

    def predict(sequence, rows):
        moved = np.array(sequence.truth[rows], np.float64)
        if sequence.action == action:
            moved[:, :, 1:, 0] += offset
        return moved

    return predict


def test_cameras_of_human36m_look_at_the_room() -> None:
    """The published poses are right-handed and see somebody in the middle of the room."""
    person = np.array([[0.0, 0.0, 100.0], [0.0, 0.0, 1700.0]])
    for subject in h36m_cameras.EXTRINSICS:
        for camera, (width, height) in enumerate(h36m_cameras.IMAGE_SIZES):
            feet, head = h36m_cameras.to_camera(person, subject, camera)
            assert np.linalg.norm(head - feet) == pytest.approx(1600.0, abs=0.1)
            assert 3000 < feet[2] < 7000
            for point in (feet, head):
                pixel = h36m_cameras.FOCAL[camera] * point[:2] / point[2] + 500.0
                assert 0 < pixel[0] < width
                assert 0 < pixel[1] < height
            assert head[1] < feet[1] - 1500.0


def test_h36m_protocols_average_actions_not_frames(h36m_files: tuple[Path, Path]) -> None:
    sequences = benchmark_sets.read_h36m(*h36m_files)
    assert len(sequences) == 2 * 3 * 4
    assert {s.action for s in sequences} == {"Walking", "Sitting"}
    assert {len(s.truth) for s in sequences} == {40, 25, 7}
    scores = evaluate_sequences(sequences, truth_plus(17.0, "Walking"), length=10)
    assert scores["Sitting"].mpjpe == 0.0
    assert scores["Walking"].mpjpe == pytest.approx(16.0)
    assert scores["average"].mpjpe == pytest.approx(8.0)
    assert scores["Walking"].frames == 2 * 4 * 65
    assert scores["all frames"].mpjpe == pytest.approx(16.0 * 65 / 72)
    assert scores["Walking"].pa_mpjpe < scores["Walking"].mpjpe
    assert scores["Walking"].mpjve == pytest.approx(0.0, abs=1e-3)


def test_scale_is_forgiven_by_n_mpjpe_only(h36m_files: tuple[Path, Path]) -> None:
    sequences = benchmark_sets.read_h36m(*h36m_files)
    scores = evaluate_sequences(sequences, lambda s, rows: 0.9 * s.truth[rows], length=27)
    assert scores["average"].mpjpe > 10.0
    assert scores["average"].n_mpjpe == pytest.approx(0.0, abs=1e-3)


def test_every_frame_has_a_scale_of_its_own(h36m_files: tuple[Path, Path]) -> None:
    sequences = benchmark_sets.read_h36m(*h36m_files)

    def breathing(s: benchmark_sets.Sequence, rows: np.ndarray) -> np.ndarray:
        return (0.8 + 0.01 * rows)[..., None, None] * s.truth[rows]

    scores = evaluate_sequences(sequences, breathing, length=27)
    assert scores["average"].mpjpe > 10.0
    assert scores["average"].n_mpjpe == pytest.approx(0.0, abs=1e-3)


def test_windows_of_the_protocols() -> None:
    def bounds(*args: int, drop_rest: bool) -> list[tuple[int, int]]:
        return [(w[0], w[-1]) for w in benchmark_sets.windows(*args, drop_rest)]

    assert bounds(25, 10, drop_rest=False) == [(0, 9), (10, 19), (15, 24)]
    assert bounds(25, 10, drop_rest=True) == [(0, 9), (10, 19)]
    assert bounds(20, 10, drop_rest=False) == [(0, 9), (10, 19)]
    (stretched,) = benchmark_sets.windows(4, 10, False)
    assert stretched.tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 3, 3]


@pytest.fixture
def h36m_pickle(tmp_path: Path) -> Path:
    rng = np.random.default_rng(5)
    sources = ["s_09_act_02_subact_01_ca_01"] * 30 + ["s_09_act_05_subact_02_ca_01"] * 10
    sources += ["s_11_act_02_subact_02_ca_02"] * 25
    count = len(sources)
    pixels = rng.uniform(200, 800, (count, 17, 2)).astype(np.float32)
    factor = rng.uniform(3, 5, count)
    flat = np.concatenate([pixels, np.zeros((count, 17, 1))], -1)
    test = {
        "joint_2d": pixels,
        "confidence": np.ones((count, 17, 1), np.float32),
        "joints_2.5d_image": flat * factor[:, None, None],
        "2.5d_factor": factor,
        "camera_name": ["54138969"] * 40 + ["55011271"] * 25,
        "action": ["Directions"] * 30 + ["Greeting"] * 10 + ["Directions"] * 25,
        "source": sources,
    }
    path = tmp_path / "h36m.pkl"
    path.write_bytes(pickle.dumps({"train": {}, "test": test}))
    return path


class Flat(nn.Module):
    """A network in image units that answers with its input, at depth 0."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, torch.zeros_like(x[..., :1])], -1)


def flat_checkpoint() -> Checkpoint:
    config = PoseMambaConfig(dim=16, depth=1, frames=10)
    meta = CheckpointMeta(name="flat", config=config, input_kind="image", output_unit="image")
    return Checkpoint(Flat(), meta)  # type: ignore[arg-type]


@pytest.mark.parametrize("flip", [False, True])
def test_official_weights_are_scored_in_their_image_units(h36m_pickle: Path, flip: bool) -> None:
    sequences = benchmark_sets.read_h36m_pickle(h36m_pickle)
    assert [s.name[:21] for s in sequences] == ["s_09_act_02_subact_01", "s_11_act_02_subact_02"]
    predict = benchmark_predictor(flat_checkpoint(), flip, 1.70)
    scores = evaluate_sequences(sequences, predict, length=10, drop_rest=True)
    assert scores["Directions"].frames == 30 + 20
    assert scores["average"].mpjpe == pytest.approx(0.0, abs=0.01)


def test_mpi_counts_valid_frames_in_h36m_order(tmp_path: Path) -> None:
    joints = np.zeros((30, 17, 3))
    joints[:, :, 0] = 100.0 * np.arange(17)
    valid = (np.arange(30) < 20).astype(float)
    content = {"data_2d": np.zeros((30, 17, 2)), "data_3d": joints, "valid": valid}
    path = tmp_path / "data_test_3dhp.npz"
    np.savez(path, data=np.array({"TS1": content, "TS5": content}, dtype=object))
    first, outdoor = benchmark_sets.read_mpi(path)
    assert (first.image_size, outdoor.image_size) == ((2048, 2048), (1920, 1080))
    # Pelvis is 14 there; head top 0, right shoulder 2, right hip 8, left ankle 13.
    named = dict(zip(JOINT_NAMES, first.truth[0, :, 0] / 100.0 + 14, strict=True))
    expected = {"Hip": 14, "Head": 0, "Thorax": 1, "RShoulder": 2, "RHip": 8, "LAnkle": 13}
    assert {name: named[name] for name in expected} == pytest.approx(expected)

    def wrong_in_invalid(sequence, rows):
        out = np.array(sequence.truth[rows], np.float64)
        out[..., 1] += 160.0 * (rows >= 20)[..., None]
        out[..., 1] += 75.0 * (np.arange(17) == JOINT_NAMES.index("Spine"))
        return out

    scores = evaluate_sequences([first, outdoor], wrong_in_invalid, length=7)
    total = scores["all frames"]
    assert total.frames == 40
    assert total.mpjpe == pytest.approx(75.0 / 17)
    # The spine is not among the 14 joints of PCK and AUC.
    assert total.pck150 == total.auc == 100.0


def test_our_weights_run_through_both_benchmarks(
    h36m_files: tuple[Path, Path], weights: Path, tmp_path: Path
) -> None:
    report = tmp_path / "h36m.json"
    command = ["h36m", "--positions", str(h36m_files[0]), "--keypoints", str(h36m_files[1])]
    result = CliRunner().invoke(
        app, [*command, "--weights", str(weights), "--no-flip", "--json", str(report)]
    )
    assert result.exit_code == 0, result.output
    scores = json.loads(report.read_text())["scores"]
    assert set(scores) == {"Walking", "Sitting", "average", "all frames"}
    assert np.isfinite(scores["average"]["mpjpe"])
    result = CliRunner().invoke(app, ["h36m", "--weights", str(weights)])
    assert result.exit_code == 2
    assert "--pickle" in result.output


def test_a_window_that_the_weights_do_not_take(
    h36m_files: tuple[Path, Path], weights: Path
) -> None:
    command = ["h36m", "--positions", str(h36m_files[0]), "--keypoints", str(h36m_files[1])]
    result = CliRunner().invoke(app, [*command, "--weights", str(weights), "--frames", "16"])
    assert result.exit_code == 2
    assert "1 to 15" in result.output


@pytest.mark.parametrize("flip", [False, True])
def test_causal_weights_are_scored_as_the_application_lifts(
    h36m_files: tuple[Path, Path], flip: bool
) -> None:
    torch.manual_seed(2)
    config = PoseMambaConfig(dim=16, depth=1, frames=9, in_channels=5, causal=True)
    meta = CheckpointMeta("causal", config, "stream", "body_height")
    checkpoint = Checkpoint(PoseMamba(config).eval().requires_grad_(False), meta)
    sequence = benchmark_sets.read_h36m(*h36m_files)[0]
    rows = np.arange(20)[None]
    lifted = benchmark_predictor(checkpoint, flip, 1.7)(sequence, rows)
    assert sequence.focal is not None
    fov = math.degrees(2 * math.atan(0.5 * max(sequence.image_size) / sequence.focal))

    def application(mirror: bool) -> np.ndarray:
        keypoints, scores, order = sequence.keypoints, sequence.scores, list(MIRROR)
        if mirror:
            keypoints, scores = keypoints[:, order].copy(), scores[:, order]
            keypoints[..., 0] = sequence.image_size[0] - keypoints[..., 0]
        lifter = CausalLifter(CausalNetwork(checkpoint), fov_deg=fov)
        poses = [
            Pose2D(t, 0.02 * t, 0, keypoints[t], scores[t], sequence.image_size) for t in range(20)
        ]
        joints = np.stack([lifter.push(pose)[0].joints for pose in poses])
        return reflected(joints) if mirror else joints

    expected = application(False)
    if flip:
        expected = 0.5 * (expected + application(True))
    np.testing.assert_allclose(lifted[0], 1700.0 * expected, atol=0.1)


def test_h36m_can_be_trained_on(h36m_files: tuple[Path, Path], tmp_path: Path) -> None:
    folder = tmp_path / "motion"
    result = CliRunner().invoke(app, ["h36m-motion", str(h36m_files[0]), str(folder)])
    assert result.exit_code == 0, result.output
    motion = load_motion(folder, "train")
    assert motion.name.tolist() == ["S1 Walking 1", "S1 Walking", "S1 Sitting"]
    expected = h36m_world(40, 0)[:, benchmark_sets.H36M_JOINTS]
    np.testing.assert_allclose(motion.joints[:40], expected, atol=0.00013)
    assert len(load_motion(folder, "test")) == 3


def test_mpi_can_be_trained_on(tmp_path: Path) -> None:
    world = walking(200, 0.8).astype(np.float64)
    yaw = np.pi * np.arange(200) / 100  # once round: leans of the walk cancel
    turn = np.stack([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]).transpose(2, 1, 0)
    world[..., :2] = (world[..., :2] - world[:, :1, :2]) @ turn
    pitch = np.radians(15.0)  # a camera 2 m up that looks down on somebody 4 m away
    down, forward = [0.0, -np.sin(pitch), -np.cos(pitch)], [0.0, np.cos(pitch), -np.sin(pitch)]
    axes = np.array([[1.0, 0.0, 0.0], down, forward])
    seen = 1000.0 * (world - [0.0, -4.0, 2.0]) @ axes.T
    theirs = np.empty_like(seen)
    theirs[:, benchmark_sets.MPI_TO_H36M] = seen
    view = {"data_3d": theirs, "data_2d": np.zeros((200, 17, 2))}
    part = {"data_3d": theirs[:9], "data_2d": np.zeros((9, 17, 2))}
    data = {"S1 Seq2": [{"0": part, "4": view}], "S8 Seq1": [{"0": view}]}
    path = tmp_path / "data_train_3dhp.npz"
    np.savez(path, data=np.array(data, dtype=object))
    result = CliRunner().invoke(app, ["mpi-motion", str(path), str(tmp_path / "motion")])
    assert result.exit_code == 0, result.output
    train = load_motion(tmp_path / "motion", "train")
    assert train.name.tolist() == ["S1 Seq2"]
    assert len(train.joints) == 200
    np.testing.assert_allclose(train.joints[..., 2], world[..., 2], atol=0.03)
    # Only turned, not mirrored nor scaled.
    np.testing.assert_allclose(procrustes(train.joints, world), world, atol=1e-3)
    # 25 frames a second become 50, with the frames that there were among them.
    val = load_motion(tmp_path / "motion", "val")
    assert len(val.joints) == 399
    np.testing.assert_allclose(val.joints[::2, ..., 2], world[..., 2], atol=0.03)
    middle = 0.5 * (val.joints[:-2:2] + val.joints[2::2])
    np.testing.assert_allclose(val.joints[1:-1:2], middle, atol=0.01)


def test_mpi_files_without_positions(tmp_path: Path) -> None:
    path = tmp_path / "data_train_3dhp.npz"
    np.savez(path, data=np.array({"S1 Seq1": [{"0": {"data_2d": np.zeros((4, 17, 2))}}]}, object))
    result = CliRunner().invoke(app, ["mpi-motion", str(path), str(tmp_path / "motion")])
    assert result.exit_code == 1
    assert "data_3d" in result.output


class Hostile:
    """Creates a file when unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.marker),)


def test_hostile_files_execute_nothing(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    path = tmp_path / "hostile.pkl"
    path.write_bytes(pickle.dumps({"test": Hostile(marker)}))
    with pytest.raises(BenchmarkError, match="it wants to run"):
        benchmark_sets.read_h36m_pickle(path)
    archive = tmp_path / "hostile.npz"
    np.savez(archive, data=np.array({"TS1": Hostile(marker)}, dtype=object))
    with pytest.raises(BenchmarkError, match="it wants to run"):
        benchmark_sets.read_mpi(archive)
    assert not marker.exists()


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 truncated"])
def test_broken_files_are_told_by_name(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.npz"
    path.write_bytes(content)
    for read in (benchmark_sets.read_mpi, benchmark_sets.read_h36m_pickle):
        with pytest.raises(BenchmarkError, match=r"broken\.npz"):
            read(path)
