"""The public API: a video to a take in one call, and people live, frame by frame.

    take = posemamba_live.lift_video("clip.mp4", height_m=1.82)
    take.save("walk.bvh")

    with posemamba_live.open_source(camera=0) as camera, posemamba_live.Tracker3D() as track:
        for frame in camera:
            for pose in track(frame):
                print(pose.person_id, pose.joints_world)

The parts are those of the command, built by the same functions. Nothing here needs a display
or Open3D. Joints are Human3.6M-17 (`posemamba.skeleton.JOINT_NAMES`); the camera frame has x to
the right, y down, z forward, the world frame Z up and the floor at z = 0; both are in metres.

What can go wrong is a `LiveError`: `UsageError` for arguments that cannot be meant,
`SourceError` for what cannot be opened or read, `DetectorError` and `SinkError` for keypoints
and files. `str(error)` says what, why and what to try.
"""

from posemamba_live.api.live import Tracker3D
from posemamba_live.api.take import Take
from posemamba_live.api.video import lift_video, open_source

__all__ = ["Take", "Tracker3D", "lift_video", "open_source"]
