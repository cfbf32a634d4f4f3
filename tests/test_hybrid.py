"""Networks beside PoseMamba: what they compute, streams and windows alike, and their files."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from posemamba.checkpoint import CheckpointError, CheckpointMeta, load_checkpoint, save_checkpoint
from posemamba.config import PRESETS, PoseMambaConfig
from posemamba.hybrid import LAYERS, build
from posemamba.hybrid.attention import JointAttention, hops
from posemamba.hybrid.graph import FrameGraph, JointGraph
from posemamba.hybrid.sequences import (
    Axis,
    SequenceParameters,
    reference_scan,
    scan_sequences,
    step_sequences,
)
from posemamba.model import LifterNetwork, split_states, stack_states
from posemamba.pooling import NeighbourPooling
from posemamba.skeleton import L_ANKLE, L_WRIST, R_ANKLE, THORAX, neighbours

KINDS = [
    {"architecture": "posemamba", "pooling": True},
    {"architecture": "pose-magic"},
    {"architecture": "pose-magic", "exchange": True, "pooling": True},
    {"architecture": "attention-mamba"},
    {"architecture": "attention-mamba", "exchange": True},
]


def network(kind: dict[str, object], **more: object) -> LifterNetwork:
    torch.manual_seed(3)
    values = {"dim": 16, "depth": 2, "frames": 9, "in_channels": 5, "integer_decay": True}
    model = build(PoseMambaConfig(**{**values, **kind, **more}))  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_windows_of_any_length_are_lifted_and_every_weight_learns(kind: dict[str, object]) -> None:
    model = network(kind)
    for frames in (1, 2, 9):
        out = model(torch.randn(2, frames, 17, 5))
        assert out.shape == (2, frames, 17, 3)
    out.square().mean().backward()
    still = [
        name
        for name, p in model.named_parameters()
        if p.requires_grad and (p.grad is None or not p.grad.abs().sum() > 0)
    ]
    assert still == []


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_causal_networks_see_no_later_frame_and_stream(kind: dict[str, object]) -> None:
    model = network(kind, causal=True, frames=40)
    x = torch.randn(2, 35, 17, 5)
    with torch.no_grad():
        whole = model(x)
        changed = x.clone()
        changed[:, 20:] += 1.0
        assert torch.equal(model(changed)[:, :20], whole[:, :20])
        # Two streams that are stepped together, then one of them alone.
        states = [model.init_state(1) for _ in range(2)]
        for frame in range(35):
            if frame < 30:
                out, both = model.step(x[:, frame], stack_states(states))
                states = split_states(both, 2)
                assert torch.allclose(out, whole[:, frame], atol=2e-4)
            else:
                out, states[0] = model.step(x[:1, frame], states[0])
                assert torch.allclose(out, whole[:1, frame], atol=2e-4)


# Attention does not leave its frame, and with `exchange` both scans in time run forwards.
@pytest.mark.parametrize("kind", KINDS[:-1], ids=str)
def test_other_networks_see_later_frames(kind: dict[str, object]) -> None:
    model = network(kind)
    x = torch.randn(1, 9, 17, 5)
    changed = x.clone()
    changed[:, 8] += 1.0
    with torch.no_grad():
        assert not torch.allclose(model(changed)[:, 0], model(x)[:, 0], atol=1e-6)
    with pytest.raises(ValueError, match="causal"):
        model.init_state(1)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_file_brings_the_same_network_back(kind: dict[str, object], tmp_path: Path) -> None:
    model = network(kind)
    meta = CheckpointMeta("test", model.config, "rays", "body_height")
    save_checkpoint(tmp_path / "net.safetensors", model.state_dict(), meta)
    again = load_checkpoint(tmp_path / "net.safetensors").model
    assert type(again) is type(model)
    assert again.config == model.config
    x = torch.randn(1, 9, 17, 5)
    with torch.no_grad():
        assert torch.equal(again.eval()(x), model(x))


def test_a_file_of_an_unknown_architecture_is_refused(tmp_path: Path) -> None:
    model = network(KINDS[1])
    config = dataclasses.replace(model.config, architecture="magic")
    meta = CheckpointMeta("test", config, "rays", "body_height")
    save_checkpoint(tmp_path / "net.safetensors", model.state_dict(), meta)
    with pytest.raises(CheckpointError, match="architecture 'magic'"):
        load_checkpoint(tmp_path / "net.safetensors")


def test_presets_have_about_as_many_parameters() -> None:
    counts = {
        name: sum(p.numel() for p in build(PoseMambaConfig(frames=27, **values)).parameters())
        for name, values in PRESETS.items()
        if name in ("M3", "pooling-M3", "magic-M3", "attention-M5")
    }
    assert set(counts) == {"M3", "pooling-M3", "magic-M3", "attention-M5"}
    assert all(abs(count / counts["M3"] - 1.0) < 0.1 for count in counts.values()), counts
    assert {PRESETS[name]["architecture"] for name in ("magic-M3", "attention-M5")} == set(LAYERS)


# -- the parts, against what they should be ----------------------------------------------------


def scan_parameters(integer: bool) -> SequenceParameters:
    torch.manual_seed(5)
    inner, n, rank = 32, 16, 2
    a = torch.arange(1.0, n + 1.0).repeat(inner, 1)
    if not integer:
        a = a * (0.5 + torch.rand(inner, n))
    tensors = [
        0.3 * torch.randn(rank + 2 * n, inner),
        0.3 * torch.randn(inner, rank),
        torch.randn(inner) - 2.0,
        -a,
        torch.randn(inner),
    ]
    for i, tensor in enumerate(tensors):
        tensor.requires_grad_(not (integer and i == 3))
    return SequenceParameters(*tensors, integer)


@pytest.mark.parametrize("axis", ["time", "joints"])
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("integer", [False, True])
def test_the_kernels_scan_as_the_recurrence_says(
    axis: Axis, backwards: bool, integer: bool
) -> None:
    results = []
    for scan in (scan_sequences, reference_scan):
        p = scan_parameters(integer)
        torch.manual_seed(6)
        values = torch.randn(2, 21, 17, 32, requires_grad=True)
        weight = torch.randn(2, 21, 17, 32)
        y = scan(values, p, axis, backwards)
        (y * weight).sum().backward()
        own = (p.x_proj, p.dt_weight, p.dt_bias, p.a, p.skip)
        results.append([y, values.grad, *(t.grad for t in own if t.requires_grad)])
    for ours, reference in zip(*results, strict=True):
        assert ours is not None
        assert reference is not None
        assert torch.allclose(
            ours, reference, rtol=2e-3, atol=2e-3 * float(reference.detach().abs().max())
        )


def test_steps_of_a_scan_are_the_scan() -> None:
    p = scan_parameters(integer=True)
    values = torch.randn(2, 6, 17, 32)
    state = torch.zeros(2, 17, 32, 16)
    with torch.no_grad():
        whole = reference_scan(values, p, "time")
        for frame in range(6):
            y, state = step_sequences(values[:, frame], p, state)
            assert torch.allclose(y, whole[:, frame], atol=1e-4)


def test_attention_is_softmax_of_products_and_hops() -> None:
    distance = hops()
    assert distance[L_ANKLE, R_ANKLE] == 6
    assert distance[L_WRIST, THORAX] == 3
    assert torch.equal(distance, distance.T)
    torch.manual_seed(0)
    attention = JointAttention(PoseMambaConfig(dim=32, depth=1, frames=9))
    torch.nn.init.normal_(attention.hop_bias)
    x = torch.randn(1, 2, 17, 32)
    with torch.no_grad():
        got = attention(x)[0, 1]
        q, k, v = (x[0, 1] @ attention.qkv.weight.T + attention.qkv.bias).split(32, -1)
        heads = []
        for head in range(2):
            own = slice(16 * head, 16 * head + 16)
            logits = q[:, own] @ k[:, own].T / 4.0 + attention.hop_bias[head][distance]
            heads.append(logits.softmax(-1) @ v[:, own])
        want = torch.cat(heads, -1) @ attention.proj.weight.T + attention.proj.bias
    assert torch.allclose(got, want, atol=1e-4)


def test_the_graph_of_joints_is_the_normalised_skeleton() -> None:
    graph = JointGraph(PoseMambaConfig(dim=8, depth=1, frames=9))
    a = graph.adjacency.numpy()
    near = neighbours()
    for one in range(17):
        for other in range(17):
            bone = other in near[one][1:]
            degree = (len(near[one]) - 1) * (len(near[other]) - 1)
            assert a[one, other] == pytest.approx(1.0 / np.sqrt(degree) if bone else 0.0)


def test_frames_are_convolved_with_themselves_and_the_most_similar_one() -> None:
    graph = FrameGraph(PoseMambaConfig(dim=8, depth=1, frames=9))
    torch.manual_seed(2)
    x = torch.nn.functional.layer_norm(torch.randn(1, 5, 17, 8), (8,))
    with torch.no_grad():
        got = graph(x)[0, :, 4]
        own = x[0, :, 4]
        values = own @ graph.around.weight.T + graph.around.bias
        alike = own @ own.T
        for t in range(5):
            mean = values[alike[t].topk(2).indices].mean(0)
            y = graph.norm(mean + own[t] @ graph.own.weight.T + graph.own.bias)
            assert torch.allclose(got[t], torch.relu(own[t] + y), atol=1e-4)


def test_pooling_weighs_each_joints_bones() -> None:
    torch.manual_seed(4)
    pool = NeighbourPooling(8)
    for parameter in (pool.scale, pool.shift):
        torch.nn.init.normal_(parameter)
    x = torch.randn(3, 17, 8)
    own = pool.norm(x)
    with torch.no_grad():
        got = pool(x)
        for joint, near in enumerate(neighbours()):
            bones: Tensor = (own[:, near] - own[:, joint, None]) * pool.scale[:8] + pool.shift[:8]
            pooled = (bones.softmax(1) * bones).sum(1)
            both = torch.cat([pooled, own[:, joint] * pool.scale[8:] + pool.shift[8:]], -1)
            step = pool.norm_pooled(both) @ pool.proj.weight.T + pool.proj.bias
            want = x[:, joint] + torch.nn.functional.silu(step)
            assert torch.allclose(got[:, joint], want, atol=1e-4)
