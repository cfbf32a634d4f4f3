"""What a figure is made of: rounded solids between joints, and their outlines in a picture.

Every solid is the hull of up to three balls. It is drawn as a few nested convex polygons from a
dark rim to a highlight, which reads as a rounded surface. Solids that hang together (a trunk, an
arm) are drawn layer by layer, and rims end where a neighbour begins: so there are no seams.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from posemamba.skeleton import (
    HEAD,
    L_ANKLE,
    L_ELBOW,
    L_HIP,
    L_KNEE,
    L_SHOULDER,
    L_WRIST,
    NOSE,
    NUM_JOINTS,
    R_ANKLE,
    R_ELBOW,
    R_HIP,
    R_KNEE,
    R_SHOULDER,
    R_WRIST,
    SPINE,
    THORAX,
)
from posemamba_live.drawing.colours import BACKGROUND, PALETTE, person_colors
from posemamba_live.drawing.overlay import fixed_point

Array = NDArray[np.float64]
Polygons = NDArray[np.int32]

_SKULL, _R_SOLE, _L_SOLE = range(NUM_JOINTS, NUM_JOINTS + 3)
"""Indices of extra points: the middle of the head, and the shanks' ends on the floor."""
_SOLE_DROP: Final = 0.045
"""Metres from the ankle joint to the end of the shank; its radius reaches the floor."""
_HEAD_RADIUS: Final = 0.105


class _Part(IntEnum):
    TRUNK = 0
    HEAD = 1
    RIGHT_ARM = 2
    LEFT_ARM = 3
    RIGHT_LEG = 4
    LEFT_LEG = 5


_LEGS: Final = (_Part.RIGHT_LEG, _Part.LEFT_LEG)


@dataclass(frozen=True, slots=True)
class _Solid:
    part: _Part
    color: int
    """The joint that gives it."""
    balls: tuple[tuple[int, float], ...]
    """Point and radius in metres."""
    free: bool = False
    """It has a rim all around."""


_SOLIDS: Final = (
    _Solid(_Part.TRUNK, SPINE, ((R_SHOULDER, 0.052), (L_SHOULDER, 0.052))),
    _Solid(_Part.TRUNK, SPINE, ((R_SHOULDER, 0.052), (L_SHOULDER, 0.052), (SPINE, 0.108))),
    _Solid(_Part.TRUNK, SPINE, ((R_HIP, 0.074), (L_HIP, 0.074), (SPINE, 0.108))),
    _Solid(_Part.TRUNK, SPINE, ((SPINE, 0.108), (THORAX, 0.064))),
    _Solid(_Part.TRUNK, SPINE, ((THORAX, 0.050), (_SKULL, 0.044))),
    _Solid(_Part.HEAD, HEAD, ((_SKULL, _HEAD_RADIUS),), free=True),
    _Solid(_Part.HEAD, HEAD, ((NOSE, 0.020),), free=True),
    _Solid(_Part.RIGHT_ARM, R_ELBOW, ((R_SHOULDER, 0.049), (R_ELBOW, 0.037))),
    _Solid(_Part.RIGHT_ARM, R_WRIST, ((R_ELBOW, 0.037), (R_WRIST, 0.028))),
    _Solid(_Part.RIGHT_ARM, R_WRIST, ((R_WRIST, 0.040),)),
    _Solid(_Part.LEFT_ARM, L_ELBOW, ((L_SHOULDER, 0.049), (L_ELBOW, 0.037))),
    _Solid(_Part.LEFT_ARM, L_WRIST, ((L_ELBOW, 0.037), (L_WRIST, 0.028))),
    _Solid(_Part.LEFT_ARM, L_WRIST, ((L_WRIST, 0.040),)),
    _Solid(_Part.RIGHT_LEG, R_KNEE, ((R_HIP, 0.072), (R_KNEE, 0.049))),
    _Solid(_Part.RIGHT_LEG, R_ANKLE, ((R_KNEE, 0.049), (R_ANKLE, 0.036))),
    _Solid(_Part.RIGHT_LEG, R_ANKLE, ((R_ANKLE, 0.038), (_R_SOLE, 0.040))),
    _Solid(_Part.LEFT_LEG, L_KNEE, ((L_HIP, 0.072), (L_KNEE, 0.049))),
    _Solid(_Part.LEFT_LEG, L_ANKLE, ((L_KNEE, 0.049), (L_ANKLE, 0.036))),
    _Solid(_Part.LEFT_LEG, L_ANKLE, ((L_ANKLE, 0.038), (_L_SOLE, 0.040))),
)
_BALLS: Final = 3
POINTS: Final = np.array([[(s.balls * _BALLS)[i][0] for i in range(_BALLS)] for s in _SOLIDS])
"""(S, 3) points of each solid; those of fewer balls are there again."""
RADII: Final = np.array([[(s.balls * _BALLS)[i][1] for i in range(_BALLS)] for s in _SOLIDS])
"""(S, 3) metres."""
_PARTS: Final = np.array([s.part for s in _SOLIDS])
_OF_PART: Final = {part: part == _PARTS for part in _Part}
_FREE: Final = np.array([s.free for s in _SOLIDS])
_COUNT: Final = np.array([len(s.balls) for s in _SOLIDS])
_SIGHT: Final = {_SKULL: HEAD, _R_SOLE: R_ANKLE, _L_SOLE: L_ANKLE}
_NEEDS: Final = np.array(
    [[_SIGHT.get(int(p), int(p)) for p in row] for row in POINTS],
)
"""(S, 3) joints that have to be seen for a solid to be."""

_BETWEEN: Final = (_PARTS == _Part.TRUNK) & (POINTS == SPINE).any(1)
"""(S,) solids that go from the shoulders towards the hips, or from these upwards."""

_LAYERS: Final = (
    # radius factor, radius in pixels added, shift to the light (fraction of radius), colour gain
    (1.00, 1.3, 0.00, 0.28),
    (1.00, 0.0, 0.00, 0.66),
    (0.86, 0.0, 0.10, 0.86),
    (0.62, 0.0, 0.22, 1.02),
    (0.30, 0.0, 0.38, 1.18),
)
_FACTOR, _PIXELS, _SHIFT, _GAIN = np.array(_LAYERS).T
_RIM, BASE = 0, 1
"""Layers: around a solid, and the whole of it."""
_ALL: Final = tuple(range(len(_LAYERS)))
_RAISED: Final = 0.12
"""Metres by which a thigh's middle is nearer than the trunk's when it may cover it: the leg of who
stands hangs below the pelvis, and its round end would lie on it."""
_BEHIND: Final = 1e-3
"""Metres behind the trunk at which it is drawn then."""
_LIGHT: Final = np.array([-0.55, -0.83])
"""Direction to the light in the picture."""
_ANGLES: Final = np.linspace(0.0, 2.0 * np.pi, 32, endpoint=False)
_CIRCLE: Final = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], -1)
_FAR_OUTSIDE: Final = 2e4
"""Pixels: fixed-point coordinates would overflow beyond."""


def with_extras(joints: NDArray[np.floating[Any]]) -> Array:
    """(17, 3) metres to (20, 3): with the middle of the head and the soles."""
    body = np.asarray(joints, np.float64)
    # The middle of the head lies below the crown, where the joint Head is.
    up = body[HEAD] - body[THORAX]
    skull = body[HEAD] - up * (0.9 * _HEAD_RADIUS / max(float(np.linalg.norm(up)), 1e-6))
    shanks = body[[R_ANKLE, L_ANKLE]] - body[[R_KNEE, L_KNEE]]
    drop = _SOLE_DROP / np.maximum(np.linalg.norm(shanks, axis=1, keepdims=True), 1e-6)
    return np.concatenate([body, skull[None], body[[R_ANKLE, L_ANKLE]] + drop * shanks])


def hidden_solids(unseen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(S,) solids that need a joint of (17,) that nobody has seen.

    Of the trunk what hangs between shoulders and hips needs one of each: of who shows head and
    shoulders only these are known, not where the trunk goes.
    """
    lacking = unseen[_NEEDS]
    hidden = np.where(_PARTS == _Part.TRUNK, lacking[:, :2].all(1), lacking.any(1))
    hidden |= _BETWEEN & unseen[[R_HIP, L_HIP]].all()
    return np.asarray(hidden, np.bool_)


@dataclass(frozen=True, slots=True)
class Drawn:
    """The polygons of one person, and in which order they are drawn."""

    polygons: Polygons
    """(S, L, A, 2) by solid and layer, rim first, fixed-point pixels."""
    colors: list[list[list[float]]]
    """(S, L, 3) BGR, 0 to 255."""
    depth: list[float]
    """(S,) metres: the farthest first; solids of one depth belong together."""


def solids(pixels: Array, depth: Array, focal: float, person_id: int, *, middle: float) -> Drawn:
    """One person's solids in a picture.

    Args:
        pixels: (20, 2) where the points are.
        depth: (20,) metres.
        focal: pixels.
        middle: metres: what is farther sinks a little into the background, an aid to seeing
            depth.
    """
    polygons = outlines(pixels[POINTS], RADII * focal / depth[POINTS])
    at = np.stack([depth[POINTS[:, i]] for i in range(_BALLS)], -1).mean(-1)
    single = _COUNT == 2
    at[single] = depth[POINTS[single, :2]].mean(-1)
    base = _solid_colors(person_id % len(PALETTE))
    fog = np.clip(0.5 + 0.9 * (at - middle), 0.0, 1.0)[:, None] * 0.30
    base = base * (1.0 - fog) + np.array(BACKGROUND)[::-1] * fog
    colors = np.minimum(255.0 * base[:, None] * _GAIN[:, None], 255.0)
    return Drawn(polygons, colors.tolist(), _ordered(at).tolist())


def fill(
    image: NDArray[np.uint8], people: list[tuple[Drawn, NDArray[np.bool_]]], bits: int
) -> None:
    """Draw the chosen solids (S,) of people, farthest first."""
    entries = [
        (-drawn.depth[s], number, s)
        for number, (drawn, chosen) in enumerate(people)
        for s in np.flatnonzero(chosen).tolist()
    ]
    entries.sort()
    at = 0
    while at < len(entries):
        end = at + 1
        while end < len(entries) and entries[end][:2] == entries[at][:2]:
            end += 1
        drawn = people[entries[at][1]][0]
        group = [s for _, _, s in entries[at:end]]
        for layer in range(len(_LAYERS)):
            for s in group:
                color, outline = drawn.colors[s][layer], drawn.polygons[s, layer]
                cv2.fillConvexPoly(image, outline, color, cv2.LINE_AA, bits)
        at = end


def outlines(centres: Array, radii: Array, layers: tuple[int, ...] = _ALL) -> Polygons:
    """Convex outlines of S solids in these layers: (S, L, A, 2) fixed-point pixels.

    Args:
        centres: (S, 3, 2) pixels.
        radii: (S, 3) pixels.
    """
    which = list(layers)
    size = radii[:, None] * _FACTOR[which, None] + _PIXELS[which, None]  # (S, L, 3)
    shift = (radii[:, None] * _SHIFT[which, None])[..., None] * _LIGHT
    places = centres[:, None] + shift  # (S, L, 3, 2)
    if _RIM in layers:
        # It ends where the next solid begins: it is drawn between the balls, not around them.
        rim = layers.index(_RIM)
        middle = centres.mean(1, keepdims=True)
        middle[_COUNT == 2, 0] = centres[_COUNT == 2, :2].mean(1)
        inwards = middle - centres
        length = np.maximum(np.linalg.norm(inwards, axis=-1), 1e-6)
        pull = np.where(_FREE[:, None], 0.0, np.minimum(radii / length, 0.9))
        places[:, rim] += pull[..., None] * inwards
        size[(_COUNT == 1) & ~_FREE, rim] = 0.5
    # Of each direction the ball that reaches farthest that way: in turn they make the outline.
    farthest = (places @ _CIRCLE.T + size[..., None]).argmax(2)  # (S, L, A)
    ball = farthest + np.arange(0, size.size, _BALLS).reshape(*size.shape[:2], 1)
    points = places.reshape(-1, 2)[ball] + size.reshape(-1)[ball][..., None] * _CIRCLE
    return fixed_point(np.clip(points, -_FAR_OUTSIDE, _FAR_OUTSIDE))


def _ordered(depth: Array) -> Array:
    """(S,) depths by which solids are drawn: parts that do not reach through the trunk have
    one depth, and are drawn as one. The pelvis covers where legs begin that are not raised."""
    out = depth.copy()
    trunk = _OF_PART[_Part.TRUNK]
    out[trunk] = middle = float(depth[trunk].mean())
    for part, mine in _OF_PART.items():
        if part in (_Part.TRUNK, _Part.HEAD):
            continue
        if part in _LEGS and depth[mine][0] > middle - _RAISED:
            leg = float(depth[mine].mean())  # of two legs the nearer one still covers the other
            out[mine] = max(leg, middle + _BEHIND * (1.0 + leg - middle))
            continue
        if (depth[mine] > middle).all() or (depth[mine] <= middle).all():
            out[mine] = depth[mine].mean()
    return out


@cache
def _solid_colors(person: int) -> Array:
    """(S, 3) BGR, 0 to 1."""
    colors = person_colors(person)
    return np.array([colors.joint(solid.color) for solid in _SOLIDS])[:, ::-1]
