"""The command that measures a detector finds what was put in."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

from posemamba.skeleton import HEAD, LIMB_JOINTS, NOSE
from posemamba.training import landmarks

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))
try:
    import detector_errors
finally:
    sys.path.pop(0)

OFFSETS = np.array(
    [
        [-0.5, -0.2, 1.8], [0.2, 0.1, 0.3], [1.5, 0.2, -0.2], [1.8, -0.3, 0.2], [0.6, 0.2, 0.5],
        [-0.2, -0.4, 0.1], [1.2, 0.0, -0.8], [0.0, 0.0, 0.0],
    ],
    np.float32,
)  # fmt: skip


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> list[detector_errors.Person]:
    """A detector that marks joints at fixed places of the body and is exact otherwise."""
    truth = ROOT / "demo_videos" / "walk_turn_gt.npz"
    with np.load(truth, allow_pickle=False) as gt:
        joints, camera, flat = gt["joints_camera"].astype(np.float32), gt["K"], gt["joints_2d"]
    kinds = list(landmarks._KINDS)
    points = joints[None][:, :, [*LIMB_JOINTS, NOSE, HEAD]]
    tall = np.array([detector_errors.stature(joints.astype(float))], np.float32)
    marked = landmarks.marked(points, joints[None], tall, OFFSETS[kinds][None])[0]
    seen = marked @ camera.T
    keypoints = flat.astype(np.float32).copy()
    keypoints[:, [*LIMB_JOINTS, NOSE]] = (seen[..., :2] / seen[..., 2:])[:, :13]
    ones = np.ones((len(joints), 1, 17), np.float32)
    file = tmp_path_factory.mktemp("kept") / "walk_turn.npz"
    np.savez(
        file, keypoints=keypoints[:, None], visibility=0.9 * ones, peak=0.8 * ones,
        seen=np.ones((len(joints), 1), bool),
    )  # fmt: skip
    return detector_errors.read(file, truth)


def test_offsets_fixed_to_the_body_are_found(kept: list[detector_errors.Person]) -> None:
    found = detector_errors.constants(kept)["fixed_to_the_body"]
    for kind, offset in zip(detector_errors.KINDS, OFFSETS, strict=False):
        np.testing.assert_allclose(found[kind]["along_outwards_forwards"], offset, atol=0.12)
        assert found[kind]["rms_after"] < 0.1 < found[kind]["rms_before"]


def test_confidences_are_counted_by_how_hidden_a_joint_is(
    kept: list[detector_errors.Person],
) -> None:
    told = detector_errors.confidences(kept)
    assert told["wrist"]["-2 to -0.5"]["visibility"] == [0.9, 0.9, 0.9]
    assert told["wrist"]["-2 to -0.5"]["n"] > 100
    assert told["ankle"]["-2 to -0.5"]["peak"] == [0.8, 0.8, 0.8]
    # Somebody who walks past shows hips and shoulders behind each other.
    hidden = [row["n"] for kind in told.values() for name, row in kind.items() if name[0] != "-"]
    assert sum(hidden) > 30


def test_errors_that_go_together_are_found(kept: list[detector_errors.Person]) -> None:
    person = kept[0]
    rng = np.random.default_rng(5)
    frames = len(person.error)
    own = rng.standard_normal((frames, len(detector_errors.JOINTS), 2))
    both_hips = rng.standard_normal((frames, 1))
    # Along the trunk both hips go together, across it one goes where the other does not.
    across = np.stack([-person.trunk[:, 1], person.trunk[:, 0]], -1)
    own[:, [0, 3]] = both_hips[..., None] * person.trunk[:, None]
    own[:, 0] += both_hips * across
    own[:, 3] -= both_hips * across
    clear = np.full_like(person.edge, 50.0), np.full_like(person.cover, -1.0)
    made = detector_errors.together(
        [dataclasses.replace(person, error=person.error + own, edge=clear[0], cover=clear[1])]
    )
    np.testing.assert_allclose(made["hips"], (-1.0, 1.0), atol=0.15)
    np.testing.assert_allclose(made["elbow, wrist"], 0.0, atol=0.2)
