"""Network streams: RTSP, and HTTP (MJPEG, HLS), through OpenCV's FFmpeg."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Final

import cv2

from posemamba_live.errors import SourceError
from posemamba_live.shown import public
from posemamba_live.sources.base import (
    Source,
    live_frames,
    plausible_fps,
    quiet_opencv,
    retrieve,
)
from posemamba_live.types import Frame

logger = logging.getLogger(__name__)

SCHEMES: Final = ("rtsp", "rtsps", "http", "https")
DEFAULT_FPS: Final = 30.0
_OPEN_TIMEOUT_MS: Final = 5000
_READ_TIMEOUT_MS: Final = 3000


class Stream(Source):
    """A live stream from the network.

    Args:
        url: one of SCHEMES.

    Raises:
        SourceError: nobody answers in time, or not with pictures.
    """

    live = True
    frame_count = None

    def __init__(self, url: str) -> None:
        self.name = public(url)
        quiet_opencv()
        self._capture = cv2.VideoCapture(
            url,
            cv2.CAP_FFMPEG,
            [
                cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _OPEN_TIMEOUT_MS,
                cv2.CAP_PROP_READ_TIMEOUT_MSEC, _READ_TIMEOUT_MS,
                cv2.CAP_PROP_N_THREADS, 1,  # each further one holds a frame back
            ],
        )  # fmt: skip
        image = retrieve(self._capture) if self._capture.grab() else None
        if image is None:
            self._capture.release()
            raise SourceError(
                f"Cannot open the stream {self.name}",
                why=f"nobody answers, or no picture comes within {_OPEN_TIMEOUT_MS // 1000} s",
                hint="check the address, the password, and that the camera is on the network",
            )
        self.size = (image.shape[1], image.shape[0])
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self._fps = fps if plausible_fps(fps) else DEFAULT_FPS
        logger.info("%s: %dx%d", self.name, *self.size)

    @property
    def fps(self) -> float:
        """What FFmpeg guesses; MJPEG names no rate."""
        return self._fps

    def __iter__(self) -> Iterator[Frame]:
        return live_frames(self._capture, self.name, self.size)

    def close(self) -> None:
        self._capture.release()
