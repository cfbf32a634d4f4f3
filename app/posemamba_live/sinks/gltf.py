"""`.glb`: animated skeletons for three.js, game engines and viewers.

glTF 2.0, metres, Y up, facing +Z. Every person is a tree of nodes with the T-pose as rest
and an animation of their rotations; thin solids along the bones, without a skin, make the
person visible in any viewer. Key frames are at the times of the poses, so that nothing is
resampled; where a person is not seen for longer than a quarter of a second, the tree is
scaled to nothing. Several people are in one file; names of all but the one seen most end
in `_person` and the id. The node `Camera` stands where the film was taken from and sees what
it shows: the picture behind it fits the skeletons.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from posemamba.normalize import focal_pixels
from posemamba_live import __version__
from posemamba_live.drawing.colours import BONE_JOINT, PersonColors, Rgb, person_colors
from posemamba_live.keypoints import MAX_GAP_S
from posemamba_live.sinks.exporter import NobodySeen
from posemamba_live.takes.armature import NODES, ArmatureSolver, bone_lengths, rest_offsets
from posemamba_live.takes.rotations import from_matrix, to_y_up
from posemamba_live.takes.take import Take, joints_and_times
from posemamba_live.types import Pose3D

Array = NDArray[np.float64]

_FLOAT, _UINT16 = 5126, 5123
_ARRAY_BUFFER, _ELEMENT_BUFFER = 34962, 34963
_BONE_WIDTH: Final = 0.09
"""Of a bone's solid, at its thickest, relative to its length."""
_GAP_STEPS: Final = 2.5
"""Frame distances without somebody that are no gap yet."""
_NEAREST, _FARTHEST = 0.05, 200.0
"""Metres that the camera sees."""
_Y_UP: Final = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
"""From the world frame to glTF's; `to_y_up` for matrices."""
_GAMMA: Final = 2.2
"""Colours are sRGB here and linear in glTF."""


def write_glb(path: Path, take: Take) -> None:
    """Everybody's skeleton, motion and bones to look at."""
    if not take.poses:
        raise NobodySeen
    scene = _Scene()
    times = [pose.pose2d.timestamp for pose in take.poses]
    span = (min(times), max(times))
    for number, (person, poses) in enumerate(take.people.items()):
        _add_person(scene, poses, f"_person{person}" if number else "", span, 1.0 / take.rate)
    _add_camera(scene, take)
    meta = json.loads(json.dumps(take.described()))
    path.write_bytes(scene.glb({"posemamba": meta}))


@dataclass(slots=True)
class _Scene:
    """A glTF document under construction."""

    nodes: list[dict[str, Any]] = field(default_factory=list)
    roots: list[int] = field(default_factory=list)
    meshes: list[dict[str, Any]] = field(default_factory=list)
    materials: list[dict[str, Any]] = field(default_factory=list)
    channels: list[dict[str, Any]] = field(default_factory=list)
    samplers: list[dict[str, Any]] = field(default_factory=list)
    cameras: list[dict[str, Any]] = field(default_factory=list)
    accessors: list[dict[str, Any]] = field(default_factory=list)
    views: list[dict[str, Any]] = field(default_factory=list)
    data: bytearray = field(default_factory=bytearray)

    def accessor(
        self, values: NDArray[Any], kind: str, *, bounds: bool = False, target: int | None = None
    ) -> int:
        """Store values, 32-bit floats or 16-bit indices; returns their accessor."""
        indices = values.dtype.kind in "iu"
        stored = values.astype("<u2" if indices else "<f4")
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": stored.nbytes}
        if target is not None:
            view["target"] = target
        self.views.append(view)
        self.data += stored.tobytes()
        self.data += bytes(-len(self.data) % 4)
        accessor: dict[str, Any] = {
            "bufferView": len(self.views) - 1,
            "componentType": _UINT16 if indices else _FLOAT,
            "count": len(stored),
            "type": kind,
        }
        if bounds:
            flat = stored.reshape(len(stored), -1)
            accessor["min"], accessor["max"] = flat.min(0).tolist(), flat.max(0).tolist()
        self.accessors.append(accessor)
        return len(self.accessors) - 1

    def animate(
        self, node: int, path: str, times: int, values: Array, mode: str = "LINEAR"
    ) -> None:
        """Let `path` of a node go through `values` at the times of an accessor."""
        kind = "VEC4" if values.shape[1] == 4 else "VEC3"
        output = self.accessor(values, kind)
        self.samplers.append({"input": times, "output": output, "interpolation": mode})
        target = {"node": node, "path": path}
        self.channels.append({"sampler": len(self.samplers) - 1, "target": target})

    def glb(self, extras: dict[str, Any]) -> bytes:
        """The binary container."""
        document: dict[str, Any] = {
            "asset": {"version": "2.0", "generator": f"posemamba-live {__version__}"},
            "scene": 0,
            "scenes": [{"nodes": self.roots, "extras": extras}],
            "nodes": self.nodes,
            "meshes": self.meshes,
            "materials": self.materials,
            "animations": [
                {"name": "motion", "channels": self.channels, "samplers": self.samplers}
            ],
            "accessors": self.accessors,
            "bufferViews": self.views,
            "buffers": [{"byteLength": len(self.data)}],
        }
        if self.cameras:
            document["cameras"] = self.cameras
        text = json.dumps(document, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        chunks = struct.pack("<I4s", len(text), b"JSON") + text
        chunks += struct.pack("<I4s", len(self.data), b"BIN\0") + self.data
        return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def _add_person(
    scene: _Scene, poses: list[Pose3D], suffix: str, span: tuple[float, float], step: float
) -> None:
    """A tree of nodes with its bones and its motion.

    Args:
        span: seconds of the first and last pose of anybody.
        step: seconds from frame to frame.
    """
    joints, times = joints_and_times(poses)
    posture = ArmatureSolver().solve(joints, times)
    offsets = to_y_up(rest_offsets(bone_lengths(joints)))
    holder = len(scene.nodes)
    first = holder + 1
    scene.roots.append(holder)
    scene.nodes.append({"name": f"Person{suffix}", "children": [first]})
    colors = person_colors(poses[0].person_id)
    materials = _materials(scene, colors)
    for i, node in enumerate(NODES):
        entry: dict[str, Any] = {"name": node.name + suffix, "translation": offsets[i].tolist()}
        children = [child for child, other in enumerate(NODES) if other.parent == i]
        if children:
            entry["children"] = [first + child for child in children]
        bones = [
            _bone(scene, offsets[child], materials[colors.joint(BONE_JOINT[joint - 1])])
            for child in children
            if (joint := NODES[child].joint) is not None
        ]
        if bones:
            scene.meshes.append({"primitives": bones})
            entry["mesh"] = len(scene.meshes) - 1
        scene.nodes.append(entry)
    scene.nodes[first]["translation"] = to_y_up(posture.root[0]).tolist()

    keys = scene.accessor(times, "SCALAR", bounds=True)
    scene.animate(first, "translation", keys, to_y_up(posture.root))
    for i, node in enumerate(NODES):
        if not node.follows:
            scene.animate(first + i, "rotation", keys, to_y_up(posture.rotations[:, i]))
    _hide_when_absent(scene, holder, times, span, step)


def _add_camera(scene: _Scene, take: Take) -> None:
    """The camera of the film, if it is known; one that was thought to move is animated."""
    grounds = [pose.ground for pose in take.poses if pose.ground is not None]
    if len(grounds) < len(take.poses) or take.fov_deg is None:
        return
    width, height = (int(side) for side in take.meta["image_size"])
    focal = float(focal_pixels((width, height), take.fov_deg))
    lens = {
        "yfov": 2.0 * math.atan(0.5 * height / focal), "aspectRatio": width / height,
        "znear": _NEAREST, "zfar": _FARTHEST,
    }  # fmt: skip
    scene.cameras.append({"name": "Camera", "type": "perspective", "perspective": lens})
    times, first = np.unique([p.pose2d.timestamp for p in take.poses], return_index=True)
    shown = [grounds[row] for row in first]
    places = to_y_up(np.array([[0.0, 0.0, ground.height] for ground in shown]))
    # glTF's cameras look along -z with y up, ours along z with y down.
    turns = np.stack([ground.rotation * [1.0, -1.0, -1.0] for ground in shown])
    rotations = from_matrix(_Y_UP @ turns)
    scene.roots.append(len(scene.nodes))
    scene.nodes.append(
        {
            "name": "Camera",
            "camera": 0,
            "translation": places[0].tolist(),
            "rotation": rotations[0].tolist(),
        }
    )
    if any(ground != shown[0] for ground in shown):
        keys = scene.accessor(times, "SCALAR", bounds=True)
        scene.animate(len(scene.nodes) - 1, "translation", keys, places)
        scene.animate(len(scene.nodes) - 1, "rotation", keys, rotations)


def _hide_when_absent(
    scene: _Scene, holder: int, times: Array, span: tuple[float, float], step: float
) -> None:
    """Scale a person to nothing before the first pose, in gaps, and after the last one.

    At low rates a frame distance is no gap.
    """
    steps = np.diff(times)
    longest = max(MAX_GAP_S + 0.5 * min(step, MAX_GAP_S), _GAP_STEPS * step)
    frame = min(float(np.median(steps)) if len(steps) else step, max(step, MAX_GAP_S))
    keys = [(float(times[0]), 1.0)]
    if times[0] > span[0]:
        keys.insert(0, (span[0], 0.0))
    for i in np.flatnonzero(steps > longest):
        keys += [(float(times[i]) + frame, 0.0), (float(times[i + 1]), 1.0)]
    if times[-1] + frame < span[1]:
        keys.append((float(times[-1]) + frame, 0.0))
    if len(keys) > 1:
        at, scale = np.array(keys).T
        accessor = scene.accessor(at, "SCALAR", bounds=True)
        scene.animate(holder, "scale", accessor, scale[:, None].repeat(3, 1), "STEP")


def _materials(scene: _Scene, colors: PersonColors) -> dict[Rgb, int]:
    """A person's colours, added to the scene: colour to index."""
    out = {}
    for color in (colors.left, colors.right, colors.centre):
        linear = [channel**_GAMMA for channel in color]
        surface = {"baseColorFactor": [*linear, 1.0], "metallicFactor": 0.0, "roughnessFactor": 0.7}
        scene.materials.append({"pbrMetallicRoughness": surface})
        out[color] = len(scene.materials) - 1
    return out


def _bone(scene: _Scene, offset: Array, material: int) -> dict[str, Any]:
    """A primitive from the origin to `offset`: two pyramids, base to base near the origin."""
    length = float(np.linalg.norm(offset))
    along = offset / max(length, 1e-9)
    side = np.cross(along, np.eye(3)[np.abs(along).argmin()])
    side /= max(float(np.linalg.norm(side)), 1e-9)  # a bone may have no length
    other = np.cross(along, side)
    ring = [0.15 * offset + _BONE_WIDTH * length * v for v in (side, other, -side, -other)]
    corners = np.array([np.zeros(3), *ring, offset])
    triangles = [(1 + k, 0, 1 + (k + 1) % 4) for k in range(4)]
    triangles += [(1 + k, 1 + (k + 1) % 4, 5) for k in range(4)]
    indices = np.array(triangles).reshape(-1)
    return {
        "attributes": {
            "POSITION": scene.accessor(corners, "VEC3", bounds=True, target=_ARRAY_BUFFER)
        },
        "indices": scene.accessor(indices, "SCALAR", target=_ELEMENT_BUFFER),
        "material": material,
    }
