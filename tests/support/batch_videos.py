"""Short clips of a person, cut from a demo clip, and files that are none."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from posemamba_live.sources import open_source
from tests.support.films import Image, encode


def pictures(clip: Path, count: int, first: int = 0) -> list[Image]:
    """Frames of a clip, at half its size."""
    with open_source(str(clip)) as source:
        images = [np.asarray(f.image) for f in islice(source, first, first + count)]
    return [np.asarray(cv2.resize(image, None, fx=0.5, fy=0.5), np.uint8) for image in images]


def cut(images: Sequence[Image], path: Path, first: int, count: int) -> Path:
    """A film of some of the pictures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    encode(path, images[first : first + count])
    return path


def empty_room(path: Path, count: int = 8) -> Path:
    """A film in which there is nobody."""
    path.parent.mkdir(parents=True, exist_ok=True)
    encode(path, [np.full((180, 320, 3), 120, np.uint8)] * count)
    return path


def bad(path: Path) -> Path:
    """A file that only its name makes a film."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"this is no film " * 64)
    return path
