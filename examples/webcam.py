"""A webcam loop: how high everybody's hands are, and how old that news is.

python examples/webcam.py               # camera 0, until Ctrl-C
python examples/webcam.py http://camera.local/video.mjpg --people 2
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Sequence

import posemamba_live as pml
from posemamba.skeleton import L_WRIST, R_WRIST


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", nargs="?", default="0", help="a camera's number, or a URL")
    parser.add_argument("--people", type=int, default=1)
    parser.add_argument("--max-frames", type=int)
    arguments = parser.parse_args(words)

    camera = arguments.source if arguments.source.isdecimal() else None
    url = None if camera else arguments.source
    with (
        pml.Tracker3D(live=True, people=arguments.people) as track,
        pml.open_source(url, camera=camera, max_frames=arguments.max_frames) as frames,
    ):
        for frame in frames:  # the newest picture each time; what came in between is skipped
            for pose in track(frame):
                left, right = pose.joints_world[[L_WRIST, R_WRIST], 2]
                age = 1000.0 * (time.monotonic() - frame.captured_at)
                print(
                    f"{frame.timestamp:7.2f} s  person {pose.person_id}  "
                    f"left hand {left:5.2f} m  right hand {right:5.2f} m  {age:4.0f} ms old",
                    flush=True,
                )


if __name__ == "__main__":
    try:
        with contextlib.suppress(KeyboardInterrupt):
            main()
    except pml.LiveError as error:
        sys.exit(f"error: {error}")
