"""Lifters: nothing lost, no seams, right axes and units, at every length and frame rate."""

from __future__ import annotations

import dataclasses
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from posemamba.checkpoint import Checkpoint, CheckpointMeta, load_checkpoint
from posemamba.config import PoseMambaConfig
from posemamba.model import PoseMamba
from posemamba.network import Network, from_image_units
from posemamba.normalize import RayWindow, ray_window
from posemamba.skeleton import CHAIN_SHARE, MIRROR, PARENTS
from posemamba_live.lifting.averaged import SHARE
from posemamba_live.lifting.blending import stack
from posemamba_live.lifting.factory import lifter_factory
from posemamba_live.lifting.people import PeopleLifter
from posemamba_live.lifting.rates import InterleavedLifter, UpsampledLifter
from posemamba_live.lifting.window import FileLifter, Lifter, LiveLifter
from posemamba_live.options import DeviceName, ModeName, Options
from posemamba_live.plan import (
    FILM_WEIGHTS,
    LIVE_WEIGHTS,
    MODES,
    SECOND_WEIGHTS,
    WHOLE_WEIGHTS,
    default_weights,
    plan_lifting,
    second_weights,
    whole_weights,
)
from posemamba_live.types import FloatArray, LiftedPose, Pose2D
from tests.conftest import WINDOW, MakeTrack


@pytest.fixture(scope="module")
def network(tiny_checkpoint: Checkpoint) -> Network:
    return Network(tiny_checkpoint, fov_deg=60.0)


def lift_all(lifter: Lifter, poses: list[Pose2D]) -> list[LiftedPose]:
    return [done for pose in poses for done in lifter.push(pose)] + lifter.flush()


def by_hand(checkpoint: Checkpoint, poses: list[Pose2D]) -> FloatArray:
    """One window through the model, without any of the code under test: (T, 17, 3)."""
    keypoints, scores, peaks = (part[None] for part in stack(poses))
    window: RayWindow = ray_window(keypoints, scores, poses[0].image_size, 60.0, peaks)
    with torch.no_grad():
        out = checkpoint.model(torch.from_numpy(window.inputs)).numpy()
    out = out - out[:, :, :1]
    return np.einsum("btjk,bkl->btjl", out, window.rotation)[0].astype(np.float32)


# -- the network ---------------------------------------------------------------------------


def test_network_is_the_model_between_normalisation_and_its_inverse(
    network: Network, tiny_checkpoint: Checkpoint, make_track: MakeTrack
) -> None:
    poses = make_track(WINDOW)
    keypoints, scores, peaks = (part[None] for part in stack(poses))
    got = network(keypoints, scores, (640, 360), peaks)[0]
    np.testing.assert_allclose(got, by_hand(tiny_checkpoint, poses), atol=1e-5)


def test_mirrored_pass_commutes_with_mirroring(
    tiny_checkpoint: Checkpoint, make_track: MakeTrack
) -> None:
    network = Network(tiny_checkpoint, fov_deg=60.0, mirrored=True)
    keypoints, scores, peaks = (part[None] for part in stack(make_track(WINDOW)))
    order = list(MIRROR)
    flipped = keypoints[:, :, order] * [-1, 1] + [640, 0]
    straight = network(keypoints, scores, (640, 360), peaks)
    mirrored = network(
        flipped.astype(np.float32), scores[:, :, order], (640, 360), peaks[:, :, order]
    )
    np.testing.assert_allclose(mirrored, straight[:, :, order] * [-1, 1, 1], atol=2e-5)


@pytest.mark.parametrize("frames", [0, WINDOW + 1])
def test_network_refuses_windows_that_the_weights_do_not_take(
    tiny_checkpoint: Checkpoint, frames: int
) -> None:
    with pytest.raises(ValueError, match="the weights take 1 to 9"):
        Network(tiny_checkpoint, fov_deg=60.0, frames=frames)


def test_image_units_become_camera_axes_and_body_heights() -> None:
    """A person of known height, projected as the official models' targets are made."""
    rng = np.random.default_rng(1)
    joints = np.zeros((17, 3))
    lengths = {2: 0.26, 3: 0.25, 5: 0.26, 6: 0.25, 7: 0.15, 8: 0.15}
    for j in range(1, 17):
        bone = rng.normal(size=3)
        joints[j] = joints[PARENTS[j]] + lengths.get(j, 0.1) * bone / np.linalg.norm(bone)
    chain = 0.51 + 0.30 + float(np.linalg.norm(joints[10] - joints[8]))
    root, scale = np.array([2.0, -0.5, 60.0]), 3.7  # far away: perspective within the body is small
    points = joints + root
    image = np.empty((17, 3))
    image[:, :2] = scale * root[2] * (points[:, :2] / points[:, 2:] - root[:2] / root[2])
    image[:, 2] = scale * joints[:, 2]
    got = from_image_units(image.astype(np.float32), (root[:2] / root[2]).astype(np.float32))
    np.testing.assert_allclose(got, joints * CHAIN_SHARE / chain, atol=5e-3)


def test_official_kind_of_input(make_track: MakeTrack) -> None:
    """A stand-in for official weights that answers with its own input, at depth zero."""

    class Flat(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused = torch.nn.Parameter(torch.zeros(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            assert x.shape[-1] == 2
            return torch.nn.functional.pad(x, (0, 1))

    config = SimpleNamespace(in_channels=2, gravity=False, causal=False)
    meta = SimpleNamespace(frames=WINDOW, input_kind="image", config=config, causal=False)
    network = Network(Checkpoint(cast(Any, Flat()), cast(Any, meta)), fov_deg=60.0)
    keypoints, scores, _ = stack(make_track(4))
    got = network(keypoints[None], scores[None], (640, 360))[0]
    offset = keypoints - keypoints[:, :1]
    ratio = got[..., :2] / np.where(np.abs(offset) < 1.0, np.nan, offset)
    spread = np.nanmax(ratio, axis=(1, 2)) - np.nanmin(ratio, axis=(1, 2))
    assert (spread < 1e-3 * np.nanmean(ratio)).all(), "one scale for all joints, x and y alike"
    np.testing.assert_allclose(got[..., 2], 0.0, atol=1e-6)


# -- files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, WINDOW, WINDOW + 1, 70])
@pytest.mark.parametrize("overlap", [1, 3, 6])
def test_files_lose_nothing(
    network: Network, make_track: MakeTrack, count: int, overlap: int
) -> None:
    lifted = lift_all(FileLifter(network, overlap), make_track(count))
    assert [pose.pose2d.frame_index for pose in lifted] == list(range(count))
    assert all(np.isfinite(pose.joints).all() for pose in lifted)
    assert all(0 <= pose.look_ahead < WINDOW for pose in lifted)
    assert lifted[-1].look_ahead == 0


def test_short_clips_are_lifted_as_they_are(
    network: Network, tiny_checkpoint: Checkpoint, make_track: MakeTrack
) -> None:
    poses = make_track(5)
    lifted = lift_all(FileLifter(network), poses)
    np.testing.assert_allclose(
        [pose.joints for pose in lifted], by_hand(tiny_checkpoint, poses), atol=1e-5
    )


def test_no_seams_at_window_borders(network: Network, make_track: MakeTrack) -> None:
    """Steps between frames are no larger where windows begin and end than elsewhere."""
    joints = np.array([p.joints for p in lift_all(FileLifter(network, 3), make_track(150))])
    bend = np.linalg.norm(np.diff(joints, 2, axis=0), axis=-1).mean(1)[WINDOW:-WINDOW]
    at_borders = bend[np.arange(len(bend)) % 3 == (-WINDOW - 1) % 3]
    assert at_borders.mean() < 1.5 * bend.mean()
    jumps = lift_all(FileLifter(network, 1), make_track(150))
    seams = np.linalg.norm(np.diff([p.joints for p in jumps], 2, axis=0), axis=-1).mean(1)
    assert bend.max() < seams.max(), "windows that do not overlap do have seams"


def test_a_gap_divides_a_track(network: Network, make_track: MakeTrack) -> None:
    whole = make_track(60)
    early, late = whole[:20], whole[40:]
    together = lift_all(FileLifter(network), early + late)
    apart = lift_all(FileLifter(network), early) + lift_all(FileLifter(network), late)
    assert [p.pose2d.frame_index for p in together] == [*range(20), *range(40, 60)]
    np.testing.assert_allclose([p.joints for p in together], [p.joints for p in apart], atol=1e-5)


def test_reset_forgets(network: Network, make_track: MakeTrack) -> None:
    for lifter in (FileLifter(network), LiveLifter(network, 2)):
        for pose in make_track(7):
            lifter.push(pose)
        lifter.reset()
        assert lifter.flush() == []


# -- live ------------------------------------------------------------------------------------


@pytest.mark.parametrize("delay", [0, 1, 4, WINDOW - 1])
def test_live_answers_for_the_frame_that_it_names(
    network: Network, tiny_checkpoint: Checkpoint, make_track: MakeTrack, delay: int
) -> None:
    poses = make_track(30)
    lifter = LiveLifter(network, delay)
    for i, pose in enumerate(poses):
        done = lifter.push(pose)
        assert [p.pose2d.frame_index for p in done] == ([i - delay] if i >= delay else [])
        assert all(p.look_ahead == delay for p in done)
        if i >= WINDOW:
            window = by_hand(tiny_checkpoint, poses[i - WINDOW + 1 : i + 1])
            np.testing.assert_allclose(done[0].joints, window[-1 - delay], atol=1e-3)
    rest = lifter.flush()
    assert [p.pose2d.frame_index for p in rest] == list(range(30 - delay, 30))
    assert [p.look_ahead for p in rest] == list(reversed(range(delay)))


def test_live_sees_movement_at_its_true_speed_when_frames_are_dropped(
    network: Network, make_track: MakeTrack
) -> None:
    poses = make_track(40)
    full, sparse = LiveLifter(network), LiveLifter(network)
    reference = [done.joints for pose in poses for done in full.push(pose)]
    kept = [pose for pose in poses if pose.frame_index % 3 != 1]
    got = {p.frame_index: done.joints for p in kept for done in sparse.push(p)}
    naive = LiveLifter(network)
    squeezed = {
        p.frame_index: done.joints
        for i, p in enumerate(kept)
        for done in naive.push(dataclasses.replace(p, timestamp=i / 30))
    }
    late = [i for i in got if i > WINDOW]
    error = np.mean([np.abs(got[i] - reference[i]).mean() for i in late])
    error_naive = np.mean([np.abs(squeezed[i] - reference[i]).mean() for i in late])
    assert error < 0.5 * error_naive


def test_live_starts_anew_for_another_person(network: Network, make_track: MakeTrack) -> None:
    lifter, fresh = LiveLifter(network), LiveLifter(network)
    for pose in make_track(10):
        lifter.push(pose)
    stranger = dataclasses.replace(make_track(1, first=10)[0], person_id=5)
    np.testing.assert_array_equal(lifter.push(stranger)[0].joints, fresh.push(stranger)[0].joints)


def test_live_refuses_a_delay_outside_of_its_window(network: Network) -> None:
    with pytest.raises(ValueError, match="a delay of 9 frames"):
        LiveLifter(network, WINDOW)


# -- frame rates -----------------------------------------------------------------------------


def test_fast_recordings_are_lifted_in_phases(network: Network, make_track: MakeTrack) -> None:
    poses = make_track(120, fps=120.0)
    lifted = lift_all(InterleavedLifter(lambda: FileLifter(network), 3), poses)
    assert [p.pose2d.frame_index for p in lifted] == list(range(120))
    phase = lift_all(FileLifter(network), poses[1::3])
    np.testing.assert_allclose([p.joints for p in lifted[1::3]], [p.joints for p in phase])


def test_slow_recordings_give_only_their_own_frames(
    network: Network, make_track: MakeTrack
) -> None:
    poses = make_track(40)[::3]
    lifted = lift_all(UpsampledLifter(FileLifter(network)), poses)
    assert [p.pose2d.frame_index for p in lifted] == [p.frame_index for p in poses]
    full = lift_all(FileLifter(network), make_track(40))[::3]
    slow = lift_all(FileLifter(network), poses)
    error = np.mean([np.abs(a.joints - b.joints).mean() for a, b in zip(lifted, full, strict=True)])
    plain = np.mean([np.abs(a.joints - b.joints).mean() for a, b in zip(slow, full, strict=True)])
    assert error < 0.7 * plain


@pytest.mark.parametrize("fps", [8.0, 30.0, 60.0, 240.0])
def test_factory_makes_a_lifter_for_every_rate(
    tiny_checkpoint: Checkpoint, make_track: MakeTrack, fps: float
) -> None:
    plan = plan_lifting(tiny_checkpoint.meta, mode="fast", fov_deg=60.0, fps=fps, live=False)
    make = lifter_factory(tiny_checkpoint, plan)
    lifted = lift_all(make(), make_track(25, fps=fps))
    assert [p.pose2d.frame_index for p in lifted] == list(range(25))


# -- several people --------------------------------------------------------------------------


def test_people_have_lifters_of_their_own(network: Network, make_track: MakeTrack) -> None:
    first, second = make_track(60), make_track(30, person_id=1)
    people = PeopleLifter(lambda: FileLifter(network))
    lifted: list[LiftedPose] = []
    for i, pose in enumerate(first):
        both = [pose, second[i]] if i < 30 else [pose]
        lifted += people.push(both, pose.timestamp)
        waiting = people.first_waiting
        assert waiting is not None
        assert waiting <= i
    gone = [p.pose2d.frame_index for p in lifted if p.pose2d.person_id == 1]
    assert gone == list(range(30)), "who has left is complete before the end"
    lifted += people.flush()
    assert people.first_waiting is None
    for person_id, track in ((0, first), (1, second)):
        got = [p.joints for p in lifted if p.pose2d.person_id == person_id]
        alone = [p.joints for p in lift_all(FileLifter(network), track)]
        np.testing.assert_allclose(got, alone, atol=1e-5)


def test_live_use_is_mirrored_only_where_asked_for(tiny_checkpoint: Checkpoint) -> None:
    """Every live pose costs a window: twice as many would show in its age."""
    seen: list[int] = []

    class Counting:
        device = torch.device("cpu")

        def __call__(self, inputs: np.ndarray) -> np.ndarray:
            seen.append(len(inputs))
            return np.zeros((*inputs.shape[:3], 3), np.float32)

    track = [Pose2D(i, i / 30, 0, np.full((17, 2), 9.0, "f4"), np.ones(17, "f4"), (64, 36))
             for i in range(WINDOW)]  # fmt: skip
    for mode, live, windows in (
        ("fast", False, 1), ("balanced", False, 2), ("balanced", True, 1), ("accurate", True, 2),
    ):  # fmt: skip
        seen.clear()
        plan = plan_lifting(tiny_checkpoint.meta, mode=mode, fov_deg=60.0, fps=30.0, live=live)
        lifter = lifter_factory(tiny_checkpoint, plan, runtime=cast(Any, Counting()))()
        for pose in track[: 1 if live else WINDOW]:
            lifter.push(pose)
        lifter.flush()
        assert seen == [windows], mode


def test_a_causal_step_is_cheap_enough_to_be_mirrored_live() -> None:
    config = PoseMambaConfig(dim=16, depth=1, frames=27, in_channels=6, causal=True)
    meta = CheckpointMeta("some", config, "stream", "body_height")
    plan = partial(plan_lifting, meta, live=True, fps=30.0, fov_deg=60.0)
    assert [plan(mode=mode).mirrored for mode in MODES] == [False, True, True]


@pytest.mark.parametrize(
    ("asked", "live", "weights"),
    [
        ({}, False, FILM_WEIGHTS),
        ({}, True, LIVE_WEIGHTS),
        ({"delay": 2}, True, FILM_WEIGHTS),
        ({"window": 9}, True, FILM_WEIGHTS),
        ({"device": DeviceName.CUDA}, True, FILM_WEIGHTS),
        ({"mode": ModeName.ACCURATE}, True, FILM_WEIGHTS),
        ({"mode": ModeName.FAST}, True, LIVE_WEIGHTS),
    ],
)
def test_weights_are_those_that_can_do_what_is_asked_for(
    asked: dict[str, Any], live: bool, weights: str
) -> None:
    assert default_weights(Options(**{"source": "a.mp4", **asked}), live=live) == weights


@pytest.mark.parametrize(
    ("asked", "live", "weights"),
    [
        ({}, False, SECOND_WEIGHTS),
        ({"mode": ModeName.ACCURATE}, False, SECOND_WEIGHTS),
        ({"mode": ModeName.FAST}, False, None),
        ({"weights": FILM_WEIGHTS}, False, None),
        ({"window": 9}, False, None),
        ({}, True, None),
        ({"mode": ModeName.ACCURATE}, True, SECOND_WEIGHTS),
        ({"mode": ModeName.ACCURATE, "delay": 3}, True, None),
        ({"mode": ModeName.ACCURATE, "device": DeviceName.CUDA}, True, None),
    ],
)
def test_windows_are_averaged_with_another_network_unless_something_else_is_asked_for(
    asked: dict[str, Any], live: bool, weights: str | None
) -> None:
    options = Options(**{"source": "a.mp4", **asked})
    assert second_weights(options, live=live) == weights
    seen_again = WHOLE_WEIGHTS if weights and not live else None
    assert whole_weights(options, live=live) == seen_again


@pytest.mark.parametrize("gap", [0, 300])
def test_live_windows_can_be_averaged_with_a_causal_network(
    gap: int, make_track: MakeTrack
) -> None:
    window, causal = load_checkpoint(FILM_WEIGHTS), load_checkpoint(SECOND_WEIGHTS)
    made = partial(plan_lifting, live=True, fps=30.0, fov_deg=60.0)
    plan = made(window.meta, mode="accurate")
    track = [*make_track(30), *make_track(10, first=30 + gap)]
    ours = lift_all(lifter_factory(window, plan)(), track)
    theirs = lift_all(lifter_factory(causal, made(causal.meta))(), track)
    both = lift_all(lifter_factory(window, plan, second=causal)(), track)
    assert [pose.pose2d for pose in both] == track
    for mean, a, b in zip(both, ours, theirs, strict=True):
        expected = (1.0 - SHARE) * a.joints + SHARE * b.joints
        np.testing.assert_allclose(mean.joints, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("mode", "live", "delay", "asked", "expected"),
    [
        ("balanced", True, 0, None, 18),
        ("balanced", True, 5, None, 23),
        ("balanced", True, 13, None, 27),
        ("fast", True, 0, None, 13),
        ("accurate", True, 0, None, 27),
        ("fast", False, 0, None, 27),
        ("fast", True, 0, 21, 21),
    ],
)
def test_live_windows_on_a_cpu_leave_out_what_tells_little(
    mode: str, live: bool, delay: int, asked: int | None, expected: int
) -> None:
    config = PoseMambaConfig(dim=16, depth=1, frames=27, in_channels=5)
    meta = CheckpointMeta("some", config, "rays", "body_height")
    checkpoint = Checkpoint(PoseMamba(config), meta)
    plan = partial(plan_lifting, mode=mode, live=live, delay=delay, fps=30.0, fov_deg=60.0)
    own = plan(meta, window=asked)
    assert own.window == expected
    assert own.look_ahead == (delay if live else expected - 1)
    if asked is None:
        published = dataclasses.replace(meta, input_kind="image", output_unit="image")
        assert plan(meta, on_gpu=True).window == plan(published).window == 27

    seen: list[int] = []

    class Watching:
        device = torch.device("cpu")

        def __call__(self, inputs: np.ndarray) -> np.ndarray:
            seen.append(inputs.shape[1])
            return np.zeros((*inputs.shape[:3], 3), np.float32)

    lifter = lifter_factory(checkpoint, own, runtime=cast(Any, Watching()))()
    for i in range(60):
        points = np.random.default_rng(i).uniform(0, 30, (17, 2)).astype(np.float32)
        lifter.push(Pose2D(i, i / 30, 0, points, np.ones(17, "f4"), (64, 36)))
    assert max(seen) == expected
