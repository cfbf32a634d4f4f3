"""Matrix products of inference on the CPU, by the faster of PyTorch's two libraries.

PyTorch computes float32 products with MKL, which on AMD uses half the width of the vector
units: on a Zen 5 core 97 Gflop/s, where oneDNN, which comes with PyTorch as well, reaches 170
to 230. The operator that calls oneDNN on plain tensors is PyTorch's own but undocumented
(torch.compile uses it), so it is tried once, and done without where it is missing or off.
"""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor

_LEAST_ROWS: Final = 64
"""Below, the call costs more than it saves."""


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, gelu: bool = False) -> Tensor:
    """x @ weight.T + bias, then exact GELU if asked for.

    Args:
        x: (..., K). weight: (N, K). bias: (N,).
    """
    if x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_grad_enabled():
        onednn = _onednn()
        if onednn is not None and x.numel() >= _LEAST_ROWS * x.shape[-1]:
            y: Tensor = onednn(x, weight, bias, "gelu" if gelu else "none", [], "none")
            return y
    y = F.linear(x, weight, bias)
    return F.gelu(y) if gelu else y


@functools.cache
def _onednn() -> Callable[..., Any] | None:
    """The operator, if it is there and right."""
    if platform.machine() not in ("x86_64", "AMD64") or not torch.backends.mkldnn.is_available():
        return None
    with torch.inference_mode():
        x, weight, bias = (torch.linspace(-1, 1, n).view(s) for n, s in _TRIAL)
        try:
            operator = torch.ops.mkldnn._linear_pointwise.default
            y = operator(x, weight, bias, "gelu", [], "none")
        except (AttributeError, RuntimeError, TypeError):
            return None
        right = torch.allclose(y, F.gelu(F.linear(x, weight, bias)), atol=1e-5)
    return operator if right else None


_TRIAL: Final = ((512, (32, 16)), (128, (8, 16)), (8, (8,)))
"""Elements and shapes of a product to try the operator on."""
