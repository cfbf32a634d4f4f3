"""mamba-ssm's selective scan as a backend, where its CUDA extension is really present.

mamba-ssm installs without its extension and then fails at the first call, so `probe` makes
one. Its kernel takes one sequence per (batch, channel): the four directions are laid out
as groups of channels in memory, each with its own B and C (`variable B, C` of shape
(batch, groups, states, length)).
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from posemamba.scan.interface import DIRECTIONS, ScanParameters, limb_partner
from posemamba.scan.reference import conv_silu, init_state, step

__all__ = ["conv_silu", "init_state", "probe", "scan", "step"]

_EXTENSION: Final = "selective_scan_cuda"
_INTERFACE: Final = "mamba_ssm.ops.selective_scan_interface"


def _selective_scan() -> Callable[..., Tensor]:
    function: Callable[..., Tensor] = import_module(_INTERFACE).selective_scan_fn
    return function


def probe(device: torch.device | str) -> None:
    """Make a tiny call.

    Raises:
        Exception: of any kind, where mamba-ssm or its extension cannot be used on `device`.
    """
    import_module(_EXTENSION)
    x = torch.ones(1, DIRECTIONS, 1, device=device)
    b = torch.ones(1, DIRECTIONS, 1, 1, device=device)
    ones = torch.ones(DIRECTIONS, device=device)
    y = _selective_scan()(x, x, -ones[:, None], b, b, ones, None, ones, True)
    # dt = softplus(1 + 1) from an empty state: y = dt * B * x * C + D * x
    expected = F.softplus(torch.tensor(2.0)).item() + 1.0
    if abs(y.flatten()[0].item() - expected) > 1e-2:
        raise RuntimeError("selective_scan_fn gave a wrong answer")


def scan(values: Tensor, parameters: ScanParameters) -> Tensor:
    """Four-directional selective scan with mamba-ssm's kernel (see interface.ScanFunction)."""
    limb = values + values.index_select(2, limb_partner(values.device))
    grids = [_oriented(values if k % 2 else limb, k, parameters.causal) for k in range(DIRECTIONS)]
    if parameters.causal:  # the temporal scans start anew at every joint
        frame_major = _scan_grids(grids, slice(0, None, 2), parameters, per_row=False)
        joint_major = _scan_grids(grids, slice(1, None, 2), parameters, per_row=True)
        outputs = [frame_major[0], joint_major[0], frame_major[1], joint_major[1]]
    else:
        outputs = _scan_grids(grids, slice(None), parameters, per_row=False)
    total = torch.zeros_like(values)
    for k, y in enumerate(outputs):
        total = total + _oriented_back(y, k, parameters.causal)
    return total


def _oriented(grid: Tensor, k: int, causal: bool) -> Tensor:
    """(B, T, J, D) with its tokens in the order of direction k when read row by row."""
    if k % 2:
        grid = grid.transpose(1, 2)
    return _flipped(grid, k, causal)


def _oriented_back(grid: Tensor, k: int, causal: bool) -> Tensor:
    grid = _flipped(grid, k, causal)
    return grid.transpose(1, 2) if k % 2 else grid


def _flipped(grid: Tensor, k: int, causal: bool) -> Tensor:
    if causal:
        return grid.flip(2) if k == 2 else grid
    return grid.flip(1, 2) if k >= 2 else grid


def _scan_grids(
    grids: list[Tensor], chosen: slice, parameters: ScanParameters, *, per_row: bool
) -> list[Tensor]:
    """One call for several directions, each a group of channels.

    Args:
        grids: of all directions, oriented. The chosen ones must be of one shape if per_row.
        chosen: of the directions. A slice: an index list would be copied from the host.
        per_row: each row is a sequence of its own.
    """
    own = grids[chosen]
    channels = own[0].shape[-1]
    sequences = [grid.flatten(0, 1) if per_row else grid.flatten(1, 2) for grid in own]
    x = torch.stack(sequences, 1).transpose(2, 3).contiguous()  # (B, K, D, L)
    rank, n = parameters.dt_rank, parameters.d_state
    projected = torch.einsum("bkdl,ked->bkel", x, parameters.x_proj_weight[chosen].to(x.dtype))
    low, b, c = projected.split([rank, n, n], 2)
    dt = torch.einsum("bkrl,kdr->bkdl", low, parameters.dt_projs_weight[chosen].to(x.dtype))
    y = _selective_scan()(
        x.flatten(1, 2),
        dt.flatten(1, 2).contiguous(),
        parameters.a(channels)[chosen].flatten(0, 1).float(),
        b.contiguous(),
        c.contiguous(),
        parameters.skip(channels)[chosen].flatten().float(),
        None,
        parameters.dt_projs_bias[chosen].flatten().float(),
        True,
    )
    parts = y.unflatten(1, (len(own), channels)).transpose(2, 3).unbind(1)
    return [part.reshape(grid.shape) for part, grid in zip(parts, own, strict=True)]
