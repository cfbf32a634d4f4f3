"""The training data engine: geometry, reproducibility and noise that is as measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from posemamba.normalize import ASSUMED_FOV_DEG
from posemamba.skeleton import (
    HEAD,
    HIP,
    JOINT_NAMES,
    L_ANKLE,
    L_ELBOW,
    L_HIP,
    L_KNEE,
    L_SHOULDER,
    L_WRIST,
    LIMB_JOINTS,
    MIRROR,
    NOSE,
    R_ANKLE,
    R_ELBOW,
    R_HIP,
    R_KNEE,
    R_SHOULDER,
    R_WRIST,
    THORAX,
)
from posemamba.training import noise, postures
from posemamba.training.cameras import CameraConfig
from posemamba.training.motion import MotionError, MotionSet, load_motion, stature
from posemamba.training.noise import NoiseConfig
from posemamba.training.synth import SynthConfig, WindowSampler, _vary_body, evaluation_windows
from tests.support.motion_files import walking, write_motion

LIMB_BONES = (
    (R_HIP, R_KNEE), (R_KNEE, R_ANKLE), (L_HIP, L_KNEE), (L_KNEE, L_ANKLE),
    (R_SHOULDER, R_ELBOW), (R_ELBOW, R_WRIST), (L_SHOULDER, L_ELBOW), (L_ELBOW, L_WRIST),
)  # fmt: skip
EXACT = NoiseConfig(
    amount=0.0, severity=0.0, burst=0.0, burst_far=0.0, legs_swapped=0.0, hidden=0.0,
    frozen=0.0, gap=0.0, compressed_scores=0.0, peaks=0.0,
)  # fmt: skip
SMOOTHED = NoiseConfig(raw=False, self_occlusion=False, peaks=0.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("motion")
    write_motion(
        path / "a.npz",
        [walking(400), walking(200, 0.05), walking(300, 0.5)],
        ["train", "train", "val"],
        ["lab", "lab", "lab"],
    )
    write_motion(path / "b.npz", [walking(100, 0.05), walking(40)], ["train", "test"], ["b", "b"])
    return path


@pytest.fixture(scope="module")
def motion(folder: Path) -> MotionSet:
    return load_motion(folder, "train")


def bone_lengths(joints: np.ndarray) -> np.ndarray:
    ends = np.array(LIMB_BONES)
    return np.linalg.norm(joints[..., ends[:, 0], :] - joints[..., ends[:, 1], :], axis=-1)


# --- motion ---------------------------------------------------------------------------------


def test_motion_splits_never_share_a_clip(folder: Path) -> None:
    lengths = {s: np.diff(load_motion(folder, s).start).tolist() for s in ("train", "val", "test")}
    assert lengths == {"train": [400, 200, 100], "val": [300], "test": [40]}


def test_motion_comes_back_in_metres(motion: MotionSet) -> None:
    np.testing.assert_allclose(motion.joints[:400], walking(400), atol=0.00013)


def test_sources_weigh_by_the_square_root_of_their_length(motion: MotionSet) -> None:
    lab, other = np.sqrt(600), np.sqrt(100)
    expected = np.array([lab * 400 / 600, lab * 200 / 600, other]) / (lab + other)
    np.testing.assert_allclose(motion.weight, expected)


def test_calm_frames_are_those_of_people_who_stand(motion: MotionSet) -> None:
    clips = np.searchsorted(motion.start, motion.calm, side="right") - 1
    assert set(clips.tolist()) == {1, 2}


def test_stature_is_the_height_of_a_standing_body() -> None:
    body = walking(1)[None]
    assert stature(body)[0] == pytest.approx(1.75, abs=0.03)
    assert stature(2 * body)[0] == pytest.approx(2 * stature(body)[0], rel=1e-6)


def test_motion_errors_name_file_and_cause(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(MotionError, match="no train clips"):
        load_motion(tmp_path, "train")
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(MotionError, match=r"other\.npz: no .*joints"):
        load_motion(tmp_path, "train")


# --- geometry -------------------------------------------------------------------------------


def test_exact_keypoints_are_the_projections(motion: MotionSet) -> None:
    config = SynthConfig(noise=EXACT, padded=0.0, camera=CameraConfig(close=0.0, cut=0.0))
    batch = WindowSampler(motion, config, seed=1).batch(64)
    limbs = batch.joints[:, :, LIMB_JOINTS]
    expected = (
        limbs[..., :2] / limbs[..., 2:] * batch.focal[:, None, None, None]
        + 0.5 * batch.image_size[:, None, None]
    )
    inside = ((expected > 0) & (expected < batch.image_size[:, None, None])).all(-1)
    assert inside.mean() > 0.99
    error = np.abs(batch.keypoints[:, :, LIMB_JOINTS] - expected).max(-1)
    assert error[inside].max() < 0.01


def test_inputs_and_target_share_the_virtual_camera(motion: MotionSet) -> None:
    """With the field of view that is assumed, target joints project onto the inputs."""
    fov = (ASSUMED_FOV_DEG, ASSUMED_FOV_DEG)
    camera = CameraConfig(close=0.0, cut=0.0, fov=fov)
    config = SynthConfig(noise=EXACT, padded=0.0, camera=camera)
    batch = WindowSampler(motion, config, seed=2).batch(32)
    root = (batch.rotation[:, None] @ batch.joints[:, :, HIP, :, None])[..., 0]
    metres = batch.target * batch.height[:, None, None, None] + root[:, :, None]
    flat = metres[..., :2] / metres[..., 2:]
    extent = 0.11 * np.exp(batch.inputs[..., 3:4])
    difference = (batch.inputs[..., :2] * extent - flat)[:, :, LIMB_JOINTS]
    assert np.abs(difference).max() < 2e-3

    turned_back = batch.target @ batch.rotation[:, None]
    expected = batch.joints - batch.joints[:, :, HIP, None]
    np.testing.assert_allclose(turned_back * batch.height[:, None, None, None], expected, atol=2e-5)


def test_people_stay_people(motion: MotionSet) -> None:
    """Faces point forwards, whether mirrored, turned or rolled: nothing is inside out."""
    batch = WindowSampler(motion, SynthConfig(mix=0.0, posture=0.0), seed=3).batch(128)
    x = batch.joints
    right = x[:, :, R_SHOULDER] - x[:, :, L_SHOULDER]
    up = x[:, :, THORAX] - x[:, :, HIP]
    # Camera axes are right-handed, as the world's are: forward = up x right.
    forward = np.cross(up, right)
    nose = x[:, :, NOSE] - x[:, :, HEAD]
    assert ((forward * nose).sum(-1) > 0).all()
    assert (np.abs(batch.joints[..., 2]) >= 0.2).all()


def test_bodies_keep_their_bones_and_their_height(motion: MotionSet) -> None:
    config = SynthConfig(mix=1.0, reach=0.3, posture=0.3, padded=0.0)
    batch = WindowSampler(motion, config, seed=4).batch(64)
    lengths = bone_lengths(batch.joints)
    np.testing.assert_allclose(lengths, lengths[:, :1].repeat(lengths.shape[1], 1), atol=2e-3)
    np.testing.assert_allclose(stature(batch.joints), batch.height, rtol=0.01)
    assert 1.62 < batch.height.mean() < 1.78
    assert 0.05 < batch.height.std() < 0.15
    shape = lengths[:, 0] / batch.height[:, None]
    assert (shape.std(0) / shape.mean(0)).min() > 0.02


def test_cameras_follow_their_configuration(motion: MotionSet) -> None:
    camera = CameraConfig(
        close=0.0, cut=0.0, roll_sd=0.0, roll_wide=0.0, elevation=(0.0, 5.0), level=0.0
    )
    batch = WindowSampler(motion, SynthConfig(camera=camera, posture=0.0), seed=5).batch(128)
    fov = np.degrees(2 * np.arctan(0.5 * batch.image_size.max(-1) / batch.focal))
    assert 34.9 < fov.min() < 40
    assert 85 < fov.max() < 90.1
    assert batch.joints[:, :, HIP, 2].mean(1).min() > 1.5
    # Level cameras see heads above hips (y is down).
    assert (batch.joints[:, :, HEAD, 1] < batch.joints[:, :, HIP, 1]).mean() > 0.99


def test_level_cameras_tie_the_place_in_the_picture_to_the_view(motion: MotionSet) -> None:
    """Who is lower in the picture is seen from higher up: exactly so without any pitch."""

    def tilt_and_view(level: float) -> tuple[np.ndarray, np.ndarray]:
        # Close enough for the place to vary, far enough for bodies to fit.
        camera = CameraConfig(
            close=0.0, cut=0.0, roll_sd=0.0, roll_wide=0.0, fov=(60.0, 60.0), level=level,
            level_pitch=(0.0, 0.0), level_roll_sd=0.0,
        )  # fmt: skip
        config = SynthConfig(camera=camera, posture=0.0, mix=0.0, noise=EXACT)
        batch = WindowSampler(motion, config, seed=8).batch(256)
        trunk = (batch.joints[:, :, THORAX] - batch.joints[:, :, HIP]).mean(1)
        lean = np.arctan2(-trunk[:, 2], -trunk[:, 1])  # of the trunk towards the camera
        return np.arcsin(0.15 * batch.inputs[:, 0, 0, 4]), lean

    tilt, lean = tilt_and_view(1.0)
    # Upright people stand upright in the picture of a level camera, wherever they are.
    assert np.abs(np.median(lean)) < np.radians(6)
    assert np.ptp(tilt) > np.radians(10)
    _, steep = tilt_and_view(0.0)
    assert np.percentile(steep, 90) > np.percentile(lean, 90) + np.radians(10)


def test_shoulders_of_a_body_are_in_front_of_those_of_a_skeleton(motion: MotionSet) -> None:
    config = replace(SynthConfig.evaluation(), bone_spread=0.0, height=(1.7, 0.0))
    moved = replace(config, shoulders_forward=(0.03, 0.0), shoulders_down=(0.01, 0.0))
    standing = motion.joints[motion.calm[:8]][:, None]
    before, _ = _vary_body(np.random.default_rng(3), standing, config)
    after, _ = _vary_body(np.random.default_rng(3), standing, moved)
    hips = before[:, 0, R_HIP] - before[:, 0, L_HIP]
    ahead = np.cross([0.0, 0.0, 1.0], hips / np.linalg.norm(hips, axis=-1, keepdims=True))
    way = (after - before)[:, 0] / 1.7
    # The body is scaled back to its height, and its trunk leans a little: hence the tolerances.
    for joint in (L_SHOULDER, R_SHOULDER, L_WRIST, R_WRIST, THORAX):
        np.testing.assert_allclose((way[:, joint] * ahead).sum(-1), 0.03, atol=0.004)
        np.testing.assert_allclose(way[:, joint, 2], -0.01, atol=0.004)
    assert np.abs(way[:, (HIP, R_ANKLE, L_ANKLE, NOSE, HEAD)]).max() < 0.004


def test_shoulders_as_captured_leave_the_published_sets_as_they_were(motion: MotionSet) -> None:
    config = SynthConfig.evaluation()
    assert config.shoulders_forward == config.shoulders_down == (0.0, 0.0)
    assert not config.noise.shared_bias
    assert not config.noise.paired_offset
    own = SynthConfig.evaluation(shoulders=True)
    assert own.shoulders_forward == SynthConfig().shoulders_forward != (0.0, 0.0)
    plain = evaluation_windows(motion, 16)
    np.testing.assert_array_equal(plain.clip, evaluation_windows(motion, 16, config=own).clip)
    # Hip widths of the first windows as they were before shoulders could be moved.
    apart = np.linalg.norm(plain.joints[:, 0, R_HIP] - plain.joints[:, 0, L_HIP], axis=-1)
    np.testing.assert_allclose(apart[:4], [0.22242, 0.25379, 0.29912, 0.26242], rtol=1e-4)


def test_level_cameras_leave_other_sets_as_they_were(motion: MotionSet) -> None:
    """Published test sets have none, and stay the same windows."""
    assert SynthConfig.evaluation().camera.level == 0.0
    plain = evaluation_windows(motion, 16)
    mixed = evaluation_windows(motion, 16, config=SynthConfig.evaluation(level=1.0))
    np.testing.assert_array_equal(plain.clip, mixed.clip)
    assert np.abs(plain.joints - mixed.joints).max() > 0.1


def test_webcam_views_lose_the_legs(motion: MotionSet) -> None:
    config = SynthConfig(camera=CameraConfig(close=1.0), posture=0.0, padded=0.0)
    batch = WindowSampler(motion, config, seed=6).batch(128)
    assert batch.close.all()
    flat = batch.joints[..., :2] / batch.joints[..., 2:] * batch.focal[:, None, None, None]
    outside = (np.abs(flat) > 0.5 * batch.image_size[:, None, None]).any(-1)
    assert outside[:, :, (L_ANKLE, R_ANKLE)].mean() > 0.5
    assert outside[:, :, (L_SHOULDER, R_SHOULDER)].mean() < 0.2
    scores = batch.scores[:, :, LIMB_JOINTS]
    hidden = outside[:, :, LIMB_JOINTS]
    assert np.median(scores[hidden]) < 0.3 < np.median(scores[~hidden])


# --- reproducibility ------------------------------------------------------------------------


def test_a_resumed_stream_goes_on_where_it_stopped(motion: MotionSet) -> None:
    first = WindowSampler(motion, seed=9)
    batches = [first.batch(8) for _ in range(3)]
    resumed = WindowSampler(motion, seed=9)
    resumed.index = 2
    for name in batches[2].__slots__:
        np.testing.assert_array_equal(
            getattr(resumed.batch(8, index=2), name), getattr(batches[2], name)
        )
    np.testing.assert_array_equal(resumed.batch(8).inputs, batches[2].inputs)
    assert not np.array_equal(batches[0].inputs, batches[1].inputs)
    other = WindowSampler(motion, seed=10).batch(8)
    assert not np.array_equal(other.inputs, batches[0].inputs)


def test_every_window_is_finite_at_any_length(motion: MotionSet) -> None:
    for frames in (1, 2, 27, 81):
        batch = WindowSampler(motion, frames=frames, seed=11).batch(64)
        assert batch.inputs.shape == (64, frames, 17, 6)
        assert batch.inputs.dtype == batch.target.dtype == np.float32
        assert np.isfinite(batch.inputs).all()
        assert np.isfinite(batch.target).all()


def test_evaluation_windows_are_plain_captured_motion(motion: MotionSet) -> None:
    batch = evaluation_windows(motion, 32)
    np.testing.assert_array_equal(batch.inputs, evaluation_windows(motion, 32).inputs)
    assert not batch.close.any()
    assert len(batch.part(batch.clip == 0)) == (batch.clip == 0).sum()


def test_configuration_from_plain_data() -> None:
    config = SynthConfig.from_dict({"mix": 0.1, "camera": {"close": 1.0, "fov": [40, 50]}})
    assert config == replace(SynthConfig(), mix=0.1, camera=CameraConfig(close=1.0, fov=(40, 50)))
    with pytest.raises(TypeError, match="mixx"):
        SynthConfig.from_dict({"mixx": 0.1})


# --- postures -------------------------------------------------------------------------------


def test_two_bone_chain_reaches_and_keeps_its_lengths() -> None:
    rng = np.random.default_rng(0)
    target = rng.normal(size=(200, 3)).astype(np.float32) * 0.3
    pole = rng.normal(size=(200, 3)).astype(np.float32)
    upper, lower = np.full(200, 0.30, np.float32), np.full(200, 0.26, np.float32)
    middle, end = postures.two_bone(target, pole, upper, lower)
    np.testing.assert_allclose(np.linalg.norm(middle, axis=-1), 0.30, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(end - middle, axis=-1), 0.26, atol=1e-5)
    distance = np.linalg.norm(target, axis=-1)
    within = (distance > 0.13) & (distance < 0.55)
    assert within.sum() > 50
    np.testing.assert_allclose(end[within], target[within], atol=1e-5)
    line = end / np.linalg.norm(end, axis=-1, keepdims=True)
    sideways = pole - (pole * line).sum(-1, keepdims=True) * line
    assert ((middle * sideways).sum(-1) >= -1e-6).all()


@pytest.mark.parametrize("name", [p[0] for p in postures.POSTURES])
def test_folded_legs_look_like_their_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = tuple((n, 1.0, legs) for n, _, legs in postures.POSTURES if n == name)[:1]
    monkeypatch.setattr(postures, "POSTURES", rows)
    joints = np.stack([walking(27, 0.05)] * 40)
    before = bone_lengths(joints)
    postures.fold_legs(np.random.default_rng(1), joints, np.full(40, 30.0, np.float32))
    np.testing.assert_allclose(bone_lengths(joints), before, atol=1e-4)
    knees = joints[:, :, (R_KNEE, L_KNEE), 2] - joints[:, :, (R_HIP, L_HIP), 2]
    trunk = joints[:, :, THORAX] - joints[:, :, HIP]
    steepness = trunk[..., 2] / np.linalg.norm(trunk, axis=-1)
    if name == "lying":
        assert np.abs(steepness).mean() < 0.4
        return
    assert steepness.mean() > 0.85
    if name.startswith("chair"):
        ankles = joints[:, :, (R_ANKLE, L_ANKLE), 2] - joints[:, :, (R_HIP, L_HIP), 2]
        assert np.abs(knees.mean()) < 0.15
        assert ankles.mean() < -0.2
    if name == "kneeling":
        assert knees.mean() < -0.38
    if name.startswith("floor"):
        ankles = joints[:, :, (R_ANKLE, L_ANKLE), 2] - joints[:, :, (R_HIP, L_HIP), 2]
        assert np.abs(ankles).mean() < 0.15


def test_reaching_arms_move_smoothly_and_leave_the_rest_alone() -> None:
    joints = np.stack([walking(54, 0.05)] * 100)
    before = joints.copy()
    postures.reach(np.random.default_rng(2), joints, np.full(100, 30.0, np.float32))
    np.testing.assert_array_equal(joints[:, :, :12], before[:, :, :12])
    np.testing.assert_allclose(bone_lengths(joints), bone_lengths(before), atol=1e-4)
    moved = np.abs(joints - before)[:, :, (L_WRIST, R_WRIST)].max((1, 3))
    assert (moved > 0.05).any(1).all()
    speed = np.linalg.norm(np.diff(joints[:, :, (L_WRIST, R_WRIST)], axis=1), axis=-1) * 30.0
    assert speed.max() < 12.0


# --- noise ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def standing() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Exact projections of 2000 standing windows, 2 pixels per percent, 1280x720."""
    body = walking(27, 0.05)[:, [*LIMB_JOINTS, NOSE, HEAD]]
    flat = np.stack([body[..., 0], -body[..., 2] + 0.9], -1) * (200 / 1.75) + [640, 360]
    points = np.repeat(flat[None].astype(np.float32), 2000, 0)
    depth = np.full(points.shape[:3], 4.0, np.float32)
    size = np.tile(np.array([[1280.0, 720.0]], np.float32), (2000, 1))
    return points, depth, np.full(2000, 2.0, np.float32), size, np.full(2000, 30.0, np.float32)


def test_noise_is_as_large_as_measured(
    standing: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray],
) -> None:
    points = standing[0]
    found = noise.detect(np.random.default_rng(3), *standing, SMOOTHED)
    error = np.linalg.norm(found.points - points, axis=-1) / 2.0
    # Measured medians (percent of height) of single joints in clear view: 0.9 to 2.2.
    medians = np.median(error, (0, 1))
    assert ((medians > 0.7) & (medians < 2.4)).all(), medians
    score, limb_error = found.scores[..., :12].ravel(), error[..., :12].ravel()
    measured = (((0.1, 0.3), 7.65), ((0.3, 0.6), 2.96), ((0.6, 0.9), 1.54), ((0.9, 0.99), 1.14))
    for (low, high), median in measured:
        own = limb_error[(score >= low) & (score < high)]
        assert 0.6 * median < np.median(own) < 1.6 * median, (low, high)
    assert 0.45 < (score > 0.99).mean() < 0.70
    assert 0.75 < (score > 0.9).mean() < 0.90


def test_noise_changes_slowly(
    standing: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray],
) -> None:
    points = standing[0]
    quiet = replace(EXACT, amount=1.0, raw=False)
    found = noise.detect(np.random.default_rng(4), *standing, quiet)
    error = (found.points - points)[:, :, 2]
    error = error - error.mean(1, keepdims=True)
    lag = {k: (error[:, k:] * error[:, :-k]).mean() / (error**2).mean() for k in (1, 4, 20)}
    # Measured within clips at 33 ms and 133 ms: 0.74 to 0.96 and 0.12 to 0.71.
    assert 0.6 < lag[1] < 0.96
    assert 0.0 < lag[4] < 0.6
    assert lag[20] < lag[4]


def test_noise_is_as_large_at_the_ends_as_in_the_middle(
    standing: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray],
) -> None:
    points = standing[0]
    many = NoiseConfig(burst=0.5, burst_far=0.5, hidden=0.5, frozen=0.5, gap=0.5)
    found = noise.detect(np.random.default_rng(5), *standing, many)
    large = (np.linalg.norm(found.points - points, axis=-1)[..., :12] > 12.0).mean((0, 2))
    assert large[[0, 1, -2, -1]].mean() == pytest.approx(large[10:17].mean(), rel=0.1)


def test_wrists_whose_hand_has_left_the_picture_may_be_anywhere(
    standing: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray],
) -> None:
    points, depth, percent, size, fps = standing
    left, right = 8, 11
    lowest = points[0, :, [left, right], 1].max()
    cut = np.tile(np.array([[1280.0, lowest + 4.0]], np.float32), (len(size), 1))
    config = replace(EXACT, amount=1.0, raw=True)
    found = noise.detect(np.random.default_rng(8), points, depth, percent, cut, fps, config)
    off = np.linalg.norm(found.points - points, axis=-1)[:, :, [left, right]] / 2.0
    worst = off.max(1).ravel()
    astray = worst > 8.0
    assert 0.2 < astray.mean() < 0.45
    assert np.quantile(worst[astray], 0.9) > 25.0  # up to 40 percent of body height were seen
    other = points[:, :, [right, left]]
    near = np.linalg.norm(found.points[:, :, [left, right]] - other, axis=-1).min(1) / 2.0
    assert 0.1 < (near.ravel()[astray] < 6.0).mean() < 0.6
    whole = noise.detect(np.random.default_rng(8), points, depth, percent, size, fps, config)
    inside = np.linalg.norm(whole.points - points, axis=-1)[:, :, [left, right]].max(1) / 2.0
    assert (inside > 8.0).mean() < 0.02
    shown = found.scores[:, :, [left, right]].mean(1).ravel()
    assert shown[astray].mean() < 0.75 * shown[~astray].mean()

    never = replace(config, astray=0.0)
    found = noise.detect(np.random.default_rng(8), points, depth, percent, cut, fps, never)
    off = np.linalg.norm(found.points - points, axis=-1)[:, :, [left, right]].max(1) / 2.0
    assert (off > 8.0).mean() < 0.05

    told = replace(config, peaks=1.0)
    found = noise.detect(np.random.default_rng(8), points, depth, percent, cut, fps, told)
    off = np.linalg.norm(found.points - points, axis=-1)[:, :, [left, right]] / 2.0
    peaks = found.peaks[:, :, [left, right]]
    assert 0.3 < np.median(peaks[off > 15.0]) < 0.5, "measured on rendered desks: 0.3 to 0.5"
    assert np.median(peaks[off < 2.0]) > 0.8
    assert (found.scores <= found.peaks + 1e-6).all(), "visibility times peak"


def test_joint_order_of_the_noise_tables() -> None:
    names = [JOINT_NAMES[joint] for joint in LIMB_JOINTS]
    assert names[:3] == ["RHip", "RKnee", "RAnkle"]
    assert names[6:9] == ["LShoulder", "LElbow", "LWrist"]
    for table in (noise.WHITE_SD, noise.DRIFT_SD, noise.OFFSET_SD, noise.OUTSIDE_SD):
        assert table.shape == (noise.NUM_POINTS,)
    other = [LIMB_JOINTS.index(MIRROR[joint]) for joint in LIMB_JOINTS]
    np.testing.assert_array_equal(noise.DRIFT_SD[:12], noise.DRIFT_SD[other])


def test_constant_errors_agree_between_the_sides(
    standing: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray],
) -> None:
    steady = replace(EXACT, amount=1.0, shared_bias=False, raw=False)
    alike, apart = (
        (noise.detect(np.random.default_rng(6), *standing, config).points - standing[0]).mean(1)
        for config in (steady, replace(steady, paired_offset=False))
    )
    # The constant parts, as far as drift and severity leave them to be seen.
    for axis in (0, 1):
        hips, shoulders, knees, own = (
            np.corrcoef(a, b)[0, 1]
            for a, b in (
                (alike[:, 0, axis], alike[:, 3, axis]),
                (alike[:, 6, axis], alike[:, 9, axis]),
                (alike[:, 1, axis], alike[:, 4, axis]),
                (apart[:, 0, axis], apart[:, 3, axis]),
            )
        )
        assert hips > 0.5 > shoulders > 0.25
        assert abs(knees) < 0.1
        assert abs(own) < 0.15
    np.testing.assert_allclose(alike.std(0), apart.std(0), rtol=0.1)


def test_errors_of_neighbours_go_together_as_measured(
    standing: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray],
) -> None:
    raw = replace(EXACT, amount=1.0, raw=True, severity=0.0)
    alike, apart = (
        noise.detect(np.random.default_rng(6), *standing, config).points - standing[0]
        for config in (raw, replace(raw, together=False))
    )
    # What is drawn is a little less alike than the table says: each point has white noise, too.
    points = noise.NUM_POINTS
    for axis, name in enumerate(("across", "up")):
        found, own = (
            np.corrcoef(error[..., axis].reshape(-1, points), rowvar=False)
            for error in (alike, apart)
        )
        wanted = np.eye(points)
        for (a, b), both in noise._TOGETHER.items():
            wanted[a, b] = wanted[b, a] = both[axis]
        np.testing.assert_allclose(found, wanted, atol=0.13, err_msg=name)
        assert np.abs(own - np.eye(points)).max() < 0.1
    np.testing.assert_allclose(alike.std((0, 1)), apart.std((0, 1)), rtol=0.05)


def test_errors_that_go_together_turn_with_the_trunk() -> None:
    rng = np.random.default_rng(7)
    apart = rng.standard_normal((4000, 3, noise.NUM_POINTS, 2)).astype(np.float32)
    lying = np.tile(np.array([[1.0, 0.0]], np.float32), (4000, 3, 1, 1))
    error = noise._together(apart, lying)
    shoulders = [
        np.corrcoef(error[..., 6, k].ravel(), error[..., 9, k].ravel())[0, 1] for k in (0, 1)
    ]
    np.testing.assert_allclose(shoulders, noise._TOGETHER[6, 9][::-1], atol=0.05)


def test_biases_of_a_person_lie_between_the_measured_ones_together(
    standing: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray],
) -> None:
    quiet = replace(EXACT, amount=1.0, raw=False)
    found = noise.detect(np.random.default_rng(6), *standing, quiet)
    upward = (standing[0] - found.points)[..., 1].mean(1) / 2.0  # percent, (2000, 14)
    middle = 0.5 * (noise.BIAS_RENDERED + noise.BIAS_REAL)
    np.testing.assert_allclose(upward.mean(0), middle, atol=0.12)
    # Each side's own offset hides it a little: sd 1 to 1.2 per point, times the severity.
    shoulders, hips = upward[:, [6, 9]].mean(1), upward[:, [0, 3]].mean(1)
    assert np.corrcoef(shoulders, hips)[0, 1] > 0.15

    alone = noise.detect(np.random.default_rng(6), *standing, replace(quiet, shared_bias=False))
    upward = (standing[0] - alone.points)[..., 1].mean(1) / 2.0
    np.testing.assert_allclose(upward.mean(0), 0.75 * noise.BIAS_UP, atol=0.12)
    shoulders, hips = upward[:, [6, 9]].mean(1), upward[:, [0, 3]].mean(1)
    assert abs(np.corrcoef(shoulders, hips)[0, 1]) < 0.08
