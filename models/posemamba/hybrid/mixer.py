"""What a mixer is: an operator on tokens, with a memory where it looks back in time."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor


class Mixer(Protocol):
    """Mixes tokens (B, T, 17, C) over joints or frames; the same shape comes out.

    Causal mixers of frames also go frame by frame. A memory is a list of tensors, batch first.
    """

    def __call__(self, x: Tensor) -> Tensor: ...

    def step(self, x: Tensor, memory: Any) -> Tensor:
        """The next frame (B, 1, 17, C); the memory is updated in place."""
        ...

    def init_memory(self, batch: int) -> list[Tensor]: ...


class WithinFrame:
    """For mixers of joints: a frame on its own is all they need."""

    def step(self, x: Tensor, memory: Any) -> Tensor:
        out: Tensor = self(x)  # type: ignore[operator]
        return out

    def init_memory(self, batch: int) -> list[Tensor]:
        return []
