"""The records that flow from stage to stage: small, frozen, NumPy only.

Conventions (joints, pixels, camera and world frame) are those of the README's
architecture section: Human3.6M-17 joint order, pixel centres at half integers,
camera frame x right, y down, z forward, world frame Z up, metres and seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Image = NDArray[np.uint8]

ALL_SEEN = np.zeros(17, np.bool_)
ALL_SEEN.flags.writeable = False


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a source."""

    index: int
    """Index in the source, in decoding (or capture) order from 0."""
    timestamp: float
    """Seconds from the source's first frame."""
    image: Image
    """(H, W, 3) BGR."""
    captured_at: float
    """time.monotonic() when the picture was available; latency is measured from here."""

    @property
    def size(self) -> tuple[int, int]:
        """(W, H) in pixels."""
        return self.image.shape[1], self.image.shape[0]


@dataclass(frozen=True, slots=True)
class ExtraPoints:
    """What a detector sees beyond Human3.6M-17, in its own names: feet, hands, face."""

    names: tuple[str, ...]
    points: FloatArray
    """(K, 2) pixels."""
    scores: FloatArray
    """(K,) confidence, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Detection:
    """What a detector says of one person in one frame, already in Human3.6M-17 order."""

    keypoints: FloatArray
    """(17, 2) pixels."""
    scores: FloatArray
    """(17,) confidence, 0 to 1: visibility times peak where the model gives both."""
    extra: ExtraPoints | None = None
    visibility: FloatArray | None = None
    """(17,) how likely each joint is not hidden, 0 to 1; None where the model does not say."""
    peak: FloatArray | None = None
    """(17,) how sharply each joint was localised, 0 to 1; None where the model does not say."""


@dataclass(frozen=True, slots=True)
class Pose2D:
    """One person's keypoints in one frame, after tracking."""

    frame_index: int
    timestamp: float
    person_id: int
    keypoints: FloatArray
    """(17, 2) pixels."""
    scores: FloatArray
    """(17,) confidence, 0 to 1."""
    image_size: tuple[int, int]
    """(W, H) in pixels."""
    predicted: bool = False
    """True where no detection stood behind this row (a filled gap)."""
    extra: ExtraPoints | None = None
    """None as well where the row is predicted: these points are kept, never made up."""
    visibility: FloatArray | None = None
    """(17,) first part of the scores, as in `Detection`."""
    peak: FloatArray | None = None
    """(17,) second part of the scores, as in `Detection`."""


@dataclass(frozen=True, slots=True)
class LiftedPose:
    """The lifter's answer for one Pose2D: shape and direction, not yet metres."""

    pose2d: Pose2D
    joints: FloatArray
    """(17, 3) root-relative, camera frame axes, in body heights."""
    look_ahead: int
    """How many frames after this one the lifter had seen."""
    up: FloatArray | None = None
    """(3,) what the network takes for up in `joints`' axes, as long as it is sure of it: one over
    its expected squared error in radians. None where the network does not say."""


@dataclass(frozen=True, slots=True)
class Ground:
    """Pose of the camera above the floor."""

    pitch: float
    """Radians; negative looks down."""
    roll: float
    """Radians; positive tilts the world's up direction to the picture's right."""
    height: float
    """Metres above the floor."""

    @property
    def up(self) -> NDArray[np.float64]:
        """(3,) unit vector against gravity, camera frame."""
        cp = math.cos(self.pitch)
        return np.array([cp * math.sin(self.roll), -cp * math.cos(self.roll), math.sin(self.pitch)])

    @property
    def rotation(self) -> NDArray[np.float64]:
        """(3, 3) camera frame to world frame, w = R @ c + (0, 0, height)."""
        up = self.up
        forward = np.array([0.0, 0.0, 1.0]) - up[2] * up
        forward /= np.linalg.norm(forward)
        return np.stack([np.cross(forward, up), forward, up])

    def to_world(self, points: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """(..., 3) camera frame to (..., 3) world frame, metres."""
        offset = np.array([0.0, 0.0, self.height])
        return np.asarray(points @ self.rotation.T + offset, np.float64)

    def to_camera(self, points: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """(..., 3) world frame to (..., 3) camera frame, metres."""
        offset = np.array([0.0, 0.0, self.height])
        return np.asarray((points - offset) @ self.rotation, np.float64)

    def towards(self, other: Ground, fraction: float) -> Ground:
        """The ground `fraction` (0 to 1) of the way from this one to `other`."""
        return Ground(
            self.pitch + fraction * (other.pitch - self.pitch),
            self.roll + fraction * (other.roll - self.roll),
            self.height + fraction * (other.height - self.height),
        )


@dataclass(frozen=True, slots=True)
class Pose3D:
    """One person in one frame, in metres."""

    pose2d: Pose2D
    joints: FloatArray
    """(17, 3) metres, camera frame axes, relative to Hip."""
    root: FloatArray
    """(3,) metres, camera frame: where Hip is."""
    joints_world: FloatArray
    """(17, 3) metres, world frame, floor at z = 0."""
    look_ahead: int
    """How many frames after this one the lifter had seen."""
    ground: Ground | None = None
    """By which camera and world frame belong together; None where nobody knows it any more
    (files of schema version 1)."""
    unseen: NDArray[np.bool_] = field(default_factory=lambda: ALL_SEEN)
    """(17,) joints that nobody has seen for some seconds: a guess, to be shown as one."""

    @property
    def frame_index(self) -> int:
        return self.pose2d.frame_index

    @property
    def person_id(self) -> int:
        return self.pose2d.person_id
