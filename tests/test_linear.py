"""The product of inference against PyTorch's own, with and without the faster library."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F

from posemamba import linear as module
from posemamba.linear import linear


@pytest.fixture(params=["as found", "without oneDNN"])
def libraries(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    module._onednn.cache_clear()
    if request.param == "without oneDNN":
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    yield
    module._onednn.cache_clear()


@pytest.mark.usefixtures("libraries")
@pytest.mark.parametrize("shape", [(1, 17, 24), (2, 27, 17, 24), (459, 24), (0, 24)])
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("gelu", [False, True])
def test_is_the_product_with_bias_and_gelu(
    shape: tuple[int, ...], with_bias: bool, gelu: bool
) -> None:
    torch.manual_seed(0)
    x, weight = 3 * torch.randn(shape), torch.randn(40, 24)
    bias = torch.randn(40) if with_bias else None
    exact = F.linear(x.double(), weight.double(), None if bias is None else bias.double())
    if gelu:
        exact = 0.5 * exact * (1 + torch.erf(exact / 2**0.5))
    with torch.inference_mode():
        y = linear(x, weight, bias, gelu=gelu)
    torch.testing.assert_close(y.double(), exact, atol=2e-5, rtol=1e-5)


@pytest.mark.usefixtures("libraries")
def test_views_are_read_as_what_they_show() -> None:
    big = torch.randn(27, 17, 64)
    with torch.no_grad():
        for x in (big[..., :24], big.transpose(0, 1)[..., 8:32], big[::2, :, 40:]):
            weight = torch.randn(80, 24).chunk(2)[1]
            torch.testing.assert_close(linear(x, weight), x @ weight.T)


def test_other_types_than_float32_are_pytorchs() -> None:
    x, weight = torch.randn(100, 24).double(), torch.randn(8, 24).double()
    with torch.inference_mode():
        torch.testing.assert_close(linear(x, weight), x @ weight.T)


def test_gradients_flow() -> None:
    x, weight = torch.randn(100, 24, requires_grad=True), torch.randn(8, 24, requires_grad=True)
    bias = torch.randn(8, requires_grad=True)
    actual = torch.autograd.grad(linear(x, weight, bias, gelu=True).sum(), (x, weight, bias))
    wanted = torch.autograd.grad(F.gelu(F.linear(x, weight, bias)).sum(), (x, weight, bias))
    for a, w in zip(actual, wanted, strict=True):
        torch.testing.assert_close(a, w)


def test_an_operator_that_went_away_or_went_wrong_is_done_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Namespace:
        class _linear_pointwise:
            @staticmethod
            def default(x: torch.Tensor, weight: torch.Tensor, *_: object) -> torch.Tensor:
                return x @ weight.T  # forgets the bias and GELU

    for stand_in in (Namespace, object()):
        module._onednn.cache_clear()
        monkeypatch.setattr(torch.ops, "mkldnn", stand_in, raising=False)
        assert module._onednn() is None
    module._onednn.cache_clear()
