"""The real program with a detector that does as it is told: for tests of how runs end.

    python -m tests.support.stand_ins '{"hang_at": 20}' clip.mp4 --headless --export a.npz

It finds one person in every frame, and prints each frame's index once it has been detected.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from posemamba_live.detectors.base import Found, OneStage, Region
from posemamba_live.types import Detection, Frame


@dataclass
class StandIn:
    """What happens in the detector, and when: frames are counted from 0."""

    slow: float = 0.0
    """Seconds that each frame takes."""
    hang_at: int = -1
    """In this frame, a C call never comes back."""
    hang_in_close: bool = False
    remove: str = ""
    """A folder to remove, in frame `at`."""
    create: Sequence[str] = ()
    """Files to create, in frame `at`."""
    at: int = 15
    nobody: bool = False
    no_memory_at: int = -1
    slow_drawing: float = 0.0
    """Seconds that each picture of a recording takes."""
    module: str = "posemamba_live"
    """Whose program it is, `posemamba_live.export` for one."""

    name = "stand-in"

    def __post_init__(self) -> None:
        self._body = np.random.default_rng(3).uniform(-60, 60, (17, 2))
        self._count = 0

    def describe(self) -> dict[str, Any]:
        return {"name": self.name}

    def detect(self, frame: Frame) -> list[Found]:
        count, self._count = self._count, self._count + 1
        if count == self.hang_at:
            hang()
        if count == self.no_memory_at:
            np.ones(2**50)
        if count == self.at:
            if self.remove:
                shutil.rmtree(self.remove)
            for path in self.create:
                Path(path).write_text("a stranger's")
        time.sleep(self.slow)
        print(count, frame.index, time.time(), file=sys.stderr, flush=True)
        if self.nobody:
            return []
        # The same speed at any rate, and within the smallest picture.
        centre = np.array([120.0 + 20.0 * np.sin(frame.timestamp), 90.0])
        keypoints = (centre + self._body).astype(np.float32)
        box = np.concatenate([keypoints.min(0), keypoints.max(0)])
        detection = Detection(keypoints, np.full(17, 0.9, np.float32))
        return [Found(detection, 0.9, Region.of_box(box))]

    def close(self) -> None:
        if self.hang_in_close:
            hang()


def hang() -> None:
    """A call of the C library that no Python signal handler interrupts."""
    sleep = ctypes.CDLL(None).sleep
    while True:
        sleep(1000)


def main() -> None:
    stand_in = StandIn(**json.loads(sys.argv.pop(1)))
    from posemamba_live import detectors
    from posemamba_live.sinks.recorder import Composer

    if stand_in.slow_drawing:
        compose = Composer.compose

        def slowly(self: Composer, *args: Any) -> Any:
            time.sleep(stand_in.slow_drawing)
            return compose(self, *args)

        Composer.compose = slowly  # type: ignore[method-assign]
    models = OneStage(stand_in.name, stand_in)
    detectors.create_detector = lambda *args, **kwargs: models
    package = stand_in.module == "posemamba_live"
    importlib.import_module(f"{stand_in.module}.__main__" if package else stand_in.module).main()


if __name__ == "__main__":
    main()
