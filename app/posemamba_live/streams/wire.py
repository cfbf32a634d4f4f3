"""How poses look on the wire: JSON, and a binary form of fixed layout. Version 1 of both.

JSON. A WebSocket begins with a header; every picture is one message, also where nobody was
seen (`people` is empty then). Numbers are metres, rounded to 0.1 mm.

    {"type": "header", "schema": "posemamba.pose", "version": 1, "app": "posemamba-live 0.1.0",
     "source": "walk.mp4", "live": false, "fps": 30.0, "units": "m",
     "world": "right-handed, z up, floor at z = 0, the camera looks along +y",
     "joint_names": ["Hip", ...], "joint_parents": [-1, 0, ...], "unseen": "faint"}

    {"type": "poses", "version": 1, "frame_index": 12, "timestamp": 0.4, "age_ms": 21.3,
     "people": [{"person_id": 0, "predicted": false, "look_ahead": 0,
                 "root_3d": [x, y, z], "joints_world": [[x, y, z] * 17],
                 "scores_2d": [s * 17], "unseen": [3, 6]}]}

The names mean what they mean in `poses.npz`. `age_ms` is the time from capture to sending.
`look_ahead` counts the later frames that the pose has seen. `unseen` are the joints that nobody
has seen for some seconds: to be drawn faint, or not at all where the header says "hide".

Binary, little-endian, without padding; each part is a multiple of 4 bytes long:

    offset  size
         0     4  "PMLB"
         4     1  version, 1
         5     1  joints, 17
         6     2  people, P
         8     8  frame_index, signed
        16     8  timestamp, seconds, float64
        24     4  age_ms, float32
        28     4  zero
        32        P times 292 bytes:
         0     4  person_id, signed
         4     2  flags: 1 predicted
         6     2  look_ahead
         8    12  root_3d, 3 float32
        20   204  joints_world, 17 * 3 float32
       224    68  scores_2d, 17 float32
"""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from posemamba.skeleton import JOINT_NAMES, NUM_JOINTS, PARENTS
from posemamba_live import __version__
from posemamba_live.streams.base import StreamInfo
from posemamba_live.types import Frame, Pose3D

SCHEMA: Final = "posemamba.pose"
VERSION: Final = 1
MAGIC: Final = b"PMLB"
_PICTURE: Final = struct.Struct("<4sBBHqdfI")
_PERSON: Final = struct.Struct("<iHH")
_PREDICTED: Final = 1


def header(info: StreamInfo) -> str:
    """The first message of a connection, JSON for either form."""
    values = {
        "type": "header",
        "schema": SCHEMA,
        "version": VERSION,
        "app": f"posemamba-live {__version__}",
        "source": info.source,
        "live": info.live,
        "fps": round(info.fps, 3),
        "units": "m",
        "world": "right-handed, z up, floor at z = 0, the camera looks along +y",
        "joint_names": JOINT_NAMES,
        "joint_parents": PARENTS,
        "unseen": "hide" if info.hides_unseen else "faint",
    }
    return _dump(values)


def to_json(frame: Frame, poses: Sequence[Pose3D]) -> str:
    """One picture as JSON."""
    values = {
        "type": "poses",
        "version": VERSION,
        "frame_index": frame.index,
        "timestamp": round(frame.timestamp, 6),
        "age_ms": round(_age_ms(frame), 2),
        "people": [
            {
                "person_id": pose.person_id,
                "predicted": pose.pose2d.predicted,
                "look_ahead": pose.look_ahead,
                "root_3d": _rounded(pose.root, 4),
                "joints_world": _rounded(pose.joints_world, 4),
                "scores_2d": _rounded(pose.pose2d.scores, 3),
                "unseen": np.flatnonzero(pose.unseen).tolist(),
            }
            for pose in poses
        ],
    }
    return _dump(values)


def to_binary(frame: Frame, poses: Sequence[Pose3D]) -> bytes:
    """One picture in the binary form."""
    parts = [
        _PICTURE.pack(
            MAGIC, VERSION, NUM_JOINTS, len(poses), frame.index, frame.timestamp, _age_ms(frame), 0
        )
    ]
    for pose in poses:
        flags = _PREDICTED if pose.pose2d.predicted else 0
        parts.append(_PERSON.pack(pose.person_id, flags, pose.look_ahead))
        numbers = (pose.root, pose.joints_world, pose.pose2d.scores)
        parts += [np.asarray(values, "<f4").tobytes() for values in numbers]
    return b"".join(parts)


def _age_ms(frame: Frame) -> float:
    return 1e3 * (time.monotonic() - frame.captured_at)


def _rounded(values: NDArray[np.floating[Any]], digits: int) -> list[Any]:
    # As float64: the shortest way to write a float32 has digits that nobody measured.
    return list(np.round(np.asarray(values, np.float64), digits).tolist())


def _dump(values: object) -> str:
    return json.dumps(values, separators=(",", ":"))
