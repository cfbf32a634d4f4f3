"""`.bvh`: an animated skeleton for Blender, MotionBuilder and others.

Metres, Y up, facing +Z, the rest pose a T-pose: Blender's importer needs no setting
changed. A file holds one person, from the first frame with the person to the last. The
format has no way to leave out a frame: gaps are interpolated, with a warning.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posemamba_live.sinks.exporter import NobodySeen
from posemamba_live.takes.armature import NODES, ArmatureSolver, bone_lengths, rest_offsets
from posemamba_live.takes.rotations import slerp, to_matrix, to_y_up, zxy_angles
from posemamba_live.takes.take import Motion, Take, fill_gaps

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]


def write_bvh(path: Path, take: Take) -> None:
    """One person's skeleton and motion."""
    motions = take.motions()
    if not motions:
        raise NobodySeen
    motion = motions[0]
    missing = int((~motion.seen).sum())
    if missing:
        logger.warning("%s: %d frames without the person are interpolated", take.title, missing)
    offsets = to_y_up(rest_offsets(bone_lengths(motion.joints[motion.seen])))
    root, rotations = _filled(motion)
    turning = [i for i, node in enumerate(NODES) if not node.tip]
    angles = np.degrees(zxy_angles(to_matrix(to_y_up(rotations[:, turning]))))
    rows = np.hstack([to_y_up(root), angles.reshape(len(angles), -1)])
    with open(path, "w", encoding="ascii", newline="\n") as file:
        file.write("HIERARCHY\n")
        file.writelines(line + "\n" for line in _joint(0, offsets, ""))
        file.write(f"MOTION\nFrames: {len(rows)}\nFrame Time: {1.0 / motion.rate:.8f}\n")
        file.writelines(" ".join(f"{value:.6f}" for value in row) + "\n" for row in rows)


def _joint(index: int, offsets: Array, indent: str) -> Iterator[str]:
    """Lines of one joint and all below it, in the order of NODES."""
    node = NODES[index]
    kind = "ROOT" if node.parent < 0 else "JOINT"
    yield f"{indent}End Site" if node.tip else f"{indent}{kind} {node.name}"
    yield indent + "{"
    inner = indent + "  "
    yield inner + "OFFSET " + " ".join(f"{value:.6f}" for value in offsets[index])
    if not node.tip:
        turns = "Zrotation Xrotation Yrotation"
        place = "6 Xposition Yposition Zposition" if node.parent < 0 else "3"
        yield f"{inner}CHANNELS {place} {turns}"
    for child, other in enumerate(NODES):
        if other.parent == index:
            yield from _joint(child, offsets, inner)
    yield indent + "}"


def _filled(motion: Motion) -> tuple[Array, Array]:
    """Root (T, 3) and rotations (T, NUM_NODES, 4) of every frame, world frame."""
    seen = motion.seen
    posture = ArmatureSolver().solve(motion.joints[seen], motion.times[seen])
    at = np.flatnonzero(seen)
    rows = np.arange(len(seen))
    after = np.searchsorted(at, rows)
    before = np.where(at[after] == rows, after, after - 1)
    fraction = (rows - at[before]) / np.maximum(at[after] - at[before], 1)
    rotations = slerp(
        posture.rotations[before], posture.rotations[after], fraction[:, None].repeat(len(NODES), 1)
    )
    root = np.full((len(seen), 3), np.nan)
    root[seen] = posture.root
    return fill_gaps(root, seen), rotations
