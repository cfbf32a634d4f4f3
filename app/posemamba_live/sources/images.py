"""Image sequences: a folder, a pattern or a single picture, moving ones included."""

from __future__ import annotations

import contextlib
import glob
import logging
import math
import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from posemamba_live.errors import SourceError, UsageError
from posemamba_live.sources.base import (
    MAX_PIXELS,
    Source,
    fit,
    printable,
    quiet_opencv,
    too_large,
    turned,
)
from posemamba_live.sources.image_header import image_size, is_animated, is_animated_webp
from posemamba_live.types import Frame, Image

logger = logging.getLogger(__name__)

DEFAULT_FPS: Final = 30.0
SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".apng")
_PRINTF: Final = re.compile(r"%(0?\d*)d")
_NUMBER: Final = re.compile(r"\d+")
_MOST_MISSING: Final = 0.5
"""Numbers of which more than this fraction is missing count something else than pictures."""


class ImageSequence(Source):
    """Pictures from files in natural order (2 before 10), at a fixed rate.

    The first picture that can be decoded sets the size; others are fitted to it. A broken
    picture is left out with a warning and leaves a gap in the times, and so does a number that is
    missing between the others.

    Args:
        location: a folder, a pattern (``shot_*.png``, ``shot_%04d.png``) or one picture.
        fps: pictures a second; DEFAULT_FPS, and a `note`, where None.
        start, end: seconds; pictures with start <= timestamp < end.
        max_frames: how many pictures at most.
        rotate: degrees clockwise, after what the EXIF data asks for.

    Raises:
        SourceError: no pictures there, or none that can be decoded, or beyond all measure.
    """

    live = False

    def __init__(
        self,
        location: str,
        *,
        fps: float | None = None,
        start: float = 0.0,
        end: float | None = None,
        max_frames: int | None = None,
        rotate: int = 0,
    ) -> None:
        self.name = printable(Path(location).name or location)
        if fps is not None and not 0.001 <= fps <= 10_000:
            raise UsageError(f"--fps {fps:g} is out of range", hint="0.001 to 10000")
        quiet_opencv()
        self._fps = fps or DEFAULT_FPS
        self._rotate = rotate
        files = _find(location)
        slots = _slots(files, self.name)
        self.note = ""
        """What people should be told, though nothing is wrong."""
        if fps is None and len(files) > 1:
            self.note = (
                f"pictures do not say their rate: {self._fps:g} a second are assumed (--fps)"
            )
        ends = math.inf if end is None else end
        self._files = [
            (index, slot / self._fps, path)
            for index, (slot, path) in enumerate(zip(slots, files, strict=True))
            if start - 1e-6 <= slot / self._fps < ends - 1e-6
        ]
        if not self._files:
            raise SourceError(
                f"{self.name} has no pictures in the part asked for",
                why=f"it has {len(files)} pictures, {(slots[-1] + 1) / self._fps:.2f} s at "
                f"{self._fps:g} a second",
                hint="an earlier --start",
            )
        self._max_frames = max_frames
        self.frame_count = min(len(self._files), max_frames or len(self._files))
        self.size = self._first_size(location)

    @property
    def fps(self) -> float:
        return self._fps

    def __iter__(self) -> Iterator[Frame]:
        delivered = 0
        for index, timestamp, path in self._files:
            if self._max_frames is not None and delivered >= self._max_frames:
                return
            image = self._read(path)
            if image is None:
                logger.warning("%s cannot be decoded and is left out", printable(os.fspath(path)))
                continue
            yield Frame(index, timestamp, fit(image, self.size), time.monotonic())
            delivered += 1

    def close(self) -> None:
        self._files = []

    def _read(self, path: Path) -> Image | None:
        image = _read(path)
        return None if image is None else turned(image, self._rotate)

    def _first_size(self, location: str) -> tuple[int, int]:
        for _, _, path in self._files:
            image = self._read(path)
            if image is not None:
                return image.shape[1], image.shape[0]
        raise SourceError(
            f"Cannot read {printable(location)}",
            why="no picture there can be decoded",
            hint=f"pictures as {', '.join(SUFFIXES)}",
        )


def are_meant(location: str) -> bool:
    """Tell whether this names pictures, of which one that moves is a film."""
    if os.path.isdir(location) or is_pattern(location):
        return True
    path = Path(location)
    if path.suffix.lower() not in SUFFIXES or not os.path.exists(path):
        return False
    return not is_animated(path)


def is_webp_film(location: str) -> bool:
    """Tell whether this is an animated WebP, whatever its name."""
    if not os.path.isfile(location):
        return False
    with contextlib.suppress(OSError), open(location, "rb") as file:
        return is_animated_webp(file.read(32))
    return False


def is_pattern(location: str) -> bool:
    """Tell whether this names several files; a file of that very name comes first."""
    return not os.path.exists(location) and (
        glob.has_magic(location) or _PRINTF.search(Path(location).name) is not None
    )


def _find(location: str) -> list[Path]:
    path = Path(location)
    if os.path.isdir(path):
        files = [file for file in path.iterdir() if file.suffix.lower() in SUFFIXES]
    elif os.path.exists(path):
        files = [path]
    elif _PRINTF.search(path.name):
        before, width, after = _PRINTF.split(path.name, maxsplit=1)
        digits = rf"\d{{{int(width)},}}" if width.startswith("0") and int(width) else r"\d+"
        name = re.compile(re.escape(before) + digits + re.escape(after))
        folder = path.parent.iterdir() if path.parent.is_dir() else iter(())
        files = [file for file in folder if name.fullmatch(file.name)]
    else:
        files = [Path(file) for file in glob.glob(location)]
    # What begins with a dot is hidden: macOS keeps what other disks cannot hold in such companions.
    files = [file for file in files if file.is_file() and not file.name.startswith(".")]
    if not files and path.name.startswith(".") and path.is_file():
        files = [path]  # asked for by its name
    if not files:
        raise SourceError(
            f"No pictures in {printable(location)}",
            why="the folder holds none" if path.is_dir() else "no file fits the pattern",
            hint=f"pictures as {', '.join(SUFFIXES)}, or a video file",
        )
    return sorted(files, key=_natural)


def _natural(path: Path) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", path.name.lower())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _slots(files: list[Path], name: str) -> list[int]:
    """The place in time of each picture, from 0, in pictures: by its number where all have one.

    Of names with several numbers (a date, a number) the last that differs between them counts.
    """
    plain = list(range(len(files)))
    if len(files) < 2:
        return plain
    patterns = Counter(_NUMBER.sub("#", file.name.lower()) for file in files)
    numbers = [[int(part) for part in _NUMBER.findall(file.name)] for file in files]
    if len(patterns) != 1 or not numbers[0]:
        return plain
    varying = [i for i in range(len(numbers[0])) if len({row[i] for row in numbers}) > 1]
    if len(varying) != 1:
        return plain
    counted = [row[varying[0]] for row in numbers]
    step = math.gcd(*(b - a for a, b in pairwise(counted)))
    if step == 0:
        return plain
    slots = [(number - counted[0]) // step for number in counted]
    missing = slots[-1] + 1 - len(slots)
    if sorted(set(slots)) != slots or missing > _MOST_MISSING * (slots[-1] + 1):
        return plain
    if missing:
        here = set(counted)
        lost = [n for n in range(counted[0], counted[-1], step) if n not in here]
        shown = ", ".join(map(str, lost[:10])) + (", ..." if len(lost) > 10 else "")
        logger.warning(
            "%s: %d of the numbers from %d to %d are missing (%s): their times are left out",
            name, missing, counted[0], counted[-1], shown,
        )  # fmt: skip
    return slots


def _read(path: Path) -> Image | None:
    """Decode one picture, upright by its EXIF data, to (H, W, 3) BGR; None where that fails.

    Raises:
        SourceError: its header says that it is beyond all measure.
    """
    with contextlib.suppress(OSError):
        size = image_size(path)
        if size is not None and size[0] * size[1] > MAX_PIXELS:
            raise too_large(printable(path.name), *size)
    try:
        data = np.fromfile(path, np.uint8)  # imread fails on non-ASCII paths on Windows
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    except (OSError, cv2.error):
        return None
    return None if image is None else np.asarray(image, np.uint8)
