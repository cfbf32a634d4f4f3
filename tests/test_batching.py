"""People lifted side by side: the same results as one by one, in fewer calls."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from posemamba import streams
from posemamba.checkpoint import Checkpoint, CheckpointMeta
from posemamba.config import PoseMambaConfig
from posemamba.model import PoseMamba
from posemamba.network import Network
from posemamba.scan import use_backend
from posemamba.streams import CausalNetwork
from posemamba_live.lifting.batching import alone, together
from posemamba_live.lifting.causal import CausalLifter
from posemamba_live.lifting.people import PeopleLifter
from posemamba_live.lifting.rates import at_known_rate
from posemamba_live.lifting.window import FileLifter, Lifter, LiveLifter
from posemamba_live.types import FloatArray, LiftedPose, Pose2D
from tests.conftest import WINDOW, MakeTrack


class Counting(Network):
    """A network that notes how many windows it was asked at a time."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__(checkpoint, fov_deg=60.0)
        self.batches: list[int] = []

    def __call__(
        self,
        keypoints: FloatArray,
        scores: FloatArray,
        image_size: tuple[int, int],
        peaks: FloatArray | None = None,
    ) -> FloatArray:
        self.batches.append(len(keypoints))
        return super().__call__(keypoints, scores, image_size, peaks)


@pytest.fixture
def network(tiny_checkpoint: Checkpoint) -> Counting:
    return Counting(tiny_checkpoint)


@pytest.fixture(scope="module")
def causal() -> Checkpoint:
    torch.manual_seed(1)
    config = PoseMambaConfig(dim=16, depth=2, frames=9, in_channels=4, causal=True)
    model = PoseMamba(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    meta = CheckpointMeta("test", config, "stream", "body_height")
    return Checkpoint(model.eval().requires_grad_(False), meta)


def tracks(make_track: MakeTrack) -> list[list[Pose2D]]:
    """Three people: from the start, later, and with a gap that begins the track anew."""
    third = make_track(60, person_id=2)
    return [make_track(60), make_track(35, person_id=1, first=20), third[:25] + third[40:]]


def one_by_one(
    make: Callable[[], Lifter], people: list[list[Pose2D]]
) -> dict[int, list[LiftedPose]]:
    done = {}
    for track in people:
        lifter = make()
        lifted = [pose for given in track for pose in lifter.push(given)] + lifter.flush()
        done[track[0].person_id] = lifted
    return done


def side_by_side(
    make: Callable[[], Lifter], people: list[list[Pose2D]]
) -> dict[int, list[LiftedPose]]:
    lifter = PeopleLifter(make)
    lifted: list[LiftedPose] = []
    for index in range(60):
        present = [pose for track in people for pose in track if pose.frame_index == index]
        lifted += lifter.push(present, index / 30.0)
    lifted += lifter.flush()
    return {i: [p for p in lifted if p.pose2d.person_id == i] for i in range(len(people))}


def joints(lifted: list[LiftedPose]) -> NDArray[np.float32]:
    return np.array([pose.joints for pose in lifted])


@pytest.mark.parametrize("kind", ["file", "live", "delayed", "slow", "fast", "stream"])
def test_side_by_side_is_one_by_one(
    kind: str, network: Counting, causal: Checkpoint, make_track: MakeTrack
) -> None:
    stream = CausalNetwork(causal)
    make: Callable[[], Lifter] = {
        "file": lambda: FileLifter(network),
        "live": lambda: LiveLifter(network),
        "delayed": lambda: LiveLifter(network, 2),
        "slow": at_known_rate(lambda: FileLifter(network), 10.0),
        "fast": at_known_rate(lambda: FileLifter(network), 120.0),
        "stream": lambda: CausalLifter(stream, fov_deg=60.0),
    }[kind]
    people = tracks(make_track)
    expected, got = one_by_one(make, people), side_by_side(make, people)
    for person_id, track in enumerate(people):
        order = [pose.pose2d.frame_index for pose in got[person_id]]
        assert order == [pose.frame_index for pose in track]
        np.testing.assert_allclose(joints(got[person_id]), joints(expected[person_id]), atol=2e-5)
        ahead = [pose.look_ahead for pose in expected[person_id]]
        assert [pose.look_ahead for pose in got[person_id]] == ahead


def test_people_of_a_frame_are_one_call(network: Counting, make_track: MakeTrack) -> None:
    people = PeopleLifter(lambda: LiveLifter(network))
    both = zip(make_track(40), make_track(40, person_id=1), strict=True)
    for index, poses in enumerate(both):
        people.push(poses, index / 30.0)
    assert network.batches == [2] * 40
    assert WINDOW < 40


def test_somebody_new_is_asked_apart_until_the_windows_are_alike(
    network: Counting, make_track: MakeTrack
) -> None:
    people = PeopleLifter(lambda: LiveLifter(network))
    first, second = make_track(40), make_track(20, person_id=1, first=20)
    for index, pose in enumerate(first):
        people.push([pose, *second[index - 20 : index - 19]] if index >= 20 else [pose], index / 30)
    assert network.batches[:20] == [1] * 20
    assert network.batches[20 : 20 + 2 * (WINDOW - 1)] == [1] * (2 * (WINDOW - 1))
    assert set(network.batches[20 + 2 * (WINDOW - 1) :]) == {2}


@pytest.mark.parametrize("backend", ["kernels", "numba", "reference"])
def test_streams_of_different_ages_share_a_step(
    backend: str, causal: Checkpoint, make_track: MakeTrack
) -> None:
    """Also with somebody whose state has not begun, in every backend's layout."""
    network = CausalNetwork(causal)
    if backend != "kernels":
        network._steps = streams._TorchSteps(causal)
    with use_backend("numba" if backend == "kernels" else backend):
        old, new, *apart = [CausalLifter(network, fov_deg=60.0) for _ in range(4)]
        first, second = make_track(20), make_track(20, person_id=1)
        for pose in first[:10]:
            np.testing.assert_array_equal(old.push(pose)[0].joints, apart[0].push(pose)[0].joints)
        for a, b in zip(first[10:], second[10:], strict=True):
            got = together([old.pushing(a), new.pushing(b)])
            expected = [apart[0].push(a), apart[1].push(b)]
            np.testing.assert_allclose(
                joints(got[0] + got[1]), joints(expected[0] + expected[1]), atol=2e-5
            )


def test_coroutines_without_requests_and_no_coroutines() -> None:
    assert together([]) == []

    def silent() -> object:
        return 3
        yield

    assert alone(silent()) == 3  # type: ignore[arg-type]
