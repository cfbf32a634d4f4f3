"""The causal lifter: a stream of poses gives what the whole sequence gives."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from posemamba.checkpoint import Checkpoint, CheckpointMeta
from posemamba.config import PoseMambaConfig
from posemamba.model import PoseMamba
from posemamba.normalize import RayStream, root_relative
from posemamba.streams import CausalNetwork
from posemamba_live.lifting.causal import CausalLifter
from posemamba_live.types import LiftedPose, Pose2D

SIZE = (640, 480)


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    torch.manual_seed(1)
    config = PoseMambaConfig(dim=16, depth=1, frames=9, in_channels=6, causal=True)
    model = PoseMamba(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    meta = CheckpointMeta("test", config, "stream", "body_height")
    return Checkpoint(model.eval().requires_grad_(False), meta)


def walk(count: int, fps: float = 30.0, person_id: int = 0) -> list[Pose2D]:
    rng = np.random.default_rng(5)
    body = rng.uniform(150, 330, (17, 2))
    scores, peak = rng.uniform(0.5, 1, (2, 17)).astype(np.float32)
    return [
        Pose2D(
            i,
            i / fps,
            person_id,
            (body + np.array([2.0, 0.5]) * i).astype(np.float32),
            scores,
            SIZE,
            peak=peak,
        )
        for i in range(count)
    ]


def lift(checkpoint: Checkpoint, poses: list[Pose2D]) -> list[LiftedPose]:
    lifter = CausalLifter(CausalNetwork(checkpoint), fov_deg=60.0)
    return [lifted for pose in poses for lifted in lifter.push(pose)]


def test_every_frame_is_answered_at_once_and_equals_the_sequence(checkpoint: Checkpoint) -> None:
    poses = walk(20)
    lifted = lift(checkpoint, poses)
    assert [p.pose2d.frame_index for p in lifted] == list(range(20))
    assert all(p.look_ahead == 0 for p in lifted)
    rays = RayStream(60.0)
    views = [
        rays.update(p.keypoints[None], p.scores[None], SIZE, 1 / 30, p.peak[None]) for p in poses
    ]
    with torch.no_grad():
        inputs = torch.from_numpy(np.concatenate([v.inputs for v in views], 1))
        whole = checkpoint.model(inputs).numpy()
    for t, view in enumerate(views):
        expected = view.to_camera(root_relative(whole[:, t : t + 1]))[0, 0]
        np.testing.assert_allclose(lifted[t].joints, expected, atol=1e-4)


def test_missed_frames_are_bridged(checkpoint: Checkpoint) -> None:
    poses = walk(20)
    full = lift(checkpoint, poses)
    thinned = lift(checkpoint, [p for p in poses if p.frame_index not in (8, 9, 14)])
    # the walk is linear, so that interpolated frames are the missed ones
    np.testing.assert_allclose(thinned[-1].joints, full[-1].joints, atol=1e-3)


def test_a_long_gap_and_another_person_start_anew(checkpoint: Checkpoint) -> None:
    poses = walk(10)
    fresh = lift(checkpoint, poses)
    later = [dataclasses.replace(p, timestamp=p.timestamp + 5.0) for p in poses]
    other = [dataclasses.replace(p, timestamp=p.timestamp + 6.0, person_id=7) for p in poses]
    lifted = lift(checkpoint, [*poses, *later, *other])
    for again in (lifted[10:20], lifted[20:]):
        for a, b in zip(again, fresh, strict=True):
            np.testing.assert_allclose(a.joints, b.joints, atol=1e-5)


def test_a_window_network_is_refused(checkpoint: Checkpoint) -> None:
    config = dataclasses.replace(checkpoint.meta.config, causal=False)
    window = Checkpoint(checkpoint.model, dataclasses.replace(checkpoint.meta, config=config))
    with pytest.raises(ValueError, match="not a causal network"):
        CausalLifter(CausalNetwork(window), fov_deg=60.0)
