"""2D keypoint detectors: one file per kind, one Protocol (`base.Detector`)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from posemamba_live.detectors.base import Detector
from posemamba_live.errors import UsageError

DETECTORS: Final = ("mediapipe",)
"""Names that `create_detector` knows, the default first."""

__all__ = ["DETECTORS", "Detector", "create_detector"]


def create_detector(
    name: str = DETECTORS[0], model: Path | None = None, people: int = 1
) -> Detector:
    """Build a detector by name; its libraries are imported only now.

    Args:
        name: one of DETECTORS.
        model: a model file instead of the detector's own.
        people: how many people it looks for at most.

    Raises:
        UsageError: no such detector, or `people` below 1.
        DetectorError: the model cannot be loaded.
    """
    if people < 1:
        raise UsageError(f"Cannot look for {people} people", hint="--people 1 or more")
    if name == "mediapipe":
        from posemamba_live.detectors.mediapipe import MediaPipeDetector

        return MediaPipeDetector(model, people)
    raise UsageError(f"Unknown detector {name!r}", hint=f"one of: {', '.join(DETECTORS)}")
