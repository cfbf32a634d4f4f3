"""Small ONNX networks with the interfaces of published ones and answers that can be drawn.

A person is a picture: a rectangle of one colour (their body) with a disc of a colour of
its own for each keypoint. The networks find the discs and rectangles by their colours and
answer as RTMPose, RTMO, YOLOX and RTMDet do, so that everything around a network (which
pixels it gets, and what becomes of its answer) shows in positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

BODIES: Final = ((90, 60, 180), (60, 180, 90))
"""RGB of the first person's rectangle and of the second one's."""
GROUND: Final = (0, 0, 0)
COVER: Final = (190, 60, 40)
"""Of what may stand in front of the first person: as bright in green, so that the picture
as a whole stays the same."""


def _colors(count: int) -> NDArray[np.float32]:
    """(count, 3) colours none of which is a blend of another one with what is around it."""
    rng = np.random.default_rng(4)
    around = np.array([*BODIES, GROUND], float)
    chosen = np.zeros((0, 3))
    share = np.linspace(0.0, 1.0, 30)[:, None, None, None]
    while len(chosen) < count:
        candidate = np.round(rng.uniform(0, 255, 3))
        tried = np.vstack([chosen, candidate])
        blends = share * tried[:, None] + (1 - share) * around  # (30, N, 3, 3)
        apart = np.linalg.norm(blends[..., None, :] - tried, axis=-1)  # (30, N, 3, N)
        own = np.eye(len(tried), dtype=bool)[:, None]
        if np.where(own, np.inf, apart).min() > 25:
            chosen = tried
    return chosen.astype(np.float32)


COLORS: Final = _colors(26)
"""RGB of each keypoint's disc."""
MEAN: Final = np.array([123.675, 116.28, 103.53], np.float32)
STD: Final = np.array([58.395, 57.12, 57.375], np.float32)
_SUBPIXELS: Final = 16


def draw_person(
    image: NDArray[np.uint8], box: Sequence[float], points: NDArray[Any], body: int = 0,
    radius: float = 5.0, missing: Sequence[int] = (),
) -> None:  # fmt: skip
    """Draw into a BGR picture; positions with pixel centres at half integers."""
    _fill(image, box, BODIES[body])
    for index, (x, y) in enumerate(points):
        if index not in missing:
            _disc(image, float(x), float(y), radius, COLORS[index])


def draw_cover(image: NDArray[np.uint8], box: Sequence[float]) -> None:
    """Hide whoever is in the box, in a BGR picture."""
    _fill(image, box, COVER)


def _fill(image: NDArray[np.uint8], box: Sequence[float], color: Sequence[float]) -> None:
    left, top, right, bottom = (round(edge) for edge in box)
    cv2.rectangle(image, (left, top), (right - 1, bottom - 1), [int(c) for c in color[::-1]], -1)


def _disc(image: NDArray[np.uint8], x: float, y: float, radius: float, color: Any) -> None:
    """A disc whose edge pixels are covered by exactly their share."""
    x0, y0 = int(x - radius) - 1, int(y - radius) - 1
    side = 2 * int(radius) + 4
    fine = (np.arange(side * _SUBPIXELS) + 0.5) / _SUBPIXELS
    inside = (fine[None] + x0 - x) ** 2 + (fine[:, None] + y0 - y) ** 2 <= radius**2
    share = inside.reshape(side, _SUBPIXELS, side, _SUBPIXELS).mean((1, 3))[..., None]
    patch = image[y0 : y0 + side, x0 : x0 + side]
    patch[:] = np.round(patch * (1 - share) + share * np.asarray(color)[::-1]).astype(np.uint8)


class _Graph:
    """Collects nodes; each method returns the name of what it makes."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def add(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        name = output or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def save(self, path: Path, picture: Sequence[Any], outputs: dict[str, Sequence[Any]]) -> Path:
        def tensor(name: str, shape: Sequence[Any]) -> Any:
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))

        answers = [tensor(name, shape) for name, shape in outputs.items()]
        inputs = [tensor("input", picture)]
        graph = helper.make_graph(self.nodes, "test", inputs, answers, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        onnx.save(model, str(path))
        return path

    def likeness(self, picture: str, colors: NDArray[Any]) -> str:
        """(B, 3, H, W) colours to (B, K, H, W): 1 where a pixel has colour k, 0 a bit off it.

        |p - c|^2 is |p|^2 - 2 p c + |c|^2, the last two of which a convolution makes.
        """
        weights = np.asarray(-2.0 * colors, np.float32)[:, :, None, None]
        crossed = self.add("Conv", picture, self.constant(weights),
                           self.constant((np.asarray(colors) ** 2).sum(1)))  # fmt: skip
        squared = self.add("Mul", picture, picture)
        length = self.add("ReduceSum", squared, self.constant([1], np.int64), keepdims=1)
        distance = self.add("Add", crossed, length)
        return self.add("Exp", self.add("Mul", distance, self.constant(-1.0 / 100.0)))


def pose_model(
    path: Path, points: int = 17, size: tuple[int, int] = (192, 256), batch: Any = "batch"
) -> Path:
    """RTMPose: each keypoint's peak is its disc summed over the other axis, blurred to what
    training targets look like: a Gaussian of about five bins.
    """
    graph = _Graph()
    rgb = graph.add("Add", graph.add("Mul", "input", graph.constant(STD.reshape(1, 3, 1, 1))),
                    graph.constant(MEAN.reshape(1, 3, 1, 1)))  # fmt: skip
    alike = graph.likeness(rgb, COLORS[:points])
    # Bin 2 i is pixel i, the odd ones are halfway: x[i] * 0.5 + x[i + 1] * 0.5.
    outputs = {}
    for name, axis, length in (("simcc_x", 2, size[0]), ("simcc_y", 3, size[1])):
        line = graph.add("ReduceSum", alike, graph.constant([axis], np.int64), keepdims=0)
        between = np.zeros((length, 2 * length), np.float32)
        for i in range(length):
            between[i, 2 * i] = 1.0
            between[i, 2 * i + 1] = between[min(i + 1, length - 1), 2 * i + 1] = 0.5
        apart = np.subtract.outer(np.arange(2 * length), np.arange(2 * length))
        blur = np.exp(-0.5 * (apart / 5.0) ** 2)
        bins = graph.add("MatMul", line, graph.constant(between @ blur))
        # A disc of 4 pixels' radius sums up to 50 pixels: its peak gives somewhat below 1.
        graph.add("Mul", bins, graph.constant(0.012), output=name)
        outputs[name] = (batch, points, 2 * length)
    return graph.save(path, (batch, 3, size[1], size[0]), outputs)


def fixed_pose_model(path: Path, x: NDArray[Any], y: NDArray[Any], height: int = 256) -> Path:
    """RTMPose that always answers the same (1, K, L) responses."""
    graph = _Graph()
    nothing = graph.add("Mul", graph.add("ReduceMean", "input", keepdims=0), graph.constant(0.0))
    for name, bins in (("simcc_x", x), ("simcc_y", y)):
        graph.add("Add", nothing, graph.constant(bins), output=name)
    return graph.save(
        path, (1, 3, height, x.shape[2] // 2), {"simcc_x": x.shape, "simcc_y": y.shape}
    )


def _box_of(graph: _Graph, alike: str, size: tuple[int, int]) -> tuple[str, str]:
    """(1, N, H, W) likeness to bodies to (1, N, 4) edges and (1, N, 1) whether they are there."""
    edges = []
    for axis, length in ((2, size[0]), (3, size[1])):
        line = graph.add("ReduceMax", alike, axes=[axis], keepdims=0)
        there = graph.add("Cast", graph.add("Greater", line, graph.constant(0.5)), to=1)
        ahead = np.arange(length, 0, -1)
        first = graph.add("ReduceMax", graph.add("Mul", there, graph.constant(ahead)),
                          axes=[2], keepdims=1)  # fmt: skip
        last = graph.add("ReduceMax", graph.add("Mul", there, graph.constant(ahead[::-1])),
                         axes=[2], keepdims=1)  # fmt: skip
        edges += [graph.add("Sub", graph.constant(length), first), last]
    left, right, top, bottom = edges
    seen = graph.add("ReduceMax", alike, axes=[2, 3], keepdims=0)
    score = graph.add("Mul", graph.add("Unsqueeze", seen, graph.constant([2], np.int64)),
                      graph.constant(0.9))  # fmt: skip
    return graph.add("Concat", left, top, right, bottom, axis=2), score


def person_model(
    path: Path, kind: str = "yolox", size: tuple[int, int] = (416, 416), labels: bool = True
) -> Path:
    """YOLOX or RTMDet with NMS inside: boxes of the bodies' colours, both people of them.

    Beside them a box of another class, and one of a score that is too low, if `labels`.
    """
    graph = _Graph()
    picture = "input"
    if kind == "rtmdet":  # begins with a convolution, here the one that undoes the normalising
        weights = STD[::-1].reshape(3, 1, 1, 1)
        picture = graph.add("Conv", "input", graph.constant(weights), graph.constant(MEAN[::-1]),
                            group=3)  # fmt: skip
    else:  # begins with slicing
        ends = [[0, 0], [size[1], size[0]], [2, 3], [1, 1]]
        picture = graph.add("Slice", "input", *(graph.constant(e, np.int64) for e in ends))
    alike = graph.likeness(picture, np.array(BODIES, np.float32)[:, ::-1])
    edges, score = _box_of(graph, alike, size)
    found = graph.add("Concat", edges, score, axis=2)
    if not labels:
        graph.add("Identity", found, output="dets")
        return graph.save(path, (1, 3, size[1], size[0]), {"dets": (1, 2, 5)})
    wrong = np.array([[[0, 0, 300, 300, 0.99], [5, 5, 400, 400, 0.2]]], np.float32)
    graph.add("Concat", graph.constant(wrong), found, axis=1, output="dets")
    graph.add("Identity", graph.constant([[17, 0, 0, 0]]), output="labels")
    outputs = {"dets": (1, 4, 5), "labels": (1, 4)}
    return graph.save(path, (1, 3, size[1], size[0]), outputs)


def grid_model(
    path: Path, size: tuple[int, int] = (416, 416), decoded: bool = False, classes: int = 80
) -> Path:
    """YOLOX without NMS: the first person in cell (3, 5) of stride 8, twice, and a cat."""
    graph = _Graph()
    alike = graph.likeness("input", np.array(BODIES, np.float32)[:1, ::-1])
    edges, score = _box_of(graph, alike, size)
    ends = [graph.add("Slice", edges, *(graph.constant([v], np.int64) for v in (a, a + 2, 2)))
            for a in (0, 2)]  # fmt: skip
    middle = graph.add("Mul", graph.add("Add", *ends), graph.constant(0.5))
    extent = graph.add("Sub", ends[1], ends[0])
    columns = size[0] // 8
    cells = sum((size[0] // s) * (size[1] // s) for s in (8, 16, 32))
    at = 5 * columns + 3
    if not decoded:
        scaled = graph.add("Mul", middle, graph.constant(1.0 / 8.0))
        middle = graph.add("Sub", scaled, graph.constant([3.0, 5.0]))
        extent = graph.add("Log", graph.add("Mul", extent, graph.constant(1.0 / 8.0)))
    person = np.eye(classes, dtype=np.float32)[0].reshape(1, 1, classes)
    one = graph.add("Concat", middle, extent, score, graph.constant(person), axis=2)
    # The neighbour says the same, less surely: for NMS to drop.
    shift = np.zeros(5 + classes, np.float32)
    shift[0], shift[4] = (0.0, -0.2) if decoded else (-1.0, -0.2)
    two = graph.add("Add", one, graph.constant(shift))
    rest = np.zeros((1, cells, 5 + classes), np.float32)
    rest[..., :4] = (size[0] / 2, size[1] / 2, 9.0, 9.0) if decoded else 0.0
    if classes > 15:
        rest[0, at + 40, [4, 5 + 15]] = 1.0
    graph.add("Concat", graph.constant(rest[:, :at]), one, two, graph.constant(rest[:, at + 2 :]),
              axis=1, output="output")  # fmt: skip
    return graph.save(path, (1, 3, size[1], size[0]), {"output": (1, cells, 5 + classes)})


def rtmo_model(path: Path, size: tuple[int, int] = (640, 640), points: int = 17) -> Path:
    """RTMO for the first person: keypoints are the middles of the discs, in indices."""
    graph = _Graph()
    alike = graph.likeness("input", COLORS[:points, ::-1])
    # Edges of other discs shine through faintly; what is clearly the colour counts.
    weights = graph.add("Relu", graph.add("Sub", alike, graph.constant(0.3)))
    total = graph.add("Add", graph.add("ReduceSum", weights, graph.constant([2, 3], np.int64),
                                       keepdims=0), graph.constant(1e-6))  # fmt: skip
    parts = []
    for axis, length in ((2, size[0]), (3, size[1])):
        line = graph.add("ReduceSum", weights, graph.constant([axis], np.int64), keepdims=0)
        moment = graph.add("ReduceSum", graph.add("Mul", line, graph.constant(np.arange(length))),
                           graph.constant([2], np.int64), keepdims=0)  # fmt: skip
        middle = graph.add("Div", moment, total)
        parts.append(graph.add("Unsqueeze", middle, graph.constant([2], np.int64)))
    seen = graph.add("ReduceMax", alike, axes=[2, 3], keepdims=0)
    parts.append(graph.add("Unsqueeze", seen, graph.constant([2], np.int64)))
    keypoints = graph.add("Concat", *parts, axis=2)
    person = graph.add("Unsqueeze", keypoints, graph.constant([1], np.int64))
    graph.add("Concat", person, person, axis=1, output="keypoints")
    body = graph.likeness("input", np.array(BODIES, np.float32)[:1, ::-1])
    edges, score = _box_of(graph, body, size)
    found = graph.add("Concat", edges, score, axis=2)
    # The same person again, less surely: for NMS to drop.
    again = graph.add("Add", found, graph.constant([2.0, 2.0, 2.0, 2.0, -0.2]))
    graph.add("Concat", found, again, axis=1, output="dets")
    outputs = {"dets": (1, 2, 5), "keypoints": (1, 2, points, 3)}
    return graph.save(path, (1, 3, size[1], size[0]), outputs)


def foreign_model(path: Path) -> Path:
    """A classifier of pictures."""
    graph = _Graph()
    mean = graph.add("ReduceMean", "input", axes=[2, 3], keepdims=0)
    graph.add("MatMul", mean, graph.constant(np.ones((3, 1000))), output="logits")
    return graph.save(path, (1, 3, 224, 224), {"logits": (1, 1000)})
