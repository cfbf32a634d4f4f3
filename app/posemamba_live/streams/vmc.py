"""The VMC protocol (protocol.vmc.info): OSC messages that move an avatar's bones.

For each person and picture, to a port of their own:

    /VMC/Ext/Root/Pos  "root" position rotation      always the origin, not turned
    /VMC/Ext/Bone/Pos  name position rotation        for each bone of BONES
    /VMC/Ext/OK        1 3 0 tracking                loaded, calibrated, normal mode, 1 if seen
    /VMC/Ext/T         seconds                       of the source

Position and rotation are seven floats, x y z and x y z w, relative to the parent bone, in
Unity's frame: left-handed, y up, metres; the person looks along +z in the rest pose and
has the left hand at -x. The rest pose is the T-pose with every rotation the identity, as
normalised avatars (VRM) have it. Names are those of Unity's HumanBodyBones. Bundles stay
small enough not to be broken up on the way; OK and T come last, so that whoever waits for
them has the whole pose.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pythonosc.osc_bundle import OscBundle
from pythonosc.osc_bundle_builder import IMMEDIATELY, OscBundleBuilder
from pythonosc.osc_message import OscMessage
from pythonosc.osc_message_builder import OscMessageBuilder

from posemamba.skeleton import HIP, L_ANKLE, L_KNEE, R_ANKLE, R_KNEE
from posemamba_live.address import StreamAddress
from posemamba_live.streams.base import DATAGRAM_LIMIT, StreamFigures
from posemamba_live.streams.udp import DatagramSender
from posemamba_live.takes.armature import NODE_INDEX, ArmatureSolver, bone_lengths, rest_offsets
from posemamba_live.types import Frame, Pose3D

Array = NDArray[np.float64]

BONES: Final = {
    "Hips": "Hips", "Spine": "Spine", "Chest": "Spine1", "Neck": "Neck", "Head": "Head",
    "LeftShoulder": "LeftShoulder", "LeftUpperArm": "LeftArm", "LeftLowerArm": "LeftForeArm",
    "LeftHand": "LeftHand", "RightShoulder": "RightShoulder", "RightUpperArm": "RightArm",
    "RightLowerArm": "RightForeArm", "RightHand": "RightHand", "LeftUpperLeg": "LeftUpLeg",
    "LeftLowerLeg": "LeftLeg", "LeftFoot": "LeftFoot", "RightUpperLeg": "RightUpLeg",
    "RightLowerLeg": "RightLeg", "RightFoot": "RightFoot",
}  # fmt: skip
"""Unity's HumanBodyBones to nodes of the armature."""
_NODES: Final = [NODE_INDEX[node] for node in BONES.values()]
_LEGS: Final = {
    "LeftUpLeg": L_KNEE, "LeftLeg": L_ANKLE, "LeftFoot": L_ANKLE,
    "RightUpLeg": R_KNEE, "RightLeg": R_ANKLE, "RightFoot": R_ANKLE,
}  # fmt: skip
_SHOWS: Final = [_LEGS.get(node) for node in BONES.values()]
"""Of legs' bones the joint that shows how they are turned."""
_NO_TURN: Final = np.array([0.0, 0.0, 0.0, 1.0])
_GONE_S: Final = 1.0
"""Seconds after which somebody else may have the port of a person who has left."""
_SETTLED_S: Final = 2.0
"""Seconds in which the avatar stays at its origin, since a live distance is still forming."""
_LOADED, _CALIBRATED, _NORMAL_MODE = 1, 3, 0
_BUNDLE_HEAD: Final = 16
_SIZE_BYTES: Final = 4


def to_unity(points: NDArray[np.floating[Any]]) -> Array:
    """(..., 3) of our world (right-handed, z up) in Unity's frame (left-handed, y up).

    Whoever faces our camera, along -y, looks along +z there; left is left.
    """
    x, y, z = np.moveaxis(np.asarray(points, np.float64), -1, 0)
    return np.stack([-x, z, -y], -1)


def rotations_to_unity(rotations: NDArray[np.floating[Any]]) -> Array:
    """(..., 4) quaternions x, y, z, w of our world in Unity's frame.

    The axis goes the way of points; the angle changes its sign, as in every mirror.
    """
    x, y, z, w = np.moveaxis(np.asarray(rotations, np.float64), -1, 0)
    return np.stack([x, -z, y, w], -1)


@dataclass(slots=True)
class _Place:
    """One port, and the person who has it."""

    sender: DatagramSender
    person_id: int | None = None
    seen_at: float = 0.0
    solver: ArmatureSolver = field(default_factory=ArmatureSolver)

    def give(self, person_id: int) -> None:
        self.person_id, self.solver = person_id, ArmatureSolver()


class VmcStream:
    """Sends each person's bones to a port of their own: the first free one from `address` on.

    Args:
        address: of the first person; `place` says where the avatar stands.
        people: how many at most, and so how many ports.
        hides_unseen: legs that nobody has seen for a while hang straight down.

    Raises:
        SinkError: nobody knows the host.
    """

    def __init__(self, address: StreamAddress, *, people: int, hides_unseen: bool = False) -> None:
        self._hides_unseen = hides_unseen
        self._figures = StreamFigures(str(address))
        self._places = [
            _Place(DatagramSender(address.host, address.port + i, self._figures))
            for i in range(people)
        ]
        self._origin = np.zeros(2)
        """(2,) metres: the point of the floor that is the avatar's origin."""
        self._follows = address.place == "start"
        self._first: tuple[int, float] | None = None
        """Whom the origin follows until when."""

    @property
    def figures(self) -> StreamFigures:
        return self._figures

    def write(self, frame: Frame, poses: Sequence[Pose3D]) -> None:
        """Send one picture: everybody's bones, and to idle ports that nobody is seen."""
        here = {pose.person_id: pose for pose in poses}
        self._seat(here, frame.timestamp)
        for place in self._places:
            pose = None if place.person_id is None else here.get(place.person_id)
            numbers = [] if pose is None else self._bones(place, pose, frame.timestamp)
            letter = _NOBODY if pose is None else _SOMEBODY
            for datagram in letter.filled([*numbers, frame.timestamp]):
                place.sender.send(datagram)

    def close(self) -> None:
        for place in self._places:
            place.sender.close()

    def _seat(self, here: dict[int, Pose3D], now: float) -> None:
        """Keep everybody's port, and find one for who is new."""
        for place in self._places:
            if place.person_id in here:
                place.seen_at = now
            elif place.person_id is not None and not 0.0 <= now - place.seen_at <= _GONE_S:
                place.person_id = None
        seated = {place.person_id for place in self._places}
        for person_id in sorted(here.keys() - seated):
            # Where there are enough people, one that has just left makes room at once.
            free = [place for place in self._places if place.person_id is None] or [
                place for place in self._places if place.person_id not in here
            ]
            if free:
                free[0].give(person_id)
                free[0].seen_at = now

    def _bones(self, place: _Place, pose: Pose3D, timestamp: float) -> list[float]:
        """Position and rotation of each of BONES, one after the other."""
        joints = np.asarray(pose.joints_world, np.float64)
        if self._follows:
            self._first = self._first or (pose.person_id, timestamp + _SETTLED_S)
            leader, until = self._first
            self._follows = timestamp < until
            if pose.person_id == leader:
                self._origin = joints[HIP, :2]
        posture = place.solver.update(joints, timestamp)
        positions = rest_offsets(bone_lengths(joints))
        positions[0] = posture.root - [*self._origin, 0.0]
        rotations = posture.rotations[_NODES]
        if self._hides_unseen:
            rotations[[shows is not None and pose.unseen[shows] for shows in _SHOWS]] = _NO_TURN
        numbers = np.concatenate([to_unity(positions[_NODES]), rotations_to_unity(rotations)], 1)
        return list(numbers.ravel().tolist())


@dataclass(frozen=True, slots=True)
class _Letter:
    """The datagrams of a picture, in which from one picture to the next only numbers change.

    Writing them anew for every picture costs 1.6 ms of processor time for each person;
    filling the numbers in costs next to nothing.
    """

    datagrams: Sequence[tuple[NDArray[np.uint32], NDArray[np.intp], NDArray[np.intp]]]
    """Of each: its 32 bit words, which of them are numbers, and which numbers."""

    @classmethod
    def of(cls, messages: Sequence[OscMessage]) -> _Letter:
        """Find the numbers `_mark(0)`, `_mark(1)`, ... in messages."""
        datagrams = []
        for bundle in _bundles(messages):
            words = np.frombuffer(bundle.dgram, ">u4")
            (at,) = np.nonzero(words >> 24 == _MARK_BYTE)
            numbers = _mark(0) - words.view(">f4")[at]
            datagrams.append((words, at, numbers.astype(np.intp)))
        return cls(datagrams)

    def filled(self, numbers: Sequence[float]) -> Iterator[bytes]:
        """The datagrams with these numbers in place of the marks."""
        words = np.array(numbers, ">f4").view(">u4")
        for empty, at, which in self.datagrams:
            datagram = empty.copy()
            datagram[at] = words[which]
            yield datagram.tobytes()


_MARK_BYTE: Final = 0xC9
"""Neither text nor a length nor a number of ours begins with it."""


def _mark(number: int) -> float:
    """A number that stands for the number `number`; as a 32 bit float it begins with _MARK_BYTE."""
    return -(2.0**20) - number


def _message(address: str, *values: str | float | int) -> OscMessage:
    builder = OscMessageBuilder(address)
    for value in values:
        builder.add_arg(value)  # float becomes a 32 bit float, int a 32 bit integer
    return builder.build()


def _bundles(messages: Sequence[OscMessage]) -> Iterator[OscBundle]:
    """Pack messages, in order, into as few bundles as pass a network in one piece."""
    builder, size = OscBundleBuilder(IMMEDIATELY), _BUNDLE_HEAD
    for message in messages:
        more = _SIZE_BYTES + message.size
        if size + more > DATAGRAM_LIMIT:
            yield builder.build()
            builder, size = OscBundleBuilder(IMMEDIATELY), _BUNDLE_HEAD
        builder.add_content(message)
        size += more
    yield builder.build()


def _letter(*, seen: bool) -> _Letter:
    """All messages of one picture; the time is the last number."""
    marks = (_mark(number) for number in itertools.count())
    messages = []
    if seen:
        messages.append(_message("/VMC/Ext/Root/Pos", "root", *(0.0,) * 6, 1.0))
        for name in BONES:
            numbers = itertools.islice(marks, 7)
            messages.append(_message("/VMC/Ext/Bone/Pos", name, *numbers))
    messages.append(_message("/VMC/Ext/OK", _LOADED, _CALIBRATED, _NORMAL_MODE, int(seen)))
    messages.append(_message("/VMC/Ext/T", next(marks)))
    return _Letter.of(messages)


_SOMEBODY: Final = _letter(seen=True)
_NOBODY: Final = _letter(seen=False)
