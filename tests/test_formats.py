"""Every export of the demo clip, read back by programs that are not ours, joint by joint.

The reference is `walk.npz` of the same run. `benchmarks/format_readers.py` does the same with
Blender, OpenSim and three.js, which are too large to install for tests.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import bvhio
import c3d
import ezc3d
import numpy as np
import pandas as pd
import pygltflib
import pytest
import trimesh
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from posemamba.skeleton import (
    JOINT_NAMES,
    L_ANKLE,
    L_ELBOW,
    L_HIP,
    L_KNEE,
    L_SHOULDER,
    L_WRIST,
    PARENTS,
    R_ANKLE,
    R_ELBOW,
    R_HIP,
    R_KNEE,
    R_SHOULDER,
    R_WRIST,
)
from posemamba_live.errors import SinkError, UsageError
from posemamba_live.sinks import FORMATS, check_export, create_exporter
from posemamba_live.takes.armature import NODES
from posemamba_live.takes.take import Take, read_take
from posemamba_live.types import Ground, Pose3D
from tests.support.formats import INSTALLED

Array = NDArray[np.float64]

PLACES = {"Hips": 0, "Spine1": 7, "Neck": 8, "Head": 9} | {
    side + name: JOINT_NAMES.index(side[0] + joint)
    for side in ("Left", "Right")
    for name, joint in (
        ("UpLeg", "Hip"), ("Leg", "Knee"), ("Foot", "Ankle"),
        ("Arm", "Shoulder"), ("ForeArm", "Elbow"), ("Hand", "Wrist"),
    )
}  # fmt: skip
"""Where the nodes of animation formats are, by joint; the crown is the end of Head."""
CENTIMETRE = 0.01
RIGHT = np.array([1.5, 0.0, 0.0])
"""Where the second person is, metres from the first."""


@pytest.fixture(scope="module")
def take(walk_exports: Path) -> Take:
    return read_take(walk_exports / "walk.npz")


@pytest.fixture(scope="module")
def world(walk_exports: Path) -> Array:
    """(167, 17, 3) metres, Z up."""
    with np.load(walk_exports / "walk.npz", allow_pickle=False) as data:
        return data["joints_world"].astype(np.float64)


def y_up(points: Array) -> Array:
    return np.stack([points[..., 0], points[..., 2], -points[..., 1]], -1)


def export(path: Path, poses: Sequence[Pose3D], **meta: Any) -> list[Path]:
    about = {"fps": 30.0, "image_size": [640, 360], **meta}
    exporter = create_exporter(path, overwrite=False, meta=about)
    for pose in poses:
        exporter.add(pose)
    exporter.close()
    return list(exporter.files)


def someone_else(pose: Pose3D, person: int) -> Pose3D:
    """The same pose as another person's."""
    world = pose.joints_world + RIGHT.astype(np.float32)
    return replace(pose, pose2d=replace(pose.pose2d, person_id=person), joints_world=world)


@pytest.fixture(scope="module")
def two_people(take: Take) -> list[Pose3D]:
    """Person 0 of the clip, and person 4, in frames 20 to 59 and 90 to 129: a gap of a second,
    and one missing frame, 30."""
    frames = [*range(20, 30), *range(31, 60), *range(90, 130)]
    return [*take.poses, *(someone_else(take.poses[i], 4) for i in frames)]


GAP = range(60, 90)


# -- tables ----------------------------------------------------------------------------------


def test_every_format_is_there(walk_exports: Path) -> None:
    assert {path.name for path in walk_exports.iterdir()} == {f"walk{s}" for s in INSTALLED}


def test_wide_csv(walk_exports: Path, take: Take, world: Array) -> None:
    table = pd.read_csv(walk_exports / "walk.csv")
    assert list(table.columns[:10]) == [
        "frame_index", "timestamp", "person_id", "predicted",
        "Hip_x", "Hip_y", "Hip_z", "Hip_u", "Hip_v", "Hip_score",
    ]  # fmt: skip
    assert table["predicted"].dtype == bool
    assert table["frame_index"].tolist() == list(range(167))
    np.testing.assert_allclose(table["timestamp"], np.arange(167) / 30.0, atol=1e-5)
    for j, name in enumerate(JOINT_NAMES):
        np.testing.assert_allclose(table[[f"{name}_{a}" for a in "xyz"]], world[:, j], atol=1e-5)
        pixels = np.array([pose.pose2d.keypoints[j] for pose in take.poses])
        np.testing.assert_allclose(table[[f"{name}_u", f"{name}_v"]], pixels, atol=0.006)


def test_long_csv(walk_exports: Path, world: Array) -> None:
    table = pd.read_csv(walk_exports / "walk.long.csv")
    assert len(table) == 167 * 17
    for axis, name in enumerate("xyz"):
        cells = table.pivot(index="frame_index", columns="joint", values=name)
        np.testing.assert_allclose(cells[list(JOINT_NAMES)], world[..., axis], atol=1e-5)
    assert table["score"].between(0.0, 1.0).all()


def test_parquet(walk_exports: Path, world: Array) -> None:
    import pyarrow.parquet

    table = pd.read_parquet(walk_exports / "walk.parquet")
    assert table["frame_index"].dtype == np.int64
    assert table["predicted"].dtype == bool
    wide = pd.read_csv(walk_exports / "walk.csv")
    assert list(table.columns) == list(wide.columns)
    for j, name in enumerate(JOINT_NAMES):
        np.testing.assert_array_equal(
            table[[f"{name}_{a}" for a in "xyz"]], world[:, j].astype(np.float32)
        )
    meta = pyarrow.parquet.read_schema(walk_exports / "walk.parquet").metadata[b"posemamba"]
    assert json.loads(meta)["weights"] == "window-m7"


def test_json(walk_exports: Path, world: Array) -> None:
    data = json.loads((walk_exports / "walk.json").read_text(encoding="utf-8"))
    assert data["meta"]["source"].endswith("walk_turn.mp4")
    assert (data["joint_names"], data["joint_parents"]) == (list(JOINT_NAMES), list(PARENTS))
    rows = pd.json_normalize(data["frames"], "people", ["frame_index", "timestamp"])
    assert rows["frame_index"].tolist() == list(range(167))
    np.testing.assert_allclose(np.array(rows["joints_world"].tolist()), world, atol=1e-5)
    with np.load(walk_exports / "walk.npz") as npz:
        for key in ("joints_3d", "root_3d", "camera_pitch", "camera_roll", "camera_height"):
            np.testing.assert_allclose(np.array(rows[key].tolist()), npz[key], atol=1e-5)
        for key in ("visibility_2d", "peak_2d"):
            np.testing.assert_allclose(np.array(rows[key].tolist()), npz[key], atol=1e-3)
        assert rows["look_ahead"].tolist() == npz["look_ahead"].tolist()
        assert data["camera_fov"] == npz["camera_fov"] == 60.0


def three_point(world: Array, a: int, b: int, c: int) -> Array:
    """(T,) degrees between the bones a-b and b-c."""
    u, v = world[:, b] - world[:, a], world[:, c] - world[:, b]
    cosine = (u * v).sum(-1) / np.linalg.norm(u, axis=-1) / np.linalg.norm(v, axis=-1)
    return np.degrees(np.arccos(cosine))


def test_angles_csv(walk_exports: Path, world: Array) -> None:
    table = pd.read_csv(walk_exports / "walk.angles.csv")
    assert len(table) == 167
    for name, *joints in (
        ("knee_angle_r", R_HIP, R_KNEE, R_ANKLE),
        ("knee_angle_l", L_HIP, L_KNEE, L_ANKLE),
        ("elbow_flex_r", R_SHOULDER, R_ELBOW, R_WRIST),
        ("elbow_flex_l", L_SHOULDER, L_ELBOW, L_WRIST),
    ):
        expected = three_point(world, *joints)
        # A hinge measures less than the angle between the bones where these are nearly
        # straight and their plane is not the hinge's, and never more.
        lacking = expected - table[name].to_numpy()
        assert lacking.min() > -0.02, name
        assert lacking.max() < 6.0, name
        assert lacking[expected > 30.0].max(initial=0.0) < 1.5, name


# -- OpenSim ---------------------------------------------------------------------------------


def read_trc(path: Path) -> tuple[list[str], pd.DataFrame]:
    """As Pose2Sim does: names from the fourth line, pandas for the rest."""
    head = path.read_text(encoding="utf-8").splitlines()[:6]
    assert head[0].split("\t") == ["PathFileType", "4", "(X/Y/Z)", path.name]
    about = dict(zip(head[1].split("\t"), head[2].split("\t"), strict=True))
    names = [name for name in head[3].split("\t")[2::3] if name]
    assert head[3].split("\t")[:2] == ["Frame#", "Time"]
    assert head[4].split("\t")[2:5] == ["X1", "Y1", "Z1"]
    assert head[5] == "", "OpenSim skips the sixth line"
    table = pd.read_csv(path, sep="\t", skiprows=4)
    table.columns = ["Frame#", "Time", *table.columns[2:]]
    assert about["Units"] == "m"
    assert int(about["NumMarkers"]) == len(names) == (table.shape[1] - 2) / 3
    assert int(about["NumFrames"]) == int(about["OrigNumFrames"]) == len(table)
    assert int(about["OrigDataStartFrame"]) == table["Frame#"].iloc[0]
    assert float(about["DataRate"]) == float(about["CameraRate"])
    np.testing.assert_allclose(np.diff(table["Time"]), 1.0 / float(about["DataRate"]), atol=2e-6)
    return names, table


def test_trc(walk_exports: Path, world: Array) -> None:
    names, table = read_trc(walk_exports / "walk.trc")
    assert names == list(JOINT_NAMES)
    points = table.iloc[:, 2:].to_numpy().reshape(-1, 17, 3)
    np.testing.assert_allclose(points, y_up(world), atol=1e-6)
    assert points[:, R_ANKLE, 1].min() > -0.05, "Y is up, the floor at 0"


def read_mot(path: Path) -> pd.DataFrame:
    lines = path.read_text(encoding="utf-8").splitlines()
    end = lines.index("endheader")
    head = dict(line.split("=") for line in lines[:end] if "=" in line)
    table = pd.read_csv(path, sep="\t", skiprows=end + 1)
    assert head["inDegrees"] == "yes"
    assert (int(head["nRows"]), int(head["nColumns"])) == table.shape
    assert table.columns[0] == "time"
    return table


def rotations(table: pd.DataFrame, *names: str, signs: Sequence[int] = (1, 1, 1)) -> Rotation:
    """OpenSim's joints: rotations about z, x and y, each in the axes turned by the one before."""
    return Rotation.from_euler("ZXY", table[list(names)].to_numpy() * signs, degrees=True)


def assert_along(directions: Array, world: Array, start: int, end: int, degrees: float) -> None:
    """Directions (T, 3), Y up, are those of a bone."""
    bones = y_up(world[:, end] - world[:, start])
    cosine = (directions * bones).sum(-1) / np.linalg.norm(bones, axis=-1)
    assert np.degrees(np.arccos(np.minimum(cosine, 1.0))).max() < degrees, JOINT_NAMES[end]


def test_mot(walk_exports: Path, world: Array) -> None:
    """A figure posed by the angles, as OpenSim poses its models, has the same bones."""
    table = read_mot(walk_exports / "walk.mot")
    np.testing.assert_allclose(table["time"], np.arange(167) / 30.0, atol=1e-5)
    pelvis = rotations(table, "pelvis_tilt", "pelvis_list", "pelvis_rotation")
    lumbar = rotations(table, "lumbar_extension", "lumbar_bending", "lumbar_rotation")
    down = [0.0, -1.0, 0.0]
    assert_along((pelvis * lumbar).apply([0.0, 1.0, 0.0]), world, 7, 8, 0.01)
    assert_along(pelvis.apply([0.0, 0.0, 1.0]), world, L_HIP, R_HIP, 0.01)
    for side, sign, joints in (
        ("r", 1, (R_HIP, R_KNEE, R_ANKLE, R_SHOULDER, R_ELBOW, R_WRIST)),
        ("l", -1, (L_HIP, L_KNEE, L_ANKLE, L_SHOULDER, L_ELBOW, L_WRIST)),
    ):
        hip, knee, ankle, shoulder, elbow, wrist = joints
        signs = (1, sign, sign)
        names = [f"hip_{name}_{side}" for name in ("flexion", "adduction", "rotation")]
        thigh = pelvis * rotations(table, *names, signs=signs)
        assert_along(thigh.apply(down), world, hip, knee, 0.01)
        bend = Rotation.from_euler(
            "z", -table[f"knee_angle_{side}"].to_numpy()[:, None], degrees=True
        )
        assert_along((thigh * bend).apply(down), world, knee, ankle, 8.0)
        names = [f"arm_{name}_{side}" for name in ("flex", "add", "rot")]
        arm = pelvis * lumbar * rotations(table, *names, signs=signs)
        assert_along(arm.apply(down), world, shoulder, elbow, 0.01)
        bend = Rotation.from_euler(
            "z", table[f"elbow_flex_{side}"].to_numpy()[:, None], degrees=True
        )
        assert_along((arm * bend).apply(down), world, elbow, wrist, 8.0)
    middle = table[["pelvis_tx", "pelvis_ty", "pelvis_tz"]] - pelvis.apply([0.0563, 0.0785, 0.0])
    assert np.linalg.norm(middle - y_up(world[:, 0]), axis=-1).max() < CENTIMETRE
    jumps = np.abs(np.diff(table.drop(columns="time"), axis=0))
    assert jumps.max() < 30.0, "no angle jumps by a turn"


# -- C3D -------------------------------------------------------------------------------------


def test_c3d_by_ezc3d(walk_exports: Path, world: Array) -> None:
    file = ezc3d.c3d(str(walk_exports / "walk.c3d"))
    point = file["parameters"]["POINT"]
    assert point["LABELS"]["value"] == list(JOINT_NAMES)
    assert (point["UNITS"]["value"], point["RATE"]["value"].tolist()) == (["mm"], [30.0])
    assert point["X_SCREEN"]["value"] + point["Y_SCREEN"]["value"] == ["+X", "+Z"]
    points = file["data"]["points"][:3].transpose(2, 1, 0)
    np.testing.assert_allclose(points, 1000.0 * world, atol=0.001)
    assert file["header"]["points"]["first_frame"] == 0


def test_c3d_by_another_reader(walk_exports: Path, world: Array) -> None:
    with open(walk_exports / "walk.c3d", "rb") as handle:
        reader = c3d.Reader(handle)
        assert [label.strip() for label in reader.point_labels] == list(JOINT_NAMES)
        assert (reader.first_frame, reader.last_frame, reader.point_rate) == (1, 167, 30.0)
        frames = [points for _, points, _ in reader.read_frames()]
    np.testing.assert_allclose(np.array(frames)[..., :3], 1000.0 * world, atol=0.001)
    assert (np.array(frames)[..., 3] >= 0.0).all(), "all valid"


def test_c3d_of_a_part(take: Take, world: Array, tmp_path: Path) -> None:
    """Frames keep the numbers that they have in the video, counted from 1."""
    (path,) = export(tmp_path / "a.c3d", take.poses[20:])
    with open(path, "rb") as handle:
        reader = c3d.Reader(handle)
        assert (reader.first_frame, reader.last_frame) == (21, 167)
        number, points, _ = next(reader.read_frames())
    assert number == 21
    np.testing.assert_allclose(points[:, :3], 1000.0 * world[20], atol=0.001)


def test_c3d_of_more_frames_than_its_header_can_count(
    take: Take, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def at(frame: int) -> Pose3D:
        pose = take.poses[frame % 167]
        pose2d = replace(pose.pose2d, frame_index=frame, timestamp=frame / 30.0)
        return replace(pose, pose2d=pose2d)

    with caplog.at_level(logging.WARNING):
        (path,) = export(tmp_path / "a.c3d", [at(frame) for frame in range(66_000)])
    assert "a.c3d: some programs read no more than 65535 frames" in caplog.text
    with open(path, "rb") as handle:
        reader = c3d.Reader(handle)
        assert (reader.first_frame, reader.last_frame) == (1, 66_000)
    assert path.stat().st_size > 66_000 * 17 * 16


# -- animation -------------------------------------------------------------------------------


def bvh_places(path: Path, frames: Sequence[int]) -> dict[str, Array]:
    """Name to (len(frames), 3), by bvhio's forward kinematics."""
    root = bvhio.readAsHierarchy(str(path))
    found: dict[str, list[Array]] = {}
    for frame in frames:
        root.loadPose(frame)
        for joint, _, _ in root.layout():
            found.setdefault(joint.Name, []).append(np.array(joint.PositionWorld))
    return {name: np.array(places) for name, places in found.items()}


def test_bvh(walk_exports: Path, world: Array) -> None:
    frames = list(range(0, 167, 6))
    places = bvh_places(walk_exports / "walk.bvh", frames)
    assert set(places) == {node.name for node in NODES if not node.tip}
    for name, joint in PLACES.items():
        error = np.linalg.norm(places[name] - y_up(world[frames, joint]), axis=-1)
        assert error.max() < CENTIMETRE, name


def test_bvh_rest_and_motion(walk_exports: Path, world: Array) -> None:
    path = walk_exports / "walk.bvh"
    deserialised = bvhio.readAsBvh(str(path))
    assert deserialised.FrameCount == 167
    assert deserialised.FrameTime == pytest.approx(1.0 / 30.0, abs=1e-7)
    root = bvhio.readAsHierarchy(str(path))
    root.loadRestPose()
    rest = {joint.Name: np.array(joint.PositionWorld) for joint, _, _ in root.layout()}
    for side, sign in (("Left", 1.0), ("Right", -1.0)):
        arm = rest[f"{side}Hand"] - rest[f"{side}Arm"]
        np.testing.assert_allclose(arm / np.linalg.norm(arm), [sign, 0.0, 0.0], atol=1e-6)
        leg = rest[f"{side}Foot"] - rest[f"{side}UpLeg"]
        np.testing.assert_allclose(leg / np.linalg.norm(leg), [0.0, -1.0, 0.0], atol=1e-6)
    assert rest["Head"][2] > 0.05, "faces +Z"
    lines = path.read_text().splitlines()
    table = np.array([line.split() for line in lines[lines.index("MOTION") + 3 :]], float)
    steps = np.abs(np.diff(table[:, 3:], axis=0))
    assert steps.max() < 20.0, "no channel jumps"
    turns = Rotation.from_euler("ZXY", table[:, 3:].reshape(-1, 3), degrees=True)
    assert np.degrees(turns.magnitude()).max() < 179.0


@dataclass
class Animated:
    """A .glb as pygltflib sees it, and its nodes where the animation puts them."""

    path: Path

    def __post_init__(self) -> None:
        self.file = pygltflib.GLTF2().load(str(self.path))
        self.blob = self.file.binary_blob()
        self.index = {node.name: i for i, node in enumerate(self.file.nodes)}

    def values(self, accessor: int) -> Array:
        about = self.file.accessors[accessor]
        view = self.file.bufferViews[about.bufferView]
        width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[about.type]
        data = np.frombuffer(self.blob, "<f4", about.count * width, view.byteOffset)
        return data.reshape(about.count, width).astype(np.float64)

    def tracks(self) -> dict[tuple[int, str], tuple[Array, Array, str]]:
        (animation,) = self.file.animations
        out = {}
        for channel in animation.channels:
            sampler = animation.samplers[channel.sampler]
            key = channel.target.node, channel.target.path
            times = self.values(sampler.input)[:, 0]
            out[key] = (times, self.values(sampler.output), sampler.interpolation)
        return out

    def places(self, root: str, frames: Sequence[int]) -> dict[str, Array]:
        """Name to (len(frames), 3) at key frames, by SciPy's rotations."""
        tracks = self.tracks()
        out: dict[str, Array] = {}

        def visit(i: int, at: Array, turned: Rotation) -> None:
            node = self.file.nodes[i]
            offset: Any = node.translation or [0.0, 0.0, 0.0]
            if (i, "translation") in tracks:
                offset = tracks[i, "translation"][1][frames]
            here = at + turned.apply(offset)
            if (i, "rotation") in tracks:
                turned = turned * Rotation.from_quat(tracks[i, "rotation"][1][frames])
            out[node.name] = here
            for child in node.children or []:
                visit(child, here, turned)

        start = Rotation.identity(len(frames))
        visit(self.index[root], np.zeros((len(frames), 3)), start)
        return out


def test_glb(walk_exports: Path, world: Array) -> None:
    animated = Animated(walk_exports / "walk.glb")
    frames = list(range(167))
    places = animated.places("Person", frames)
    for name, joint in {**PLACES, "HeadTop_End": 10}.items():
        error = np.linalg.norm(places[name] - y_up(world[:, joint]), axis=-1)
        assert error.max() < CENTIMETRE, name
    for (_, path), (times, values, _) in animated.tracks().items():
        np.testing.assert_allclose(times, np.arange(167) / 30.0, atol=1e-5)
        if path == "rotation":
            np.testing.assert_allclose(np.linalg.norm(values, axis=-1), 1.0, atol=1e-6)
            assert (values[1:] * values[:-1]).sum(-1).min() > 0.9, "the short way between frames"
    extras = animated.file.scenes[0].extras["posemamba"]
    assert extras["weights"] == "window-m7"


def through_the_camera(animated: Animated, points: Array, size: tuple[int, int]) -> Array:
    """(..., 3) glTF metres to (..., 2) pixels, as the specification of glTF says."""
    node = animated.file.nodes[animated.index["Camera"]]
    lens = animated.file.cameras[node.camera].perspective
    view = Rotation.from_quat(node.rotation).inv().apply(points.reshape(-1, 3) - node.translation)
    assert (-view[:, 2]).min() > lens.znear
    assert (-view[:, 2]).max() < lens.zfar
    high = view[:, 1] / -view[:, 2] / np.tan(lens.yfov / 2)
    wide = view[:, 0] / -view[:, 2] / np.tan(lens.yfov / 2) / lens.aspectRatio
    pixels = np.stack([(1 + wide) / 2 * size[0], (1 - high) / 2 * size[1]], -1)
    return pixels.reshape(*points.shape[:-1], 2)


def test_the_camera_of_a_glb_sees_what_the_film_shows(walk_exports: Path, world: Array) -> None:
    animated = Animated(walk_exports / "walk.glb")
    pixels = through_the_camera(animated, y_up(world), (640, 360))
    with np.load(walk_exports / "walk.npz") as data:
        placed = (data["joints_3d"] + data["root_3d"][:, None]).astype(np.float64)
        focal = 320.0 / np.tan(np.radians(data["camera_fov"]) / 2)
        expected = focal * placed[..., :2] / placed[..., 2:] + [320.0, 180.0]
        seen = data["joints_2d"]
    np.testing.assert_allclose(pixels, expected, atol=0.05)
    assert np.median(np.linalg.norm(pixels - seen, axis=-1)) < 6.0, "on the person in the picture"


def test_a_camera_that_moved_is_animated(take: Take, tmp_path: Path) -> None:
    poses = [
        replace(pose, ground=Ground(-0.1, 0.01 * i, 1.0 + 0.1 * i))
        for i, pose in enumerate(take.poses[:5])
    ]
    (path,) = export(tmp_path / "a.glb", poses, fov_deg=60.0)
    animated = Animated(path)
    camera = animated.index["Camera"]
    times, places, _ = animated.tracks()[camera, "translation"]
    np.testing.assert_allclose(times, np.arange(5) / 30.0, atol=1e-6)
    np.testing.assert_allclose(places[:, 1], [1.0, 1.1, 1.2, 1.3, 1.4], atol=1e-6)
    for pose, turn in zip(poses, animated.tracks()[camera, "rotation"][1], strict=True):
        assert pose.ground is not None
        ahead = Rotation.from_quat(turn).apply([0.0, 0.0, -1.0])
        np.testing.assert_allclose(ahead, y_up(pose.ground.rotation[:, 2]), atol=1e-6)


def test_without_a_known_camera_there_is_none(take: Take, tmp_path: Path) -> None:
    (path,) = export(tmp_path / "a.glb", [replace(pose, ground=None) for pose in take.poses[:5]])
    assert "Camera" not in Animated(path).index


def test_glb_as_a_scene(walk_exports: Path, world: Array) -> None:
    """trimesh sees the rest pose at the first frame's place, with solid bones."""
    scene = trimesh.load(walk_exports / "walk.glb")
    rest = {name: scene.graph.get(name)[0][:3, 3] for name in PLACES}
    np.testing.assert_allclose(rest["Hips"], y_up(world[0, 0]), atol=CENTIMETRE)
    np.testing.assert_allclose((rest["LeftHand"] - rest["LeftArm"])[1:], 0.0, atol=1e-6)
    assert len(scene.geometry) == 16
    assert all(mesh.is_watertight and mesh.volume > 0.0 for mesh in scene.geometry.values())
    assert 1.4 < np.ptp(scene.bounds[:, 1]) < 2.0


# -- several people, gaps, uneven times ------------------------------------------------------


def test_tables_of_two_people(two_people: list[Pose3D], tmp_path: Path) -> None:
    for name in ("a.csv", "a.parquet", "a.angles.csv"):
        assert export(tmp_path / name, two_people) == [tmp_path / name]
        table = (pd.read_parquet if name.endswith("parquet") else pd.read_csv)(tmp_path / name)
        counts = table.groupby("person_id").size().to_dict()
        assert counts == {0: 167, 4: 79}
        assert table.equals(table.sort_values(["frame_index", "person_id"]).reset_index(drop=True))
        absent = table[table["frame_index"].isin(GAP)]
        assert set(absent["person_id"]) == {0}, "no row without a person"


def test_a_file_for_each_person(
    two_people: list[Pose3D], world: Array, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = export(tmp_path / "a.trc", two_people)
    assert [path.name for path in files] == ["a.trc", "a_person4.trc"]
    _, table = read_trc(files[1])
    assert table["Frame#"].tolist() == list(range(21, 131))
    np.testing.assert_allclose(table["Time"].iloc[0], 20 / 30.0, atol=1e-6)
    points = table.iloc[:, 2:].to_numpy().reshape(-1, 17, 3)
    expected = y_up(world + RIGHT)[20:130]
    missing = np.isnan(points).any((1, 2))
    assert np.flatnonzero(missing).tolist() == [frame - 20 for frame in GAP]
    there = [i for i in range(110) if i + 20 not in GAP and i != 10]
    np.testing.assert_allclose(points[there], expected[there], atol=1e-6)
    assert 0.0 < np.abs(points[10] - expected[10]).max() < 2 * CENTIMETRE, "one frame interpolated"

    for name in ("a.bvh", "a.mot"):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            files = export(tmp_path / name, two_people)
        assert [path.name for path in files] == [name, f"a_person4{name[1:]}"]
        assert f"a_person4{name[1:]}: 30 frames without the person" in caplog.text
    motion = read_mot(tmp_path / "a_person4.mot")
    assert len(motion) == 110
    assert not motion.isna().any(axis=None)
    frames = [0, 39, 40, 69, 70, 109]
    places = bvh_places(tmp_path / "a_person4.bvh", frames)
    for i, frame in enumerate(frames):
        for name, joint in PLACES.items():
            error = np.linalg.norm(places[name][i] - expected[frame, joint])
            assert error < (CENTIMETRE if frame not in (40, 69) else 0.15), (name, frame)


def test_c3d_of_two_people(two_people: list[Pose3D], world: Array, tmp_path: Path) -> None:
    (path,) = export(tmp_path / "a.c3d", two_people)
    file = ezc3d.c3d(str(path))
    labels = file["parameters"]["POINT"]["LABELS"]["value"]
    assert labels == [f"P{person}:{name}" for person in (0, 4) for name in JOINT_NAMES]
    points = file["data"]["points"][:3].transpose(2, 1, 0)
    np.testing.assert_allclose(points[:, :17], 1000.0 * world, atol=0.001)
    valid = file["data"]["meta_points"]["residuals"][0].T >= 0.0
    assert valid[:, :17].all()
    there = [frame for frame in range(20, 130) if frame not in GAP]
    for joint in range(17, 34):
        assert np.flatnonzero(valid[:, joint]).tolist() == there
    np.testing.assert_allclose(points[90, 17:], 1000.0 * (world[90] + RIGHT), atol=0.001)


def test_glb_of_two_people(two_people: list[Pose3D], world: Array, tmp_path: Path) -> None:
    (path,) = export(tmp_path / "a.glb", two_people)
    animated = Animated(path)
    places = animated.places("Person_person4", list(range(79)))
    frames = [*range(20, 30), *range(31, 60), *range(90, 130)]
    expected = y_up(world + RIGHT)[frames]
    for name, joint in PLACES.items():
        error = np.linalg.norm(places[f"{name}_person4"] - expected[:, joint], axis=-1)
        assert error.max() < CENTIMETRE, name
    tracks = animated.tracks()
    times, scale, mode = tracks[animated.index["Person_person4"], "scale"]
    assert mode == "STEP"
    np.testing.assert_allclose(times * 30.0, [0, 20, 60, 90, 130], atol=1e-3)
    assert scale[:, 0].tolist() == [0, 1, 0, 1, 0]
    assert (animated.index["Person"], "scale") not in tracks, "always there"


@pytest.mark.parametrize("suffix", [".trc", ".mot", ".bvh", ".c3d"])
def test_uneven_times_are_resampled(suffix: str, take: Take, world: Array, tmp_path: Path) -> None:
    """A camera that says 30 and gives 20 to 30, unevenly: constant steps, the right places."""
    rng = np.random.default_rng(3)
    kept = [i for i in range(167) if i in (0, 166) or rng.random() > 0.2]
    poses = []
    for i in kept:
        # The real motion goes on between frames: it is sampled where the camera looked.
        time = float(np.clip((i + rng.uniform(-0.45, 0.45)) / 30.0, 0.0, 166 / 30.0))
        joints = [np.interp(30.0 * time, range(167), column) for column in world.reshape(167, -1).T]
        pose = take.poses[i]
        pose2d = replace(pose.pose2d, timestamp=time)
        at = np.array(joints, np.float32).reshape(17, 3)
        poses.append(replace(pose, pose2d=pose2d, joints_world=at))
    first = int(np.ceil(30.0 * poses[0].pose2d.timestamp - 1e-6))
    (path,) = export(tmp_path / f"a{suffix}", poses)
    if suffix == ".trc":
        _, table = read_trc(path)
        found = table.iloc[:, 2:].to_numpy().reshape(-1, 17, 3)
        error = np.abs(found - y_up(world)[first : first + len(found)])
        assert error.mean() < 0.002
        assert error.max() < 0.05, "a foot at 3 m/s, a frame missing"
        assert len(found) >= 165
    elif suffix == ".mot":
        np.testing.assert_allclose(np.diff(read_mot(path)["time"]), 1 / 30.0, atol=2e-6)
    elif suffix == ".bvh":
        places = bvh_places(path, [0, 80, 160])
        error = places["LeftFoot"] - y_up(world)[first + np.array([0, 80, 160]), L_ANKLE]
        assert np.abs(error).max() < 0.03
    else:
        points = ezc3d.c3d(str(path))["data"]["points"][:3].transpose(2, 1, 0)
        error = np.abs(points - 1000.0 * world[first : first + len(points)])
        assert error.mean() < 2.0
        assert error.max() < 50.0


def test_a_camera_that_is_slower_than_it_says(take: Take, tmp_path: Path) -> None:
    poses = [
        replace(pose, pose2d=replace(pose.pose2d, timestamp=i / 14.7))
        for i, pose in enumerate(take.poses)
    ]
    (path,) = export(tmp_path / "a.trc", poses)
    _, table = read_trc(path)
    assert len(table) == 167
    assert table["Time"].iloc[-1] == pytest.approx(166 / 14.7, abs=1e-3)


@pytest.mark.parametrize("suffix", list(INSTALLED))
def test_one_pose_is_enough(suffix: str, take: Take, tmp_path: Path) -> None:
    (path,) = export(tmp_path / f"a{suffix}", [take.poses[50]])
    assert path.stat().st_size > 100
    if suffix == ".bvh":
        assert "Frames: 1\n" in path.read_text()


def at(pose: Pose3D, seconds: float) -> Pose3D:
    return replace(pose, pose2d=replace(pose.pose2d, timestamp=seconds))


@pytest.mark.parametrize("suffix", [".trc", ".mot", ".bvh", ".c3d"])
@pytest.mark.parametrize("where", ["before", "after", "both", "only"])
def test_a_glimpse_off_the_grid(suffix: str, where: str, take: Take, tmp_path: Path) -> None:
    """Somebody is seen in one frame, long before or after all others, at a time between rows."""
    steady = [at(take.poses[i], 2.0 + i / 30.0 + 0.012 * (i % 3)) for i in range(40)]
    before, after = at(take.poses[0], 1.0137), at(take.poses[39], 4.5173)
    poses = {
        "before": [before, *steady],
        "after": [*steady, after],
        "both": [before, *steady, after],
        "only": [before, after],
    }[where]
    (motion,) = Take(poses, {"fps": 30.0, "image_size": [640, 360]}).motions()
    assert motion.seen[0]
    assert motion.seen[-1]
    if where != "only":
        assert 25 < motion.seen.sum() <= 41
        others = np.abs(motion.joints[motion.seen][:, None] - [p.joints_world for p in steady])
        assert others.mean((2, 3)).min(1).max() < 0.02
    (path,) = export(tmp_path / f"a{suffix}", poses)
    if suffix == ".trc":
        _, table = read_trc(path)
        assert table.iloc[[0, -1]].notna().all(axis=None)
    elif suffix == ".bvh":
        lines = path.read_text().splitlines()
        turns = np.array([line.split()[3:] for line in lines[lines.index("MOTION") + 3 :]], float)
        steps = np.abs((np.diff(turns, axis=0) + 180.0) % 360.0 - 180.0)
        assert not len(steps) or steps.max() < 60.0


@pytest.mark.skipif(os.name == "nt", reason="file-size limits are a POSIX affair")
@pytest.mark.parametrize("suffix", list(INSTALLED))
def test_a_full_disk_leaves_the_old_file(suffix: str, take: Take, tmp_path: Path) -> None:
    import resource

    path = tmp_path / f"a{suffix}"
    path.write_text("old")
    exporter = create_exporter(path, overwrite=True, meta={"fps": 30.0, "image_size": [640, 360]})
    for pose in take.poses:
        exporter.add(pose)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, limits[1]))
    try:
        with pytest.raises(SinkError, match="disk has room"):
            exporter.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["WALK.C3D", "12:30.c3d", "Größe 体.c3d", "A.TRC", "A.Glb"])
def test_names_that_libraries_trip_over(name: str, take: Take, tmp_path: Path) -> None:
    (path,) = export(tmp_path / name, take.poses[:30])
    assert path.stat().st_size > 1000
    assert list(tmp_path.iterdir()) == [path]


def test_one_persons_failure_spares_the_others(
    two_people: list[Pose3D], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = FORMATS[".bvh"].write

    def failing(path: Path, take: Take) -> None:
        if 0 in take.people:
            raise IndexError("out of bounds")
        write(path, take)

    monkeypatch.setitem(FORMATS, ".bvh", replace(FORMATS[".bvh"], write=failing))
    with pytest.raises(IndexError):
        export(tmp_path / "a.bvh", two_people)
    assert [path.name for path in tmp_path.iterdir()] == ["a_person4.bvh"]


@pytest.mark.parametrize("suffix", list(INSTALLED))
def test_nobody(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix in (".npz", ".csv", ".long.csv", ".angles.csv", ".parquet", ".json", ".rrd"):
        assert export(path, []) == [path]
        if suffix.endswith("csv"):
            assert len(pd.read_csv(path)) == 0
    else:
        with pytest.raises(SinkError, match="nobody was seen"):
            export(path, [])
        assert list(tmp_path.iterdir()) == [], "nothing is left behind"


# -- files -----------------------------------------------------------------------------------


def test_files_of_further_people_are_not_replaced(two_people: list[Pose3D], tmp_path: Path) -> None:
    (tmp_path / "a_person4.trc").write_text("mine")
    files = export(tmp_path / "a.trc", two_people)
    assert [path.name for path in files] == ["a.trc", "a_person4_2.trc"]
    assert (tmp_path / "a_person4.trc").read_text() == "mine"
    exporter = create_exporter(
        tmp_path / "a.trc", overwrite=True, meta={"fps": 30.0, "image_size": (640, 360)}
    )
    for pose in two_people:
        exporter.add(pose)
    exporter.close()
    assert [path.name for path in exporter.files] == ["a.trc", "a_person4.trc"]


def test_the_longest_suffix_counts(tmp_path: Path) -> None:
    for name, suffix in (
        ("a.csv", ".csv"), ("a.LONG.CSV", ".long.csv"), ("a.long.csv.csv", ".csv"),
        ("my.angles.csv", ".angles.csv"), ("long.csv", ".csv"),
    ):  # fmt: skip
        assert check_export(tmp_path / name, overwrite=False) is FORMATS[suffix]
    for name, meant in (
        (".csv", r"end the name in one of: \.angles\.csv"),
        ("poses.bvhx", r"did you mean \S*\.bvh"),
        ("bvh", r"did you mean poses\.bvh"), ("poses.zzzzzz", r"\.angles\.csv, \.bvh, \.c3d"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=meant):
            check_export(tmp_path / name, overwrite=False)


def test_parquet_without_its_library_is_told_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SinkError, match=r"pip install 'posemamba-live\[parquet\]'"):
        check_export(tmp_path / "a.parquet", overwrite=False)
    assert check_export(tmp_path / "a.csv", overwrite=False) is FORMATS[".csv"]


Damage = Callable[[Path, Path], None]


def cut(path: Path, good: Path) -> None:
    path.write_bytes(good.read_bytes()[:5000])


def other_arrays(path: Path, good: Path) -> None:
    np.savez(path, joints=np.zeros((3, 17, 3)))


def other_joints(path: Path, good: Path) -> None:
    with np.load(good) as data:
        np.savez(path, **{**data, "joints_world": data["joints_world"][:, :12]})


@pytest.mark.parametrize("damage", [cut, other_arrays, other_joints])
def test_files_that_are_no_poses(damage: Damage, walk_exports: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.npz"
    damage(path, walk_exports / "walk.npz")
    with pytest.raises(Exception, match=r"bad\.npz cannot be read"):
        read_take(path)
