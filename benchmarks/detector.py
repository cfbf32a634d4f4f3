"""How near a detector's keypoints come to the truth, and what it costs, followed by the tracker.

For each clip of a folder with ground truth (NAME.mp4 beside NAME_gt.npz): pixels between
the 12 limb joints found and the true ones, frames with nobody found, and milliseconds a
frame, of wall clock and of processor.

    python benchmarks/detector.py demo_videos
    python benchmarks/detector.py demo_videos --detector rtmpose --detect-every 10
    python benchmarks/detector.py demo_videos --detector rtmpose \
        --detector-model pose/end2end.onnx --person-model yolox/end2end.onnx
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from posemamba.skeleton import LIMB_JOINTS
from posemamba_live.detectors import DEFAULT_DETECTOR, DETECTORS, DetectorSettings, create_detector
from posemamba_live.sources import open_source
from posemamba_live.tracking.people import PeopleTracker


@dataclass
class Score:
    """What one clip gave."""

    errors: list[float]
    """Pixels, mean over the limb joints, of the nearest person in each frame."""
    wall_ms: list[float]
    processor_ms: list[float]
    frames: int


def measure(clip: Path, name: str, settings: DetectorSettings) -> Score:
    truth = np.load(clip.with_name(f"{clip.stem}_gt.npz"), allow_pickle=False)["joints_2d"]
    limbs = list(LIMB_JOINTS)
    score = Score([], [], [], 0)
    detector = create_detector(name, settings)
    track = PeopleTracker(detector)
    with open_source(str(clip)) as source:
        for frame in source:
            wall, processor = time.perf_counter(), time.process_time()
            found = track(frame)
            score.wall_ms.append(1e3 * (time.perf_counter() - wall))
            score.processor_ms.append(1e3 * (time.process_time() - processor))
            score.frames += 1
            apart = [
                np.linalg.norm(person.keypoints - truth[frame.index], axis=1)[limbs].mean()
                for person in found
            ]
            score.errors += [float(min(apart))] if apart else []
    print(f"{clip.stem}: {detector.describe()}")
    detector.close()
    return score


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--detector", choices=list(DETECTORS), default=DEFAULT_DETECTOR)
    parser.add_argument("--detector-model", type=Path)
    parser.add_argument("--person-model")
    parser.add_argument("--detect-every", type=int)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    settings = DetectorSettings(
        model=given.detector_model,
        person_model=given.person_model,
        detect_every=given.detect_every,
        device=given.device,
        threads=given.threads,
    )
    for clip in sorted(given.folder.glob("*.mp4")):
        if not clip.with_name(f"{clip.stem}_gt.npz").exists():
            continue
        score = measure(clip, given.detector, settings)
        wall, errors = score.wall_ms[1:], score.errors or [float("nan")]  # the first one loads
        print(
            f"  error {np.mean(errors):.2f} px (p95 {np.percentile(errors, 95):.2f}), "
            f"nobody in {score.frames - len(score.errors)} of {score.frames} frames, "
            f"p50 {np.median(wall):.1f} ms, p95 {np.percentile(wall, 95):.1f} ms, "
            f"processor {np.mean(score.processor_ms[1:]):.1f} ms a frame"
        )


if __name__ == "__main__":
    main()
