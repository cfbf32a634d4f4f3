"""How deep a squat goes: knee and hip angles of a video, and a page to look at.

python examples/squat_angles.py squats.mp4 squats.html
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import posemamba_live as pml


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", type=Path)
    parser.add_argument("page", type=Path, help=".html or .png")
    parser.add_argument("--max-frames", type=int)
    arguments = parser.parse_args(words)

    take = pml.lift_video(arguments.video, max_frames=arguments.max_frames)
    if not take.poses:
        sys.exit("nobody was seen")
    angles = take.angles()  # degrees, one for each row of the take; 0 is standing upright
    seen = ~take.predicted
    knees = (angles["knee_angle_r"] + angles["knee_angle_l"]) / 2.0
    deepest = int(np.argmax(np.where(seen, knees, -np.inf)))

    print(f"deepest at {take.timestamp[deepest]:.2f} s, frame {take.frame_index[deepest]}")
    for name in ("knee_angle", "hip_flexion"):
        right, left = angles[f"{name}_r"], angles[f"{name}_l"]
        print(
            f"{name:12} right {right[deepest]:4.0f}  left {left[deepest]:4.0f} degrees,"
            f"  {np.nanmin(right[seen]):.0f} to {np.nanmax(right[seen]):.0f} on the right"
        )
    print(take.plot(arguments.page, moments=[float(take.timestamp[deepest])]))


if __name__ == "__main__":
    try:
        main()
    except pml.LiveError as error:
        sys.exit(f"error: {error}")
