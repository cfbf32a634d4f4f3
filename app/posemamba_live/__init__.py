"""posemamba-live: 3D human pose, live, from a webcam or a video.

    import posemamba_live

    take = posemamba_live.lift_video("clip.mp4", height_m=1.82)
    take.save("walk.bvh")

`lift_video` lifts a file, `open_source` and `Tracker3D` live pictures, `Take` is the result.
Nothing heavy is imported before it is used.
"""

from __future__ import annotations

import importlib
import os
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from posemamba_live.api import Take, Tracker3D, lift_video, open_source
    from posemamba_live.errors import (
        DetectorError,
        LiveError,
        SinkError,
        SourceError,
        UsageError,
    )
    from posemamba_live.types import ExtraPoints, Frame, Pose2D, Pose3D

__version__ = "0.1.0"

# ONNX Runtime from 1.29 on reports to its maker, on Linux and macOS too, from the moment that
# it is imported; its own switch comes too late. The program sends nothing to anybody.
os.environ.update(ORT_DISABLE_TELEMETRY="1", ORT_TELEMETRY_DISABLED="1")

STARTED_AT = time.monotonic()
"""When the program began, but for Python's own start."""

__all__ = [
    "DetectorError",
    "ExtraPoints",
    "Frame",
    "LiveError",
    "Pose2D",
    "Pose3D",
    "SinkError",
    "SourceError",
    "Take",
    "Tracker3D",
    "UsageError",
    "lift_video",
    "open_source",
]

_HOMES = {
    "api": ("Take", "Tracker3D", "lift_video", "open_source"),
    "errors": ("DetectorError", "LiveError", "SinkError", "SourceError", "UsageError"),
    "types": ("ExtraPoints", "Frame", "Pose2D", "Pose3D"),
}
"""Modules, and what of them is public."""


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
