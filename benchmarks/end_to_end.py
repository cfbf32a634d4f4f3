"""What the whole program costs beside its detector.

Alternates, in one process on one clip, between the detector alone (decode and detect in a
loop) and the whole run of the command (decode, detect, lift, record, export), and prints
the frame rates and their ratio. The goal is a ratio of 0.90: everything but the detector is
to hide behind it, given two cores.

    python benchmarks/end_to_end.py demo_videos/walk_turn.mp4 --rounds 3 --loops 4
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import cv2

from posemamba_live import cli
from posemamba_live.detectors import create_detector
from posemamba_live.sources import open_source
from posemamba_live.tracking.people import PeopleTracker


def looped(clip: Path, loops: int, folder: Path) -> Path:
    """The clip, `loops` times forwards and backwards in turn, as one video."""
    capture = cv2.VideoCapture(str(clip))
    frames = []
    while True:
        ok, image = capture.read()
        if not ok:
            break
        frames.append(image)
    height, width = frames[0].shape[:2]
    path = folder / "looped.mp4"
    fps = capture.get(cv2.CAP_PROP_FPS)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, (width, height))
    for i in range(loops):
        for image in frames if i % 2 == 0 else reversed(frames):
            writer.write(image)
    writer.release()
    return path


def detector_alone(video: Path) -> float:
    """Frames a second, from the first frame's result to the last one's."""
    detector, times = create_detector(), []
    track = PeopleTracker(detector)
    with open_source(str(video)) as source:
        for frame in source:
            track(frame)
            times.append(time.perf_counter())
    detector.close()
    return (len(times) - 1) / (times[-1] - times[0])


def whole_program(video: Path, folder: Path, options: list[str]) -> tuple[float, dict[str, object]]:
    """Frames a second and statistics of the command, as it reports them itself."""
    stats = folder / "stats.json"
    arguments = [
        str(video), "--headless", "--quiet", "--overwrite", "--stats", str(stats),
        "--export", str(folder / "poses.npz"), "--record", str(folder / "video.mp4"), *options,
    ]  # fmt: skip
    code = cli.run(arguments)
    if code:
        raise SystemExit(code)
    values = json.loads(stats.read_text())
    return float(values["fps_in"]), values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--loops", type=int, default=4)
    arguments, options = parser.parse_known_args()
    alone, whole = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        video = looped(arguments.clip, arguments.loops, folder)
        for i in range(arguments.rounds):
            alone.append(detector_alone(video))
            rate, values = whole_program(video, folder, options)
            whole.append(rate)
            print(
                f"round {i + 1}: detector {alone[-1]:.1f} fps, program {rate:.1f} fps, "
                f"ratio {rate / alone[-1]:.3f}   {values['stage_ms']}",
                flush=True,
            )
    ratios = [w / a for w, a in zip(whole, alone, strict=True)]
    print(
        f"median: detector {statistics.median(alone):.1f} fps, program "
        f"{statistics.median(whole):.1f} fps, ratio {statistics.median(ratios):.3f}"
    )


if __name__ == "__main__":
    main()
