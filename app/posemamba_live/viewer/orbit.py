"""The window's camera: a turntable around a point of interest, the horizon always level."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Vector = NDArray[np.float64]

FOV: Final = math.radians(30.0)
"""Vertical field of view: long enough that limbs near the viewer do not swell."""
MAX_ELEVATION: Final = math.radians(89.0)
"""At 90 degrees the turntable would lose its up."""
MIN_DISTANCE: Final = 0.8
MAX_DISTANCE: Final = 25.0
_RADIANS_PER_PIXEL: Final = 0.006
_ZOOM_PER_STEP: Final = 0.88


def _start() -> Vector:
    return np.array([0.0, 0.0, 0.9])


@dataclass(slots=True)
class OrbitCamera:
    """Where the viewer stands, in world metres and radians.

    Azimuth 0 looks along +Y, as the filming camera does; it grows as the viewer walks to
    the scene's right. Elevation is positive above the target.
    """

    azimuth: float = 0.0
    elevation: float = math.radians(10.0)
    distance: float = 4.6
    target: Vector = field(default_factory=_start)
    """(3,) metres: the point in the middle of the free part of the window."""

    @property
    def forward(self) -> Vector:
        """(3,) unit vector from the viewer to the target."""
        flat = math.cos(self.elevation)
        return np.array(
            [
                -flat * math.sin(self.azimuth),
                flat * math.cos(self.azimuth),
                -math.sin(self.elevation),
            ]
        )

    @property
    def right(self) -> Vector:
        """(3,) unit vector towards the right edge of the window; horizontal."""
        return np.array([math.cos(self.azimuth), math.sin(self.azimuth), 0.0])

    @property
    def rotation(self) -> NDArray[np.float64]:
        """(3, 3) world to view, looking straight at the target.

        View axes as in OpenCV: x right, y down, z forward.
        """
        right, forward = self.right, self.forward
        return np.stack([right, np.cross(forward, right), forward])

    def placed(self, shift_pixels: float, focal: float) -> tuple[NDArray[np.float64], Vector]:
        """The view with its target `shift_pixels` right of the middle of the window.

        The viewer steps sideways for that, so that the horizon stays level, and turns by as
        much, so that people are still seen from the azimuth asked for. Seen from the top
        there is no azimuth to keep, and turning would only spin the picture.

        Args:
            shift_pixels: half the width of what covers the window's left side.
            focal: of the window, pixels.

        Returns:
            (3, 3) world to view rotation, (3,) where the viewer stands in metres.
        """
        aside = shift_pixels / focal
        turn = math.atan(aside) * math.cos(self.elevation)
        turned = replace(self, azimuth=self.azimuth + turn)
        reach = self.distance / math.hypot(1.0, aside)
        eye = self.target - reach * (turned.forward + aside * turned.right)
        return turned.rotation, eye

    def orbit(self, dx: float, dy: float) -> None:
        """Turn the scene with the mouse: it follows a drag by (dx, dy) pixels."""
        self.azimuth = math.remainder(self.azimuth - dx * _RADIANS_PER_PIXEL, math.tau)
        tilted = self.elevation + dy * _RADIANS_PER_PIXEL
        self.elevation = max(-MAX_ELEVATION, min(MAX_ELEVATION, tilted))

    def pan(self, dx: float, dy: float, focal: float) -> None:
        """Move the scene in the window's plane by (dx, dy) pixels; `focal` in pixels."""
        down = self.rotation[1]
        self.target = self.target - (dx * self.right + dy * down) * self.distance / focal

    def zoom(self, steps: float) -> None:
        """Come nearer by wheel steps (negative: go back)."""
        distance = self.distance * _ZOOM_PER_STEP**steps
        self.distance = max(MIN_DISTANCE, min(MAX_DISTANCE, distance))

    def look_from(self, eye: ArrayLike) -> None:
        """Look at the present target from `eye` (3,), metres."""
        offset = self.target - np.asarray(eye, dtype=np.float64)
        flat = math.hypot(offset[0], offset[1])
        self.azimuth = math.atan2(-offset[0], offset[1])
        tilted = math.atan2(-offset[2], flat)
        self.elevation = max(-MAX_ELEVATION, min(MAX_ELEVATION, tilted))
        distance = math.hypot(flat, offset[2])
        self.distance = max(MIN_DISTANCE, min(MAX_DISTANCE, distance))


def focal_length(height: int) -> float:
    """Focal length in pixels of a window `height` pixels high."""
    return 0.5 * height / math.tan(0.5 * FOV)


def camera_centre(joints: ArrayLike, root: ArrayLike, joints_world: ArrayLike) -> Vector:
    """Where the filming camera stands in the world, from a pose known in both frames.

    The rigid motion that best takes camera to world coordinates (Kabsch 1976), applied to
    the camera's origin.

    Args:
        joints: (17, 3) metres, camera frame axes, relative to Hip.
        root: (3,) metres, camera frame.
        joints_world: (17, 3) metres, world frame.
    """
    seen = np.asarray(joints, dtype=np.float64) + np.asarray(root, dtype=np.float64)
    world = np.asarray(joints_world, dtype=np.float64)
    from_mean, to_mean = seen.mean(axis=0), world.mean(axis=0)
    u, _, vt = np.linalg.svd((seen - from_mean).T @ (world - to_mean))
    handed = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = (u @ handed @ vt).T
    return np.asarray(to_mean - rotation @ from_mean)
