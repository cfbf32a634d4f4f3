"""VMC: packets read by another OSC library, and put together as Unity would.

`oscpy` reads what `python-osc` has written. Bones are chained by Unity's own hierarchy, in
Unity's left-handed frame; nothing of the sender's geometry is used for that.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from oscpy.parser import read_packet
from scipy.spatial.transform import Rotation

from posemamba_live.errors import UsageError
from posemamba_live.options import Options
from posemamba_live.streams import Stream, StreamAddress, open_stream
from posemamba_live.types import Frame, Pose3D
from tests.support.stream_poses import INFO, STANDING, picture

PARENT = {
    "Hips": None, "Spine": "Hips", "Chest": "Spine", "Neck": "Chest", "Head": "Neck",
    "LeftShoulder": "Chest", "LeftUpperArm": "LeftShoulder", "LeftLowerArm": "LeftUpperArm",
    "LeftHand": "LeftLowerArm", "RightShoulder": "Chest", "RightUpperArm": "RightShoulder",
    "RightLowerArm": "RightUpperArm", "RightHand": "RightLowerArm", "LeftUpperLeg": "Hips",
    "LeftLowerLeg": "LeftUpperLeg", "LeftFoot": "LeftLowerLeg", "RightUpperLeg": "Hips",
    "RightLowerLeg": "RightUpperLeg", "RightFoot": "RightLowerLeg",
}  # fmt: skip
"""Unity's humanoid: every one of HumanBodyBones that is required of an avatar, and Chest,
Neck and Shoulders."""
BONE_OF_JOINT = (
    "Hips", "RightUpperLeg", "RightLowerLeg", "RightFoot", "LeftUpperLeg", "LeftLowerLeg",
    "LeftFoot", "Chest", "Neck", "Head", None, "LeftUpperArm", "LeftLowerArm", "LeftHand",
    "RightUpperArm", "RightLowerArm", "RightHand",
)  # fmt: skip
"""The bone that begins at each of the 17 joints; none begins at the crown."""
MIRROR = np.array([(-1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, -1.0, 0.0)])
"""Our world to Unity's: x to the left of the camera, y up, z towards the camera."""

Transform = tuple[NDArray[np.float64], Rotation]


@dataclass
class Packet:
    """What a receiver knows after the datagrams of one picture."""

    ok: list[int]
    time: float
    root: Transform | None
    bones: dict[str, Transform]


class Receiver:
    """Listens at a port of its own, as an avatar's program would."""

    def __init__(self, port: int = 0) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", port))
        self.socket.settimeout(10.0)
        self.port = self.socket.getsockname()[1]

    def receive(self) -> Packet:
        """Datagrams up to the next /VMC/Ext/T."""
        packet = Packet([], -1.0, None, {})
        while packet.time < 0.0:
            data = self.socket.recv(65536)
            assert len(data) <= 1400, "in one piece over any network"
            assert data.startswith(b"#bundle\0" + bytes(7) + b"\1"), "to be applied at once"
            for address, tags, values, _ in read_packet(data, encoding="utf8"):
                self._take(packet, address.decode(), tags.decode(), values)
        return packet

    @staticmethod
    def _take(packet: Packet, address: str, tags: str, values: list[Any]) -> None:
        if address == "/VMC/Ext/OK":
            assert tags == "iiii"
            packet.ok = values
        elif address == "/VMC/Ext/T":
            assert tags == "f"
            packet.time = values[0]
        else:
            assert tags == "sfffffff"
            name, *numbers = values
            assert np.linalg.norm(numbers[3:]) == pytest.approx(1.0, abs=1e-5)
            transform = (np.array(numbers[:3]), Rotation.from_quat(numbers[3:]))
            if address == "/VMC/Ext/Root/Pos":
                assert name == "root"
                packet.root = transform
            else:
                assert address == "/VMC/Ext/Bone/Pos"
                assert packet.root is not None, "the root comes first"
                packet.bones[name] = transform


def joints_of(packet: Packet) -> NDArray[np.float64]:
    """(16, 3): chain the bones and read off the joints (all but the crown), Unity's frame."""
    assert packet.root is not None
    world: dict[str, Transform] = {}
    for name, parent in PARENT.items():
        origin, turned = packet.root if parent is None else world[parent]
        position, rotation = packet.bones[name]
        world[name] = (origin + turned.apply(position), turned * rotation)
    return np.array([world[bone][0] for bone in BONE_OF_JOINT if bone])


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    opened = Receiver()
    yield opened
    opened.socket.close()


def sender(port: int, *, place: str = "camera", people: int = 1) -> Stream:
    return open_stream(StreamAddress("osc", "127.0.0.1", port, place=place), INFO, people=people)


def at(world: NDArray[np.floating[Any]], index: int) -> tuple[Frame, list[Pose3D]]:
    """A picture of one person with these joints."""
    frame, (pose,) = picture(index)
    return frame, [replace(pose, joints_world=np.asarray(world, np.float32))]


def test_the_raised_left_arm_is_the_left_one(receiver: Receiver) -> None:
    stream = sender(receiver.port)
    stream.write(*at(STANDING, 30))
    packet = receiver.receive()
    stream.close()
    assert packet.ok == [1, 3, 0, 1]
    assert packet.time == pytest.approx(1.0)
    assert set(packet.bones) == set(PARENT)
    joints = joints_of(packet)
    expected = np.delete(STANDING, 10, axis=0) @ MIRROR.T
    assert np.linalg.norm(joints - expected, axis=1).max() < 0.01
    # The same rotations on an avatar of other proportions, by its own T-pose: facing +z, y up,
    # the left hand at -x. This is what VSeeFace and Warudo show.
    for side, sign in (("Left", -1.0), ("Right", 1.0)):
        turned = packet.bones["Hips"][1]
        for bone in ("Spine", "Chest", f"{side}Shoulder"):
            turned = turned * packet.bones[bone][1]
        upper = turned * packet.bones[f"{side}UpperArm"][1]
        lower = upper * packet.bones[f"{side}LowerArm"][1]
        along = np.array([sign, 0.0, 0.0])
        hand = 0.3 * upper.apply(along) + 0.3 * lower.apply(along)
        if side == "Left":
            assert hand[1] > 0.4, "up"
            assert hand[0] < -0.1, "on the left, as seen by the avatar"
        else:
            assert hand[1] < -0.4, "hanging"


def test_the_rest_pose_is_a_t_pose_with_no_rotation(receiver: Receiver) -> None:
    t_pose = STANDING.copy()
    t_pose[[1, 2, 3, 4, 5, 6], 1] = 3.0  # legs straight down
    for shoulder, side in ((11, 1.0), (14, -1.0)):
        t_pose[shoulder + 1] = t_pose[shoulder] + np.float32([0.28 * side, 0.0, 0.0])
        t_pose[shoulder + 2] = t_pose[shoulder] + np.float32([0.52 * side, 0.0, 0.0])
    stream = sender(receiver.port)
    stream.write(*at(t_pose, 0))
    packet = receiver.receive()
    stream.close()
    for name, (_, rotation) in packet.bones.items():
        # Heads are held differently: that of this figure a little forward.
        allowed = 25.0 if name in ("Neck", "Head") else 1.0
        assert rotation.magnitude() < np.radians(allowed), name
    left_arm = packet.bones["LeftLowerArm"][0]
    np.testing.assert_allclose(left_arm, [-0.28, 0.0, 0.0], atol=1e-3)


def test_a_real_walk_comes_out_where_it_was(receiver: Receiver, walk_clip: Path) -> None:
    with np.load(walk_clip.with_name("walk_turn_gt.npz")) as data:
        walk = np.asarray(data["joints_world"], np.float64)
    stream = sender(receiver.port)
    worst = 0.0
    for index in range(0, len(walk), 2):
        stream.write(*at(walk[index], index))
        joints = joints_of(receiver.receive())
        expected = np.delete(walk[index], 10, axis=0) @ MIRROR.T
        worst = max(worst, float(np.linalg.norm(joints - expected, axis=1).max()))
    stream.close()
    assert worst < 0.01
    assert stream.figures.dropped == 0
    assert stream.figures.sent == 2 * len(range(0, len(walk), 2)), "two bundles a picture"


def test_the_avatar_starts_at_its_origin(receiver: Receiver) -> None:
    stream = sender(receiver.port, place="start")
    hips = []
    # Seconds 0, 1, 2, 3; a step to the person's left in each, which is -x in Unity.
    for step in range(4):
        stream.write(*at(STANDING + np.float32([0.5 * step, 0.0, 0.0]), 30 * step))
        hips.append(receiver.receive().bones["Hips"][0])
    stream.close()
    expected = [(0, 0.95, 0), (0, 0.95, 0), (0, 0.95, 0), (-0.5, 0.95, 0)]
    np.testing.assert_allclose(hips, expected, atol=1e-3)


def neighbours() -> tuple[Receiver, Receiver]:
    """Two receivers at ports that follow each other."""
    for _ in range(50):
        first = Receiver()
        try:
            return first, Receiver(first.port + 1)
        except OSError:  # somebody else has it
            first.socket.close()
    raise RuntimeError("no two free ports side by side")


def test_everybody_has_a_port() -> None:
    receiver, second = neighbours()
    stream = sender(receiver.port, people=2)
    stream.write(*picture(0, people=2))
    first_hips, second_hips = (r.receive().bones["Hips"][0] for r in (receiver, second))
    assert second_hips[0] - first_hips[0] == pytest.approx(-1.0, abs=0.01)

    # The first one leaves; the second keeps the port, and nobody is told to stand still.
    frame, poses = picture(1, people=2)
    stream.write(frame, poses[1:])
    gone, stayed = receiver.receive(), second.receive()
    assert gone.ok == [1, 3, 0, 0], "not tracked"
    assert gone.bones == {}
    np.testing.assert_allclose(stayed.bones["Hips"][0], second_hips, atol=1e-6)

    # Somebody new takes the place that has become free, even at once.
    newcomer = replace(poses[0], pose2d=replace(poses[0].pose2d, person_id=99))
    stream.write(picture(2)[0], [poses[1], newcomer])
    np.testing.assert_allclose(receiver.receive().bones["Hips"][0], first_hips, atol=1e-6)
    np.testing.assert_allclose(second.receive().bones["Hips"][0], second_hips, atol=1e-6)
    stream.close()
    receiver.socket.close()
    second.socket.close()


def test_there_has_to_be_a_port_for_everybody() -> None:
    options = Options(source="a.mp4", streams=["osc://localhost:65534"], people=3)
    with pytest.raises(UsageError, match="65534"):
        options.check()
    replace(options, people=2).check()
