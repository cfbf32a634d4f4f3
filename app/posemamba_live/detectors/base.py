"""What every 2D keypoint detector offers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from posemamba_live.types import Detection, Expected, Frame


@dataclass(frozen=True, slots=True)
class DetectorSettings:
    """What a detector may be told; it refuses what it has no use for and was given anyway."""

    model: Path | None = None
    """A model file instead of the detector's own."""
    people: int = 1
    """How many people it looks for at most."""
    person_model: str | None = None
    """A model that finds people's boxes, or "none"."""
    detect_every: int | None = None
    """Frames from one look for people to the next."""
    live: bool = False
    """Whether it has to keep up with a camera."""
    device: str = "auto"
    threads: int = 1
    """CPU threads for one frame."""


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

    def describe(self) -> dict[str, Any]:
        """What runs and on what, as JSON values, for statistics and exports."""
        ...

    def close(self) -> None:
        """Free what the detector holds; a second call does nothing."""
        ...


@runtime_checkable
class Guided(Protocol):
    """A detector that looks for people where the tracker expects them."""

    def expect(self, people: Sequence[Expected]) -> None:
        """Where people should be in the frame that is detected next."""
        ...
