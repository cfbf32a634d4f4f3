"""`posemamba.Lifter`: recordings of any length, in any known order of keypoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import posemamba
from posemamba.checkpoint import Checkpoint, CheckpointMeta
from posemamba.config import PoseMambaConfig
from posemamba.keypoints import BLAZEPOSE_33, COCO_17, HALPE_26, WHOLEBODY_133, to_joints
from posemamba.model import PoseMamba
from posemamba.network import Network
from posemamba.normalize import mirror_image, reflected
from posemamba.skeleton import JOINT_NAMES, LIMB_JOINTS
from posemamba.streams import CausalNetwork
from posemamba.training.metrics import score
from posemamba_live.lifting.causal import CausalLifter
from posemamba_live.lifting.window import FileLifter
from tests.conftest import DEMO_VIDEOS, WINDOW, MakeTrack

SIZE = (640, 360)


def arrays(track: list[Any]) -> tuple[np.ndarray, np.ndarray]:
    return np.stack([p.keypoints for p in track]), np.stack([p.scores for p in track])


def peaks(track: list[Any]) -> np.ndarray:
    return np.stack([p.peak for p in track])


@pytest.fixture(scope="module")
def causal() -> Checkpoint:
    torch.manual_seed(6)
    config = PoseMambaConfig(dim=16, depth=1, frames=9, in_channels=6, causal=True)
    meta = CheckpointMeta("causal", config, "stream", "body_height")
    return Checkpoint(PoseMamba(config).eval().requires_grad_(False), meta)


@pytest.mark.parametrize("count", [1, 4, WINDOW, WINDOW + 1, 40])
@pytest.mark.parametrize("mirrored", [True, False])
def test_it_lifts_as_the_application_lifts_files(
    tiny_checkpoint: Checkpoint, make_track: MakeTrack, count: int, mirrored: bool
) -> None:
    track = make_track(count)
    network = Network(tiny_checkpoint, fov_deg=50.0, mirrored=mirrored)
    file = FileLifter(network, overlap=2)
    expected = [lifted.joints for pose in track for lifted in file.push(pose)]
    expected += [lifted.joints for lifted in file.flush()]
    lifter = posemamba.Lifter(tiny_checkpoint, fov_deg=50, mirrored=mirrored, device="cpu")
    got = lifter(*arrays(track), SIZE, peaks=peaks(track))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, np.stack(expected), atol=2e-6)


@pytest.mark.parametrize("mirrored", [True, False])
def test_it_goes_from_frame_to_frame_as_the_application_does(
    causal: Checkpoint, make_track: MakeTrack, mirrored: bool
) -> None:
    track = make_track(30, fps=25.0)
    stream = CausalLifter(CausalNetwork(causal, mirrored=mirrored), fov_deg=60.0)
    expected = np.stack([stream.push(pose)[0].joints for pose in track])
    lifter = posemamba.Lifter(causal, mirrored=mirrored)
    assert lifter.frames == 1
    np.testing.assert_allclose(
        lifter(*arrays(track), SIZE, fps=25.0, peaks=peaks(track)), expected, atol=1e-5
    )


@pytest.mark.parametrize("kind", ["window", "causal"])
def test_recordings_of_a_batch_are_lifted_on_their_own(
    kind: str, tiny_checkpoint: Checkpoint, causal: Checkpoint, make_track: MakeTrack
) -> None:
    lifter = posemamba.Lifter(tiny_checkpoint if kind == "window" else causal, device="cpu")
    parts = [arrays(make_track(25, first=first)) for first in (0, 40, 90)]
    keypoints, scores = (np.stack(own) for own in zip(*parts, strict=True))
    together = lifter(keypoints, scores, SIZE)
    assert together.shape == (3, 25, 17, 3)
    for own, alone in zip(together, parts, strict=True):
        np.testing.assert_allclose(own, lifter(*alone, SIZE), atol=1e-5)
    np.testing.assert_allclose(together[:, :, 0], 0.0)
    assert lifter(keypoints[:0], scores[:0], SIZE).shape == (0, 25, 17, 3)
    np.testing.assert_array_equal(
        lifter(keypoints.tolist(), None, SIZE), lifter(keypoints, np.ones((3, 25, 17)), SIZE)
    )


def test_a_mirrored_stream_is_the_mean_of_both_pictures(
    causal: Checkpoint, make_track: MakeTrack
) -> None:
    keypoints, scores = arrays(make_track(30, fps=25.0))
    flipped, trust = mirror_image(keypoints[None], scores[None], SIZE[0])
    one = posemamba.Lifter(causal, mirrored=False)
    both = [one(keypoints, scores, SIZE), reflected(one(flipped[0], trust[0], SIZE))]
    got = posemamba.Lifter(causal, mirrored=True)(keypoints, scores, SIZE)
    np.testing.assert_allclose(got, np.mean(both, 0), atol=1e-5)
    assert np.abs(both[0] - both[1]).max() > 1e-3


@pytest.mark.parametrize(
    "weights", ["window-m7", "window-m8", "window-m3", "magic-m3", "attention-m5"]
)
def test_the_shipped_weights_lift_true_keypoints(weights: str) -> None:
    """Of a film with ground truth, so that no detector is to blame."""
    with np.load(DEMO_VIDEOS / "walk_turn_gt.npz") as truth:
        keypoints, true = truth["joints_2d"], truth["joints_camera"]
    lifter = posemamba.Lifter(weights, fov_deg=60)
    assert (lifter.name, lifter.frames) == (weights, 27)
    scores = score(1700.0 * lifter(keypoints, None, SIZE), 1000.0 * true)
    assert scores.pa_mpjpe < 40.0
    assert scores.n_mpjpe < 50.0


@pytest.mark.parametrize(
    ("method", "names"),
    [
        ("from_coco", COCO_17),
        ("from_halpe", HALPE_26),
        ("from_wholebody", WHOLEBODY_133),
        ("from_blazepose", BLAZEPOSE_33),
    ],
)
@pytest.mark.parametrize("batch", [(), (2,)])
def test_keypoints_of_detectors(
    tiny_checkpoint: Checkpoint, method: str, names: tuple[str, ...], batch: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(4)
    lifter = posemamba.Lifter(tiny_checkpoint, device="cpu")
    points = rng.uniform(0.0, 300.0, (*batch, 12, len(names), 2))
    trust = rng.uniform(0.2, 1.0, (*batch, 12, len(names)))
    joints = to_joints(names, points)
    sides = {"L": "left_", "R": "right_"}
    for joint in LIMB_JOINTS:  # one to one; the other five are derived
        name = JOINT_NAMES[joint]
        where = names.index(sides[name[0]] + name[1:].lower())
        np.testing.assert_allclose(joints[..., joint, :], points[..., where, :], rtol=1e-6)
    without = getattr(lifter, method)(points, None, SIZE)
    np.testing.assert_array_equal(without, lifter(joints, None, SIZE))
    with_scores = getattr(lifter, method)(points, trust, SIZE)
    assert with_scores.shape == (*batch, 12, 17, 3)
    assert np.abs(with_scores - without).max() > 1e-4
    with pytest.raises(ValueError, match=rf"not \(T, \*\({len(names)}, 2\)\)"):
        getattr(lifter, method)(points[..., 1:, :], None, SIZE)


POINTS = np.random.default_rng(1).uniform(0, 300, (5, 17, 2))
GONE = np.where(np.arange(5)[:, None, None] == 2, np.nan, POINTS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((POINTS[0], None, SIZE), r"shape \(17, 2\)"),
        ((POINTS[:0], None, SIZE), "no frame"),
        ((GONE, None, SIZE), "not all finite"),
        ((POINTS, np.ones((5, 16)), SIZE), r"shape \(5, 16\).*\(5, 17\)"),
        ((POINTS, np.full((5, 17), 1.5), SIZE), "0 to 1"),
        ((POINTS, np.full((5, 17), np.nan), SIZE), "0 to 1"),
        ((POINTS, None, (0, 360)), "image_size"),
        ((POINTS, None, 640), "image_size"),
        ((POINTS / 640, None, SIZE), "fractions"),
    ],
)
def test_what_cannot_be_meant_is_told(
    tiny_checkpoint: Checkpoint, arguments: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        posemamba.Lifter(tiny_checkpoint, device="cpu")(*arguments)


@pytest.mark.parametrize(
    ("weights", "settings", "message"),
    [
        ("tiny", {"fov_deg": 0}, "fov_deg is 0"),
        ("tiny", {"overlap": 0}, "overlap is 0"),
        ("no-such-weights", {}, "no weights 'no-such-weights'"),
    ],
)
def test_settings_that_make_no_sense(
    tiny_checkpoint: Checkpoint,
    causal: Checkpoint,
    weights: str,
    settings: dict[str, Any],
    message: str,
) -> None:
    known: dict[str, Checkpoint] = {"tiny": tiny_checkpoint, "causal": causal}
    with pytest.raises(ValueError, match=message):
        posemamba.Lifter(known.get(weights, weights), **settings)


def test_official_weights(tmp_path: Path) -> None:
    torch.manual_seed(5)
    model = PoseMamba(PoseMambaConfig(dim=16, depth=1, frames=9))
    torch.save({"model_pos": model.state_dict()}, tmp_path / "official.bin")
    lifter = posemamba.Lifter(tmp_path / "official.bin", fov_deg=45, device="cpu")
    joints = lifter(POINTS, None, SIZE)
    # In body heights whatever the network's unit: from ankle to crown about one.
    chain = np.linalg.norm(np.diff(joints[:, [0, 7, 8, 10]], axis=1), axis=-1).sum(-1)
    assert (chain < 1.0).all()
    assert np.isfinite(joints).all()
