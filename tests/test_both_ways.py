"""Films seen as a whole: each pose averaged with another network's, which sees more of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from posemamba.checkpoint import Checkpoint, checksum_of, load_checkpoint
from posemamba.network import Lifter
from posemamba.skeleton import MIRROR
from posemamba.streams import CausalNetwork
from posemamba_live.evaluation.synthetic import lift_causally
from posemamba_live.lifting.averaged import SHARE
from posemamba_live.lifting.both_ways import seen_as_a_whole, seen_both_ways
from posemamba_live.plan import SECOND_WEIGHTS, WHOLE_WEIGHTS
from posemamba_live.scene.settings import SceneSettings
from posemamba_live.takes.recovery import averaged_with, solve
from posemamba_live.types import FloatArray, LiftedPose, Pose2D
from tests.conftest import MakeTrack


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return load_checkpoint(SECOND_WEIGHTS)


@pytest.fixture(scope="module")
def long_windows() -> Checkpoint:
    return load_checkpoint(WHOLE_WEIGHTS)


@pytest.fixture(scope="module")
def network(checkpoint: Checkpoint) -> CausalNetwork:
    return CausalNetwork(checkpoint)


def as_lifted(poses: list[Pose2D]) -> list[LiftedPose]:
    """Answers of windows, which are different for every pose."""
    rng = np.random.default_rng(1)
    return [LiftedPose(p, rng.normal(size=(17, 3)).astype(np.float32), 3) for p in poses]


def both(lifted: list[LiftedPose], network: CausalNetwork, fps: float = 30.0) -> list[LiftedPose]:
    return seen_both_ways(lifted, network, fps=fps, fov_deg=60.0)


def joints_of(poses: list[LiftedPose]) -> FloatArray:
    return np.stack([pose.joints for pose in poses])


def passed(checkpoint: Checkpoint, poses: list[Pose2D], *, mirrored: bool) -> FloatArray:
    """(n, 17, 3) the network's answers by the code of the evaluation."""
    keypoints = np.stack([pose.keypoints for pose in poses])
    scores = np.stack([pose.scores for pose in poses])
    peaks = np.stack([pose.peak for pose in poses if pose.peak is not None])
    if mirrored:
        order = list(MIRROR)
        keypoints = keypoints[:, order] * np.float32([-1, 1]) + np.float32([640, 0])
        scores, peaks = scores[:, order], peaks[:, order]
    answers = lift_causally(
        checkpoint, keypoints[None], scores[None], (640, 360), 1.0 / 30.0, 60.0, peaks[None]
    )[0]
    return answers[:, list(MIRROR)] * np.float32([-1, 1, 1]) if mirrored else answers


def test_what_is_added_is_the_mean_of_two_directions(
    checkpoint: Checkpoint, network: CausalNetwork, make_track: MakeTrack
) -> None:
    poses = make_track(200)
    lifted = as_lifted(poses)
    got = both(lifted, network)
    ahead = passed(checkpoint, poses, mirrored=False)
    back = passed(checkpoint, poses[::-1], mirrored=True)[::-1]
    for i in (0, 100, 199):
        own = (got[i].joints - (1.0 - SHARE) * lifted[i].joints) / SHARE
        # Each direction counts by what it has seen; in the middle both have seen much.
        first, second = (1.0 - np.exp(-(n + 3.0) / 40.0) for n in (i, 199 - i))
        mean = (first * ahead[i] + second * back[i]) / (first + second)
        np.testing.assert_allclose(own, mean, atol=2e-5)
    assert [pose.look_ahead for pose in got] == [*range(199, 2, -1), 3, 3, 3]
    assert [pose.pose2d for pose in got] == poses


def test_people_and_what_is_before_and_after_a_gap_do_not_mix(
    network: CausalNetwork, make_track: MakeTrack
) -> None:
    first, after = make_track(40), make_track(40, first=400)
    second = make_track(70, person_id=1)
    alone = [both(as_lifted(track), network) for track in (first, after, second)]
    parts = [as_lifted(track) for track in (first, after, second)]
    mixed = sorted(
        [pose for part in parts for pose in part],
        key=lambda pose: (pose.pose2d.frame_index, -pose.pose2d.person_id),
    )
    got = {(p.pose2d.person_id, p.pose2d.frame_index): p for p in both(mixed, network)}
    assert len(got) == 150
    for pose in [pose for part in alone for pose in part]:
        other = got[pose.pose2d.person_id, pose.pose2d.frame_index]
        np.testing.assert_allclose(other.joints, pose.joints, atol=1e-6)
        assert other.look_ahead == pose.look_ahead


@pytest.mark.parametrize("fps", [8.0, 25.0, 60.0, 120.0])
def test_every_frame_of_every_rate_comes_back(
    fps: float, network: CausalNetwork, make_track: MakeTrack
) -> None:
    """The first frames too, whose numbers mark what is interpolated elsewhere."""
    lifted = as_lifted(make_track(50, fps=fps))
    got = both(lifted, network, fps)
    assert [pose.pose2d for pose in got] == [pose.pose2d for pose in lifted]
    changed = [np.abs(a.joints - b.joints).max() for a, b in zip(got, lifted, strict=True)]
    assert min(changed) > 1e-3


@pytest.mark.parametrize("length", [1, 90, 400])
def test_long_windows_count_for_a_fifth(
    length: int, long_windows: Checkpoint, make_track: MakeTrack
) -> None:
    """The same as the library makes of the keypoints, track by track."""
    poses, after = make_track(length), make_track(30, first=length + 400)
    others = make_track(70, person_id=1)
    lifted = as_lifted([*poses, *others, *after])
    got = seen_as_a_whole(lifted, long_windows, fps=30.0, fov_deg=60.0)
    assert [pose.pose2d for pose in got] == [pose.pose2d for pose in lifted]
    lifter = Lifter(long_windows, fov_deg=60.0)
    expected = np.concatenate(
        [
            lifter(
                np.stack([pose.keypoints for pose in track]),
                np.stack([pose.scores for pose in track]),
                (640, 360),
                fps=30.0,
                peaks=np.stack([pose.peak for pose in track if pose.peak is not None]),
            )
            for track in (poses, others, after)
        ]
    )
    for mean, ours, theirs in zip(got, lifted, expected, strict=True):
        np.testing.assert_allclose(mean.joints, 0.8 * ours.joints + 0.2 * theirs, atol=2e-5)
    # Of windows of 240 frames, or the whole track, the first sees what follows.
    assert got[0].look_ahead == max(min(length, 240) - 1, 3)
    assert got[length - 1].look_ahead == 3


@pytest.mark.parametrize("fps", [8.0, 25.0, 60.0, 120.0])
def test_long_windows_of_every_rate(
    fps: float, long_windows: Checkpoint, make_track: MakeTrack
) -> None:
    lifted = as_lifted(make_track(50, fps=fps))
    got = seen_as_a_whole(lifted, long_windows, fps=fps, fov_deg=60.0)
    assert [pose.pose2d for pose in got] == [pose.pose2d for pose in lifted]
    changed = [np.abs(a.joints - b.joints).max() for a, b in zip(got, lifted, strict=True)]
    assert min(changed) > 1e-3


def test_causal_weights_pass_a_film_in_both_directions(
    checkpoint: Checkpoint, network: CausalNetwork, make_track: MakeTrack
) -> None:
    lifted = as_lifted(make_track(60))
    got = seen_as_a_whole(lifted, checkpoint, fps=30.0, fov_deg=60.0)
    for pose, expected in zip(got, both(lifted, network), strict=True):
        np.testing.assert_array_equal(pose.joints, expected.joints)


@pytest.mark.parametrize(
    ("fps", "long", "ahead"),
    [
        (15.0, False, [149, 148, 1, 0]),  # of a causal network: all that follows
        (15.0, True, [119, 118, 1, 0]),  # windows of 240 frames at 30 a second
        (30.0, True, [149, 148, 1, 0]),
        (120.0, True, [147, 147, 0, 0]),  # three phases of 50 frames
    ],
)
def test_look_ahead_is_told_in_frames_of_the_film(
    fps: float,
    long: bool,
    ahead: list[int],
    checkpoint: Checkpoint,
    long_windows: Checkpoint,
    make_track: MakeTrack,
) -> None:
    lifted = [replace(pose, look_ahead=0) for pose in as_lifted(make_track(150, fps=fps))]
    weights = long_windows if long else checkpoint
    got = seen_as_a_whole(lifted, weights, fps=fps, fov_deg=60.0)
    assert [got[i].look_ahead for i in (0, 1, 148, 149)] == ahead


def test_no_poses_are_no_trouble(network: CausalNetwork, long_windows: Checkpoint) -> None:
    assert both([], network) == []
    assert seen_as_a_whole([], long_windows, fps=30.0, fov_deg=60.0) == []


def test_answers_that_are_not_finite_leave_the_windows_alone(
    network: CausalNetwork, make_track: MakeTrack
) -> None:
    poses = make_track(5)
    poses[2] = replace(poses[2], keypoints=np.full((17, 2), np.nan, np.float32))
    lifted = as_lifted(poses)
    got = both(lifted, network)
    assert all(np.isfinite(pose.joints).all() for pose in got)
    np.testing.assert_array_equal(got[2].joints, lifted[2].joints)


def test_a_journal_is_seen_as_its_run_would_have_been(
    network: CausalNetwork, long_windows: Checkpoint, make_track: MakeTrack
) -> None:
    lifted = as_lifted(make_track(90))
    meta = {
        "fps": 30.0,
        "fov_deg": 60.0,
        "height_m": 1.7,
        "smooth": 1.0,
        "second_weights": SECOND_WEIGHTS,
        "second_weights_sha256": checksum_of(SECOND_WEIGHTS),
        "whole_weights": WHOLE_WEIGHTS,
        "whole_weights_sha256": checksum_of(WHOLE_WEIGHTS),
    }
    scene = SceneSettings(1.7, 60.0, 1.0)

    def joints(poses: list[LiftedPose]) -> FloatArray:
        return np.stack([pose.joints_world for pose in scene.solve(poses, None)])

    def recovered(**changes: str | None) -> FloatArray:
        usable, averaged, _ = averaged_with({**meta, **changes})
        return np.stack([pose.joints_world for pose in solve(lifted, usable, averaged)])

    ways = both(lifted, network)
    whole = seen_as_a_whole(ways, long_windows, fps=30.0, fov_deg=60.0)
    np.testing.assert_allclose(recovered(), joints(whole), atol=1e-6)
    # Of a run that knew of no long windows; and one that was seen with nothing.
    np.testing.assert_allclose(recovered(whole_weights=None), joints(ways), atol=1e-6)
    alone = recovered(second_weights=None, whole_weights=None)
    np.testing.assert_allclose(alone, joints(lifted), atol=1e-6)
    # Where one of them is another one by now, the other still counts.
    changed = {"whole_weights_sha256": "0" * 64}
    np.testing.assert_allclose(recovered(**changed), joints(ways), atol=1e-6)
    other = seen_as_a_whole(lifted, long_windows, fps=30.0, fov_deg=60.0)
    np.testing.assert_allclose(recovered(second_weights_sha256="0" * 64), joints(other), atol=1e-6)
    usable, _, notes = averaged_with({**meta, **changed})
    assert usable == {**meta, "whole_weights": None, "whole_weights_sha256": None}
    why = "which are not those of the run any more"
    assert notes == [f"poses are not averaged with those of {WHOLE_WEIGHTS}, {why}"]
    _, _, notes = averaged_with({**meta, "second_weights": "nobody's"})
    assert notes == ["poses are not averaged with those of nobody's, which are not here"]
