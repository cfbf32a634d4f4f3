"""How the mamba-ssm backend lays out its arguments, and when it is taken for usable.

A stand-in with mamba-ssm's signature computes what its documentation says, in float64.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from posemamba.scan import ScanParameters, backends, mamba_backend, reference


def selective_scan_fn(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    return_last_state: bool = False,
) -> Tensor:
    """u, delta (batch, dim, L); A (dim, N); B, C (batch, groups, N, L); D, delta_bias (dim,)."""
    assert z is None
    assert not return_last_state
    batch, dim, length = u.shape
    groups = B.shape[1]
    assert delta.shape == u.shape
    assert A.dtype == torch.float32
    assert D is not None
    assert D.shape == (dim,)
    assert delta_bias is not None
    assert delta_bias.shape == (dim,)
    assert all(t.stride(-1) == 1 or t.shape[-1] == 1 for t in (u, delta, B, C))
    dt = F.softplus(delta.double() + delta_bias.double()[:, None]) if delta_softplus else delta
    share = dim // groups
    b, c = (t.double().repeat_interleave(share, 1) for t in (B, C))  # (batch, dim, N, L)
    state = u.new_zeros(batch, dim, A.shape[1], dtype=torch.float64)
    outputs = []
    for t in range(length):
        step = dt[:, :, t, None]
        state = torch.exp(step * A.double()) * state + step * b[..., t] * u[:, :, t, None]
        outputs.append((state * c[..., t]).sum(-1) + D.double() * u[:, :, t])
    return torch.stack(outputs, -1).to(u.dtype)


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Tensor]], None]:
    """Installs a function as mamba-ssm's, with an extension module beside it."""

    def put(function: Callable[..., Tensor]) -> None:
        interface = ModuleType("mamba_ssm.ops.selective_scan_interface")
        interface.selective_scan_fn = function  # type: ignore[attr-defined]
        for name in ("mamba_ssm", "mamba_ssm.ops", "selective_scan_cuda"):
            monkeypatch.setitem(sys.modules, name, ModuleType(name))
        monkeypatch.setitem(sys.modules, interface.__name__, interface)

    return put


@pytest.mark.parametrize("causal", [False, True])
def test_scan_and_gradients_match_the_reference(
    install: Callable[[Callable[..., Tensor]], None], causal: bool
) -> None:
    install(selective_scan_fn)
    torch.manual_seed(0)
    channels, states, rank = 8, 3, 2
    leaves = [
        0.3 * torch.randn(4, rank + 2 * states, channels),
        0.5 * torch.randn(4, channels, rank),
        torch.randn(4, channels) - 1.0,
        0.5 * torch.randn(4 * channels, states),
        torch.randn(4 * channels),
        torch.randn(2, 3, 17, channels),
    ]
    weight = torch.randn(2, 3, 17, channels)
    results = []
    for scan in (reference.scan, mamba_backend.scan):
        for leaf in leaves:
            leaf.requires_grad_().grad = None
        y = scan(leaves[-1], ScanParameters(*leaves[:-1], False, causal))
        (y * weight).sum().backward()
        results.append([y.detach(), *(leaf.grad for leaf in leaves)])
    for expected, actual in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-4)


def test_the_probe_takes_a_working_kernel(
    install: Callable[[Callable[..., Tensor]], None],
) -> None:
    install(selective_scan_fn)
    mamba_backend.probe("cpu")


def broken(*_: object, **__: object) -> Tensor:
    raise AttributeError("'NoneType' object has no attribute 'fwd'")


def wrong(u: Tensor, *_: object) -> Tensor:
    return torch.zeros_like(u)


@pytest.mark.parametrize(("function", "error"), [(broken, AttributeError), (wrong, RuntimeError)])
def test_the_probe_refuses_a_kernel_that_fails_at_its_first_call(
    install: Callable[[Callable[..., Tensor]], None],
    function: Callable[..., Tensor],
    error: type[Exception],
) -> None:
    install(function)
    with pytest.raises(error):
        mamba_backend.probe("cpu")


def test_the_probe_refuses_a_package_without_its_extension(
    install: Callable[[Callable[..., Tensor]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(selective_scan_fn)
    monkeypatch.setitem(sys.modules, "selective_scan_cuda", None)
    with pytest.raises(ImportError):
        mamba_backend.probe("cpu")


@pytest.mark.parametrize("works", [False, True])
def test_backends_of_a_gpu_are_found_by_trying_them(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, works: bool
) -> None:
    def probe(device: object) -> None:
        if not works:
            raise RuntimeError("no extension\nand more")

    found = {"mamba_ssm": True, "triton": False, "numba": True}
    monkeypatch.setattr(backends.importlib.util, "find_spec", lambda name: found[name] or None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(mamba_backend, "probe", probe)
    backends._usable.cache_clear()
    try:
        names = backends.available_backends("cuda")
        assert names == (("mamba", "reference") if works else ("reference",))
        assert backends.available_backends("cpu") == ("numba", "reference")
        assert ("mamba_ssm is installed but cannot be used" in caplog.text) is not works
    finally:
        backends._usable.cache_clear()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_only_the_reference_is_left_for_cuda() -> None:
    assert backends.available_backends("cuda") == ("reference",)
