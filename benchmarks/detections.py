"""Keypoints of BlazePose on clips with ground truth, kept in files for later measurements.

    python benchmarks/detections.py FOLDER... --out CACHE

The region loop alone, one per person and without any tracker: the landmark model looks where it
saw the person last, and where the truth is when it has lost them. So errors are the model's own.
Writes CACHE/NAME.npz for every NAME.mp4 with a NAME_gt.npz: `keypoints` (T,P,17,2) pixels,
`visibility` and `peak` (T,P,17), `seen` (T,P) bool.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
from numpy.typing import NDArray

from posemamba.checkpoint import weights_folders
from posemamba.skeleton import HEAD, HIP, LIMB_JOINTS
from posemamba_live.detectors.base import Found, Region
from posemamba_live.detectors.blazepose import BlazePose
from posemamba_live.detectors.onnx_runtime import Session
from posemamba_live.sources import open_source

_PRESENT: Final = 0.5
_ASTRAY: Final = 0.35
"""Body heights: joints in view that are on average farther off are somebody else's."""


def main(
    folders: Annotated[list[Path], typer.Argument(help="Hold NAME.mp4 and NAME_gt.npz.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    threads: Annotated[int, typer.Option(min=1)] = 1,
    model: Annotated[Path | None, typer.Option(help="Another landmark model.")] = None,
) -> None:
    """Run the landmark model over every clip that is not there yet."""
    path = model or next(
        file for folder in weights_folders() if (file := folder / "blazepose-full.onnx").is_file()
    )
    blazepose = BlazePose(Session(path, threads=threads))
    out.mkdir(parents=True, exist_ok=True)
    for clip in sorted(clip for folder in folders for clip in folder.glob("*.mp4")):
        truth = clip.with_name(f"{clip.stem}_gt.npz")
        target = out / f"{clip.stem}.npz"
        if truth.is_file() and not target.exists():
            found = detect(blazepose, clip, truth)
            np.savez_compressed(target, **found)
            print(f"{clip.stem}: {found['seen'].mean():.2f} seen", flush=True)


def detect(blazepose: BlazePose, clip: Path, truth: Path) -> dict[str, NDArray[Any]]:
    """What the model says of everybody in a clip."""
    with np.load(truth, allow_pickle=False) as gt:
        points, joints, focal = gt["joints_2d"], gt["joints_camera"], float(gt["K"][0, 0])
    if points.ndim == 3:
        points, joints = points[:, None], joints[:, None]
    frames, people = points.shape[:2]
    keypoints = np.full((frames, people, 17, 2), np.nan, np.float32)
    visibility = np.zeros((frames, people, 17), np.float32)
    peak = np.zeros((frames, people, 17), np.float32)
    seen = np.zeros((frames, people), bool)
    regions: list[Region | None] = [None] * people
    with open_source(str(clip)) as source:
        width, height = source.size
        for t, frame in enumerate(source):
            if t >= frames:
                break
            for p in range(people):
                if not np.isfinite(points[t, p]).all():
                    regions[p] = None
                    continue
                tall = _pixels_tall(joints[t, p], focal)
                inside = (points[t, p] > 0).all(-1) & (points[t, p] < (width, height)).all(-1)
                if inside[list(LIMB_JOINTS)].sum() < 2:
                    regions[p] = None
                    continue
                for attempt in range(2):
                    region = regions[p]
                    if region is None:
                        region = _region_of(points[t, p], tall)
                    found = blazepose.locate(frame.image, [region])[0]
                    good = _believed(found, points[t, p], inside, tall)
                    regions[p] = found.next_region if good else None
                    if good or attempt:
                        break
                if good:
                    detection = found.detection
                    assert detection.visibility is not None
                    assert detection.peak is not None
                    keypoints[t, p] = detection.keypoints
                    visibility[t, p], peak[t, p] = detection.visibility, detection.peak
                    seen[t, p] = True
    return {"keypoints": keypoints, "visibility": visibility, "peak": peak, "seen": seen}


def _pixels_tall(joints: NDArray[Any], focal: float) -> float:
    """A stature of 1.7 m at the depth of the hips."""
    return focal * 1.7 / max(float(joints[HIP, 2]), 0.3)


def _region_of(points: NDArray[Any], tall: float) -> Region:
    up = points[HEAD] - points[HIP]
    side = 1.15 * tall
    turn = math.atan2(float(up[0]), -float(up[1]))
    return Region((float(points[HIP, 0]), float(points[HIP, 1])), side, side, turn)


def _believed(found: Found, points: NDArray[Any], inside: NDArray[Any], tall: float) -> bool:
    if found.presence < _PRESENT:
        return False
    own = [joint for joint in LIMB_JOINTS if inside[joint]]
    error = np.linalg.norm(found.detection.keypoints[own] - points[own], axis=-1)
    return float(np.median(error)) < _ASTRAY * tall


if __name__ == "__main__":
    typer.run(main)
