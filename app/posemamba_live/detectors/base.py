"""What the people tracker asks of the models that look at pictures.

Either a person detector says where people are and a keypoint model looks at each of these
regions (`TopDown`), or one network does both (`OneStage`). The tracker decides when and
where to look; models answer for the picture that they are given and for nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from posemamba_live.types import Detection, FloatArray, Frame, Image


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of the picture that somebody fills, without a margin around them.

    BlazePose speaks of squares around the circle that holds the body, turned so that the
    body is upright in them; other models of upright boxes.
    """

    centre: tuple[float, float]
    """Pixels. BlazePose: the middle of the hips."""
    width: float
    """Pixels, along the region's own first axis. BlazePose: twice the circle's radius."""
    height: float
    rotation: float = 0.0
    """Radians by which the region is turned, clockwise as the picture is seen."""
    score: float = 1.0
    """How sure it is that somebody is there, 0 to 1."""

    @classmethod
    def of_box(cls, box: Sequence[float] | FloatArray, score: float = 1.0) -> Region:
        """Of a (4,) box: left, top, right, bottom in pixels."""
        left, top, right, bottom = (float(edge) for edge in box)
        centre = 0.5 * (left + right), 0.5 * (top + bottom)
        return cls(centre, right - left, bottom - top, score=score)

    def box(self) -> FloatArray:
        """(4,) left, top, right, bottom of the upright box around it, pixels."""
        x, y = abs(math.cos(self.rotation)), abs(math.sin(self.rotation))
        across = 0.5 * (x * self.width + y * self.height)
        down = 0.5 * (y * self.width + x * self.height)
        left, top = self.centre[0] - across, self.centre[1] - down
        return np.array([left, top, left + 2.0 * across, top + 2.0 * down], np.float32)

    def moved(self, x: float, y: float, scale: float = 1.0) -> Region:
        """The same x and y pixels further, and so many times larger about its centre."""
        centre = self.centre[0] + x, self.centre[1] + y
        return replace(self, centre=centre, width=scale * self.width, height=scale * self.height)


@dataclass(frozen=True, slots=True)
class Circle:
    """The circle around a whole body, arms stretched: a size that poses do not change."""

    centre: tuple[float, float]
    """Pixels: the middle of the hips."""
    radius: float
    """Pixels."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a model sees of one person."""

    detection: Detection
    presence: float
    """How sure it is that somebody is there, 0 to 1; below 0.5 nobody is."""
    next_region: Region
    """Where to look in the next frame, if the person stays where they are."""
    circle: Circle | None = None
    """None where the model does not know it."""

    def moved(self, x: float, y: float) -> Found:
        """The same in a picture of which this one is the part that begins at x, y."""
        by = np.array([x, y], np.float32)
        extra, circle = self.detection.extra, self.circle
        return replace(
            self,
            detection=replace(
                self.detection,
                keypoints=self.detection.keypoints + by,
                extra=None if extra is None else replace(extra, points=extra.points + by),
            ),
            next_region=self.next_region.moved(x, y),
            circle=circle and Circle((circle.centre[0] + x, circle.centre[1] + y), circle.radius),
        )


class PersonDetector(Protocol):
    """Finds people in a picture, or in a part of one."""

    def find(self, image: Image) -> list[Region]:
        """Everybody in the picture (H, W, 3) BGR, the surest first, nobody twice.

        Raises:
            DetectorError: the model failed, or is closed.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """What runs and on what, as JSON values; `model` is the file's name."""
        ...

    def close(self) -> None:
        """Free what the model holds; a second call does nothing."""
        ...


class KeypointModel(Protocol):
    """Looks at people one by one, all of them in one batch."""

    def locate(self, image: Image, regions: Sequence[Region]) -> list[Found]:
        """Look into each region of the picture (H, W, 3) BGR.

        Returns:
            As many as there are regions, in their order; presence is 0 where the model's
            answer cannot be used.

        Raises:
            DetectorError: the model failed, or is closed.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """What runs and on what, as JSON values."""
        ...

    def close(self) -> None:
        """Free what the model holds; a second call does nothing."""
        ...


class OneStageModel(Protocol):
    """Finds everybody with their keypoints at once."""

    def detect(self, frame: Frame) -> list[Found]:
        """Everybody in the picture. Frames come in order: such a model may follow people.

        Raises:
            DetectorError: the model failed, or is closed.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """What runs and on what, as JSON values."""
        ...

    def close(self) -> None:
        """Free what the model holds; a second call does nothing."""
        ...


@dataclass(frozen=True, slots=True)
class TopDown:
    """A detector of two models. They are called from one thread at a time."""

    name: str
    person: PersonDetector
    keypoints: KeypointModel
    detect_every: int | None = None
    """Frames from one look for people to the next; None leaves it to the tracker."""

    def describe(self) -> dict[str, Any]:
        """What runs and on what, as JSON values, for statistics and exports."""
        return {
            "name": self.name,
            **self.keypoints.describe(),
            "person_model": self.person.describe()["model"],
            "detect_every": self.detect_every,
        }

    def close(self) -> None:
        self.keypoints.close()
        self.person.close()


@dataclass(frozen=True, slots=True)
class OneStage:
    """A detector of one model. It is called from one thread at a time."""

    name: str
    model: OneStageModel
    in_parts: bool = False
    """Whether it may be shown parts of pictures: it looks at each picture by itself."""

    def describe(self) -> dict[str, Any]:
        """What runs and on what, as JSON values, for statistics and exports."""
        return {"name": self.name, **self.model.describe()}

    def close(self) -> None:
        self.model.close()


Models = TopDown | OneStage
"""What a detector is made of."""


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
    device: str = "auto"
    threads: int = 1
    """CPU threads for one frame."""
