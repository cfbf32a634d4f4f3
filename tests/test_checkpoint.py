"""Weight files: ours come back as they were, and nothing else gets in or gets executed."""

from __future__ import annotations

import contextlib
import json
import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from posemamba.checkpoint import (
    Checkpoint,
    CheckpointError,
    CheckpointMeta,
    find_weights,
    load_checkpoint,
    save_checkpoint,
)
from posemamba.config import PoseMambaConfig
from posemamba.model import PoseMamba
from tests.support.hostile_files import HOSTILE, Marker

OFFICIAL = PoseMambaConfig(dim=16, depth=1, frames=9)


@pytest.fixture
def official() -> PoseMamba:
    """A small network of the published kind."""
    torch.manual_seed(5)
    return PoseMamba(OFFICIAL).eval()


def header_of(path: Path) -> tuple[dict[str, Any], bytes]:
    """The JSON part of a safetensors file, and the data after it."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def with_header(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Rewrite a weight file with another metadata entry, its tensors untouched."""
    header, data = header_of(path)
    own = json.loads(header["__metadata__"]["posemamba"])
    change(own)
    header["__metadata__"]["posemamba"] = json.dumps(own)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


@pytest.fixture
def copy(tiny_weights: Path, tmp_path: Path) -> Path:
    """A weight file that a test may spoil."""
    return Path(shutil.copy(tiny_weights, tmp_path / "copy.safetensors"))


def test_a_saved_network_comes_back(tiny_checkpoint: Checkpoint, tiny_weights: Path) -> None:
    loaded = load_checkpoint(tiny_weights)
    assert len(loaded.meta.sha256) == 64
    assert replace(loaded.meta, sha256="") == tiny_checkpoint.meta
    assert not loaded.model.training
    assert not any(p.requires_grad for p in loaded.model.parameters())
    x = torch.randn(2, 9, 17, loaded.meta.config.in_channels)
    assert torch.equal(loaded.model(x), tiny_checkpoint.model(x))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_floats_of_any_size_are_read(
    dtype: torch.dtype, tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    """NumPy has no bfloat16."""
    state = {k: v.to(dtype) for k, v in tiny_checkpoint.model.state_dict().items()}
    path = tmp_path / "floats.safetensors"
    save_file(state, path, {"posemamba": tiny_checkpoint.meta.to_json()})
    read = load_checkpoint(path).state
    assert read is not None
    for name, values in read.items():
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, state[name].float().numpy())


def test_every_option_of_the_architecture_survives_a_file(tmp_path: Path) -> None:
    config = PoseMambaConfig(
        dim=16, depth=1, frames=9, in_channels=4, frame_embedding=True, input_skip=True,
        joint_bias=True, causal=True, integer_decay=True,
    )  # fmt: skip
    meta = CheckpointMeta("all", config, "stream", "body_height", 70.0, training={"seed": 1})
    save_checkpoint(tmp_path / "all.safetensors", PoseMamba(config).state_dict(), meta)
    assert replace(load_checkpoint(tmp_path / "all.safetensors").meta, sha256="") == meta


def test_saving_leaves_no_half_written_file(official: PoseMamba, tmp_path: Path) -> None:
    meta = CheckpointMeta("x", OFFICIAL, "image", "image", training={"odd": {1, 2}})
    with pytest.raises(TypeError):  # a set is no JSON
        save_checkpoint(tmp_path / "x.safetensors", official.state_dict(), meta)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty", b""),
        ("text", b"these are not the weights that you are looking for\n" * 40),
        ("random", np.random.default_rng(0).bytes(5000)),
        ("huge header", struct.pack("<Q", 1 << 62) + b"{}"),
    ],
)
@pytest.mark.parametrize("suffix", [".safetensors", ".bin", ".pth.tr"])
def test_other_content_is_refused(name: str, content: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"weights\.") as caught:
        load_checkpoint(path)
    assert len(str(caught.value).splitlines()) == 1


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="folder"):
        load_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="no such file"):
        load_checkpoint(tmp_path / "absent.safetensors")
    with pytest.raises(CheckpointError, match="by name"):
        load_checkpoint("no-such-name")


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_truncated_files_are_refused(
    share: float, suffix: str, official: PoseMamba, tiny_weights: Path, tmp_path: Path
) -> None:
    whole = tiny_weights
    if suffix == ".bin":
        whole = tmp_path / "whole.bin"
        torch.save({"model_pos": official.state_dict()}, whole)
    content = whole.read_bytes()
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError):
        load_checkpoint(path)


@pytest.mark.parametrize("form", HOSTILE)
@pytest.mark.parametrize("suffix", [".bin", ".pth.tr", ".safetensors"])
def test_nothing_in_a_file_is_executed(form: str, suffix: str, tmp_path: Path) -> None:
    marker = Marker(tmp_path / "executed")
    path = tmp_path / f"weights{suffix}"
    HOSTILE[form](path, marker)
    with pytest.raises(CheckpointError, match=r"weights\.") as caught:
        load_checkpoint(path)
    assert not marker.path.exists()
    assert "weights_only" not in str(caught.value), "PyTorch's advice switches the checks off"


def test_the_hostile_files_would_work_on_a_careless_reader(tmp_path: Path) -> None:
    """Without this the test above could pass on files that are merely broken."""
    marker = Marker(tmp_path / "executed")
    for form, write in HOSTILE.items():
        path = tmp_path / "weights.bin"
        write(path, marker)
        with contextlib.suppress(Exception):  # some are broken after the call
            torch.load(path, weights_only=False)
        assert marker.path.exists(), form
        marker.path.unlink()


def test_safetensors_of_others_are_refused(official: PoseMamba, tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file(official.state_dict(), path)
    with pytest.raises(CheckpointError, match="no posemamba header"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("schema", 2),
        ("schema", None),
        ("name", ""),
        ("name", 7),
        ("name", "\x1b[2Jgone"),
        ("name", "x" * 101),
        ("input_kind", "pixels"),
        ("input_kind", ["rays"]),
        ("input_kind", "image"),
        ("output_unit", "feet"),
        ("fov_deg", "60"),
        ("fov_deg", 0),
        ("fov_deg", float("nan")),
        ("joint_set", "coco-17"),
        ("training", [1]),
        ("surprise", 1),
        ("config", None),
        ("config", [16, 1]),
        ("config.dim", 10**6),
        ("config.dim", 2048),
        ("config.dim", 32),
        ("config.dim", 16.0),
        ("config.dim", "16"),
        ("config.dim", True),
        ("config.dim", -16),
        ("config.dim", 15),
        ("config.depth", 10**9),
        ("config.depth", 64),
        ("config.depth", 2),
        ("config.depth", 0),
        ("config.frames", 8),
        ("config.frames", 10),
        ("config.frames", 10**12),
        ("config.d_state", 8),
        ("config.expand", 4),
        ("config.mlp_ratio", 3),
        ("config.in_channels", 2),
        ("config.in_channels", 3),
        ("config.joint_bias", 1),
        ("config.joint_bias", True),
        ("config.causal", True),
        ("config.surprise", 1),
    ],
)
def test_a_header_that_does_not_fit_is_refused(copy: Path, path: str, value: Any) -> None:
    def change(own: dict[str, Any]) -> None:
        target, _, key = path.rpartition(".")
        (own[target] if target else own)[key] = value

    with_header(copy, change)
    with pytest.raises(CheckpointError, match=r"copy\.safetensors") as caught:
        load_checkpoint(copy)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "{", '{"schema": 1}', "[" * 100_000, "9" * 5000]
)
def test_a_header_that_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(CheckpointError, match="header"):
        CheckpointMeta.from_json(text)


def test_a_network_that_the_file_cannot_fill_is_never_built(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within the limits a header can still ask for gigabytes."""

    def refuse(config: PoseMambaConfig) -> PoseMamba:
        raise AssertionError(f"built {config}")

    monkeypatch.setattr("posemamba.hybrid.build", refuse)
    monkeypatch.setattr("posemamba.checkpoint.parameter_shapes", refuse)
    with_header(copy, lambda own: own["config"].update(dim=2048, depth=64, frames=4096))
    with pytest.raises(CheckpointError, match="fewer numbers"):
        load_checkpoint(copy)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(
    value: float, official: PoseMamba, tmp_path: Path
) -> None:
    state = official.state_dict()
    state["head.1.bias"][1] = value
    path = tmp_path / "nan.safetensors"
    save_checkpoint(path, state, CheckpointMeta("nan", OFFICIAL, "image", "image"))
    with pytest.raises(CheckpointError, match="not finite"):
        load_checkpoint(path)


def test_missing_and_surplus_tensors_are_named(official: PoseMamba, tmp_path: Path) -> None:
    meta = CheckpointMeta("x", OFFICIAL, "image", "image")
    path = tmp_path / "x.safetensors"
    state = official.state_dict()
    save_checkpoint(path, {**state, "stowaway": torch.zeros(1)}, meta)
    with pytest.raises(CheckpointError, match="stowaway"):
        load_checkpoint(path)
    del state["head.1.bias"]
    save_checkpoint(path, state, meta)
    with pytest.raises(CheckpointError, match=r"head\.1\.bias"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "odd",
    [
        torch.zeros(1).expand(16, 10**9),  # claims more than it has
        torch.zeros(16, 2, dtype=torch.int64),
        torch.eye(16, 2).to_sparse(),
        torch.zeros(16, 0),
        torch.zeros(10**5, 2),
        torch.zeros(16),
    ],
    ids=["expanded", "integers", "sparse", "no columns", "too wide", "no matrix"],
)
def test_odd_tensors_in_an_official_checkpoint_are_refused(
    odd: torch.Tensor, official: PoseMamba, tmp_path: Path
) -> None:
    state = {**official.state_dict(), "Spatial_patch_to_embedding.weight": odd}
    torch.save({"model_pos": state}, tmp_path / "odd.bin")
    with pytest.raises(CheckpointError, match=r"odd\.bin"):
        load_checkpoint(tmp_path / "odd.bin")


@pytest.mark.parametrize(
    "content",
    [{}, [], 3, {"model_pos": {}}, {"model_pos": {"a": 1}}, {"model_pos": {0: torch.zeros(1)}}],
    ids=str,
)
def test_pickles_without_a_network_are_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.bin")
    with pytest.raises(CheckpointError, match="no state dict"):
        load_checkpoint(tmp_path / "other.bin")


def test_checkpoints_of_other_networks_are_refused(tmp_path: Path) -> None:
    torch.save({"model_pos": torch.nn.Linear(3, 4).state_dict()}, tmp_path / "other.bin")
    with pytest.raises(CheckpointError, match="not a PoseMamba"):
        load_checkpoint(tmp_path / "other.bin")


def test_a_name_that_weights_had_before_is_told_and_taken(caplog: pytest.LogCaptureFixture) -> None:
    assert find_weights("stream-m3") == find_weights("causal-m3")
    assert "stream-m3 are called causal-m3 now" in caplog.text
    meta = load_checkpoint("causal-m3").meta
    assert (meta.name, meta.causal) == ("causal-m3", True)
    assert not load_checkpoint("window-m3").meta.causal
