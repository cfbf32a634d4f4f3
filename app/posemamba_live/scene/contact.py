"""Feet that stand: where a foot is low and slow, it neither slides nor bounces.

What is measured of a person's place wavers by centimetres from frame to frame; legs know better
how far the hip moves while a foot stands. So the hip's path is filtered with both (`PathFilter`),
and what is left is taken up by the legs, as far as the keypoints allow (`planted`). Feet that
nobody sees are no exception: where they are is a guess, and one that stands is the better one.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from posemamba.skeleton import L_ANKLE, L_HIP, L_KNEE, R_ANKLE, R_HIP, R_KNEE
from posemamba_live.scene.ground import ANKLE_HEIGHT, above_floor
from posemamba_live.scene.smoothing import MAX_GAP
from posemamba_live.types import Ground

Array = NDArray[np.float64]

ANKLES: Final = (R_ANKLE, L_ANKLE)
LEGS: Final = ((R_HIP, R_KNEE, R_ANKLE), (L_HIP, L_KNEE, L_ANKLE))
_SLOW: Final = 0.5
"""Metres a second of an ankle at which it counts half as standing; in a step it has 2 to 4."""
_SLOW_LIVE: Final = 0.8
"""The same live, where speeds hold more of what a place wavers by."""
_LOW: Final = 0.10
"""Metres above a standing foot's ankle at which it counts half: where the heel leaves the floor,
and where the floor is not quite where it was found."""
_SPEED_S: Final = 0.07
"""Seconds over which speeds are taken (standard deviation of the window)."""
_STANDING_SPEED: Final = 0.04
"""Metres a second: error of the hip's speed as legs tell it from a foot that stands."""
_PRESSED: Final = 5.0
"""Metres a second by which it goes astray in depth where the floor seems to rise by as much as the
distance: then depth is pressed together, and legs go farther than the hip."""
_LATERAL: Final = 0.003
_DISTANCE: Final = 0.03
"""Errors of the hip's place, sideways and in depth, as shares of its distance."""
_FLOOR_ERROR: Final = 0.02
"""Metres, of a standing ankle's height."""
_ELSEWHERE: Final = 0.12
"""Metres from this floor at which a foot hardly stands on it."""
_CORRELATED_S: Final = 0.2
"""Seconds over which these errors stay alike."""
_ACCELERATION: Final = 3.0
"""Spectral density, m^2/s^3, of the hip's speed: walking, turning, stopping."""
_MAX_SPEED: Final = 1.0
"""m/s, one sigma of the speed of somebody just met."""
_REACH: Final = 0.05
"""Metres that a leg may move its ankle by: more would leave the keypoints."""
_FADE_S: Final = 0.12
"""Seconds in which a leg comes back from a foot that stood to its own pose."""
_CREEP_S: Final = 0.4
"""Seconds in which a foot that is held live follows where it is seen."""
_FLOATS: Final = 0.1
"""Metres above the floor from which legs that nobody has seen reach all the way down to it."""
_ATTEMPTS: Final = 3
"""Times that they reach: a leg goes but a part of the way that would straighten it."""
_HELD: Final = 0.5
"""Weight from which a foot is held at one place."""


def standing(feet: Array, times: Array) -> Array:
    """How much each foot stands, 0 to 1.

    Args:
        feet: (N, 2, 3) metres, world frame: the ankles.
        times: (N,) seconds, increasing.

    Returns:
        (N, 2).
    """
    speed = np.linalg.norm(_velocity(feet, times), axis=-1)
    return weights(speed, feet[..., 2])


def weights(speed: Array, height: Array, slow: float = _SLOW) -> Array:
    """The same from metres a second and metres above the floor."""
    above = np.maximum(height - ANKLE_HEIGHT, 0.0)
    return np.asarray(1.0 / ((1.0 + (speed / slow) ** 4) * (1.0 + (above / _LOW) ** 4)))


def _velocity(points: Array, times: Array) -> Array:
    """Slopes of lines fitted over a moving window, (N, ...) per second."""
    out = np.zeros_like(points)
    if len(times) < 2:
        return out
    step = max(float(np.median(np.diff(times))), 1e-3)
    reach = max(1, math.ceil(2.0 * _SPEED_S / step))
    total = np.zeros(len(times))
    trail = (1,) * (points.ndim - 1)
    for lag in range(1, reach + 1):
        dt = times[lag:] - times[:-lag]
        w = np.where(dt <= MAX_GAP, np.exp(-0.5 * (dt / (2.0 * _SPEED_S)) ** 2), 0.0) * dt**2
        slope = (points[lag:] - points[:-lag]) / np.maximum(dt, 1e-6).reshape(-1, *trail)
        for rows in (slice(lag, None), slice(None, -lag)):
            out[rows] += w.reshape(-1, *trail) * slope
            total[rows] += w
    return np.asarray(out / np.maximum(total, 1e-12).reshape(-1, *trail), np.float64)


class PathFilter:
    """Kalman filter of a hip's place and speed, from where it is seen and what its feet do.

    Camera frame, metres and seconds. Starts anew after a gap.
    """

    def __init__(self) -> None:
        self._time = -math.inf
        self.state: Array = np.zeros(6)
        self.covariance: Array = np.eye(6)
        self.predicted_state: Array = np.zeros(6)
        self.predicted_covariance: Array = np.eye(6)
        self.transition: Array = np.zeros((6, 6))
        self._feet: Array = np.zeros((2, 3))

    def __call__(
        self,
        root: Array,
        feet: Array,
        stand: Array,
        time: float,
        ground: Ground,
        slope: float = 0.0,
    ) -> Array:
        """Take one frame.

        Args:
            root: (3,) where the hip is seen.
            feet: (2, 3) the ankles relative to it.
            stand: (2,) how much each of them stands.
            time: seconds.
            ground: what they stand on.
            slope: by which their floor seems to rise with the distance.

        Returns:
            (3,) where it is.
        """
        dt = time - self._time
        before, self._time, self._feet = self._feet, time, feet
        seen = _uncertainty(root, dt)
        if not 0.0 < dt <= MAX_GAP:
            self.state = np.concatenate([root, np.zeros(3)])
            self.covariance = np.zeros((6, 6))
            self.covariance[:3, :3] = seen
            self.covariance[3:, 3:] = _MAX_SPEED**2 * np.eye(3)
            self.predicted_state, self.predicted_covariance = self.state, self.covariance
            self.transition = np.zeros((6, 6))  # nothing of what follows reaches back
            return root
        f = np.eye(6)
        f[[0, 1, 2], [3, 4, 5]] = dt
        p = f @ self.covariance @ f.T + _process(dt)
        x = f @ self.state
        self.predicted_state, self.predicted_covariance, self.transition = x, p, f
        # A foot that stands: the hip's place changes by as much as the ankle's beside it does.
        rate = 1.0 / dt
        pressed = _along(root) * (_PRESSED * slope) ** 2
        for foot in range(2):
            if stand[foot] > 0.05:
                change = -(feet[foot] - before[foot])
                noise = (_STANDING_SPEED / stand[foot]) ** 2 / rate
                uncertain = noise * rate * np.eye(3) + pressed
                x, p = _corrected(x, p, _SPEED, change * rate, uncertain)
        x, p = _corrected(x, p, _PLACE, root, seen)
        up = np.concatenate([ground.up, np.zeros(3)])[None]
        alike = max(1.0, _CORRELATED_S / dt)
        for foot in range(2):
            if stand[foot] > 0.05:
                level = ANKLE_HEIGHT - ground.height - feet[foot] @ ground.up
                # Who is on stairs, or on a roof, is not drawn to this floor.
                off = float(level - up[0] @ x) / _ELSEWHERE
                noise = (_FLOOR_ERROR / stand[foot] * (1.0 + off**2) ** 2) ** 2 * alike
                x, p = _corrected(x, p, up, np.array([level]), np.array([[noise]]))
        self.state, self.covariance = x, p
        return np.array(x[:3])


_PLACE: Final = np.eye(3, 6)
_SPEED: Final = np.eye(3, 6, 3)


def _process(dt: float) -> Array:
    q = np.kron(np.array([[dt**3 / 3.0, dt**2 / 2.0], [dt**2 / 2.0, dt]]), np.eye(3))
    return _ACCELERATION * q


def _corrected(x: Array, p: Array, h: Array, measured: Array, noise: Array) -> tuple[Array, Array]:
    """State and covariance after a measurement of one or three numbers."""
    gain = p @ h.T @ _inverse(h @ p @ h.T + noise)
    # Joseph's form: rounding leaves the covariance symmetric and positive, which the way back
    # through a recording needs.
    rest = np.eye(len(x)) - gain @ h
    return x + gain @ (measured - h @ x), rest @ p @ rest.T + gain @ noise @ gain.T


def _inverse(matrix: Array) -> Array:
    """Of a symmetric matrix of one or three rows, by its cofactors.

    Live, LAPACK's threads cost milliseconds a pose where the window and the networks fill the
    cores.
    """
    if len(matrix) == 1:
        return np.asarray(1.0 / matrix, np.float64)
    (a, b, c), (_, d, e), (_, _, f) = matrix.tolist()
    aa, bb, cc = d * f - e * e, c * e - b * f, b * e - c * d
    inverse = np.array(
        [[aa, bb, cc], [bb, a * f - c * c, b * c - a * e], [cc, b * c - a * e, a * d - b * b]]
    )
    return np.asarray(inverse / (a * aa + b * bb + c * cc), np.float64)


def _uncertainty(root: Array, dt: float) -> Array:
    """(3, 3) of a place that was seen: small across the view ray, large along it."""
    distance, along = float(np.linalg.norm(root)), _along(root)
    each = (_LATERAL**2 * (np.eye(3) - along) + _DISTANCE**2 * along) * distance**2
    return np.asarray(each * max(1.0, _CORRELATED_S / dt if 0.0 < dt <= MAX_GAP else 1.0))


def _along(root: Array) -> Array:
    """(3, 3) projection onto the view ray."""
    ray = root / max(float(np.linalg.norm(root)), 1e-6)
    return np.outer(ray, ray)


def carried(
    root: Array,
    feet: Array,
    stand: Array,
    times: Array,
    grounds: Sequence[Ground],
    slope: float = 0.0,
) -> Array:
    """The path of a whole recording: `PathFilter` forwards and back, without lag.

    Args:
        root: (N, 3) metres, camera frame. feet: (N, 2, 3) the ankles relative to it.
        stand: (N, 2), times: (N,) seconds, increasing.
        grounds: N, what they stand on.
        slope: by which their floor seems to rise with the distance.

    Returns:
        (N, 3) metres.
    """
    kalman = PathFilter()
    steps = []
    for i, time in enumerate(times):
        kalman(root[i], feet[i], stand[i], float(time), grounds[i], slope)
        steps.append(
            (kalman.state, kalman.covariance, kalman.predicted_state,
             kalman.predicted_covariance, kalman.transition)
        )  # fmt: skip
    out = np.empty_like(root)
    if not steps:
        return out
    state = steps[-1][0]
    out[-1] = state[:3]
    for i in range(len(steps) - 2, -1, -1):
        x, p, *_ = steps[i]
        _, _, ahead, uncertain, f = steps[i + 1]
        state = x + p @ f.T @ np.linalg.solve(uncertain, state - ahead)
        out[i] = state[:3]
    return out


def planted(joints: Array, root: Array, ground: Ground, stand: Array, times: Array) -> Array:
    """Poses whose legs keep a standing foot where it stands.

    Args:
        joints: (N, 17, 3) metres, camera axes, relative to Hip; root: (N, 3) camera frame.
        ground: what is level.
        stand: (N, 2), times: (N,) seconds, increasing.

    Returns:
        (N, 17, 3): knees and ankles moved, bones as long as before.
    """
    out = joints.copy()
    for foot, (hip, knee, ankle) in enumerate(LEGS):
        world = ground.to_world(joints[:, ankle] + root)
        shift = _held(world, stand[:, foot], times) @ ground.rotation
        out[:, knee], out[:, ankle] = reach(
            joints[:, hip], joints[:, knee], joints[:, ankle], joints[:, ankle] + shift
        )
    return out


def let_down(joints: Array, root: Array, grounds: Sequence[Ground], unseen: float) -> Array:
    """Poses whose legs, which nobody has seen, reach down to the floor.

    Args:
        joints: (N, 17, 3) metres, camera axes, relative to Hip; root: (N, 3) camera frame.
        grounds: N, what they stand on.
        unseen: how sure it is that nobody has seen the feet, 0 to 1.

    Returns:
        (N, 17, 3): knees and ankles moved down, bones as long as before.
    """
    if unseen <= 0.0:
        return joints
    placed = zip(grounds, joints + root[:, None], strict=True)
    world = np.array([ground.to_world(pose) for ground, pose in placed])
    up = np.array([ground.up for ground in grounds])
    floats = np.clip(np.array([above_floor(pose) for pose in world]) / _FLOATS, 0.0, 1.0)
    above = np.maximum(world[:, ANKLES, 2].min(1) - ANKLE_HEIGHT, 0.0)
    target = joints[:, ANKLES] - unseen * (floats * above)[:, None, None] * up[:, None]
    out = joints.copy()
    for foot, (hip, knee, ankle) in enumerate(LEGS):
        for _ in range(_ATTEMPTS):
            out[:, knee], out[:, ankle] = reach(
                out[:, hip], out[:, knee], out[:, ankle], target[:, foot]
            )
    return out


def _held(path: Array, stand: Array, times: Array) -> Array:
    """(N, 3) shifts that bring an ankle's path (world frame) to rest where it stands."""
    total = np.zeros_like(path)
    norm = np.zeros(len(path))
    held = stand > _HELD
    edges = np.flatnonzero(np.diff(np.concatenate([[False], held, [False]]).astype(np.int8)))
    for first, end in zip(edges[::2], edges[1::2], strict=True):
        for a, b in _pieces(first, end, times):
            if b - a < 2:
                continue
            w = stand[a:b, None]
            place = (w * path[a:b]).sum(0) / w.sum()
            shift = limited(place - path[a:b])
            total[a:b] += shift
            norm[a:b] += 1.0
            for rows, edge in ((range(a - 1, -1, -1), a), (range(b, len(path)), b - 1)):
                for i in rows:
                    fade = 1.0 - abs(times[i] - times[edge]) / _FADE_S
                    if fade <= 0.0 or held[i]:
                        break
                    fraction = fade * fade * (3.0 - 2.0 * fade)
                    total[i] += fraction * fraction * shift[edge - a]
                    norm[i] += fraction
    return np.asarray(total / np.maximum(norm, 1.0)[:, None], np.float64)


class Feet:
    """The same for poses as they come: one person's feet, live."""

    def __init__(self) -> None:
        self._path = PathFilter()
        self._past: deque[tuple[float, Array]] = deque()
        """Seconds, and the ankles (2, 3) in the camera frame, of the last moments."""
        self._places: list[Array | None] = [None, None]
        """Where a foot that stands is held, camera frame."""
        self._shifts = np.zeros((2, 3))

    def __call__(
        self, joints: Array, root: Array, time: float, ground: Ground, slope: float = 0.0
    ) -> tuple[Array, Array]:
        """Take one pose.

        Args:
            joints: (17, 3) metres, camera axes, relative to Hip; root: (3,) camera frame.
            time: seconds.
            ground: as now estimated.
            slope: by which the floor seems to rise with the distance.

        Returns:
            Joints and root with feet that stand.
        """
        ankles = joints[list(ANKLES)]
        dt = time - self._past[-1][0] if self._past else math.inf
        if not 0.0 < dt <= MAX_GAP:
            self._past.clear()
            self._places, self._shifts = [None, None], np.zeros((2, 3))
        self._past.append((time, ankles + root))
        while time - self._past[0][0] > 2.0 * _SPEED_S and len(self._past) > 2:
            self._past.popleft()
        stand = self._standing(ground)
        root = self._path(root, ankles, stand, time, ground, slope)
        out = joints.copy()
        for foot, (hip, knee, ankle) in enumerate(LEGS):
            shift = self._shift(foot, joints[ankle] + root, float(stand[foot]), dt)
            out[knee], out[ankle] = reach(
                joints[hip], joints[knee], joints[ankle], joints[ankle] + shift
            )
        return out, root

    def _standing(self, ground: Ground) -> Array:
        if len(self._past) < 2:
            return np.zeros(2)
        times = np.array([time for time, _ in self._past])
        feet = np.array([feet for _, feet in self._past])
        centred = times - times.mean()
        slope = np.tensordot(centred, feet, 1) / (centred**2).sum()
        return weights(np.linalg.norm(slope, axis=-1), ground.to_world(feet[-1])[:, 2], _SLOW_LIVE)

    def _shift(self, foot: int, ankle: Array, stand: float, dt: float) -> Array:
        place = self._places[foot]
        if stand > _HELD:
            if place is None:
                place = ankle + self._shifts[foot]
            place = place + (1.0 - math.exp(-dt / _CREEP_S)) * (ankle - place)
            self._places[foot], self._shifts[foot] = place, limited(place - ankle)
        elif self._shifts[foot].any():
            self._places[foot] = None
            self._shifts[foot] *= math.exp(-dt / (0.5 * _FADE_S))
        return np.array(self._shifts[foot])


def _pieces(first: int, end: int, times: Array) -> list[tuple[int, int]]:
    """A span of rows, cut where nobody was seen for a while."""
    cuts = [first + 1 + int(i) for i in np.flatnonzero(np.diff(times[first:end]) > MAX_GAP)]
    return list(zip([first, *cuts], [*cuts, end], strict=True))


def limited(shift: Array) -> Array:
    """(..., 3) shifts no longer than a leg may be moved by."""
    length = np.linalg.norm(shift, axis=-1, keepdims=True)
    return np.asarray(shift / np.sqrt(1.0 + (length / _REACH) ** 2), np.float64)


def reach(hip: Array, knee: Array, ankle: Array, target: Array) -> tuple[Array, Array]:
    """Knees and ankles (N, 3) of legs that reach for targets, bones as long as before.

    The leg turns about the hip, and its knee bends in the plane in which it was bent. Near its full
    length a leg gets straighter ever more slowly: where it is straight, a centimetre is 20 degrees
    of the knee, which would snap when the target comes back within reach.
    """
    upper = np.linalg.norm(knee - hip, axis=-1, keepdims=True)
    lower = np.linalg.norm(ankle - knee, axis=-1, keepdims=True)
    old, new = ankle - hip, target - hip
    near, far = np.abs(upper - lower) + 1e-6, upper + lower - 1e-6
    own, wanted = (np.linalg.norm(leg, axis=-1, keepdims=True) for leg in (old, new))
    room = np.maximum(far - own, 1e-6)
    longer = own + room * -np.expm1(-np.maximum(wanted - own, 0.0) / room)
    length = np.clip(np.where(wanted > own, longer, wanted), near, far)
    way = new / np.maximum(wanted, 1e-9)
    was = old / np.maximum(own, 1e-9)
    bend = (knee - hip) - ((knee - hip) * was).sum(-1, keepdims=True) * was
    # The bend turns with the leg, by the shortest way.
    aside = (bend * way).sum(-1, keepdims=True)
    bend = bend - aside / np.maximum(1.0 + (was * way).sum(-1, keepdims=True), 1e-6) * (was + way)
    size = np.linalg.norm(bend, axis=-1, keepdims=True)
    along = (upper**2 - lower**2 + length**2) / (2.0 * length)
    across = np.sqrt(np.maximum(upper**2 - along**2, 0.0))
    bend = np.where(size > 1e-9, bend / np.maximum(size, 1e-12), 0.0)
    flat = (size <= 1e-9) & (across > 1e-6)
    moved = hip + along * way + across * bend
    return np.where(flat, knee, moved), np.where(flat, ankle, hip + length * way)
