"""What each live mode costs in accuracy: window at several delays, causal network, file mode.

Runs every clip that has ground truth through the public API, `Tracker3D` frame by frame as in
live use and `lift_video`, and scores the poses that the window shows: with scale, bone lengths
and the One Euro filter. 12 limb joints, mid-hip aligned; N-MPJPE and PA-MPJPE in mm,
acceleration error in mm/frame^2. A frame is scored against the truth of the frame that its
pose is labelled with: `delay` is the age that the look-ahead adds, in frames.

    python benchmarks/live_accuracy.py demo_videos
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np

import posemamba_live as pml
from posemamba.checkpoint import shipped_weights
from posemamba.training.metrics import score
from posemamba_live.plan import FILM_WEIGHTS

HEIGHT_M = 1.70
DELAYS = (0, 2, 5, 13)


def live(clip: Path, weights: str, delay: int, smooth: float) -> dict[int, np.ndarray]:
    """(17, 3) joints in metres by frame number, as they are shown while frames come in."""
    settings = {"height_m": HEIGHT_M, "weights": weights, "smooth": smooth, "threads": 1}
    with pml.open_source(clip) as source, pml.Tracker3D(delay=delay, **settings) as track:
        poses = [pose for frame in source for pose in track(frame)] + track.finish()
    return {pose.frame_index: pose.joints for pose in poses}


def film(clip: Path, weights: str | None, smooth: float) -> dict[int, np.ndarray]:
    """The same from the whole video."""
    take = pml.lift_video(clip, height_m=HEIGHT_M, weights=weights, smooth=smooth, threads=1)
    return dict(zip(take.frame_index.tolist(), take.joints_3d, strict=True))


def evaluate(predicted: dict[int, np.ndarray], truth: np.ndarray) -> str:
    """Scores of one continuous clip; joints in metres by frame number."""
    frames = sorted(predicted)
    scores = score(
        1000.0 * np.stack([predicted[i] for i in frames])[None], 1000.0 * truth[frames][None]
    )
    return f"{scores.n_mpjpe:7.1f} /{scores.pa_mpjpe:5.1f} /{scores.accel:5.1f}"


def rows(
    clip: Path, names: Iterable[str], smooth: float
) -> Iterable[tuple[str, dict[int, np.ndarray]]]:
    for name in names:
        if name.startswith("causal"):
            yield f"{name}, live", live(clip, name, 0, smooth)
            continue
        for delay in DELAYS:
            yield f"{name}, live, delay {delay}", live(clip, name, delay, smooth)
        yield f"{name}, file", film(clip, name, smooth)
        if name == FILM_WEIGHTS:
            yield "defaults, file", film(clip, None, smooth)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--smooth", type=float, default=1.0)
    parser.add_argument("--all", action="store_true", help="older weights too")
    arguments = parser.parse_args()
    causal = [name for name in shipped_weights() if name.startswith("causal")]
    names = sorted(shipped_weights()) if arguments.all else [FILM_WEIGHTS, *causal]
    for truth_path in sorted(arguments.folder.glob("*_gt.npz")):
        clip = truth_path.with_name(truth_path.name.replace("_gt.npz", ".mp4"))
        truth = np.load(truth_path)["joints_camera"]
        print(f"\n{clip.name:36s}{'N / PA / accel':>24s}")
        for name, predicted in rows(clip, names, arguments.smooth):
            print(f"{name:36s}{evaluate(predicted, truth):>24s}", flush=True)


if __name__ == "__main__":
    main()
