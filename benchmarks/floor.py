"""Floor exercise: camera and floor from captured people who crawl, lie, kneel and get up.

    python benchmarks/floor.py MOTION_FOLDER [--weights window-m7]

Takes that come near the floor, at most three of an action, are seen by cameras that look down by 4,
12 or 25 degrees from anywhere around; keypoints have errors like a detector's, stature is given.
Means over the takes, for films and live:

* `pitch`: of the camera, degrees off; `height`: per cent.
* `floor`: share of the frames in which the lowest contact is between 8 cm below and 12 cm above
  where the true one is. Live: after half a second.
* `N`, `PA`: in the camera frame, `Nw`: in the world, mm, as in `room.py`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer
from numpy.typing import NDArray
from room import ASSUMED_FOV, Truth, score

from posemamba.checkpoint import Checkpoint, load_checkpoint
from posemamba.network import use_threads
from posemamba.skeleton import HIP, R_ANKLE, R_HIP, R_KNEE
from posemamba_live.lifting.factory import lifter_factory
from posemamba_live.lifting.people import People
from posemamba_live.plan import plan_lifting
from posemamba_live.scene.ground import above_floor
from posemamba_live.scene.scene import SceneTracker, solve_scene
from posemamba_live.types import Frame, LiftedPose, Pose2D

Array = NDArray[np.float64]

ACTIONS: Final = {
    "accad": "lie|prone|crawl|get.?up|crouch|kneel",
    "cc0_keyframed": "lying|lie|kneel|push|sit.?up|crawl|floor|prone|plank",
    "cmu_everyday": "get|up",
    "deepmimic_mit": "crawl|getup|get_up|roll",
}
"""Files of motion, and which of their takes."""
SIZE: Final = (1280, 720)
FPS: Final = 25.0
"""Every other frame of the files'."""
LONGEST: Final = 200
SHORTEST: Final = 75
"""Frames, those of the files."""
LOW: Final = 0.55
"""Metres: a take has the hip below that at some time."""
PITCHES: Final = (-4.0, -12.0, -25.0)
MOST: Final = 36
SLOW, CONSTANT, FAST = 0.012, 0.010, 0.003
"""Errors of keypoints as shares of the body's height (standard deviations)."""
LEG_SHARE: Final = 0.49
"""Of stature, from the hip to the ankle."""


def main(
    motion: Annotated[Path, typer.Argument(help="Folder of .npz files.")],
    weights: Annotated[str, typer.Option(help="A name, or a file.")] = "window-m7",
) -> None:
    """Lift the takes and find the floor."""
    use_threads(1)
    checkpoint = load_checkpoint(weights)
    rng = np.random.default_rng(5)
    rows: dict[bool, list[tuple[float, ...]]] = {False: [], True: []}
    for number, joints in enumerate(takes(motion, rng)):
        truth, stature = filmed(joints, PITCHES[number % len(PITCHES)], rng)
        pixels = observed(truth, stature, rng)
        for live, mine in rows.items():
            mine.append(measured(lifted(checkpoint, pixels, live), truth, stature, live))
    print(f"{len(rows[False])} takes  pitch height floor     N    PA    Nw")
    for live, mine in rows.items():
        pitch, height, floor, n, pa, nw = np.abs(np.array(mine)).mean(0)
        name = "live" if live else "films"
        print(f"{name:8s} {pitch:6.2f} {height:6.1f} {floor:5.3f} {n:5.1f} {pa:5.1f} {nw:5.1f}")


def takes(folder: Path, rng: np.random.Generator) -> Iterator[Array]:
    """(T, 17, 3) metres, world frame, around the moment in which the hip is lowest."""
    found: list[tuple[tuple[str, str], Array]] = []
    for source, wanted in ACTIONS.items():
        with np.load(folder / f"{source}.npz", allow_pickle=False) as file:
            start, unit, all_joints = file["clip_start"], float(file["unit_m"]), file["joints"]
            names, actions = file["clip_name"], file["action"]
        for i in range(len(start) - 1):
            joints = all_joints[start[i] : start[i + 1]].astype(np.float64) * unit
            said = f"{names[i]} {actions[i]}".lower()
            long = len(joints) >= SHORTEST
            if re.search(wanted, said) and long and joints[:, HIP, 2].min() < LOW:
                found.append(((source, str(actions[i])), joints))
    count: Counter[tuple[str, str]] = Counter()
    left = MOST
    for i in rng.permutation(len(found)):
        kind, joints = found[i]
        count[kind] += 1
        if count[kind] > 3 or not left:
            continue
        left -= 1
        joints = joints[::2]
        first = int(joints[:, HIP, 2].argmin()) - LONGEST // 2
        first = max(0, min(first, len(joints) - LONGEST))
        yield joints[first : first + LONGEST]


def filmed(joints: Array, pitch_deg: float, rng: np.random.Generator) -> tuple[Truth, float]:
    """A take before a camera, and the person's stature."""
    around = rng.uniform(0.0, 2.0 * math.pi)
    c, s = math.cos(around), math.sin(around)
    world = joints @ np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]).T
    extent = float(np.ptp(world[..., :2].reshape(-1, 2), axis=0).max())
    distance = max(3.2, 2.0 + 0.9 * extent) + rng.uniform(0.0, 1.0)
    pitch = math.radians(pitch_deg)
    ahead = np.array([0.0, math.cos(pitch), math.sin(pitch)])
    right = np.array([1.0, 0.0, 0.0])
    eye = world.reshape(-1, 3).mean(0) - distance * ahead
    camera = (world - eye) @ np.stack([right, np.cross(ahead, right), ahead]).T
    pixels = _focal() * camera[..., :2] / camera[..., 2:] + 0.5 * np.array(SIZE)
    leg = np.linalg.norm(np.diff(joints[:, [R_ANKLE, R_KNEE, R_HIP]], axis=1), axis=-1).sum(1)
    truth = Truth(
        world[:, None], camera[:, None], pixels[:, None], pitch_deg, float(eye[2]), ASSUMED_FOV
    )
    return truth, float(leg.mean()) / LEG_SHARE


def _focal() -> float:
    return 0.5 * max(SIZE) / math.tan(math.radians(0.5 * ASSUMED_FOV))


def observed(truth: Truth, stature: float, rng: np.random.Generator) -> Array:
    """(T, 17, 2) keypoints with errors."""
    pixels = truth.pixels[:, 0]
    slow = rng.normal(size=pixels.shape)
    for t in range(1, len(slow)):
        slow[t] = 0.9 * slow[t - 1] + math.sqrt(1.0 - 0.9**2) * slow[t]
    error = SLOW * slow + CONSTANT * rng.normal(size=(1, 17, 2))
    error += FAST * rng.normal(size=pixels.shape)
    size = stature * _focal() / float(truth.camera[:, 0, HIP, 2].mean())
    return np.asarray(pixels + size * error, np.float64)


def lifted(checkpoint: Checkpoint, pixels: Array, live: bool) -> list[LiftedPose]:
    """What the lifter makes of it."""
    plan = plan_lifting(checkpoint.meta, live=live, fps=FPS, fov_deg=ASSUMED_FOV)
    people = People(lifter_factory(checkpoint, plan), fill_gaps=not live)
    picture, sure = np.zeros((SIZE[1], SIZE[0], 3), np.uint8), np.full(17, 0.85, np.float32)
    out: list[LiftedPose] = []
    for t, points in enumerate(pixels.astype(np.float32)):
        pose = Pose2D(t, t / FPS, 0, points, sure, SIZE)
        out += people.push(Frame(t, t / FPS, picture, 0.0), [pose]).poses
    return [*out, *people.flush().poses]


def measured(
    poses: list[LiftedPose], truth: Truth, stature: float, live: bool
) -> tuple[float, float, float, float, float, float]:
    """Pitch, height, floor, N, PA, Nw."""
    if live:
        tracker = SceneTracker(stature, ASSUMED_FOV)
        solved = [tracker.update(pose) for pose in poses]
    else:
        solved = solve_scene(poses, stature, ASSUMED_FOV)
    row = score(solved, truth, live)
    off = np.array(
        [
            above_floor(np.asarray(pose.joints_world, np.float64))
            - above_floor(truth.world[pose.frame_index, 0])
            for pose in solved
            if pose.pose2d.timestamp >= (0.5 if live else 0.0)
        ]
    )
    floor = float(((off > -0.08) & (off < 0.12)).mean())
    return row["pitch"], row["height"], floor, row["n"], row["pa"], row["nw"]


if __name__ == "__main__":
    typer.run(main)
