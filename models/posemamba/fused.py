"""PoseMamba's forward for inference on a GPU: the same numbers from fewer, larger steps.

At batch 1 a GPU waits more for kernels to start than for their work. Between its matrix
products and scans a block of `model.PoseMamba` runs a dozen small kernels; here it runs
three. Needs Triton; no gradients.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from posemamba import fused_kernels as kernels
from posemamba.model import Block, PoseMamba
from posemamba.scan import ScanParameters, triton_backend

_ROWS = 4
"""Tokens of one program."""


@dataclass(frozen=True, slots=True)
class _BlockWeights:
    """A block's parameters, those of matrix products in the working type."""

    norm: nn.LayerNorm
    in_proj: Tensor
    conv: nn.Conv2d
    scan: ScanParameters
    out_norm: nn.LayerNorm
    out_proj: Tensor
    norm2: nn.LayerNorm
    fc1: tuple[Tensor, Tensor]
    fc2: Tensor
    fc2_bias: Tensor

    @classmethod
    def of(cls, block: Block, dtype: torch.dtype) -> _BlockWeights:
        op, mlp = block.op, block.mlp
        scan = op.parameters_of_scan()
        return cls(
            block.norm,
            op.in_proj.weight.to(dtype),
            op.conv2d,
            ScanParameters(
                scan.x_proj_weight.to(dtype),
                scan.dt_projs_weight,
                scan.dt_projs_bias,
                scan.a_logs,
                scan.ds,
                scan.integer_decay,
                scan.causal,
            ),
            op.out_norm,
            op.out_proj.weight.to(dtype),
            block.norm2,
            (mlp.fc1.weight.to(dtype), mlp.fc1.bias.to(dtype)),
            mlp.fc2.weight.to(dtype),
            mlp.fc2.bias,
        )


class FusedForward:
    """A network's forward pass, taken over when this is made: later changes do not show.

    Args:
        model: on the device where it will run, in float32.
        dtype: of matrix products and of what lies between kernels. What is added to the
            residual path is always float32 (in bfloat16 it would make half of the error), and
            so are norms and the scan's state.
    """

    def __init__(self, model: PoseMamba, dtype: torch.dtype = torch.float32) -> None:
        self._model, self._dtype = model, dtype
        pairs = zip(model.STEblocks, model.TTEblocks, strict=True)
        with torch.no_grad():
            self._blocks = [
                _BlockWeights.of(cast(Block, block), dtype) for pair in pairs for block in pair
            ]

    @torch.no_grad()
    def __call__(self, inputs: Tensor) -> Tensor:
        """(B, T, 17, in_channels) float32 to (B, T, 17, 3) float32.

        Raises:
            ValueError: more frames than the network was built for.
        """
        model = self._model
        model.check_frames(inputs.shape[1])
        x = (model.embed(inputs) + model.Spatial_pos_embed[:, None]).contiguous()
        x, h = self._add_norm(x, None, after=self._blocks[0].norm)
        for i, block in enumerate(self._blocks):
            channels = block.out_proj.shape[1]
            wide = F.linear(h, block.in_proj)
            values = triton_backend.conv_silu(
                wide[..., :channels], block.conv.weight, block.conv.bias, model.config.causal
            )
            directions = triton_backend.scan_directions(values, block.scan)
            gated = self._merge_gate(directions, wide[..., channels:], block.out_norm)
            x, h = self._add_norm(x, _exact_product(gated, block.out_proj), after=block.norm2)
            hidden = F.gelu(F.linear(h, *block.fc1))
            x, h = self._add_norm(
                x,
                _exact_product(hidden, block.fc2),
                bias=block.fc2_bias,
                shared=model.Temporal_norm if i % 2 else model.Spatial_norm,
                position=model.Temporal_pos_embed if i == 0 and not model.config.causal else None,
                after=self._blocks[i + 1].norm if i + 1 < len(self._blocks) else None,
            )
        return model.output(x, inputs)

    def _add_norm(
        self,
        x: Tensor,
        delta: Tensor | None,
        *,
        bias: Tensor | None = None,
        shared: nn.LayerNorm | None = None,
        position: Tensor | None = None,
        after: nn.LayerNorm | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The residual stream with `delta` added, and its norm for the next product."""
        frames, joints, width = x.shape[1:]
        rows = x.numel() // width
        total = torch.empty_like(x)
        normed = torch.empty_like(x, dtype=self._dtype)
        used = shared or after  # an argument that a flag switches off still has to be some tensor
        assert used is not None
        kernels.add_norm[(-(-rows // _ROWS),)](
            x,
            x if delta is None else delta,
            x if bias is None else bias,
            (shared or used).weight,
            (shared or used).bias,
            x if position is None else position,
            (after or used).weight,
            (after or used).bias,
            total,
            normed,
            rows,
            frames,
            ADD=delta is not None,
            BIAS=bias is not None,
            SHARED=shared is not None,
            POSITION=position is not None,
            NEXT=after is not None,
            SHARED_EPS=(shared or used).eps,
            EPS=(after or used).eps,
            JOINTS=joints,
            WIDTH=width,
            PADDED=_power_of_two(width),
            ROWS=_ROWS,
        )
        return total, normed

    def _merge_gate(self, directions: Tensor, gate: Tensor, norm: nn.LayerNorm) -> Tensor:
        width = gate.shape[-1]
        rows = gate.numel() // width
        out = torch.empty(gate.shape, dtype=self._dtype, device=gate.device)
        kernels.merge_gate[(-(-rows // _ROWS),)](
            directions,
            gate,
            norm.weight,
            norm.bias,
            out,
            rows,
            gate.stride(-2),
            EPS=norm.eps,
            WIDTH=width,
            PADDED=_power_of_two(width),
            ROWS=_ROWS,
        )
        return out


def _exact_product(x: Tensor, weight: Tensor) -> Tensor:
    """x @ weight.T in float32, of inputs in any type."""
    if x.dtype == torch.float32:
        return F.linear(x, weight)
    flat = x.flatten(0, -2)
    if x.is_cuda and _mixed_products():
        y = torch.mm(flat, weight.T, out_dtype=torch.float32)
    else:
        y = torch.mm(flat.float(), weight.float().T)
    return y.view(*x.shape[:-1], -1)


@functools.cache
def _mixed_products() -> bool:
    """Whether this PyTorch multiplies half-precision matrices into float32 ones (from 2.8)."""
    x = torch.ones(16, 16, dtype=torch.bfloat16, device="cuda")
    try:
        torch.mm(x, x, out_dtype=torch.float32)
    except (TypeError, RuntimeError):
        return False
    return True


def _power_of_two(n: int) -> int:
    """The next one from n on: Triton's tiles have no other sizes."""
    return 1 << (n - 1).bit_length()
