"""From pixels to network units and back: one file that training and live use share.

Two kinds of input, named in a checkpoint's metadata:

* ``rays`` (our weights): pixels become view rays of an assumed pinhole camera; the rays
  are turned so that the window's mean direction to the middle of the shoulders is the
  optical axis (a virtual camera that looks at the person) and divided by the window's 2D
  size. The network answers in the virtual camera's axes, in body heights;
  `RayWindow.to_camera` turns that back.
* ``image`` (official weights): x/W*2-1, y/W*2-H/W over the whole image, two channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from posemamba.skeleton import HIP, L_SHOULDER, LIMB_JOINTS, NOSE, R_SHOULDER

Float = NDArray[np.float32]

ASSUMED_FOV_DEG: Final = 60.0
"""Field of view across the longer side when nothing better is known."""
RAY_CHANNELS: Final = 4
"""x, y, confidence, log of the window's size."""
_SIZE_JOINTS: Final = (*LIMB_JOINTS, NOSE)
_TYPICAL_SIZE: Final = 0.11
"""2D size (tangent units) of a standing person about 4 m away; centres the log-size channel."""
_MIN_DEPTH: Final = 0.1


def focal_pixels(image_size: NDArray[Any] | tuple[int, int], fov_deg: float) -> Float:
    """Focal length in pixels of a pinhole with `fov_deg` across the longer side.

    Args:
        image_size: (..., 2) W, H.

    Returns:
        (...,) focal length.
    """
    size = np.asarray(image_size, np.float32)
    return np.asarray(size.max(-1) / (2.0 * np.tan(np.radians(fov_deg) / 2.0)), np.float32)


@dataclass(frozen=True, slots=True)
class RayWindow:
    """Normalised input of B windows and the turn that undoes it."""

    inputs: Float
    """(B, T, 17, 4): x, y, confidence, log-size."""
    rotation: Float
    """(B, 3, 3): camera frame to virtual camera frame, v = R @ c."""

    def to_camera(self, joints: Float) -> Float:
        """(B, T, 17, 3) virtual-camera axes to camera axes."""
        return np.asarray(joints @ self.rotation[:, None], np.float32)

    def to_virtual(self, joints: Float) -> Float:
        """(B, T, 17, 3) camera axes to virtual-camera axes."""
        return np.asarray(joints @ self.rotation[:, None].transpose(0, 1, 3, 2), np.float32)


def ray_window(
    keypoints: Float,
    scores: Float,
    image_size: NDArray[Any] | tuple[int, int],
    fov_deg: float = ASSUMED_FOV_DEG,
) -> RayWindow:
    """Normalise B windows of keypoints to view rays.

    Args:
        keypoints: (B, T, 17, 2) pixels.
        scores: (B, T, 17) confidence, 0 to 1.
        image_size: (2,) or (B, 2) W, H in pixels.
        fov_deg: assumed field of view across the longer side.
    """
    size = np.broadcast_to(np.asarray(image_size, np.float32), (len(keypoints), 2))
    focal = focal_pixels(size, fov_deg)[:, None, None, None]
    xy = (keypoints - 0.5 * size[:, None, None, :]) / focal
    rays = np.concatenate([xy, np.ones_like(xy[..., :1])], -1)

    shoulders = 0.5 * (rays[:, :, L_SHOULDER] + rays[:, :, R_SHOULDER])
    shoulders /= np.linalg.norm(shoulders, axis=-1, keepdims=True)
    weight = np.minimum(scores[:, :, L_SHOULDER], scores[:, :, R_SHOULDER]) + 1e-3
    axis = (shoulders * weight[..., None]).sum(1)
    rotation = _look_along(axis / np.linalg.norm(axis, axis=-1, keepdims=True))

    turned = rays @ rotation[:, None].transpose(0, 1, 3, 2)
    flat = turned[..., :2] / np.maximum(turned[..., 2:], _MIN_DEPTH)

    joints = flat[:, :, _SIZE_JOINTS]
    weight = scores[:, :, _SIZE_JOINTS, None] + 1e-3
    centre = (joints * weight).sum(2, keepdims=True) / weight.sum(2, keepdims=True)
    spread = (((joints - centre) ** 2).sum(-1, keepdims=True) * weight).sum((1, 2, 3))
    extent = np.sqrt(spread / weight.sum((1, 2, 3)))[:, None, None, None] + 1e-3

    inputs = np.empty((*keypoints.shape[:3], RAY_CHANNELS), np.float32)
    inputs[..., :2] = flat / extent
    inputs[..., 2] = scores
    inputs[..., 3:] = np.log(extent / _TYPICAL_SIZE)
    return RayWindow(inputs, rotation)


def _look_along(axis: Float) -> Float:
    """(B, 3) unit directions to (B, 3, 3) roll-free rotations that make them the z axis."""
    down = np.array([0.0, 1.0, 0.0], np.float32)
    x = np.cross(down, axis)
    x /= np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-6)
    y = np.cross(axis, x)
    return np.asarray(np.stack([x, y, axis], 1), np.float32)


def image_window(keypoints: Float, image_size: tuple[int, int]) -> Float:
    """Whole-image normalisation of the official models: (..., 2) pixels to [-1, 1] across W."""
    w, h = image_size
    return np.asarray(keypoints * (2.0 / w) - np.array([1.0, h / w], np.float32), np.float32)


def root_relative(joints: Float) -> Float:
    """(..., 17, 3) with Hip moved to the origin."""
    return np.asarray(joints - joints[..., HIP : HIP + 1, :], np.float32)
