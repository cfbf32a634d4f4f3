"""From pixels to network units and back: one file that training and live use share.

Three kinds of input, named in a checkpoint's metadata:

* ``rays`` (our weights): pixels become view rays of an assumed pinhole camera; the rays
  are turned so that the window's mean direction to the middle of the shoulders is the
  optical axis (a virtual camera that looks at the person) and divided by the window's 2D
  size. How far it was turned down or up is an input as well: real cameras mostly stand level,
  so that this tells how steeply a person is seen, which the pose alone hardly does. The
  network answers in the virtual camera's axes, in body heights; `RayWindow.to_camera` turns
  that back.
* ``stream`` (our causal weights, and those that see a film as a whole): the same, but direction
  and size are running means over the frames so far (`RayStream`), so that every frame has its
  own virtual camera.
* ``image`` (official weights): x/W*2-1, y/W*2-H/W over the whole image, two channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from posemamba.skeleton import HIP, L_SHOULDER, LIMB_JOINTS, MIRROR, NOSE, R_SHOULDER

Float = NDArray[np.float32]

ASSUMED_FOV_DEG: Final = 60.0
"""Field of view across the longer side when nothing better is known."""
RAY_CHANNELS: Final = 6
"""x, y, confidence, log of the window's size, tilt of the virtual camera, peak. A network built
for fewer takes the first ones."""
RAY_INPUTS: Final = (4, 5, 6)
"""Numbers of channels that networks are built for: the tilt came later, the peak last."""
STREAM_MEMORY_S: Final = 1.0
"""How long `RayStream` remembers where and how large the person was."""
_SIZE_JOINTS: Final = (*LIMB_JOINTS, NOSE)
_TYPICAL_SIZE: Final = 0.11
"""2D size (tangent units) of a standing person about 4 m away; centres the log-size channel."""
_TYPICAL_TILT: Final = 0.15
"""Sine of the angle below the real camera's axis; scales the tilt channel."""
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
    """(B, T, 17, 6): x, y, confidence, log-size, tilt, peak."""
    rotation: Float
    """(B, 3, 3): camera frame to virtual camera frame, v = R @ c; (B, T, 3, 3) where every frame
    has its own."""

    def to_camera(self, joints: Float) -> Float:
        """(B, T, 17, 3) virtual-camera axes to camera axes."""
        return np.asarray(joints @ self.turns, np.float32)

    def to_virtual(self, joints: Float) -> Float:
        """(B, T, 17, 3) camera axes to virtual-camera axes."""
        return np.asarray(joints @ self.turns.swapaxes(-1, -2), np.float32)

    @property
    def turns(self) -> Float:
        """(B, 1 or T, 3, 3) the same for each frame."""
        return self.rotation if self.rotation.ndim == 4 else self.rotation[:, None]


def ray_window(
    keypoints: Float,
    scores: Float,
    image_size: NDArray[Any] | tuple[int, int],
    fov_deg: float = ASSUMED_FOV_DEG,
    peaks: Float | None = None,
) -> RayWindow:
    """Normalise B windows of keypoints to view rays.

    Args:
        keypoints: (B, T, 17, 2) pixels.
        scores: (B, T, 17) confidence, 0 to 1.
        image_size: (2,) or (B, 2) W, H in pixels.
        fov_deg: assumed field of view across the longer side.
        peaks: (B, T, 17) how sharply each keypoint was localised, 0 to 1, where the detector
            says so apart from the confidence. A keypoint that was put anywhere has a low peak
            and may be called visible; one that the body hides is the reverse.
    """
    rays = view_rays(keypoints, image_size, fov_deg)
    direction, weight = _shoulders(rays, scores)
    rotation = _look_along((direction * weight).sum(1))
    flat = _project(rays, rotation[:, None])
    spread, weight = _spread(flat, scores)
    extent = _extent(spread.sum(1), weight.sum(1))[:, None]
    return RayWindow(_inputs(flat, scores, peaks, extent, rotation), rotation)


class RayStream:
    """Causal counterpart of `ray_window`: running means instead of a window's.

    The means forget with `STREAM_MEMORY_S`; the first frames weigh as a plain mean.
    """

    def __init__(self, fov_deg: float = ASSUMED_FOV_DEG) -> None:
        self.fov_deg = fov_deg
        self._sums: tuple[Float, Float, Float] | None = None

    def update(
        self,
        keypoints: Float,
        scores: Float,
        image_size: NDArray[Any] | tuple[int, int],
        elapsed: NDArray[Any] | float,
        peaks: Float | None = None,
    ) -> RayWindow:
        """Normalise the next frame of B streams.

        Args:
            keypoints: (B, 17, 2) pixels, scores: (B, 17), image_size: (2,) or (B, 2).
            elapsed: () or (B,) seconds since the frame before (ignored for the first).
            peaks: (B, 17) as for `ray_window`.

        Returns:
            A RayWindow of one frame: inputs (B, 1, 17, 6).
        """
        keypoints, scores = keypoints[:, None], scores[:, None]
        rays = view_rays(keypoints, image_size, self.fov_deg)
        direction, weight = _shoulders(rays, scores)
        keep = np.exp(-np.asarray(elapsed, np.float32) / STREAM_MEMORY_S).reshape(-1, 1)
        axis = (direction * weight)[:, 0]
        if self._sums is not None:
            axis = axis + keep * self._sums[0]
        rotation = _look_along(axis)
        flat = _project(rays, rotation[:, None])
        spread, weight = (part[:, 0] for part in _spread(flat, scores))
        if self._sums is not None:
            spread = spread + keep[:, 0] * self._sums[1]
            weight = weight + keep[:, 0] * self._sums[2]
        self._sums = (axis, spread, weight)
        extent = _extent(spread, weight)[:, None]
        peaks = None if peaks is None else peaks[:, None]
        return RayWindow(_inputs(flat, scores, peaks, extent, rotation), rotation)


def ray_track(
    keypoints: Float,
    scores: Float,
    image_size: NDArray[Any] | tuple[int, int],
    elapsed: NDArray[Any] | float,
    fov_deg: float = ASSUMED_FOV_DEG,
    peaks: Float | None = None,
) -> RayWindow:
    """Normalise B tracks frame by frame, as `RayStream` does.

    Args:
        keypoints, scores, image_size, fov_deg, peaks: as for `ray_window`.
        elapsed: () or (B,) seconds between frames.
    """
    stream = RayStream(fov_deg)
    frames = [
        stream.update(
            keypoints[:, t],
            scores[:, t],
            image_size,
            elapsed,
            None if peaks is None else peaks[:, t],
        )
        for t in range(keypoints.shape[1])
    ]
    inputs = np.concatenate([frame.inputs for frame in frames], 1)
    return RayWindow(inputs, np.stack([frame.rotation for frame in frames], 1))


def view_rays(
    keypoints: Float, image_size: NDArray[Any] | tuple[int, int], fov_deg: float
) -> Float:
    """(B, T, 17, 2) pixels to (B, T, 17, 3) rays (x/z, y/z, 1) in the camera frame."""
    size = np.broadcast_to(np.asarray(image_size, np.float32), (len(keypoints), 2))
    focal = focal_pixels(size, fov_deg)[:, None, None, None]
    xy = (keypoints - 0.5 * size[:, None, None, :]) / focal
    return np.concatenate([xy, np.ones_like(xy[..., :1])], -1)


def _shoulders(rays: Float, scores: Float) -> tuple[Float, Float]:
    """Direction to the middle of the shoulders (B, T, 3) and its weight (B, T, 1)."""
    middle = 0.5 * (rays[:, :, L_SHOULDER] + rays[:, :, R_SHOULDER])
    middle /= np.linalg.norm(middle, axis=-1, keepdims=True)
    weight = np.minimum(scores[:, :, L_SHOULDER], scores[:, :, R_SHOULDER]) + np.float32(1e-3)
    return middle, weight[..., None]


def _project(rays: Float, rotation: Float) -> Float:
    """Rays (B, T, 17, 3) turned by (B, 1 or T, 3, 3), on the virtual image plane."""
    turned = rays @ rotation.swapaxes(-1, -2)
    return np.asarray(turned[..., :2] / np.maximum(turned[..., 2:], _MIN_DEPTH), np.float32)


def _spread(flat: Float, scores: Float) -> tuple[Float, Float]:
    """Weighted squared distances from each frame's centre, summed (B, T), and the weights."""
    joints = flat[:, :, _SIZE_JOINTS]
    weight = scores[:, :, _SIZE_JOINTS, None] + 1e-3
    total = weight.sum((2, 3))
    centre = (joints * weight).sum(2) / total[..., None]
    squares = ((joints - centre[:, :, None]) ** 2).sum(-1, keepdims=True)
    return (squares * weight).sum((2, 3)), total


def _extent(spread: Float, weight: Float) -> Float:
    """(...,) 2D size: root mean square distance of the joints from their centre."""
    return np.asarray(np.sqrt(spread / weight) + 1e-3, np.float32)


def _inputs(
    flat: Float, scores: Float, peaks: Float | None, extent: Float, rotation: Float
) -> Float:
    """(B, T, 17, 6) from virtual image points, what the detector says of them, (B, 1 or T) sizes
    and (B, 3, 3) turns."""
    inputs = np.empty((*flat.shape[:3], RAY_CHANNELS), np.float32)
    inputs[..., :2] = flat / extent[..., None, None]
    inputs[..., 2] = scores
    inputs[..., 3] = np.log(extent / _TYPICAL_SIZE)[..., None]
    # The virtual axis in the real camera's frame is the turn's last row; y points down.
    inputs[..., 4] = rotation[:, None, 2, 1, None] / _TYPICAL_TILT
    inputs[..., 5] = scores if peaks is None else peaks
    return inputs


def _look_along(axis: Float) -> Float:
    """(B, 3) directions to (B, 3, 3) roll-free rotations that make them the z axis."""
    a, b, c = np.moveaxis(axis / np.linalg.norm(axis, axis=-1, keepdims=True), -1, 0)
    level = np.maximum(np.hypot(a, c), np.float32(1e-6))
    # The cross product of down, (0, 1, 0), and the axis; then of the axis and that.
    x, z = c / level, -a / level
    return np.asarray(
        np.stack([x, np.zeros_like(x), z, b * z, c * x - a * z, -b * x, a, b, c], -1), np.float32
    ).reshape(-1, 3, 3)


def image_window(keypoints: Float, image_size: tuple[int, int]) -> Float:
    """Whole-image normalisation of the official models: (..., 2) pixels to [-1, 1] across W."""
    w, h = image_size
    return np.asarray(keypoints * (2.0 / w) - np.array([1.0, h / w], np.float32), np.float32)


def root_relative(joints: Float) -> Float:
    """(..., 17, 3) with Hip moved to the origin."""
    return np.asarray(joints - joints[..., HIP : HIP + 1, :], np.float32)


def mirror_image(keypoints: Float, scores: Float, width: NDArray[Any] | int) -> tuple[Float, Float]:
    """Keypoints and scores of the mirrored people in the mirrored pictures.

    Args:
        keypoints: (B, T, 17, 2) pixels, scores: (B, T, 17).
        width: of all pictures in pixels, or (B, 1, 1), of each one's.
    """
    order = list(MIRROR)
    flipped = keypoints[:, :, order].copy()
    flipped[..., 0] = width - flipped[..., 0]
    return flipped, scores[:, :, order]


def mirrored_inputs(inputs: Float) -> Float:
    """What `ray_window` and `RayStream` make of the mirrored picture.

    The virtual camera has no roll, so that it is mirrored with the person: its tilt and the
    size are what they were.

    Args:
        inputs: (..., 17, C) x, y and what else there is.
    """
    flipped = np.ascontiguousarray(inputs[..., list(MIRROR), :])
    flipped[..., 0] *= -1.0
    return flipped


def reflected(joints: Float) -> Float:
    """Poses (..., 17, 3) of mirrored people as poses of the people themselves.

    Rows beyond the 17 (which way is up) stay where they are, mirrored.
    """
    order = [*MIRROR, *range(len(MIRROR), joints.shape[-2])]
    return np.asarray(joints[..., order, :] * np.array([-1.0, 1.0, 1.0], np.float32))
