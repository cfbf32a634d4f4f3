"""What each live mode costs in accuracy: window at several delays, causal stream, file mode.

Runs the detector once over every clip that has ground truth, then each lifter over the same
keypoints, frame by frame as in live use, and scores the lifter's own answer and what the
window shows (after scale, bone lengths and the One Euro filter). 12 limb joints, mid-hip
aligned; N-MPJPE and PA-MPJPE in mm, acceleration error in mm/frame^2. A frame is scored
against the truth of the frame that its pose is labelled with: `delay` is the age that the
look-ahead adds, in frames.

    python benchmarks/live_accuracy.py demo_videos
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from posemamba.checkpoint import load_checkpoint, shipped_weights
from posemamba.network import use_threads
from posemamba.training.metrics import score
from posemamba_live.detectors import create_detector
from posemamba_live.lifting.factory import lifter_factory
from posemamba_live.plan import plan_lifting
from posemamba_live.scene.scene import SceneTracker, solve_scene
from posemamba_live.sources import open_source
from posemamba_live.tracking.people import PeopleTracker
from posemamba_live.types import LiftedPose, Pose2D

HEIGHT_M = 1.70


def keypoints(clip: Path) -> list[Pose2D]:
    """Tracked 2D poses of a clip's subject."""
    detector = create_detector()
    tracker = PeopleTracker(detector)
    with open_source(str(clip)) as source:
        poses = [pose for frame in source for pose in tracker(frame)]
    detector.close()
    return poses


def modes() -> Iterator[tuple[str, str, bool, int]]:
    """Name, weights, live, delay."""
    for name in sorted(shipped_weights()):
        if name.startswith("causal"):
            yield f"{name}, live", name, True, 0
        else:
            for delay in (0, 2, 5, 13):
                yield f"{name}, live, delay {delay}", name, True, delay
            yield f"{name}, file", name, False, 0


def evaluate(predicted: dict[int, np.ndarray], truth: np.ndarray) -> str:
    """Scores of one continuous clip; joints in metres by frame number."""
    frames = sorted(predicted)
    scores = score(
        1000.0 * np.stack([predicted[i] for i in frames])[None], 1000.0 * truth[frames][None]
    )
    return f"{scores.n_mpjpe:7.1f} /{scores.pa_mpjpe:5.1f} /{scores.accel:5.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--smooth", type=float, default=1.0)
    arguments = parser.parse_args()
    use_threads(1)
    for truth_path in sorted(arguments.folder.glob("*_gt.npz")):
        clip = truth_path.with_name(truth_path.name.replace("_gt.npz", ".mp4"))
        truth = np.load(truth_path)["joints_camera"]
        poses = keypoints(clip)
        print(f"\n{clip.name:36s}{'lifter  N / PA / accel':>24s}{'shown':>24s}")
        for name, weights, live, delay in modes():
            checkpoint = load_checkpoint(weights)
            plan = plan_lifting(checkpoint.meta, live=live, fps=30.0, fov_deg=60.0, delay=delay)
            lifter = lifter_factory(checkpoint, plan)()
            lifted: list[LiftedPose] = [done for pose in poses for done in lifter.push(pose)]
            lifted += lifter.flush()
            raw = {p.pose2d.frame_index: HEIGHT_M * p.joints for p in lifted}
            if live:
                scene = SceneTracker(HEIGHT_M, smooth=arguments.smooth)
                placed = [scene.update(p) for p in lifted]
            else:
                placed = solve_scene(lifted, HEIGHT_M, smooth=arguments.smooth)
            shown = {p.frame_index: p.joints for p in placed}
            print(f"{name:36s}{evaluate(raw, truth):>24s}{evaluate(shown, truth):>24s}", flush=True)


if __name__ == "__main__":
    main()
