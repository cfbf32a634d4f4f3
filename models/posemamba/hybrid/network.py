"""Layers of one kind between the ends that all networks share; and the way to any network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, cast

import torch
from torch import Tensor, nn

from posemamba.config import PoseMambaConfig
from posemamba.hybrid.layers import Layer, attention_mamba, pose_magic
from posemamba.model import LifterNetwork, OperatorState, PoseMamba
from posemamba.skeleton import NUM_JOINTS

LAYERS: Final[dict[str, Callable[[PoseMambaConfig], Layer]]] = {
    "pose-magic": pose_magic,
    "attention-mamba": attention_mamba,
}
"""What a checkpoint's `architecture` may be besides "posemamba"."""
_FEATURES: Final = 512
"""Before the coordinates, as MotionAGFormer has them."""


class HybridNetwork(LifterNetwork):
    """A stack of layers; it has no positions in time."""

    def __init__(self, config: PoseMambaConfig) -> None:
        super().__init__(config)
        self._add_input()
        self.layers = nn.ModuleList(
            LAYERS[config.architecture](config) for _ in range(config.depth)
        )
        wide = config.architecture == "pose-magic"
        head = [nn.Linear(config.dim, _FEATURES), nn.Tanh(), nn.Linear(_FEATURES, 3)]
        self._add_output(head if wide else [nn.Linear(config.dim, 3)])

    def mix(self, h: Tensor) -> Tensor:
        for layer in self.layers:
            h = layer(h)
        return h

    def step_mix(self, h: Tensor, state: list[OperatorState]) -> Tensor:
        h = h[:, None]
        for layer, own in zip(self._layers(), state, strict=True):
            h = layer.step(h, own.scan)
        return h[:, 0]

    def first_state(self, batch: int) -> list[OperatorState]:
        # All that a layer remembers is in its parts; `frames` is for one-operator blocks.
        none = torch.zeros(batch, 0, NUM_JOINTS, 1, device=self.Spatial_pos_embed.device)
        return [OperatorState(none, layer.init_memory(batch)) for layer in self._layers()]

    def _layers(self) -> Iterator[Layer]:
        for layer in self.layers:
            yield cast(Layer, layer)


def build(config: PoseMambaConfig) -> LifterNetwork:
    """The network that a config describes."""
    return PoseMamba(config) if config.architecture == "posemamba" else HybridNetwork(config)
