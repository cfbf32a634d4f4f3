"""`.rrd`: a recording for the Rerun viewer, without pictures; `rerun_log` says what it has."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from posemamba_live.sinks.rerun_log import APPLICATION, RerunLog
from posemamba_live.takes.take import Take
from posemamba_live.types import Pose3D

_ASSUMED_FOV_DEG = 60.0


def write_rrd(path: Path, take: Take) -> None:
    """Write the file; it is complete when this returns."""
    import rerun

    meta = take.described()
    recording = rerun.RecordingStream(APPLICATION)
    recording.save(path)
    try:
        size = (int(meta["image_size"][0]), int(meta["image_size"][1]))
        log = RerunLog(recording, size, float(meta.get("fov_deg", _ASSUMED_FOV_DEG)))
        ordered = sorted(take.poses, key=lambda pose: (pose.frame_index, pose.person_id))
        last: Pose3D | None = None
        for index, people in groupby(ordered, key=lambda pose: pose.frame_index):
            poses = list(people)
            if last is not None and last.frame_index + 1 < index:  # nobody was seen in between
                gone_at = last.pose2d.timestamp + 1.0 / float(meta["fps"])
                log.write(last.frame_index + 1, gone_at, [])
            log.write(index, poses[0].pose2d.timestamp, poses)
            last = poses[-1]
        recording.flush()
    finally:
        recording.disconnect()
