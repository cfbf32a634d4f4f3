"""Training windows made on the fly: motion capture, varied bodies, cameras, detector errors.

A window is what the lifter sees at run time (normalised noisy keypoints) and what it should
answer (root-relative joints in body heights, in the axes of the window's virtual camera).
Every batch derives its own random generator from (seed, batch number), so a run resumed at
batch i continues as if it had never stopped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from posemamba.normalize import ray_window, root_relative
from posemamba.skeleton import (
    HEAD,
    HIP,
    L_ANKLE,
    L_ELBOW,
    L_HIP,
    L_KNEE,
    L_SHOULDER,
    L_WRIST,
    LIMB_JOINTS,
    MIRROR,
    NOSE,
    NUM_JOINTS,
    R_ANKLE,
    R_ELBOW,
    R_HIP,
    R_KNEE,
    R_SHOULDER,
    R_WRIST,
    SPINE,
    THORAX,
    assemble,
    assemble_scores,
)
from posemamba.training import landmarks, postures
from posemamba.training.cameras import CameraConfig, View, look_at
from posemamba.training.motion import MOTION_FPS, MotionSet, Split, load_motion, stature
from posemamba.training.noise import NUM_POINTS, P_EARS, P_NOSE, POINT_OF, NoiseConfig, detect
from posemamba.training.occlusion import covered
from posemamba.training.postures import UPPER, axes, rotations

Float = NDArray[np.float32]

_EARS_BELOW_CROWN: Final = 0.13 / 1.70
"""In body heights, along the line from crown to Thorax."""
_LIMB_BONES: Final = (
    (R_HIP, R_KNEE, R_ANKLE, 0),
    (L_HIP, L_KNEE, L_ANKLE, 0),
    (R_SHOULDER, R_ELBOW, R_WRIST, 2),
    (L_SHOULDER, L_ELBOW, L_WRIST, 2),
)
"""Root, middle, end joint, and the column of its two length factors."""


@dataclass(frozen=True, slots=True)
class SynthConfig:
    """What is drawn how often. Probabilities are per window; spreads are relative sd."""

    mix: float = 0.30
    """Upper and lower body from different clips."""
    reach: float = 0.06
    """Arms follow random targets on somebody who stands or shifts weight."""
    reach_close: float = 0.25
    """The same among webcam views."""
    posture: float = 0.08
    """Legs of somebody who sits, kneels, squats or lies."""
    posture_close: float = 0.30
    calm_close: float = 0.25
    """Among the other webcam views: people who stand still."""
    native_rate: float = 0.5
    """Share of windows at 30 frames a second; the others are anywhere in `fps`."""
    fps: tuple[float, float] = (25.0, 60.0)
    speed: tuple[float, float] = (0.7, 1.4)
    limb_rotation: float = 0.06
    """Radians per axis of a turn that each limb bone, head and trunk keep for the window."""
    bone_spread: float = 0.05
    hip_width: tuple[float, float] = (1.0, 1.5)
    shoulder_width: tuple[float, float] = (0.92, 1.25)
    shoulders_forward: tuple[float, float] = (0.025, 0.015)
    shoulders_down: tuple[float, float] = (0.01, 0.01)
    """Mean and sd, body heights: where the joint centres of a body's surface, which detectors
    mark, are from those of capture skeletons, whose collar bones begin at the spine. Arms and
    Thorax move along, head and hips do not. (0, 0) leaves them where the capture has them."""
    height: tuple[float, float] = (1.70, 0.10)
    """Mean and sd, metres."""
    padded: float = 0.05
    """Windows that repeat their first or last frame, as at the ends of a track."""
    camera: CameraConfig = field(default_factory=CameraConfig)
    noise: NoiseConfig = field(default_factory=NoiseConfig)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SynthConfig:
        """From plain data, as a configuration file holds it: `camera` and `noise` are mappings,
        ranges are lists.

        Raises:
            TypeError: an unknown name.
        """
        own = {name: _plain(value) for name, value in values.items()}
        nested: dict[str, type[CameraConfig] | type[NoiseConfig]]
        nested = {"camera": CameraConfig, "noise": NoiseConfig}
        for name, kind in nested.items():
            if isinstance(own.get(name), Mapping):
                own[name] = kind(**{key: _plain(value) for key, value in own[name].items()})
        return cls(**own)

    @classmethod
    def evaluation(
        cls,
        close: float = 0.0,
        level: float = 0.0,
        *,
        shoulders: bool = False,
        occlusion: bool = False,
    ) -> SynthConfig:
        """Captured motion as it is, on varied bodies, with all the cameras and noise.

        Args:
            close, level: shares of webcam views, and of level cameras among the others.
            shoulders: put them where training has them, not where the capture has them, and let
                the detector be wrong about joints as it is about those of bodies.
            occlusion: joints that the body hides, and scores and errors as those of unsmoothed
                keypoints (those of neighbouring joints independent, so that the sets stay as they
                were when the first such weights were made).
        """
        own = cls()
        none = (0.0, 0.0)
        return cls(
            mix=0.0, reach=0.0, reach_close=0.0, posture=0.0, posture_close=0.0, calm_close=0.0,
            speed=(1.0, 1.0), limb_rotation=0.0, padded=0.0,
            shoulders_forward=own.shoulders_forward if shoulders else none,
            shoulders_down=own.shoulders_down if shoulders else none,
            camera=CameraConfig(close=close, level=level),
            noise=NoiseConfig(
                shared_bias=shoulders, paired_offset=shoulders, raw=occlusion,
                self_occlusion=occlusion, peaks=0.8 if occlusion else 0.0, together=False,
            ),
        )  # fmt: skip


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


@dataclass(frozen=True, slots=True)
class Batch:
    """n windows of T frames."""

    inputs: Float
    """(n, T, 17, 6) what the network sees: `ray_window` of keypoints, scores and peaks."""
    target: Float
    """(n, T, 17, 3) root-relative, virtual-camera axes, body heights."""
    height: Float
    """(n,) metres per body height."""
    keypoints: Float
    """(n, T, 17, 2) noisy pixels."""
    scores: Float
    """(n, T, 17)."""
    peaks: Float
    """(n, T, 17)."""
    joints: Float
    """(n, T, 17, 3) true joints, camera frame, metres."""
    rotation: Float
    """(n, 3, 3) camera to virtual camera."""
    image_size: Float
    """(n, 2) W, H."""
    focal: Float
    """(n,) true focal length, pixels."""
    fps: Float
    """(n,)"""
    clip: NDArray[np.int64]
    """(n,) index of the clip in the motion set (of the lower body where two are mixed)."""
    close: NDArray[np.bool_]
    """(n,) seen by a webcam close by."""
    up: Float
    """(n, 3) unit vectors upwards, camera frame."""

    def __len__(self) -> int:
        return len(self.inputs)

    def part(self, rows: slice | NDArray[np.int64] | NDArray[np.bool_]) -> Batch:
        """Some of the windows."""
        return replace(self, **{name: getattr(self, name)[rows] for name in self.__slots__})


class WindowSampler:
    """An endless, reproducible stream of batches."""

    def __init__(
        self, motion: MotionSet, config: SynthConfig | None = None, frames: int = 27, seed: int = 0
    ) -> None:
        self.motion = motion
        self.config = config or SynthConfig()
        self.frames = frames
        self.seed = seed
        self.index = 0
        """Number of the batch that comes next."""
        self._cumulative = np.cumsum(motion.weight)

    def batch(self, n: int, index: int | None = None) -> Batch:
        """Make batch number `index`, or the next one.

        The same (seed, index, n) gives the same windows, whatever was made before.
        """
        if index is None:
            index = self.index
            self.index += 1
        rng = np.random.default_rng((self.seed, index))
        config = self.config

        close = rng.random(n) < config.camera.close
        kind = rng.random(n)
        reach = kind < np.where(close, config.reach_close, config.reach)
        fold = rng.random(n) < np.where(close, config.posture_close, config.posture)
        calm = reach | fold | (close & (rng.random(n) < config.calm_close))
        fps = np.where(rng.random(n) < config.native_rate, 30.0, rng.uniform(*config.fps, n))
        fps = fps.astype(np.float32)
        step = MOTION_FPS / fps * rng.uniform(*config.speed, n)

        clip, joints = self._motion(rng, step, calm)
        other = np.flatnonzero(rng.random(n) < config.mix)
        if len(other):
            _, bodies = self._motion(rng, step[other], calm[other])
            joints[other] = _exchange_upper(rng, joints[other], bodies)
        flip = np.flatnonzero(rng.random(n) < 0.5)
        joints[flip] = joints[flip][:, :, MIRROR] * np.array([-1, 1, 1], np.float32)
        folded = np.flatnonzero(fold)
        if len(folded):
            bodies = joints[folded]
            postures.fold_legs(rng, bodies, fps[folded])
            joints[folded] = bodies

        joints, height = _vary_body(rng, joints, config)
        reaching = np.flatnonzero(reach)
        if len(reaching):
            bodies = joints[reaching]
            postures.reach(rng, bodies, fps[reaching])
            joints[reaching] = bodies

        view = look_at(rng, joints, close, config.camera)
        keypoints, scores, peaks = _observe(rng, view, height, fps, config.noise)
        seen = view.joints
        self._pad(rng, keypoints, scores, peaks, seen)
        window = ray_window(keypoints, scores, view.image_size, peaks=peaks)
        target = window.to_virtual(root_relative(seen)) / height[:, None, None, None]
        return Batch(
            window.inputs, target, height, keypoints, scores, peaks, seen, window.rotation,
            view.image_size, view.focal, fps, clip, close, view.up,
        )  # fmt: skip

    def _motion(
        self, rng: np.random.Generator, step: NDArray[np.float64], calm: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], Float]:
        """Random stretches of motion: clips (n,) and joints (n, T, 17, 3), world frame.

        Args:
            step: (n,) frames of motion capture per frame of the window.
            calm: (n,) start from somebody who stands quietly.
        """
        motion = self.motion
        n = len(step)
        clip = np.searchsorted(self._cumulative, rng.random(n) * self._cumulative[-1])
        span = step * (self.frames - 1)
        share = rng.random(n)
        begin = share * (np.diff(motion.start)[clip] - 1 - span)
        quiet = np.flatnonzero(calm) if len(motion.calm) else np.zeros(0, np.int64)
        if len(quiet):
            frame = motion.calm[rng.integers(0, len(motion.calm), len(quiet))]
            clip[quiet] = np.searchsorted(motion.start, frame, side="right") - 1
            room = np.maximum(np.diff(motion.start)[clip[quiet]] - 1 - span[quiet], 0.0)
            wanted = frame - motion.start[clip[quiet]] - share[quiet] * span[quiet]
            begin[quiet] = np.clip(wanted, 0.0, room)
        last = np.diff(motion.start)[clip][:, None] - 1
        # A clip shorter than the window stands still before its start and after its end.
        time = np.clip(begin[:, None] + step[:, None] * np.arange(self.frames), 0.0, last)
        return clip, _interpolate(motion.joints, motion.start[clip][:, None], last, time)

    def _pad(self, rng: np.random.Generator, *arrays: Float) -> None:
        """Repeat the first or last frames of some windows, in place."""
        padded = np.flatnonzero(rng.random(len(arrays[0])) < self.config.padded)
        for b in padded:
            count = int(rng.integers(1, max(2, self.frames // 2 + 1)))
            at_start = rng.random() < 0.5
            for array in arrays:
                if at_start:
                    array[b, :count] = array[b, min(count, self.frames - 1)]
                else:
                    array[b, -count:] = array[b, max(-count - 1, -self.frames)]


def evaluation_windows(
    motion: MotionSet,
    n: int,
    frames: int = 27,
    seed: int = 2024,
    config: SynthConfig | None = None,
) -> Batch:
    """A fixed set of n windows, the same wherever it is made.

    Uses `SynthConfig.evaluation()` unless told otherwise: motion, not mixtures of it.
    """
    return WindowSampler(motion, config or SynthConfig.evaluation(), frames, seed).batch(n, index=0)


def load_windows(
    folder: Path | str,
    split: Split,
    n: int,
    frames: int = 27,
    seed: int = 2024,
    *,
    close: float = 0.0,
    level: float = 0.0,
    shoulders: bool = False,
    occlusion: bool = False,
) -> Batch:
    """`evaluation_windows` of one split of a motion folder."""
    config = SynthConfig.evaluation(close, level, shoulders=shoulders, occlusion=occlusion)
    return evaluation_windows(load_motion(folder, split), n, frames, seed, config)


def _interpolate(
    joints: Float, start: NDArray[np.int64], last: NDArray[np.int64], time: NDArray[np.float64]
) -> Float:
    """Catmull-Rom spline through the captured frames at fractional times (n, T)."""
    base = np.minimum(time.astype(np.int64), last)
    u = (time - base).astype(np.float32)
    out = np.zeros((*time.shape, NUM_JOINTS, 3), np.float32)
    weights = (
        0.5 * u * (-1 + u * (2 - u)),
        1 + 0.5 * u * u * (3 * u - 5),
        0.5 * u * (1 + u * (4 - 3 * u)),
        0.5 * u * u * (u - 1),
    )
    for shift, weight in zip((-1, 0, 1, 2), weights, strict=True):
        frame = start + np.clip(base + shift, 0, last)
        out += weight[..., None, None] * joints[frame]
    return out


def _exchange_upper(rng: np.random.Generator, lower: Float, upper: Float) -> Float:
    """Put the upper bodies of `upper` on the hips of `lower`, both (m, T, 17, 3).

    Two ways: turned with hips and trunk of the lower body, or, where the trunks are alike,
    only about the vertical, so that the upper body keeps its own trunk movement.
    """
    hips = [body[:, :, R_HIP] - body[:, :, L_HIP] for body in (lower, upper)]
    trunks = [body[:, :, THORAX] - body[:, :, HIP] for body in (lower, upper)]
    turn = axes(hips[0], trunks[0]) @ axes(hips[1], trunks[1]).swapaxes(-1, -2)
    vertical = np.broadcast_to(np.array([0, 0, 1], np.float32), trunks[0].shape)
    level = axes(hips[0], vertical) @ axes(hips[1], vertical).swapaxes(-1, -2)
    carried = (level @ trunks[1][..., None])[..., 0]
    alike = (postures.unit(carried) * postures.unit(trunks[0])).sum(-1).min(1) > 0.8
    alike &= rng.random(len(lower)) < 0.5
    turn = np.where(alike[:, None, None, None], level, turn)
    size = (stature(lower) / stature(upper))[:, None, None, None]
    out = lower.copy()
    moved = (upper[:, :, UPPER] - upper[:, :, HIP, None]) @ turn.swapaxes(-1, -2)
    out[:, :, UPPER] = lower[:, :, HIP, None] + size * moved
    return out


def _vary_body(rng: np.random.Generator, joints: Float, config: SynthConfig) -> tuple[Float, Float]:
    """Rebuild bodies with other proportions and slightly turned limbs.

    Returns the joints in metres, (n, T, 17, 3), and the body heights (n,) they were scaled to.
    Limb bones come out with one length for the whole window.
    """
    n = len(joints)
    spread = np.clip(rng.standard_normal((n, 6), np.float32), -2.0, 2.0)
    factor = (1.0 + config.bone_spread * spread)[:, None, :, None]
    hip_width = rng.uniform(*config.hip_width, (n, 1, 1)).astype(np.float32)
    shoulder_width = rng.uniform(*config.shoulder_width, (n, 1, 1)).astype(np.float32)
    turn = rotations(config.limb_rotation * rng.standard_normal((n, 10, 3), np.float32))
    turn = turn[:, None].swapaxes(-1, -2)
    forward, down = (
        rng.normal(*shift, n) if any(shift) else np.zeros(n)  # or sets without it would change
        for shift in (config.shoulders_forward, config.shoulders_down)
    )
    root = joints[:, :, HIP]
    body = joints - root[:, :, None]
    out = np.zeros_like(body)

    middle = 0.5 * (body[:, :, R_HIP] + body[:, :, L_HIP])
    for hip in (R_HIP, L_HIP):
        out[:, :, hip] = hip_width * (body[:, :, hip] - middle)
    trunk, neck = factor[:, :, 4], factor[:, :, 5]
    out[:, :, SPINE] = trunk * (body[:, :, None, SPINE] @ turn[:, :, 8])[:, :, 0]
    chest = (body[:, :, SPINE + 1 :] - body[:, :, SPINE, None]) @ turn[:, :, 8]
    upper = dict(zip(range(SPINE + 1, NUM_JOINTS), np.moveaxis(chest, 2, 0), strict=True))
    out[:, :, THORAX] = out[:, :, SPINE] + trunk * upper[THORAX]
    for joint in (NOSE, HEAD):
        way = ((upper[joint] - upper[THORAX])[:, :, None] @ turn[:, :, 9])[:, :, 0]
        out[:, :, joint] = out[:, :, THORAX] + neck * way
    trunk_axes = axes(upper[R_SHOULDER] - upper[L_SHOULDER], upper[THORAX])
    moved = stature(joints)[:, None] * np.stack([np.zeros(n), forward, -down], -1)
    moved = np.einsum("btij,bj->bti", trunk_axes, moved.astype(np.float32))
    out[:, :, THORAX] += moved
    out[:, :, SPINE] += 0.5 * moved
    middle = 0.5 * (upper[R_SHOULDER] + upper[L_SHOULDER])
    for shoulder in (R_SHOULDER, L_SHOULDER):
        from_thorax = middle - upper[THORAX] + shoulder_width * (upper[shoulder] - middle)
        out[:, :, shoulder] = out[:, :, THORAX] + from_thorax

    for limb, (near, middle_joint, end, column) in enumerate(_LIMB_BONES):
        for bone, (a, b) in enumerate(((near, middle_joint), (middle_joint, end))):
            way = body[:, :, b] - body[:, :, a]
            length = np.linalg.norm(way, axis=-1, keepdims=True)
            way *= factor[:, :, column + bone] * length.mean(1, keepdims=True)
            way /= np.maximum(length, 1e-6)
            if bone:
                way = (way[:, :, None] @ turn[:, :, 2 * limb + 1])[:, :, 0]
            out[:, :, b] = out[:, :, a] + (way[:, :, None] @ turn[:, :, 2 * limb])[:, :, 0]

    mean, sd = config.height
    height = np.clip(rng.normal(mean, sd, n), mean - 3 * sd, mean + 3 * sd).astype(np.float32)
    out += root[:, :, None] - root.mean(1)[:, None, None]
    out *= (height / stature(out))[:, None, None, None]
    return out, height


def _observe(
    rng: np.random.Generator, view: View, height: Float, fps: Float, noise: NoiseConfig
) -> tuple[Float, Float, Float]:
    """Noisy keypoints (n, T, 17, 2), scores and peaks (n, T, 17) of what the cameras see."""
    joints = view.joints
    points = np.empty((*joints.shape[:2], NUM_POINTS, 3), np.float32)
    points[:, :, :P_NOSE] = joints[:, :, LIMB_JOINTS]
    points[:, :, P_NOSE] = joints[:, :, NOSE]
    crown = joints[:, :, HEAD]
    below = _EARS_BELOW_CROWN * height[:, None, None]
    points[:, :, P_EARS] = crown + below * postures.unit(joints[:, :, THORAX] - crown)

    percent = 0.01 * view.focal * height / np.maximum(joints[:, :, HIP, 2].mean(1), 0.3)
    cover = covered(points, joints, height) if noise.self_occlusion else None
    where = points
    if noise.raw:
        offset = noise.amount * landmarks.draw(rng, len(points))
        where = landmarks.marked(points, joints, height, offset)
    found = detect(
        rng, view.project(where), points[..., 2], percent, view.image_size, fps, noise, cover
    )
    limbs = np.zeros((*joints.shape[:3], 2), np.float32)
    columns = [POINT_OF[joint] for joint in LIMB_JOINTS]
    limbs[:, :, LIMB_JOINTS] = found.points[:, :, columns]
    keypoints = assemble(limbs, found.points[:, :, P_NOSE], found.points[:, :, P_EARS])
    return keypoints, _of_joints(found.scores), _of_joints(found.peaks)


def _of_joints(trust: Float) -> Float:
    """(n, T, 14) of the detector's points to (n, T, 17)."""
    limbs = np.zeros((*trust.shape[:2], NUM_JOINTS), np.float32)
    limbs[:, :, LIMB_JOINTS] = trust[:, :, [POINT_OF[joint] for joint in LIMB_JOINTS]]
    return assemble_scores(limbs, trust[:, :, P_NOSE], trust[:, :, P_EARS])
