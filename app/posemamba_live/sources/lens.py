"""The field of view that a film's own tags tell."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

FOCAL_LENGTH: Final = "com.apple.quicktime.camera.focal_length.35mm_equivalent"
"""Tag of phones' films: millimetres, as if the picture were as large as one on 35 mm film."""
_FILM_WIDTH_MM: Final = 36.0
_PLAUSIBLE: Final = (10.0, 400.0)
"""Millimetres: beyond these it is no lens that people are filmed with."""


def told_fov(*tags: Mapping[str, str]) -> float | None:
    """Degrees across the picture's longer side; None where the tags say nothing to be believed."""
    for each in tags:
        try:
            focal = float(each.get(FOCAL_LENGTH, ""))
        except ValueError:
            continue
        if _PLAUSIBLE[0] <= focal <= _PLAUSIBLE[1]:
            return 2.0 * math.degrees(math.atan(0.5 * _FILM_WIDTH_MM / focal))
    return None
