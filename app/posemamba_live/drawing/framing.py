"""Where the virtual camera stands, so that everybody's whole body is in the picture.

The camera only ever moves, it never turns. In its own axes (u to the right, v down, d forward;
metres) a point is seen at focal * (u - eye_u) / (d - eye_d), so that "the point is in the
picture" is linear in the eye's place, with constants `l` and `r` that the picture's size and the
focal length give:

    u - r d <= eye_u - r eye_d   and   eye_u + l eye_d <= u + l d

Of any number of points only the largest left side of the first and the smallest right side of
the second matter, and the same for v: four bounds. Whatever lies beyond all of them for a while
around each moment, smoothed over no longer a while, still keeps every one: that is how a
recording's view is planned (`planned`). While poses come, the view follows them (`Following`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Protocol

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from posemamba.skeleton import HIP, NUM_JOINTS
from posemamba_live.types import Pose3D

Array = NDArray[np.float64]

_PAD: Final = 0.14
"""Metres around each joint that belong to the body: the head, soles below ankles, hands."""
_ROOM: Final = 0.62
"""Metres to either side of a hip that are in the picture even while the arms hang."""
_STATURE: Final = 1.75
"""Metres above the floor that are in the picture even while somebody crouches: constant
zoom is calmer than a large figure."""
START: Final = np.array([0.0, 4.0])
"""World metres, x and y: where people are expected before anybody came."""
_ANCHOR_S: Final = 0.5
"""Standard deviation of the smoothing of the way that a planned view goes."""
_AHEAD_S: Final = 0.6
"""Seconds before and after a moment for which a planned view keeps room."""
_FOLLOW_S: Final = 0.3
"""Time constant with which a view that follows goes after the people."""
_WIDEN_S: Final = 0.15
_NARROW_S: Final = 0.8
"""And with which it zooms out and in."""
_CUT_S: Final = 1.0
"""Seconds without anybody after which it begins anew instead of gliding there."""
_AT_ONCE: Final = 4096
"""Poses that a view is planned for in one go."""


class Framing(Protocol):
    """Says where the eye is."""

    def eye(self, bodies: Sequence[Array], timestamp: float) -> Array:
        """(3,) metres in the view's axes.

        Args:
            bodies: (17 or more, 3) metres, world frame, of everybody in this picture.
            timestamp: seconds.
        """
        ...


@dataclass(frozen=True, slots=True)
class Lens:
    """What a view shows, whatever its place."""

    axes: Array
    """(3, 3) world to the view's own axes: rows are right, down, forward."""
    comfort: Array
    """(2, 2) tangents that people are kept within: left and right, up and down."""
    limit: Array
    """(2, 2) tangents that they never leave."""

    def bounds(self, points: Array, tangents: Array) -> Array:
        """(N, 2, 2) bounds of N sets of K points.

        Args:
            points: (N, K, 3) metres in the view's axes.

        Returns:
            For both ways (right, down): what the eye's place in it is at least, and minus what
            it is at most, once the eye's own depth is accounted for.
        """
        flat, depth = points[..., :2], points[..., 2:]
        least = (flat + _PAD - tangents[:, 1] * depth).max(-2)
        most = (flat - _PAD + tangents[:, 0] * depth).min(-2)
        return np.stack([least, -most], -1)

    def eye(self, bounds: Array, tangents: Array) -> Array:
        """(N, 3) the nearest place that keeps bounds (N, 2, 2)."""
        depth = -(bounds.sum(-1) / tangents.sum(-1)).max(-1)
        least = bounds[..., 0] + tangents[:, 1] * depth[:, None]
        most = -bounds[..., 1] - tangents[:, 0] * depth[:, None]
        return np.concatenate([0.5 * (least + most), depth[:, None]], -1)

    def kept(self, eye: Array, bounds: Array) -> Array:
        """(3,) the eye, moved as little as it takes to keep `limit` bounds (2, 2)."""
        tangents = self.limit
        depth = min(float(eye[2]), float(-(bounds.sum(-1) / tangents.sum(-1)).max()))
        least = bounds[:, 0] + tangents[:, 1] * depth
        most = -bounds[:, 1] - tangents[:, 0] * depth
        return np.array([*np.clip(eye[:2], least, np.maximum(least, most)), depth])

    def points(self, joints: Array) -> Array:
        """(N, 21, 3) in the view's axes: the joints (N, 17, 3), and the room that is kept."""
        standing = np.repeat(joints[:, [HIP]], 2, axis=1)
        standing[..., 2] = _PAD, _STATURE - _PAD
        upright = standing @ self.axes.T
        side = np.array([_ROOM - _PAD, 0.0, 0.0])
        middle = upright.mean(1, keepdims=True)
        return np.concatenate([joints @ self.axes.T, upright, middle - side, middle + side], 1)

    def anchor(self, place: Array) -> Array:
        """(..., 3) in the view's axes: the middle of a person who stands at (..., 2) metres."""
        return np.asarray(place @ self.axes[:, :2].T + 0.5 * _STATURE * self.axes[:, 2], np.float64)


class Following:
    """A view for poses as they come: it glides after the people, and zooms out before anybody
    leaves the picture."""

    def __init__(self, lens: Lens) -> None:
        self._lens = lens
        nobody = np.zeros((1, NUM_JOINTS, 3))
        nobody[..., :2] = START
        nobody[..., 2] = 0.5 * _STATURE
        self._anchor = lens.anchor(START)
        self._bounds = lens.bounds(lens.points(nobody) - self._anchor, lens.comfort)[0]
        self._eye: Array = self._anchor + lens.eye(self._bounds[None], lens.comfort)[0]
        self._time = -math.inf

    def eye(self, bodies: Sequence[Array], timestamp: float) -> Array:
        joints = [body[:NUM_JOINTS] for body in bodies if np.isfinite(body).all()]
        if not joints:
            return self._eye
        elapsed = max(timestamp - self._time, 0.0)
        self._time = timestamp
        lens, everybody = self._lens, np.stack(joints)
        hips = everybody[:, HIP, :2]
        goal = lens.anchor(0.5 * (hips.min(0) + hips.max(0)))
        begins = elapsed > _CUT_S
        self._anchor = self._anchor + (1.0 if begins else _fraction(elapsed, _FOLLOW_S)) * (
            goal - self._anchor
        )
        points = lens.points(everybody).reshape(1, -1, 3)
        wanted = lens.bounds(points - self._anchor, lens.comfort)[0]
        if begins:
            self._bounds = wanted
        else:
            wider = wanted > self._bounds
            fraction = np.where(wider, _fraction(elapsed, _WIDEN_S), _fraction(elapsed, _NARROW_S))
            self._bounds = self._bounds + fraction * (wanted - self._bounds)
        eye = self._anchor + lens.eye(self._bounds[None], lens.comfort)[0]
        self._eye = lens.kept(eye, lens.bounds(points, lens.limit)[0])
        return self._eye


@dataclass(frozen=True, slots=True)
class Planned:
    """A view for a take that is known: see `planned`."""

    times: Array
    """(T,) seconds, increasing: when there is somebody."""
    eyes: Array
    """(T, 3)"""

    def eye(self, bodies: Sequence[Array], timestamp: float) -> Array:
        after = int(np.searchsorted(self.times, timestamp))
        before = max(after - 1, 0)
        after = min(after, len(self.times) - 1)
        gap = self.times[after] - self.times[before]
        fraction = (timestamp - self.times[before]) / gap if gap > 0.0 else 1.0
        if gap > _CUT_S:  # nobody is there: until the middle of the gap the view stays
            fraction = round(fraction)
        fraction = min(max(fraction, 0.0), 1.0)
        return np.asarray((1.0 - fraction) * self.eyes[before] + fraction * self.eyes[after])


def planned(take: Sequence[Pose3D], lens: Lens) -> Framing:
    """The view of a whole take: smooth, with nobody ever cut, and as near as that allows."""
    poses = [pose for pose in take if np.isfinite(pose.joints_world).all()]
    if not poses:
        return Following(lens)
    poses.sort(key=lambda pose: pose.pose2d.timestamp)
    times, first = np.unique([pose.pose2d.timestamp for pose in poses], return_index=True)
    hips = np.array([pose.joints_world[HIP, :2] for pose in poses], np.float64)
    middle = 0.5 * (np.minimum.reduceat(hips, first) + np.maximum.reduceat(hips, first))
    anchors = lens.anchor(middle)
    counts = np.diff([*first, len(poses)])
    step = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    cuts = [0, *(np.flatnonzero(np.diff(times) > _CUT_S) + 1).tolist(), len(times)]
    for start, end in pairwise(cuts):
        anchors[start:end] = _weighted(anchors[start:end], _bell(_ANCHOR_S / step))
    rows = np.repeat(anchors, counts, axis=0)
    wanted = np.empty((len(poses), 2, 2))
    for at in range(0, len(poses), _AT_ONCE):  # an hour of film in one go would take gigabytes
        part = slice(at, at + _AT_ONCE)
        joints = np.array([pose.joints_world for pose in poses[part]], np.float64)
        wanted[part] = lens.bounds(lens.points(joints) - rows[part, None], lens.comfort)
    bounds = np.maximum.reduceat(wanted, first)
    half = max(round(0.5 * _AHEAD_S / step), 0)
    for start, end in pairwise(cuts):
        kept = np.moveaxis(_around(bounds[start:end], 2 * half), -1, 0).max(0)  # at once, not each
        for _ in range(2):
            kept = _weighted(kept, np.full(2 * half + 1, 1.0 / (2 * half + 1)))
        bounds[start:end] = kept
    return Planned(times, anchors + lens.eye(bounds, lens.comfort))


# SciPy has these as well; only to import it takes as long as drawing a second of film.


def _around(values: Array, reach: int) -> Array:
    """(N, ..., 2 reach + 1) of (N, ...): each with those before and after it; the ends stay."""
    padded = np.pad(values, [(reach, reach)] + [(0, 0)] * (values.ndim - 1), mode="edge")
    return sliding_window_view(padded, 2 * reach + 1, axis=0)


def _weighted(values: Array, weights: Array) -> Array:
    """(N, ...) means over those around each, by weights (an odd number of them)."""
    return np.asarray(_around(values, len(weights) // 2) @ weights)


def _bell(deviation: float) -> Array:
    """Gaussian weights, as far as four standard deviations."""
    reach = int(4.0 * deviation + 0.5)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    return np.asarray(weights / weights.sum())


def _fraction(elapsed: float, time_constant: float) -> float:
    return 1.0 - math.exp(-elapsed / time_constant)
