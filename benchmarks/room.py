"""Floor, camera and feet in the room against the truth, clip by clip, for films and live.

    python benchmarks/room.py FOLDER... --cache DIR [--weights NAME] [--live-weights NAME]

Finding and lifting people is done once and kept in the cache; the scene is solved anew each time.
For each clip, statures given:

* `pitch`, `height`: of the camera, less the truth (degrees; per cent); medians over the poses.
* `low`: the lowest joint above our floor, 5th and 95th percentile in cm, over frames in which a
  true ankle is within 5 cm of where it is when the foot stands. Live: after half a second.
* `skate`: mm a frame that an ankle slides along the floor while the true one is low and still;
  `own` is what the true one does then.
* `N`, `PA`: N-MPJPE and PA-MPJPE in the camera frame, `Nw`: N-MPJPE in the world after the one
  turn about the vertical that fits the clip best; mm, limb joints relative to Hip.
* `turn`, `turnw`: what one turn per clip about the camera's x axis, or the world's, would gain.
* `root`: distance of the hip from where it is, per cent of its distance from the camera; `path`:
  cm between the paths on the floor, laid upon each other.
* `start`: live, the lowest joint above our floor in the first pose, less the true one, cm.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
from numpy.typing import NDArray

from posemamba.checkpoint import load_checkpoint
from posemamba.network import use_threads
from posemamba.skeleton import HIP, L_ANKLE, LIMB_JOINTS, R_ANKLE
from posemamba.training.metrics import best_scale, joint_error, procrustes
from posemamba_live.detectors import DetectorSettings, create_detector
from posemamba_live.lifting.both_ways import seen_as_a_whole
from posemamba_live.lifting.factory import lifter_factory
from posemamba_live.lifting.people import People
from posemamba_live.plan import (
    FILM_WEIGHTS,
    LIVE_WEIGHTS,
    SECOND_WEIGHTS,
    WHOLE_WEIGHTS,
    plan_lifting,
)
from posemamba_live.scene import scene
from posemamba_live.scene.contact import Feet
from posemamba_live.scene.scene import SceneTracker, solve_scene
from posemamba_live.scene.verticals import Upright, Verticals
from posemamba_live.sources import open_source
from posemamba_live.tracking.people import PeopleTracker
from posemamba_live.types import LiftedPose, Pose2D, Pose3D

Array = NDArray[np.float64]

STATURE: Final = {
    "desk_head_shoulders": 1.75, "desk_gestures": 1.67, "desk_laptop_low": 1.62,
    "desk_from_side": 1.8, "arms_to_camera": 1.83, "seated_chair": 1.79, "seated_desk": 1.66,
    "phone_portrait": 1.71, "far_away": 1.76, "turn_around": 1.7, "exercise": 1.81,
    "exercise_side": 1.73, "high_corner": 1.74, "comes_and_goes": 1.65, "walk_turn": 1.78,
    "arm_signals": 1.66,
}  # fmt: skip
"""Metres."""
STATURES: Final = {"bystander_behind": (1.74, 1.68), "two_talk": (1.82, 1.67)}
"""Of two people, in the order of the truth."""
HALF_BODY: Final = ("desk_", "seated_desk", "arms_to_camera")
"""Feet are never in the picture, so that nothing tells where the floor is."""
ASSUMED_FOV: Final = 60.0
FPS: Final = 30.0
"""Of all clips."""
STANDING: Final = 0.085
"""Metres from the floor to the ankle of a foot that stands."""
NEAR_FLOOR: Final = 0.05
STILL: Final = 0.01
"""Metres a frame."""
ANKLES: Final = (R_ANKLE, L_ANKLE)


@dataclass(frozen=True, slots=True)
class Truth:
    """What is known of a clip; arrays have an axis for people."""

    world: Array
    """(T, P, 17, 3) metres."""
    camera: Array
    pixels: Array
    pitch: float
    """Degrees."""
    height: float
    fov: float

    @classmethod
    def read(cls, path: Path) -> Truth:
        with np.load(path, allow_pickle=False) as gt:
            world, camera, pixels = gt["joints_world"], gt["joints_camera"], gt["joints_2d"]
            rotation, translation, k = gt["R"], gt["t"], gt["K"]
            size = gt["image_size"]
        if world.ndim == 3:
            world, camera, pixels = world[:, None], camera[:, None], pixels[:, None]
        height = -(rotation.T @ translation)[2]
        pitch = math.degrees(math.asin(rotation[2, 2]))
        fov = 2.0 * math.degrees(math.atan(0.5 * float(max(size)) / float(k[0, 0])))
        return cls(
            world.astype(np.float64), camera.astype(np.float64), pixels.astype(np.float64),
            pitch, float(height), fov,
        )  # fmt: skip

    def who(self, pose: Pose2D) -> int | None:
        """Which person a pose is of; None where nobody is."""
        limbs = list(LIMB_JOINTS)
        away = self.pixels[pose.frame_index][:, limbs] - pose.keypoints[limbs]
        distance = np.linalg.norm(away, axis=-1).mean(-1)
        return None if np.isnan(distance).all() else int(np.nanargmin(distance))

    def of(self, pose: Pose3D) -> tuple[Array, Array] | None:
        """World and camera joints of that person."""
        i, p = pose.frame_index, self.who(pose.pose2d)
        return None if p is None else (self.world[i, p], self.camera[i, p])


def main(
    folders: Annotated[list[Path], typer.Argument(help="Hold NAME.mp4 and NAME_gt.npz.")],
    cache: Annotated[Path, typer.Option(help="Folder for lifted poses.")],
    weights: Annotated[str, typer.Option(help="Of films: a name, or a file.")] = FILM_WEIGHTS,
    live_weights: Annotated[str, typer.Option(help="Of live use.")] = LIVE_WEIGHTS,
    only: Annotated[list[str] | None, typer.Option(help="Names of clips.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json")] = None,
    feet: Annotated[bool, typer.Option(help="Hold feet that stand.")] = True,
    lines: Annotated[bool, typer.Option(help="Look at the background's verticals.")] = True,
    again: Annotated[
        list[str], typer.Option(help="What films are averaged with; may be given several times.")
    ] = [SECOND_WEIGHTS, WHOLE_WEIGHTS],  # noqa: B006
) -> None:
    """Solve every clip's scene as of a film, and live."""
    use_threads(1)
    if not feet:
        leave_feet()
    report: dict[str, dict[str, dict[str, float]]] = {}
    for live, used in ((False, weights), (True, live_weights)):
        rows = {}
        for truth in sorted(path for folder in folders for path in folder.glob("*_gt.npz")):
            name = truth.name.removesuffix("_gt.npz")
            if only and name not in only:
                continue
            folder = cache / Path(used).stem
            lifted = _lifted(truth.parent / f"{name}.mp4", used, folder, live)
            if lifted:
                if not live:
                    for own in again:
                        lifted = seen_as_a_whole(
                            lifted, load_checkpoint(own), fps=FPS, fov_deg=ASSUMED_FOV
                        )
                known = Truth.read(truth)
                heights = _heights(name, lifted, known)
                film = truth.parent / f"{name}.mp4"
                said = _background(film, lifted) if lines else {}
                rows[name] = score(_solve(lifted, heights, live, said), known, live)
        _show("live" if live else "films", rows)
        report["live" if live else "film"] = rows
    if json_file:
        json_file.write_text(json.dumps(report, indent=1), encoding="utf-8")


def leave_feet() -> None:
    """From here on scenes are solved without holding feet, all else as it is."""
    vars(scene)["_Recording"].stand = lambda recording, plane, ground: None
    Feet.__call__ = lambda feet, joints, root, *_: (joints, root)


def _heights(name: str, lifted: Sequence[LiftedPose], truth: Truth) -> list[float]:
    """Statures by identity, as `--height` takes them."""
    if name not in STATURES:
        return [STATURE[name]]
    people: dict[int, list[int]] = {}
    for pose in lifted:
        who = truth.who(pose.pose2d)
        if who is not None:
            people.setdefault(pose.pose2d.person_id, []).append(who)
    usual = [max(set(them), key=them.count) for _, them in sorted(people.items())]
    return [STATURES[name][who] for who in usual]


def _solve(
    lifted: Sequence[LiftedPose],
    height_m: Sequence[float],
    live: bool,
    said: Mapping[int, Upright | None],
) -> list[Pose3D]:
    if not live:
        upright = list(said.values())[-1] if said else None
        return solve_scene(lifted, height_m, ASSUMED_FOV, upright=upright)
    tracker = SceneTracker(height_m, ASSUMED_FOV)
    frames: dict[int, list[LiftedPose]] = {}
    for pose in lifted:
        frames.setdefault(pose.pose2d.frame_index, []).append(pose)
    solved: list[Pose3D] = []
    for index, people in sorted(frames.items()):
        tracker.upright = said.get(index)
        solved += tracker.place(people)
    return solved


def _background(film: Path, lifted: Sequence[LiftedPose]) -> dict[int, Upright | None]:
    """What verticals in a film's background have said by each of its frames."""
    people: dict[int, list[Pose2D]] = {}
    for pose in lifted:
        people.setdefault(pose.pose2d.frame_index, []).append(pose.pose2d)
    verticals, said = Verticals(ASSUMED_FOV), {}
    with open_source(str(film)) as source:
        for frame in source:
            verticals(frame, people.get(frame.index, ()))
            said[frame.index] = verticals.said
    return said


def score(poses: Sequence[Pose3D], truth: Truth, live: bool) -> dict[str, float]:
    """All figures of one clip."""
    pairs = [(pose, *both) for pose in poses if (both := truth.of(pose)) is not None]
    pairs = [pair for pair in pairs if not np.isnan(pair[1]).any()]
    joints = np.array([pose.joints for pose, _, _ in pairs], np.float64)
    ours = np.array([pose.joints_world for pose, _, _ in pairs], np.float64)
    roots = np.array([pose.root for pose, _, _ in pairs], np.float64)
    world = np.array([world for _, world, _ in pairs])
    camera = np.array([camera for _, _, camera in pairs])
    cameras = np.array([_camera(pose) for pose, _, _ in pairs])
    times = np.array([pose.pose2d.timestamp for pose, _, _ in pairs])

    settled = times >= (0.5 if live else 0.0)
    on_floor = world[:, ANKLES, 2].min(1) < STANDING + NEAR_FLOOR
    lowest = ours[..., 2].min(1)
    low = lowest[settled & on_floor]
    limbs = list(LIMB_JOINTS)
    x, y = joints[:, limbs], (camera - camera[:, :1])[:, limbs]
    xw, yw = (ours - ours[:, :1])[:, limbs], (world - world[:, :1])[:, limbs]
    turned_camera = min(_n(x @ _about_x(a).T, y) for a in _ANGLES)
    turned_world = min(_n_yaw_free(xw @ _about_x(a).T, yw) for a in _ANGLES)
    skates = list(_skates(pairs))
    path, true_path = _aligned(ours[:, HIP, :2], world[:, HIP, :2])
    return {
        "pitch": float(np.median(cameras[:, 0])) - truth.pitch,
        "height": 100.0 * (float(np.median(cameras[:, 1])) / truth.height - 1.0),
        "low5": 100.0 * _percentile(low, 5.0),
        "low95": 100.0 * _percentile(low, 95.0),
        "skate": 1000.0 * _mean([own for own, _ in skates]),
        "own": 1000.0 * _mean([true for _, true in skates]),
        "n": _n(x, y),
        "pa": 1000.0 * float(joint_error(procrustes(x, y), y).mean()),
        "nw": _n_yaw_free(xw, yw),
        "turn": _n(x, y) - turned_camera,
        "turnw": _n_yaw_free(xw, yw) - turned_world,
        "root": 100.0 * float(
            np.median(np.linalg.norm(roots - camera[:, HIP], axis=-1)
                      / np.linalg.norm(camera[:, HIP], axis=-1))
        ),
        "path": 100.0 * float(np.linalg.norm(path - true_path, axis=-1).mean()),
        "start": 100.0 * float(lowest[0] - world[0, :, 2].min()),
    }  # fmt: skip


_ANGLES: Final = np.radians(np.arange(-25.0, 25.1, 0.5))


def _camera(pose: Pose3D) -> tuple[float, float]:
    """Pitch (degrees) and height (metres) of the ground that a pose was placed on."""
    ours = np.asarray(pose.joints_world - pose.joints_world[HIP], np.float64)
    u, _, vt = np.linalg.svd(np.asarray(pose.joints, np.float64).T @ ours)
    rotation = (u @ vt).T
    height = pose.joints_world[HIP] - rotation @ pose.root
    return math.degrees(math.asin(np.clip(rotation[2, 2], -1.0, 1.0))), float(height[2])


def _skates(pairs: Sequence[tuple[Pose3D, Array, Array]]) -> Iterator[tuple[float, float]]:
    """Steps of our and of the true ankles along the floor, while the true ones stand."""
    before: dict[int, tuple[int, Array, Array]] = {}
    for pose, world, _ in pairs:
        known = before.get(pose.person_id)
        ours = np.asarray(pose.joints_world, np.float64)
        if known is not None and known[0] == pose.frame_index - 1:
            for ankle in ANKLES:
                true = float(np.linalg.norm((world[ankle] - known[1][ankle])[:2]))
                if world[ankle, 2] < STANDING + 0.035 and true < STILL:
                    yield float(np.linalg.norm((ours[ankle] - known[2][ankle])[:2])), true
        before[pose.person_id] = pose.frame_index, world, ours


def _n(x: Array, y: Array) -> float:
    return 1000.0 * float(joint_error(best_scale(x, y) * x, y).mean())


def _n_yaw_free(x: Array, y: Array) -> float:
    a, b = x[..., :2].reshape(-1, 2), y[..., :2].reshape(-1, 2)
    angle = math.atan2((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum(), (a * b).sum())
    c, s = math.cos(angle), math.sin(angle)
    return _n(x @ np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]]), y)


def _aligned(x: Array, y: Array) -> tuple[Array, Array]:
    """Two paths (N, 2), the first moved and turned upon the second."""
    x, y = x - x.mean(0), y - y.mean(0)
    angle = math.atan2((x[:, 0] * y[:, 1] - x[:, 1] * y[:, 0]).sum(), (x * y).sum())
    c, s = math.cos(angle), math.sin(angle)
    return x @ np.array([[c, s], [-s, c]]), y


def _about_x(angle: float) -> Array:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def _percentile(values: Array, percent: float) -> float:
    return float(np.percentile(values, percent)) if len(values) else math.nan


def _show(what: str, rows: dict[str, dict[str, float]]) -> None:
    columns = ("pitch", "height", "low5", "low95", "skate", "own", "n", "pa", "nw", "turn",
               "turnw", "root", "path", "start")  # fmt: skip
    print(f"{what:20s} " + " ".join(f"{name:>6s}" for name in columns))
    for name, row in rows.items():
        print(f"{name:20s} " + " ".join(f"{row[column]:6.1f}" for column in columns))
    whole = [row for name, row in rows.items() if not name.startswith(HALF_BODY)]
    if whole:
        mean = {c: float(np.nanmean([abs(row[c]) for row in whole])) for c in columns}
        mean["low5"] = float(np.nanmean([row["low5"] for row in whole]))
        mean["low95"] = float(np.nanmean([row["low95"] for row in whole]))
        print(f"{'mean, whole bodies':20s} " + " ".join(f"{mean[c]:6.1f}" for c in columns))
    print(flush=True)


# Finding and lifting, once.


def _lifted(video: Path, weights: str, cache: Path, live: bool) -> list[LiftedPose]:
    kept = cache / f"{video.stem}{'-live' if live else ''}.npz"
    if not kept.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        _write(kept, _lift(video, weights, live))
    return _read(kept)


def _lift(video: Path, weights: str, live: bool) -> list[LiftedPose]:
    checkpoint = load_checkpoint(weights)
    people = 2 if video.stem in STATURES else 1
    with open_source(str(video)) as source:
        plan = plan_lifting(checkpoint.meta, live=live, fps=source.fps, fov_deg=ASSUMED_FOV)
        lifters = People(lifter_factory(checkpoint, plan), fill_gaps=not live)
        detector = create_detector("blazepose", DetectorSettings(people=people, threads=1))
        tracker = PeopleTracker(detector, people)
        found: list[LiftedPose] = []
        looked = ((f, tracker(f)) for f in source) if live else tracker.follow(source)
        for frame, poses in looked:
            found += lifters.push(frame, poses).poses
        detector.close()
    return [*found, *lifters.flush().poses]


def _write(path: Path, poses: Sequence[LiftedPose]) -> None:
    two = [pose.pose2d for pose in poses]
    arrays: dict[str, Any] = {
        "rows": np.array([(p.frame_index, p.timestamp, p.person_id, p.predicted) for p in two]),
        "size": np.array(two[0].image_size if two else (0, 0)),
        "keypoints": np.array([p.keypoints for p in two]),
        "scores": np.array([p.scores for p in two]),
        "joints": np.array([p.joints for p in poses]),
        "look_ahead": np.array([p.look_ahead for p in poses]),
        "up": np.array([p.up for p in poses if p.up is not None]),
    }
    np.savez(path, **arrays)


def _read(path: Path) -> list[LiftedPose]:
    with np.load(path, allow_pickle=False) as kept:
        k = {name: kept[name] for name in kept.files}
    width, height = (int(length) for length in k["size"])
    return [
        LiftedPose(
            Pose2D(int(index), float(time), int(person), k["keypoints"][i], k["scores"][i],
                   (width, height), bool(predicted)),
            k["joints"][i],
            int(k["look_ahead"][i]),
            k["up"][i] if len(k["up"]) else None,
        )
        for i, (index, time, person, predicted) in enumerate(k["rows"])
    ]  # fmt: skip


if __name__ == "__main__":
    typer.run(main)
