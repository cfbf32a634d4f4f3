"""Exports in the programs that they are for: Blender, OpenSim.

Both are too large to be installed for tests: hundreds of megabytes, and each for few versions of
Python. In an environment of its own (NumPy and one of them are enough):

    pip install bpy        # Blender as a module
    pip install opensim
    posemamba-live demo_videos/walk_turn.mp4 --headless \\
        --export walk.npz --export walk.bvh --export walk.trc --export walk.mot
    python benchmarks/format_readers.py walk.npz
    python benchmarks/format_readers.py walk.npz --model Model_Pose2Sim_simple.osim

Beside the .npz, a .bvh, .trc and .mot of the same name are compared with it, as far as they
are there and the program is installed. With a model, OpenSim poses it by the .mot, and the
directions of its bones are compared: they are its own bones, so that some degrees remain.
Such a model comes with Pose2Sim, in its folder OpenSim_Setup. `format_readers.mjs` beside
this file is for three.js and glTF's validator.
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

JOINTS = (
    "Hip", "RHip", "RKnee", "RAnkle", "LHip", "LKnee", "LAnkle", "Spine", "Thorax",
    "Nose", "Head", "LShoulder", "LElbow", "LWrist", "RShoulder", "RElbow", "RWrist",
)  # fmt: skip
BONES = {
    "Hips": 0, "Spine1": 7, "Neck": 8, "Head": 9,
    "LeftUpLeg": 4, "LeftLeg": 5, "LeftFoot": 6, "LeftArm": 11, "LeftForeArm": 12, "LeftHand": 13,
    "RightUpLeg": 1, "RightLeg": 2, "RightFoot": 3, "RightArm": 14, "RightForeArm": 15,
    "RightHand": 16,
}  # fmt: skip
SEGMENTS = {
    "thigh": ("femur", "tibia", "Hip", "Knee"),
    "shin": ("tibia", "talus", "Knee", "Ankle"),
    "upper arm": ("humerus", "ulna", "Shoulder", "Elbow"),
    "forearm": ("ulna", "hand", "Elbow", "Wrist"),
}
"""A model's bodies at both ends, and ours."""


def blender(path: Path, world: np.ndarray) -> None:
    """Import a .bvh with Blender's own settings; compare where its bones are."""
    import bpy

    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.import_anim.bvh(filepath=str(path))
    (armature,) = (thing for thing in bpy.data.objects if thing.type == "ARMATURE")
    errors = np.empty((len(world), len(BONES) + 1))
    for frame, joints in enumerate(world):
        bpy.context.scene.frame_set(frame + 1)
        bones = armature.pose.bones
        places = [armature.matrix_world @ bones[name].head for name in BONES]
        places.append(armature.matrix_world @ bones["Head"].tail)
        truth = joints[[*BONES.values(), 10]]
        errors[frame] = np.linalg.norm(np.array(places) - truth, axis=-1)
    print(
        f"Blender {bpy.app.version_string}, {path.name}: {len(world)} frames, {errors.shape[1]} "
        f"joints; {1000 * errors.max():.1f} mm at most, {1000 * errors.mean():.1f} mm on average"
    )


def opensim_markers(path: Path, y_up: np.ndarray) -> None:
    """Read a .trc with OpenSim; compare the markers."""
    import opensim

    table = opensim.TimeSeriesTableVec3(str(path))
    assert tuple(table.getColumnLabels()) == JOINTS
    found = np.array(
        [
            [[row[joint][axis] for axis in range(3)] for joint in range(len(JOINTS))]
            for row in (table.getRowAtIndex(i) for i in range(table.getNumRows()))
        ]
    )
    error = np.linalg.norm(found - y_up, axis=-1).max()
    unit = table.getTableMetaDataString("Units")
    print(f"OpenSim, {path.name}: {len(found)} rows in {unit}; {1000 * error:.3f} mm at most")


def opensim_motion(path: Path, y_up: np.ndarray, model_path: Path) -> None:
    """Pose an OpenSim model by a .mot; compare the directions of its bones."""
    import opensim

    opensim.Logger.setLevelString("error")
    model = opensim.Model(str(model_path))
    state = model.initSystem()
    coordinates, bodies = model.getCoordinateSet(), model.getBodySet()
    known = {coordinates.get(i).getName() for i in range(coordinates.getSize())}
    table = opensim.TimeSeriesTable(str(path))
    labels = list(table.getColumnLabels())
    print(f"columns that {model_path.name} does not have: {sorted(set(labels) - known)}")

    def place(body: str) -> np.ndarray:
        position = bodies.get(body).getPositionInGround(state)
        return np.array([position.get(axis) for axis in range(3)])

    errors: dict[str, list[float]] = {}
    for i in range(0, table.getNumRows(), 4):
        row = table.getRowAtIndex(i)
        for column, label in enumerate(labels):
            if label in known:
                coordinate: Any = coordinates.get(label)
                coordinate.setLocked(state, False)
                coordinate.setClamped(state, False)
                metres = label in ("pelvis_tx", "pelvis_ty", "pelvis_tz")
                value = row[column] if metres else np.radians(row[column])
                coordinate.setValue(state, value, False)
        model.realizePosition(state)
        for side in "RL":
            for name, (start, end, first, last) in SEGMENTS.items():
                bone = place(f"{end}_{side.lower()}") - place(f"{start}_{side.lower()}")
                ours = y_up[i, JOINTS.index(side + last)] - y_up[i, JOINTS.index(side + first)]
                cosine = bone @ ours / np.linalg.norm(bone) / np.linalg.norm(ours)
                angle = float(np.degrees(np.arccos(min(1.0, cosine))))
                errors.setdefault(f"{name} {side}", []).append(angle)
    for name, angles in errors.items():
        print(
            f"  {name:12} {np.mean(angles):5.1f} degrees on average, {np.max(angles):5.1f} at most"
        )


def main() -> None:
    """Compare what is there with whatever is installed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("poses", type=Path, help="the .npz, beside the other files")
    parser.add_argument("--model", type=Path, help="an OpenSim model (.osim)")
    arguments = parser.parse_args()
    with np.load(arguments.poses, allow_pickle=False) as data:
        world = data["joints_world"].astype(np.float64)
    y_up = np.stack([world[..., 0], world[..., 2], -world[..., 1]], -1)
    bvh, trc, mot = (arguments.poses.with_suffix(suffix) for suffix in (".bvh", ".trc", ".mot"))
    if importlib.util.find_spec("bpy") is None:
        print("Blender is not installed here (pip install bpy)")
    elif bvh.exists():
        blender(bvh, world)
    if importlib.util.find_spec("opensim") is None:
        print("OpenSim is not installed here (pip install opensim)")
        return
    if trc.exists():
        opensim_markers(trc, y_up)
    if mot.exists() and arguments.model is not None:
        opensim_motion(mot, y_up, arguments.model)


if __name__ == "__main__":
    main()
