"""What every scan backend computes, and the shapes that they agree on.

The scan of a PoseMamba block runs four times over the grid of frames x joints and sums:

    0  frame after frame (within a frame joint 0..16), on limb values
    1  joint after joint (within a joint frame 0..T-1), on plain values
    2  order 0 backwards
    3  order 1 backwards

"Limb values" are each joint plus its partner in `LIMB_PARTNER` (paper, section on local
scanning; the list is the published code's own, not the skeleton's parents). The state
runs on across frame and joint borders.

The causal variant (ours, for streams) looks at no later frame: order 2 goes through the
frames forwards and through the joints of each backwards, orders 1 and 3 both run forward in
time, and each joint has a state of its own there.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Final, Protocol

import torch
from torch import Tensor

from posemamba.skeleton import LIMB_PARTNER

DIRECTIONS: Final = 4


@functools.cache
def limb_partner(device: torch.device) -> Tensor:
    """(17,) int32 `LIMB_PARTNER`, kept: a CUDA graph cannot record a copy from the host."""
    with torch.inference_mode(False):  # training may come later
        return torch.tensor(LIMB_PARTNER, dtype=torch.int32, device=device)


@dataclass(frozen=True, slots=True)
class ScanParameters:
    """The parameters of the four scans (names as in the published state dict).

    K = 4 directions, D channels, N states, R = dt rank, E = R + 2N.
    """

    x_proj_weight: Tensor
    """(K, E, D): values to dt (R), B (N), C (N)."""
    dt_projs_weight: Tensor
    """(K, D, R)."""
    dt_projs_bias: Tensor
    """(K, D)."""
    a_logs: Tensor
    """(K*D, N): the state matrix is A = -exp(a_logs), diagonal."""
    ds: Tensor
    """(K*D,): skip."""
    integer_decay: bool = False
    """True if A is exactly -1, -2, ... -N in every channel (its initial value) and not
    trained: exp(dt A) is then a power of one exponential, a third of the work."""
    causal: bool = False

    def tensors(self) -> tuple[Tensor, ...]:
        """All that can be trained."""
        return (
            self.x_proj_weight,
            self.dt_projs_weight,
            self.dt_projs_bias,
            self.a_logs,
            self.ds,
        )

    def a(self, channels: int) -> Tensor:
        """State matrix (K, D, N), negative."""
        return -torch.exp(self.a_logs).view(DIRECTIONS, channels, -1)

    def skip(self, channels: int) -> Tensor:
        """(K, D)."""
        return self.ds.view(DIRECTIONS, channels)

    @property
    def dt_rank(self) -> int:
        return self.dt_projs_weight.shape[-1]

    @property
    def d_state(self) -> int:
        return self.a_logs.shape[-1]


class ScanFunction(Protocol):
    """Four-directional selective scan.

    Args of a call: values (B, T, 17, D) float32 and the parameters.
    Returns (B, T, 17, D): the sum of the four scans, each in its place on the grid.
    """

    def __call__(self, values: Tensor, parameters: ScanParameters) -> Tensor: ...


def limb_matrix(like: Tensor) -> Tensor:
    """(17, 17) matrix that adds to each joint its limb partner."""
    matrix = torch.eye(len(LIMB_PARTNER), dtype=like.dtype, device=like.device)
    rows = torch.arange(len(LIMB_PARTNER), device=like.device)
    matrix[rows, torch.tensor(LIMB_PARTNER, device=like.device)] += 1
    return matrix
