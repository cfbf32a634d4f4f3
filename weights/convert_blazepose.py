"""Convert MediaPipe's BlazePose networks from TFLite to the ONNX files in this folder.

A maintainer's tool, not a part of the program; it needs an environment of its own:

    pip install tensorflow-cpu==2.21.0 tf2onnx==1.17.0 onnx==1.23.2 onnxruntime==1.32.0
    pip download --no-deps --python-version 3.11 --only-binary :all: mediapipe==0.10.21
    python weights/convert_blazepose.py mediapipe-0.10.21-*.whl

Sources may be MediaPipe wheels or its installed package's folder (0.10.21 is the last
version that carries the networks), `.task` bundles and single `.tflite` files. What is done
to a network: sparse weights are made dense, tf2onnx translates it, outputs that are not
used go, the batch's size becomes free, operators are put so that ONNX Runtime has less to do
for the same answers (`onnx_rewriting.py`), and weights are stored with the 16 bits that they
had (all of them are exact in float16). Each result is compared with the TFLite interpreter.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import onnx
import onnxruntime
import tensorflow as tf
import tf2onnx
from onnx import TensorProto, helper, numpy_helper
from onnx_rewriting import clip_sums_by_convolution, pad_in_first, resize_late, take_pixels
from tensorflow.lite.python import schema_py_generated as schema

OPSET = 18
SMALL = 16
"""Constants of fewer values stay as they are."""
TOLERANCE = 1e-3
"""Relative L2 difference of an output that is still the same network."""

DETECTOR_OUTPUTS = {"Identity": "boxes", "Identity_1": "scores"}
LANDMARK_OUTPUTS = {
    "Identity": "landmarks",
    "Identity_1": "presence",
    "Identity_3": "heatmaps",
}
"""The network's names of what is kept, and ours. Not the segmentation, Identity_2, nor the
landmarks in metres, Identity_4."""

NAMES = {
    "pose_detection": "detector",
    "pose_detector": "detector",
    "pose_landmark_lite": "lite",
    "pose_landmark_full": "full",
    "pose_landmark_heavy": "heavy",
}
"""File names at the source, and ours; a bundle's `pose_landmarks_detector` has no size."""


def networks(source: Path, size: str) -> Iterator[tuple[str, bytes]]:
    """Names (ours) and contents of the networks in a source."""
    if source.is_dir():
        files = [(path.stem, path.read_bytes()) for path in sorted(source.rglob("*.tflite"))]
    elif zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            members = [name for name in archive.namelist() if name.endswith(".tflite")]
            files = [(Path(name).stem, archive.read(name)) for name in members]
    else:
        files = [(source.stem, source.read_bytes())]
    for stem, content in files:
        name = size if stem == "pose_landmarks_detector" else NAMES.get(stem)
        if name is not None:
            yield f"blazepose-{name}", content


def dense(content: bytes) -> bytes:
    """The network with its sparse weights written out: tf2onnx cannot read DENSIFY."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    sparse = [
        operator
        for operator in graph.operators
        if codes[operator.opcodeIndex] == schema.BuiltinOperator.DENSIFY
    ]
    if not sparse:
        return content
    interpreter = tf.lite.Interpreter(
        model_content=content,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_REF,
    )
    interpreter.allocate_tensors()
    for given in interpreter.get_input_details():
        interpreter.set_tensor(given["index"], np.zeros(given["shape"], given["dtype"]))
    interpreter.invoke()
    for operator in sparse:
        (packed,), (written,) = operator.inputs, operator.outputs
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(interpreter.get_tensor(written).tobytes(), np.uint8)
        model.buffers.append(buffer)
        graph.tensors[written].buffer = len(model.buffers) - 1
        # Nobody reads the packed weights any more: the first buffer is the empty one.
        graph.tensors[packed].buffer, graph.tensors[packed].sparsity = 0, None
        graph.operators.remove(operator)
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def translate(content: bytes) -> onnx.ModelProto:
    """The network as ONNX, with our outputs, for any number of pictures, in float16."""
    with tempfile.TemporaryDirectory() as folder:
        flat, raw, cut = (Path(folder) / name for name in ("a.tflite", "a.onnx", "b.onnx"))
        flat.write_bytes(dense(content))
        model, _ = tf2onnx.convert.from_tflite(str(flat), opset=OPSET, output_path=str(raw))
        found = [output.name for output in model.graph.output]
        outputs = LANDMARK_OUTPUTS if len(found) > 2 else DETECTOR_OUTPUTS
        onnx.utils.extract_model(str(raw), str(cut), ["input_1"], list(outputs))
        model = onnx.load(cut)
    _rename(model.graph, {"input_1": "pictures", **outputs})
    pad_in_first(model.graph)
    resize_late(model.graph)
    clip_sums_by_convolution(model)
    scaled = set()
    if outputs is LANDMARK_OUTPUTS:
        scaled = {take_pixels(model.graph)}
    _free_batch(model.graph)
    _halve(model.graph, scaled)
    model.ClearField("metadata_props")
    digest = hashlib.sha256(content).hexdigest()
    helper.set_model_props(model, {"source_sha256": digest, "license": "Apache-2.0"})
    onnx.checker.check_model(model, full_check=True)
    return model


def _rename(graph: Any, names: dict[str, str]) -> None:
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in [*graph.input, *graph.output]:
        value.name = names.get(value.name, value.name)


def _free_batch(graph: Any) -> None:
    """Take as many pictures in a run as there are: every shape says 1 for it now."""
    constants = {constant.name: constant for constant in graph.initializer}
    for node in graph.node:
        if node.op_type == "Reshape":
            shape = numpy_helper.to_array(constants[node.input[1]]).copy()
            if shape[0] == 1:  # 0 keeps the input's; a first -1 already follows the batch
                shape[0] = 0
                constants[node.input[1]].CopyFrom(numpy_helper.from_array(shape, node.input[1]))
    for value in [*graph.input, *graph.output]:
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    del graph.value_info[:]


def _halve(graph: Any, scaled: set[str]) -> None:
    """Store weights in float16, with a cast that ONNX Runtime does once, when it loads.

    Args:
        scaled: names of weights that are no longer those of the source.
    """
    casts = []
    for constant in graph.initializer:
        weights = numpy_helper.to_array(constant)
        if weights.dtype != np.float32 or weights.size < SMALL or constant.name in scaled:
            continue
        halved = weights.astype(np.float16)
        if not np.array_equal(halved.astype(np.float32), weights):
            raise SystemExit(f"{constant.name} is not exact in float16")
        name = f"{constant.name}_half"
        casts.append(helper.make_node("Cast", [name], [constant.name], to=TensorProto.FLOAT))
        constant.CopyFrom(numpy_helper.from_array(halved, name))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def run_tflite(content: bytes, pictures: np.ndarray) -> dict[str, np.ndarray]:
    """Outputs by our names, one picture after the other.

    Args:
        pictures: (N, S, S, 3) as the network takes them.
    """
    interpreter = tf.lite.Interpreter(model_content=content)
    interpreter.allocate_tensors()
    (given,) = interpreter.get_input_details()
    details = {output["name"]: output["index"] for output in interpreter.get_output_details()}
    outputs = LANDMARK_OUTPUTS if len(details) > 2 else DETECTOR_OUTPUTS
    answers: dict[str, list[np.ndarray]] = {name: [] for name in outputs.values()}
    for picture in pictures:
        interpreter.set_tensor(given["index"], picture[None])
        interpreter.invoke()
        for theirs, ours in outputs.items():
            answers[ours].append(interpreter.get_tensor(details[theirs])[0])
    return {name: np.stack(values) for name, values in answers.items()}


def compare(model: onnx.ModelProto, pictures: np.ndarray, expected: dict[str, np.ndarray]) -> None:
    """Stop where the ONNX network, all pictures in one run, differs from the TFLite one.

    Args:
        pictures: (N, S, S, 3) as the ONNX network takes them.
    """
    session = onnxruntime.InferenceSession(model.SerializeToString())
    names = [output.name for output in session.get_outputs()]
    for name, answer in zip(names, session.run(names, {"pictures": pictures}), strict=True):
        wanted = expected[name]
        difference = np.linalg.norm(answer - wanted) / np.linalg.norm(wanted)
        print(f"  {name} {answer.shape}: relative difference {difference:.1e}")
        if not difference <= TOLERANCE:
            raise SystemExit(f"{name} differs from the TFLite network's")


def scaled(pictures: np.ndarray) -> np.ndarray:
    """uint8 RGB as TFLite takes it: -1 to 1 for the detector, 0 to 1 for landmarks."""
    pictures = pictures.astype(np.float32)
    return pictures / 127.5 - 1.0 if pictures.shape[1] == 224 else pictures / 255.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("sources", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--size", default="full", help="of the landmark network in a bundle")
    parser.add_argument(
        "--reference",
        type=Path,
        default=Path(__file__).parents[1] / "tests" / "data" / "blazepose_tflite.npz",
        help="real pictures; what the TFLite networks answer is stored beside them",
    )
    options = parser.parse_args()
    with np.load(options.reference) as file:
        stored = dict(file)
    for source in options.sources:
        for name, content in networks(source, options.size):
            print(name)
            model = translate(content)
            kind = "detector" if name.endswith("detector") else "landmark"
            pictures = stored[f"{kind}_pictures"]
            expected = run_tflite(content, scaled(pictures))
            bgr = np.ascontiguousarray(pictures[..., ::-1])
            compare(model, scaled(pictures) if kind == "detector" else bgr, expected)
            result = model.SerializeToString()
            (options.out / f"{name}.onnx").write_bytes(result)
            print(f"  source SHA-256 {hashlib.sha256(content).hexdigest()}")
            print(f"  result SHA-256 {hashlib.sha256(result).hexdigest()}, {len(result)} bytes")
            if kind == "detector" or name.endswith("full"):
                # Every other place of the heatmaps is enough, and a quarter of the bytes.
                heatmaps = expected.get("heatmaps")
                if heatmaps is not None:
                    expected["heatmaps"] = heatmaps[:, ::2, ::2]
                stored.update({f"{kind}_{output}": v for output, v in expected.items()})
    np.savez_compressed(options.reference, **stored)


if __name__ == "__main__":
    main()
