"""A video to an animation for Blender.

python examples/video_to_bvh.py demo_videos/walk_turn.mp4 walk.bvh --height 1.75
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import posemamba_live as pml


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", type=Path)
    parser.add_argument("animation", type=Path, help="its suffix says the format: .bvh, .glb, ...")
    parser.add_argument("--height", type=float, default=1.70, help="of the person, metres")
    parser.add_argument("--max-frames", type=int)
    arguments = parser.parse_args(words)

    def show(done: int, total: int | None) -> None:
        print(f"\r{done} of {total or '?'} frames", end="", file=sys.stderr, flush=True)

    take = pml.lift_video(
        arguments.video,
        height_m=arguments.height,
        max_frames=arguments.max_frames,
        progress=show,
    )
    print(file=sys.stderr)
    for path in take.save(arguments.animation):  # one for each person
        print(path)


if __name__ == "__main__":
    try:
        main()
    except pml.LiveError as error:
        sys.exit(f"error: {error}")
