"""`.rrd`: a recording for the Rerun viewer; `rerun_log` says what it has.

The film's pictures are in it where the film can be read again, compressed.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

from posemamba_live.errors import SinkError
from posemamba_live.sinks.rerun_log import APPLICATION, RerunLog, import_rerun
from posemamba_live.takes.take import Take
from posemamba_live.types import Image, Pose3D

_ASSUMED_FOV_DEG = 60.0
Moment = tuple[int, float, list[Pose3D], Image | None]
"""Index and time of a frame, who is in it, and what it shows."""


def write_rrd(path: Path, take: Take) -> None:
    """Write the file, under any name; see `_write`."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:  # Rerun takes no other names
        with TemporaryDirectory(prefix="posemamba-") as folder:
            plain = Path(folder) / "take.rrd"
            _write(plain, take)
            shutil.move(plain, path)
    else:
        _write(path, take)


def _write(path: Path, take: Take) -> None:
    """Write the file; it is complete when this returns.

    Raises:
        SinkError: the film is not the one that the take was made of.
        OSError: it could not be written.
    """
    meta = take.described()
    recording = import_rerun().RecordingStream(APPLICATION)
    recording.save(path)
    try:
        size = (int(meta["image_size"][0]), int(meta["image_size"][1]))
        log = RerunLog(recording, size, float(meta.get("fov_deg", _ASSUMED_FOV_DEG)))
        known = _with_absences(take, float(meta["fps"]))
        moments = known if take.film is None else _with_pictures(take, known, size)
        for index, timestamp, people, image in moments:
            log.write(index, timestamp, people, image=image)
        recording.flush()
    except RuntimeError as error:  # its writing thread, which keeps the reason to itself
        raise OSError(errno.EIO, str(error)) from error
    finally:
        recording.disconnect()


def _with_absences(take: Take, fps: float) -> Iterator[Moment]:
    """Frames with somebody, and the first one after them in which there is nobody."""
    ordered = sorted(take.poses, key=lambda pose: (pose.frame_index, pose.person_id))
    last: Pose3D | None = None
    for index, people in groupby(ordered, key=lambda pose: pose.frame_index):
        poses = list(people)
        if last is not None and last.frame_index + 1 < index:
            yield last.frame_index + 1, last.pose2d.timestamp + 1.0 / fps, [], None
        yield index, poses[0].pose2d.timestamp, poses, None
        last = poses[-1]


def _with_pictures(take: Take, known: Iterator[Moment], size: tuple[int, int]) -> Iterator[Moment]:
    """The film's frames, up to the last one with somebody, and whatever else is known."""
    assert take.film is not None
    ahead = next(known, None)
    with take.film() as frames:
        for frame in frames:
            while ahead is not None and ahead[0] < frame.index:
                yield ahead
                ahead = next(known, None)
            if ahead is None:
                break
            if frame.size != size:
                raise SinkError(
                    f"cannot write {take.title}",
                    why=f"the film is {frame.size[0]}x{frame.size[1]}, "
                    f"the poses are of one of {size[0]}x{size[1]}",
                    hint="give the film that they were made of",
                )
            people = []
            if ahead[0] == frame.index:
                people, ahead = ahead[2], next(known, None)
            yield frame.index, frame.timestamp, people, frame.image
    while ahead is not None:  # the film has become shorter
        yield ahead
        ahead = next(known, None)
