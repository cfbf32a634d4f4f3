"""Running a network for the application: on the GPU as fast as it goes, else on the CPU.

On CUDA the forward pass of a shape that comes again is recorded as a CUDA graph, in
float32, TF32 or bfloat16; warm-up happens before the first frame. A GPU that runs out of
memory or goes away costs one warning: everything continues on the CPU.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
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
_CAPTURE_AT_USE: Final = 3
_RECENT_SHAPES: Final = 4
"""A shape is recorded when it has come CAPTURE_AT_USE times while no more than RECENT_SHAPES
others did: a track that starts has a new one each frame."""
_KEPT_GRAPHS: Final = 8
_CUDA_WORDS: Final = ("CUDA", "cuDNN", "CUBLAS", "cublas", "device-side", "Triton Error")


class DeviceError(RuntimeError):
    """The device that was asked for is not there."""


def pick_device(name: str = "auto") -> torch.device:
    """The device for "auto" (CUDA where it works and has a fast scan), "cpu" or "cuda".

    Raises:
        DeviceError: if CUDA is asked for and is not there.
    """
    if name != "auto":
        device = torch.device(name)
        if device.type == "cuda" and not torch.cuda.is_available():
            build = torch.version.cuda and f"was built for CUDA {torch.version.cuda}"
            raise DeviceError(f"PyTorch finds no CUDA device; it {build or 'has no CUDA support'}")
        return device
    if torch.cuda.is_available():
        try:
            torch.zeros(1, device="cuda").item()  # a GPU can be there and be unusable
        except RuntimeError as error:
            _log.warning("the GPU is not used: %s", _first_line(error))
        else:
            if available_backends("cuda") != ("reference",):
                return torch.device("cuda")
            # The reference is a loop over tokens, each of them several kernels.
            _log.warning("the GPU is not used: neither Triton nor mamba-ssm works on it here")
    return torch.device("cpu")


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


class LifterRuntime:
    """A network as a function of arrays that always answers.

    Args:
        model: on the CPU, where it stays as the way out; it is not changed.
        device: "auto", "cpu" or "cuda".
        precision: of matrix products on CUDA.
        graphs: whether to record CUDA graphs.
        make_forward: makes the device's forward pass from its copy of the model.

    Raises:
        DeviceError: if CUDA is asked for and is not there.
    """

    def __init__(
        self,
        model: LifterNetwork,
        device: str | torch.device = "auto",
        precision: Precision = "tf32",
        *,
        graphs: bool = True,
        make_forward: Callable[[LifterNetwork, torch.device], Forward] | None = None,
    ) -> None:
        self.model = model.eval()
        self.device = pick_device(str(device))
        """Where the next call runs."""
        self._forward: Forward | None = None
        if self.device.type == "cpu":
            return
        make = make_forward or functools.partial(CudaForward, precision=precision, graphs=graphs)
        with self._guarded():
            self._forward = make(copy.deepcopy(model).to(self.device), self.device)

    @property
    def backend(self) -> str:
        """Name of the scan backend of the next call."""
        return get_backend(self.device).name

    def __call__(self, inputs: NDArray[np.float32] | Tensor) -> NDArray[np.float32]:
        """Lift windows: (B, T, 17, in_channels) to (B, T, 17, 3) float32."""
        x = torch.as_tensor(inputs, dtype=torch.float32)
        if self._forward is not None:
            with self._guarded(), torch.inference_mode():
                return _array(self._forward(x))
        with torch.inference_mode():
            return _array(self.model(x.cpu()))

    def warm_up(self, batch: int, frames: int) -> None:
        """Do once what only the first call of a shape has to do: compile, allocate, record."""
        x = torch.zeros(batch, frames, 17, self.model.config.in_channels)
        for _ in range(1 if self._forward is None else _CAPTURE_AT_USE):
            self(x)

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """Swallows failures of the device, after which this runtime is on the CPU."""
        try:
            yield
        except Exception as error:  # Triton's own are no RuntimeErrors
            if not is_device_failure(error):
                raise
            self._forward = None
            self.device = torch.device("cpu")
            full = isinstance(error, torch.cuda.OutOfMemoryError)
            cause = "ran out of memory" if full else f"failed ({_first_line(error)})"
            _log.warning("the GPU %s; lifting goes on on the CPU", cause)
            with contextlib.suppress(RuntimeError):  # a lost device cannot be tidied up
                torch.cuda.empty_cache()


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
                _log.warning("no CUDA graphs, each kernel is launched: %s", _first_line(error))
                return answer
        self._graphs[shape] = graph
        if len(self._graphs) > _KEPT_GRAPHS:
            self._graphs.popitem(last=False)
        return graph(x)

    def _comes_often(self, shape: tuple[int, ...]) -> bool:
        """Count a use of a shape; whether it is time to record it."""
        uses = self._uses.pop(shape, 0) + 1
        if uses >= _CAPTURE_AT_USE:
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


def _array(out: Tensor) -> NDArray[np.float32]:
    array: NDArray[Any] = out.float().cpu().numpy()
    return np.asarray(array, np.float32)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
