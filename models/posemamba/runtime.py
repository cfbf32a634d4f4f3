"""Running a network for the application: on the GPU as fast as it goes, else on the CPU.

On CUDA the forward pass of a shape that comes again is recorded as a CUDA graph; warm-up
happens before the first frame. A GPU that runs out of memory or goes away costs one warning:
everything continues on the CPU. There PoseMamba runs without PyTorch (`posemamba.cpu`), which is
not imported where no GPU can be: that alone would take longer than all the rest of a start.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import logging
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from posemamba.checkpoint import Checkpoint
from posemamba.config import PoseMambaConfig
from posemamba.cpu import loading
from posemamba.devices import cuda_possible

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from posemamba.cuda import Forward, Precision
    from posemamba.model import LifterNetwork

_log = logging.getLogger(__name__)

Float = NDArray[np.float32]


class DeviceError(RuntimeError):
    """The device that was asked for is not there."""


def pick_device(name: str = "auto") -> str:
    """The device for "auto" ("cuda" where it works and has a fast scan, or "cpu"), "cpu" or "cuda".

    Raises:
        DeviceError: if CUDA is asked for and is not there.
    """
    if name == "cpu" or (name == "auto" and not cuda_possible()):
        return "cpu"
    import torch

    from posemamba import cuda

    if name == "auto":
        return "cuda" if cuda.usable() else "cpu"
    if torch.device(name).type == "cuda" and not torch.cuda.is_available():
        build = torch.version.cuda and f"was built for CUDA {torch.version.cuda}"
        raise DeviceError(f"PyTorch finds no CUDA device; it {build or 'has no CUDA support'}")
    return name


class LifterRuntime:
    """A network as a function of arrays that always answers.

    Args:
        network: on the CPU, where it stays as the way out; it is not changed. PoseMamba as a
            checkpoint runs without PyTorch there, a model always with it.
        device: "auto", "cpu" or "cuda".
        precision: of matrix products on CUDA.
        graphs: whether to record CUDA graphs.
        make_forward: makes the device's forward pass from its copy of the model.

    Raises:
        DeviceError: if CUDA is asked for and is not there.
    """

    def __init__(
        self,
        network: Checkpoint | LifterNetwork,
        device: str = "auto",
        precision: Precision = "tf32",
        *,
        graphs: bool = True,
        make_forward: Callable[[LifterNetwork, torch.device], Forward] | None = None,
    ) -> None:
        self._network = network
        self.device = pick_device(device)
        """Where the next call runs: "cpu" or "cuda"."""
        self._forward: Forward | None = None
        if self.device == "cpu":
            if not self._config.causal:  # which `streams.CausalNetwork` runs
                _ = self._on_cpu  # what is wrong with it shows here
            return
        import torch

        from posemamba.cuda import CudaForward

        make = make_forward or functools.partial(CudaForward, precision=precision, graphs=graphs)
        with self._guarded():
            on_device = copy.deepcopy(self._model).to(torch.device(self.device))
            self._forward = make(on_device, torch.device(self.device))

    @property
    def backend(self) -> str:
        """Name of the scan backend of the next call."""
        if self._forward is None and self._without_torch:
            return "numba"
        from posemamba.scan import get_backend

        return get_backend(self.device).name

    def __call__(self, inputs: Float | Tensor) -> Float:
        """Lift windows: (B, T, 17, in_channels) to (B, T, 17, 3) float32."""
        if self._forward is not None:
            import torch

            with self._guarded(), torch.inference_mode():
                return _array(self._forward(torch.as_tensor(inputs, dtype=torch.float32)))
        return self._on_cpu(np.ascontiguousarray(_from_anywhere(inputs), np.float32))

    def warm_up(self, batch: int, frames: int) -> None:
        """Do once what only the first call of a shape has to do: compile, allocate, record."""
        calls = 1
        if self._forward is not None:
            from posemamba.cuda import CAPTURE_AT_USE

            calls = CAPTURE_AT_USE
        for _ in range(calls):
            self(np.zeros((batch, frames, 17, self._config.in_channels), np.float32))

    @functools.cached_property
    def _on_cpu(self) -> Callable[[Float], Float]:
        forward = self._without_torch
        if forward is None or self._config.causal:
            return _OnTorch(self._model)
        made = forward.CpuForward(self._config, cast(Checkpoint, self._network).state)
        return cast(Callable[[Float], Float], made)

    @functools.cached_property
    def _without_torch(self) -> ModuleType | None:
        """`posemamba.cpu.forward`, where it runs this network."""
        if not isinstance(self._network, Checkpoint) or self._network.state is None:
            return None
        return loading.forward_module(self._config)

    @property
    def _config(self) -> PoseMambaConfig:
        network = self._network
        return network.meta.config if isinstance(network, Checkpoint) else network.config

    @property
    def _model(self) -> LifterNetwork:
        network = self._network
        return (network.model if isinstance(network, Checkpoint) else network).eval()

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """Swallows failures of the device, after which this runtime is on the CPU."""
        import torch

        from posemamba.cuda import first_line, is_device_failure

        try:
            yield
        except Exception as error:  # Triton's own are no RuntimeErrors
            if not is_device_failure(error):
                raise
            self._forward = None
            self.device = "cpu"
            full = isinstance(error, torch.cuda.OutOfMemoryError)
            cause = "ran out of memory" if full else f"failed ({first_line(error)})"
            _log.warning("the GPU %s; lifting goes on on the CPU", cause)
            with contextlib.suppress(RuntimeError):  # a lost device cannot be tidied up
                torch.cuda.empty_cache()


class _OnTorch:
    """A network that PyTorch runs on the CPU."""

    def __init__(self, model: LifterNetwork) -> None:
        self._model = model

    def __call__(self, inputs: Float) -> Float:
        import torch

        with torch.inference_mode():
            return _array(self._model(torch.from_numpy(inputs)))


def _from_anywhere(inputs: Float | Tensor) -> Any:
    return inputs if isinstance(inputs, np.ndarray) else inputs.cpu().numpy()


def _array(out: Tensor) -> Float:
    """A tensor of any device and type as an array."""
    values: NDArray[Any] = out.float().cpu().numpy()
    return np.asarray(values, np.float32)
