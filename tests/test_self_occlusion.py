"""What the body hides, what a detector says of it, where it marks joints, and which way is up."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from posemamba import gravity
from posemamba.blending import Blender
from posemamba.checkpoint import load_checkpoint
from posemamba.config import PoseMambaConfig
from posemamba.model import PoseMamba
from posemamba.normalize import reflected
from posemamba.skeleton import (
    HEAD,
    HIP,
    L_ANKLE,
    L_ELBOW,
    L_HIP,
    L_KNEE,
    L_SHOULDER,
    L_WRIST,
    LIMB_JOINTS,
    NOSE,
    NUM_JOINTS,
    R_ANKLE,
    R_ELBOW,
    R_HIP,
    R_KNEE,
    R_SHOULDER,
    R_WRIST,
    SPINE,
    THORAX,
)
from posemamba.training import confidence, landmarks
from posemamba.training.loss import gravity_loss
from posemamba.training.noise import POINT_OF
from posemamba.training.occlusion import BEHIND, covered

HEIGHT = np.array([1.7], np.float32)


def facing() -> np.ndarray:
    """(1, 1, 17, 3) somebody 1.7 m tall who stands 4 m away and looks at the camera."""
    at = {
        HIP: (0, 0, 4), R_HIP: (-0.1, 0, 4), L_HIP: (0.1, 0, 4), R_KNEE: (-0.1, 0.43, 4),
        L_KNEE: (0.1, 0.43, 4), R_ANKLE: (-0.1, 0.85, 4), L_ANKLE: (0.1, 0.85, 4),
        SPINE: (0, -0.24, 4), THORAX: (0, -0.5, 4), NOSE: (0, -0.68, 3.9), HEAD: (0, -0.82, 4),
        L_SHOULDER: (0.18, -0.5, 4), L_ELBOW: (0.32, -0.25, 4), L_WRIST: (0.42, 0, 4),
        R_SHOULDER: (-0.18, -0.5, 4), R_ELBOW: (-0.32, -0.25, 4), R_WRIST: (-0.42, 0, 4),
    }  # fmt: skip
    return np.array([[[at[joint] for joint in range(NUM_JOINTS)]]], np.float32)


def arms_up() -> np.ndarray:
    body = facing()
    for joint, height in ((L_ELBOW, -0.9), (R_ELBOW, -0.9), (L_WRIST, -1.2), (R_WRIST, -1.2)):
        body[..., joint, 1] = height
    return body


def hidden(body: np.ndarray, joint: int) -> float:
    return float(covered(body[:, :, [joint]], body, HEIGHT)[0, 0, 0])


def points14(body: np.ndarray) -> np.ndarray:
    return body[:, :, [*LIMB_JOINTS, NOSE, HEAD]]


# --- geometry -------------------------------------------------------------------------------


def test_nothing_hides_somebody_who_stands_with_open_arms() -> None:
    body = facing()
    cover = covered(body[:, :, LIMB_JOINTS], body, HEIGHT)
    assert cover.shape == (1, 1, 12)
    assert (confidence.hidden_share(cover) == 0.0).all()


def test_the_trunk_hides_a_hand_behind_it_and_not_one_in_front() -> None:
    body = facing()
    body[..., R_WRIST, :] = (-0.05, -0.2, 4.15)
    assert hidden(body, R_WRIST) > 0.3
    body[..., R_WRIST, :] = (-0.05, -0.2, 3.85)
    assert hidden(body, R_WRIST) == -1.0
    # On the belly: in the trunk's outline, and not behind its axis.
    body[..., R_WRIST, :] = (-0.05, -0.2, 4.0 + 0.9 * BEHIND * 1.7)
    assert hidden(body, R_WRIST) == -1.0


def test_how_deep_a_joint_is_hidden_tells_where_the_outline_ends() -> None:
    body = arms_up()
    radius = 0.062 * 1.7
    depths = []
    for aside in (0.0, 0.5, 1.0, 1.5):
        body[..., L_WRIST, :] = (0, -0.25, 4.3)
        edge = 0.14 + aside * radius  # beside the line from left hip to left shoulder
        body[..., L_WRIST, 0] = edge * 4.3 / 4.0
        depths.append(hidden(body, L_WRIST))
    np.testing.assert_allclose(depths, [1.0, 0.5, 0.0, -0.5], atol=0.08)


def test_the_nearer_leg_hides_the_farther_one() -> None:
    body = facing()
    body[..., L_KNEE, :] = (-0.09, 0.43, 4.25)
    assert hidden(body, L_KNEE) > 0.5
    assert hidden(body, R_KNEE) == -1.0


def test_an_arm_that_points_at_the_camera_hides_its_own_elbow() -> None:
    body = facing()
    body[..., R_ELBOW, :] = (-0.2, -0.5, 3.75)
    body[..., R_WRIST, :] = (-0.19, -0.46, 3.5)
    assert hidden(body, R_ELBOW) > 0.0
    assert hidden(body, R_WRIST) == -1.0


def test_from_the_side_the_farther_shoulder_and_hip_are_hidden() -> None:
    body = arms_up()
    turned = body.copy()
    turned[..., 0], turned[..., 2] = body[..., 2] - 4.0, 4.0 + body[..., 0]
    nearer, farther = (hidden(turned, joint) for joint in (R_SHOULDER, L_SHOULDER))
    assert nearer < 0.0 < farther
    assert hidden(turned, R_HIP) < 0.0 < hidden(turned, L_HIP)


# --- confidence -----------------------------------------------------------------------------


def test_visibility_is_as_measured_in_front_and_behind() -> None:
    rng = np.random.default_rng(0)
    shape = (400, 27, 14)
    seen, unseen = (
        confidence.visibility_logits(
            np.full(shape, share, np.float32),
            rng.standard_normal(shape, np.float32),
            rng.standard_normal(shape, np.float32),
        )
        for share in (0.0, 1.0)
    )
    wrist, knee, hip, shoulder = (POINT_OF[joint] for joint in (R_WRIST, R_KNEE, R_HIP, R_SHOULDER))
    median = lambda logit, point: 1.0 / (1.0 + np.exp(-np.median(logit[..., point])))  # noqa: E731
    assert median(seen, wrist) > 0.95
    assert median(unseen, wrist) < 0.15
    assert median(seen, knee) > 0.95
    assert 0.3 < median(unseen, knee) < 0.7
    assert median(unseen, hip) > 0.95
    assert median(unseen, shoulder) > 0.99
    assert (unseen <= np.maximum(seen, 30.0)).all()


def test_peaks_tell_misplaced_and_hidden_joints_and_those_outside() -> None:
    rng = np.random.default_rng(1)
    shape = (500, 4, 14)
    noise = rng.standard_normal(shape, np.float32)
    zero = np.zeros(shape, np.float32)

    def median(error: float, share: float = 0.0, beyond: float = -5.0) -> np.ndarray:
        logit = confidence.peak_logits(zero + error, zero + share, zero + beyond, noise)
        return np.asarray(np.median(1.0 / (1.0 + np.exp(-logit)), (0, 1)))

    elbow, wrist = POINT_OF[R_ELBOW], POINT_OF[R_WRIST]
    assert (median(1.0)[[elbow, wrist]] > 0.8).all()
    assert (median(10.0)[[elbow, wrist]] < median(1.0)[[elbow, wrist]] - 0.15).all()
    assert (median(1.0, share=1.0) < median(1.0)).all()
    assert (median(3.0, beyond=20.0) < 0.06).all()


# --- where joints are marked -----------------------------------------------------------------


def test_hips_are_marked_in_front_whatever_the_view() -> None:
    body = facing()
    offset = landmarks.MEAN[[0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5, 6, 7]][None]
    moved = landmarks.marked(points14(body), body, HEIGHT, offset) - points14(body)
    hip, shoulder, ankle = (POINT_OF[joint] for joint in (R_HIP, R_SHOULDER, R_ANKLE))
    assert moved[0, 0, hip, 2] == pytest.approx(-0.0185 * 1.7, abs=1e-4)  # towards the camera
    assert moved[0, 0, shoulder, 1] == pytest.approx(-0.0185 * 1.7, abs=1e-4)  # upwards
    assert moved[0, 0, ankle, 1] == pytest.approx(-0.0175 * 1.7, abs=1e-3)

    quarter = np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]], np.float32)
    about = np.array([0, 0, 4], np.float32)
    turned = (body - about) @ quarter.T + about
    again = landmarks.marked(points14(turned), turned, HEIGHT, offset) - points14(turned)
    np.testing.assert_allclose(again, moved @ quarter.T, atol=1e-5)


def test_marks_are_the_same_on_both_sides_of_a_mirror() -> None:
    body = facing()
    offset = landmarks.draw(np.random.default_rng(2), 1)
    other = [3, 4, 5, 0, 1, 2, 9, 10, 11, 6, 7, 8, 12, 13]
    moved = landmarks.marked(points14(body), body, HEIGHT, offset)
    flip = np.array([-1, 1, 1], np.float32)
    mirrored = reflected(body)
    across = landmarks.marked(points14(mirrored), mirrored, HEIGHT, offset[:, other])
    # Nose and ears have no side: their offset across the body is the mirror's only difference.
    np.testing.assert_allclose((across * flip)[:, :, other][:, :, :12], moved[:, :, :12], atol=1e-5)


def test_marks_of_both_hips_agree_and_differ_from_person_to_person() -> None:
    offset = landmarks.draw(np.random.default_rng(3), 5000)
    hips = np.corrcoef(offset[:, POINT_OF[R_HIP], 0], offset[:, POINT_OF[L_HIP], 0])[0, 1]
    knees = np.corrcoef(offset[:, POINT_OF[R_KNEE], 0], offset[:, POINT_OF[L_KNEE], 0])[0, 1]
    assert hips == pytest.approx(0.9, abs=0.05)
    assert knees == pytest.approx(0.3, abs=0.06)
    middle = 0.5 * sum(landmarks.SHARE) * landmarks.MEAN[0, 2]
    assert offset[:, POINT_OF[R_HIP], 2].mean() == pytest.approx(middle, abs=0.05)


# --- which way is up -------------------------------------------------------------------------


def test_up_as_angles_and_back() -> None:
    angles = np.random.default_rng(4).uniform(-0.7, 0.7, (50, 2)).astype(np.float32)
    up = gravity.up_of(angles)
    np.testing.assert_allclose(gravity.angles_of(up), angles, atol=1e-5)
    turn = gravity.gravity_view(up)
    np.testing.assert_allclose(
        turn @ turn.swapaxes(-1, -2), np.tile(np.eye(3), (50, 1, 1)), atol=1e-5
    )
    np.testing.assert_allclose(np.linalg.det(turn), 1.0, atol=1e-5)
    np.testing.assert_allclose(
        (turn @ up[..., None])[..., 0], np.tile([0.0, -1.0, 0.0], (50, 1)), atol=1e-5
    )
    looks_down = gravity.up_of(np.array([-0.5, 0.0], np.float32))
    assert looks_down[2] < 0.0, "a camera that looks down has heads nearer than feet"


def test_poses_follow_a_better_direction() -> None:
    body = facing()[0] - facing()[0, :, :1]
    wrong = gravity.up_of(np.array([0.0, 0.0], np.float32))
    right = gravity.up_of(np.array([-0.3, 0.1], np.float32))
    turned = gravity.turned(body, wrong[None], right[None])
    # Upright by what the network took for up, so upright by the better direction.
    trunk = turned[0, THORAX] / np.linalg.norm(turned[0, THORAX])
    np.testing.assert_allclose(trunk, right, atol=1e-5)
    np.testing.assert_allclose(gravity.turned(turned, right[None], wrong[None]), body, atol=1e-5)


def test_a_take_agrees_on_one_direction_by_how_sure_its_frames_are() -> None:
    body = (facing()[0, 0] - facing()[0, 0, 0]).astype(np.float32)
    said = np.array([[-0.1, 0.0, -2.0], [-0.3, 0.0, -4.0]], np.float32)
    evidence = gravity.evidence(said)
    answers = np.stack([np.concatenate([body, row[None]]) for row in evidence])
    settled = gravity.settled(answers)
    assert settled.shape == (2, NUM_JOINTS, 3)
    lean = np.arctan2(settled[:, THORAX, 2], -settled[:, THORAX, 1])
    # Each frame is turned by what it was off; the surer one hardly.
    pooled = gravity.angles_of(evidence.sum(0) / np.linalg.norm(evidence.sum(0)))[0]
    np.testing.assert_allclose(lean, pooled - said[:, 0], atol=1e-4)
    assert abs(lean[1]) < 0.1 * abs(lean[0])
    np.testing.assert_array_equal(gravity.settled(answers[:, :NUM_JOINTS]), answers[:, :NUM_JOINTS])


def test_the_network_answers_one_row_more_and_keeps_its_poses() -> None:
    torch.manual_seed(0)
    small = PoseMambaConfig(dim=16, depth=1, frames=9, in_channels=5)
    plain = PoseMamba(small)
    with_up = PoseMamba(PoseMambaConfig(dim=16, depth=1, frames=9, in_channels=5, gravity=True))
    missing, unexpected = with_up.load_state_dict(plain.state_dict(), strict=False)
    assert {name.split(".")[0] for name in missing} == {"gravity"}
    assert not unexpected
    x = torch.randn(2, 9, 17, 5)
    with torch.no_grad():
        answer = with_up(x)
        torch.testing.assert_close(answer[:, :, :NUM_JOINTS], plain(x))
    assert answer.shape == (2, 9, NUM_JOINTS + 1, 3)


def test_shipped_weights_have_no_such_row() -> None:
    for name in ("window-m3", "window-m4", "window-m5", "window-m6", "window-m7", "window-m8"):
        assert not load_checkpoint(name).meta.config.gravity


def test_windows_blend_the_row_with_the_joints() -> None:
    blender = Blender(NUM_JOINTS + 1)
    blender.add(0, np.full((4, NUM_JOINTS + 1, 3), 2.0, np.float32))
    blender.add(2, np.full((4, NUM_JOINTS + 1, 3), 2.0, np.float32))
    blended, _ = blender.take(6)
    np.testing.assert_allclose(blended, np.full((6, NUM_JOINTS + 1, 3), 2.0), rtol=1e-6)


def test_a_tilt_that_pose_and_gravity_share_costs_only_the_angle() -> None:
    body = torch.from_numpy(facing() - facing()[:, :, :1]).repeat(1, 3, 1, 1)
    angles = torch.zeros(1, 1, 2)
    lean = 0.2
    c, s = np.cos(lean), np.sin(lean)
    turn = torch.tensor([[1, 0, 0], [0, c, -s], [0, s, c]], dtype=torch.float32)
    tilted = body @ turn.T
    up = turn @ torch.tensor([0.0, -1.0, 0.0])
    pitch = float(torch.asin(up[2]))
    height = torch.ones(1)

    def standing(joints: torch.Tensor, said: float) -> float:
        row = torch.tensor([said, 0.0, -3.0]).expand(1, 3, 1, 3)
        loss, parts = gravity_loss(torch.cat([joints, row], 2), body, height, angles)
        assert loss.isfinite()
        return float(parts["standing"])

    assert standing(body, 0.0) == pytest.approx(0.0, abs=0.1)
    assert standing(tilted, pitch) == pytest.approx(0.0, abs=0.1)
    assert standing(tilted, 0.0) > 30.0
    assert standing(body, pitch) > 30.0
