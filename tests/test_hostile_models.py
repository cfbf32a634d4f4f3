"""Networks that a stranger made: endless, enormous, or full of boxes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from posemamba_live.detectors import create_detector
from posemamba_live.detectors.base import DetectorSettings
from posemamba_live.detectors.onnx_runtime import Session
from posemamba_live.detectors.person import keep
from posemamba_live.detectors.trial import try_out
from posemamba_live.errors import DetectorError
from posemamba_live.tracking.people import PeopleTracker
from posemamba_live.types import Frame
from tests.support import onnx_models


def _save(path: Path, nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray]) -> Path:
    picture = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 64, 64])
    answer = helper.make_tensor_value_info("dets", TensorProto.FLOAT, None)
    held = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "hostile", [picture], [answer], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path


def endless(path: Path) -> Path:
    """A loop of 2^62 rounds around a sum."""
    flag = helper.make_tensor_value_info("go", TensorProto.BOOL, [])
    flag_out = helper.make_tensor_value_info("go_on", TensorProto.BOOL, [])
    number = helper.make_tensor_value_info("round", TensorProto.INT64, [])
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [])
    value_out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [])
    on, double = ("Identity", ["go"], ["go_on"]), ("Add", ["x", "x"], ["y"])
    body = helper.make_graph(
        [helper.make_node(*on), helper.make_node(*double)],
        "body", [number, flag, value], [flag_out, value_out],
    )  # fmt: skip
    nodes = [
        helper.make_node("ReduceMax", ["input"], ["start"], keepdims=0),
        helper.make_node("Loop", ["count", "true", "start"], ["dets"], body=body),
    ]
    return _save(path, nodes, {"count": np.array(2**62), "true": np.array(True)})


def enormous(path: Path) -> Path:
    """Twelve gigabytes of zeros, from a file of 300 bytes."""
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
        helper.make_node("ReduceMax", ["input"], ["top"], keepdims=0),
        helper.make_node("Add", ["zeros", "top"], ["dets"]),
    ]
    return _save(path, nodes, {"shape": np.array([1, 600_000_000, 5])})


def crowded(path: Path) -> Path:
    """200,000 boxes beside each other, all of them sure."""
    rng = np.random.default_rng(1)
    corners = rng.uniform(0, 1000, (1, 200_000, 2)).astype(np.float32)
    boxes = np.concatenate([corners, corners + 3.0, np.full((1, 200_000, 1), 0.9)], 2)
    nodes = [
        helper.make_node("ReduceMax", ["input"], ["top"], keepdims=0),
        helper.make_node("Mul", ["top", "zero"], ["nothing"]),
        helper.make_node("Add", ["boxes", "nothing"], ["dets"]),
    ]
    constants = {"boxes": boxes.astype(np.float32), "zero": np.array(0.0, np.float32)}
    return _save(path, nodes, constants)


@pytest.mark.parametrize(
    ("make", "why"),
    [(endless, "first run takes"), (enormous, "more than 4 GB")],
    ids=["endless", "enormous"],
)
def test_what_would_never_answer_is_given_up(
    make: Callable[[Path], Path], why: str, tmp_path: Path
) -> None:
    path = make(tmp_path / "model.onnx")
    start = time.monotonic()
    with pytest.raises(DetectorError) as caught:
        try_out(path, hint="another one", seconds=15.0)
    assert time.monotonic() - start < 20.0
    assert why in caught.value.why
    assert caught.value.why
    assert caught.value.hint == "another one"


def test_a_proper_model_passes(tmp_path: Path) -> None:
    try_out(onnx_models.person_model(tmp_path / "person.onnx"), hint="")


@pytest.mark.parametrize("option", ["model", "person_model"])
def test_what_a_user_brings_is_tried(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[Path] = []

    def note(path: Path, *, hint: str) -> None:
        tried.append(path)
        raise DetectorError("tried")

    monkeypatch.setattr("posemamba_live.detectors.onnx_runtime.try_out", note)
    path = enormous(tmp_path / "model.onnx")
    given = path if option == "model" else str(path)
    with pytest.raises(DetectorError, match="tried"):
        create_detector("blazepose", DetectorSettings(**{option: given}))
    assert tried == [path]


def test_a_crowd_of_boxes_costs_no_minutes(tmp_path: Path) -> None:
    path = crowded(tmp_path / "model.onnx")
    session = Session(path, foreign=True)
    (answers,) = session.run(np.zeros((1, 3, 64, 64)))
    start = time.monotonic()
    kept = keep(answers[0, :, :4], answers[0, :, 4], 0.5)
    assert time.monotonic() - start < 5.0
    assert 0 < len(kept) <= 300


def crowded_in_one_stage(path: Path) -> Path:
    """The same of a network that finds keypoints as well, of everybody's whole body."""
    rng = np.random.default_rng(1)
    corners = rng.uniform(0, 640, (1, 100_000, 2)).astype(np.float32)
    boxes = np.concatenate([corners, corners + 9.0, np.full((1, 100_000, 1), 0.9)], 2)
    points = corners[:, :, None] + rng.uniform(0, 9, (1, 100_000, 17, 2))
    points = np.concatenate([points, np.full((1, 100_000, 17, 1), 0.9)], 3)
    picture = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 640, 640])
    nodes = [
        helper.make_node("ReduceMax", ["input"], ["top"], keepdims=0),
        helper.make_node("Mul", ["top", "zero"], ["nothing"]),
        helper.make_node("Add", ["boxes", "nothing"], ["dets"]),
        helper.make_node("Add", ["points", "nothing"], ["keypoints"]),
    ]
    answers = [
        helper.make_tensor_value_info("dets", TensorProto.FLOAT, [1, 100_000, 5]),
        helper.make_tensor_value_info("keypoints", TensorProto.FLOAT, [1, 100_000, 17, 3]),
    ]
    held = [
        numpy_helper.from_array(np.asarray(value, np.float32), name)
        for name, value in (("boxes", boxes), ("points", points), ("zero", 0.0))
    ]
    graph = helper.make_graph(nodes, "hostile", [picture], answers, held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path


@pytest.mark.parametrize("stages", [1, 2])
def test_a_crowd_that_is_found_everywhere_costs_no_minutes(stages: int, tmp_path: Path) -> None:
    """In the whole picture and in each of 26 parts of it."""
    if stages == 2:
        pose = onnx_models.pose_model(tmp_path / "pose.onnx")
        person = str(crowded(tmp_path / "person.onnx"))
    else:
        pose, person = crowded_in_one_stage(tmp_path / "pose.onnx"), None
    models = create_detector("rtmpose", DetectorSettings(pose, person_model=person))
    tracker = PeopleTracker(models, people=8)
    start = time.monotonic()
    for index in range(3):
        frame = Frame(index, index / 30, np.zeros((720, 1280, 3), np.uint8), 0.0)
        assert len(tracker(frame)) <= 8
    assert time.monotonic() - start < 30.0
    models.close()
