"""`poses.json`: everything that `poses.npz` has, as text, frame by frame."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from posemamba.skeleton import JOINT_NAMES, PARENTS
from posemamba_live.takes.take import Take
from posemamba_live.types import Pose3D

_METRES, _ANGLE, _PIXELS, _SCORE = 5, 6, 2, 3
FRAME_KEYS: Final = ("frame_index", "timestamp")


def write_json(path: Path, take: Take) -> None:
    """One object: `frames`, each with its `people`; names, shapes and units as in the .npz."""
    frames = [
        {
            "frame_index": index,
            "timestamp": round(people[0].pose2d.timestamp, 6),
            "people": [_person(pose) for pose in people],
        }
        for index, group in groupby(take.poses, key=lambda pose: pose.frame_index)
        if (people := list(group))
    ]
    meta = take.described()
    camera = {} if take.fov_deg is None else {"camera_fov": take.fov_deg}
    head = {
        "fps": meta["fps"],
        "image_size": list(meta["image_size"]),
        "joint_names": JOINT_NAMES,
        "joint_parents": PARENTS,
        **camera,
        "meta": meta,
    }
    with open(path, "w", encoding="utf-8") as file:
        # A frame a line: small, and still to be read by eye, or with grep.
        file.write(json.dumps(head, ensure_ascii=False)[:-1] + ', "frames": [')
        for number, frame in enumerate(frames):
            file.write(("," if number else "") + "\n" + json.dumps(frame))
        file.write("\n]}\n")


def _person(pose: Pose3D) -> dict[str, Any]:
    pose2d, extra, ground = pose.pose2d, pose.pose2d.extra, pose.ground
    more: dict[str, Any] = {}
    if ground is not None:
        more |= {
            "camera_pitch": round(ground.pitch, _ANGLE),
            "camera_roll": round(ground.roll, _ANGLE),
            "camera_height": round(ground.height, _METRES),
        }
    if pose2d.visibility is not None:
        more["visibility_2d"] = _rounded(pose2d.visibility, _SCORE)
    if pose2d.peak is not None:
        more["peak_2d"] = _rounded(pose2d.peak, _SCORE)
    if extra is not None:
        more |= {
            "extra_names": extra.names,
            "extra_2d": _rounded(extra.points, _PIXELS),
            "extra_scores": _rounded(extra.scores, _SCORE),
        }
    return {
        "person_id": pose.person_id,
        "predicted": pose2d.predicted,
        "look_ahead": pose.look_ahead,
        "joints_world": _rounded(pose.joints_world, _METRES),
        "joints_3d": _rounded(pose.joints, _METRES),
        "root_3d": _rounded(pose.root, _METRES),
        "joints_2d": _rounded(pose2d.keypoints, _PIXELS),
        "scores_2d": _rounded(pose2d.scores, _SCORE),
        **more,
    }


def _rounded(values: NDArray[np.float32], digits: int) -> Any:
    # In double precision: a rounded float32 has a long tail of digits as text.
    return np.round(np.asarray(values, np.float64), digits).tolist()
