"""2D keypoint detectors: models behind the protocols of `base`.

A new one is a file with a `build(name, settings)` and a line in DETECTORS.
"""

from __future__ import annotations

import importlib
from typing import Final

from posemamba_live.detectors.base import (
    DetectorSettings,
    Found,
    Models,
    OneStage,
    Region,
    TopDown,
)
from posemamba_live.errors import UsageError
from posemamba_live.nearest import did_you_mean

DETECTORS: Final = {
    "blazepose": "posemamba_live.detectors.blazepose",
    "rtmpose": "posemamba_live.detectors.rtmpose",
    "rtmpose-m": "posemamba_live.detectors.rtmpose",
    "rtmpose-wholebody": "posemamba_live.detectors.rtmpose",
    "rtmo": "posemamba_live.detectors.rtmpose",
    "mediapipe": "posemamba_live.detectors.mediapipe",
}
"""Names that `create_detector` knows, the default first, and the modules that build them."""
DEFAULT_DETECTOR: Final = next(iter(DETECTORS))

__all__ = [
    "DEFAULT_DETECTOR",
    "DETECTORS",
    "DetectorSettings",
    "Found",
    "Models",
    "OneStage",
    "Region",
    "TopDown",
    "create_detector",
]


def create_detector(
    name: str = DEFAULT_DETECTOR, settings: DetectorSettings | None = None
) -> Models:
    """Build a detector by name; its libraries are imported only now.

    Raises:
        UsageError: no such detector, or settings that do not suit it.
        DetectorError: a model cannot be loaded.
    """
    settings = settings or DetectorSettings()
    if name not in DETECTORS:
        raise UsageError(
            f"Unknown detector {name!r}",
            why="--detector knows none of this name",
            hint=did_you_mean(name, DETECTORS),
        )
    if settings.people < 1:
        raise UsageError(f"Cannot look for {settings.people} people", hint="--people 1 or more")
    built: Models = importlib.import_module(DETECTORS[name]).build(name, settings)
    return built
