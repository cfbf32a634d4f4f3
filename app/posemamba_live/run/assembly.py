"""Brings poses, which come late, back together with their frames."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np

from posemamba_live.keypoints import Sights
from posemamba_live.lifting.people import Lifted
from posemamba_live.run.background import Background
from posemamba_live.scene.scene import SceneTracker
from posemamba_live.types import Frame, Image, LiftedPose, Pose3D

_MAX_KEPT: Final = (1280, 720)
"""Longer and shorter side of pictures that wait for their poses; nothing draws them larger."""
_NO_PICTURE: Final[Image] = np.zeros((1, 1, 3), np.uint8)


@dataclass(frozen=True, slots=True)
class Picture:
    """One frame with everybody in it: what is drawn and shown."""

    frame: Frame
    poses: tuple[Pose3D, ...]


class Assembler:
    """Brings poses, which come late and person by person, back together with their frames.

    Args:
        scene: places the poses; None where nobody looks at them before the end.
        background: what it says of the camera is known to the scene.
        pictures: keep what the frames show; needless where nobody draws.
    """

    def __init__(
        self, scene: SceneTracker | None, background: Background, *, pictures: bool = True
    ) -> None:
        self._scene = scene
        self._background = background
        self._pictures = pictures and scene is not None
        self._sights = Sights()
        self._frames: deque[Frame] = deque()
        self._poses: dict[int, list[LiftedPose]] = {}

    def push(self, news: Lifted) -> Iterator[Picture]:
        """Take the next news; yields the frames that are now complete, in order."""
        if news.frame is not None:
            self._frames.append(_kept(news.frame, picture=self._pictures))
        for pose in news.poses:
            self._poses.setdefault(pose.pose2d.frame_index, []).append(pose)
        while self._frames and self._frames[0].index <= news.settled:
            frame = self._frames.popleft()
            people = self._poses.pop(frame.index, [])
            people.sort(key=lambda pose: pose.pose2d.person_id)
            placed = [self._sights.mark(pose) for pose in self._place(people)]
            if self._pictures:
                placed = [_drawn(pose, frame) for pose in placed]
            yield Picture(frame, tuple(placed))

    def _place(self, people: list[LiftedPose]) -> list[Pose3D]:
        if self._scene is None:
            return []
        self._scene.upright = self._background.said
        return self._scene.place(people)


def _kept(frame: Frame, *, picture: bool) -> Frame:
    """The frame with a picture no larger than anything draws it, or with none."""
    if not picture:
        return replace(frame, image=_NO_PICTURE)
    (long, short), (w, h) = _MAX_KEPT, frame.size
    scale = min(long / max(w, h), short / min(w, h))
    if scale >= 1.0:
        return frame
    size = (max(1, round(w * scale)), max(1, round(h * scale)))
    image = cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA)
    return replace(frame, image=np.asarray(image, np.uint8))


def _drawn(pose: Pose3D, frame: Frame) -> Pose3D:
    """The pose with its keypoints in pixels of the picture that was kept."""
    w, h = pose.pose2d.image_size
    if frame.size == (w, h):
        return pose
    scale = np.array([frame.size[0] / w, frame.size[1] / h], np.float32)
    keypoints = pose.pose2d.keypoints * scale
    return replace(pose, pose2d=replace(pose.pose2d, keypoints=keypoints, image_size=frame.size))
