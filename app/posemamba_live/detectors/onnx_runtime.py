"""ONNX Runtime in one place: which device it works on, and a network opened and run."""

from __future__ import annotations

import logging
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from posemamba_live.detectors.trial import try_out
from posemamba_live.errors import DetectorError
from posemamba_live.types import FloatArray

logger = logging.getLogger(__name__)

CPU: Final = "CPUExecutionProvider"
CUDA: Final = "CUDAExecutionProvider"
COREML: Final = "CoreMLExecutionProvider"
DIRECTML: Final = "DmlExecutionProvider"

NAMED: Final = {"cuda": CUDA, "coreml": COREML, "directml": DIRECTML}
"""Values of --device that name a provider; "auto" takes CUDA where it works."""
_PACKAGES: Final = {
    CUDA: "pip install onnxruntime-gpu brings it",
    COREML: "onnxruntime's wheels for macOS have it",
    DIRECTML: "pip install onnxruntime-directml brings it, on Windows",
}
_TYPES: Final[dict[str, type[np.generic]]] = {
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
}
"""Of inputs that are not float32."""
_ERRORS_ONLY: Final = 4
"""Severity of ONNX Runtime's own log: its errors come as exceptions as well."""


class Session:
    """A network, ready to run.

    Args:
        path: an `.onnx` file.
        device: "auto", "cpu", or one of NAMED.
        threads: CPU threads of one run.
        hint: for messages: what the file should be.
        foreign: the user brings the file; it is tried elsewhere first (see `trial`).

    Raises:
        DetectorError: the file cannot be read or is no network.
    """

    def __init__(
        self,
        path: Path,
        *,
        device: str = "auto",
        threads: int = 1,
        hint: str = "",
        foreign: bool = False,
    ) -> None:
        if foreign and path.is_file() and path.stat().st_size:
            try_out(path, hint=hint)
        self.path = path
        self.hint = hint
        self._threads = threads
        wanted = providers(device)
        self._session = _open(path, wanted, threads, hint)
        self.inputs: list[Any] = self._session.get_inputs()
        self.outputs: list[Any] = self._session.get_outputs()
        self.provider: str = self._session.get_providers()[0]
        if self.provider != wanted[0]:
            logger.warning(
                "%s runs on the CPU: %s is there but does not start", path.name, wanted[0]
            )

    def run(self, pictures: NDArray[Any]) -> list[FloatArray]:
        """All outputs for one input.

        Raises:
            DetectorError: ONNX Runtime failed.
        """
        given = self.inputs[0]
        dtype = _TYPES.get(given.type, np.float32)
        feed = {given.name: np.ascontiguousarray(pictures, dtype)}
        try:
            answers = self._session.run(None, feed)
        except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
            raise DetectorError(
                f"The model {self.path.name} failed", why=_first_line(error), hint=self.hint
            ) from error
        return [np.asarray(answer, np.float32) for answer in answers]

    def runs_on(self) -> dict[str, Any]:
        """Provider and CPU threads, as JSON values."""
        return {"provider": self.provider, "threads": self._threads}

    def signature(self) -> str:
        """Inputs and outputs as they are declared, for messages."""
        return f"input {declared(self.inputs)}; output {declared(self.outputs)}"


@cache
def providers(device: str) -> list[str]:
    """What runs networks, the first choice first; the CPU does what nothing else can.

    What was asked for by name and is not there is told in one warning.
    """
    wanted = CUDA if device == "auto" else NAMED.get(device)
    if wanted is None:
        return [CPU]
    if wanted in onnxruntime.get_available_providers():
        if wanted == CUDA:
            # Finds the CUDA libraries that PyTorch's packages bring.
            onnxruntime.preload_dlls()
        return [wanted, CPU]
    if device != "auto":
        logger.warning("the detector runs on the CPU: %s", _why_not(wanted))
    return [CPU]


def _why_not(provider: str) -> str:
    if provider == CUDA:
        try:
            metadata.version("onnxruntime-gpu")
        except metadata.PackageNotFoundError:
            pass
        else:
            return (
                "onnxruntime lies over onnxruntime-gpu; "
                "pip install --force-reinstall --no-deps onnxruntime-gpu puts that right"
            )
    return f"this ONNX Runtime has no {provider}; {_PACKAGES[provider]}"


def _open(path: Path, chosen: list[str], threads: int, hint: str) -> Any:
    # Builds for Windows report home otherwise; for the rest see posemamba_live/__init__.py.
    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    # Threads that wait for work by spinning would take the lifter's core.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    why = "the file is empty"
    try:
        if path.stat().st_size:
            return onnxruntime.InferenceSession(str(path), options, providers=chosen)
    except OSError as error:
        why = error.strerror or str(error)
    except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
        why = _first_line(error)
    raise DetectorError(f"Cannot load the model {path}", why=why, hint=hint)


def declared(values: list[Any]) -> str:
    """Inputs or outputs of a network, for messages."""
    return ", ".join(f"{value.name} {value.shape} {value.type}" for value in values)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
