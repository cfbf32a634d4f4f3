"""The window's side panel, painted with OpenCV: camera picture, numbers, status, keys.

Open3D's legacy window has no text of its own, so that the panel reaches it as a texture.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np

from posemamba_live.drawing.colours import MUTED, TEXT, Rgb, person_colors
from posemamba_live.drawing.overlay import draw_numbers, draw_overlay
from posemamba_live.types import Frame, Image, Pose3D
from posemamba_live.viewer.keys import KEY_BINDINGS, MOUSE

DESIGN_HEIGHT: Final = 720
"""Sizes below are for a panel this high; others are scaled."""
PANEL_WIDTH: Final = 376
_MARGIN: Final = 20
_PICTURE_TOP: Final = 74
_PICTURE_SIZE: Final = (PANEL_WIDTH - 2 * _MARGIN, 252)
"""Largest width and height of the camera picture."""
_EMPTY_HEIGHT: Final = 189
"""Height of its place before there is one."""
_OVERSAMPLE: Final = 2
"""Text is painted this much larger and then reduced: OpenCV's strokes get smooth and even."""
_NUMBERS_HZ: Final = 4.0
"""Figures that change faster than this can't be read."""

_PANEL: Final[Rgb] = (0.105, 0.118, 0.150)
_EDGE: Final[Rgb] = (0.185, 0.205, 0.255)
_GOOD: Final[Rgb] = (0.36, 0.82, 0.56)
_WARN: Final[Rgb] = (1.00, 0.76, 0.28)
_RECORD: Final[Rgb] = (0.97, 0.30, 0.30)


@dataclass(frozen=True, slots=True)
class HudInfo:
    """What the pipeline has to say about itself."""

    fps: float = 0.0
    """Poses per second."""
    age_ms: float | None = None
    """From capture of the shown frame to now; None before the first pose."""
    dropped: int = 0
    """Frames that live use skipped to stay current."""
    status: str = ""
    """One line that needs attention ("camera lost, waiting..."); empty if all is well."""
    recording: bool = False
    paused: bool = False
    title: str = ""
    """Source, weights, device: the line under the name."""


@dataclass(frozen=True, slots=True)
class ViewInfo:
    """What the window has to say about itself."""

    view: str = "front"
    follow: str = "follow"
    mirror: bool = False
    help: bool = True
    hides_unseen: bool = False
    """Whether joints that nobody has seen for a while are left out."""
    notice: str = ""
    """Short answer to the last key."""


@dataclass(frozen=True, slots=True)
class _Words:
    """All text in the panel; equal words give an equal picture, which is then kept."""

    title: str
    numbers: tuple[tuple[str, str], ...]
    people: tuple[tuple[int, bool], ...]
    status: str
    notice: str
    state: str
    recording: bool
    paused: bool
    help: bool


class Panel:
    """Paints the panel; holds no window and no pose."""

    def __init__(self) -> None:
        self._numbers: tuple[tuple[str, str], ...] = ()
        self._numbers_until = 0.0

    def paint(
        self,
        height: int,
        frame: Frame | None,
        poses: Sequence[Pose3D],
        hud: HudInfo,
        view: ViewInfo,
    ) -> Image:
        """The panel as it should look now.

        Args:
            height: of the window, pixels.
            frame: newest picture, or None before there is one.
            poses: the people in it.

        Returns:
            (height, panel_width(height), 3) RGB.
        """
        words = _Words(
            title=hud.title,
            numbers=self._slow_numbers(hud),
            people=tuple((pose.person_id, pose.pose2d.predicted) for pose in poses),
            status=hud.status,
            notice=view.notice,
            state=f"view {view.view}   {view.follow}" + ("   mirror" if view.mirror else ""),
            recording=hud.recording,
            paused=hud.paused,
            help=view.help,
        )
        picture = None if frame is None else _picture(frame, poses, height, view)
        below = _PICTURE_TOP + _EMPTY_HEIGHT
        if picture is not None:
            below = _PICTURE_TOP + round(picture.shape[0] * DESIGN_HEIGHT / height)
        panel = _text_layer(height, below, words).copy()
        if frame is not None and picture is not None:
            left, top, _, _ = picture_place(height, frame.size)
            panel[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
        return panel

    def _slow_numbers(self, hud: HudInfo) -> tuple[tuple[str, str], ...]:
        now = time.monotonic()
        if now >= self._numbers_until:
            age = "-" if hud.age_ms is None else f"{hud.age_ms:.0f}"
            self._numbers = (
                (f"{hud.fps:.0f}", "poses/s"),
                (age, "ms old"),
                (str(hud.dropped), "dropped"),
            )
            self._numbers_until = now + 1.0 / _NUMBERS_HZ
        return self._numbers


def panel_width(height: int) -> int:
    """Width in pixels of the panel in a window `height` pixels high."""
    return round(PANEL_WIDTH * height / DESIGN_HEIGHT)


def picture_place(height: int, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, top, width and height in pixels of the camera picture in the panel.

    Args:
        height: of the window, pixels.
        size: (W, H) of the camera's picture.
    """
    scale = height / DESIGN_HEIGHT
    fit = min(_PICTURE_SIZE[0] * scale / size[0], _PICTURE_SIZE[1] * scale / size[1])
    width, tall = max(2, round(size[0] * fit)), max(2, round(size[1] * fit))
    return (panel_width(height) - width) // 2, round(_PICTURE_TOP * scale), width, tall


def _picture(frame: Frame, poses: Sequence[Pose3D], height: int, view: ViewInfo) -> Image:
    """The camera picture with its keypoints, RGB, as large as the panel lets it be."""
    _, _, *size = picture_place(height, frame.size)
    small: Image = np.asarray(cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA), np.uint8)
    seen, scale = [pose.pose2d for pose in poses], size[0] / frame.size[0]
    hidden = [pose.unseen for pose in poses] if view.hides_unseen else None
    draw_overlay(small, seen, scale=scale, hidden=hidden)
    if view.mirror:
        small = np.ascontiguousarray(small[:, ::-1])
    draw_numbers(small, seen, scale=scale, mirror=view.mirror)
    return small[..., ::-1]


@lru_cache(maxsize=2)
def _text_layer(height: int, below: int, words: _Words) -> Image:
    """Everything but the picture; `below` is where the picture ends, in design pixels."""
    canvas = _Canvas(panel_width(height), height)
    canvas.text("posemamba-live", _MARGIN, 38, 0.74, TEXT, bold=True)
    canvas.text(words.title, _MARGIN, 59, 0.42, MUTED)
    if words.recording:
        canvas.dot(PANEL_WIDTH - 62, 32, 6, _RECORD)
        canvas.text("REC", PANEL_WIDTH - 50, 37, 0.46, _RECORD, bold=True)
    canvas.box(_MARGIN, _PICTURE_TOP, PANEL_WIDTH - _MARGIN, below, _EDGE)

    row = below + 48
    for (number, label), left in zip(words.numbers, (_MARGIN, 140, 256), strict=True):
        canvas.text(number, left, row, 0.95, TEXT, bold=True)
        canvas.text(label, left, row + 22, 0.44, MUTED)
    row += 62
    _status(canvas, row, words)
    row += 30
    canvas.line(row, _EDGE)
    if not words.help:
        canvas.text("H  keys", _MARGIN, DESIGN_HEIGHT - 22, 0.44, MUTED)
    else:
        rows = [(binding.keys, binding.text) for binding in KEY_BINDINGS] + list(MOUSE)
        step = min(19.0, (DESIGN_HEIGHT - 14 - row - 18) / (len(rows)))
        for i, (key, text) in enumerate(rows):
            canvas.text(key, _MARGIN, row + 24 + i * step, 0.42, TEXT)
            canvas.text(text, _MARGIN + 96, row + 24 + i * step, 0.42, MUTED)
    return canvas.reduced()


def _status(canvas: _Canvas, row: float, words: _Words) -> None:
    """One line: what is wrong, else what was just done, else who is seen; then the view."""
    if words.status:
        canvas.dot(_MARGIN + 5, row - 5, 5, _WARN)
        canvas.text(words.status, _MARGIN + 18, row, 0.46, _WARN)
    elif words.paused:
        canvas.text("paused", _MARGIN, row, 0.46, _WARN)
    elif words.notice:
        canvas.text(words.notice, _MARGIN, row, 0.46, _GOOD)
        return  # names of files are long: the line is theirs for the moment
    elif not words.people:
        canvas.text("nobody in view", _MARGIN, row, 0.46, MUTED)
    else:
        for i, (person, predicted) in enumerate(words.people[:6]):
            colors = person_colors(person)
            canvas.dot(_MARGIN + 5 + i * 22, row - 5, 5, MUTED if predicted else colors.left)
            canvas.dot(_MARGIN + 11 + i * 22, row - 5, 5, MUTED if predicted else colors.right)
        count = len(words.people)
        numbers = ", ".join(str(person) for person, _ in words.people)
        text = "1 person" if count == 1 else f"{count} people: {numbers}"
        canvas.text(text, _MARGIN + 4 + min(count, 6) * 22, row, 0.46, TEXT)
    canvas.text(words.state, PANEL_WIDTH - _MARGIN, row, 0.42, MUTED, right=True)


class _Canvas:
    """OpenCV drawing in design pixels, oversampled."""

    def __init__(self, width: int, height: int) -> None:
        self.size = (width, height)
        self.scale = _OVERSAMPLE * height / DESIGN_HEIGHT
        shape = (height * _OVERSAMPLE, width * _OVERSAMPLE, 3)
        self.image = np.empty(shape, dtype=np.uint8)
        self.image[:] = _rgb8(_PANEL)
        edge = max(1, round(self.scale))
        self.image[:, -edge:] = _rgb8(_EDGE)

    def text(
        self, text: str, x: float, y: float, size: float, color: Rgb, *, bold: bool = False,
        right: bool = False,
    ) -> None:  # fmt: skip
        """Text whose base line starts (or, if `right`, ends) at (x, y), cut to the panel."""
        font, scale = cv2.FONT_HERSHEY_SIMPLEX, size * self.scale
        thick = max(1, round((1.9 if bold else 1.05) * self.scale * max(size, 0.5)))
        plain = text.encode("ascii", "replace").decode()  # all that Hershey fonts have

        def width(part: str) -> float:
            return float(cv2.getTextSize(part, font, scale, thick)[0][0]) / self.scale

        room = x - _MARGIN if right else PANEL_WIDTH - _MARGIN - x
        if width(plain) > room:
            while plain and width(plain + "...") > room:
                plain = plain[:-1]
            plain += "..."
        left = x - width(plain) if right else x
        at = (round(left * self.scale), round(y * self.scale))
        cv2.putText(self.image, plain, at, font, scale, _rgb8(color), thick, cv2.LINE_AA)

    def dot(self, x: float, y: float, radius: float, color: Rgb) -> None:
        at = (round(x * self.scale), round(y * self.scale))
        cv2.circle(self.image, at, round(radius * self.scale), _rgb8(color), -1, cv2.LINE_AA)

    def box(self, left: float, top: float, right: float, bottom: float, color: Rgb) -> None:
        """A filled box, one design pixel larger than asked for on every side."""
        first = (round((left - 1) * self.scale), round((top - 1) * self.scale))
        last = (round((right + 1) * self.scale) - 1, round((bottom + 1) * self.scale) - 1)
        cv2.rectangle(self.image, first, last, _rgb8(color), -1)

    def line(self, y: float, color: Rgb) -> None:
        self.box(_MARGIN, y, PANEL_WIDTH - _MARGIN, y - 1, color)

    def reduced(self) -> Image:
        return np.asarray(cv2.resize(self.image, self.size, interpolation=cv2.INTER_AREA))


def _rgb8(color: Rgb) -> tuple[int, int, int]:
    r, g, b = (round(255 * c) for c in color)
    return r, g, b
