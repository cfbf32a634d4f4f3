"""Cameras, through the system's own interface."""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from posemamba_live.errors import SourceError, UsageError
from posemamba_live.sources.base import Source, fit, note_size, plausible_fps, quiet_opencv, turned
from posemamba_live.sources.worker import Worker
from posemamba_live.types import Frame, Image

logger = logging.getLogger(__name__)

_BACKENDS: Final = {
    "linux": cv2.CAP_V4L2,
    "darwin": cv2.CAP_AVFOUNDATION,
    "win32": cv2.CAP_DSHOW,  # opens in a second where Media Foundation takes ten
}
_PATIENCE_S: Final = 10.0
"""Some cameras take seconds for their first picture; one that is silent longer has gone."""
_MAX_FAILURES: Final = 3
"""Pictures in a row that may be missing or spoilt."""
_MODE: Final = re.compile(r"(\d{2,5})x(\d{2,5})(?:@(\d{1,4}(?:\.\d+)?))?")


@dataclass(frozen=True, slots=True)
class CameraMode:
    """What a camera is asked for; it gives what is nearest."""

    width: int = 1280
    height: int = 720
    fps: float = 30.0

    @classmethod
    def parse(cls, text: str) -> CameraMode:
        """Read `1280x720` or `1280x720@30`.

        Raises:
            UsageError: it is neither.
        """
        match = _MODE.fullmatch(text.strip().lower())
        if match is None:
            raise UsageError(
                f"--camera-size {text} cannot be understood",
                why="it is not a width and a height with an x between",
                hint="--camera-size 1280x720, or 1280x720@30",
            )
        width, height, fps = match.groups()
        return cls(int(width), int(height), float(fps or 30.0))

    def __str__(self) -> str:
        return f"{self.width}x{self.height} at {self.fps:g} fps"


class Camera(Source):
    """A camera, read in a thread of its own.

    Args:
        device: index, or device path.
        mode: what to ask it for; 1280x720 at 30 fps by default, without complaint if it
            gives something else.
        rotate: degrees clockwise.

    Raises:
        SourceError: there is no such camera, or it gives no picture.
    """

    live = True
    frame_count = None

    def __init__(
        self, device: int | str, *, mode: CameraMode | None = None, rotate: int = 0
    ) -> None:
        self.name = f"camera {device}"
        self._device, self._mode, self._rotate = device, mode or CameraMode(), rotate
        self._fps = self._mode.fps
        quiet_opencv()
        self._worker: Worker[Frame] = Worker(
            self.name, self._read, capacity=2, newest=True, patience=_PATIENCE_S
        )
        try:
            first = self._worker.take()
        except SourceError:
            self._worker.close()
            raise
        if first is None:
            raise _gives_nothing(device)
        self._first = first
        self.size = first.size
        logger.info("%s: %dx%d at %g fps", self.name, *self.size, self._fps)
        wanted = (self._mode.width, self._mode.height)
        if mode is not None and self.size not in (wanted, wanted[::-1] if rotate % 180 else wanted):
            logger.warning(
                "%s gives %dx%d, not %dx%d: --camera list shows what it knows",
                self.name, *self.size, *wanted,
            )  # fmt: skip

    @property
    def fps(self) -> float:
        return self._fps

    def __iter__(self) -> Iterator[Frame]:
        given = self.size
        frame: Frame | None = self._first
        while frame is not None:
            given = note_size(self.name, given, frame.size)
            image = fit(frame.image, self.size)
            yield Frame(frame.index, frame.timestamp, image, frame.captured_at)
            frame = self._worker.take()

    def close(self) -> None:
        self._worker.close()

    def _read(self, worker: Worker[Frame]) -> None:
        """Open and read in the worker's thread, with times of the monotonic clock."""
        capture = cv2.VideoCapture(self._device, _BACKENDS.get(sys.platform, cv2.CAP_ANY))
        try:
            if not capture.isOpened():
                raise _not_there(self._device)
            # MJPG first: uncompressed, most cameras reach 720p at 10 fps only.
            capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, self._mode.width)
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, self._mode.height)
            capture.set(cv2.CAP_PROP_FPS, self._mode.fps)
            capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
            fps = capture.get(cv2.CAP_PROP_FPS)
            self._fps = fps if plausible_fps(fps) else self._mode.fps
            index, failures, started = 0, 0, 0.0
            while failures < _MAX_FAILURES:
                grabbed = capture.grab()
                now = time.monotonic()
                image = _retrieved(capture) if grabbed else None
                if image is None:
                    failures += 1
                    continue
                failures = 0
                started = started or now
                image = turned(image, self._rotate)
                worker.put(Frame(index, now - started, image, now))
                index += 1
        finally:
            capture.release()
        if not index:
            raise _gives_nothing(self._device)
        raise SourceError(f"No more pictures from {self.name}", why="it was disconnected")


def _retrieved(capture: cv2.VideoCapture) -> Image | None:
    """Decode the picture grabbed last, to (H, W, 3) BGR; None where that fails."""
    ok, image = capture.retrieve()
    return np.asarray(image, np.uint8) if ok and image.size else None


def _gives_nothing(device: int | str) -> SourceError:
    return SourceError(
        f"Camera {device} gives no picture",
        why="it is there, but another program may be using it",
        hint="close other programs that use the camera, or plug it in again",
    )


def _not_there(device: int | str) -> SourceError:
    if sys.platform == "linux":
        found = ", ".join(sorted(str(path) for path in Path("/dev").glob("video*"))) or "none"
        hint = f"devices found: {found}; the user may have to be in the group 'video'"
    elif sys.platform == "darwin":
        hint = "allow the terminal to use the camera: System Settings, Privacy, Camera"
    else:
        hint = "another number, and check that apps may use the camera"
    return SourceError(
        f"Cannot open camera {device}", why="no such camera, or it is taken", hint=hint
    )
