"""Skeletons, floor, shadows and trails as triangle meshes: geometry and colours, no renderer.

World frame, metres, Z up. Triangles wind counter-clockwise seen from outside, because the
renderer culls back faces. Positions change with every pose, topology only with the number
of people, so topology is computed once per number and kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posemamba.skeleton import BONES, HEAD, HEAD_EXTENSION, HIP, JOINT_NAMES, NOSE, THORAX
from posemamba_live.drawing.colours import BACKGROUND, BONE_JOINT, FLOOR, GRID, PersonColors, Rgb
from posemamba_live.types import ALL_SEEN

Points = NDArray[np.float64]
Triangles = NDArray[np.int32]

SEGMENTS: Final = 14
"""Corners of a limb's cross-section; software drivers pay for every vertex."""
_BALL: Final = (14, 7)
_HEAD: Final = (20, 10)
"""Meridians and rings of a joint's sphere and of the head."""
_SKULL: Final = len(JOINT_NAMES)
"""Extra node between the ears: the middle of the head, which no joint marks."""
_RADII: Final = {
    "Hip": 0.078, "Spine": 0.072, "Thorax": 0.064, "Nose": 0.018,
    "RHip": 0.068, "LHip": 0.068, "RKnee": 0.048, "LKnee": 0.048,
    "RAnkle": 0.036, "LAnkle": 0.036, "RShoulder": 0.052, "LShoulder": 0.052,
    "RElbow": 0.039, "LElbow": 0.039, "RWrist": 0.031, "LWrist": 0.031,
    "Head": 0.0,
}  # fmt: skip
"""Half thickness at each joint of an adult, metres: a mannequin, not a measurement."""
_NECK_RADIUS: Final = 0.043
_BALL_FIT: Final = 0.985
"""Joints' spheres over limbs: just inside, so that only bends show them, as round corners."""
_HEAD_RADIUS: Final = 0.094
_HEAD_STRETCH: Final = 0.25
"""How much longer than wide the head is, along the neck."""
_ADULT_TORSO: Final = 0.50
"""Hip to Thorax, metres, at which the radii above apply; children get thinner limbs."""

_NODE_RADIUS: Final = np.array([_RADII[name] for name in JOINT_NAMES] + [_NECK_RADIUS])
_LIMBS: Final = (*(b for b in BONES if NOSE not in b and HEAD not in b), (THORAX, _SKULL))
_LIMB_ENDS: Final = np.array(_LIMBS)
_LIMB_COLOR: Final = dict(zip(BONES, BONE_JOINT, strict=True))
_BALLS: Final = np.array([joint for joint in range(len(JOINT_NAMES)) if joint != HEAD])
"""Joints with a sphere: the crown has none, it is the top of the head's ellipsoid."""

FLOOR_RADIUS: Final = 6.0
"""Metres from the middle of the view at which the floor has faded out."""
_LINE_WIDTH: Final = 0.014
_LINE_HEIGHT: Final = 0.002
_SHADOW_HEIGHT: Final = 0.004
"""Floor, lines and shadows lie on top of each other; millimetres keep their depths apart."""
_SHADOW_SLANT: Final = np.array([0.22, 0.12])
"""Where the shadow of a point one metre up falls: the lamp hangs high, to the left."""
_SHADOW_GAIN: Final = 0.5
_DEPTH_SHADE: Final = 0.42
"""How much darker the farthest visible parts of a body are than the nearest."""
_DEPTH_RANGE: Final = 0.55
"""Metres before and behind the hip over which that happens: about an arm's length."""
_GHOST: Final = 0.68
"""How far a predicted person fades into the background."""


@dataclass(frozen=True, slots=True)
class Mesh:
    """Triangles with a colour per vertex, lit by the renderer if there are normals."""

    vertices: Points
    """(V, 3) metres."""
    colors: Points
    """(V, 3) RGB, 0 to 1."""
    triangles: Triangles
    """(F, 3) vertex indices."""
    normals: Points | None = None
    """(V, 3) unit vectors, or None for a mesh that is shown in its own colours."""


@dataclass(frozen=True, slots=True)
class Body:
    """One person to be drawn."""

    joints: Points
    """(17, 3) metres, world frame."""
    colors: PersonColors
    ghost: bool = False
    """True for a person who was predicted, not seen."""
    unseen: NDArray[np.bool_] = field(default_factory=lambda: ALL_SEEN)
    """(17,) joints that nobody has seen for a while."""
    hides_unseen: bool = False
    """They are not there; else they are faint."""


def merge(meshes: Sequence[Mesh]) -> Mesh:
    """One mesh out of several without normals."""
    if not meshes:
        return Mesh(np.empty((0, 3)), np.empty((0, 3)), np.empty((0, 3), np.int32))
    offsets = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes[:-1]])
    return Mesh(
        vertices=np.concatenate([mesh.vertices for mesh in meshes]),
        colors=np.concatenate([mesh.colors for mesh in meshes]),
        triangles=np.concatenate(
            [mesh.triangles + offset for mesh, offset in zip(meshes, offsets, strict=True)]
        ).astype(np.int32),
    )


def body_mesh(bodies: Sequence[Body], eye: ArrayLike, forward: ArrayLike) -> Mesh:
    """All people as one mesh of tapered limbs and joint spheres, with normals.

    Args:
        bodies: whom to draw; may be empty.
        eye: (3,) where the viewer stands, metres.
        forward: (3,) unit vector, where the viewer looks; for the shading by depth.
    """
    if not bodies:
        nobody = merge([])
        return replace(nobody, normals=nobody.vertices)
    joints = np.stack([body.joints for body in bodies]).astype(np.float64)
    vertices, normals = _surface(joints)
    colors = np.array([_node_colors(body) for body in bodies])
    ghost = np.array([body.ghost for body in bodies], dtype=bool)
    painted = colors[:, _owner_nodes()]
    painted *= _depth_gain(vertices, joints[:, HIP], np.asarray(eye), np.asarray(forward))
    unseen = np.array([[*body.unseen, body.unseen[HEAD]] for body in bodies])[:, _owner_nodes()]
    hides = np.array([body.hides_unseen for body in bodies])[:, None]
    # A limb in one point has no surface.
    vertices = np.where((unseen & hides)[..., None], joints[:, None, THORAX], vertices)
    ghost = ghost[:, None] | unseen
    painted[ghost] += _GHOST * (np.array(BACKGROUND) * 1.9 - painted[ghost])
    return Mesh(
        vertices.reshape(-1, 3),
        painted.reshape(-1, 3),
        _body_triangles(len(bodies)),
        normals.reshape(-1, 3),
    )


def shadow_mesh(body: Mesh, centre: ArrayLike) -> Mesh:
    """What `body` keeps the light from, flat on the floor.

    Args:
        body: from `body_mesh`.
        centre: (2,) middle of the floor, metres: the shadow fades out with the floor.
    """
    height = np.maximum(body.vertices[:, 2:], 0.0)
    flat = body.vertices[:, :2] + height * _SHADOW_SLANT
    # The triangles that face away from the floor cover the whole outline; all lie in one
    # plane and have one colour, so that their overlaps cannot be seen.
    vertices = np.concatenate([flat, np.full_like(height, _SHADOW_HEIGHT)], axis=1)
    tone = np.array(FLOOR) * _SHADOW_GAIN
    return Mesh(vertices, _fade(flat, tone, np.asarray(centre)), body.triangles)


def floor_mesh(centre: ArrayLike, spacing: float = 1.0) -> Mesh:
    """A round floor that fades into the background, with a line every `spacing` metres.

    Args:
        centre: (2,) middle of the disc, metres; the lines stay at whole multiples of spacing.
        spacing: metres.
    """
    middle = np.asarray(centre, dtype=np.float64)
    return merge([_disc(middle), *_grid_lines(middle, spacing)])


def trail_mesh(path: Points, color: Rgb, eye: ArrayLike, width: float = 0.018) -> Mesh:
    """A ribbon along a joint's way that faces the viewer and thins out towards its old end.

    Args:
        path: (N, 3) metres, oldest first; fewer than two points give an empty mesh.
        color: of its newest end.
        eye: (3,) where the viewer stands, metres.
        width: of its newest end, metres.
    """
    count = len(path)
    if count < 2:
        return merge([])
    side = np.cross(np.gradient(path, axis=0), path - np.asarray(eye))
    side /= np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-9)
    age = np.linspace(0.0, 1.0, count)[:, None]
    half = 0.5 * width * age * side
    vertices = np.stack([path - half, path + half], axis=1).reshape(-1, 3)
    tone = np.array(BACKGROUND) + (0.25 + 0.6 * age) * (np.array(color) - np.array(BACKGROUND))
    front = _strip(count - 1)
    # Both faces: a ribbon that turns in depth shows either side.
    triangles = np.concatenate([front, front[:, ::-1]]).astype(np.int32)
    return Mesh(vertices, np.repeat(tone, 2, axis=0), triangles)


def _node_colors(body: Body) -> list[Rgb]:
    return [*(body.colors.joint(j) for j in range(_SKULL)), body.colors.centre]


def _depth_gain(vertices: Points, hips: Points, eye: Points, forward: Points) -> Points:
    """(P, V, 1) factor of brightness: 1 at the front of a body, less at its back."""
    depth = (vertices - eye) @ forward - ((hips - eye) @ forward)[:, None]
    back = np.clip(0.5 + 0.5 * depth / _DEPTH_RANGE, 0.0, 1.0)
    return np.asarray(1.0 - _DEPTH_SHADE * back)[..., None]


def _surface(joints: Points) -> tuple[Points, Points]:
    """Vertices and normals, (P, V, 3) each: limbs first, then balls."""
    people = len(joints)
    neck = joints[:, HEAD] - joints[:, THORAX]
    skull = joints[:, THORAX] + neck / HEAD_EXTENSION
    nodes = np.concatenate([joints, skull[:, None]], axis=1)
    torso = np.linalg.norm(joints[:, THORAX] - joints[:, HIP], axis=1)
    scale = np.clip(torso / _ADULT_TORSO, 0.5, 1.4)[:, None, None, None]

    start, end = nodes[:, _LIMB_ENDS[:, 0]], nodes[:, _LIMB_ENDS[:, 1]]
    around = _rings(end - start)
    radii = _NODE_RADIUS[_LIMB_ENDS][None, :, :, None, None] * scale[..., None]
    ends = np.stack([start, end], axis=2)[:, :, :, None]
    tubes = ends + radii * around[:, :, None]
    tube_normals = np.broadcast_to(around[:, :, None], tubes.shape)

    ball = _sphere(*_BALL)[0]
    radius = _BALL_FIT * _NODE_RADIUS[_BALLS][None, :, None, None] * scale
    spheres = nodes[:, _BALLS, None] + radius * ball
    sphere_normals = np.broadcast_to(ball, spheres.shape)

    dome = _sphere(*_HEAD)[0]
    neck /= np.maximum(np.linalg.norm(neck, axis=1, keepdims=True), 1e-9)
    along = np.einsum("vc,pc->pv", dome, neck)[..., None] * neck[:, None]
    head = skull[:, None] + _HEAD_RADIUS * scale[:, 0] * (dome + _HEAD_STRETCH * along)
    head_normals = np.broadcast_to(dome, head.shape)

    def per_person(*parts: Points) -> Points:
        return np.concatenate([part.reshape(people, -1, 3) for part in parts], axis=1)

    return per_person(tubes, spheres, head), per_person(tube_normals, sphere_normals, head_normals)


def _rings(axis: Points) -> Points:
    """Unit vectors around each axis, counter-clockwise seen from its tip: (..., SEGMENTS, 3)."""
    length = np.linalg.norm(axis, axis=-1, keepdims=True)
    tip = np.where(length > 1e-6, axis / np.maximum(length, 1e-6), [0.0, 0.0, 1.0])
    upright = np.abs(tip[..., 2:]) > 0.9
    first = np.cross(np.where(upright, [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]), tip)
    first /= np.linalg.norm(first, axis=-1, keepdims=True)
    second = np.cross(tip, first)
    angle = np.arange(SEGMENTS) * (2 * np.pi / SEGMENTS)
    return np.asarray(
        np.cos(angle)[:, None] * first[..., None, :] + np.sin(angle)[:, None] * second[..., None, :]
    )


@lru_cache(maxsize=4)
def _sphere(segments: int, rings: int) -> tuple[Points, Triangles]:
    """A unit sphere: (V, 3) vertices, which are its normals too, and its triangles."""
    polar = np.linspace(np.pi, 0.0, rings + 1)[:, None]
    angle = np.arange(segments) * (2 * np.pi / segments)
    flat = np.sin(polar)
    height = np.broadcast_to(np.cos(polar), (rings + 1, segments))
    vertices = np.stack([flat * np.cos(angle), flat * np.sin(angle), height], axis=-1)
    bands = [_band(r * segments, (r + 1) * segments, segments) for r in range(rings)]
    # One triangle of each pair is a needle at the poles, where a ring is one point.
    bands[0], bands[-1] = bands[0][segments:], bands[-1][:segments]
    return vertices.reshape(-1, 3), np.concatenate(bands).astype(np.int32)


def _band(lower: int, upper: int, segments: int) -> NDArray[np.int64]:
    """Triangles between two rings of vertices that start at these indices."""
    this = np.arange(segments)
    after = (this + 1) % segments
    below = np.stack([lower + this, lower + after, upper + after], axis=1)
    above = np.stack([lower + this, upper + after, upper + this], axis=1)
    return np.concatenate([below, above])


@lru_cache(maxsize=8)
def _body_triangles(people: int) -> Triangles:
    tube = _band(0, SEGMENTS, SEGMENTS)
    ball_vertices, ball = _sphere(*_BALL)
    head_vertices, head = _sphere(*_HEAD)
    parts: list[Triangles] = []
    used = 0
    for triangles, vertices, count in (
        (tube, 2 * SEGMENTS, len(_LIMBS)),
        (ball, len(ball_vertices), len(_BALLS)),
        (head, len(head_vertices), 1),
    ):
        own = (triangles + np.int32(used + i * vertices) for i in range(count))
        parts += [np.asarray(one, np.int32) for one in own]
        used += count * vertices
    one = np.concatenate(parts)
    everybody = np.arange(people, dtype=np.int32)[:, None, None] * used + one
    return np.asarray(everybody.reshape(-1, 3), dtype=np.int32)


@lru_cache(maxsize=1)
def _owner_nodes() -> NDArray[np.int64]:
    """(V,) the node whose colour each vertex of a body takes."""
    limbs = np.repeat([_LIMB_COLOR.get(limb, _SKULL) for limb in _LIMBS], 2 * SEGMENTS)
    balls = np.repeat(_BALLS, len(_sphere(*_BALL)[0]))
    head = np.full(len(_sphere(*_HEAD)[0]), _SKULL)
    return np.concatenate([limbs, balls, head])


def _disc(centre: Points, rings: int = 6, sectors: int = 48) -> Mesh:
    radius = np.linspace(0.0, FLOOR_RADIUS, rings + 1)[1:, None, None]
    angle = np.arange(sectors) * (2 * np.pi / sectors)
    spokes = radius * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    flat = centre + np.concatenate([np.zeros((1, 2)), spokes.reshape(-1, 2)])
    this, after = np.arange(sectors), (np.arange(sectors) + 1) % sectors
    triangles = [np.stack([np.zeros_like(this), 1 + this, 1 + after], axis=1)]
    for ring in range(rings - 1):
        inner, outer = 1 + ring * sectors, 1 + (ring + 1) * sectors
        triangles.append(np.stack([inner + this, outer + this, outer + after], axis=1))
        triangles.append(np.stack([inner + this, outer + after, inner + after], axis=1))
    vertices = np.concatenate([flat, np.zeros((len(flat), 1))], axis=1)
    colors = _fade(flat, np.array(FLOOR), centre)
    return Mesh(vertices, colors, np.concatenate(triangles).astype(np.int32))


def _grid_lines(centre: Points, spacing: float, pieces: int = 24) -> list[Mesh]:
    """Thin quads, because drivers ignore the width of lines; in pieces, so that they can fade."""
    lines = []
    for axis in (0, 1):
        first = np.ceil((centre[axis] - FLOOR_RADIUS) / spacing + 1e-9)
        last = np.floor((centre[axis] + FLOOR_RADIUS) / spacing - 1e-9)
        for place in np.arange(first, last + 1) * spacing:
            half = np.sqrt(max(FLOOR_RADIUS**2 - (place - centre[axis]) ** 2, 0.0))
            along = centre[1 - axis] + np.linspace(-half, half, pieces + 1)
            edges = np.empty((pieces + 1, 2, 2))
            edges[..., 1 - axis] = along[:, None]
            edges[..., axis] = place + np.array([-0.5, 0.5]) * _LINE_WIDTH
            flat = edges.reshape(-1, 2)
            triangles = _strip(pieces)
            if axis == 1:  # the same corners, seen from above, run clockwise
                triangles = triangles[:, ::-1]
            vertices = np.concatenate([flat, np.full((len(flat), 1), _LINE_HEIGHT)], axis=1)
            colors = _fade(flat, np.array(GRID), centre)
            lines.append(Mesh(vertices, colors, triangles.astype(np.int32)))
    return lines


def _strip(quads: int) -> NDArray[np.int64]:
    """Triangles of a ribbon whose vertices come in pairs: first edge, second edge."""
    first = np.arange(quads)[:, None] * 2
    return np.concatenate([first + np.array([0, 1, 3]), first + np.array([0, 3, 2])])


def _fade(flat: Points, tone: Points, centre: Points) -> Points:
    """(V, 3) `tone` near the centre, the background's colour at FLOOR_RADIUS."""
    distance = np.linalg.norm(flat - centre, axis=1, keepdims=True) / FLOOR_RADIUS
    strength = np.clip(1.0 - distance, 0.0, 1.0) ** 1.3
    sky = np.array(BACKGROUND)
    return np.asarray(sky + strength * (tone - sky))
