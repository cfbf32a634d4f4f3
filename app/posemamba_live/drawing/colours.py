"""Colours as data, shared by the recorder and the viewer: RGB floats, 0 to 1.

A person's left is always a cool colour and the right a warm one. Within each pair the two
also differ in lightness, so that they stay apart for people with a colour deficiency
(blue against orange is the pair that survives all three common kinds).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

from posemamba.skeleton import LEFT, NUM_JOINTS, PARENTS, RIGHT

Rgb = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class PersonColors:
    """The three colours that one person is drawn in."""

    left: Rgb
    right: Rgb
    centre: Rgb

    def joint(self, index: int) -> Rgb:
        """Colour of Human3.6M-17 joint `index`."""
        if index in LEFT:
            return self.left
        if index in RIGHT:
            return self.right
        return self.centre


PALETTE: Final = (
    PersonColors(left=(0.22, 0.60, 0.98), right=(1.00, 0.58, 0.16), centre=(0.92, 0.93, 0.96)),
    PersonColors(left=(0.10, 0.74, 0.62), right=(0.96, 0.42, 0.66), centre=(0.84, 0.95, 0.90)),
    PersonColors(left=(0.56, 0.48, 1.00), right=(0.98, 0.84, 0.30), centre=(0.90, 0.86, 0.98)),
    PersonColors(left=(0.36, 0.80, 0.96), right=(0.94, 0.36, 0.28), centre=(0.96, 0.90, 0.86)),
    PersonColors(left=(0.30, 0.46, 0.94), right=(1.00, 0.74, 0.58), centre=(0.86, 0.87, 0.92)),
    PersonColors(left=(0.44, 0.94, 0.84), right=(0.84, 0.46, 0.10), centre=(0.90, 0.96, 0.94)),
    PersonColors(left=(0.74, 0.68, 1.00), right=(0.88, 0.52, 0.42), centre=(0.95, 0.91, 0.96)),
    PersonColors(left=(0.16, 0.58, 0.78), right=(1.00, 0.66, 0.78), centre=(0.90, 0.94, 0.97)),
)
"""One entry per person; `person_colors` starts again from the first when they run out."""

BACKGROUND: Final[Rgb] = (0.075, 0.085, 0.110)
"""Sky and far floor."""
FLOOR: Final[Rgb] = (0.120, 0.132, 0.165)
"""Floor near the person."""
GRID: Final[Rgb] = (0.300, 0.330, 0.400)
"""Metre lines."""
TEXT: Final[Rgb] = (0.900, 0.915, 0.945)
MUTED: Final[Rgb] = (0.560, 0.590, 0.650)
"""Second-rank text."""

BONE_JOINT: Final = tuple(
    child if child in LEFT + RIGHT else parent if parent in LEFT + RIGHT else child
    for child, parent in ((j, PARENTS[j]) for j in range(1, NUM_JOINTS))
)
"""For each bone of `skeleton.BONES`, the joint whose colour the bone takes."""


def person_colors(person_id: int) -> PersonColors:
    """Colours of the person with this track id (any integer)."""
    return PALETTE[person_id % len(PALETTE)]


@cache
def to_bgr8(rgb: Rgb, gain: float = 1.0) -> tuple[int, int, int]:
    """8-bit BGR of `rgb` times `gain`, clipped."""
    r, g, b = (min(255, max(0, round(255.0 * gain * c))) for c in rgb)
    return b, g, r
