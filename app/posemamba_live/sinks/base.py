"""What results can go to.

A `Sink` takes frames as they are processed (recorder, viewer, stream). An `Exporter` takes
poses, in any order, and writes them when closed. `sinks.FORMATS` says which suffix means
which; a further file format is one more function and one more line there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from posemamba_live.errors import LiveError
from posemamba_live.types import Frame, Pose3D


class Sink(Protocol):
    """Takes every frame with the people in it, in the order of time."""

    def write(self, frame: Frame, poses: Sequence[Pose3D]) -> None:
        """Take one frame; `poses` is empty where nobody was seen."""

    def close(self) -> None:
        """Finish what was begun, so that it is complete and usable. Idempotent."""


class Recording(Sink, Protocol):
    """A sink with a file that can be made again."""

    def discard(self) -> None:
        """Leave nothing of it. Idempotent."""


class Exporter(Protocol):
    """Collects poses and writes them."""

    @property
    def files(self) -> Sequence[Path]:
        """What has been written, once closed: one file, or one for each person."""

    @property
    def notes(self) -> Sequence[LiveError]:
        """What kept some of these files from where they belong."""

    def add(self, pose: Pose3D) -> None:
        """Take one person in one frame. Frames may come in any order."""

    def close(self) -> None:
        """Write everything added so far, atomically. Idempotent."""
