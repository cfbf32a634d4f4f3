"""BlazePose on ONNX Runtime: its networks, the arithmetic around them, and MediaPipe's results."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from posemamba.skeleton import JOINT_NAMES, LIMB_JOINTS, assemble_scores
from posemamba_live.detectors import DetectorSettings, create_detector
from posemamba_live.detectors import blazepose as landmarks
from posemamba_live.detectors import blazepose_detector as people
from posemamba_live.detectors.base import Found, Region, TopDown
from posemamba_live.detectors.onnx_runtime import Session
from posemamba_live.detectors.person import BoxDetector, WholePicture
from posemamba_live.detectors.skeletons import BLAZEPOSE_33, from_blazepose, from_blazepose_parts
from posemamba_live.errors import DetectorError, UsageError
from posemamba_live.sources import VideoFile
from posemamba_live.types import Frame
from tests.support import onnx_models
from tests.support.mediapipe_models import mediapipe_with_models

ROOT = Path(__file__).parents[1]
WEIGHTS = ROOT / "weights"
CLIPS = ("walk_turn", "arm_signals")
LIMBS = list(LIMB_JOINTS)


def clip(name: str, count: int) -> list[Frame]:
    with VideoFile(ROOT / "demo_videos" / f"{name}.mp4", max_frames=count) as video:
        return list(video)


def truth(name: str) -> np.ndarray:
    path = ROOT / "demo_videos" / f"{name}_gt.npz"
    return np.load(path, allow_pickle=False)["joints_2d"]


@pytest.fixture(scope="module")
def detector():
    built = create_detector("blazepose")
    assert isinstance(built, TopDown)
    yield built
    built.close()


def follow(detector: TopDown, frames: list[Frame]) -> list[Found]:
    """The simplest loop: the detector in the first frame, then the region of the frame before."""
    regions, found = detector.person.find(frames[0].image)[:1], []
    for frame in frames:
        found += detector.keypoints.locate(frame.image, regions)
        regions = [found[-1].next_region]
    return found


# -- the networks ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["detector", "full"])
def test_networks_answer_what_tflite_answers(name):
    kind = "detector" if name == "detector" else "landmark"
    with np.load(ROOT / "tests" / "data" / "blazepose_tflite.npz") as stored:
        pictures = stored[f"{kind}_pictures"]  # RGB
        expected = {key.removeprefix(f"{kind}_"): stored[key] for key in stored}
    pictures = np.float32(pictures) / 127.5 - 1.0 if kind == "detector" else pictures[..., ::-1]
    session = Session(WEIGHTS / f"blazepose-{name}.onnx", device="cpu")
    both = session.run(pictures)
    assert len(both) == (2 if kind == "detector" else 3)
    for output, answer in zip(session.outputs, both, strict=True):
        # Of the heatmaps every other place is stored.
        answer = answer[:, ::2, ::2] if output.name == "heatmaps" else answer
        wanted = expected[output.name]
        assert answer.shape == wanted.shape
        for one, other in zip(answer, wanted, strict=True):
            assert np.linalg.norm(one - other) <= 1e-3 * np.linalg.norm(other)
    for index in range(2):
        for one, several in zip(session.run(pictures[index : index + 1]), both, strict=True):
            np.testing.assert_allclose(one[0], several[index], rtol=1e-4, atol=1e-3)


def test_the_card_names_the_files_that_are_there():
    sums = re.findall(r"`([0-9a-f]{64})`", (WEIGHTS / "blazepose.md").read_text("utf-8"))
    files = [WEIGHTS / f"blazepose-{name}.onnx" for name in ("detector", "full")]
    assert [hashlib.sha256(file.read_bytes()).hexdigest() for file in files] == sums[2:]
    assert all(file.stat().st_size < 9e6 for file in files)


# -- the person detector --------------------------------------------------------------------------


def answers(*given: tuple[int, float, tuple[float, ...]]) -> tuple[np.ndarray, np.ndarray]:
    """Outputs in which answers `index` have a logit and the absolute pixels of six points."""
    boxes = np.zeros((2254, 12), np.float32)
    logits = np.full(2254, -20.0, np.float32)
    for index, logit, points in given:
        anchor = np.tile(people._ANCHORS[index], 6)
        anchor[2:4] = 0.0  # the box's size is not a place
        boxes[index], logits[index] = np.array(points) - anchor, logit
    return boxes, logits


def body(x: float, y: float) -> tuple[float, ...]:
    return (x, y - 40, 30, 30, x, y, x, y - 60, x, y - 20, x, y - 30)


def test_anchors_are_the_middles_of_cells_in_the_published_order():
    anchors = people._ANCHORS
    assert anchors.shape == (2254, 2)
    assert anchors[[0, 1, 2, 56]].tolist() == [[4, 4], [4, 4], [12, 4], [4, 12]]
    assert anchors[[1568, 1570, 1960, 1965, 1966]].tolist() == [
        [8, 8], [24, 8], [16, 16], [16, 16], [48, 16],
    ]  # fmt: skip


def test_answers_of_one_person_become_their_weighted_mean():
    boxes, logits = answers(
        (100, 2.0, body(60, 100)), (700, 0.0, body(66, 100)), (1600, 1.0, body(160, 120)),
        (1970, -0.1, body(20, 200)),
    )  # fmt: skip
    points, scores = people.decode(boxes, logits)
    sure = 1 / (1 + math.exp(-2.0))
    mean = (60 * sure + 66 * 0.5) / (sure + 0.5)
    np.testing.assert_allclose(points[:, 2], [[mean, 100], [160, 120]], atol=1e-3)
    np.testing.assert_allclose(points[:, 3], [[mean, 40], [160, 60]], atol=1e-3)
    np.testing.assert_allclose(scores, [sure, 1 / (1 + math.exp(-1.0))], atol=1e-6)


def test_answers_that_are_no_numbers_are_nobody():
    boxes, logits = answers((100, 2.0, body(60, 100)), (1600, np.nan, body(160, 120)))
    boxes[100, 5] = np.inf
    points, scores = people.decode(boxes, logits)
    assert points.shape == (0, 6, 2)
    assert scores.shape == (0,)


@pytest.mark.parametrize(
    ("towards", "rotation"), [((0, -5), 0.0), ((5, 0), 90.0), ((0, 5), 180.0), ((-5, 0), -90.0)]
)
def test_regions_turn_with_the_body(towards, rotation):
    region = people.region_of(np.array([30.0, 40.0]), np.array([30.0, 40.0]) + towards, 0.7)
    assert region.centre == (30.0, 40.0)
    assert (region.width, region.height, region.score) == (10.0, 10.0, 0.7)
    assert math.degrees(region.rotation) == pytest.approx(rotation)
    # The top of the input is where the body points to.
    matrix = landmarks.placed(region)
    top = matrix[:, :2] @ (128, 28) + matrix[:, 2]
    np.testing.assert_allclose(top, np.array([30, 40]) + np.array(towards) * 1.25 * 100 / 128)


@pytest.mark.parametrize("size", [(640, 360), (1280, 720), (360, 640), (333, 517)])
def test_people_are_found_in_pictures_of_any_shape(detector, size):
    frame, joints = clip("arm_signals", 1)[0], truth("arm_signals")[0]
    scale = min(size[0] / 640, size[1] / 360)
    image = np.full((size[1], size[0], 3), 90, np.uint8)
    small = cv2.resize(frame.image, None, fx=scale, fy=scale)
    image[: small.shape[0], : small.shape[1]] = small
    (region,) = detector.person.find(image)
    np.testing.assert_allclose(region.centre, scale * joints[0], atol=12 * scale)
    assert region.width == pytest.approx(scale * 277, rel=0.2)
    assert abs(region.rotation) < 0.2
    assert region.score > 0.8


def test_people_in_a_part_of_the_picture_are_found_there(detector):
    frame = clip("walk_turn", 1)[0]
    whole = detector.person.find(frame.image)[0]
    part = detector.person.find(frame.image[:, 320:])[0].moved(320, 0)
    np.testing.assert_allclose(part.centre, whole.centre, atol=6)
    assert part.width == pytest.approx(whole.width, rel=0.1)


def test_nobody_is_found_where_nobody_is(detector):
    for shape in [(360, 640), (1, 1), (3, 500), (500, 2)]:
        assert detector.person.find(np.full((*shape, 3), 127, np.uint8)) == []
    assert detector.keypoints.locate(np.zeros((9, 9, 3), np.uint8), []) == []


# -- the landmark model ---------------------------------------------------------------------------


def refine_one(point: np.ndarray, heatmap: np.ndarray) -> tuple[np.ndarray, float]:
    """`refine` for one point, cell by cell."""
    column, row = (int(value / 4) for value in point)  # towards zero, as in MediaPipe
    if not (0 <= column < 64 and 0 <= row < 64):
        return point, 0.0
    total = x = y = peak = 0.0
    for r in range(max(0, row - 4), min(64, row + 5)):
        for c in range(max(0, column - 4), min(64, column + 5)):
            value = 1 / (1 + math.exp(-float(heatmap[r, c])))
            total, x, y, peak = total + value, x + c * value, y + r * value, max(peak, value)
    return (np.array([x, y]) / total * 4 if peak >= 0.5 else point), peak


def test_refinement_is_that_of_one_point_after_the_other():
    rng = np.random.default_rng(2)
    points = rng.uniform(-20, 276, (3, 39, 2)).astype(np.float32)
    heatmaps = rng.normal(-4.0, 2.0, (3, 64, 64, 39)).astype(np.float32)
    moved, peaks = landmarks.refine(points, heatmaps)
    assert (peaks >= 0.5).any()
    assert (peaks == 0.0).any()
    for b in range(3):
        for k in range(39):
            point, peak = refine_one(points[b, k], heatmaps[b, :, :, k])
            np.testing.assert_allclose(moved[b, k], point, atol=2e-3)
            assert peaks[b, k] == pytest.approx(peak, abs=1e-5)


def test_all_people_of_a_picture_are_looked_at_in_one_run(detector, monkeypatch):
    frames = [clip(name, 1)[0] for name in CLIPS]
    image = np.hstack([frame.image for frame in frames])
    regions = [detector.person.find(frame.image)[0] for frame in frames]
    regions = [regions[0], regions[1].moved(640, 0), replace(regions[0], rotation=1.0)]
    session, runs = detector.keypoints._session, []
    run = session.run
    monkeypatch.setattr(
        session, "run", lambda pictures: runs.append(len(pictures)) or run(pictures)
    )
    together = detector.keypoints.locate(image, regions)
    assert runs == [3]
    for found, region in zip(together, regions, strict=True):
        (alone,) = detector.keypoints.locate(image, [region])
        np.testing.assert_allclose(found.detection.keypoints, alone.detection.keypoints, atol=0.01)
        np.testing.assert_allclose(found.detection.scores, alone.detection.scores, atol=1e-3)
        assert found.presence == pytest.approx(alone.presence, abs=1e-3)
    assert np.linalg.norm(
        together[1].detection.keypoints[LIMBS] - (truth("arm_signals")[0] + (640, 0))[LIMBS], axis=1
    ).mean() < 6.0  # fmt: skip


def test_somebody_who_lies_in_the_picture_is_seen_as_upright(detector):
    image = clip("arm_signals", 1)[0].image
    region = detector.person.find(image)[0]
    (upright,) = detector.keypoints.locate(image, [region])
    points = upright.detection.keypoints
    for turns in (1, 2, 3):  # anticlockwise
        width = image.shape[1]
        image = np.ascontiguousarray(np.rot90(image))
        points = np.stack([points[:, 1], width - points[:, 0]], 1)
        region = replace(
            region,
            centre=(region.centre[1], width - region.centre[0]),
            rotation=region.rotation - math.pi / 2,
        )
        (lying,) = detector.keypoints.locate(image, [region])
        assert lying.presence > 0.9
        assert lying.circle.radius == pytest.approx(upright.circle.radius, rel=0.02)
        assert np.linalg.norm(lying.detection.keypoints - points, axis=1).mean() < 2.0
        turned = lying.next_region.rotation - upright.next_region.rotation + turns * math.pi / 2
        assert abs(math.remainder(turned, 2 * math.pi)) < 0.05


def test_scores_are_the_products_of_their_parts(detector):
    frame = clip("walk_turn", 1)[0]
    (found,) = detector.keypoints.locate(frame.image, detector.person.find(frame.image))
    seen = found.detection
    np.testing.assert_allclose(seen.scores, seen.visibility * seen.peak, atol=1e-6)
    assert found.presence > 0.9
    assert found.circle.centre == found.next_region.centre
    assert found.circle.radius == pytest.approx(0.5 * found.next_region.width)
    assert set(seen.extra.names) > {"left_heel", "right_foot_index", "mouth_left"}
    assert {value.dtype for value in (seen.keypoints, seen.scores, seen.visibility, seen.peak)} == {
        np.dtype(np.float32)
    }


def test_derived_joints_have_the_parts_of_the_least_sure_point():
    rng = np.random.default_rng(5)
    for _ in range(20):
        points = rng.uniform(0, 500, (33, 2)).astype(np.float32)
        visibility, peak = rng.uniform(0, 1, (2, 33)).astype(np.float32)
        seen = from_blazepose_parts(points, visibility, peak)
        plain = from_blazepose(points, visibility * peak)  # goes by `assemble` itself
        np.testing.assert_allclose(seen.keypoints, plain.keypoints, atol=1e-3)
        np.testing.assert_allclose(seen.scores, plain.scores, atol=1e-6)
        np.testing.assert_allclose(seen.scores, seen.visibility * seen.peak, atol=1e-6)
        np.testing.assert_array_equal(seen.extra.points, plain.extra.points)
        np.testing.assert_allclose(seen.extra.scores, plain.extra.scores, atol=1e-6)
    limbs = np.zeros(17, np.float32)
    limbs[LIMBS] = seen.scores[LIMBS]
    ears = (visibility * peak)[[BLAZEPOSE_33.index("left_ear"), BLAZEPOSE_33.index("right_ear")]]
    nose = seen.scores[JOINT_NAMES.index("Nose")]
    np.testing.assert_allclose(seen.scores, assemble_scores(limbs, nose, ears.min()), atol=1e-6)


def test_the_edge_of_the_picture_goes_on_outside_of_it():
    image = np.zeros((20, 30, 3), np.uint8)
    image[:, :2], image[:, -2:] = (0, 0, 255), (255, 0, 0)
    out = np.empty((256, 256, 3), np.uint8)
    landmarks._cut_out(image, landmarks.placed(Region((15.0, 10.0), 80.0, 80.0)), out)
    np.testing.assert_array_equal(out[:, :50], np.broadcast_to([0, 0, 255], (256, 50, 3)))  # BGR
    np.testing.assert_array_equal(out[:, -50:], np.broadcast_to([255, 0, 0], (256, 50, 3)))


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 5)])
def test_tiny_pictures_are_no_trouble(detector, size):
    image = np.zeros((*size, 3), np.uint8)
    (found,) = detector.keypoints.locate(image, WholePicture().find(image))
    assert found.presence < 0.5
    assert np.isfinite(found.detection.keypoints).all()


def test_regions_without_an_area_are_no_trouble(detector):
    image = clip("walk_turn", 1)[0].image
    for region in (Region((50, 50), 0.0, 0.0), Region((1e5, -1e5), 100.0, 50.0)):
        (found,) = detector.keypoints.locate(image, [region])
        assert np.isfinite(found.detection.keypoints).all()


# -- both together --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CLIPS)
def test_the_simplest_loop_stays_on_the_person(detector, name):
    frames = clip(name, 60)
    found = follow(detector, frames)
    assert min(one.presence for one in found) > 0.9
    keypoints = np.stack([one.detection.keypoints for one in found])
    errors = np.linalg.norm(keypoints - truth(name)[:60], axis=-1)[:, LIMBS]
    assert errors.mean() < 5.0
    radii = np.array([one.circle.radius for one in found])
    assert np.abs(np.diff(radii) / radii[1:]).max() < 0.1


@pytest.mark.parametrize("name", CLIPS)
def test_keypoints_are_those_of_mediapipe(detector, name, tmp_path, monkeypatch):
    mediapipe_with_models()
    monkeypatch.setenv("POSEMAMBA_CACHE", str(tmp_path))
    frames = clip(name, 60)
    theirs = create_detector("mediapipe")
    try:
        expected = np.stack([theirs.model.detect(frame)[0].detection.keypoints for frame in frames])
    finally:
        theirs.close()
    ours = np.stack([found.detection.keypoints for found in follow(detector, frames)])
    # MediaPipe's smoothing makes most of the difference.
    assert np.median(np.linalg.norm(ours - expected, axis=-1)) < 1.0


# -- built, described, refused --------------------------------------------------------------------


def test_it_is_the_default_and_says_what_runs(detector):
    about = create_detector().describe()
    assert (
        about
        == {
            "name": "blazepose",
            "model": "blazepose-full.onnx",
            "provider": "CPUExecutionProvider",
            "threads": 1,
            "person_model": "blazepose-detector.onnx",
            "detect_every": None,
        }
        or about["provider"] != "CPUExecutionProvider"
    )


def test_person_models_can_be_exchanged(tmp_path):
    yolox = onnx_models.person_model(tmp_path / "yolox.onnx")
    built = create_detector("blazepose", DetectorSettings(person_model=str(yolox), detect_every=7))
    assert isinstance(built.person, BoxDetector)
    assert built.detect_every == 7
    own = WEIGHTS / "blazepose-detector.onnx"
    built = create_detector("blazepose", DetectorSettings(person_model=str(own)))
    assert isinstance(built.person, people.BlazePoseDetector)
    built = create_detector("blazepose", DetectorSettings(person_model="none"))
    assert isinstance(built.person, WholePicture)
    # Somebody who fills the picture is found without a detector.
    (region,) = create_detector("blazepose").person.find(frame := clip("arm_signals", 1)[0].image)
    left, top, right, bottom = region.box().astype(int)
    crop = frame[max(top, 0) : bottom, left:right]
    (found,) = built.keypoints.locate(crop, built.person.find(crop))
    assert found.presence > 0.9


@pytest.mark.parametrize(
    ("settings", "fragment"),
    [
        ({"person_model": "none", "people": 2}, "--people 2"),
        ({"person_model": "none", "detect_every": 5}, "--detect-every 5"),
    ],
)
def test_settings_that_do_not_go_together_are_usage_errors(settings, fragment):
    with pytest.raises(UsageError, match=fragment):
        create_detector("blazepose", DetectorSettings(**settings))


def test_other_models_are_refused_with_what_they_are(tmp_path):
    with pytest.raises(DetectorError, match="is not BlazePose's landmark model") as caught:
        create_detector("blazepose", DetectorSettings(model=WEIGHTS / "blazepose-detector.onnx"))
    assert "boxes ['batch', 2254, 12]" in caught.value.why
    assert "convert_blazepose.py" in caught.value.hint
    path = tmp_path / "broken.task"
    path.write_bytes(b"PK\x03\x04" + bytes(99))
    with pytest.raises(DetectorError, match=r"Cannot load the model .*broken\.task") as caught:
        create_detector("blazepose", DetectorSettings(model=path))
    assert "--detector mediapipe" in caught.value.hint
    with pytest.raises(DetectorError, match="is not BlazePose's person detector"):
        people.open_blazepose_detector(WEIGHTS / "blazepose-full.onnx", "cpu", 1)


def test_closed_models_say_so():
    built = create_detector("blazepose")
    built.close()
    built.close()
    image = np.zeros((9, 9, 3), np.uint8)
    with pytest.raises(DetectorError, match="closed"):
        built.person.find(image)
    with pytest.raises(DetectorError, match="closed"):
        built.keypoints.locate(image, WholePicture().find(image))
