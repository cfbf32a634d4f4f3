"""`.c3d`: the joints as points, for Mokka, Visual3D, Vicon and the like.

Millimetres and Z up, as nearly every C3D file has it (X_SCREEN and Y_SCREEN say so). Where
somebody is not seen for longer than a quarter of a second, points are marked invalid, as
the format has it: residual -1. Several people are in one file, with labels like `P1:LKnee`.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

from posemamba.skeleton import JOINT_NAMES, NUM_JOINTS
from posemamba_live import __version__
from posemamba_live.sinks.exporter import NobodySeen
from posemamba_live.takes.take import Take

logger = logging.getLogger(__name__)

_MM: Final = 1000.0
_MAX_FRAME: Final = 65535
_INTEGER: Final = 2
"""16 bits, as C3D numbers its types."""


def write_c3d(path: Path, take: Take) -> None:
    """Everybody's joints as points. The first frame has the number that it has in the source."""
    import ezc3d

    motions = sorted(take.motions(), key=lambda motion: motion.person_id)
    if not motions:
        raise NobodySeen
    first = min(motion.first for motion in motions)
    frames = max(motion.first + len(motion.joints) for motion in motions) - first
    points = np.full((4, len(motions) * NUM_JOINTS, frames), np.nan)
    labels = []
    for i, motion in enumerate(motions):
        rows = slice(motion.first - first, motion.first - first + len(motion.joints))
        columns = slice(i * NUM_JOINTS, (i + 1) * NUM_JOINTS)
        points[:3, columns, rows] = _MM * motion.joints.transpose(2, 1, 0)
        subject = f"P{motion.person_id}:" if len(motions) > 1 else ""
        labels += [subject + name for name in JOINT_NAMES]
    invalid = np.isnan(points[:1])
    points[3] = 1.0

    file = ezc3d.c3d()
    file["header"]["points"]["first_frame"] = first  # counted from 0 here, from 1 in the file
    file["data"]["points"] = points
    file["data"]["meta_points"]["residuals"] = np.where(invalid, -1.0, 0.0)
    point = file["parameters"]["POINT"]
    point["LABELS"]["value"] = labels
    point["UNITS"]["value"] = ["mm"]
    point["RATE"]["value"] = np.array([motions[0].rate])
    file.add_parameter("POINT", "X_SCREEN", "+X")
    file.add_parameter("POINT", "Y_SCREEN", "+Z")
    file.add_parameter("MANUFACTURER", "SOFTWARE", "posemamba-live")
    file.add_parameter("MANUFACTURER", "VERSION_LABEL", __version__)
    if first + frames > _MAX_FRAME:
        # The header's 16 bits do not reach: what C3D has for that, two words, low one first.
        for name, frame in (("START", first + 1), ("END", first + frames)):
            words = np.array([frame % 65536, frame // 65536], np.uint16).astype(np.int16)
            file.add_parameter("TRIAL", f"ACTUAL_{name}_FIELD", [0, 0])
            field = file["parameters"]["TRIAL"][f"ACTUAL_{name}_FIELD"]
            field["type"], field["value"] = _INTEGER, words.astype(int)
        logger.warning("%s: some programs read no more than %d frames", take.title, _MAX_FRAME)
    _write(file, path, least=512 + 16 * points.shape[1] * frames)


def _write(file: Any, path: Path, least: int) -> None:
    """Let ezc3d write, which adds `.c3d` to a name that ends in `.C3D`, knows no names beyond
    Windows' code page, and does not tell when the disk is full.

    Args:
        file: an ezc3d.c3d.
        least: bytes that a whole file has at least: one block of header, and the points.

    Raises:
        OSError: it could not be written.
    """
    with TemporaryDirectory(prefix="posemamba-") as folder:
        plain = Path(folder) / "take.c3d"
        file.write(str(plain))
        if plain.stat().st_size < least:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        shutil.copyfile(plain, path)
