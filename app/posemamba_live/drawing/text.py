"""Text in pictures, with a real font: DejaVu Sans, which Matplotlib brings along.

OpenCV's own letters are strokes, and ASCII only. Words and figures are rendered once and kept:
what changes from picture to picture is which figures follow each other.
"""

from __future__ import annotations

import importlib.util
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from posemamba_live.drawing.colours import BACKGROUND, TEXT, Rgb, to_bgr8
from posemamba_live.types import Image

_FONTS: Final = ("mpl-data", "fonts", "ttf")
_FILES: Final = {False: "DejaVuSans.ttf", True: "DejaVuSans-Bold.ttf"}
_DOTS: Final = "…"
_PIECES: Final = re.compile(r"\d|\D+")
_LARGEST: Final = 400
"""Pixels; no line is higher."""


def put_text(
    image: Image,
    text: str,
    origin: tuple[float, float],
    *,
    size: float,
    color: Rgb = TEXT,
    rim: bool = False,
    bold: bool = False,
) -> None:
    """Write one line with its left baseline end at `origin` (x, y), in place.

    A line that would leave the picture is moved into it as far as it fits.

    Args:
        image: (H, W, 3) BGR.
        size: of the letters, pixels from line to line.
        rim: add a dark outline, for text over a picture.
    """
    pixels = _pixels(size)
    outline = max(1, round(pixels / 9.0)) if rim else 0
    mask, left, above = _line(text, pixels, bold, outline)
    x, y = round(origin[0]), round(origin[1])
    x = max(-left, min(x, image.shape[1] - mask.shape[1] - left))
    y = max(above, min(y, image.shape[0] - mask.shape[0] + above))
    if rim:
        _blend(image, mask, x + left, y - above, to_bgr8(BACKGROUND))
        mask, left, above = _line(text, pixels, bold, 0)
    _blend(image, mask, x + left, y - above, to_bgr8(color))


def text_width(text: str, *, size: float, bold: bool = False) -> float:
    """Width in pixels of a line that `put_text` would write."""
    return _width(text, _pixels(size), bold)


def fitted(text: str, room: float, *, size: float, bold: bool = False) -> str:
    """The line, or as much of its beginning as fits into `room` pixels, with an ellipsis."""
    if text_width(text, size=size, bold=bold) <= room:
        return text
    while text and text_width(text + _DOTS, size=size, bold=bold) > room:
        text = text[:-1]
    return text.rstrip() + _DOTS if text else ""


def _pixels(size: float) -> int:
    return max(6, min(round(size), _LARGEST))


@lru_cache(maxsize=32)
def _font(pixels: int, bold: bool) -> Any:
    found = importlib.util.find_spec("matplotlib")
    if found is not None and found.origin is not None:
        path = Path(found.origin).parent.joinpath(*_FONTS, _FILES[bold])
        if path.is_file():
            # The layout engine that every build of Pillow has: pictures look alike everywhere.
            return ImageFont.truetype(str(path), pixels, layout_engine=ImageFont.Layout.BASIC)
    return ImageFont.load_default(pixels)


def _width(text: str, pixels: int, bold: bool) -> float:
    return sum(_piece_width(piece, pixels, bold) for piece in _PIECES.findall(text))


@lru_cache(maxsize=512)
def _piece_width(text: str, pixels: int, bold: bool) -> float:
    return float(_font(pixels, bold).getlength(text))


@lru_cache(maxsize=512)
def _line(text: str, pixels: int, bold: bool, rim: int) -> tuple[NDArray[np.uint8], int, int]:
    """(H, W) opacity, and where it lies: pixels right of the origin, and above it."""
    pieces = _PIECES.findall(text)
    if len(pieces) < 2:
        return _piece(text, pixels, bold, rim)
    pen, placed = 0.0, []
    for piece in pieces:
        mask, left, above = _piece(piece, pixels, bold, rim)
        placed.append((mask, round(pen) + left, above))
        pen += _piece_width(piece, pixels, bold)
    left, top = min(x for _, x, _ in placed), max(above for _, _, above in placed)
    right = max(x + mask.shape[1] for mask, x, _ in placed)
    bottom = max(mask.shape[0] - above for mask, _, above in placed)
    line = np.zeros((top + bottom, right - left), np.uint8)
    for mask, x, above in placed:
        at = line[top - above :, x - left :][: mask.shape[0], : mask.shape[1]]
        np.maximum(at, mask, out=at)
    return line, left, top


@lru_cache(maxsize=512)
def _piece(text: str, pixels: int, bold: bool, rim: int) -> tuple[NDArray[np.uint8], int, int]:
    """As `_line`, of what is rendered in one go."""
    font = _font(pixels, bold)
    left, top, right, bottom = font.getbbox(text, anchor="ls", stroke_width=rim)
    size = max(1, int(np.ceil(right - left))), max(1, int(np.ceil(bottom - top)))
    mask = Pillow.new("L", size)
    ImageDraw.Draw(mask).text((-left, -top), text, 255, font, anchor="ls", stroke_width=rim)
    return np.asarray(mask, np.uint8), round(left), -round(top)


def _blend(
    image: Image, mask: NDArray[np.uint8], x: int, y: int, bgr: tuple[int, int, int]
) -> None:
    x, y = max(x, 0), max(y, 0)
    area = image[y : y + mask.shape[0], x : x + mask.shape[1]]
    opacity = mask[: area.shape[0], : area.shape[1], None].astype(np.uint16)
    mixed = opacity * np.array(bgr, np.uint16) + (255 - opacity) * area + 128
    area[:] = (mixed + (mixed >> 8)) >> 8  # a 255th, rounded: dividing takes four times as long
