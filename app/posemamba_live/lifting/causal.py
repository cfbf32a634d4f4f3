"""Lifting frame by frame with a causal network: every frame costs the same small amount."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from posemamba.normalize import RayStream, root_relative
from posemamba.skeleton import NUM_JOINTS
from posemamba.streams import CausalNetwork
from posemamba_live.keypoints import breaks_track, interpolate
from posemamba_live.lifting.batching import Lifting, Work
from posemamba_live.lifting.blending import peaks_of
from posemamba_live.lifting.window import Lifter
from posemamba_live.types import FloatArray, LiftedPose, Pose2D

STEP_S: Final = 1.0 / 30.0
"""What the network takes for one step: the rate of half of the training data."""
_LATE: Final = 1.5
"""Steps after which a frame was missed, and the time up to it is bridged."""


class CausalLifter(Lifter):
    """One person's poses through a causal network whose state is carried along.

    The answer is always the newest frame's: there is no look-ahead. Frames that a live
    source dropped are bridged by interpolated ones, so that movements keep their speed for
    the network; after a gap that no window would bridge, or for another person, the state
    starts anew.

    Args:
        network: for all people, who are lifted together.
        fov_deg: field of view across the picture's longer side.
    """

    def __init__(self, network: CausalNetwork, *, fov_deg: float) -> None:
        self._network = network
        self._fov_deg = fov_deg
        self.reset()

    def reset(self) -> None:
        self._last: Pose2D | None = None
        self._rays = RayStream(self._fov_deg)
        self._state = self._network.first_state()

    def pushing(self, pose: Pose2D) -> Lifting:
        last = self._last
        if last is not None and breaks_track(last, pose):
            self.reset()
            last = None
        elapsed = 0.0
        if last is not None:
            elapsed = pose.timestamp - last.timestamp
            steps = round(elapsed / STEP_S) if elapsed > _LATE * STEP_S else 1
            elapsed /= steps
            for i in range(1, steps):
                between = interpolate(last, pose, last.frame_index, last.timestamp + i * elapsed)
                yield from self._step(between, elapsed)
        self._last = pose
        return [LiftedPose(pose, (yield from self._step(pose, elapsed)), 0)]

    def flushing(self) -> Lifting:
        self.reset()
        return []
        yield  # a coroutine without requests

    def _step(self, pose: Pose2D, elapsed: float) -> Work[FloatArray]:
        """(17, 3) root-relative, camera axes, body heights."""
        view = self._rays.update(
            pose.keypoints[None],
            pose.scores[None],
            pose.image_size,
            elapsed,
            peaks_of(pose)[None],
        )
        step = _Step(self._network, view.inputs[:, 0, :, : self._network.channels], self._state)
        joints = (yield step)[:, :NUM_JOINTS]
        self._state = step.state
        turned: FloatArray = view.to_camera(root_relative(joints[:, None]))[0, 0]
        return turned


@dataclass(slots=True, eq=False)
class _Step:
    """The next frame of one stream."""

    network: CausalNetwork
    inputs: FloatArray
    """(1, 17, C)"""
    state: Any
    """Before the frame; after it, once answered."""

    @property
    def kind(self) -> Hashable:
        return id(self.network)

    def answer(self, alike: Sequence[_Step]) -> list[FloatArray]:
        """(1, 17 or 18, 3) each."""
        inputs = np.concatenate([step.inputs for step in alike])
        answers, states = self.network.step(inputs, [step.state for step in alike])
        for step, after in zip(alike, states, strict=True):
            step.state = after
        return np.split(answers, len(alike))
