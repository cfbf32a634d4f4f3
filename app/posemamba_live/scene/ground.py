"""Which way is up, and where is the floor, from the people in the picture and what is behind them.

Unknown: the camera's pitch, roll and height, and the turn about the camera's x axis by which
the lifter has tilted all poses of the take. Evidence is weighed in one robust least-squares
problem:

* people who stand or walk are upright on average, their weight over their feet;
* walls and door frames are upright, where there are any (verticals.py);
* what carries them is on the floor, a foot most of the time, so that the standing feet of
  somebody who walks about lie in one plane; hands, knees, hips and shoulders count too;
* cameras are held level (roll) and look slightly down (pitch). Where people lie, sit or
  show only half of themselves, the first two say little and this one decides;
* the more steeply a camera looks, the less so do lifted poses: the lifter falls back to what it
  has seen most.

Upright people alone cannot tell a steep camera from a tilted pose; feet that move over a floor
can, and so can a pitch that is given.

World frame: Z up, floor at z = 0, origin on the floor straight below the camera, Y along
the camera's horizontal viewing direction, X to its right; metres.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from posemamba.skeleton import (
    HEAD,
    HIP,
    L_ANKLE,
    L_ELBOW,
    L_HIP,
    L_KNEE,
    L_SHOULDER,
    L_WRIST,
    R_ANKLE,
    R_ELBOW,
    R_HIP,
    R_KNEE,
    R_SHOULDER,
    R_WRIST,
    THORAX,
)
from posemamba_live.scene.verticals import Upright
from posemamba_live.types import Ground

Array = NDArray[np.float64]

ANKLE_HEIGHT: Final = 0.085
"""Metres from the floor to the ankle joint of a standing foot, sole included."""
PITCH_PRIOR: Final = (math.radians(-8.0), math.radians(12.0))
ROLL_PRIOR: Final = (0.0, math.radians(4.0))
HEIGHT_PRIOR: Final = (1.3, 2.5)
"""Mean and standard deviation of the camera's pitch, roll (radians) and height (metres)."""
EVIDENCE_SPACING: Final = 0.5
"""Seconds after which two frames count as independent: errors of a lifter are that slow."""
_LEAN: Final = math.radians(18.0)
"""How far a person's body axis has to be off the vertical at one time to count a quarter."""
_VOTE: Final = math.radians(3.0)
"""How far it is off the usual at one time, of people who stand or walk."""
_OTHER_VOTE: Final = 0.025
"""Weight of anybody else's."""
_LEAN_BIAS: Final = (math.radians(2.5), math.radians(2.5))
"""What averaging over time does not remove, pitch and roll."""
_FORWARD: Final = math.radians(2.0)
"""How far the axis from the ankles to the neck leans forward when people stand: their weight is
over the middle of the foot (2.1 degrees in the median of the training motion)."""
_TURN_LEVEL: Final = math.radians(1.5)
_TURN_FRACTION: Final = 0.25
_TURN_SPREAD: Final = math.radians(2.5)
"""Turn that lifted poses lack: for a level camera, more as a fraction of the angle by which the
camera looks down, and its spread. (Best turns of fourteen rendered and demo clips, whole bodies:
2.1 degrees and 0.32 live, 2.7 and 0.26 in films, each within 2 degrees. Of 301 takes of validation
motion, with simulated detections: -0.7 and 0.09, within 3.5.)"""
_FOOT_ERROR: Final = 0.03
"""Metres, of a lifted ankle across the view ray."""
DEPTH_ERROR: Final = 0.04
"""Of a person's distance as judged from size, relative."""
_DEPTH_NOISE: Final = 0.015
"""The part of it that changes from one time to another; what stays moves the whole plane, and
tells nothing else about its slope."""
_LIFTED: Final = 0.06
"""Metres above the floor at which a foot counts a quarter as a standing one."""
_NOT_LEVEL: Final = 0.05
_NOT_LEVEL_SLOPE: Final = 0.1
"""Metres, and more as a fraction of the distance between the two, by which a joint is above the
lowest one when it counts a quarter as a contact too."""
_LEVEL_BIAS: Final = 0.04
_LEVEL_ERROR: Final = 0.10
"""Metres by which two contacts of one pose are not level, all the time and at one time."""
_OTHER_LINES: Final = 4.0
"""Standard deviations by which what the background says is off where it counts a quarter: lines
that are not vertical may meet as well."""
_ITERATIONS: Final = 12
_CERTAIN: Final = math.radians(0.05) ** -2
"""Information, per square radian, of a pitch that is given."""
_CONVERGED: Final = 1e-5
"""Step of pitch, roll (radians) and height (metres) after which nothing changes any more."""
_START_PITCHES: Final = tuple(math.radians(degrees) for degrees in (-8.0, -25.0, -45.0, 12.0))
"""Where the search begins anew: feet that are far off a wrong plane are not heard in it."""
_START_FRACTIONS: Final = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Of the evidence, that whose lowest point lies below a plane with which a search may begin."""

CONTACTS: Final = {
    R_ANKLE: ANKLE_HEIGHT, L_ANKLE: ANKLE_HEIGHT, R_KNEE: 0.07, L_KNEE: 0.07,
    R_WRIST: 0.06, L_WRIST: 0.06, R_ELBOW: 0.05, L_ELBOW: 0.05,
    R_HIP: 0.11, L_HIP: 0.11, R_SHOULDER: 0.10, L_SHOULDER: 0.10, HEAD: 0.05,
}  # fmt: skip
"""Joints that can carry a body, and metres from the floor to their centre when they do."""
_CONTACT_JOINTS: Final = np.array(list(CONTACTS))
_CLEARANCES: Final = np.array(list(CONTACTS.values()))
_IS_FOOT: Final = np.isin(_CONTACT_JOINTS, (R_ANKLE, L_ANKLE))
_NO_FOOT_WEIGHT: Final = 0.5
"""Of a contact other than a foot: people lean on furniture too."""


@dataclass(frozen=True, slots=True)
class GroundEvidence:
    """What K poses say of the ground; rows are poses."""

    axes: Array
    """(K, 3) unit vectors, camera frame: up as the body has it."""
    axis_weights: Array
    """(K,)"""
    offsets: Array
    """(K, C, 3) metres, camera axes: the joints CONTACTS, relative to Hip."""
    roots: Array
    """(K, 3) metres, camera frame."""
    contact_weights: Array
    """(K, C)"""

    @classmethod
    def concatenate(cls, parts: Sequence[GroundEvidence]) -> GroundEvidence:
        return cls(
            np.concatenate([p.axes for p in parts]),
            np.concatenate([p.axis_weights for p in parts]),
            np.concatenate([p.offsets for p in parts]),
            np.concatenate([p.roots for p in parts]),
            np.concatenate([p.contact_weights for p in parts]),
        )

    def scaled(self, factor: float) -> GroundEvidence:
        """The same of people who are larger by a factor, and so farther away."""
        return replace(self, offsets=factor * self.offsets, roots=factor * self.roots)

    def turned(self, angle: float) -> GroundEvidence:
        """The same of poses that are turned about the camera's x axis (radians)."""
        turn = about_x(angle).T
        return replace(self, axes=self.axes @ turn, offsets=self.offsets @ turn)


@dataclass(frozen=True, slots=True)
class Settled:
    """What a fit finds."""

    ground: Ground
    turn: float
    """Radians about the camera's x axis by which lifted poses have to be turned; positive brings
    the head nearer to the camera."""

    def towards(self, other: Settled, fraction: float) -> Settled:
        """What is `fraction` (0 to 1) of the way from this one to `other`."""
        turn = self.turn + fraction * (other.turn - self.turn)
        return Settled(self.ground.towards(other.ground, fraction), turn)


def before_evidence(pitch: float | None = None, upright: Upright | None = None) -> Settled:
    """What is assumed before anybody was seen.

    Args:
        pitch: of the camera, radians, if it is known.
        upright: what the background says of the camera.
    """
    usual = PITCH_PRIOR[0] if upright is None else upright.pitch
    known = usual if pitch is None else pitch
    roll = ROLL_PRIOR[0] if upright is None else upright.roll
    return Settled(Ground(known, roll, HEIGHT_PRIOR[0]), _usual_turn(known))


def _usual_turn(pitch: float) -> float:
    return _TURN_LEVEL - _TURN_FRACTION * pitch


def about_x(angle: float) -> Array:
    """(3, 3) turn of columns about the x axis, radians."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


def gather_evidence(
    joints: Array, root: Array, scores: Array, since: Array | float
) -> GroundEvidence:
    """Evidence of K poses.

    A body with stretched legs under its trunk votes with the axis from ankles to neck. Any
    other votes with its trunk, and has little weight: sitting people lean.

    Args:
        joints: (K, 17, 3) metres, root-relative, camera axes.
        root: (K, 3) metres, camera frame.
        scores: (K, 17) confidence.
        since: (K,) or one number, seconds from the pose before to each; infinity for who has just
            been met.
    """
    fraction = np.minimum(1.0, np.broadcast_to(since, len(joints)) / EVIDENCE_SPACING)
    knees, ankles = joints[:, [R_KNEE, L_KNEE]], joints[:, [R_ANKLE, L_ANKLE]]
    hips = joints[:, [R_HIP, L_HIP]]
    leg = np.linalg.norm(knees - hips, axis=-1) + np.linalg.norm(ankles - knees, axis=-1)
    straight = (np.linalg.norm(ankles - hips, axis=-1) / np.maximum(leg, 1e-6)).max(1) > 0.9
    trunk = _unit(joints[:, THORAX] - joints[:, HIP])
    feet = ankles.mean(1)
    aligned = (trunk * _unit(joints[:, HIP] - feet)).sum(-1) > math.cos(math.radians(35.0))
    legs_seen = scores[:, [R_ANKLE, L_ANKLE, R_KNEE, L_KNEE]].min(1)
    standing = straight & aligned & (legs_seen > 0.3)
    axis = _unit(joints[:, THORAX] - feet)
    right = joints[:, R_HIP] - joints[:, L_HIP] + joints[:, R_SHOULDER] - joints[:, L_SHOULDER]
    upright = _unit(axis - math.tan(_FORWARD) * _unit(np.cross(axis, right)))
    axes = np.where(standing[:, None], upright, trunk)
    axis_weights = np.where(standing, 1.0, _OTHER_VOTE) * (
        0.02 + scores[:, [HIP, THORAX]].min(1) ** 2
    )
    contact_weights = np.where(_IS_FOOT, 1.0, _NO_FOOT_WEIGHT) * (
        0.02 + scores[:, _CONTACT_JOINTS] ** 2
    )
    offsets = joints[:, _CONTACT_JOINTS]
    return GroundEvidence(
        axes, fraction * axis_weights, offsets, root, fraction[:, None] * contact_weights
    )


def fit_ground(
    evidence: GroundEvidence,
    start: Settled | None = None,
    *,
    pitch: float | None = None,
    upright: Upright | None = None,
    turned: float = 0.0,
) -> Settled:
    """Most probable ground and tilt: iteratively re-weighted Gauss-Newton from several starts.

    Args:
        evidence: of one camera, any number of people and frames.
        start: one more place to begin; the answer where there is no evidence.
        pitch: of the camera, radians, if it is known.
        upright: what the background says of the camera.
        turned: radians by which the poses of the evidence have been turned already; what is
            found is the whole turn.
    """
    if not len(evidence.axes):
        return start or before_evidence(pitch, upright)
    evidence = evidence.turned(-turned) if turned else evidence
    places = [(each, 0.0) for each in _START_PITCHES]
    if pitch is not None:
        places = [(pitch, 0.0)]
    elif upright is not None:
        places.append((upright.pitch, upright.roll))
    starts = []
    for each, roll in places:
        turn = _usual_turn(each)
        ground = _standing_on(evidence.turned(turn), Ground(each, roll, 0.0))
        starts.append(Settled(ground, turn))
    fits = [
        _descend(evidence, each, pitch, upright) for each in ([start] if start else []) + starts
    ]
    return min(fits, key=lambda fit: fit[0])[1]


def _standing_on(evidence: GroundEvidence, ground: Ground) -> Ground:
    """The ground of that pitch and roll at the height at which most of the evidence is on it."""
    below, clearance, weights = lowest_contacts(evidence, ground)
    low = below - clearance
    order = np.argsort(low)
    summed = np.cumsum(weights[order])
    places = np.searchsorted(summed, np.array(_START_FRACTIONS) * summed[-1])
    candidates = low[order[np.minimum(places, len(low) - 1)]]
    costs = _contact_loss(low - candidates[:, None]) @ weights
    return Ground(ground.pitch, ground.roll, -float(candidates[costs.argmin()]))


def _contact_loss(error: Array) -> Array:
    """Of metres above the floor: a lifted foot is common, one below the floor is only an error."""
    scale = np.where(error > 0.0, _LIFTED, 3.0 * _LIFTED)
    return np.asarray(scale**2 * _geman_mcclure(error / scale), np.float64)


def _descend(
    evidence: GroundEvidence, start: Settled, pitch: float | None, upright: Upright | None
) -> tuple[float, Settled]:
    """Cost (negative log likelihood, times two, up to a constant) and place of the minimum that is
    reached from a start."""
    x = np.array([start.ground.pitch, start.ground.roll, start.ground.height, start.turn])
    mean = np.array([PITCH_PRIOR[0], ROLL_PRIOR[0], HEIGHT_PRIOR[0], 0.0])
    prior = np.diag([PITCH_PRIOR[1] ** -2, ROLL_PRIOR[1] ** -2, HEIGHT_PRIOR[1] ** -2, 0.0])
    if pitch is not None:
        x[0] = mean[0] = pitch
        prior[0, 0] = _CERTAIN
    fallen_back = np.array([_TURN_FRACTION, 0.0, 0.0, 1.0]) / _TURN_SPREAD
    vote_pitch = np.arcsin(np.clip(evidence.axes[:, 2], -1.0, 1.0))
    vote_roll = np.arctan2(evidence.axes[:, 0], -evidence.axes[:, 1])
    seen_as = np.array([[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 0.0]])
    """Pitch and roll that bodies vote for, of the unknowns."""
    rows = np.arange(len(evidence.axes))
    for iteration in range(_ITERATIONS + 1):
        ground = Ground(*x[:3])
        normal = prior + np.outer(fallen_back, fallen_back)
        unusual = (x[3] - _usual_turn(x[0])) / _TURN_SPREAD
        rhs = prior @ (mean - x) - fallen_back * unusual
        cost = float((mean - x) @ prior @ (mean - x) + unusual**2)

        lines, pull, misfit = _background(upright, x[:2])
        turns = np.eye(2, 4)
        normal = normal + turns.T @ lines @ turns
        rhs += turns.T @ pull
        cost += misfit

        # Votes: their number lowers the spread, but not the bias that they have in common.
        up, turn = ground.up, about_x(x[3])
        off = np.arccos(np.clip(evidence.axes @ (turn.T @ up), -1.0, 1.0))
        w = evidence.axis_weights / (1.0 + (off / _LEAN) ** 2) ** 2
        total = float(w.sum())
        if total > 1e-6:
            means = np.array([w @ vote_pitch, w @ vote_roll]) / total
            for k, row in enumerate(seen_as):
                information = 1.0 / (_LEAN_BIAS[k] ** 2 + _VOTE**2 / total)
                error = float(means[k] - row @ x)
                normal = normal + information * np.outer(row, row)
                rhs += information * error * row
                cost += information * error**2
            # Who does not stand along this up direction at all speaks against it.
            cost += float(evidence.axis_weights @ _geman_mcclure(off / _LEAN))

        # Contacts: signed distance of the lowest point from its height above the floor.
        heights = evidence.offsets @ (turn.T @ up) + (evidence.roots @ up)[:, None]
        above = heights + x[2] - _CLEARANCES
        lower = above.argmin(1)

        # Several at once: they are level.
        levels, pull, misfit = _level(evidence, above, lower, ground, turn)
        normal += seen_as.T @ levels @ seen_as
        rhs -= seen_as.T @ pull
        cost += misfit

        offsets, error = evidence.offsets[rows, lower] @ turn.T, above[rows, lower]
        points = offsets + evidence.roots
        variance = _FOOT_ERROR**2 + (_DEPTH_NOISE * (x[2] - ANKLE_HEIGHT)) ** 2
        w = evidence.contact_weights[rows, lower] / variance
        scale = np.where(error > 0.0, _LIFTED, 3.0 * _LIFTED)
        cost += float(w @ _contact_loss(error))
        cost += float(evidence.contact_weights[rows, lower].sum() * math.log(variance))
        w = w / (1.0 + (error / scale) ** 2) ** 2
        if iteration == _ITERATIONS:
            break
        # Distances are noisy, and a noisy regressor would draw the horizon towards the feet:
        # derivatives are taken where the view ray meets the floor instead.
        stretch = (_CLEARANCES[lower] - x[2]) / np.minimum(points @ up, -1e-3)
        points = points * np.clip(stretch, 0.7, 1.4)[:, None]
        by_turn = offsets[:, 1] * up[2] - offsets[:, 2] * up[1]
        columns = [*(points @ d for d in _up_derivatives(ground)), np.ones(len(w)), by_turn]
        jacobian = np.stack(columns, 1)
        normal += jacobian.T @ (w[:, None] * jacobian)
        rhs -= jacobian.T @ (w * error)

        step = np.linalg.solve(normal, rhs)
        x = x + np.clip(step, -0.5, 0.5)
        x[[0, 1, 3]] = np.clip(x[[0, 1, 3]], -1.3, 1.3)
        if np.abs(step).max() < _CONVERGED:
            break
    return cost, Settled(Ground(float(x[0]), float(x[1]), float(x[2])), float(x[3]))


def _background(upright: Upright | None, x: Array) -> tuple[Array, Array, float]:
    """What the background says of pitch and roll (2,).

    Returns:
        Information (2, 2), the negative gradient (2,), and cost.
    """
    if upright is None:
        return np.zeros((2, 2)), np.zeros(2), 0.0
    off = np.array([upright.pitch, upright.roll]) - x
    misfit = float(off @ upright.information @ off) / _OTHER_LINES**2
    weighed = np.asarray(upright.information / (1.0 + misfit) ** 2, np.float64)
    return weighed, weighed @ off, _OTHER_LINES**2 * misfit / (1.0 + misfit)


def _level(
    evidence: GroundEvidence, above: Array, lower: Array, ground: Ground, turn: Array
) -> tuple[Array, Array, float]:
    """What bodies say that touch the floor at several places at once: these are level.

    Hands and feet, knees and feet, hips and shoulders; not the two feet of somebody who stands:
    they are too close together for what the lifter knows of their depth.

    Args:
        above: (K, C) metres of contacts above where they carry a body.
        lower: (K,) the lowest of each pose.

    Returns:
        Information (2, 2) on pitch and roll as the body has them, its gradient (2,), and cost.
    """
    rows = np.arange(len(lower))
    gap = above - above[rows, lower][:, None]
    pairs = (evidence.offsets - evidence.offsets[rows, lower][:, None]) @ turn.T
    lever = np.linalg.norm(pairs, axis=-1)
    w = np.sqrt(evidence.contact_weights * evidence.contact_weights[rows, lower][:, None])
    w = w / (1.0 + (gap / (_NOT_LEVEL + _NOT_LEVEL_SLOPE * lever)) ** 4) ** 2
    w = np.where(_IS_FOOT[lower][:, None] & _IS_FOOT, 0.0, w)
    total = float(w.sum())
    if total < 1e-6:
        return np.zeros((2, 2)), np.zeros(2), 0.0
    b = np.stack([pairs @ d for d in _up_derivatives(ground)], -1)  # (K, C, 2)
    spread = _LEVEL_BIAS**2 + _LEVEL_ERROR**2 / total
    n = np.einsum("kc,kci,kcj->ij", w, b, b) / (total * spread)
    g = np.einsum("kc,kci,kc->i", w, b, gap) / (total * spread)
    best = np.linalg.solve(n + 1e-9 * np.eye(2), g)
    return n, g, float(best @ g)


def _geman_mcclure(ratio: Array) -> Array:
    """The robust loss r^2 / (1 + r^2), of which 1 / (1 + r^2)^2 are the weights."""
    return np.asarray(ratio**2 / (1.0 + ratio**2), np.float64)


def lowest_contacts(evidence: GroundEvidence, ground: Ground) -> tuple[Array, Array, Array]:
    """Of each pose the joint that is nearest to the floor, or farthest below it.

    Returns:
        (K,) metres above the camera (negative), (K,) metres from the floor to such a joint's
        centre when it carries the body, and (K,) weights.
    """
    above_camera = evidence.offsets @ ground.up + (evidence.roots @ ground.up)[:, None]
    lower = (above_camera - _CLEARANCES).argmin(1)
    rows = np.arange(len(lower))
    return above_camera[rows, lower], _CLEARANCES[lower], evidence.contact_weights[rows, lower]


def leg_length(evidence: GroundEvidence) -> float:
    """Metres from hip to ankle when the leg is straight."""
    hip, knee, ankle = (list(CONTACTS).index(joint) for joint in (R_HIP, R_KNEE, R_ANKLE))
    bones = np.diff(evidence.offsets[:, [hip, knee, ankle]], axis=1)
    return float(np.median(np.linalg.norm(bones, axis=-1).sum(1)))


def above_floor(joints_world: Array) -> float:
    """Metres by which a pose's lowest joint is above where it would carry the body; (17, 3)."""
    return float((joints_world[_CONTACT_JOINTS, 2] - _CLEARANCES).min())


def _up_derivatives(ground: Ground) -> tuple[Array, Array]:
    """Derivatives of `Ground.up` with respect to pitch and roll."""
    sp, cp = math.sin(ground.pitch), math.cos(ground.pitch)
    sr, cr = math.sin(ground.roll), math.cos(ground.roll)
    return np.array([-sp * sr, sp * cr, cp]), np.array([cp * cr, cp * sr, 0.0])


def _unit(vectors: Array) -> Array:
    norm = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(norm, 1e-9), np.float64)
