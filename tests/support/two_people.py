"""Films of several people with known poses, cut together from a demo clip.

Its camera stands still: the median over time is the empty room, and what differs from it is
the person, who is put into the picture again: mirrored, later, aside, nearer. Who is nearer
hides who is farther, as in the room.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from posemamba.skeleton import HIP, MIRROR
from posemamba_live.types import Frame, Image

FPS: Final = 30.0
SIZE: Final = (640, 360)
_DEMO: Final = Path(__file__).parents[2] / "demo_videos"
_DIFFERS: Final = 14
"""Grey levels by which the person stands out from the room."""


@dataclass(frozen=True)
class Take:
    """The clip taken apart."""

    room: Image
    """(H, W, 3) BGR: nobody there."""
    frames: Sequence[Image]
    masks: Sequence[Image]
    """(H, W) each: 255 where the person is."""
    joints_2d: NDArray[np.float32]
    """(T, 17, 2) pixels."""
    depth: NDArray[np.float32]
    """(T,) metres from the camera to the hip."""


@lru_cache(maxsize=1)
def take() -> Take:
    """`walk_turn.mp4`, taken apart: 167 frames."""
    video = cv2.VideoCapture(str(_DEMO / "walk_turn.mp4"))
    frames = []
    while (step := video.read())[0]:
        frames.append(np.asarray(step[1], np.uint8))
    with np.load(_DEMO / "walk_turn_gt.npz") as truth:
        joints = truth["joints_2d"].astype(np.float32)
        depth = truth["joints_camera"][:, HIP, 2].astype(np.float32)
    room = np.median(np.array(frames[::8]), axis=0).astype(np.uint8)
    masks = [_person(f, room, j) for f, j in zip(frames, joints, strict=True)]
    return Take(room, frames, masks, joints, depth)


def _person(frame: Image, room: Image, joints: NDArray[np.float32]) -> Image:
    """(H, W): 255 where the person is, without noise and shadows far from the body."""
    differs = cv2.GaussianBlur(cv2.absdiff(frame, room), (5, 5), 0).max(-1) > _DIFFERS
    near = np.zeros(differs.shape, np.uint8)
    radius = round(0.11 * float(np.ptp(joints[:, 1])))
    for x, y in joints:
        cv2.circle(near, (int(x), int(y)), radius, (255,), -1)
    cv2.fillConvexPoly(near, cv2.convexHull(joints.astype(np.int32)), (255,))
    mask = np.where(differs, near, 0).astype(np.uint8)
    return np.asarray(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8)), np.uint8)


@dataclass(frozen=True)
class Actor:
    """One person of a scene."""

    at: Callable[[int], int | None]
    """The clip's frame in a frame of the scene; None while the person is not there."""
    mirrored: bool = False
    aside: Callable[[int], float] = lambda index: 0.0
    """Pixels to the right in a frame of the scene, for the person of true size."""
    nearer: float = 1.0
    """Size relative to the clip: the person walks on a path so much nearer to the camera."""

    def _place(self, index: int) -> NDArray[np.float64]:
        """(2, 3) from the clip's picture to the scene's: towards the middle is farther."""
        flip, middle = (-1.0 if self.mirrored else 1.0), np.array(SIZE) / 2.0
        linear = np.diag([flip * self.nearer, self.nearer])
        shift = middle - linear @ middle + [self.nearer * self.aside(index), 0.0]
        return np.column_stack([linear, shift])

    def pose(self, index: int) -> NDArray[np.float32] | None:
        """(17, 2) true pixels; None while nothing of the person is in the picture."""
        source = self.at(index)
        if source is None:
            return None
        place = self._place(index)
        joints = take().joints_2d[source] @ place[:, :2].T + place[:, 2]
        if self.mirrored:
            joints = joints[list(MIRROR)]
        seen = (joints[:, 0] > 0.0) & (joints[:, 0] < SIZE[0])
        return joints.astype(np.float32) if seen.any() else None

    def depth(self, index: int) -> float:
        source = self.at(index)
        return np.inf if source is None else float(take().depth[source]) / self.nearer

    def paint(self, picture: Image, index: int) -> None:
        """Put the person into the picture, in place."""
        source = self.at(index)
        if source is None:
            return
        place = self._place(index)
        place[:, 2] += 0.5 * (place[:, :2].sum(1) - 1.0)  # OpenCV's pixel centres are integers
        image, mask = (
            cv2.warpAffine(part[source], place, SIZE) for part in (take().frames, take().masks)
        )
        share = cv2.GaussianBlur(mask, (3, 3), 0)[..., None].astype(np.float32) / 255.0
        picture[:] = np.rint(picture * (1.0 - share) + image * share).astype(np.uint8)


@dataclass(frozen=True)
class Scene:
    """Several people in one room."""

    actors: Sequence[Actor]
    length: int

    def frame(self, index: int) -> Frame:
        """One frame of the film, painted anew."""
        picture = take().room.copy()
        for actor in sorted(self.actors, key=lambda a: a.depth(index), reverse=True):
            actor.paint(picture, index)
        return Frame(index, index / FPS, picture, 0.0)

    def truth(self, index: int) -> list[NDArray[np.float32] | None]:
        """True keypoints of each actor."""
        return [actor.pose(index) for actor in self.actors]

    def write(self, path: Path) -> Path:
        """The film as a file."""
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, SIZE)
        for index in range(self.length):
            writer.write(self.frame(index).image)
        writer.release()
        return path


def walks(start: int = 0, pace: int = 1) -> Callable[[int], int | None]:
    """From frame `start` of the clip on."""
    return lambda index: start + pace * index


CROSSING: Final = Scene([Actor(walks()), Actor(walks(30), mirrored=True)], 137)
"""Two who are dressed alike meet twice: around frame 38 and, nearer, around frame 127."""
