"""Causal networks frame by frame: without PyTorch where the CPU's kernels run them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posemamba.checkpoint import Checkpoint
from posemamba.cpu import loading
from posemamba.normalize import mirrored_inputs, reflected

Float = NDArray[np.float32]


class CausalNetwork:
    """A causal checkpoint as a function from frames and memories to poses.

    Args:
        checkpoint: of a causal network.
        mirrored: average with the mirrored pass (twice the work, and a memory of its own).

    Raises:
        ValueError: it is not causal.
    """

    def __init__(self, checkpoint: Checkpoint, *, mirrored: bool = False) -> None:
        if not checkpoint.meta.causal:
            raise ValueError(f"{checkpoint.meta.name} is not a causal network")
        self.channels = checkpoint.meta.config.in_channels
        self._mirrored = mirrored
        config, state = checkpoint.meta.config, checkpoint.state
        forward = loading.forward_module(config) if state is not None else None
        self._steps: Any = (
            _TorchSteps(checkpoint) if forward is None else forward.CpuStream(config, state)
        )

    def first_state(self) -> Any:
        """What is remembered of one stream before its first frame."""
        passes = 1 + self._mirrored
        return tuple(self._steps.first_state() for _ in range(passes))

    def step(self, inputs: Float, states: Sequence[Any]) -> tuple[Float, list[Any]]:
        """Lift the next frame of B streams together.

        Args:
            inputs: (B, 17, channels). states: of each stream; they are used up.

        Returns:
            (B, 17 or 18, 3) in the network's own unit, and the states for the next frame.
        """
        if not self._mirrored:
            answers, after = self._steps.step(inputs, [own for (own,) in states])
            return answers, [(own,) for own in after]
        both = np.concatenate([inputs, mirrored_inputs(inputs)])
        answers, after = self._steps.step(both, [s[i] for i in (0, 1) for s in states])
        straight, flipped = np.split(answers, 2)
        pairs = zip(after[: len(states)], after[len(states) :], strict=True)
        return np.asarray(0.5 * (straight + reflected(flipped)), np.float32), list(pairs)


class _TorchSteps:
    """Networks that the kernels do not run."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint

    def first_state(self) -> Any:
        return self._checkpoint.model.init_state(1)

    def step(self, inputs: Float, states: Sequence[Any]) -> tuple[Float, list[Any]]:
        import torch

        from posemamba.model import split_states, stack_states

        together = len(states) > 1
        with torch.inference_mode():
            state = stack_states(states) if together else states[0]
            out, state = self._checkpoint.model.step(torch.from_numpy(inputs), state)
            after = split_states(state, len(states)) if together else [state]
        return np.asarray(out.float().numpy(), np.float32), after
