"""Metres, root, gravity and floor against clips whose camera and body are known exactly."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import least_squares

from posemamba import gravity
from posemamba.skeleton import BONES, L_ANKLE, L_KNEE, MIRROR, R_ANKLE, R_KNEE
from posemamba_live.scene import contact
from posemamba_live.scene.body import (
    CHAIN_SHARE,
    measure_body,
    rebuild,
    segment_lengths,
    segment_weights,
    weighted_median,
)
from posemamba_live.scene.contact import reach
from posemamba_live.scene.distance import fuse_floor
from posemamba_live.scene.ground import (
    ANKLE_HEIGHT,
    PITCH_PRIOR,
    Ground,
    about_x,
    above_floor,
    before_evidence,
    fit_ground,
    gather_evidence,
)
from posemamba_live.scene.heights import relative_heights
from posemamba_live.scene.pinhole import Pinhole, fit_lateral, fit_translation
from posemamba_live.scene.scene import SceneTracker, solve_scene
from posemamba_live.types import LiftedPose, Pose2D, Pose3D

DEMO = Path(__file__).parent.parent / "demo_videos"
FPS = 30.0
Array = np.ndarray


@dataclass(frozen=True)
class Clip:
    """Ground truth of one demo clip."""

    height_m: float
    camera: Array
    world: Array
    pixels: Array
    focal: float
    rotation: Array
    translation: Array
    size: tuple[int, int] = (640, 360)

    @property
    def fov_deg(self) -> float:
        return 2.0 * math.degrees(math.atan(0.5 * max(self.size) / self.focal))

    @property
    def ground(self) -> Ground:
        up = self.rotation[:, 2]
        height = -(self.rotation.T @ self.translation)[2]
        return Ground(math.asin(up[2]), math.atan2(up[0], -up[1]), float(height))

    @property
    def relative(self) -> Array:
        return self.camera - self.camera[:, :1]

    def lifted(
        self,
        *,
        units: Array | None = None,
        pixels: Array | None = None,
        scores: Array | None = None,
        person: int = 0,
    ) -> list[LiftedPose]:
        """What a lifter would say: exact, unless told otherwise."""
        units = self.relative / self.height_m if units is None else units
        pixels = self.pixels if pixels is None else pixels
        scores = np.full((len(units), 17), 0.95) if scores is None else scores
        return [
            LiftedPose(
                Pose2D(
                    frame_index=i,
                    timestamp=i / FPS,
                    person_id=person,
                    keypoints=pixels[i].astype(np.float32),
                    scores=scores[i].astype(np.float32),
                    image_size=self.size,
                ),
                units[i].astype(np.float32),
                look_ahead=0,
            )
            for i in range(len(units))
        ]


def load(name: str, height_m: float) -> Clip:
    with np.load(DEMO / f"{name}_gt.npz", allow_pickle=False) as gt:
        return Clip(
            height_m=height_m,
            camera=gt["joints_camera"].astype(float),
            world=gt["joints_world"].astype(float),
            pixels=gt["joints_2d"].astype(float),
            focal=float(gt["K"][0, 0]),
            rotation=gt["R"],
            translation=gt["t"],
        )


@pytest.fixture(scope="module", params=["walk_turn", "arm_signals"])
def clip(request: pytest.FixtureRequest) -> Clip:
    return load(request.param, {"walk_turn": 1.78, "arm_signals": 1.66}[request.param])


@pytest.fixture(scope="module")
def walk() -> Clip:
    return load("walk_turn", 1.78)


def noisy(clip: Clip, *, shrink: float = 1.0, person: int = 0) -> list[LiftedPose]:
    """Errors like a lifter's: slow, larger in depth, with a size that wavers."""
    rng = np.random.default_rng(5)
    keep = math.exp(-1.0 / (FPS * 0.15))
    units = shrink * clip.relative / clip.height_m
    drift, size = np.zeros((17, 3)), 0.0
    out = np.empty_like(units)
    for i in range(len(units)):
        fresh = rng.normal(size=(17, 3)) * [0.012, 0.012, 0.025]
        drift = keep * drift + math.sqrt(1 - keep**2) * fresh
        size = 0.92 * size + 0.39 * rng.normal() * 0.03
        out[i] = units[i] * math.exp(size) + drift
    pixels = clip.pixels + rng.normal(0, 1.5, clip.pixels.shape)
    return clip.lifted(units=out, pixels=pixels, person=person)


def track_live(lifted: list[LiftedPose], clip: Clip, **options: float) -> list[Pose3D]:
    tracker = SceneTracker(clip.height_m, clip.fov_deg, **options)
    return [tracker.update(pose) for pose in lifted]


def stack(poses: list[Pose3D], field: str) -> Array:
    return np.array([getattr(pose, field) for pose in poses])


def lower_ankle(world: Array) -> Array:
    return world[:, [R_ANKLE, L_ANKLE], 2].min(1)


def bone(joints: Array, a: int, b: int) -> Array:
    return np.linalg.norm(joints[:, a] - joints[:, b], axis=-1)


# Camera


def test_pinhole_agrees_with_the_camera_that_rendered_the_clip(clip: Clip) -> None:
    camera = Pinhole.from_fov(clip.size, clip.fov_deg)
    assert camera.focal == pytest.approx(clip.focal, rel=1e-6)
    np.testing.assert_allclose(camera.project(clip.camera), clip.pixels, atol=0.01)
    rays = camera.rays(clip.pixels)
    np.testing.assert_allclose(rays, clip.camera[..., :2] / clip.camera[..., 2:], atol=2e-5)


def test_translation_is_the_least_squares_one(clip: Clip) -> None:
    rng = np.random.default_rng(6)
    rows = slice(0, 160, 40)
    joints = clip.relative[rows] + rng.normal(0, 0.01, (4, 17, 3))
    rays = Pinhole.from_fov(clip.size, clip.fov_deg).rays(clip.pixels[rows])
    weights = rng.uniform(0.2, 1.0, (4, 17))
    got = fit_translation(joints, rays, weights)
    for i in range(4):

        def residuals(t: Array, i: int = i) -> Array:
            p = joints[i] + t
            error = p[:, :2] / p[:, 2:] - rays[i]
            return np.ravel(np.sqrt(weights[i])[:, None] * error)

        best = least_squares(residuals, x0=[0.0, 0.0, 5.0], xtol=1e-12, ftol=1e-12).x
        # Ours also plays down the worse joints: equal up to a fraction of their noise.
        np.testing.assert_allclose(got[i, :2], best[:2], atol=0.01)
        assert got[i, 2] == pytest.approx(best[2], rel=0.01)
    np.testing.assert_allclose(
        fit_lateral(clip.relative, clip.camera[..., :2] / clip.camera[..., 2:],
                    np.ones(clip.relative.shape[:2]), clip.camera[:, 0, 2]),
        clip.camera[:, 0], atol=1e-6,
    )  # fmt: skip


def test_translation_ignores_a_joint_that_is_far_off(clip: Clip) -> None:
    rays = Pinhole.from_fov(clip.size, clip.fov_deg).rays(clip.pixels)
    rays[:, 13] += 0.2  # a wrist seen on the other side of the room
    got = fit_translation(clip.relative, rays, np.ones(rays.shape[:2]))
    np.testing.assert_allclose(got[:, :2], clip.camera[:, 0, :2], atol=0.03)
    np.testing.assert_allclose(got[:, 2], clip.camera[:, 0, 2], rtol=0.03)


# Body


def test_weighted_median_equals_repetition() -> None:
    rng = np.random.default_rng(7)
    values = rng.normal(size=(25, 3))
    counts = rng.integers(1, 6, (25, 3))
    got = weighted_median(values, counts.astype(float))
    for k in range(3):
        repeated = np.sort(np.repeat(values[:, k], counts[:, k]))
        assert got[k] == repeated[math.ceil(len(repeated) / 2) - 1]


def test_rebuilding_keeps_directions_and_sets_lengths(clip: Clip) -> None:
    lengths = np.linspace(0.1, 0.5, 17)
    out = rebuild(clip.relative, lengths)
    for parent, child in BONES:
        np.testing.assert_allclose(bone(out, parent, child), lengths[child], atol=1e-9)
        before = clip.relative[:, child] - clip.relative[:, parent]
        after = out[:, child] - out[:, parent]
        cosine = (before * after).sum(-1) / (np.linalg.norm(before, axis=-1) * lengths[child])
        np.testing.assert_allclose(cosine, 1.0, atol=1e-9)
    np.testing.assert_array_equal(out[:, 0], 0.0)


def test_scale_comes_from_proportions_only_as_far_as_they_were_seen(clip: Clip) -> None:
    segments = segment_lengths(0.9 * clip.relative / clip.height_m)  # drawn 10 % small
    seen = segment_weights(np.ones((len(segments), 17)))
    corrected = measure_body(segments, seen, clip.height_m)
    assert corrected.scale * 0.9 == pytest.approx(clip.height_m, rel=0.02)
    thigh = bone(clip.camera, L_KNEE, 4)[0]
    assert corrected.lengths[L_KNEE] == pytest.approx(thigh, rel=0.02)

    scores = np.full((len(segments), 17), 0.05)
    guessed = measure_body(segments, segment_weights(scores), clip.height_m)
    assert guessed.scale == pytest.approx(clip.height_m, rel=0.02)

    absurd = measure_body(0.2 * segments, seen, clip.height_m)
    assert absurd.scale < 1.16 * clip.height_m
    assert 0.9 < CHAIN_SHARE < 1.0


# Ground


def test_world_axes(clip: Clip) -> None:
    rotation = clip.ground.rotation
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    assert rotation[0, 0] > 0.99  # X to the right
    assert rotation[1, 2] > 0.99  # Y into the picture
    assert rotation[2, 1] < -0.99  # Z up
    # The clip's own world differs by a turn about the vertical and a shift along the floor.
    ours = clip.ground.to_world(clip.camera)
    np.testing.assert_allclose(ours[..., 2], clip.world[..., 2], atol=1e-4)
    turn = rotation @ clip.rotation
    np.testing.assert_allclose(turn[2], [0, 0, 1], atol=1e-6)


@pytest.mark.parametrize("roll_deg", [0.0, 6.0])
@pytest.mark.parametrize("pitch_deg", [-30.0, -5.0, 8.0])
def test_ground_is_found_from_a_walk(walk: Clip, pitch_deg: float, roll_deg: float) -> None:
    true = Ground(math.radians(pitch_deg), math.radians(roll_deg), 1.6)
    camera = (walk.ground.to_world(walk.camera) - [0, 0, 1.6]) @ true.rotation
    scores = np.ones((len(camera), 17))
    evidence = gather_evidence(camera - camera[:, :1], camera[:, 0], scores, 1 / FPS)
    found = fit_ground(evidence).ground
    assert math.degrees(abs(found.pitch - true.pitch)) < 1.0
    assert math.degrees(abs(found.roll - true.roll)) < 2.0  # the prior pulls towards level
    assert found.height == pytest.approx(1.6, abs=0.06)


@pytest.mark.parametrize("pitch_deg", [-28.0, -3.0])
def test_somebody_who_stands_still_tells_the_pitch(walk: Clip, pitch_deg: float) -> None:
    """Half a second of one pose that lacks the turn that lifted poses usually lack."""
    true = Ground(math.radians(pitch_deg), 0.0, 1.6)
    camera = (walk.ground.to_world(walk.camera) - [0, 0, 1.6]) @ true.rotation
    camera = camera[40:41].repeat(5, 0)
    turn = before_evidence(true.pitch).turn
    joints = (camera - camera[:, :1]) @ about_x(turn)
    since = np.array([np.inf, 0.1, 0.1, 0.1, 0.1])
    evidence = gather_evidence(joints, camera[:, 0], np.ones((5, 17)), since)
    found = fit_ground(evidence)
    assert math.degrees(abs(found.ground.pitch - true.pitch)) < 6.0
    # As much as all of it at once: a pose is no weaker because others follow it closely.
    once = gather_evidence(joints[:1], camera[:1, 0], np.ones((1, 17)), np.inf)
    assert once.axis_weights[0] == evidence.axis_weights[0]
    assert evidence.axis_weights[1] == pytest.approx(0.2 * evidence.axis_weights[0])


def test_lying_people_do_not_turn_the_world_over(walk: Clip) -> None:
    """Somebody on their back: the body's axis is level, and the prior has to hold."""
    flat = walk.ground.to_world(walk.camera[:60])
    hip = flat[:, :1] * [1, 1, 0]
    flat = (flat - hip)[..., [2, 0, 1]] * [1, -1, 1]  # fallen to the right
    flat[..., 2] += 0.15 - flat[..., 2].min()
    camera = (flat + np.array([0, 4.0, -1.4])) @ Ground(-0.1, 0.0, 1.4).rotation
    evidence = gather_evidence(camera - camera[:, :1], camera[:, 0], np.ones((60, 17)), 1 / FPS)
    found = fit_ground(evidence).ground
    assert abs(found.pitch - PITCH_PRIOR[0]) < math.radians(12.0)
    assert abs(found.roll) < math.radians(10.0)


# Recordings


def test_exact_input_and_a_known_pitch_give_the_exact_scene(clip: Clip) -> None:
    pitch = math.degrees(clip.ground.pitch)
    poses = solve_scene(clip.lifted(), clip.height_m, clip.fov_deg, smooth=0.0, pitch_deg=pitch)
    root, world = stack(poses, "root"), stack(poses, "joints_world")
    # Poses are expected to lack a turn; these do not, and are turned by half of it.
    np.testing.assert_allclose(stack(poses, "joints"), clip.relative, atol=0.03)
    np.testing.assert_allclose(root[:, 2], clip.camera[:, 0, 2], rtol=0.02)
    np.testing.assert_allclose(root[:, :2], clip.camera[:, 0, :2], atol=0.02)
    np.testing.assert_allclose(world[..., 2], clip.world[..., 2], atol=0.06)
    assert np.median(lower_ankle(world)) == pytest.approx(ANKLE_HEIGHT, abs=0.01)


@pytest.mark.parametrize("live", [False, True])
def test_poses_are_turned_to_what_all_frames_take_for_up(clip: Clip, live: bool) -> None:
    """Frames whose idea of up is off, and whose poses are off with it, become what frames do that
    were never off."""
    rng = np.random.default_rng(5)
    true = np.array(clip.ground.up, np.float32)
    count = len(clip.camera)
    off = np.radians(6.0) * rng.standard_normal((count, 2)).astype(np.float32)
    said = gravity.up_of(gravity.angles_of(true) + off - off.mean(0))
    units = (clip.relative / clip.height_m).astype(np.float32)
    tilted = gravity.turned(units, np.broadcast_to(true, said.shape), said)
    lifted = [
        replace(pose, up=400.0 * up)
        for pose, up in zip(clip.lifted(units=tilted), said, strict=True)
    ]
    plain = [replace(pose, up=None) for pose in lifted]

    def placed(track: list[LiftedPose]) -> Array:
        if live:
            tracker = SceneTracker(clip.height_m, clip.fov_deg, smooth=0.0)
            poses = [tracker.update(pose) for pose in track][60:]
        else:
            poses = solve_scene(track, clip.height_m, clip.fov_deg, smooth=0.0)
        return stack(poses, "joints")

    never_off = placed(clip.lifted(units=units))

    def error(track: list[LiftedPose]) -> float:
        return float(np.abs(placed(track) - never_off).mean())

    assert error(lifted) < (0.15 if live else 0.02) * error(plain)


@pytest.mark.parametrize("shrink", [1.0, 0.93])
@pytest.mark.parametrize("live", [False, True])
def test_noisy_input_gives_nearly_the_same_scene(clip: Clip, shrink: float, live: bool) -> None:
    lifted = noisy(clip, shrink=shrink)
    poses = track_live(lifted, clip) if live else solve_scene(lifted, clip.height_m, clip.fov_deg)
    settled = slice(60 if live else 0, None)
    root, world = stack(poses, "root")[settled], stack(poses, "joints_world")[settled]
    joints = stack(poses, "joints")[settled]
    true_root = clip.camera[settled, 0]

    shank = bone(joints, R_KNEE, R_ANKLE).mean() / bone(clip.camera, R_KNEE, R_ANKLE).mean()
    assert shank == pytest.approx(1.0, abs=0.10 if live else 0.06)
    depth_error = (root[:, 2] - true_root[:, 2]) / true_root[:, 2]
    assert abs(depth_error.mean()) < 0.06
    assert depth_error.std() < 0.03
    # Sideways, the root stays near its view ray, as far as feet that stand let it; depth does
    # not tremble.
    rays = root[:, :2] / root[:, 2:]
    assert np.abs(rays - true_root[:, :2] / true_root[:, 2:]).max() < 0.02
    assert np.abs(np.diff(root[:, 2], 2)).mean() < (0.02 if live else 0.008)
    # Feet neither sink nor float, and the body does not bounce.
    feet = lower_ankle(world) - lower_ankle(clip.world[settled])
    assert abs(feet.mean()) < 0.035
    assert feet.std() < 0.04


def test_bones_are_constant_and_symmetric(clip: Clip) -> None:
    joints = stack(solve_scene(noisy(clip), clip.height_m, clip.fov_deg), "joints")
    np.testing.assert_array_equal(joints[:, 0], 0.0)
    for parent, child in BONES:
        lengths = bone(joints, parent, child)
        assert lengths.std() < 1e-6
        mirrored = bone(joints, MIRROR[parent], MIRROR[child])
        assert lengths[0] == pytest.approx(mirrored[0], abs=1e-6)


def test_height_scales_everything(walk: Clip) -> None:
    lifted = walk.lifted()
    normal = solve_scene(lifted, 1.78, walk.fov_deg, smooth=0.0)
    child = solve_scene(lifted, 0.89, walk.fov_deg, smooth=0.0)
    # What is assumed of cameras' heights turns the pose by a fraction of a degree.
    halved = 0.5 * stack(normal, "joints")
    np.testing.assert_allclose(stack(child, "joints"), halved, atol=0.01)
    assert np.mean(stack(child, "root")[:, 2] / stack(normal, "root")[:, 2]) == pytest.approx(
        0.5, abs=0.03
    )


def test_every_pose_comes_back_in_its_place(walk: Clip) -> None:
    """Two people in shuffled order, one of whom is seen on every third frame only."""
    beside = walk.rotation @ np.array([0.8, 1.0, 0.0])  # on the same floor
    other = replace(walk, camera=walk.camera + beside)
    pixels = Pinhole.from_fov(walk.size, walk.fov_deg).project(other.camera)
    track = walk.lifted(person=4) + walk.lifted(pixels=pixels, person=9)[::3]
    order = np.random.default_rng(8).permutation(len(track))
    poses = solve_scene([track[i] for i in order], 1.78, walk.fov_deg)
    assert [p.pose2d for p in poses] == [track[i].pose2d for i in order]
    for person, truth in ((4, walk), (9, other)):
        mine = sorted((p for p in poses if p.person_id == person), key=lambda p: p.frame_index)
        frames = [p.frame_index for p in mine]
        np.testing.assert_allclose(stack(mine, "root")[:, 2], truth.camera[frames, 0, 2], rtol=0.05)
        assert np.median(lower_ankle(stack(mine, "joints_world"))) == pytest.approx(
            ANKLE_HEIGHT, abs=0.03
        )
    assert solve_scene([], 1.7, 60.0) == []


def crawling(walk: Clip) -> Array:
    """(T, 17, 3) world: the walker on hands and knees; what carries the body rests on the floor."""
    pose = np.zeros((17, 3))
    pose[:, 2] = 0.11
    for side, hip, knee, ankle, shoulder, elbow, wrist in (
        (-1, 1, 2, 3, 14, 15, 16),
        (1, 4, 5, 6, 11, 12, 13),
    ):
        pose[hip] = (0.0, 0.12 * side, 0.52)
        pose[knee] = (0.0, 0.12 * side, 0.07)
        pose[ankle] = (-0.42, 0.12 * side, ANKLE_HEIGHT)
        pose[shoulder] = (0.50, 0.18 * side, 0.60)
        pose[elbow] = (0.50, 0.18 * side, 0.32)
        pose[wrist] = (0.50, 0.18 * side, 0.06)
    pose[0], pose[7], pose[8] = (0.0, 0.0, 0.52), (0.25, 0.0, 0.55), (0.50, 0.0, 0.60)
    pose[9], pose[10] = (0.66, 0.0, 0.55), (0.78, 0.0, 0.62)
    path = walk.world[:, 0] * np.array([1.0, 1.0, 0.0])
    return np.asarray(pose + path[:, None])


def test_people_on_hands_and_knees_are_on_the_floor(walk: Clip) -> None:
    world = crawling(walk)
    camera = world @ walk.rotation.T + walk.translation
    crawler = replace(walk, camera=camera, world=world)
    pixels = Pinhole.from_fov(walk.size, walk.fov_deg).project(camera)
    relative = (camera - camera[:, :1]) / walk.height_m
    poses = solve_scene(
        crawler.lifted(units=relative, pixels=pixels), walk.height_m, walk.fov_deg, smooth=0.0
    )
    lowest = stack(poses, "joints_world")[..., 2].min(1)
    assert np.percentile(lowest, 5) > 0.0
    assert np.percentile(lowest, 95) < 0.12


@pytest.mark.parametrize("pitch_deg", [-24.0, 4.0])
@pytest.mark.parametrize("facing", [1.0, -1.0])
def test_hands_knees_and_feet_on_the_floor_tell_the_pitch(
    walk: Clip, facing: float, pitch_deg: float
) -> None:
    """Nobody stands, and nobody moves in depth; poses lean as lifted ones do."""
    true = Ground(math.radians(pitch_deg), 0.0, 1.5)
    body = crawling(walk)[:60]
    body = body - body[:, :1] * [1.0, 1.0, 0.0]
    around = body * [facing, facing, 1.0]
    away = np.stack([around[..., 1], 4.0 - around[..., 0], around[..., 2] - true.height], -1)
    camera = away @ true.rotation
    lean = about_x(-math.radians(1.0 - 0.2 * pitch_deg))
    relative = (camera - camera[:, :1]) @ lean.T
    evidence = gather_evidence(relative, camera[:, 0], np.ones((60, 17)), 1 / FPS)
    found = fit_ground(evidence).ground
    assert math.degrees(abs(found.pitch - true.pitch)) < 4.0
    assert found.height == pytest.approx(true.height, rel=0.2)


def test_a_steep_camera_is_found_from_a_walk_in_depth(walk: Clip) -> None:
    """28 degrees down, 3.3 m up, and a lifter that leans bodies back by a third of it."""
    turn = math.radians(24.0)
    tilt = np.array(
        [
            [1.0, 0.0, 0.0],
            [0.0, math.cos(turn), -math.sin(turn)],
            [0.0, math.sin(turn), math.cos(turn)],
        ]
    )
    rotation = tilt @ walk.rotation
    middle = walk.world[:, 0].mean(0) * np.array([1.0, 1.0, 0.0])
    forward = rotation[2] * np.array([1.0, 1.0, 0.0]) / np.linalg.norm(rotation[2, :2])
    position = middle - 5.5 * forward + np.array([0.0, 0.0, 3.3])
    camera = (walk.world - position) @ rotation.T
    steep = replace(walk, camera=camera, rotation=rotation, translation=-rotation @ position)
    found = fit_ground(
        gather_evidence(camera - camera[:, :1], camera[:, 0], np.ones(camera.shape[:2]), 1 / FPS)
    ).ground
    assert found.pitch == pytest.approx(steep.ground.pitch, abs=math.radians(4.0))
    assert found.height == pytest.approx(3.3, rel=0.1)


@pytest.mark.parametrize("solve", ["file", "live"])
def test_people_of_unequal_height_stand_on_one_floor(walk: Clip, solve: str) -> None:
    """A child of 0.7 of the told height walks beside; only who is on a roof keeps the told one."""
    beside = walk.rotation @ np.array([0.8, 0.5, 0.0])
    small = 0.7 * walk.world
    camera = small @ walk.rotation.T + walk.translation + beside
    pinhole = Pinhole.from_fov(walk.size, walk.fov_deg)
    child = walk.lifted(pixels=pinhole.project(camera), person=2)
    adult = walk.lifted(person=1)
    track = sorted([*adult, *child], key=lambda pose: pose.pose2d.frame_index)
    if solve == "file":
        poses = solve_scene(track, walk.height_m, walk.fov_deg)
    else:
        tracker = SceneTracker(walk.height_m, walk.fov_deg)
        poses = [tracker.update(pose) for pose in track]
    for person, share in ((1, 1.0), (2, 0.7)):
        mine = [pose for pose in poses if pose.person_id == person][len(adult) // 2 :]
        height = lower_ankle(stack(mine, "joints_world"))
        assert abs(float(np.median(height)) - ANKLE_HEIGHT) < 0.06
        leg = bone(stack(mine, "joints"), 2, 3)[-1]
        truth = float(np.linalg.norm(walk.world[0, 2] - walk.world[0, 3]))
        assert leg == pytest.approx(share * truth, rel=0.12)


def test_somebody_stands_on_the_floor_whatever_heights_say(walk: Clip) -> None:
    """No heights bring these on one floor: a bank, a ditch, and feet that nobody sees."""
    pinhole = Pinhole.from_fov(walk.size, walk.fov_deg)
    up = walk.ground.up
    track = walk.lifted(person=0)
    for person, (raised, score) in enumerate([(0.35, 0.95), (-0.5, 0.95), (-1.5, 0.05)], 1):
        camera = walk.camera + raised * up
        scores = np.full(camera.shape[:2], score)
        track += walk.lifted(pixels=pinhole.project(camera), scores=scores, person=person)
    poses = solve_scene(track, walk.height_m, walk.fov_deg)
    heights = [
        np.median(lower_ankle(stack([p for p in poses if p.person_id == person], "joints_world")))
        for person in range(4)
    ]
    assert min(abs(height - ANKLE_HEIGHT) for height in heights[:3]) < 0.06


def test_whose_feet_nobody_sees_has_the_told_height(walk: Clip) -> None:
    """Two people; what is guessed of the second one's feet is below the floor."""
    camera = walk.camera[:60:3]
    lower = camera - 0.5 * walk.ground.up
    people = [
        gather_evidence(each - each[:, :1], each[:, 0], np.full((20, 17), score), 0.1)
        for each, score in ((camera, 0.9), (lower, 0.02))
    ]
    assert relative_heights(people, walk.ground) == [1.0, 1.0]
    seen = gather_evidence(lower - lower[:, :1], lower[:, 0], np.full((20, 17), 0.9), 0.1)
    assert min(relative_heights([people[0], seen], walk.ground)) < 0.8


@pytest.mark.parametrize("solve", ["file", "live"])
@pytest.mark.parametrize("raised", [-1.5, -0.4])
def test_whose_feet_nobody_sees_is_on_the_floor_of_the_others(
    walk: Clip, solve: str, raised: float
) -> None:
    """Cut off by the picture's edge, or behind a table; size and distance say otherwise."""
    pinhole = Pinhole.from_fov(walk.size, walk.fov_deg)
    camera = walk.camera + raised * walk.ground.up
    scores = np.full(camera.shape[:2], 0.95)
    scores[:, [R_KNEE, L_KNEE, R_ANKLE, L_ANKLE]] = 0.01
    track = walk.lifted(person=0)
    track += walk.lifted(pixels=pinhole.project(camera), scores=scores, person=1)
    if solve == "file":
        poses = solve_scene(track, walk.height_m, walk.fov_deg)
    else:
        track.sort(key=lambda pose: pose.pose2d.frame_index)
        poses = track_live(track, walk)
    mine = [pose for pose in poses if pose.person_id == 1 and pose.pose2d.timestamp > 2.0]
    above = np.array([above_floor(pose.joints_world.astype(float)) for pose in mine])
    assert abs(np.median(above)) < 0.1
    assert np.percentile(np.abs(above), 95) < 0.12


def test_legs_that_nobody_sees_reach_down_to_the_floor(walk: Clip) -> None:
    """The hips of somebody who sits are where they are; drawn-up legs are only a guess."""
    joints, ground = walk.relative.copy(), walk.ground
    root = walk.camera[:, 0] - 0.2 * ground.up
    for hip, knee, ankle in contact.LEGS:
        drawn_up = joints[:, ankle] + 0.4 * ground.up
        joints[:, knee], joints[:, ankle] = reach(
            joints[:, hip], joints[:, knee], joints[:, ankle], drawn_up
        )
    floating = ground.to_world(joints + root[:, None])
    assert np.median(lower_ankle(floating)) > ANKLE_HEIGHT + 0.15
    down = contact.let_down(joints, root, [ground] * len(joints), unseen=1.0)
    world = ground.to_world(down + root[:, None])
    np.testing.assert_allclose(lower_ankle(world), ANKLE_HEIGHT, atol=0.02)
    for a, b in BONES:
        np.testing.assert_allclose(bone(down, a, b), bone(joints, a, b), atol=1e-6)
    assert contact.let_down(joints, root, [ground] * len(joints), unseen=0.0) is joints


def test_who_is_hardly_seen_is_where_the_feet_are(walk: Clip) -> None:
    """A size that is off by an eighth lifts somebody off the floor, less so the hidden."""
    raw, rays = 0.88 * walk.camera[:, 0], walk.camera[..., :2] / walk.camera[..., 2:]
    off = []
    for score in (0.9, 0.4):
        scores = np.full(walk.camera.shape[:2], score)
        z, _ = fuse_floor(walk.relative, raw, rays, scores, walk.ground)
        off.append(float(np.median(np.abs(z / walk.camera[:, 0, 2] - 1.0))))
    assert off[1] < 0.6 * off[0]


@pytest.mark.parametrize("solve", ["file", "live"])
def test_heights_that_are_told_one_by_one_are_kept(walk: Clip, solve: str) -> None:
    """In the order of identities; the last is of everybody else."""
    track = [pose for person in (0, 1, 2) for pose in walk.lifted(person=person)[:30]]
    track.sort(key=lambda pose: pose.pose2d.frame_index)
    heights = (walk.height_m, 0.6 * walk.height_m)
    if solve == "file":
        poses = solve_scene(track, heights, walk.fov_deg)
    else:
        tracker = SceneTracker(heights, walk.fov_deg)
        poses = [tracker.update(pose) for pose in track]
    shanks = [
        bone(stack([p for p in poses if p.person_id == k], "joints"), R_KNEE, R_ANKLE)[-1]
        for k in (0, 1, 2)
    ]
    assert shanks[1] / shanks[0] == pytest.approx(0.6, abs=0.005)
    assert shanks[2] / shanks[0] == pytest.approx(0.6, abs=0.005)
    with pytest.raises(ValueError, match="height"):
        solve_scene(track, (1.7, 9.0), walk.fov_deg)
    with pytest.raises(ValueError, match="no height"):
        solve_scene(track, (), walk.fov_deg)


@pytest.mark.parametrize("solve", ["file", "live"])
def test_a_pitch_that_is_given_turns_poses_that_lean(clip: Clip, solve: str) -> None:
    """A lifter that leans everybody back by 8 degrees, and somebody who knows the camera."""
    leaning = clip.relative @ about_x(math.radians(-8.0)).T / clip.height_m
    lifted = clip.lifted(units=leaning)
    pitch = math.degrees(clip.ground.pitch)
    if solve == "file":
        poses = solve_scene(lifted, clip.height_m, clip.fov_deg, smooth=0.0, pitch_deg=pitch)
    else:
        tracker = SceneTracker(clip.height_m, clip.fov_deg, smooth=0.0, pitch_deg=pitch)
        poses = [tracker.update(pose) for pose in lifted]
        assert math.degrees(tracker.ground.pitch) == pytest.approx(pitch, abs=0.1)
    late = slice(90, None)
    error = np.abs(stack(poses, "joints") - clip.relative)[late].mean()
    before = np.abs(clip.height_m * leaning - clip.relative)[late].mean()
    assert error < 0.7 * before


@pytest.mark.parametrize("seen", [0.95, 0.05])
@pytest.mark.parametrize("live", [False, True])
def test_feet_that_stand_do_not_slide(walk: Clip, live: bool, seen: float) -> None:
    """Where the true foot stands, ours slides less than half of what it did, at no cost, whether
    somebody sees it or not."""

    def solved(smooth: float) -> list[Pose3D]:
        lifted = noisy(walk)
        for pose in lifted:
            pose.pose2d.scores[[R_ANKLE, L_ANKLE]] = seen
        if live:
            return track_live(lifted, walk, smooth=smooth)
        return solve_scene(lifted, walk.height_m, walk.fov_deg, smooth=smooth)

    def slide(world: Array) -> float:
        steps = np.linalg.norm(np.diff(world[:, [R_ANKLE, L_ANKLE], :2], axis=0), axis=-1)
        true = np.linalg.norm(np.diff(walk.world[:, [R_ANKLE, L_ANKLE], :2], axis=0), axis=-1)
        stands = (true < 0.01) & (walk.world[1:, [R_ANKLE, L_ANKLE], 2] < ANKLE_HEIGHT + 0.03)
        return float(steps[stands].mean())

    held, free = solved(1.0), solved(0.0)
    assert slide(stack(held, "joints_world")) < 0.5 * slide(stack(free, "joints_world"))
    errors = [
        np.linalg.norm(stack(each, "joints") - walk.relative, axis=-1).mean()
        for each in (held, free)
    ]
    assert errors[0] < errors[1] + 0.002


def test_a_leg_that_reaches_too_far_does_not_snap() -> None:
    """A foot is held 6 cm too far away, step by step, by a leg that is nearly straight."""
    shin, thigh, bent = 0.4, 0.42, math.radians(15.0)
    hip = np.zeros((61, 3))
    knee = np.tile([0.0, thigh, 0.0], (61, 1))
    ankle = knee + np.array([0.0, shin * math.cos(bent), shin * math.sin(bent)])
    away = np.linspace(0.0, 0.06, 61)[:, None]
    way = ankle / np.linalg.norm(ankle, axis=-1, keepdims=True)
    knees, ankles = reach(hip, knee, ankle, ankle + away * way)
    np.testing.assert_allclose(ankles[0], ankle[0], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(ankles - knees, axis=-1), shin, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(knees, axis=-1), thigh, atol=1e-6)
    lower, upper = (ankles - knees) / shin, knees / thigh
    angles = np.degrees(np.arccos(np.clip((lower * upper).sum(-1), -1.0, 1.0)))
    assert angles[0] == pytest.approx(15.0, abs=1e-3)
    assert (np.diff(angles) < 0.0).all()
    assert np.abs(np.diff(angles)).max() < 1.2, (
        "degrees per millimetre; 6 and more at the end before"
    )


def test_the_floor_stays_under_people_while_it_is_learnt(walk: Clip) -> None:
    """Live, 28 degrees down from 3.3 m, and a lifter that shows a third of that: nobody sinks."""
    true = Ground(math.radians(-28.0), 0.0, 3.3)
    middle = walk.world[:, 0].mean(0) * [1.0, 1.0, 0.0]
    camera = (walk.world - middle + [0.0, 6.0, -true.height]) @ true.rotation
    pixels = Pinhole.from_fov(walk.size, walk.fov_deg).project(camera)
    leaning = (camera - camera[:, :1]) @ about_x(math.radians(-9.0)).T / walk.height_m
    tracker = SceneTracker(walk.height_m, walk.fov_deg)
    lowest, pitches = [], []
    for pose in walk.lifted(units=leaning, pixels=pixels):
        lowest.append(tracker.update(pose).joints_world[:, 2].min())
        pitches.append(tracker.ground.pitch)
    assert math.degrees(pitches[0] - pitches[-1]) > 3.0  # there was something to be learnt
    assert lowest[0] == pytest.approx(ANKLE_HEIGHT, abs=0.02)
    low, high = np.percentile(lowest, [5, 95])
    assert low > -0.05
    assert high < 0.15


def broadcast(walk: Clip, places: list[tuple[float, float, float]]) -> list[list[LiftedPose]]:
    """Frames of people at places (to the right, away, up; metres), by a lens of 20 degrees 11 m up
    that looks down by 13, and by a lifter that takes it for 60 and leans them back as usual."""
    true = Ground(math.radians(-13.0), 0.0, 11.0)
    middle = walk.world[:, 0].mean(0) * [1.0, 1.0, 0.0]
    people = []
    for person, place in enumerate(places):
        camera = (walk.world - middle + place - [0.0, 0.0, true.height]) @ true.rotation
        pixels = Pinhole.from_fov(walk.size, 20.0).project(camera)
        leaning = (camera - camera[:, :1]) @ about_x(math.radians(-4.0)).T / walk.height_m
        people.append(walk.lifted(units=leaning, pixels=pixels, person=person))
    return [list(frame) for frame in zip(*people, strict=True)]


def test_far_people_before_a_long_lens_stand_from_the_start(walk: Clip) -> None:
    """Live, 42 and 64 m away; taken for 60 degrees, the floor between them rises by half."""
    tracker = SceneTracker(walk.height_m, 60.0)
    frames = [tracker.place(f) for f in broadcast(walk, [(2.0, 42.0, 0.0), (-3.0, 64.0, 0.0)])]
    above = np.array([[above_floor(p.joints_world.astype(float)) for p in f] for f in frames])
    assert np.abs(above[0]).max() < 0.15
    assert np.abs(np.diff(above, axis=0)).max() < 0.2
    assert np.percentile(np.abs(above), 90) < 0.3
    for person in (0, 1):
        joints = stack([frame[person] for frame in frames], "joints")
        truth = float(np.linalg.norm(walk.world[0, 2] - walk.world[0, 3]))
        assert np.median(bone(joints, 2, 3)) == pytest.approx(truth, rel=0.12)
    for pose in frames[-1]:  # each by a camera of their own height, so that nothing contradicts
        assert pose.ground is not None
        world = pose.ground.to_world(pose.joints + pose.root)
        np.testing.assert_allclose(world, pose.joints_world, atol=1e-4)


def test_people_before_a_long_lens_are_people_in_films(walk: Clip) -> None:
    """Three of them, 42 to 64 m away: nobody is small, and all stand."""
    frames = broadcast(walk, [(2.0, 42.0, 0.0), (-3.0, 64.0, 0.0), (4.0, 53.0, 0.0)])
    poses = solve_scene([pose for frame in frames for pose in frame], walk.height_m, 60.0)
    truth = float(np.linalg.norm(walk.world[0, 2] - walk.world[0, 3]))
    for person in range(3):
        own = [pose for pose in poses if pose.person_id == person]
        above = np.array([above_floor(pose.joints_world.astype(float)) for pose in own])
        assert np.percentile(np.abs(above), 90) < 0.2
        assert np.median(bone(stack(own, "joints"), 2, 3)) == pytest.approx(truth, rel=0.12)
    for pose in poses[:6]:
        assert pose.ground is not None
        world = pose.ground.to_world(pose.joints + pose.root)
        np.testing.assert_allclose(world, pose.joints_world, atol=1e-4)


@pytest.mark.parametrize("behind", [1.0, 3.0, 6.0])
def test_who_is_on_a_roof_is_left_there_in_films(clip: Clip, behind: float) -> None:
    """Behind somebody who walks in depth, or who stays where they are."""
    above = clip.rotation @ np.array([1.0, behind, 2.0])
    pixels = Pinhole.from_fov(clip.size, clip.fov_deg).project(clip.camera + above)
    track = [*clip.lifted(), *clip.lifted(pixels=pixels, person=1)]
    poses = solve_scene(track, clip.height_m, clip.fov_deg)
    heights = [
        np.median(
            [above_floor(p.joints_world.astype(float)) for p in poses if p.person_id == person]
        )
        for person in (0, 1)
    ]
    assert heights[0] == pytest.approx(0.0, abs=0.1)
    assert heights[1] > 1.5


def test_the_first_frame_has_one_floor_for_all(walk: Clip) -> None:
    """Live; the second person, of whom feet are not seen, does not take it from the first."""
    camera = walk.camera - 1.0 * walk.ground.up
    scores = np.full(camera.shape[:2], 0.95)
    scores[:, [R_KNEE, L_KNEE, R_ANKLE, L_ANKLE]] = 0.01
    pixels = Pinhole.from_fov(walk.size, walk.fov_deg).project(camera)
    cut_off = walk.lifted(pixels=pixels, scores=scores, person=1)
    tracker = SceneTracker(walk.height_m, walk.fov_deg)
    frames = [tracker.place([a, b]) for a, b in zip(walk.lifted(), cut_off, strict=True)]
    above = np.array([[above_floor(p.joints_world.astype(float)) for p in f] for f in frames])
    assert np.abs(above[0]).max() < 0.05
    assert np.percentile(np.abs(above), 95) < 0.15
    assert np.abs(np.diff(above[:10, 0])).max() < 0.05


@pytest.mark.parametrize(("behind", "since"), [(1.0, 30), (6.0, 162)])
def test_who_is_on_a_roof_is_left_there_live(walk: Clip, behind: float, since: int) -> None:
    """Two metres up; one metre behind no lens makes such a slope of a floor, and farther behind
    somebody who walks in depth tells in the end that there is none."""
    above = walk.rotation @ np.array([1.0, behind, 2.0])
    pixels = Pinhole.from_fov(walk.size, walk.fov_deg).project(walk.camera + above)
    tracker = SceneTracker(walk.height_m, walk.fov_deg)
    pairs = zip(walk.lifted(person=1), walk.lifted(pixels=pixels, person=2), strict=True)
    frames = [tracker.place(list(pair)) for pair in pairs][since:]
    low = [np.median(lower_ankle(stack([f[i] for f in frames], "joints_world"))) for i in (0, 1)]
    assert low[0] == pytest.approx(ANKLE_HEIGHT, abs=0.1)
    assert low[1] == pytest.approx(2.0 + ANKLE_HEIGHT, abs=0.35)


def joined(
    walk: Clip, first: Array, second: Array, after: int, size: float = 1.0
) -> list[list[float]]:
    """Metres above the floor in each frame, live, of somebody moved by `first` (camera axes) and,
    `after` so many frames, of one moved by `second` who is smaller."""
    pinhole = Pinhole.from_fov(walk.size, walk.fov_deg)
    small = size * walk.world @ walk.rotation.T + walk.translation
    tracks = [
        walk.lifted(pixels=pinhole.project(walk.camera + first)),
        walk.lifted(pixels=pinhole.project(small + second), person=1),
    ]
    tracker = SceneTracker(walk.height_m, walk.fov_deg)
    heights = []
    for i, (one, other) in enumerate(zip(*tracks, strict=True)):
        poses = tracker.place([one, other] if i >= after else [one])
        heights.append([above_floor(pose.joints_world.astype(float)) for pose in poses])
    return heights


@pytest.mark.parametrize("behind", [1.0, 2.0, 4.0])
def test_who_comes_below_a_roof_is_on_the_floor_at_once(walk: Clip, behind: float) -> None:
    """Live: the first one to be seen stands on a roof, which was taken for the floor."""
    above = walk.rotation @ np.array([1.0, behind, 2.0])
    heights = joined(walk, above, np.zeros(3), after=20)[:60]
    assert max(abs(roof) for (roof,) in heights[:20]) < 0.15
    both = np.array(heights[24:])
    assert np.abs(both[:, 1]).max() < 0.15
    if behind == 1.0:  # farther behind it may be a floor before a long lens
        assert both[:, 0] == pytest.approx(2.0, abs=0.35)


def test_a_child_who_comes_moves_nobodys_floor(walk: Clip) -> None:
    """Taken for as tall as told, a child is far below the floor, and is none the less on it."""
    beside = walk.rotation @ np.array([0.8, 0.5, 0.0])
    heights = joined(walk, np.zeros(3), beside, after=20, size=0.65)
    assert max(abs(adult) for adult, *_ in heights) < 0.15
    assert max(abs(child) for _, child in heights[30:]) < 0.15


def test_who_is_on_a_roof_is_not_made_smaller(walk: Clip) -> None:
    above = walk.rotation @ np.array([1.0, 6.0, 2.5])
    pixels = Pinhole.from_fov(walk.size, walk.fov_deg).project(walk.camera + above)
    track = [*walk.lifted(person=1), *walk.lifted(pixels=pixels, person=2)[::3]]
    poses = solve_scene(track, walk.height_m, walk.fov_deg)
    legs = [
        bone(stack([p for p in poses if p.person_id == person], "joints"), 2, 3)[-1]
        for person in (1, 2)
    ]
    assert legs[1] == pytest.approx(legs[0], rel=0.05)


# Live


def test_live_estimates_converge_and_never_jump(clip: Clip) -> None:
    lifted = noisy(clip)
    tracker = SceneTracker(clip.height_m, clip.fov_deg)
    grounds, poses = [], []
    for pose in lifted:
        poses.append(tracker.update(pose))
        grounds.append(tracker.ground)
    joints = stack(poses, "joints")
    lengths = np.stack([bone(joints, a, b) for a, b in BONES], 1)
    change = np.abs(np.diff(lengths, axis=0)) / lengths[1:]
    assert change.max() < 0.03
    assert change[60:].max() < 0.01
    tilt = np.abs(np.diff([[g.pitch, g.roll] for g in grounds], axis=0))
    assert np.degrees(tilt.max()) < 1.0
    assert np.degrees(tilt[60:].max()) < 0.2
    assert np.abs(np.diff([g.height for g in grounds]))[60:].max() < 0.02
    final = grounds[-1]
    assert math.degrees(abs(final.pitch - clip.ground.pitch)) < 3.0
    assert math.degrees(abs(final.roll - clip.ground.roll)) < 2.0


def test_live_people_share_the_floor_but_not_their_bodies(walk: Clip) -> None:
    small = walk.lifted(units=0.95 * walk.relative / walk.height_m, person=2)
    tracker = SceneTracker(1.78, walk.fov_deg, smooth=0.0)
    first, second = [], []
    for a, b in zip(walk.lifted(person=1), small, strict=True):
        first.append(tracker.update(a))
        second.append(tracker.update(b))
    alone = track_live(walk.lifted(person=1), walk, smooth=0.0)
    for person in (first, second):  # both are 1.78 m: the shrunken one is corrected
        assert bone(stack(person, "joints"), 2, 3)[-1] == pytest.approx(
            bone(stack(alone, "joints"), 2, 3)[-1], rel=0.02
        )
    assert np.median(lower_ankle(stack(first, "joints_world"))) == pytest.approx(
        ANKLE_HEIGHT, abs=0.03
    )


def test_somebody_who_returns_is_placed_at_once(walk: Clip) -> None:
    """After a gap there is no gliding over from where the person was last seen."""
    lifted = walk.lifted()
    tracker = SceneTracker(1.78, walk.fov_deg)
    for pose in lifted[:40]:
        tracker.update(pose)
    later = replace(lifted[110].pose2d, timestamp=lifted[40].pose2d.timestamp + 3.0)
    back = tracker.update(replace(lifted[110], pose2d=later))
    np.testing.assert_allclose(back.root, walk.camera[110, 0], atol=0.4)
    np.testing.assert_allclose(back.joints, walk.relative[110], atol=0.08)


def test_many_passers_by_are_forgotten(walk: Clip) -> None:
    tracker = SceneTracker(1.78, walk.fov_deg)
    pose = walk.lifted()[0]
    for person in range(300):
        pose2d = replace(pose.pose2d, person_id=person, timestamp=2.0 * person)
        tracker.update(replace(pose, pose2d=pose2d))
    assert len(tracker._people) <= 32


def half_body(lifted: list[LiftedPose]) -> list[LiftedPose]:
    scores = lifted[0].pose2d.scores.copy()
    scores[[2, 3, 5, 6]] = 0.02
    return [replace(p, pose2d=replace(p.pose2d, scores=scores)) for p in lifted]


@pytest.mark.parametrize("solve", ["file", "live"])
def test_half_a_body_still_stands_on_a_floor(clip: Clip, solve: str) -> None:
    """Legs outside the picture: positions stay near the truth, the floor plausible."""
    lifted = half_body(clip.lifted())
    run: dict[str, Callable[[], list[Pose3D]]] = {
        "file": lambda: solve_scene(lifted, clip.height_m, clip.fov_deg),
        "live": lambda: track_live(lifted, clip),
    }
    poses = run[solve]()
    root, world = stack(poses, "root"), stack(poses, "joints_world")
    np.testing.assert_allclose(root[:, 2], clip.camera[:, 0, 2], rtol=0.06)
    assert np.isfinite(world).all()
    assert abs(np.median(lower_ankle(world)) - ANKLE_HEIGHT) < 0.1
    assert (world[:, 10, 2] > world[:, 0, 2]).all()


@pytest.mark.parametrize(
    ("height", "fov", "smooth"),
    [(0.0, 60.0, 1.0), (-1.7, 60.0, 1.0), (170.0, 60.0, 1.0), (1.7, 0.0, 1.0), (1.7, 180.0, 1.0),
     (1.7, 60.0, -1.0), (math.nan, 60.0, 1.0)],
)  # fmt: skip
def test_impossible_settings_are_refused(height: float, fov: float, smooth: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        SceneTracker(height, fov, smooth=smooth)
    with pytest.raises(ValueError, match="must be"):
        solve_scene([], height, fov, smooth=smooth)


@pytest.mark.parametrize("size", [1, 3])
def test_small_inverses_are_those_of_lapack(size: int) -> None:
    random = np.random.default_rng(5)
    for _ in range(50):
        root = random.normal(size=(size, size))
        # as uneven as a hip that is seen to millimetres across the ray and decimetres along it
        uneven = np.diag(10.0 ** random.uniform(-3.0, 0.0, size))
        matrix = uneven @ (root @ root.T + 0.1 * np.eye(size)) @ uneven
        np.testing.assert_allclose(contact._inverse(matrix) @ matrix, np.eye(size), atol=1e-7)
