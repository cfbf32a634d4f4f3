"""From 2D poses to 3D, for one person: what a lifter is, and the two for windows.

All lifters answer root-relative, in camera axes and body heights, whatever the network's
own input and output units are.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence

import numpy as np

from posemamba.blending import Blender, window_starts, windows_at_once
from posemamba.network import Network
from posemamba.skeleton import NUM_JOINTS
from posemamba_live.keypoints import breaks_track
from posemamba_live.lifting.batching import Lifting, Windows, Work, alone
from posemamba_live.lifting.blending import NETWORK_FPS, resample, stack
from posemamba_live.types import FloatArray, LiftedPose, Pose2D

__all__ = ["FileLifter", "Lifter", "LiveLifter", "windows_at_once"]


class Lifter(ABC):
    """Lifts the 2D poses of one person, given in the order of time.

    `pushing` and `flushing` are coroutines that yield network requests, which are batched
    across people (see `batching`); `push` and `flush` drive them alone.
    """

    @abstractmethod
    def pushing(self, pose: Pose2D) -> Lifting:
        """Take one pose; returns the poses, in order, that are now final."""

    @abstractmethod
    def flushing(self) -> Lifting:
        """End of the track: returns the poses that were still waiting, and forgets it."""

    @abstractmethod
    def reset(self) -> None:
        """Forget the track, and the poses that were still waiting."""

    def push(self, pose: Pose2D) -> list[LiftedPose]:
        return alone(self.pushing(pose))

    def flush(self) -> list[LiftedPose]:
        return alone(self.flushing())


def hop(frames: int, overlap: int) -> int:
    """How far apart windows of so many frames start, of which so many see each frame."""
    return max(1, math.ceil(frames / overlap))


class FileLifter(Lifter):
    """Overlapping windows, blended: every frame once, in order, without seams.

    Windows of `network.frames` start a fixed hop apart; the last one ends at the track's
    last frame. A track shorter than a window is lifted as it is, not stretched.
    """

    def __init__(self, network: Network, overlap: int = 3) -> None:
        self._network = network
        self._length = network.frames
        self._hop = hop(self._length, overlap)
        self._batch = windows_at_once(self._length)
        self.reset()

    def reset(self) -> None:
        self._poses: list[Pose2D] = []
        self._first = 0  # frame number of _poses[0]: frames are counted from the track's start
        self._next = 0  # frame number where the next window starts
        self._blender = Blender(self._network.rows)

    def pushing(self, pose: Pose2D) -> Lifting:
        done: list[LiftedPose] = []
        if self._poses and breaks_track(self._poses[-1], pose):
            done = yield from self.flushing()
        self._poses.append(pose)
        # The first window goes alone: somebody waits for it.
        count = self._batch if self._next else 1
        starts = [self._next + i * self._hop for i in range(count)]
        if self._first + len(self._poses) < starts[-1] + self._length:
            return done
        yield from self._lift(starts)
        self._next = starts[-1] + self._hop
        # One hop is held back: the track's last window may start there.
        return done + self._take(self._next - self._hop)

    def flushing(self) -> Lifting:
        count = self._first + len(self._poses)
        starts = window_starts(count, self._length, self._hop, self._next)
        starts = [start for start in starts if start > self._next - self._hop]  # not once more
        for i in range(0, len(starts), self._batch):
            yield from self._lift(starts[i : i + self._batch])
        done = self._take(count)
        self.reset()
        return done

    def _lift(self, starts: Sequence[int]) -> Work[None]:
        windows = [self._poses[s - self._first :][: self._length] for s in starts]
        keypoints, scores, peaks = (
            np.stack(part) for part in zip(*map(stack, windows), strict=True)
        )
        size = windows[0][0].image_size
        lifted = yield Windows(self._network, keypoints, scores, peaks, size)
        for start, joints in zip(starts, lifted, strict=True):
            self._blender.add(start, joints)

    def _take(self, stop: int) -> list[LiftedPose]:
        count = stop - self._first
        joints, look_ahead = self._blender.take(stop)
        poses, self._poses, self._first = self._poses[:count], self._poses[count:], stop
        return [lifted_pose(pose, joints[i], int(look_ahead[i])) for i, pose in enumerate(poses)]


class LiveLifter(Lifter):
    """The last window's answer for the newest frame, or for the one `delay` frames before.

    Cameras under load do not keep a rate: frames are dropped and come late. So the window
    is resampled to NETWORK_FPS, on a grid that has the shown frame on it: what the network
    sees moves at the speed that it was trained on, and short gaps are bridged. Each pose
    costs one window; a track that ends gives its last `delay` frames with less look-ahead.
    """

    def __init__(self, network: Network, delay: int = 0) -> None:
        if not 0 <= delay < network.frames:
            raise ValueError(f"a delay of {delay} frames; the window has {network.frames}")
        self._network = network
        self._delay = delay
        self._poses: deque[Pose2D] = deque()
        self._waiting = 0

    def reset(self) -> None:
        self._poses.clear()
        self._waiting = 0

    def pushing(self, pose: Pose2D) -> Lifting:
        done: list[LiftedPose] = []
        if self._poses and breaks_track(self._poses[-1], pose):
            done = yield from self.flushing()
        self._poses.append(pose)
        span = self._network.frames / NETWORK_FPS
        while (
            len(self._poses) > self._delay + 2 and pose.timestamp - self._poses[1].timestamp > span
        ):
            self._poses.popleft()
        self._waiting += 1
        if self._waiting <= self._delay:
            return done
        self._waiting -= 1
        return [*done, (yield from self._lift(self._delay))]

    def flushing(self) -> Lifting:
        done: list[LiftedPose] = []
        for ahead in reversed(range(self._waiting)):
            done += [(yield from self._lift(ahead))]
        self.reset()
        return done

    def _lift(self, ahead: int) -> Work[LiftedPose]:
        """The pose `ahead` poses before the newest."""
        pose, newest = self._poses[-1 - ahead], self._poses[-1]
        after = round((newest.timestamp - pose.timestamp) * NETWORK_FPS)
        after = min(after, self._network.frames - 1)
        before = math.ceil((pose.timestamp - self._poses[0].timestamp) * NETWORK_FPS - 1e-6)
        before = min(before, self._network.frames - 1 - after)
        times = pose.timestamp + np.arange(-before, after + 1) / NETWORK_FPS
        keypoints, scores, peaks = (part[None] for part in resample(self._poses, times))
        joints = yield Windows(self._network, keypoints, scores, peaks, pose.image_size)
        return lifted_pose(pose, joints[0, before], ahead)


def lifted_pose(pose: Pose2D, answer: FloatArray, look_ahead: int) -> LiftedPose:
    """From one frame of a network's answer, (17, 3) or with gravity (18, 3)."""
    up = answer[NUM_JOINTS] if len(answer) > NUM_JOINTS else None
    return LiftedPose(pose, answer[:NUM_JOINTS], look_ahead, up)
