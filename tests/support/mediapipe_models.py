"""MediaPipe for tests that compare with it: an extra, and only old versions carry models."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest


def mediapipe_with_models() -> ModuleType:
    """The package; skips the test, or the module of tests, where it cannot be used."""
    mediapipe: ModuleType = pytest.importorskip("mediapipe", reason="MediaPipe is an extra")
    if not (Path(str(mediapipe.__file__)).parent / "modules" / "pose_detection").is_dir():
        pytest.skip("this MediaPipe carries no models", allow_module_level=True)
    return mediapipe
