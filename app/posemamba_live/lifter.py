"""From 2D poses to 3D: a PoseMamba checkpoint behind one small interface.

All lifters answer root-relative, in camera axes and body heights, whatever the network's
own input and output units are; `Network` is where those are translated, and the only
place of the application that uses torch.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

import numba
import numpy as np
import torch

from posemamba.checkpoint import Checkpoint
from posemamba.normalize import (
    RayStream,
    focal_pixels,
    image_window,
    ray_window,
    root_relative,
)
from posemamba.skeleton import HEAD, HIP, MIRROR, PARENTS, THORAX
from posemamba_live.body import CHAIN_SHARE
from posemamba_live.types import FloatArray, LiftedPose, Pose2D
from posemamba_live.window import (
    MAX_GAP_S,
    Blender,
    breaks_track,
    interpolate,
    resample,
    stack,
)

NETWORK_FPS: Final = 30.0
"""The rate of half of the training data; the rest has 25 to 60 frames a second."""
MIN_FPS: Final = 20.0
MAX_FPS: Final = 65.0
"""Recordings below and above are brought to a rate that the network knows."""
TARGET_FPS: Final = 40.0
"""About what each phase of a recording above MAX_FPS has."""
_NOT_A_FRAME: Final = -1
_BATCH_FRAMES: Final = 64
"""About how many frames are lifted together in file mode: more is no faster on a CPU."""


class Lifter(Protocol):
    """Lifts the 2D poses of one person, given in the order of time."""

    def push(self, pose: Pose2D) -> list[LiftedPose]:
        """Take one pose; returns the poses, in order, that are now final."""
        ...

    def flush(self) -> list[LiftedPose]:
        """End of the track: returns the poses that were still waiting, and forgets it."""
        ...

    def reset(self) -> None:
        """Forget the track, and the poses that were still waiting."""
        ...


@dataclass(frozen=True, slots=True)
class Mode:
    """How much work a file lifter does per frame."""

    overlap: int
    """Windows that cover each frame; consecutive windows start frames / overlap apart."""
    mirrored: bool
    """Lift the mirrored person too and average."""


MODES: Final = {
    "fast": Mode(overlap=2, mirrored=False),
    "balanced": Mode(overlap=3, mirrored=False),
    "accurate": Mode(overlap=6, mirrored=True),
}


def use_threads(count: int) -> None:
    """Let networks that run in the calling thread use so many CPU threads."""
    numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))
    torch.set_num_threads(count)  # last: Numba's OpenMP layer changes it


class Network:
    """A checkpoint as a function from pixels to poses in camera axes and body heights.

    Args:
        checkpoint: of input kind "rays" or "image".
        fov_deg: field of view across the picture's longer side.
        mirrored: average with the mirrored pass (twice the work).
        frames: longest window, at most and by default what the checkpoint was built for.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        fov_deg: float,
        mirrored: bool = False,
        frames: int | None = None,
    ) -> None:
        built_for = checkpoint.meta.frames
        self.frames = frames or built_for
        if not 1 <= self.frames <= built_for:
            raise ValueError(f"a window of {self.frames} frames; the weights take 1 to {built_for}")
        self._model = checkpoint.model
        self._kind = checkpoint.meta.input_kind
        self._fov_deg = fov_deg
        self._mirrored = mirrored
        self._device = next(checkpoint.model.parameters()).device

    def __call__(
        self, keypoints: FloatArray, scores: FloatArray, image_size: tuple[int, int]
    ) -> FloatArray:
        """Lift B windows.

        Args:
            keypoints: (B, T, 17, 2) pixels; T from 1 to `frames`.
            scores: (B, T, 17) confidence, 0 to 1.
            image_size: W, H in pixels.

        Returns:
            (B, T, 17, 3) root-relative, camera axes, body heights.
        """
        if not self._mirrored:
            return self._lift(keypoints, scores, image_size)
        # The assumed camera is symmetric about the picture's middle, so that the mirrored
        # picture is that of the mirrored person: one reflection undoes the other exactly.
        order = np.array(MIRROR)
        flipped = keypoints[:, :, order].copy()
        flipped[..., 0] = image_size[0] - flipped[..., 0]
        both = self._lift(
            np.concatenate([keypoints, flipped]),
            np.concatenate([scores, scores[:, :, order]]),
            image_size,
        )
        straight, mirrored = np.split(both, 2)
        mirrored = mirrored[:, :, order] * np.array([-1.0, 1.0, 1.0], np.float32)
        return 0.5 * (straight + mirrored)

    def _lift(
        self, keypoints: FloatArray, scores: FloatArray, image_size: tuple[int, int]
    ) -> FloatArray:
        if self._kind == "rays":
            window = ray_window(keypoints, scores, image_size, self._fov_deg)
            return window.to_camera(root_relative(self._run(window.inputs)))
        joints = root_relative(self._run(image_window(keypoints, image_size)))
        focal = float(focal_pixels(image_size, self._fov_deg))
        centre = 0.5 * np.array(image_size, np.float32)
        return from_image_units(joints, (keypoints[:, :, HIP] - centre) / focal)

    def _run(self, inputs: FloatArray) -> FloatArray:
        with torch.inference_mode():
            out: torch.Tensor = self._model(torch.from_numpy(inputs).to(self._device))
        return np.asarray(out.float().cpu().numpy(), np.float32)


def from_image_units(joints: FloatArray, root_rays: FloatArray) -> FloatArray:
    """Poses in image units at the root's depth, as official models answer, to body heights.

    Their x, y are where joints appear, so that away from the optical axis depth leaks into
    them: X/Z - X0/Z0 = (X - X0 - (X0/Z0)(Z - Z0)) / Z0 to first order, and the last term is
    added back. The unit is one that the picture fixes, not the body: it is divided out by
    the length of the chain from ankle to crown, a constant share of the height.

    Args:
        joints: (..., 17, 3) root-relative image units.
        root_rays: (..., 2) X0/Z0, Y0/Z0 of the root.

    Returns:
        (..., 17, 3) root-relative, camera axes, body heights.
    """
    out = joints.copy()
    out[..., :2] += root_rays[..., None, :] * joints[..., 2:]
    parents = np.array([max(parent, 0) for parent in PARENTS])
    bones = np.linalg.norm(out - out[..., parents, :], axis=-1)
    legs = 0.5 * bones[..., (2, 3, 5, 6)].sum(-1)
    torso = bones[..., (7, 8)].sum(-1)
    neck = np.linalg.norm(out[..., HEAD, :] - out[..., THORAX, :], axis=-1)
    height = (legs + torso + neck) / CHAIN_SHARE
    return np.asarray(out / np.maximum(height, 1e-6)[..., None, None], np.float32)


class FileLifter:
    """Overlapping windows, blended: every frame once, in order, without seams.

    Windows of `network.frames` start a fixed hop apart; the last one ends at the track's
    last frame. A track shorter than a window is lifted as it is, not stretched.
    """

    def __init__(self, network: Network, overlap: int = 3) -> None:
        self._network = network
        self._length = network.frames
        self._hop = max(1, math.ceil(self._length / overlap))
        self._batch = max(1, _BATCH_FRAMES // self._length)
        self.reset()

    def reset(self) -> None:
        self._poses: list[Pose2D] = []
        self._first = 0  # frame number of _poses[0]: frames are counted from the track's start
        self._next = 0  # frame number where the next window starts
        self._blender = Blender()

    def push(self, pose: Pose2D) -> list[LiftedPose]:
        done: list[LiftedPose] = []
        if self._poses and breaks_track(self._poses[-1], pose):
            done = self.flush()
        self._poses.append(pose)
        starts = [self._next + i * self._hop for i in range(self._batch)]
        if self._first + len(self._poses) < starts[-1] + self._length:
            return done
        self._lift(starts)
        self._next = starts[-1] + self._hop
        # One hop is held back: the track's last window may start there.
        return done + self._take(self._next - self._hop)

    def flush(self) -> list[LiftedPose]:
        count = self._first + len(self._poses)
        starts = list(range(self._next, count - self._length + 1, self._hop))
        last = max(0, count - self._length)
        if count and last not in starts:
            starts.append(last)
        for i in range(0, len(starts), self._batch):
            self._lift(starts[i : i + self._batch])
        done = self._take(count)
        self.reset()
        return done

    def _lift(self, starts: Sequence[int]) -> None:
        windows = [self._poses[s - self._first :][: self._length] for s in starts]
        keypoints, scores = zip(*map(stack, windows), strict=True)
        lifted = self._network(np.stack(keypoints), np.stack(scores), windows[0][0].image_size)
        for start, joints in zip(starts, lifted, strict=True):
            self._blender.add(start, joints)

    def _take(self, stop: int) -> list[LiftedPose]:
        count = stop - self._first
        joints, look_ahead = self._blender.take(stop)
        poses, self._poses, self._first = self._poses[:count], self._poses[count:], stop
        return [LiftedPose(pose, joints[i], int(look_ahead[i])) for i, pose in enumerate(poses)]


class LiveLifter:
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

    def push(self, pose: Pose2D) -> list[LiftedPose]:
        done: list[LiftedPose] = []
        if self._poses and breaks_track(self._poses[-1], pose):
            done = self.flush()
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
        return [*done, self._lift(self._delay)]

    def flush(self) -> list[LiftedPose]:
        done = [self._lift(ahead) for ahead in reversed(range(self._waiting))]
        self.reset()
        return done

    def _lift(self, ahead: int) -> LiftedPose:
        """The pose `ahead` poses before the newest."""
        pose, newest = self._poses[-1 - ahead], self._poses[-1]
        after = round((newest.timestamp - pose.timestamp) * NETWORK_FPS)
        after = min(after, self._network.frames - 1)
        before = math.ceil((pose.timestamp - self._poses[0].timestamp) * NETWORK_FPS - 1e-6)
        before = min(before, self._network.frames - 1 - after)
        times = pose.timestamp + np.arange(-before, after + 1) / NETWORK_FPS
        keypoints, scores = resample(self._poses, times)
        joints = self._network(keypoints[None], scores[None], pose.image_size)[0, before]
        return LiftedPose(pose, joints, ahead)


class StreamLifter:
    """A causal network that carries its state from frame to frame: one step per pose.

    Where frames are far apart, because some were dropped or the source is slow, steps on
    interpolated poses are put between, so that movements keep the speed that the network
    knows; no frame waits for a later one.

    Args:
        checkpoint: of input kind "stream".
        fov_deg: field of view across the picture's longer side.
    """

    def __init__(self, checkpoint: Checkpoint, *, fov_deg: float) -> None:
        self._model = checkpoint.model
        self._device = next(checkpoint.model.parameters()).device
        self._fov_deg = fov_deg
        self.reset()

    def reset(self) -> None:
        self._last: Pose2D | None = None
        self._rays = RayStream(self._fov_deg)
        self._state = self._model.init_state(1)

    def push(self, pose: Pose2D) -> list[LiftedPose]:
        if self._last is not None and breaks_track(self._last, pose):
            self.reset()
        last = self._last
        if last is not None:
            for between in upsampled(last, pose):
                self._step(between)
        joints = self._step(pose)
        return [LiftedPose(pose, joints, 0)]

    def flush(self) -> list[LiftedPose]:
        self.reset()
        return []

    def _step(self, pose: Pose2D) -> FloatArray:
        elapsed = 0.0 if self._last is None else pose.timestamp - self._last.timestamp
        self._last = pose
        keypoints, scores = stack([pose])
        window = self._rays.update(keypoints, scores, pose.image_size, elapsed)
        with torch.inference_mode():
            inputs = torch.from_numpy(window.inputs[:, 0]).to(self._device)
            out, self._state = self._model.step(inputs, self._state)
        joints = np.asarray(out.float().cpu().numpy(), np.float32)
        in_camera = root_relative(window.to_camera(joints[:, None]))
        return np.asarray(in_camera[0, 0], np.float32)


class InterleavedLifter:
    """Every `phases`-th frame to a lifter of its own, for sources of a high frame rate.

    A network trained at 25 to 60 frames a second takes 240 of them for slow motion. Each
    phase is a sequence at a rate that it knows; the answers are put in order again.
    """

    def __init__(self, make: Callable[[], Lifter], phases: int) -> None:
        self._lifters = [make() for _ in range(phases)]
        self._order: deque[int] = deque()
        self._done: dict[int, LiftedPose] = {}

    def push(self, pose: Pose2D) -> list[LiftedPose]:
        self._order.append(pose.frame_index)
        return self._sorted(self._lifters[pose.frame_index % len(self._lifters)].push(pose))

    def flush(self) -> list[LiftedPose]:
        done = [lifted for lifter in self._lifters for lifted in lifter.flush()]
        return self._sorted(done)

    def reset(self) -> None:
        for lifter in self._lifters:
            lifter.reset()
        self._order.clear()
        self._done.clear()

    def _sorted(self, done: list[LiftedPose]) -> list[LiftedPose]:
        self._done.update((lifted.pose2d.frame_index, lifted) for lifted in done)
        out = []
        while self._order and self._order[0] in self._done:
            out.append(self._done.pop(self._order.popleft()))
        return out


def upsampled(before: Pose2D, after: Pose2D) -> list[Pose2D]:
    """Interpolated poses between two that are further apart than 1 / MIN_FPS seconds."""
    step = after.timestamp - before.timestamp
    if step * MIN_FPS <= 1.0 + 1e-3:
        return []
    count = round(step * NETWORK_FPS)
    times = (before.timestamp + step * i / count for i in range(1, count))
    return [interpolate(before, after, _NOT_A_FRAME, time) for time in times]


class UpsampledLifter:
    """Interpolated poses between the real ones, for sources of a low frame rate.

    The network sees movements at a speed that it knows; only real frames are given out.
    """

    def __init__(self, lifter: Lifter) -> None:
        self._lifter = lifter
        self._last: Pose2D | None = None

    def push(self, pose: Pose2D) -> list[LiftedPose]:
        done: list[LiftedPose] = []
        last, self._last = self._last, pose
        if last is not None and not breaks_track(last, pose):
            for between in upsampled(last, pose):
                done += self._lifter.push(between)
        return _real(done + self._lifter.push(pose))

    def flush(self) -> list[LiftedPose]:
        self._last = None
        return _real(self._lifter.flush())

    def reset(self) -> None:
        self._last = None
        self._lifter.reset()


def _real(done: list[LiftedPose]) -> list[LiftedPose]:
    return [lifted for lifted in done if lifted.pose2d.frame_index != _NOT_A_FRAME]


def lifter_factory(
    checkpoint: Checkpoint,
    *,
    mode: Mode,
    fov_deg: float,
    fps: float,
    live: bool,
    frames: int | None = None,
    delay: int = 0,
) -> Callable[[], Lifter]:
    """What makes the lifters, one for each person, that suit weights and source.

    Args:
        checkpoint: window or causal weights.
        mode: how much work a file is worth.
        fov_deg: field of view across the picture's longer side.
        fps: of the source.
        live: each pose is wanted as soon as its frame is there.
        frames: window, where the weights take one.
        delay: frames of look-ahead in live use.

    Raises:
        ValueError: a window that the weights do not take, or a delay outside of it.
    """
    if checkpoint.meta.input_kind == "stream":
        if delay:
            raise ValueError("these weights see no later frames, so that a delay is of no use")
        make: Callable[[], Lifter] = partial(StreamLifter, checkpoint, fov_deg=fov_deg)
    else:
        network = Network(checkpoint, fov_deg=fov_deg, mirrored=mode.mirrored, frames=frames)
        if live:
            LiveLifter(network, delay)  # a delay that is out of range shows here
            return partial(LiveLifter, network, delay)
        make = partial(FileLifter, network, mode.overlap)
    if live:
        return make
    if fps > MAX_FPS:
        return partial(InterleavedLifter, make, max(2, round(fps / TARGET_FPS)))
    return lambda: UpsampledLifter(make())


class PeopleLifter:
    """One lifter per person; a person who is gone is flushed and forgotten."""

    def __init__(self, make: Callable[[], Lifter]) -> None:
        self._make = make
        self._people: dict[int, _Person] = {}

    @property
    def first_waiting(self) -> int | None:
        """Index of the first frame in which somebody still waits to be lifted."""
        heads = [person.waiting[0] for person in self._people.values() if person.waiting]
        return min(heads, default=None)

    def push(self, poses: Sequence[Pose2D], timestamp: float) -> list[LiftedPose]:
        """Take all poses of one frame (and those filled in before it).

        Args:
            timestamp: the frame's, seconds; by it people are found to be gone.

        Returns:
            The poses that are now final: in order for each person, people one after another.
        """
        done: list[LiftedPose] = []
        for pose in poses:
            if pose.person_id not in self._people:
                self._people[pose.person_id] = _Person(self._make())
            done += self._people[pose.person_id].push(pose)
        for person_id, person in list(self._people.items()):
            if timestamp - person.seen_at > MAX_GAP_S:
                del self._people[person_id]
                done += person.lifter.flush()
        return done

    def flush(self) -> list[LiftedPose]:
        """End of everything: the poses that were still waiting."""
        done = [lifted for person in self._people.values() for lifted in person.lifter.flush()]
        self._people.clear()
        return done


@dataclass(slots=True)
class _Person:
    lifter: Lifter
    waiting: deque[int] = field(default_factory=deque)
    """Frame indices that were pushed and have not come back."""
    seen_at: float = 0.0

    def push(self, pose: Pose2D) -> list[LiftedPose]:
        self.waiting.append(pose.frame_index)
        self.seen_at = pose.timestamp
        done = self.lifter.push(pose)
        for _ in done:
            self.waiting.popleft()
        return done
