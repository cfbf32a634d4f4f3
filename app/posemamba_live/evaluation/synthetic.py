"""Weights on windows of captured motion: by source, action, joint and look-ahead."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from posemamba.checkpoint import Checkpoint
from posemamba.network import Network
from posemamba.normalize import mirror_image, ray_track, ray_window, reflected, root_relative
from posemamba.skeleton import (
    JOINT_NAMES,
    L_ANKLE,
    L_ELBOW,
    L_HIP,
    L_KNEE,
    L_SHOULDER,
    L_WRIST,
    LIMB_JOINTS,
    MIRROR,
    R_ANKLE,
    R_ELBOW,
    R_HIP,
    R_KNEE,
    R_SHOULDER,
    R_WRIST,
)
from posemamba.training.metrics import (
    Scores,
    best_scale,
    hip_aligned,
    joint_error,
    procrustes,
    score,
)
from posemamba.training.motion import MotionSet
from posemamba.training.scoring import millimetres, predict
from posemamba.training.synth import Batch

Float = NDArray[np.float32]

DELAYS: Final = (0, 5, 13)
"""Frames of look-ahead that live use is judged at."""
WRONG_SIDE_MM: Final = 80.0
WRONG_SIDE_LIMBS: Final = {
    "legs": ((R_KNEE, R_HIP), (R_ANKLE, R_HIP), (L_KNEE, L_HIP), (L_ANKLE, L_HIP)),
    "arms": (
        (R_ELBOW, R_SHOULDER), (R_WRIST, R_SHOULDER), (L_ELBOW, L_SHOULDER), (L_WRIST, L_SHOULDER)
    ),
}  # fmt: skip
"""Joints, each with the root of its limb."""


def synthetic_scores(
    checkpoint: Checkpoint, motion: MotionSet, windows: Batch, flip: bool
) -> dict[str, Any]:
    """All tables of one view as JSON values; with `flip` averaged with the mirrored pass."""
    one_pass = lift(checkpoint, windows)
    true = hip_aligned(millimetres(windows.target, windows))
    live = hip_aligned(millimetres(one_pass, windows))
    last = live.shape[1] - 1
    delays = {}
    for delay in DELAYS:
        if delay <= last:
            frame = slice(last - delay, last - delay + 1)
            # The scale is the window's, as it is a person's in live use.
            scaled = best_scale(live, true) * live
            delays[str(delay)] = _brief(score(scaled[:, frame], true[:, frame]))
    predicted = live
    if flip:
        both = 0.5 * (one_pass + reflected(lift(checkpoint, mirrored(windows))))
        predicted = hip_aligned(millimetres(both, windows))
    groups = {
        "source": _per_group(motion.source[windows.clip], predicted, true),
        "action": _per_group(motion.action[windows.clip], predicted, true),
    }
    return {
        "all": score(predicted, true).as_dict(),
        "one_pass": score(live, true).as_dict(),
        "joint": joint_table(predicted, true),
        "delay": delays,
        "wrong_side": wrong_sides(predicted, true),
        **groups,
    }


def lift(checkpoint: Checkpoint, windows: Batch) -> Float:
    """What the application's network would answer: (n, T, 17, 3), virtual-camera axes."""
    channels = checkpoint.meta.config.in_channels
    if checkpoint.meta.input_kind == "rays":
        return predict(checkpoint.model, windows.inputs[..., :channels])
    turn = windows.rotation[:, None].swapaxes(-1, -2)
    if checkpoint.meta.input_kind == "stream":
        camera = lift_causally(
            checkpoint,
            windows.keypoints,
            windows.scores,
            windows.image_size,
            1.0 / windows.fps,
            checkpoint.meta.fov_deg,
            windows.peaks,
        )
        return np.asarray(camera @ turn, np.float32)
    # Weights with other inputs or outputs: the library translates them.
    network = Network(checkpoint, fov_deg=checkpoint.meta.fov_deg)
    out = np.empty_like(windows.target)
    for size in np.unique(windows.image_size, axis=0):
        for row in np.flatnonzero((windows.image_size == size).all(1)):
            width, height = (int(v) for v in size)
            own = slice(row, row + 1)
            out[own] = network(
                windows.keypoints[own], windows.scores[own], (width, height), windows.peaks[own]
            )
    return np.asarray(out @ turn, np.float32)


def lift_causally(
    checkpoint: Checkpoint,
    keypoints: Float,
    scores: Float,
    image_size: NDArray[Any] | tuple[int, int],
    elapsed: NDArray[Any] | float,
    fov_deg: float,
    peaks: Float | None = None,
) -> Float:
    """What a network of "stream" input answers, a causal one knowing nothing before each window.

    Args:
        keypoints, scores, peaks: (n, T, 17, 2) pixels, (n, T, 17).
        image_size: (2,) or (n, 2) W, H.
        elapsed: () or (n,) seconds from frame to frame.

    Returns:
        (n, T, 17, 3) root-relative, camera axes, body heights.
    """
    track = ray_track(keypoints, scores, image_size, elapsed, fov_deg, peaks)
    answers = predict(checkpoint.model, track.inputs[..., : checkpoint.meta.config.in_channels])
    return root_relative(track.to_camera(answers))


def mirrored(windows: Batch) -> Batch:
    """The same windows in a mirror: the keypoints and scores of the mirrored people."""
    width = windows.image_size[:, None, None, 0]
    keypoints, scores = mirror_image(windows.keypoints, windows.scores, width)
    peaks = windows.peaks[:, :, list(MIRROR)]
    rays = ray_window(keypoints, scores, windows.image_size, peaks=peaks)
    return replace(
        windows,
        inputs=rays.inputs,
        keypoints=keypoints,
        scores=scores,
        peaks=peaks,
        rotation=rays.rotation,
    )


def joint_table(predicted: Float, true: Float) -> dict[str, dict[str, float]]:
    """N-MPJPE and PA-MPJPE of each of the 17 joints, both fitted on the limb joints."""
    limbs = list(LIMB_JOINTS)
    p, t = hip_aligned(predicted), hip_aligned(true)
    scaled = joint_error(best_scale(p[..., limbs, :], t[..., limbs, :]) * p, t)
    aligned = joint_error(procrustes(p[..., limbs, :], t[..., limbs, :]), t[..., limbs, :])
    out = {
        name: {"n_mpjpe": float(scaled[..., joint].mean())}
        for joint, name in enumerate(JOINT_NAMES)
    }
    for column, joint in enumerate(limbs):
        out[JOINT_NAMES[joint]]["pa_mpjpe"] = float(aligned[..., column].mean())
    return out


def wrong_sides(predicted: Float, true: Float) -> dict[str, float]:
    """Percentage of limb joints in front of their limb's root that should be behind it, or the
    other way round, and are off by more than WRONG_SIDE_MM in depth: (n, T, 17, 3) in mm each."""
    out = {}
    for name, limbs in WRONG_SIDE_LIMBS.items():
        depths = [
            (joints[..., joint, 2] - joints[..., root, 2])
            for joint, root in limbs
            for joints in (predicted, true)
        ]
        wrong = [
            (ours * truth < 0) & (np.abs(ours - truth) > WRONG_SIDE_MM)
            for ours, truth in zip(depths[::2], depths[1::2], strict=True)
        ]
        out[name] = 100.0 * float(np.mean(wrong))
    return out


def _per_group(
    labels: NDArray[np.str_], predicted: Float, true: Float
) -> dict[str, dict[str, float]]:
    out = {}
    for label in np.unique(labels):
        own = labels == label
        out[str(label)] = {
            "windows": float(own.sum()),
            **_brief(score(predicted[own], true[own])),
        }
    return out


def _brief(scores: Scores) -> dict[str, float]:
    names = ("mpjpe", "n_mpjpe", "pa_mpjpe", "accel")
    return {name: value for name, value in scores.as_dict().items() if name in names}
