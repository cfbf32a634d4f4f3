"""Cameras, through the system's own interface."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import cv2

from posemamba_live.errors import SourceError
from posemamba_live.sources.base import (
    Source,
    live_frames,
    plausible_fps,
    quiet_opencv,
    retrieve,
)
from posemamba_live.types import Frame

logger = logging.getLogger(__name__)

WANTED_SIZE: Final = (1280, 720)
WANTED_FPS: Final = 30.0

_BACKENDS: Final = {
    "linux": cv2.CAP_V4L2,
    "darwin": cv2.CAP_AVFOUNDATION,
    "win32": cv2.CAP_DSHOW,  # opens in a second where Media Foundation takes ten
}


class Camera(Source):
    """A camera, asked for 1280x720 at 30 fps; it gives what is nearest.

    Args:
        device: index, or device path.

    Raises:
        SourceError: there is no such camera, or it gives no picture.
    """

    live = True
    frame_count = None

    def __init__(self, device: int | str) -> None:
        self.name = f"camera {device}"
        quiet_opencv()
        self._capture = cv2.VideoCapture(device, _BACKENDS.get(sys.platform, cv2.CAP_ANY))
        if not self._capture.isOpened():
            raise _not_there(device)
        # MJPG first: uncompressed, most cameras reach 720p at 10 fps only.
        self._capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, WANTED_SIZE[0])
        self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, WANTED_SIZE[1])
        self._capture.set(cv2.CAP_PROP_FPS, WANTED_FPS)
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        image = retrieve(self._capture) if self._capture.grab() else None
        if image is None:
            self._capture.release()
            raise SourceError(
                f"Camera {device} gives no picture",
                why="it is there, but another program may be using it",
                hint="close other programs that use the camera, or plug it in again",
            )
        self.size = (image.shape[1], image.shape[0])
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self._fps = fps if plausible_fps(fps) else WANTED_FPS
        logger.info("%s: %dx%d at %g fps", self.name, *self.size, self._fps)

    @property
    def fps(self) -> float:
        return self._fps

    def __iter__(self) -> Iterator[Frame]:
        return live_frames(self._capture, self.name, self.size)

    def close(self) -> None:
        self._capture.release()


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
