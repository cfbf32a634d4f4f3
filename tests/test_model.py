"""The network against the published code's numbers, and every backend against the reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from posemamba.config import PRESETS, PoseMambaConfig
from posemamba.model import PoseMamba
from posemamba.scan import available_backends, use_backend

PARITY = Path(__file__).resolve().parent.parent.parent / "shared" / "parity"
TOLERANCE = {"tiny": 2e-5, "tiny_eps": 1e-5, "S": 2e-4}
BACKENDS = available_backends("cpu")


def fixture(name: str) -> tuple[dict[str, torch.Tensor], PoseMamba]:
    path = PARITY / f"posemamba_{name}.npz"
    if not path.exists():
        pytest.skip("the parity fixtures of the official code are not part of the repository")
    arrays = {k: torch.from_numpy(v) for k, v in np.load(path).items()}
    dim, depth, frames = (int(n) for n in arrays["meta"][:3])
    model = PoseMamba(PoseMambaConfig(dim=dim, depth=depth, frames=frames)).eval()
    weights = {k.removeprefix("w/"): v for k, v in arrays.items() if k.startswith("w/")}
    model.load_state_dict(weights, strict=True)
    return arrays, model


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", TOLERANCE)
def test_matches_the_published_code(name: str, backend: str) -> None:
    arrays, model = fixture(name)
    with use_backend(backend), torch.no_grad():
        for suffix in ("", "_short"):
            if f"input{suffix}" in arrays:
                output = model(arrays[f"input{suffix}"])
                torch.testing.assert_close(
                    output, arrays[f"output{suffix}"], atol=TOLERANCE[name], rtol=0
                )


def test_intermediate_stages_match_the_published_code() -> None:
    arrays, model = fixture("tiny")
    x = arrays["input"]
    with torch.no_grad():
        h = model.Spatial_norm(
            model.STEblocks[0](model.embed(x) + model.Spatial_pos_embed[:, None])
        )
        torch.testing.assert_close(h, arrays["after_spatial_0"], atol=2e-5, rtol=0)
        h = model.Temporal_norm(model.TTEblocks[0](h + model.Temporal_pos_embed[:, :, None]))
        torch.testing.assert_close(h, arrays["after_temporal_0"], atol=2e-5, rtol=0)


@pytest.mark.parametrize(("preset", "millions"), [("S", 1.470), ("B", 4.743), ("L", 9.450)])
def test_sizes_are_the_papers(preset: str, millions: float) -> None:
    with torch.device("meta"):
        model = PoseMamba(PoseMambaConfig(**PRESETS[preset]))
    count = sum(p.numel() for p in model.parameters())
    assert count / 1e6 == pytest.approx(millions, abs=6e-4)


def random_model(**options: bool) -> PoseMamba:
    """A small network whose parameters are all away from their initial values."""
    torch.manual_seed(0)
    model = PoseMamba(PoseMambaConfig(dim=32, depth=1, frames=19, in_channels=4, **options))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not (options.get("integer_decay") and name.endswith("A_logs")):
                parameter.add_(0.2 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("backend", [b for b in BACKENDS if b != "reference"])
@pytest.mark.parametrize("integer_decay", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_backend_gradients_match_the_reference(
    backend: str, integer_decay: bool, causal: bool
) -> None:
    model = random_model(integer_decay=integer_decay, causal=causal)
    # 19 frames: two chunks of the backward pass per joint, the last one not full
    x, target = torch.randn(3, 19, 17, 4), torch.randn(3, 19, 17, 3)
    gradients = {}
    for name in ("reference", backend):
        with use_backend(name):
            model.zero_grad()
            (model(x) - target).square().mean().backward()
            gradients[name] = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
    for name, expected in gradients["reference"].items():
        assert expected is not None
        actual = gradients[backend][name]
        assert actual is not None, name
        # float32 sums over 459 tokens in another order
        assert (actual - expected).norm() <= 1e-4 * expected.norm() + 1e-7, name


def test_the_scan_reference_is_the_recurrence_of_the_paper() -> None:
    """Against float64 with explicit matrices, one channel and state at a time."""
    from posemamba.scan.reference import selective_scan

    rng = np.random.default_rng(0)
    length, channels, n = 6, 2, 3
    x, dt = rng.normal(size=(length, channels)), rng.uniform(0.01, 1, (length, channels))
    a, d = -rng.uniform(0.5, 3, (channels, n)), rng.normal(size=channels)
    b, c = rng.normal(size=(length, n)), rng.normal(size=(length, n))
    expected = np.zeros((length, channels))
    for ch in range(channels):
        h = np.zeros(n)
        for t in range(length):
            h = np.exp(np.diag(dt[t, ch] * a[ch])) * np.eye(n) @ h + dt[t, ch] * b[t] * x[t, ch]
            expected[t, ch] = c[t] @ h + d[ch] * x[t, ch]
    to = lambda v: torch.from_numpy(v)[None]  # noqa: E731
    y, _ = selective_scan(to(x), to(dt), torch.from_numpy(a), to(b), to(c), torch.from_numpy(d))
    np.testing.assert_allclose(y[0].numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("integer_decay", [False, True])
def test_stepping_through_a_stream_equals_the_sequence(backend: str, integer_decay: bool) -> None:
    model = random_model(
        causal=True, integer_decay=integer_decay, frame_embedding=True, input_skip=True
    ).eval()
    x = torch.randn(2, 40, 17, 4)  # longer than config.frames: a stream has no end
    with use_backend(backend), torch.no_grad():
        whole = model(x)
        state = model.init_state(2)
        for t in range(x.shape[1]):
            y, state = model.step(x[:, t], state)
            torch.testing.assert_close(y, whole[:, t], atol=1e-4, rtol=0)


def test_a_causal_network_does_not_look_ahead() -> None:
    model = random_model(causal=True)
    x = torch.randn(1, 12, 17, 4)
    changed = x.clone()
    changed[:, 7:] += 1.0
    with torch.no_grad():
        a, b = model(x), model(changed)
    torch.testing.assert_close(a[:, :7], b[:, :7], atol=0, rtol=0)
    assert (a[:, 7] - b[:, 7]).abs().max() > 1e-3


def test_a_window_network_refuses_to_step() -> None:
    with pytest.raises(ValueError, match="causal"):
        random_model().init_state()


def test_a_window_longer_than_the_positions_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 19"):
        random_model()(torch.zeros(1, 20, 17, 4))


def test_our_options_change_the_state_dict_only_when_asked_for() -> None:
    plain = set(random_model().state_dict())
    full = set(random_model(frame_embedding=True, joint_bias=True).state_dict())
    assert full - plain == {"frame_embedding.weight", "frame_embedding.bias", "joint_bias"}


def test_the_cpu_kernel_uses_wide_vectors() -> None:
    """LLVM must turn the 16 lanes into 256-bit or wider code where the CPU has it."""
    from posemamba.cpu import scan_kernels

    features = scan_kernels.cpu_features()
    if "+avx2" not in features:
        pytest.skip("this CPU has no AVX2")
    assembly = scan_kernels.forward_assembly()
    wide = assembly.count("ymm") + assembly.count("zmm")
    assert wide > 100
    assert wide > assembly.count("xmm")
