"""How fast the whole program is on a file, against a bare MediaPipe loop.

Alternates on one clip between

- `mediapipe`: what others start with: OpenCV reads, MediaPipe (video mode, full model) finds one
  person, and nothing is done with it;
- `detector`: our own reader and people tracker (`--detector blazepose`), nothing after them;
- `export`: the command with `--export poses.npz`: found, lifted, placed in the room, written;
- `record`: the same with `--record video.mp4`.

Frames a second, each from its first frame's result to the end of the work, files written, so that
loading does not count. The goals: export 1.4 times MediaPipe, record 1.0 times.

    python benchmarks/end_to_end.py demo_videos/walk_turn.mp4 --rounds 3 --loops 4
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2

import posemamba_live as pml
from posemamba_live import cli
from posemamba_live.detectors import create_detector
from posemamba_live.tracking.people import PeopleTracker


def looped(clip: Path, loops: int, folder: Path) -> Path:
    """The clip, `loops` times forwards and backwards in turn, as one video."""
    with pml.open_source(clip) as source:
        images = [frame.image for frame in source]
        fps = source.fps
    height, width = images[0].shape[:2]
    path = folder / "looped.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, (width, height))
    for i in range(loops):
        for image in images if i % 2 == 0 else reversed(images):
            writer.write(image)
    writer.release()
    return path


def mediapipe_alone(video: Path) -> float:
    """Frames a second of MediaPipe's own video mode, on what OpenCV reads."""
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    from posemamba_live.detectors.mediapipe import load_bundle

    options = vision.PoseLandmarkerOptions(
        base_options=BaseOptions(model_asset_buffer=load_bundle()),
        running_mode=vision.RunningMode.VIDEO,
    )
    capture, times = cv2.VideoCapture(str(video)), []
    with vision.PoseLandmarker.create_from_options(options) as landmarker:
        while True:
            ok, image = capture.read()
            if not ok:
                break
            rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
            picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=rgb)
            landmarker.detect_for_video(picture, len(times) * 33)
            times.append(time.perf_counter())
    return (len(times) - 1) / (times[-1] - times[0])


def detector_alone(video: Path) -> float:
    """Frames a second of reading, finding and following, and nothing else."""
    detector = create_detector()
    track = PeopleTracker(detector)
    with pml.open_source(video) as source:
        times = [time.perf_counter() for _ in track.follow(source)]
    detector.close()
    return (len(times) - 1) / (times[-1] - times[0])


def command(video: Path, folder: Path, options: list[str]) -> float:
    """Frames a second of the command from its first frame to its last file."""
    stats = folder / "stats.json"
    arguments = [
        str(video), "--headless", "--quiet", "--overwrite", "--stats", str(stats),
        "--export", str(folder / "poses.npz"), *options,
    ]  # fmt: skip
    code = cli.run(arguments)
    if code:
        raise SystemExit(code)
    values = json.loads(stats.read_text())
    return float(values["frames_out"]) / float(values["run_s"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--loops", type=int, default=4)
    arguments, options = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        video = looped(arguments.clip, arguments.loops, folder)
        record = ["--record", str(folder / "video.mp4")]
        ways: dict[str, Callable[[], float]] = {
            "mediapipe": partial(mediapipe_alone, video),
            "detector": partial(detector_alone, video),
            "export": partial(command, video, folder, options),
            "record": partial(command, video, folder, [*record, *options]),
        }
        rates: dict[str, list[float]] = {way: [] for way in ways}
        for i in range(arguments.rounds):
            for way, measure in ways.items():
                rates[way].append(measure())
            shown = ", ".join(f"{way} {values[-1]:.1f}" for way, values in rates.items())
            print(f"round {i + 1}: {shown} fps", flush=True)
    for way, values in rates.items():
        ratios = [a / b for a, b in zip(values, rates["mediapipe"], strict=True)]
        median = statistics.median
        print(f"{way:10s} {median(values):6.1f} fps, {median(ratios):.2f} of MediaPipe")


if __name__ == "__main__":
    main()
