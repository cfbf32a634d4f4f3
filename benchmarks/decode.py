"""Decoding: the reader of films (PyAV) against OpenCV's, in alternation.

    python benchmarks/decode.py [--seconds 4] [--rounds 3] [FILM ...]

Without films three of the usual kinds are made of a demo clip: H.264 at 720p and 4K in MP4, and
MJPEG at 720p in AVI. For each: pictures a second, processor time for each of them, and the
time from opening to the first picture, as medians over the rounds, and PyAV's over OpenCV's.

The first picture is that of a process of its own, as for whoever opens a film: in one that has read
others, it is a matter of luck whose memory is still there.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
import cv2

from posemamba_live.sources import VideoFile

DEMO = Path(__file__).parent.parent / "demo_videos" / "walk_turn.mp4"
KINDS = {
    "h264-720p.mp4": ("libx264", (1280, 720)),
    "h264-2160p.mp4": ("libx264", (3840, 2160)),
    "mjpeg-720p.avi": ("mjpeg", (1280, 720)),
}


@dataclass(frozen=True, slots=True)
class Reading:
    """What it took to read a film."""

    first_s: float
    rate: float
    cpu_ms: float


def by_opencv(path: Path, frames: int) -> Iterator[Any]:
    """Decode with OpenCV."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    for _ in range(frames):
        if not capture.grab():
            break
        yield capture.retrieve()[1]
    capture.release()


def by_pyav(path: Path, frames: int) -> Iterator[Any]:
    """Decode as the program does."""
    with VideoFile(path, max_frames=frames) as film:
        yield from film


Read = Callable[[Path, int], Iterator[Any]]
READERS: dict[str, Read] = {"OpenCV": by_opencv, "PyAV": by_pyav}


def measure(name: str, path: Path, frames: int) -> Reading:
    """Read a film: how long for the first picture, how fast all of them."""
    command = [sys.executable, __file__, "--first-by", name, str(path)]
    first = float(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    start, cpu = time.perf_counter(), time.process_time()
    count = sum(1 for _ in READERS[name](path, frames))
    return Reading(
        first,
        count / (time.perf_counter() - start),
        1e3 * (time.process_time() - cpu) / count,
    )


def make(path: Path, codec: str, size: tuple[int, int], frames: int) -> None:
    """A film of the demo clip, played again and again."""
    capture = cv2.VideoCapture(str(DEMO))
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream(codec, rate=Fraction(30))
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        options = {"preset": "veryfast"} if codec == "libx264" else {"q": "4"}
        stream.codec_context.options = options
        for _ in range(frames):
            ok, image = capture.read()
            if not ok:
                capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
                ok, image = capture.read()
            frame = av.VideoFrame.from_ndarray(cv2.resize(image, size), "bgr24")
            for packet in stream.encode(frame.reformat(format=stream.pix_fmt)):
                out.mux(packet)
        for packet in stream.encode(None):
            out.mux(packet)


def compare(path: Path, frames: int, rounds: int) -> None:
    """Print one film's figures."""
    found: dict[str, list[Reading]] = {name: [] for name in READERS}
    for _ in range(rounds):
        for name, readings in found.items():
            readings.append(measure(name, path, frames))
    median: dict[str, Reading] = {}
    for name, readings in found.items():
        median[name] = Reading(
            *(statistics.median(getattr(r, part) for r in readings) for part in Reading.__slots__)
        )
        got = median[name]
        print(
            f"{path.name:16} {name:7} {got.rate:7.1f} pictures/s  {got.cpu_ms:6.2f} ms of processor"
            f"  first after {1e3 * got.first_s:5.1f} ms"
        )
    old, new = median["OpenCV"], median["PyAV"]
    print(
        f"{path.name:16} {'ratio':7} {new.rate / old.rate:7.2f}             "
        f"{new.cpu_ms / old.cpu_ms:6.2f}                          {new.first_s / old.first_s:5.2f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("films", nargs="*", type=Path)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each film, at 30 a second")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--first-by", choices=READERS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.first_by is not None:
        start = time.perf_counter()
        next(iter(READERS[given.first_by](given.films[0], 1)))
        print(time.perf_counter() - start)
        return
    frames = round(30 * given.seconds)
    with TemporaryDirectory() as folder:
        films = given.films
        if not films:
            for name, (codec, size) in KINDS.items():
                films.append(Path(folder) / name)
                make(films[-1], codec, size, frames)
        for film in films:
            compare(film, frames, given.rounds)


if __name__ == "__main__":
    main()
