"""Pinhole geometry: where a body of known size stands, seen by a camera of known lens.

Camera frame: x right, y down, z forward, metres. Rays are points on the plane z = 1, so
that a joint at (X, Y, Z) is seen at (X/Z, Y/Z) in tangent units, whatever the lens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from posemamba.normalize import focal_pixels

Array = NDArray[np.float64]

MIN_DEPTH: Final = 0.3
"""Metres; nobody is filmed nearer than this, and dividing by less only amplifies noise."""
_REFINEMENTS: Final = 3
_ROBUST_SCALE: Final = 0.02
"""Reprojection error, as a fraction of the person's size in the picture, at which a joint
counts half: about twice a detector's usual error."""


@dataclass(frozen=True, slots=True)
class Pinhole:
    """A camera without distortion whose principal point is the middle of the picture."""

    focal: float
    """Pixels."""
    centre: tuple[float, float]
    """Pixels."""

    @classmethod
    def from_fov(cls, image_size: tuple[int, int], fov_deg: float) -> Pinhole:
        """Camera with `fov_deg` degrees across the longer side of a (W, H) picture."""
        w, h = image_size
        return cls(float(focal_pixels(image_size, fov_deg)), (0.5 * w, 0.5 * h))

    def rays(self, pixels: NDArray[np.floating[Any]]) -> Array:
        """(..., 2) pixels to (..., 2) tangent units."""
        return (np.asarray(pixels, np.float64) - self.centre) / self.focal

    def project(self, points: NDArray[np.floating[Any]]) -> Array:
        """(..., 3) camera-frame metres, z > 0, to (..., 2) pixels."""
        p = np.asarray(points, np.float64)
        return np.asarray(self.focal * p[..., :2] / p[..., 2:] + self.centre, np.float64)


def fit_translation(joints: Array, rays: Array, weights: Array) -> Array:
    """Translations that bring root-relative joints onto their view rays.

    Solves (X + tx) / (Z + tz) = rx (and the same for y) for t by weighted linear least
    squares, divides each row by its depth so that errors count in the picture rather than
    in space, and lowers the weight of joints that do not fit.

    Args:
        joints: (N, J, 3) metres, root-relative, camera axes.
        rays: (N, J, 2) tangent units.
        weights: (N, J), any positive unit.

    Returns:
        (N, 3) metres, z at least MIN_DEPTH.
    """
    x, y, z = np.moveaxis(joints, -1, 0)
    rx, ry = np.moveaxis(rays, -1, 0)
    extent = np.maximum(np.sqrt(np.var(rays, axis=1).sum(-1)), 1e-6)[:, None]
    bx, by = rx * z - x, ry * z - y
    w = weights / np.maximum(weights.sum(1, keepdims=True), 1e-12)
    t = np.zeros((len(joints), 3))
    for _ in range(1 + _REFINEMENTS):
        sw, sx, sy = w.sum(1), (w * rx).sum(1), (w * ry).sum(1)
        # The normal matrix is [[sw, 0, -sx], [0, sw, -sy], [-sx, -sy, sr]]: eliminate tx, ty.
        sr = (w * (rx**2 + ry**2)).sum(1)
        cx, cy = (w * bx).sum(1), (w * by).sum(1)
        cz = -(w * (rx * bx + ry * by)).sum(1)
        t[:, 2] = (cz + (sx * cx + sy * cy) / sw) / np.maximum(sr - (sx**2 + sy**2) / sw, 1e-12)
        t[:, 2] = np.maximum(t[:, 2], MIN_DEPTH)
        t[:, 0] = (cx + sx * t[:, 2]) / sw
        t[:, 1] = (cy + sy * t[:, 2]) / sw
        depth = np.maximum(z + t[:, 2:], MIN_DEPTH)
        error = np.hypot((x + t[:, :1]) / depth - rx, (y + t[:, 1:2]) / depth - ry)
        w = weights / (depth**2 * (1.0 + (error / (_ROBUST_SCALE * 3.0 * extent)) ** 2))
        w /= np.maximum(w.sum(1, keepdims=True), 1e-12)
    return t


def fit_lateral(joints: Array, rays: Array, weights: Array, depth: Array) -> Array:
    """Like `fit_translation` where the root's depth is already known.

    Args:
        joints: (N, J, 3), rays: (N, J, 2), weights: (N, J) as there.
        depth: (N,) metres.

    Returns:
        (N, 3) metres; z is `depth`.
    """
    z = np.maximum(joints[..., 2] + depth[:, None], MIN_DEPTH)
    w = (weights / z**2)[..., None]
    xy = (w * (rays * z[..., None] - joints[..., :2])).sum(1) / np.maximum(w.sum(1), 1e-12)
    return np.concatenate([xy, depth[:, None]], 1)
