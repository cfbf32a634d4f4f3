"""What every 2D keypoint detector offers."""

from __future__ import annotations

from typing import Protocol

from posemamba_live.types import Detection, Frame


class Detector(Protocol):
    """Finds people in one frame after the other of one source.

    Detectors may use the frames before to follow people, so frames come in order. They are
    called from one thread at a time.
    """

    name: str

    def detect(self, frame: Frame) -> list[Detection]:
        """Return the people in the picture; an empty list says that there is nobody.

        Raises:
            DetectorError: the detector cannot go on.
        """
        ...

    def close(self) -> None:
        """Free what the detector holds; a second call does nothing."""
        ...
