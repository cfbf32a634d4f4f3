"""A bone hierarchy over the 17 joints: joint positions to local rotations, and back.

Animation tools want what positions alone do not say: one rotation for every joint,
relative to its parent and to a rest pose. Here the rest pose is the T-pose, Z up, facing
-Y, the person's left along +X, with every rotation the identity; the names are the ones
that Mixamo made common, which retargeting tools know.

Directions of bones are kept exactly. What a bone's two ends leave open, the twist about
itself, comes from

* trunk and pelvis: the lines through the shoulders and through the hips;
* neck: the plane of thorax, nose and crown;
* upper arm and thigh: the plane in which elbow or knee is bent, as far as it is bent; a
  straight limb keeps the twist that it had, and slowly goes back to that of the shortest
  way from the rest pose;
* forearm, shin, head and collarbone: the shortest way from the rest pose, within the frame
  of their parent, so that elbow and knee become hinges. Hands and feet, of which nothing
  is seen, follow them.

`ArmatureSolver` looks back only, by one small vector per bone, so that it serves live
streams and files alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

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
    NOSE,
    NUM_JOINTS,
    PARENTS,
    R_ANKLE,
    R_ELBOW,
    R_HIP,
    R_KNEE,
    R_SHOULDER,
    R_WRIST,
    SPINE,
    THORAX,
)
from posemamba_live.scene.smoothing import MAX_GAP
from posemamba_live.takes.rotations import cross, from_matrix, multiply, rotate

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Node:
    """One joint of the hierarchy."""

    name: str
    parent: int
    """Index into NODES; -1 for the root."""
    joint: int | None
    """The Human3.6M-17 joint that is here; None where there is none (the tips)."""
    rest: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Unit vector from the parent in the rest pose; zero where both are at one place."""
    length: int | float = 0.0
    """How long that is: the joint whose bone it is (int), or metres (float)."""
    tip: bool = False
    """The end of a bone, which has no rotation of its own."""

    @property
    def follows(self) -> bool:
        """Whether it always turns with its parent: nothing is seen of hands and feet."""
        return self.tip or self.name.endswith(("Hand", "Foot"))


_NOSE_TILT: Final = math.radians(35.0)
"""Thorax to nose, forwards from the vertical, in somebody who looks straight ahead."""
_CROWN_TILT: Final = math.radians(25.0)
"""Nose to crown, backwards from the vertical, likewise."""
_UP, _DOWN, _FORWARD = (0.0, 0.0, 1.0), (0.0, 0.0, -1.0), (0.0, -1.0, 0.0)
_LEFT, _RIGHT = (1.0, 0.0, 0.0), (-1.0, 0.0, 0.0)
_TO_NOSE: Final = (0.0, -math.sin(_NOSE_TILT), math.cos(_NOSE_TILT))
_TO_CROWN: Final = (0.0, math.sin(_CROWN_TILT), math.cos(_CROWN_TILT))
_HAND, _FOOT = 0.08, 0.15

NODES: Final = (
    Node("Hips", -1, HIP),
    Node("Spine", 0, None),  # with the hips: bends the lower spine without moving the legs
    Node("Spine1", 1, SPINE, _UP, SPINE),
    Node("Neck", 2, THORAX, _UP, THORAX),
    Node("Head", 3, NOSE, _TO_NOSE, NOSE),
    Node("HeadTop_End", 4, HEAD, _TO_CROWN, HEAD, tip=True),
    Node("LeftShoulder", 2, None, _UP, THORAX),
    Node("LeftArm", 6, L_SHOULDER, _LEFT, L_SHOULDER),
    Node("LeftForeArm", 7, L_ELBOW, _LEFT, L_ELBOW),
    Node("LeftHand", 8, L_WRIST, _LEFT, L_WRIST),
    Node("LeftHand_End", 9, None, _LEFT, _HAND, tip=True),
    Node("RightShoulder", 2, None, _UP, THORAX),
    Node("RightArm", 11, R_SHOULDER, _RIGHT, R_SHOULDER),
    Node("RightForeArm", 12, R_ELBOW, _RIGHT, R_ELBOW),
    Node("RightHand", 13, R_WRIST, _RIGHT, R_WRIST),
    Node("RightHand_End", 14, None, _RIGHT, _HAND, tip=True),
    Node("LeftUpLeg", 0, L_HIP, _LEFT, L_HIP),
    Node("LeftLeg", 16, L_KNEE, _DOWN, L_KNEE),
    Node("LeftFoot", 17, L_ANKLE, _DOWN, L_ANKLE),
    Node("LeftToe_End", 18, None, _FORWARD, _FOOT, tip=True),
    Node("RightUpLeg", 0, R_HIP, _RIGHT, R_HIP),
    Node("RightLeg", 20, R_KNEE, _DOWN, R_KNEE),
    Node("RightFoot", 21, R_ANKLE, _DOWN, R_ANKLE),
    Node("RightToe_End", 22, None, _FORWARD, _FOOT, tip=True),
)
"""Parents before children. Hands and feet have nominal lengths: nothing is known of them."""
NUM_NODES: Final = len(NODES)
NODE_INDEX: Final = {node.name: i for i, node in enumerate(NODES)}
JOINT_NODES: Final = tuple(
    next(i for i, node in enumerate(NODES) if node.joint == joint) for joint in range(NUM_JOINTS)
)
"""The node at each of the 17 joints."""
_NODE_PARENTS: Final = np.array([max(node.parent, 0) for node in NODES])


@dataclass(frozen=True, slots=True)
class Posture:
    """One person at one moment, as rotations. World frame: Z up, metres."""

    root: Array
    """(3,) metres: where Hips is."""
    rotations: Array
    """(NUM_NODES, 4) x, y, z, w: each node relative to its parent; Hips to the world."""


def bone_lengths(joints: NDArray[np.floating[Any]]) -> Array:
    """Lengths of one person's bones: (..., 17, 3) metres to (17,), medians; Hip 0."""
    points = np.asarray(joints, np.float64).reshape(-1, NUM_JOINTS, 3)
    bones = points - points[:, [max(p, 0) for p in PARENTS]]
    return np.asarray(np.median(np.linalg.norm(bones, axis=-1), axis=0))


def rest_offsets(lengths: NDArray[np.floating[Any]]) -> Array:
    """The T-pose of a person: (17,) metres to (NUM_NODES, 3), each node from its parent."""
    out = np.zeros((NUM_NODES, 3))
    for i, node in enumerate(NODES):
        length = lengths[node.length] if isinstance(node.length, int) else node.length
        out[i] = np.multiply(node.rest, length)
    return out


def global_rotations(rotations: NDArray[np.floating[Any]]) -> Array:
    """From the parents' frames to the root's: (..., NUM_NODES, 4) to the same shape."""
    local = np.asarray(rotations, np.float64)
    out = local.copy()
    for i, node in enumerate(NODES):
        if node.parent >= 0:
            out[..., i, :] = multiply(out[..., node.parent, :], local[..., i, :])
    return out


def forward_kinematics(
    root: NDArray[np.floating[Any]],
    rotations: NDArray[np.floating[Any]],
    offsets: NDArray[np.floating[Any]],
) -> Array:
    """Where everything is: (..., 3), (..., NUM_NODES, 4), (NUM_NODES, 3) to (..., NUM_NODES, 3).

    `[..., JOINT_NODES, :]` of the result are the 17 joints. Works in any frame in which all
    three are given.
    """
    turned = global_rotations(rotations)
    out = np.empty((*turned.shape[:-1], 3))
    out[..., 0, :] = root
    for i, node in enumerate(NODES[1:], 1):
        bone = rotate(turned[..., node.parent, :], np.asarray(offsets[i], np.float64))
        out[..., i, :] = out[..., node.parent, :] + bone
    return out


# -- from positions to rotations -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Bones:
    """Some bones that are solved together, as rows of arrays."""

    nodes: NDArray[np.intp]
    parents: NDArray[np.intp]
    start: list[int]
    end: list[int]
    """Joints at both ends."""
    rest: Array
    """(N, 3) direction in the rest pose."""
    hinge: Array
    """(N, 3) an axis perpendicular to it, about which the next joint bends."""
    after: list[int]
    """Joint at the end of the next bone."""

    @classmethod
    def of(cls, *rows: tuple[str, tuple[int, ...], tuple[float, ...], tuple[float, ...]]) -> _Bones:
        """Rows of node, joints (start, end, and that after), direction, hinge."""
        nodes = np.array([NODE_INDEX[name] for name, *_ in rows])
        joints = [(*row[1], 0)[:3] for row in rows]
        return cls(
            nodes,
            np.array([NODES[node].parent for node in nodes]),
            [start for start, _, _ in joints],
            [end for _, end, _ in joints],
            np.array([row[2] for row in rows]),
            np.array([row[3] for row in rows]),
            [after for _, _, after in joints],
        )

    def turn(self, turned: Array, bone: Array, hinge: Array) -> None:
        """Set the nodes' rotations so that the rest pose comes to lie on bone and hinge.

        Args:
            turned: (T, NUM_NODES, 3, 3), of which the rows `nodes` are set.
            bone, hinge: (T, N, 3) unit vectors in the parents' frames.
        """
        own = _columns(bone, hinge) @ _columns(self.rest, self.hinge).swapaxes(-1, -2)
        turned[:, self.nodes] = turned[:, self.parents] @ own

    def directions(self, points: Array, turned: Array) -> Array:
        """(T, N, 3) unit vectors of the bones in the parents' frames."""
        bones = points[:, self.end] - points[:, self.start]
        return _unit(_within(turned[:, self.parents], bones), self.rest)


_COLLARS: Final = _Bones.of(
    ("LeftShoulder", (THORAX, L_SHOULDER), _LEFT, _UP),
    ("RightShoulder", (THORAX, R_SHOULDER), _RIGHT, _UP),
)
# A knee takes the shin backwards. Elbows bend forwards in the rest pose (palms down).
_LIMBS: Final = _Bones.of(
    ("Neck", (THORAX, NOSE, HEAD), _TO_NOSE, _RIGHT),
    ("LeftUpLeg", (L_HIP, L_KNEE, L_ANKLE), _DOWN, _LEFT),
    ("RightUpLeg", (R_HIP, R_KNEE, R_ANKLE), _DOWN, _LEFT),
    ("LeftArm", (L_SHOULDER, L_ELBOW, L_WRIST), _LEFT, _DOWN),
    ("RightArm", (R_SHOULDER, R_ELBOW, R_WRIST), _RIGHT, _UP),
)
_ENDS: Final = _Bones.of(
    ("Head", (NOSE, HEAD), _TO_CROWN, _RIGHT),
    ("LeftLeg", (L_KNEE, L_ANKLE), _DOWN, _LEFT),
    ("RightLeg", (R_KNEE, R_ANKLE), _DOWN, _LEFT),
    ("LeftForeArm", (L_ELBOW, L_WRIST), _LEFT, _DOWN),
    ("RightForeArm", (R_ELBOW, R_WRIST), _RIGHT, _UP),
)
_ONE_WAY: Final = np.array([True, True, True, False, False])
"""Limbs whose hinge stays within a right angle of neutral: what says otherwise is noise. An
upper arm turns further."""
_BENT: Final = np.sin(np.radians([[5.0, 20.0], *[[10.0, 30.0]] * 4]))
"""Sine of the angle at nose, knee or elbow from which its plane counts, and counts fully."""
_FOLLOWING: Final = [i for i, node in enumerate(NODES) if node.follows]
_BEND_SECONDS: Final = 0.05
"""In which twist follows a plane that counts fully: a noisy elbow does not make it tremble."""
_NEUTRAL_SECONDS: Final = 1.0
"""In which a straight limb's twist goes back to the neutral one."""
_MAX_TWIST: Final = math.radians(600.0)
"""Per second: what turns faster is a flip of the measurement, not of the arm."""
_TINY: Final = 1e-9


class ArmatureSolver:
    """Turns one person's joints into rotations, frame after frame. Looks back only."""

    def __init__(self) -> None:
        self._time = -math.inf
        self._hinges: Array | None = None
        """(5, 3) of _LIMBS, in the parents' frames."""
        self._lefts = np.array([_LEFT, _LEFT])
        """(2, 3) of hips and shoulders, world frame."""
        self._rotations: Array | None = None

    def update(self, joints: NDArray[np.floating[Any]], timestamp: float) -> Posture:
        """Solve the next frame.

        Args:
            joints: (17, 3) metres, world frame.
            timestamp: seconds, increasing; after a gap twists are found anew.

        Returns:
            The posture. Of the two quaternions of each rotation, the one nearer to that of
            the frame before.
        """
        posture = self.solve(np.asarray(joints)[None], [timestamp])
        return Posture(posture.root[0], posture.rotations[0])

    def solve(self, joints: NDArray[np.floating[Any]], times: Sequence[float] | Array) -> Posture:
        """Solve the next T frames, as `update` would one by one.

        Args:
            joints: (T, 17, 3) metres, world frame.
            times: (T,) seconds.

        Returns:
            A posture with a leading dimension T.
        """
        points = np.asarray(joints, np.float64)
        steps = np.diff(np.asarray(times, np.float64), prepend=self._time)
        turned = np.empty((len(points), NUM_NODES, 3, 3))
        self._trunk(points, turned)
        for bones in (_COLLARS, _LIMBS, _ENDS):
            directions = bones.directions(points, turned)
            hinges, sure = _shortest(bones.rest, directions, bones.hinge)
            if bones is _LIMBS:
                hinges = self._twist(points, turned, directions, hinges, sure, steps)
            bones.turn(turned, directions, hinges)
        for i in _FOLLOWING:
            turned[:, i] = turned[:, NODES[i].parent]
        local = turned[:, _NODE_PARENTS].swapaxes(-1, -2) @ turned
        local[:, 0] = turned[:, 0]
        rotations = self._continued(from_matrix(local), steps)
        if len(points):
            self._time = float(times[-1])
        # Both hips are at one distance from Hip, opposite each other; lifted hips are nearly
        # so. Halfway between Hip and their middle spreads what is left over.
        root = 0.5 * points[:, HIP] + 0.25 * (points[:, L_HIP] + points[:, R_HIP])
        return Posture(root, rotations)

    def _trunk(self, points: Array, turned: Array) -> None:
        """Hips from the hip line, the spine from its own bones and both lines."""
        lines = points[:, [L_HIP, L_SHOULDER]] - points[:, [R_HIP, R_SHOULDER]]
        lefts = _unit(lines, np.zeros(3))
        for t, line in np.argwhere(~lefts.any(-1)):  # both ends at one place: as before
            lefts[t, line] = lefts[t - 1, line] if t else self._lefts[line]
        if len(lefts):
            self._lefts = lefts[-1]
        spine = points[:, [SPINE, THORAX]] - points[:, [HIP, SPINE]]
        spine = _unit(spine, np.array(_UP))
        hips, shoulders = lefts[:, 0], lefts[:, 1]
        up = _perpendicular(spine[:, 0], hips)
        turned[:, 0] = np.stack([hips, cross(up, hips), up], -1)
        between = _unit(hips + shoulders, hips)
        lefts = _perpendicular(np.stack([between, shoulders], 1), spine)
        turned[:, 1:3] = np.stack([lefts, cross(spine, lefts), spine], -1)

    def _twist(
        self,
        points: Array,
        turned: Array,
        bones: Array,
        neutral: Array,
        sure: Array,
        steps: Array,
    ) -> Array:
        """Hinges of the limbs, (T, 5, 3): from the plane in which each is bent, as far as it is.

        Args:
            bones: (T, 5, 3) directions in the parents' frames.
            neutral: (T, 5, 3) hinges of the shortest way from the rest pose.
            sure: (T, 5) how well these are defined.
            steps: (T,) seconds since the frame before.
        """
        after = points[:, _LIMBS.after] - points[:, _LIMBS.end]
        normals = cross(bones, _unit(_within(turned[:, _LIMBS.parents], after), bones))
        sines = np.sqrt(_dot(normals, normals))
        bent = np.clip((sines - _BENT[:, 0]) / (_BENT[:, 1] - _BENT[:, 0]), 0.0, 1.0)
        planes = _unit(normals, neutral)
        bent = np.where(_ONE_WAY, bent * np.clip(2.0 * _dot(planes, neutral), 0.0, 1.0), bent)
        to_plane = bent / _BEND_SECONDS
        to_neutral = (1.0 - bent) * sure / _NEUTRAL_SECONDS
        fresh = _perpendicular(neutral + bent[..., None] * (planes - neutral), bones)
        out = np.empty_like(bones)
        hinges = self._hinges
        for t, dt in enumerate(steps):
            if hinges is None or not 0.0 < dt <= MAX_GAP:
                hinges = fresh[t]
            else:
                bone = bones[t]
                hinges = _perpendicular(hinges, bone)
                hinges = _twisted(hinges, planes[t], bone, dt, to_plane[t])
                hinges = _twisted(hinges, neutral[t], bone, dt, to_neutral[t])
            out[t] = hinges
        self._hinges = hinges
        return out

    def _continued(self, rotations: Array, steps: Array) -> Array:
        """(T, NUM_NODES, 4) with the signs that go on from frame to frame."""
        before = rotations[:1] if self._rotations is None else self._rotations[None]
        cosines = _dot(rotations, np.concatenate([before, rotations[:-1]]))
        fresh = ~((steps > 0.0) & (steps <= MAX_GAP))
        signs = np.where(cosines < 0.0, -1.0, 1.0)
        for t in np.flatnonzero(fresh):
            signs[t] = 1.0 if t == 0 else np.prod(signs[:t], axis=0)  # back to w >= 0
        out = rotations * np.cumprod(signs, axis=0)[..., None]
        if len(out):
            self._rotations = out[-1].copy()
        return np.asarray(out)


def _twisted(axes: Array, targets: Array, bones: Array, dt: float, rates: Array) -> Array:
    """(N, 3) `axes` turned about `bones` towards `targets`, by a fraction of the way (`rates`, 1/s)
    and never faster than _MAX_TWIST. Unit vectors, the axes perpendicular to the bones."""
    sideways = cross(bones, axes)
    angles = np.arctan2(_dot(targets, sideways), _dot(targets, axes))
    angles = np.clip(angles * -np.expm1(-dt * rates), -_MAX_TWIST * dt, _MAX_TWIST * dt)
    return np.asarray(np.cos(angles)[:, None] * axes + np.sin(angles)[:, None] * sideways)


def _shortest(start: Array, end: Array, axis: Array) -> tuple[Array, Array]:
    """Where the shortest rotation from `start` to `end` takes `axis`, perpendicular to `start`.

    Args:
        start, end, axis: (..., 3) unit vectors.

    Returns:
        (..., 3) axes, perpendicular to `end`, and (...) how well they are defined: 1 where both
        agree, 0 where they are opposite, when any half turn is as short.
    """
    cosine = _dot(start, end)
    fraction = _dot(end, axis) / np.maximum(1.0 + cosine, 1e-6)
    return _perpendicular(axis - fraction[..., None] * (start + end), end), 0.5 * (1.0 + cosine)


def _within(frames: Array, vectors: Array) -> Array:
    """World vectors in the axes of `frames`: (..., 3, 3), (..., 3) to (..., 3)."""
    return np.asarray((vectors[..., None, :] @ frames)[..., 0, :])


def _perpendicular(vectors: Array, to: Array) -> Array:
    """Unit vectors: (..., 3) without their part along unit vectors `to`; any one, if none is
    left."""
    across = vectors - _dot(vectors, to)[..., None] * to
    lost = _dot(across, across) < 1e-6
    if lost.any():
        other = cross(to, np.eye(3)[np.abs(to).argmin(-1)])
        across = np.where(lost[..., None], other, across)
    return _unit(across, across)


def _columns(first: Array, second: Array) -> Array:
    """(..., 3, 3) of perpendicular unit vectors (..., 3) and their cross products."""
    return np.stack([first, second, cross(first, second)], -1)


def _dot(a: Array, b: Array) -> Array:
    return np.asarray((a * b).sum(-1))


def _unit(vectors: Array, default: Array) -> Array:
    """(..., 3) at length 1; the default where they have none."""
    length = np.sqrt(_dot(vectors, vectors))[..., None]
    return np.where(length < _TINY, default, vectors / np.maximum(length, _TINY))
