"""The Triton kernels against the reference, on a GPU or in Triton's CPU interpreter.

Sizes are tiny because the interpreter is slow; chunks are made smaller to have many.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from posemamba.config import PoseMambaConfig
from posemamba.model import PoseMamba
from posemamba.scan import ScanParameters, reference, use_backend
from posemamba.scan.interface import limb_matrix
from tests.support.triton_interpreter import speed_up

pytest.importorskip("triton", reason="Triton is not installed")

from posemamba.fused import FusedForward
from posemamba.scan import triton_backend

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
PARITY = Path(__file__).resolve().parent.parent.parent / "shared" / "parity"
if DEVICE == "cpu":
    speed_up()


def random_scan(
    channels: int, states: int, rank: int, *, integer: bool = False, causal: bool = False
) -> ScanParameters:
    """Parameters away from their initial values, ready for gradients."""

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, device=DEVICE)

    a_logs = torch.arange(1.0, states + 1, device=DEVICE).log().repeat(4 * channels, 1)
    if not integer:
        a_logs = a_logs + 0.3 * normal(*a_logs.shape)
    tensors = (
        0.3 * normal(4, rank + 2 * states, channels),
        0.5 * normal(4, channels, rank),
        normal(4, channels) - 1.0,
        a_logs,
        normal(4 * channels),
    )
    return ScanParameters(*(t.requires_grad_() for t in tensors), integer, causal)


def gradients(
    scan: object, values: torch.Tensor, parameters: ScanParameters, weight: torch.Tensor
) -> dict[str, torch.Tensor | None]:
    """Output and all gradients of the weighted sum of a scan's output."""
    assert callable(scan)
    leaves = {
        "values": values.detach().clone().requires_grad_(),
        **{
            name: getattr(parameters, name)
            for name in ("x_proj_weight", "dt_projs_weight", "dt_projs_bias", "a_logs", "ds")
        },
    }
    for leaf in leaves.values():
        leaf.grad = None
    output = scan(leaves["values"], parameters)
    (output.float() * weight).sum().backward()
    return {"output": output.detach(), **{name: leaf.grad for name, leaf in leaves.items()}}


@pytest.mark.parametrize(
    ("causal", "integer", "batch", "chunk"),
    [(False, False, 2, 16), (False, True, 1, 16), (True, False, 1, 2)],
)
def test_scan_and_gradients_match_the_reference(
    monkeypatch: pytest.MonkeyPatch, causal: bool, integer: bool, batch: int, chunk: int
) -> None:
    """Also where the last chunk of a sequence, and of a causal joint's, is not full."""
    monkeypatch.setattr(triton_backend, "CHUNK", chunk)
    monkeypatch.setattr(triton_backend, "TILE", 2)  # several rounds of the scan over chunks
    torch.manual_seed(0)
    parameters = random_scan(16, 2, 2, integer=integer, causal=causal)
    values = torch.randn(batch, 3, 17, 16, device=DEVICE)
    weight = torch.randn_like(values)
    expected = gradients(reference.scan, values, parameters, weight)
    actual = gradients(triton_backend.scan, values, parameters, weight)
    for name, wanted in expected.items():
        got = actual[name]
        if name == "a_logs" and integer:
            assert got is None  # not trained: the decay is taken to be exact
            continue
        assert got is not None
        assert wanted is not None
        assert (got - wanted).norm() <= 1e-5 * wanted.norm(), name


def test_scan_with_several_channel_blocks_and_the_real_chunk_length() -> None:
    torch.manual_seed(1)
    parameters = random_scan(64, 2, 1)
    values = torch.randn(1, 4, 17, 64, device=DEVICE)  # three chunks, the last one of 4 steps
    weight = torch.randn_like(values)
    expected = gradients(reference.scan, values, parameters, weight)
    actual = gradients(triton_backend.scan, values, parameters, weight)
    for name, wanted in expected.items():
        got = actual[name]
        assert got is not None
        assert wanted is not None
        assert (got - wanted).norm() <= 1e-5 * wanted.norm(), name


def test_half_precision_values_are_scanned_in_float32() -> None:
    torch.manual_seed(2)
    parameters = random_scan(16, 2, 1)
    values = torch.randn(1, 2, 17, 16, device=DEVICE).bfloat16()
    weight = torch.randn(values.shape, device=DEVICE)
    expected = gradients(reference.scan, values.float(), parameters, weight)
    actual = gradients(triton_backend.scan, values, parameters, weight)
    assert actual["output"].dtype == torch.bfloat16
    for name, wanted in expected.items():
        got = actual[name]
        assert got is not None
        assert wanted is not None
        # bfloat16 has 8 bits; the projections of the values are rounded to it too.
        assert (got.float() - wanted).norm() <= 0.02 * wanted.norm(), name


def test_the_sum_of_the_directions_is_the_scan() -> None:
    torch.manual_seed(3)
    parameters = random_scan(16, 2, 1)
    values = torch.randn(1, 2, 17, 16, device=DEVICE)
    with torch.no_grad():
        expected = reference.scan(values, parameters)
    parts = triton_backend.scan_directions(values, parameters)
    assert parts.shape == (4, *values.shape)
    torch.testing.assert_close(parts.sum(0), expected, atol=1e-4, rtol=1e-4)


def test_channels_that_do_not_fill_blocks_are_refused() -> None:
    values = torch.zeros(1, 1, 17, 24, device=DEVICE)
    with pytest.raises(ValueError, match="multiples of 16, not 24"):
        triton_backend.scan(values, random_scan(24, 2, 1))


def test_limb_adjoint_is_the_transpose() -> None:
    x = torch.randn(3, 17, 5, device=DEVICE)
    expected = torch.einsum("ji,bjd->bid", limb_matrix(x), x)
    torch.testing.assert_close(triton_backend.limb_adjoint(x), expected)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("strided", [False, True])
def test_convolution_and_gradients_match_pytorch(causal: bool, strided: bool) -> None:
    torch.manual_seed(4)
    wide = torch.randn(2, 5, 17, 32, device=DEVICE)
    weight = torch.randn(16, 1, 3, 3, device=DEVICE).requires_grad_()
    bias = torch.randn(16, device=DEVICE).requires_grad_()
    dy = torch.randn(2, 5, 17, 16, device=DEVICE)
    results = []
    for conv in (reference.conv_silu, triton_backend.conv_silu):
        leaf = wide.clone().requires_grad_()
        values = leaf[..., :16] if strided else leaf[..., :16].contiguous()
        weight.grad = bias.grad = None
        y = conv(values, weight, bias, causal)
        y.backward(dy)
        results.append((y.detach(), leaf.grad, weight.grad, bias.grad))
    for expected, actual in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["tiny", "tiny_eps", "S"])
def test_matches_the_published_code(name: str) -> None:
    if name != "tiny" and DEVICE == "cpu":
        pytest.skip("takes minutes in Triton's interpreter")
    path = PARITY / f"posemamba_{name}.npz"
    if not path.exists():
        pytest.skip("the parity fixtures of the official code are not part of the repository")
    arrays = {k: torch.from_numpy(v) for k, v in np.load(path).items()}
    dim, depth, frames = (int(n) for n in arrays["meta"][:3])
    model = PoseMamba(PoseMambaConfig(dim=dim, depth=depth, frames=frames)).eval()
    weights = {k.removeprefix("w/"): v for k, v in arrays.items() if k.startswith("w/")}
    model.load_state_dict(weights, strict=True)
    which = "_short" if "input_short" in arrays else ""
    with use_backend("triton"), torch.no_grad():
        output = model.to(DEVICE)(arrays[f"input{which}"][:1].to(DEVICE))
    torch.testing.assert_close(
        output.cpu(), arrays[f"output{which}"][:1], atol=2e-4 if name == "S" else 2e-5, rtol=0
    )


def test_training_gradients_of_a_network_match_the_reference() -> None:
    torch.manual_seed(5)
    config = PoseMambaConfig(dim=16, depth=1, frames=2, d_state=4, integer_decay=True)
    model = PoseMamba(config).to(DEVICE)
    x, target = (torch.randn(1, 2, 17, n, device=DEVICE) for n in (2, 3))
    found = {}
    for name in ("reference", "triton"):
        with use_backend(name):
            model.zero_grad()
            (model(x) - target).square().mean().backward()
            found[name] = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
    for name, expected in found["reference"].items():
        actual = found["triton"][name]
        assert actual is not None
        assert expected is not None
        assert (actual - expected).norm() <= 1e-4 * expected.norm() + 1e-7, name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_fused_forward_is_the_networks(dtype: torch.dtype) -> None:
    torch.manual_seed(6)
    config = PoseMambaConfig(
        dim=16, depth=1, frames=3, d_state=2, frame_embedding=True, input_skip=True, joint_bias=True
    )
    model = PoseMamba(config).to(DEVICE).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        x = torch.randn(1, 2, 17, 2, device=DEVICE)
        with use_backend("reference"):
            expected = model(x)
    output = FusedForward(model, dtype)(x)
    tolerance = 1e-5 if dtype == torch.float32 else 0.01
    assert (output - expected).norm() <= tolerance * expected.norm()


def test_the_fused_network_refuses_windows_that_are_too_long() -> None:
    model = PoseMamba(PoseMambaConfig(dim=16, depth=1, frames=2)).to(DEVICE)
    with pytest.raises(ValueError, match="3 frames, but built for at most 2"):
        FusedForward(model)(torch.zeros(1, 3, 17, 2, device=DEVICE))


def test_kernels_compile_for_a_gpu_with_the_steps_in_registers(tmp_path: Path) -> None:
    """Machine code for a GPU, made without one.

    Scans and sums over the steps, forwards and backwards, must not go through other lanes of
    the warp: that they do not depends on how Triton lays tiles out.
    """
    script = Path(__file__).parent / "support" / "triton_compile.py"
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    names = ("chunk_states", "chunk_outputs", "chunk_pulls", "carry")
    command = [sys.executable, str(script), "90", *names]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{name} shuffles=0" for name in names]
