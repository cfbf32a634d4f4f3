"""Networks on CUDA: recorded as CUDA graphs, in TF32 or half precision."""

from __future__ import annotations

import functools
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Literal

import torch
from torch import Tensor

from posemamba.model import LifterNetwork, PoseMamba
from posemamba.scan import available_backends, get_backend

_log = logging.getLogger(__name__)

Precision = Literal["float32", "tf32", "float16", "bfloat16"]
"""Of matrix products on CUDA. TF32 rounds their inputs to 10 bits; float16 (10) and bfloat16
(7) also what lies between kernels. The scan's state, norms and residual sums are float32 in
all. CPUs always compute in float32."""
Forward = Callable[[Tensor], Tensor]

_HALF: Final = {"float16": torch.float16, "bfloat16": torch.bfloat16}
CAPTURE_AT_USE: Final = 3
_RECENT_SHAPES: Final = 4
"""A shape is recorded when it has come CAPTURE_AT_USE times while no more than RECENT_SHAPES
others did: a track that starts has a new one each frame."""
_KEPT_GRAPHS: Final = 8
_CUDA_WORDS: Final = ("CUDA", "cuDNN", "CUBLAS", "cublas", "device-side", "Triton Error")


def usable() -> bool:
    """Whether there is a CUDA device that works and has a fast scan; says why not."""
    if not torch.cuda.is_available():
        return False
    try:
        torch.zeros(1, device="cuda").item()  # a GPU can be there and be unusable
    except RuntimeError as error:
        _log.warning("the GPU is not used: %s", first_line(error))
        return False
    if available_backends("cuda") != ("reference",):
        return True
    # The reference is a loop over tokens, each of them several kernels.
    _log.warning("the GPU is not used: neither Triton nor mamba-ssm works on it here")
    return False


def is_device_failure(error: BaseException) -> bool:
    """Whether an error says that the GPU is full or gone, and not that the call was wrong."""
    kinds: list[type[BaseException]] = [torch.cuda.OutOfMemoryError]
    if hasattr(torch, "AcceleratorError"):  # since PyTorch 2.8
        kinds.append(torch.AcceleratorError)
    if isinstance(error, tuple(kinds)):
        return True
    if type(error).__module__.split(".")[0] == "triton":  # which cannot compile or launch
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _CUDA_WORDS)


class CudaForward:
    """A model on CUDA as a function from and to tensors of any device."""

    def __init__(
        self,
        model: LifterNetwork,
        device: torch.device,
        *,
        precision: Precision = "tf32",
        graphs: bool = True,
    ) -> None:
        self._device, self._precision = device, precision
        backend = get_backend(device).name
        fused = False
        if backend == "triton" and isinstance(model, PoseMamba) and not model.config.pooling:
            from posemamba.fused import FusedForward

            fused = True
            self._eager: Forward = FusedForward(model, _HALF.get(precision, torch.float32))
        else:
            self._eager = model
        self._autocast = None if fused else _HALF.get(precision)
        # The reference is a loop over tokens: hundreds of thousands of kernels per pass.
        self._graphs: OrderedDict[tuple[int, ...], _Graph] | None = None
        if graphs and backend != "reference":
            self._graphs = OrderedDict()
        self._uses: OrderedDict[tuple[int, ...], int] = OrderedDict()
        """Of shapes that are not recorded, the latest last."""

    def __call__(self, x: Tensor) -> Tensor:
        shape = tuple(x.shape)
        if self._graphs is None or (shape not in self._graphs and not self._comes_often(shape)):
            return self.eager(x.to(self._device))
        graph = self._graphs.pop(shape, None)
        if graph is None:
            try:
                graph = _Graph(self.eager, x.to(self._device))
            except Exception as error:  # no memory for a pool, something that cannot be recorded
                answer = self.eager(x.to(self._device))  # where the GPU is gone, this fails too
                self._graphs = None
                _log.warning("no CUDA graphs, each kernel is launched: %s", first_line(error))
                return answer
        self._graphs[shape] = graph
        if len(self._graphs) > _KEPT_GRAPHS:
            self._graphs.popitem(last=False)
        return graph(x)

    def _comes_often(self, shape: tuple[int, ...]) -> bool:
        """Count a use of a shape; whether it is time to record it."""
        uses = self._uses.pop(shape, 0) + 1
        if uses >= CAPTURE_AT_USE:
            return True
        self._uses[shape] = uses
        if len(self._uses) > _RECENT_SHAPES:
            self._uses.popitem(last=False)
        return False

    def eager(self, x: Tensor) -> Tensor:
        """The forward pass kernel by kernel; x on the device."""
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high" if self._precision == "tf32" else "highest")
        try:
            with torch.autocast("cuda", self._autocast, enabled=self._autocast is not None):
                return self._eager(x)
        finally:
            torch.set_float32_matmul_precision(before)


class _Graph:
    """A recorded forward pass for one shape."""

    def __init__(self, forward: Forward, example: Tensor) -> None:
        self._input = example.clone()
        self._graph = torch.cuda.CUDAGraph()
        main, side = torch.cuda.current_stream(example.device), _side_stream(example.device)
        with torch.cuda.stream(main):  # comes back to it even where a recording ends in an error
            side.wait_stream(main)
            with torch.cuda.stream(side):  # libraries allocate their workspaces on first use
                forward(self._input)
            main.wait_stream(side)
            # Other threads (a detector's) may allocate meanwhile.
            with torch.cuda.graph(self._graph, stream=side, capture_error_mode="thread_local"):
                self._output = forward(self._input)

    def __call__(self, x: Tensor) -> Tensor:
        """The result is overwritten by the next call."""
        self._input.copy_(x, non_blocking=True)
        self._graph.replay()
        return self._output


@functools.cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """One for all recordings: on every stream cuBLAS keeps a workspace of its own."""
    return torch.cuda.Stream(device)


def first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
