"""Random command lines and damaged files, the same for the same seed."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from tests.support import hostile_takes

ODD_WORDS: Final = (
    "", " ", "-", "--", "0", "-1", "1e999", "nan", "inf", "-inf", "1e-9", "٣", "1_000", "0x10",
    "9" * 400, "x" * 300, "a/" * 2100, "../../etc/passwd", "/dev/null", "/dev/full",
    "/proc/self/mem",
    "%s%n%d", "$(id)", "{}", "\x1b[31m", "a\nb", "ünï", "🕺", "none", "None", "true", "*", "?.png",
    "%04d.png", "%99999d.png", "file:///etc/passwd", "rtsp://127.0.0.1:1/x", "http://127.0.0.1:1/v",
    "rtsp://u:p@127.0.0.1:1/x", "udp://127.0.0.1:1", "concat:a|b", "ws://127.0.0.1:0", "osc://", "ws://",
    "udp://127.0.0.1:9?format=binary", "data:video/mp4;base64,AAAA", "lavfi:testsrc", "pipe:0", "http://",
)  # fmt: skip
VALUES: Final = {
    "--height": ("1.7", "0.3", "3", "99"),
    "--fov": ("60", "5", "150", "0"),
    "--smooth": ("0", "1", "100"),
    "--people": ("1", "2", "8", "9"),
    "--delay": ("0", "3", "26", "300"),
    "--window": ("1", "9", "27", "28", "0"),
    "--threads": ("1", "2", "1000"),
    "--start": ("0", "0.5", "1e6"),
    "--end": ("0.2", "1", "1e9"),
    "--max-frames": ("1", "4", "0"),
    "--duration": ("0.1", "0.5"),
    "--mode": ("fast", "balanced", "accurate", "best"),
    "--device": ("cpu", "auto", "cuda"),
    "--subject": ("first", "largest", "centre"),
    "--detector": ("mediapipe", "blazepose", "x"),
    "--weights": ("window-m7", "window-m3", "causal-m8", "stream-m3", "x"),
    "--stream": ("ws://127.0.0.1:0", "udp://127.0.0.1:9", "osc://127.0.0.1:9"),
}
FLAGS: Final = ("--overwrite", "-q", "-v", "-vv", "--mirror", "--realtime")
SUFFIXES: Final = (
    ".npz",
    ".csv",
    ".json",
    ".bvh",
    ".trc",
    ".glb",
    ".c3d",
    ".mp4",
    ".angles.csv",
    ".x",
)


def damaged(data: bytes, rng: random.Random) -> bytes:
    """A file's bytes after a bad disk, a bad copy, or a bad intention."""
    out = bytearray(data)
    kind = rng.randrange(7)
    if kind == 0:
        return bytes(out[: rng.randrange(len(out))])
    if kind == 1:
        for _ in range(rng.randrange(1, 40)):
            out[rng.randrange(len(out))] = rng.randrange(256)
    elif kind == 2:  # sizes and counts are near the start
        for _ in range(rng.randrange(1, 12)):
            out[rng.randrange(min(len(out), 200))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
    elif kind == 3:
        start = rng.randrange(len(out))
        out[start : start + rng.randrange(1, 5000)] = b""
    elif kind == 4:
        start = rng.randrange(len(out))
        out[start : start + rng.randrange(1, 5000)] = bytes(rng.randrange(1, 5000))
    elif kind == 5:
        start = rng.randrange(len(out))
        out[start:start] = out[: rng.randrange(1, 5000)]
    else:
        out[-rng.randrange(1, min(len(out), 4000)) :] = rng.randbytes(rng.randrange(1, 4000))
    return bytes(out)


def small_film(path: Path) -> None:
    """A second of moving noise, 64x48."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10.0, (64, 48))
    noise = np.random.default_rng(2).integers(0, 255, (48, 96, 3), np.uint8)
    for index in range(10):
        writer.write(np.ascontiguousarray(noise[:, index : index + 64]))
    writer.release()


def small_picture(path: Path) -> None:
    noise = np.random.default_rng(3).integers(0, 255, (48, 64, 3), np.uint8)
    cv2.imwrite(str(path), noise)


def small_take(path: Path) -> None:
    hostile_takes.write(path, hostile_takes.arrays(12))


MAKERS: Final[dict[str, Callable[[Path], None]]] = {
    ".mp4": small_film,
    ".avi": lambda path: small_film(path.with_suffix(".mp4")) or _moved(path),
    ".png": small_picture,
    ".jpg": small_picture,
    ".npz": small_take,
}


def _moved(path: Path) -> None:
    shutil.move(path.with_suffix(".mp4"), path)


def files(folder: Path, clip: Path, rng: random.Random) -> list[str]:
    """Names of things that can be given as a source: good, damaged, and not files at all."""
    found = [str(clip), str(folder), str(folder / "missing.mp4")]
    for suffix, make in MAKERS.items():
        path = folder / f"film{suffix}"
        make(path)
        bad = folder / f"bad{suffix}"
        bad.write_bytes(damaged(path.read_bytes(), rng))
        wrong = folder / f"wrong{rng.choice(list(MAKERS))}"
        wrong.write_bytes(path.read_bytes())
        found += [str(path), str(bad), str(wrong)]
    loop, fifo = folder / "loop.mp4", folder / "fifo.mp4"
    loop.symlink_to(loop)
    os.mkfifo(fifo)
    return [*found, str(loop), str(fifo)]


def command_line(sources: list[str], outputs: Path, rng: random.Random) -> list[str]:
    """Options in any number and order, with values that are right, wrong or odd."""

    def word(usual: tuple[str, ...]) -> str:
        return rng.choice(usual) if rng.random() < 0.75 else rng.choice(ODD_WORDS)

    words = [rng.choice(sources) if rng.random() < 0.8 else rng.choice(ODD_WORDS)]
    for option in rng.sample(list(VALUES), rng.randrange(4)):
        words += [option, word(VALUES[option])]
    for option in rng.sample(("--export", "--record", "--stats", "--export"), rng.randrange(1, 3)):
        name = f"out{rng.randrange(3)}{rng.choice(SUFFIXES)}"
        words += [option, str(outputs / name) if rng.random() < 0.85 else rng.choice(ODD_WORDS)]
    for option in ("--detector-model", "--person-model", "--camera", "--nonsense"):
        if rng.random() < 0.05:
            words += [option, rng.choice([*sources, *ODD_WORDS])]
    words += [flag for flag in FLAGS if rng.random() < 0.15]
    # No display, and an end: a run that is right may take as long as its film.
    return [*words, "--headless", *(() if "--max-frames" in words else ("--max-frames", "3"))]
