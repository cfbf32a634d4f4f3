"""Random pinhole cameras around a body: across a room, or a webcam close in front of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from posemamba.normalize import focal_pixels
from posemamba.skeleton import HEAD, HIP, L_HIP, R_HIP, THORAX

Float = NDArray[np.float32]

IMAGE_SIZES: Final = np.array(
    [[1280, 720], [960, 720], [720, 1280], [720, 720]], np.float32
)  # 16:9, 4:3, 9:16, 1:1
_ROOM_ASPECTS: Final = (0.5, 0.2, 0.2, 0.1)
_CLOSE_ASPECTS: Final = (0.6, 0.25, 0.1, 0.05)
_NEAREST_JOINT: Final = 0.25
"""Metres; a camera that is nearer to a joint than that is moved back."""


@dataclass(frozen=True, slots=True)
class CameraConfig:
    """Ranges are uniform; degrees and metres."""

    fov: tuple[float, float] = (35.0, 90.0)
    distance: tuple[float, float] = (2.0, 8.0)
    elevation: tuple[float, float] = (-12.0, 40.0)
    pitch: tuple[float, float] = (-40.0, 25.0)
    roll_sd: float = 5.0
    roll_wide: float = 0.3
    """Share of rolls drawn uniformly from +-roll_limit instead."""
    roll_limit: float = 40.0
    off_centre: tuple[float, float] = (0.6, 0.45)
    """Farthest that the body's middle is from the picture's, in half widths and heights."""
    cut: float = 0.15
    """Share of windows in which the picture's edge may cut the body."""
    level: float = 0.5
    """Share of the room views from a camera that somebody holds, or that stands on a tripod or a
    shelf, nearly level: where the person is in the picture then tells how steeply the camera
    sees them. Among the others the two have nothing to do with each other."""
    level_height: tuple[float, float] = (1.35, 0.45)
    """Mean and sd, metres above the lowest joint."""
    level_pitch: tuple[float, float] = (-4.0, 6.0)
    """Mean and sd; negative looks down."""
    level_roll_sd: float = 2.0
    close: float = 0.2
    """Share of windows seen by a webcam close to head and trunk."""
    close_fov: tuple[float, float] = (50.0, 78.0)
    close_distance: tuple[float, float] = (0.75, 2.2)
    close_elevation: tuple[float, float] = (-25.0, 20.0)


@dataclass(frozen=True, slots=True)
class View:
    """B cameras and what they see."""

    joints: Float
    """(B, T, 17, 3) metres, camera frame."""
    image_size: Float
    """(B, 2) W, H pixels."""
    focal: Float
    """(B,) pixels."""
    up: Float
    """(B, 3) unit vectors upwards, camera frame."""

    def project(self, points: Float) -> Float:
        """(B, T, P, 3) camera frame to (B, T, P, 2) pixels."""
        xy = points[..., :2] / points[..., 2:]
        return np.asarray(
            xy * self.focal[:, None, None, None] + 0.5 * self.image_size[:, None, None]
        )


def look_at(
    rng: np.random.Generator, joints: Float, close: NDArray[np.bool_], config: CameraConfig
) -> View:
    """Place one still camera per window.

    Args:
        joints: (B, T, 17, 3) metres, world frame.
        close: (B,) which windows get a webcam's view.
    """
    batch = len(joints)
    fov = np.where(close, rng.uniform(*config.close_fov, batch), rng.uniform(*config.fov, batch))
    aspect = np.where(
        close,
        rng.choice(len(IMAGE_SIZES), batch, p=_CLOSE_ASPECTS),
        rng.choice(len(IMAGE_SIZES), batch, p=_ROOM_ASPECTS),
    )
    size = IMAGE_SIZES[aspect]
    # The field of view is given across the longer side, and differs from window to window.
    focal = np.array(focal_pixels(size, 1.0)) * np.tan(np.radians(0.5))
    focal = (focal / np.tan(np.radians(fov) / 2.0)).astype(np.float32)
    half = 0.5 * size / focal[:, None]

    middle = np.where(
        close[:, None],
        0.5 * (joints[:, :, THORAX] + joints[:, :, HEAD]).mean(1),
        0.5 * (joints[:, :, HIP] + joints[:, :, THORAX]).mean(1),
    )
    distance, offset, edge = _framing(rng, joints, middle, half, close, config)
    elevation = np.where(
        close, rng.uniform(*config.close_elevation, batch), rng.uniform(*config.elevation, batch)
    )
    elevation = np.radians(elevation)
    azimuth = _azimuth(rng, joints, close)
    yaw = azimuth + np.arctan(offset[:, 0])
    wide = (rng.random(batch) < config.roll_wide) & ~close
    roll = np.where(
        wide,
        rng.uniform(-config.roll_limit, config.roll_limit, batch),
        config.roll_sd * rng.standard_normal(batch),
    )
    if config.level:  # drawn only then, so that sets without level cameras stay what they were
        level = np.flatnonzero((rng.random(batch) < config.level) & ~close)
        above = rng.normal(*config.level_height, len(level)).clip(0.3, 2.8)
        above -= middle[level, 2] - joints[level, ..., 2].min((1, 2))
        elevation[level] = np.arcsin((above / distance[level]).clip(-0.9, 0.9))
        wanted = np.radians(rng.normal(*config.level_pitch, len(level)))
        # The body stays in the picture: a camera that would lose it is tilted.
        offset[level, 1] = np.clip(np.tan(wanted + elevation[level]), -edge[level], edge[level])
        roll[level] = config.level_roll_sd * rng.standard_normal(len(level))
    pitch = np.clip(-elevation + np.arctan(offset[:, 1]), *np.radians(config.pitch))

    towards = _heading(azimuth, -elevation)
    place = middle - distance[:, None] * towards
    turn = _camera_axes(yaw, pitch, np.radians(roll))
    seen = (joints - place[:, None, None]).astype(np.float32) @ turn[:, None].swapaxes(-1, -2)
    nearest = seen[..., 2].min((1, 2))
    seen[..., 2] += np.maximum(_NEAREST_JOINT - nearest, 0.0)[:, None, None]
    return View(seen, size, focal, turn[:, :, 2])


def _framing(
    rng: np.random.Generator,
    joints: Float,
    middle: Float,
    half: Float,
    close: NDArray[np.bool_],
    config: CameraConfig,
) -> tuple[NDArray[Any], Float, NDArray[Any]]:
    """Distance (B,) in metres, place in the picture (B, 2) and how far up or down it may be (B,).

    Places are in tangent units, as is `half` (B, 2), the picture's half size. Unless the window
    may be cut, the whole body stays inside.
    """
    batch = len(joints)
    apart = joints - middle[:, None, None]
    reach = np.stack(
        [np.linalg.norm(apart[..., :2], axis=-1).max((1, 2)), np.abs(apart[..., 2]).max((1, 2))], -1
    )
    fitting = 1.1 * (reach / half).max(-1)
    cut = rng.random(batch) < config.cut
    nearest = np.where(cut, 0.6, rng.uniform(1.0, 1.3, batch)) * fitting
    room = np.maximum(rng.uniform(*config.distance, batch), nearest)
    distance = np.where(close, rng.uniform(*config.close_distance, batch), room)
    limit = np.array(config.off_centre)
    slack = np.clip(1.0 - 1.1 * reach / (distance[:, None] * half), 0.0, limit)
    slack = np.where(cut[:, None], limit, slack)
    # In front of a webcam the head is in the upper half of the picture.
    webcam = np.stack([rng.normal(0.0, 0.2, batch), rng.normal(-0.3, 0.2, batch)], -1)
    offset = np.where(close[:, None], webcam, slack * rng.uniform(-1.0, 1.0, (batch, 2)))
    return distance, (offset * half).astype(np.float32), slack[:, 1] * half[:, 1]


def _azimuth(rng: np.random.Generator, joints: Float, close: NDArray[np.bool_]) -> Float:
    """(B,) radians: where the camera looks; anywhere, but a webcam mostly at the face."""
    right = (joints[:, :, R_HIP] - joints[:, :, L_HIP]).mean(1)
    facing = np.arctan2(right[:, 0], -right[:, 1])
    at_face = facing + np.pi + np.radians(35.0) * rng.standard_normal(len(joints))
    anywhere = rng.uniform(-np.pi, np.pi, len(joints))
    return np.asarray(np.where(close & (rng.random(len(joints)) < 0.75), at_face, anywhere))


def _heading(yaw: Float, pitch: Float) -> Float:
    flat = np.cos(pitch)
    return np.stack([flat * np.cos(yaw), flat * np.sin(yaw), np.sin(pitch)], -1)


def _camera_axes(yaw: Float, pitch: Float, roll: Float) -> Float:
    """(B, 3, 3) world to camera frame: rows right, down, forward."""
    forward = _heading(yaw, pitch)
    right = np.stack([np.sin(yaw), -np.cos(yaw), np.zeros_like(yaw)], -1)
    down = np.cross(forward, right)
    c, s = np.cos(roll)[:, None], np.sin(roll)[:, None]
    rows = [c * right + s * down, c * down - s * right, forward]
    return np.asarray(np.stack(rows, 1), np.float32)
