"""2D keypoint detectors: one file per kind, one Protocol (`base.Detector`).

A new one is a file with a `build(name, settings)` and a line in DETECTORS.
"""

from __future__ import annotations

import importlib
from typing import Final

from posemamba_live.detectors.base import Detector, DetectorSettings, Guided
from posemamba_live.errors import UsageError

DETECTORS: Final = {
    "mediapipe": "posemamba_live.detectors.mediapipe",
    "rtmpose": "posemamba_live.detectors.rtmpose",
    "rtmpose-m": "posemamba_live.detectors.rtmpose",
    "rtmpose-wholebody": "posemamba_live.detectors.rtmpose",
    "rtmo": "posemamba_live.detectors.rtmpose",
}
"""Names that `create_detector` knows, the default first, and the modules that build them."""
DEFAULT_DETECTOR: Final = next(iter(DETECTORS))

__all__ = [
    "DEFAULT_DETECTOR",
    "DETECTORS",
    "Detector",
    "DetectorSettings",
    "Guided",
    "create_detector",
]


def create_detector(
    name: str = DEFAULT_DETECTOR, settings: DetectorSettings | None = None
) -> Detector:
    """Build a detector by name; its libraries are imported only now.

    Raises:
        UsageError: no such detector, or settings that do not suit it.
        DetectorError: a model cannot be loaded.
    """
    settings = settings or DetectorSettings()
    if name not in DETECTORS:
        raise UsageError(f"Unknown detector {name!r}", hint=f"one of: {', '.join(DETECTORS)}")
    if settings.people < 1:
        raise UsageError(f"Cannot look for {settings.people} people", hint="--people 1 or more")
    built: Detector = importlib.import_module(DETECTORS[name]).build(name, settings)
    return built
