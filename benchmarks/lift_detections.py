"""What weights make of kept keypoints (`detections.py`): errors, tilt, limbs on the wrong side.

    python benchmarks/lift_detections.py CACHE FOLDER... --weights window-m3 [--half judging]

No tracker but what it does about hands that have left the picture, and no scene: windows as in
file mode, or with --live as they are lifted live (causal weights always are); the assumed field
of view. `turned` is N-MPJPE after the one turn about the camera's x axis that fits a clip best:
what a known pitch would gain. `pitch` is what the weights say of the camera, pooled over the clip,
less the truth.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
from numpy.typing import NDArray

from posemamba import gravity
from posemamba.checkpoint import Checkpoint, load_checkpoint
from posemamba.normalize import ASSUMED_FOV_DEG
from posemamba.skeleton import L_SHOULDER, LIMB_JOINTS, R_SHOULDER
from posemamba.training.metrics import acceleration_error, joint_error, procrustes
from posemamba.training.metrics import best_scale as scale_of
from posemamba_live.lifting.both_ways import seen_as_a_whole
from posemamba_live.lifting.factory import lifter_factory
from posemamba_live.lifting.window import Lifter
from posemamba_live.plan import plan_lifting
from posemamba_live.tracking.hands import Hands
from posemamba_live.types import Detection, Pose2D

Array = NDArray[np.float64]

MEASURED: Final = (
    "arms_to_camera", "comes_and_goes", "desk_from_side", "desk_gestures", "exercise",
    "high_corner", "seated_chair", "two_talk", "walk_turn", "arm_signals",
)  # fmt: skip
"""Clips that the error model of training was measured on; the others judge."""
DESKS: Final = ("desk_", "seated_desk")
"""How the names of clips begin that show people at desks."""
ARMS: Final = tuple(joint for joint in LIMB_JOINTS if joint >= L_SHOULDER)
_PARENT: Final = {2: 1, 3: 1, 5: 4, 6: 4, 12: 11, 13: 11, 15: 14, 16: 14}
WRONG_SIDE_M: Final = 0.08


def main(
    cache: Annotated[Path, typer.Argument(help="Folder of NAME.npz of detections.py.")],
    folders: Annotated[list[Path], typer.Argument(help="Hold NAME_gt.npz.")],
    weights: Annotated[list[str], typer.Option(help="Names or files.")],
    half: Annotated[str, typer.Option(help="measured, judging or both.")] = "both",
    scores: Annotated[str, typer.Option(help="product, or visibility.")] = "product",
    pool: Annotated[bool, typer.Option(help="Turn poses to the pooled gravity.")] = True,
    live: Annotated[bool, typer.Option(help="Each frame as it comes.")] = False,
    both_ways: Annotated[
        list[str], typer.Option(help="Weights that whole films are averaged with, in turn.")
    ] = [],  # noqa: B006
    json_file: Annotated[Path | None, typer.Option("--json")] = None,
) -> None:
    """Lift every clip with each of the weights."""
    report: dict[str, dict[str, Any]] = {}
    again = [load_checkpoint(name) for name in both_ways]
    for name in weights:
        make = lifters(name, live=live)
        rows = {}
        for file in sorted(cache.glob("*.npz")):
            measured = file.stem in MEASURED
            if (half == "measured" and not measured) or (half == "judging" and measured):
                continue
            rows |= score_clip(file, truth_of(file, folders), make, scores, pool, again)
        report[name] = rows
        _show(name, rows)
    if json_file:
        json_file.write_text(json.dumps(report, indent=1), encoding="utf-8")


def truth_of(file: Path, folders: Sequence[Path]) -> Path:
    """The ground truth of a file of detections."""
    return next(path for folder in folders if (path := folder / f"{file.stem}_gt.npz").is_file())


def lifters(name: str, *, live: bool) -> Callable[[], Lifter]:
    """What makes lifters with these weights, as the program does on a CPU."""
    checkpoint = load_checkpoint(name)
    plan = plan_lifting(
        checkpoint.meta, live=live or checkpoint.meta.causal, fps=30.0, fov_deg=ASSUMED_FOV_DEG
    )
    return lifter_factory(checkpoint, plan)


def score_clip(
    file: Path,
    truth: Path,
    make: Callable[[], Lifter],
    scores: str,
    pool: bool,
    again: Sequence[Checkpoint] = (),
) -> dict[str, dict[str, float]]:
    with np.load(file) as found, np.load(truth) as gt:
        keypoints, seen = found["keypoints"], found["seen"]
        peak = found["peak"].astype(np.float32)
        visibility = found["visibility"].astype(np.float32)
        confidence = visibility * (peak if scores == "product" else 1.0)
        joints, size, fps = gt["joints_camera"], gt["image_size"], float(gt["fps"])
        up = gt["R"][:, 2]
    if joints.ndim == 3:
        joints = joints[:, None]
    out = {}
    for p in range(joints.shape[1]):
        lifter, hands, poses = make(), Hands(), []
        for t in np.flatnonzero(seen[:, p]):
            own = hands(
                Detection(
                    keypoints[t, p],
                    confidence[t, p].astype(np.float32),
                    visibility=visibility[t, p],
                    peak=peak[t, p],
                ),
                (int(size[0]), int(size[1])),
            )
            poses.append(
                Pose2D(t, t / fps, 0, own.keypoints, own.scores,
                       (int(size[0]), int(size[1])), peak=own.peak)
            )  # fmt: skip
        lifted = [done for pose in poses for done in lifter.push(pose)] + lifter.flush()
        for second in again:
            lifted = seen_as_a_whole(lifted, second, fps=fps, fov_deg=ASSUMED_FOV_DEG)
        frames = np.array([one.pose2d.frame_index for one in lifted])
        ours = np.stack([one.joints for one in lifted]).astype(np.float64)
        row: dict[str, float] = {}
        if lifted[0].up is not None:
            said = np.stack([one.up for one in lifted if one.up is not None])
            pooled = said.sum(0) / np.linalg.norm(said.sum(0))
            each = said / np.linalg.norm(said, axis=-1, keepdims=True)
            off = gravity.angles_of(pooled) - gravity.angles_of(up)
            row |= {"pitch": math.degrees(off[0]), "roll": math.degrees(off[1])}
            if pool:
                ours = gravity.turned(ours, each, np.broadcast_to(pooled, each.shape))
        name = file.stem if joints.shape[1] == 1 else f"{file.stem}/{p}"
        desk = file.stem.startswith(DESKS)
        out[name] = {**errors(ours, joints[frames, p].astype(np.float64), frames, desk), **row}
    return out


def errors(ours: Array, true: Array, frames: NDArray[np.int64], desk: bool) -> dict[str, float]:
    """Millimetres, as `shared/dev_clips/README.md` counts them."""
    own = list(ARMS if desk else LIMB_JOINTS)
    middle = [L_SHOULDER, R_SHOULDER] if desk else [1, 4]
    a = 1000.0 * (ours - ours[:, middle].mean(1, keepdims=True))
    b = 1000.0 * (true - true[:, middle].mean(1, keepdims=True))
    x, y = a[:, own], b[:, own]
    scale = scale_of(x, y)
    accel = acceleration_error(scale * x, y)[frames[2:] - frames[:-2] == 2]
    turn = _best_turn(x, y)
    wrong = []
    for joint, parent in _PARENT.items():
        if joint in own:
            p, t = (
                (scale * a)[:, joint, 2] - (scale * a)[:, parent, 2],
                b[:, joint, 2] - b[:, parent, 2],
            )
            wrong.append((p * t < 0) & (np.abs(p - t) > 1000.0 * WRONG_SIDE_M))
    return {
        "n": float(joint_error(scale * x, y).mean()),
        "pa": float(joint_error(procrustes(x, y), y).mean()),
        "accel": float(accel.mean()),
        "turned": float(turn),
        "wrong": 100.0 * float(np.mean(wrong)),
    }


def _best_turn(x: Array, y: Array) -> float:
    best = np.inf
    for degrees in np.arange(-25.0, 25.1, 1.0):
        c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        z = x @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]]).T
        best = min(best, float(joint_error(scale_of(z, y) * z, y).mean()))
    return best


def _show(name: str, rows: dict[str, dict[str, float]]) -> None:
    print(f"{name}\n{'clip':22s}    N    PA accel turned wrong%  pitch   roll")
    for clip, row in rows.items():
        _line(clip, row)
    for label, mean in means(rows).items():
        _line(f"mean, {label}", mean)


def means(rows: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Of magnitudes, over clips of whole bodies (without `far_away`), and of people at desks."""
    whole = [c for c in rows if not c.startswith((*DESKS, "far_away"))]
    desk = [c for c in rows if c.startswith(DESKS)]
    return {
        label: {k: float(np.mean([abs(rows[c][k]) for c in own])) for k in rows[own[0]]}
        for label, own in (("whole bodies", whole), ("at a desk", desk))
        if own
    }


def _line(label: str, row: dict[str, float]) -> None:
    extra = f" {row['pitch']:6.1f} {row['roll']:6.1f}" if "pitch" in row else ""
    print(
        f"{label:22s} {row['n']:5.1f} {row['pa']:5.1f} {row['accel']:5.1f} {row['turned']:5.1f} "
        f"{row['wrong']:5.1f}{extra}",
        flush=True,
    )


if __name__ == "__main__":
    typer.run(main)
