"""RTMPose and RTMO on small networks of their interface, whose answers are drawn pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from posemamba.skeleton import JOINT_NAMES
from posemamba_live.detectors import (
    DetectorSettings,
    Found,
    OneStage,
    Region,
    create_detector,
    onnx_runtime,
)
from posemamba_live.detectors.onnx_graph import first_operators
from posemamba_live.detectors.onnx_model import Kind, OnnxModel, recognise
from posemamba_live.detectors.onnx_runtime import Session
from posemamba_live.detectors.person import BoxDetector, WholePicture, keep, overlap
from posemamba_live.detectors.placement import cut_out, letterbox, place_box, planes
from posemamba_live.detectors.rtmo import RTMO
from posemamba_live.detectors.rtmpose import RTMPose, decode_simcc
from posemamba_live.detectors.skeletons import COCO_17, HALPE_26, WHOLEBODY_133, from_keypoints
from posemamba_live.errors import DetectorError, UsageError
from posemamba_live.types import Detection, Frame
from tests.support import onnx_models
from tests.support.onnx_models import COLORS, draw_person

BOX = (200.0, 40.0, 400.0, 330.0)
SIZE = (640, 360)


def layout(box: tuple[float, ...], count: int = 17, seed: int = 0) -> np.ndarray:
    """(count, 2) positions all over a box, none on whole pixels."""
    left, top, right, bottom = box
    grid = [(i % 5 / 4, i // 5 / 5) for i in range(count)]
    inner = np.array([left + 15, top + 15]), np.array([right - left - 30, bottom - top - 30])
    jitter = np.random.default_rng(seed).uniform(-3, 3, (count, 2))
    return inner[0] + np.array(grid) * inner[1] + jitter


def picture(*people: tuple[tuple[float, ...], np.ndarray], size=SIZE, **drawing) -> np.ndarray:
    image = np.zeros((size[1], size[0], 3), np.uint8)
    for body, (box, points) in enumerate(people):
        draw_person(image, box, points, body, **drawing)
    return image


def frame(image: np.ndarray, index: int = 0) -> Frame:
    return Frame(index, index / 30, image, 0.0)


def error(found: Detection, points: np.ndarray) -> np.ndarray:
    """(17,) pixels between the joints found and those of the drawn keypoints."""
    expected = from_keypoints(points, np.ones(len(points)))
    return np.linalg.norm(found.keypoints - expected.keypoints, axis=1)


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    made: dict[str, Callable[[Path], Path]] = {
        "pose": onnx_models.pose_model,
        "large": lambda path: onnx_models.pose_model(path, size=(288, 384), batch=1),
        "halpe": lambda path: onnx_models.pose_model(path, points=26),
        "yolox": onnx_models.person_model,
        "rtmdet": lambda path: onnx_models.person_model(path, "rtmdet", (320, 320)),
        "unlabelled": lambda path: onnx_models.person_model(path, labels=False),
        "grid": onnx_models.grid_model,
        "people grid": lambda path: onnx_models.grid_model(path, classes=1),
        "decoded": lambda path: onnx_models.grid_model(path, decoded=True),
        "rtmo": onnx_models.rtmo_model,
        "foreign": onnx_models.foreign_model,
    }
    return {name: make(folder / f"{name}.onnx") for name, make in made.items()}


class Pair:
    """Looks at everybody whom the person detector finds; who is not there is left out."""

    def __init__(self, models: dict[str, Path], pose: str, person: str | None) -> None:
        self.keypoints = RTMPose(OnnxModel.open(models[pose]))
        self.person = BoxDetector(OnnxModel.open(models[person])) if person else WholePicture()

    def found(self, image: np.ndarray) -> list[Found]:
        found = self.keypoints.locate(image, self.person.find(image))
        return [one for one in found if one.presence >= 0.5]

    def detect(self, image: np.ndarray) -> list[Detection]:
        return [one.detection for one in self.found(image)]


def top_down(models: dict[str, Path], pose="pose", person: str | None = "yolox") -> Pair:
    return Pair(models, pose, person)


# -- where things are in a network's input -----------------------------------------------------


@pytest.mark.parametrize("size", [(640, 360), (333, 517), (1281, 721), (100, 100), (40, 700)])
def test_letterbox_and_back_is_exact_to_a_tenth_of_a_pixel_of_the_input(size):
    middle = np.array([0.3 * size[0] + 0.23, 0.6 * size[1] + 0.71])
    radius = max(4.0, 0.02 * max(size))
    image = np.zeros((size[1], size[0], 3), np.uint8)
    onnx_models._disc(image, *middle, min(radius, 9.0), (255, 255, 255))
    fitted, placement = letterbox(image, (416, 416))
    assert fitted.shape == (416, 416, 3)
    shown = fitted[..., 0].astype(float)
    shown[shown == 114] = 0.0  # the grey beside the picture
    down, across = np.mgrid[:416, :416] + 0.5
    centre = np.array([(across * shown).sum(), (down * shown).sum()]) / shown.sum()
    tolerance = 0.1 * max(1.0, *placement.scale)
    np.testing.assert_allclose(placement.to_picture(centre), middle, atol=tolerance)


def test_letterbox_fills_up_with_grey_and_survives_a_line():
    fitted, placement = letterbox(np.full((100, 200, 3), 7, np.uint8), (64, 64))
    assert (fitted[:32] == 7).all()
    assert (fitted[32:] == 114).all()
    np.testing.assert_allclose(placement.to_picture(np.array([64.0, 32.0])), [200, 100])
    fitted, _ = letterbox(np.zeros((1, 5000, 3), np.uint8), (64, 64))
    assert (fitted[0] == 0).all()


def test_cutting_out_whole_pixels_copies_them_and_halves_are_means():
    image = np.random.default_rng(1).integers(0, 255, (40, 60, 3), np.uint8)
    place = place_box(np.array([10.0, 5.0, 42.0, 37.0]), (32, 32), 1.0)
    np.testing.assert_array_equal(cut_out(image, place, (32, 32)), image[5:37, 10:42])
    # At half size each pixel lies on the corner of four: half a pixel off would show.
    half = cut_out(image, place_box(np.array([10, 5, 42, 37.0]), (16, 16), 1.0), (16, 16))
    blocks = image[5:37, 10:42].reshape(16, 2, 16, 2, 3).astype(float).mean((1, 3))
    assert np.abs(half - blocks).max() <= 0.51
    outside = cut_out(image, place_box(np.array([-32.0, 5, 0, 37]), (32, 32), 1.0), (32, 32))
    assert not outside.any()


@pytest.mark.parametrize(
    ("box", "scale"), [((0, 0, 192, 256), 1.25), ((0, 0, 192, 10), 1.25), ((0, 0, 1, 512), 2.5)]
)
def test_a_box_is_grown_by_a_quarter_and_to_the_inputs_shape(box, scale):
    place = place_box(np.array(box), (192, 256), 1.25)
    assert place.scale == (pytest.approx(scale),) * 2
    middle = place.to_picture(np.array([96.0, 128.0]))
    np.testing.assert_allclose(middle, [box[2] / 2, box[3] / 2], atol=1e-4)


def test_planes_are_normalised_in_the_order_asked_for():
    image = np.random.default_rng(6).integers(0, 255, (5, 7, 3), np.uint8)
    mean, std = np.array([120.0, 110.0, 100.0]), np.array([50.0, 60.0, 70.0])
    expected = ((image[..., ::-1] - mean) / std).transpose(2, 0, 1)
    np.testing.assert_allclose(planes(image, mean, std, rgb=True), expected, atol=1e-6)
    np.testing.assert_array_equal(planes(image), image.transpose(2, 0, 1))
    assert planes(image).dtype == np.float32


# -- SimCC ------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [4.9, 5.66, 6.93])  # RTMPose's targets, by input size
def test_simcc_finds_peaks_between_bins(sigma):
    rng = np.random.default_rng(2)
    bins = rng.uniform(5, 370, (3, 17)), rng.uniform(5, 500, (3, 17))
    x = np.exp(-0.5 * ((np.arange(384) - bins[0][..., None]) / sigma) ** 2)
    y = 0.8 * np.exp(-0.5 * ((np.arange(512) - bins[1][..., None]) / sigma) ** 2)
    points, scores = decode_simcc(x.astype(np.float32), y.astype(np.float32))
    np.testing.assert_allclose(points, np.stack(bins, -1) / 2 + 0.5, atol=0.01)
    np.testing.assert_allclose(scores, 0.8, atol=0.01)  # the lower of both peaks


def test_simcc_of_single_bins_edges_and_nothing():
    x, y = np.zeros((1, 4, 384), np.float32), np.zeros((1, 4, 512), np.float32)
    for k, (column, row) in enumerate([(100, 200), (0, 511), (383, 0)]):
        x[0, k, column], y[0, k, row] = 0.7, 0.5
    points, scores = decode_simcc(x, y)
    np.testing.assert_allclose(points[0, 0], [50.5, 100.5])
    np.testing.assert_allclose(points[0, 1], [0.5, 256.0])
    np.testing.assert_allclose(points[0, 2], [192.0, 0.5])
    np.testing.assert_allclose(scores[0], [0.5, 0.5, 0.5, 0.0])
    assert np.isfinite(points).all()


# -- which network it is ----------------------------------------------------------------------


def test_kinds_are_told_from_the_graph(models):
    kinds = {name: OnnxModel.open(models[name]).kind for name in models if name != "foreign"}
    assert kinds.pop("rtmo") is Kind.ONE_STAGE
    assert {kinds.pop(name) for name in ("pose", "large", "halpe")} == {Kind.POSE}
    assert {kinds.pop(name) for name in ("grid", "people grid", "decoded")} == {Kind.GRID}
    assert set(kinds.values()) == {Kind.BOXES}
    families = {n: BoxDetector(OnnxModel.open(models[n])).family for n in (*kinds, "grid")}
    assert families.pop("rtmdet") == "RTMDet"
    assert set(families.values()) == {"YOLOX"}


@pytest.mark.parametrize(
    ("outputs", "kind"),
    [
        ({"simcc_y": (1, 17, 512), "simcc_x": (1, 17, 384)}, Kind.POSE),
        ({"a": (1, 133, 384), "b": (1, 133, 512)}, Kind.POSE),
        ({"simcc_x": (1, 21, 384), "simcc_y": (1, 21, 512)}, None),  # a hand
        ({"simcc_x": (1, 17, 384), "simcc_y": (1, 26, 512)}, None),
        ({"simcc_x": (1, 17, 576), "simcc_y": (1, 17, 768)}, None),  # another split
        ({"heatmap": (1, 17, 64, 48)}, None),
        ({"dets": (1, 0, 5), "labels": (1, 0)}, Kind.BOXES),
        ({"dets": (1, 0, 5), "keypoints": (1, 0, 17, 3)}, Kind.ONE_STAGE),
        ({"dets": (1, 9, 5), "labels": (1, 9), "masks": (1, 9, 256, 192)}, None),
        ({"output": (1, 8, 85)}, None),
        ({"output": (1, 84, 8400)}, None),  # YOLOv8
        ({}, None),
    ],
)
def test_shapes_decide(outputs, kind):
    recognised = recognise(outputs, (192, 256))
    assert (recognised and recognised[0]) == kind
    if kind is Kind.POSE:
        assert [outputs[name][2] for name in recognised[1]] == [384, 512]


def test_first_operators_are_those_that_the_onnx_library_sees(models):
    for path in models.values():
        graph = onnx.load(str(path)).graph
        seen = {node.op_type for node in graph.node if "input" in node.input}
        assert first_operators(path, "input") == seen != set()


def test_damaged_graphs_are_no_trouble_to_look_into(models, tmp_path):
    whole = models["pose"].read_bytes()
    rng = np.random.default_rng(3)
    path = tmp_path / "damaged.onnx"
    for length in rng.integers(0, len(whole), 50):
        path.write_bytes(whole[:length])
        first_operators(path, "input")
    for _ in range(50):
        path.write_bytes(rng.bytes(200))
        first_operators(path, "input")
    assert first_operators(tmp_path / "missing.onnx", "input") == set()


# -- people's boxes ---------------------------------------------------------------------------

FINDERS = ("yolox", "rtmdet", "unlabelled", "grid", "people grid", "decoded")


@pytest.mark.parametrize("name", FINDERS)
@pytest.mark.parametrize("size", [(640, 360), (360, 640), (333, 517), (1280, 720)])
def test_a_person_is_boxed_within_a_pixel_of_the_input(models, name, size):
    finder = BoxDetector(OnnxModel.open(models[name]))
    box = 0.2 * size[0], 0.1 * size[1], 0.6 * size[0], 0.9 * size[1]
    found = finder.find(picture((tuple(np.round(box)), np.zeros((0, 2))), size=size))
    assert len(found) == 1  # neither the cat nor the unsure nor the double
    pixel = max(size) / OnnxModel.open(models[name]).size[0]
    np.testing.assert_allclose(found[0].box(), np.round(box), atol=1.1 * pixel)
    assert found[0].score >= 0.5


@pytest.mark.parametrize("name", FINDERS)
def test_nobody_is_no_box(models, name):
    finder = BoxDetector(OnnxModel.open(models[name]))
    assert finder.find(np.zeros((360, 640, 3), np.uint8)) == []
    assert finder.find(np.zeros((1, 1, 3), np.uint8)) == []


def test_two_people_are_two_boxes(models):
    image = picture((BOX, np.zeros((0, 2))), ((450, 100, 550, 300), np.zeros((0, 2))))
    for name in ("yolox", "rtmdet"):
        found = BoxDetector(OnnxModel.open(models[name])).find(image)
        boxes = [region.box() for region in found]
        np.testing.assert_allclose(boxes, [BOX, (450, 100, 550, 300)], atol=2.5)


def test_nms_keeps_the_surest_of_boxes_on_each_other():
    boxes = np.array(
        [[0, 0, 10, 10], [1, 0, 11, 10], [5, 0, 15, 10], [0, 0, 10, 10], [3, 3, 3, 9]], np.float32
    )
    scores = np.array([0.8, 0.9, 0.7, np.nan, 0.99], np.float32)
    assert keep(boxes, scores, 0.5) == [1, 2]
    assert keep(boxes, scores, 0.75) == [1]
    assert keep(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), 0.5) == []
    others = np.stack([boxes[2], boxes[0], boxes[0] + 20])
    assert overlap(boxes[0], others) == pytest.approx([1 / 3, 1.0, 0.0])


# -- the detectors ----------------------------------------------------------------------------


@pytest.mark.parametrize("person", ["yolox", "rtmdet", "grid"])
@pytest.mark.parametrize("pose", ["pose", "large"])
def test_keypoints_are_where_they_were_drawn(models, pose, person):
    points = layout(BOX)
    found = top_down(models, pose, person).detect(picture((BOX, points)))
    assert len(found) == 1
    assert error(found[0], points).mean() < 0.25
    assert error(found[0], points).max() < 0.6
    assert found[0].keypoints.dtype == found[0].scores.dtype == np.float32
    assert found[0].scores.min() > 0.3


def test_no_direction_is_preferred(models):
    """Half a pixel somewhere would pull all keypoints one way."""
    offsets = []
    detector = top_down(models)
    for seed in range(4):
        points = layout(BOX, seed=seed)
        found = detector.detect(picture((BOX, points)))
        offsets.append(found[0].keypoints - from_keypoints(points, np.ones(17)).keypoints)
    np.testing.assert_allclose(np.mean(offsets, (0, 1)), 0.0, atol=0.07)


def test_colours_must_come_in_the_right_order(models):
    image = picture((BOX, layout(BOX)))
    assert top_down(models).detect(image)
    assert top_down(models, person=None).detect(image[..., ::-1].copy()) == []


@pytest.mark.parametrize("size", [(321, 517), (1280, 720)])
def test_one_stage_keypoints_are_where_they_were_drawn(models, size):
    detector = RTMO(OnnxModel.open(models["rtmo"]))
    box = (0.2 * size[0], 0.1 * size[1], 0.7 * size[0], 0.9 * size[1])
    points = layout(box)
    found = detector.detect(frame(picture((box, points), size=size, radius=0.015 * max(size))))
    assert len(found) == 1  # the double is gone
    assert error(found[0].detection, points).max() < 0.3
    assert found[0].presence >= 0.5
    np.testing.assert_allclose(found[0].next_region.box(), box, atol=0.01 * max(size))
    assert detector.detect(frame(np.zeros((90, 160, 3), np.uint8))) == []


def test_feet_are_kept_by_name(models):
    points = layout(BOX, 26)
    found = top_down(models, "halpe").detect(picture((BOX, points)))[0]
    assert error(found, points).mean() < 0.25
    extra = dict(zip(found.extra.names, found.extra.points, strict=True))
    assert set(extra) == set(HALPE_26) - {"nose"} - {
        f"{side}_{joint}"
        for side in ("left", "right")
        for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    }
    for name in ("left_heel", "right_big_toe", "head", "hip"):
        np.testing.assert_allclose(extra[name], points[HALPE_26.index(name)], atol=0.5)


def test_hands_and_face_are_kept_by_name(tmp_path):
    x, y = np.zeros((1, 133, 384), np.float32), np.zeros((1, 133, 512), np.float32)
    columns, rows = 100 + np.arange(133), 50 + 3 * np.arange(133)
    x[0, np.arange(133), columns] = y[0, np.arange(133), rows] = 0.9
    path = onnx_models.fixed_pose_model(tmp_path / "wholebody.onnx", x, y)
    # The whole picture is the box: with margin 1.25 a pixel of the input is one here.
    size = (round(192 / 1.25), round(256 / 1.25))
    image = np.zeros((size[1], size[0], 3), np.uint8)
    model = RTMPose(OnnxModel.open(path))
    found = model.locate(image, WholePicture().find(image))[0].detection
    place = place_box(np.array([0, 0, *size]), (192, 256), 1.25)
    expected = place.to_picture(np.stack([columns, rows], 1) / 2 + 0.5)
    wrist = found.keypoints[JOINT_NAMES.index("RWrist")]
    np.testing.assert_allclose(wrist, expected[COCO_17.index("right_wrist")], atol=1e-3)
    for name in ("right_heel", "face_30", "left_thumb4", "right_pinky_finger4"):
        at = found.extra.names.index(name)
        index = WHOLEBODY_133.index(name)
        np.testing.assert_allclose(found.extra.points[at], expected[index], atol=1e-3)


def test_a_person_half_out_of_the_picture_is_kept_with_unsure_legs(models):
    points = layout(BOX)
    legs = [COCO_17.index(f"{side}_{joint}") for side in ("left", "right")
            for joint in ("knee", "ankle")]  # fmt: skip
    image = picture((BOX, points), missing=legs)
    found = top_down(models).detect(image)
    assert len(found) == 1
    scores = dict(zip(JOINT_NAMES, found[0].scores, strict=True))
    assert max(scores["LKnee"], scores["RAnkle"]) < 0.2
    assert min(scores["LWrist"], scores["Nose"]) > 0.3


# -- from frame to frame ----------------------------------------------------------------------


def walk(index: int) -> tuple[tuple[float, ...], np.ndarray]:
    """A person who crosses the picture at 6 pixels a frame, growing."""
    left, top, size = 30.0 + 6 * index, 60.0 - index, 150.0 + 2 * index
    box = (left, top, left + 0.7 * size, top + 1.6 * size)
    return box, layout(box)


def test_the_next_region_follows_a_walker_without_a_person_detector(models):
    model = RTMPose(OnnxModel.open(models["pose"]))
    regions = [Region.of_box(walk(0)[0])]
    for index in range(31):
        box, points = walk(index)
        (found,) = model.locate(picture((box, points)), regions)
        assert found.presence >= 0.5
        assert error(found.detection, points).mean() < 0.3
        regions = [found.next_region]


@pytest.mark.parametrize(("pose", "runs"), [("pose", [2]), ("large", [1, 1])])
def test_people_are_looked_at_in_one_run_where_the_network_takes_several(models, pose, runs):
    boxes = [(20, 40, 180, 300), (330, 60, 490, 320)]
    people = [(box, layout(box, seed=seed)) for seed, box in enumerate(boxes)]
    network, batches = OnnxModel.open(models[pose]), []
    run = network.run
    network.run = lambda pictures: batches.append(len(pictures)) or run(pictures)
    found = RTMPose(network).locate(picture(*people), [Region.of_box(box) for box in boxes])
    assert batches == runs
    for one, (_, points) in zip(found, people, strict=True):
        assert error(one.detection, points).mean() < 0.3


def test_where_nobody_is_presence_is_low_and_nothing_is_looked_at_for_nobody(models):
    model = RTMPose(OnnxModel.open(models["pose"]))
    image = picture((BOX, layout(BOX)))
    there, away = model.locate(image, [Region.of_box(BOX), Region.of_box((500, 40, 600, 300))])
    assert there.presence > 0.5 > away.presence
    assert model.locate(image, []) == []


# -- what can be wrong ------------------------------------------------------------------------


def build(models, name="rtmpose", **settings):
    settings = {k: models.get(v, v) for k, v in settings.items()}
    if isinstance(settings.get("person_model"), Path):
        settings["person_model"] = str(settings["person_model"])
    return create_detector(name, DetectorSettings(**settings))


def test_given_models_are_used_and_described(models):
    detector = build(models, model="halpe", person_model="rtmdet", detect_every=4)
    assert detector.describe() == {
        "name": "rtmpose",
        "model": "halpe.onnx",
        "provider": "CPUExecutionProvider",
        "threads": 1,
        "person_model": "rtmdet.onnx",
        "detect_every": 4,
    }
    image = picture((BOX, layout(BOX, 26)))
    assert len(detector.keypoints.locate(image, detector.person.find(image))) == 1
    assert build(models, "rtmo", model="rtmo").describe()["model"] == "rtmo.onnx"
    assert isinstance(build(models, model="rtmo"), OneStage)


@pytest.mark.parametrize(
    ("settings", "fragment"),
    [
        ({"model": "yolox"}, "--person-model for this one"),
        ({"model": "pose", "person_model": "halpe"}, "does not find people"),
        ({"model": "rtmo", "person_model": "yolox"}, "leave out --person-model"),
        ({"model": "rtmo", "detect_every": 5}, "leave out"),
        ({"name": "mediapipe", "detect_every": 5}, "--detect-every is not for mediapipe"),
        ({"model": "pose", "person_model": "none", "people": 2}, "--people 2"),
        ({"model": "pose", "person_model": "none", "detect_every": 5}, "--detect-every 5"),
        ({"name": "rtmo", "model": "pose"}, "--person-model FILE as well"),
        ({"name": "mediapipe", "person_model": "yolox"}, "--person-model is not for mediapipe"),
    ],
)
def test_models_that_do_not_go_together_are_usage_errors(models, settings, fragment):
    with pytest.raises(UsageError) as caught:
        build(models, **settings)
    assert fragment in str(caught.value)


def _damaged(folder: Path, models: dict[str, Path]) -> dict[str, Path]:
    whole = models["pose"].read_bytes()
    files = {
        "empty": b"",
        "text": b"not a model\n" * 100,
        "truncated": whole[: len(whole) // 2],
        "zip": b"PK\x03\x04" + bytes(200),
    }
    paths = {name: folder / f"{name}.onnx" for name in files}
    for name, content in files.items():
        paths[name].write_bytes(content)
    return {**paths, "missing": folder / "missing.onnx", "folder": folder}


@pytest.mark.parametrize("kind", ["empty", "text", "truncated", "zip", "missing", "folder"])
def test_a_damaged_model_gives_cause_and_remedy(models, tmp_path, kind, capfd):
    path = _damaged(tmp_path, models)[kind]
    with pytest.raises(DetectorError) as caught:
        build(models, model=path, person_model="yolox")
    assert str(path) in str(caught.value)
    assert caught.value.why
    assert "end2end.onnx" in caught.value.hint
    assert capfd.readouterr().err == ""


def test_a_foreign_model_is_told_what_it_is_and_what_is_wanted(models):
    with pytest.raises(DetectorError) as caught:
        build(models, model="foreign", person_model="yolox")
    for word in ("logits (1, 1000)", "[1, 3, 224, 224]", "simcc_x", "keypoints (1, N, 17, 3)"):
        assert word in caught.value.why


@pytest.mark.parametrize(
    "shape", [(1, 1, 256, 192), (1, 3, 8, 8), (1, 3, 9000, 9000), (3, 256, 192), (1, 256, 192, 3)]
)
def test_inputs_that_are_no_pictures_are_refused(tmp_path, shape):
    graph = onnx_models._Graph()
    graph.add("Identity", "input", output="out")
    path = graph.save(tmp_path / "odd.onnx", shape, {"out": shape})
    with pytest.raises(DetectorError, match="not a model that this detector knows"):
        OnnxModel.open(path)


@pytest.mark.parametrize(("across", "down"), [(np.nan, 0.5), (np.inf, np.inf), (np.inf, np.nan)])
def test_answers_that_are_no_numbers_are_nobody(tmp_path, across, down):
    x, y = np.full((1, 17, 384), 0.5, np.float32), np.full((1, 17, 512), 0.5, np.float32)
    x[0, 3, 7], y[0, 3] = across, down
    pose = OnnxModel.open(onnx_models.fixed_pose_model(tmp_path / "odd.onnx", x, y))
    (found,) = RTMPose(pose).locate(picture((BOX, layout(BOX))), [Region.of_box(BOX)])
    assert found.presence == 0.0
    assert np.isfinite(found.detection.keypoints).all()
    assert not found.detection.scores.any()


def test_tiny_pictures_hold_nobody(models):
    one_stage = RTMO(OnnxModel.open(models["rtmo"]))
    for size in [(1, 1), (2, 3), (7, 5)]:
        image = np.zeros((*size, 3), np.uint8)
        assert top_down(models).detect(image) == []
        assert top_down(models, person=None).detect(image) == []
        assert one_stage.detect(frame(image)) == []


def test_closed_models_say_so(models):
    pair, one_stage = top_down(models), RTMO(OnnxModel.open(models["rtmo"]))
    image = np.zeros((9, 9, 3), np.uint8)
    for model, use in (
        (pair.person, lambda: pair.person.find(image)),
        (pair.keypoints, lambda: pair.keypoints.locate(image, [Region.of_box(BOX)])),
        (one_stage, lambda: one_stage.detect(frame(image))),
    ):
        model.close()
        model.close()
        with pytest.raises(DetectorError, match="closed"):
            use()


@pytest.mark.parametrize(
    ("device", "remedy"),
    [
        ("cuda", "pip install onnxruntime-gpu"),
        ("coreml", "wheels for macOS"),
        ("directml", "pip install onnxruntime-directml"),
    ],
)
def test_asking_for_a_device_that_is_not_there_is_told_once(models, caplog, device, remedy):
    import onnxruntime

    if onnx_runtime.NAMED[device] in onnxruntime.get_available_providers():
        pytest.skip(f"this ONNX Runtime has {device}")
    onnx_runtime.providers.cache_clear()
    for _ in range(2):
        assert Session(models["pose"], device=device).provider == "CPUExecutionProvider"
    assert caplog.text.count(remedy) == 1


def test_colours_of_the_test_pictures_are_far_apart():
    everything = np.concatenate([COLORS, onnx_models.BODIES, [onnx_models.GROUND]])
    apart = np.linalg.norm(everything[:, None] - everything[None], axis=-1)
    assert apart[np.triu_indices(len(everything), 1)].min() > 25
    assert cv2.__version__
