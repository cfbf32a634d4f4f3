"""Image sequences: a folder, a pattern or a single picture."""

from __future__ import annotations

import glob
import logging
import math
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from posemamba_live.errors import SourceError
from posemamba_live.sources.base import Source, fit
from posemamba_live.types import Frame, Image

logger = logging.getLogger(__name__)

DEFAULT_FPS: Final = 30.0
SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
_PRINTF: Final = re.compile(r"%(0?\d*)d")


class ImageSequence(Source):
    """Pictures from files in natural order (2 before 10), at a fixed rate.

    The first picture that can be decoded sets the size; others are fitted to it. A broken
    picture is left out with a warning and leaves a gap in the indices.

    Args:
        location: a folder, a pattern (``shot_*.png``, ``shot_%04d.png``) or one picture.
        fps: pictures a second.
        start, end: seconds; pictures with start <= timestamp < end.
        max_frames: how many pictures at most.

    Raises:
        SourceError: no pictures there, or none that can be decoded.
    """

    live = False

    def __init__(
        self,
        location: str,
        *,
        fps: float = DEFAULT_FPS,
        start: float = 0.0,
        end: float | None = None,
        max_frames: int | None = None,
    ) -> None:
        self.name = Path(location).name or location
        self._fps = fps
        files = _find(location)
        first = math.ceil(start * fps - 1e-6)
        last = len(files) if end is None else math.ceil(end * fps - 1e-6)
        self._files = list(enumerate(files))[first:last]
        if not self._files:
            raise SourceError(
                f"{location} has no pictures in the part asked for",
                why=f"it has {len(files)} pictures, {len(files) / fps:.2f} s at {fps:g} a second",
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
        for index, path in self._files:
            if self._max_frames is not None and delivered >= self._max_frames:
                return
            image = _read(path)
            if image is None:
                logger.warning("%s cannot be decoded and is left out", path)
                continue
            yield Frame(index, index / self._fps, fit(image, self.size), time.monotonic())
            delivered += 1

    def close(self) -> None:
        self._files = []

    def _first_size(self, location: str) -> tuple[int, int]:
        for _, path in self._files:
            image = _read(path)
            if image is not None:
                return image.shape[1], image.shape[0]
        raise SourceError(
            f"Cannot read {location}",
            why="no picture there can be decoded",
            hint=f"pictures as {', '.join(SUFFIXES)}",
        )


def is_pattern(location: str) -> bool:
    """Tell whether this names several files; a file of that very name comes first."""
    return not Path(location).exists() and (
        glob.has_magic(location) or _PRINTF.search(Path(location).name) is not None
    )


def _find(location: str) -> list[Path]:
    path = Path(location)
    if path.is_dir():
        files = [file for file in path.iterdir() if file.suffix.lower() in SUFFIXES]
    elif path.exists():
        files = [path]
    elif _PRINTF.search(path.name):
        before, width, after = _PRINTF.split(path.name, maxsplit=1)
        digits = rf"\d{{{int(width)},}}" if width.startswith("0") and int(width) else r"\d+"
        name = re.compile(re.escape(before) + digits + re.escape(after))
        folder = path.parent.iterdir() if path.parent.is_dir() else iter(())
        files = [file for file in folder if name.fullmatch(file.name)]
    else:
        files = [Path(file) for file in glob.glob(location)]
    files = [file for file in files if file.is_file()]
    if not files:
        raise SourceError(
            f"No pictures in {location}",
            why="the folder holds none" if path.is_dir() else "no file fits the pattern",
            hint=f"pictures as {', '.join(SUFFIXES)}, or a video file",
        )
    return sorted(files, key=_natural)


def _natural(path: Path) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", path.name.lower())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _read(path: Path) -> Image | None:
    """Decode one picture, upright by its EXIF data, to (H, W, 3) BGR; None where that fails."""
    try:
        data = np.fromfile(path, np.uint8)  # imread fails on non-ASCII paths on Windows
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    except (OSError, cv2.error):
        return None
    return None if image is None else np.asarray(image, np.uint8)
