"""What Rerun is told of a run: entities of people, camera and floor, on two timelines.

    world                        Z up, metres
    world/floor                  lines, a metre apart
    world/camera                 where it stands; world/camera/image has its lens and its picture
    world/camera/image/people/N  keypoints, bones and box of person N, in pixels
    world/people/N               joints with their names, and bones
    scores/N, latency_ms         plots

Timelines: `frame` is the source's own index, `time` are seconds from its first frame. Rerun's own
`log_time` and `log_tick` are left out.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from posemamba.skeleton import BONES, JOINT_NAMES, NUM_JOINTS
from posemamba_live.drawing.colours import GRID, MUTED, Rgb, person_colors
from posemamba_live.scene.pinhole import Pinhole
from posemamba_live.types import Image, Pose3D

APPLICATION: Final = "posemamba-live"
SEEN: Final = 0.3
"""Confidence from which a joint counts as seen; others are small and grey."""
_RADIUS: Final = 0.025
_UNSEEN_RADIUS: Final = 0.012
"""Metres."""
_PIXEL_RADIUS: Final = 3.0
_FLOOR_M: Final = 6
_EYE: Final = (3.5, -2.0, 2.2)
_LOOKS_AT: Final = (0.0, 3.0, 0.8)
"""World metres: where a room is seen from at first."""
_QUALITY: Final = 80

Colors = NDArray[np.uint8]


def import_rerun() -> Any:
    """The library, which is not to print its own log: what fails is told by who calls it."""
    os.environ.setdefault("RUST_LOG", "off")
    import rerun

    return rerun


class RerunLog:
    """Writes frames to a recording; call it in the order of time.

    Args:
        recording: Rerun's own `RecordingStream`.
        image_size: (W, H) pixels of the keypoints' picture.
        fov_deg: field of view across its longer side.
        live: there will be latencies to plot.
    """

    def __init__(
        self, recording: Any, image_size: tuple[int, int], fov_deg: float, *, live: bool = False
    ) -> None:
        rerun = self._rr = import_rerun()
        self._to = recording
        self._size, self._fov = image_size, fov_deg
        self._present: set[int] = set()
        self._camera_known = False
        for switch in (rerun.set_log_time_enabled, rerun.set_log_tick_enabled):
            switch(False, recording=recording)
        recording.log("world", rerun.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
        self._to.log("world/floor", self._floor(), static=True)
        self._lens(image_size)
        recording.send_blueprint(_layout(live=live))

    def write(
        self,
        index: int,
        timestamp: float,
        poses: Sequence[Pose3D],
        *,
        image: Image | None = None,
        latency_ms: float | None = None,
    ) -> None:
        """One frame.

        Args:
            index, timestamp: of the source.
            poses: everybody in it; keypoints are in pixels of `image`, if there is one.
            image: (H, W, 3) BGR.
            latency_ms: from the capture of the frame to now.
        """
        rr, to = self._rr, self._to
        to.set_time("frame", sequence=index)
        to.set_time("time", duration=timestamp)
        if image is not None:
            import cv2  # --help looks at the formats, and needs none of it

            self._lens((image.shape[1], image.shape[0]))
            ok, coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
            if ok:
                picture = rr.EncodedImage(contents=coded.tobytes(), media_type="image/jpeg")
                to.log("world/camera/image", picture)
        if poses:
            self._place_camera(poses[0])
        for pose in poses:
            self._person(pose)
        present = {pose.person_id for pose in poses}
        for gone in self._present - present:
            for path in (f"world/people/{gone}", f"world/camera/image/people/{gone}"):
                to.log(path, rr.Clear(recursive=True))
        self._present = present
        if latency_ms is not None:
            to.log("latency_ms", rr.Scalars(latency_ms))

    def _person(self, pose: Pose3D) -> None:
        rr, to, number = self._rr, self._to, pose.person_id
        seen = (pose.pose2d.scores >= SEEN) & (not pose.pose2d.predicted)
        colors = joint_colors(number, seen)
        # Copies: poses that come from packed rows are not aligned, which aborts in Rerun.
        joints, points = (
            np.array(a, np.float32) for a in (pose.joints_world, pose.pose2d.keypoints)
        )
        place = f"world/people/{number}"
        to.log(
            f"{place}/joints",
            rr.Points3D(
                joints,
                radii=np.where(seen, _RADIUS, _UNSEEN_RADIUS),
                colors=colors,
                labels=list(JOINT_NAMES),
                show_labels=False,
            ),
        )
        ends = colors[[child for _, child in BONES]]
        strips = [joints[list(bone)] for bone in BONES]
        to.log(f"{place}/bones", rr.LineStrips3D(strips, colors=ends, radii=0.4 * _RADIUS))
        place = f"world/camera/image/people/{number}"
        to.log(
            f"{place}/keypoints",
            rr.Points2D(
                points,
                radii=_PIXEL_RADIUS,
                colors=colors,
                labels=list(JOINT_NAMES),
                show_labels=False,
            ),
        )
        strips2d = [points[list(bone)] for bone in BONES]
        to.log(f"{place}/bones", rr.LineStrips2D(strips2d, colors=ends, radii=1.0))
        low, high = points.min(axis=0), points.max(axis=0)
        to.log(
            f"{place}/box",
            rr.Boxes2D(
                mins=[low],
                sizes=[high - low],
                labels=[f"person {number}"],
                colors=[_rgb8(person_colors(number).centre)],
            ),
        )
        to.log(f"scores/{number}", rr.Scalars(float(pose.pose2d.scores.mean())))

    def _place_camera(self, pose: Pose3D) -> None:
        rotation, place = camera_in_world(pose)
        self._to.log("world/camera", self._rr.Transform3D(translation=place, mat3x3=rotation))

    def _lens(self, size: tuple[int, int]) -> None:
        """Tell the lens, and again where pictures have another size."""
        if self._camera_known and size == self._size:
            return
        self._camera_known, self._size = True, size
        lens = Pinhole.from_fov(size, self._fov)
        self._to.log(
            "world/camera/image",
            self._rr.Pinhole(
                focal_length=lens.focal,
                principal_point=lens.centre,
                resolution=size,
                camera_xyz=self._rr.ViewCoordinates.RDF,
                image_plane_distance=1.0,
            ),
            static=True,
        )

    def _floor(self) -> Any:
        span = range(-_FLOOR_M, _FLOOR_M + 1)
        far = float(_FLOOR_M)
        lines = [[[x, -far, 0.0], [x, far, 0.0]] for x in span]
        lines += [[[-far, y, 0.0], [far, y, 0.0]] for y in span]
        return self._rr.LineStrips3D(lines, colors=[_rgb8(GRID)], radii=0.004)


def _layout(*, live: bool) -> Any:
    """What the viewer shows at first: the room from beside the camera, the picture, the plots."""
    import rerun.blueprint as show

    room = show.Spatial3DView(
        origin="world",
        name="room",
        line_grid=False,  # the floor has its own
        eye_controls=show.EyeControls3D(
            position=_EYE, look_target=_LOOKS_AT, eye_up=[0.0, 0.0, 1.0]
        ),
    )
    picture = show.Spatial2DView(origin="world/camera/image", name="picture")
    plots = [show.TimeSeriesView(origin="scores", name="mean confidence")]
    if live:
        plots.append(show.TimeSeriesView(origin="latency_ms", name="latency, ms"))
    return show.Blueprint(
        show.Horizontal(room, show.Vertical(picture, *plots), column_shares=[3, 2]),
        collapse_panels=True,
    )


def joint_colors(person: int, seen: NDArray[np.bool_]) -> Colors:
    """(17, 3) RGB: the person's own, grey where a joint was not seen."""
    own = person_colors(person)
    return np.array(
        [_rgb8(own.joint(j) if seen[j] else MUTED) for j in range(NUM_JOINTS)], np.uint8
    )


def camera_in_world(pose: Pose3D) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(3, 3) from the camera's axes to the world's, and (3,) metres where the camera stands."""
    camera = np.asarray(pose.joints, np.float64) + pose.root
    world = np.asarray(pose.joints_world, np.float64)
    a, b = camera - camera.mean(axis=0), world - world.mean(axis=0)
    left, _, right = np.linalg.svd(b.T @ a)
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    rotation = left @ flip @ right
    return rotation, world.mean(axis=0) - rotation @ camera.mean(axis=0)


def _rgb8(color: Rgb) -> tuple[int, int, int]:
    r, g, b = (min(255, max(0, round(255 * part))) for part in color)
    return r, g, b
