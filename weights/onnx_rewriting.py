"""A network's operators put otherwise, so that ONNX Runtime has less to do for the same answers.

Tools of `convert_blazepose.py`. What they produce are plain ONNX operators that every
provider has. ONNX Runtime keeps tensors in an order of its own (NCHWc) between convolutions;
what it cannot do in that order costs more than its arithmetic.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def pad_in_first(graph: Any) -> None:
    """Let the first convolution pad the picture; the operator before it goes.

    ONNX Runtime does so by itself, but not across the transposition of the picture.
    """
    (transpose,) = (node for node in graph.node if node.op_type == "Transpose" and _first(node))
    pad = _maker(graph, transpose.input[0])
    if pad is None:
        return
    amounts = _constant(graph, pad.input[1]).reshape(2, 4)  # before, after; N, H, W, C
    (convolution,) = _users(graph, transpose.output[0])
    edges = [int(amount) for amount in amounts[:, 1:3].reshape(-1)]
    convolution.attribute.append(helper.make_attribute("pads", edges))
    transpose.input[0] = pad.input[0]
    graph.node.remove(pad)
    for name in pad.input[1:]:
        if not _users(graph, name):
            graph.initializer.remove(_initializer(graph, name))


def take_pixels(graph: Any) -> str:
    """Take pictures as OpenCV has them, uint8 and blue first, instead of RGB from 0 to 1.

    The scale and the order go into the first convolution's weights.

    Returns:
        The name of these weights.
    """
    given = graph.input[0]
    given.type.tensor_type.elem_type = TensorProto.UINT8
    (transpose,) = _users(graph, given.name)
    (convolution,) = _users(graph, transpose.output[0])
    cast = helper.make_node("Cast", [transpose.output[0]], ["levels"], to=TensorProto.FLOAT)
    graph.node.insert(list(graph.node).index(convolution), cast)
    name = convolution.input[1]
    weights = _constant(graph, name)[:, ::-1] / np.float32(255.0)
    _replace(graph, name, weights)
    convolution.input[0] = cast.output[0]
    return str(name)


def resize_late(graph: Any) -> None:
    """Enlarge what a 1x1 convolution makes of a tensor instead of the tensor itself.

    Both are linear, and an enlarged constant is the constant: the answer is the same, with a
    quarter of the convolution's work.
    """
    for resize in [node for node in graph.node if node.op_type == "Resize"]:
        users = _users(graph, resize.output[0])
        if len(users) != 1 or users[0].op_type != "Conv":
            continue
        (convolution,) = users
        kernel = _constant(graph, convolution.input[1]).shape[2:]
        if kernel != (1, 1):
            continue
        small, large, result = resize.input[0], resize.output[0], convolution.output[0]
        convolution.input[0], convolution.output[0] = small, large
        resize.input[0], resize.output[0] = large, result
        graph.node.remove(convolution)
        graph.node.insert(list(graph.node).index(resize), convolution)


def clip_sums_by_convolution(model: onnx.ModelProto) -> None:
    """Multiply by one, in a depthwise convolution, whatever is clipped without being one.

    ONNX Runtime clips within a convolution, and adds within the one before; an operator that
    clips alone costs both, and the tensor's way into the plain order and back.
    """
    graph = model.graph
    shapes = onnx.shape_inference.infer_shapes(model).graph.value_info
    channels = {value.name: value.type.tensor_type.shape.dim[1].dim_value for value in shapes}
    for clip in [node for node in graph.node if node.op_type == "Clip"]:
        total = clip.input[0]
        if _maker(graph, total).op_type == "Conv":
            continue
        count = channels[total]
        ones = f"ones_{count}"
        if all(constant.name != ones for constant in graph.initializer):
            weights = np.ones((count, 1, 1, 1), np.float32)
            graph.initializer.append(numpy_helper.from_array(weights, ones))
        same = helper.make_node(
            "Conv", [total, ones], [f"{total}_same"], kernel_shape=[1, 1], group=count
        )
        graph.node.insert(list(graph.node).index(clip), same)
        clip.input[0] = same.output[0]


def _first(transpose: Any) -> bool:
    """Whether a transposition puts a picture's channels first."""
    return any(list(a.ints) == [0, 3, 1, 2] for a in transpose.attribute if a.name == "perm")


def _maker(graph: Any, name: str) -> Any:
    """The node that makes a value; None for what is given."""
    return next((node for node in graph.node if name in node.output), None)


def _users(graph: Any, name: str) -> list[Any]:
    return [node for node in graph.node if name in node.input]


def _initializer(graph: Any, name: str) -> Any:
    (constant,) = (value for value in graph.initializer if value.name == name)
    return constant


def _constant(graph: Any, name: str) -> np.ndarray:
    return numpy_helper.to_array(_initializer(graph, name))


def _replace(graph: Any, name: str, values: np.ndarray) -> None:
    stored = numpy_helper.from_array(np.ascontiguousarray(values), name)
    _initializer(graph, name).CopyFrom(stored)
