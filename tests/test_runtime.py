"""The runtime on the CPU, and how it gets there when a GPU fails (by injected failures)."""

from __future__ import annotations

import dataclasses
import logging
from typing import ClassVar

import numpy as np
import pytest
import torch

from posemamba import cuda
from posemamba import runtime as runtime_module
from posemamba.config import PoseMambaConfig
from posemamba.cuda import CudaForward, Forward, is_device_failure
from posemamba.model import PoseMamba
from posemamba.runtime import DeviceError, LifterRuntime, pick_device

OUT_OF_MEMORY = torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
LOST = RuntimeError("CUDA error: unspecified launch failure")


@pytest.fixture
def model() -> PoseMamba:
    torch.manual_seed(0)
    return PoseMamba(PoseMambaConfig(dim=16, depth=1, frames=4))


@pytest.fixture
def inputs() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, 3, 17, 2)).astype(np.float32)


def failing_gpu(
    monkeypatch: pytest.MonkeyPatch, model: PoseMamba, *errors: Exception | None
) -> tuple[LifterRuntime, list[torch.Tensor]]:
    """A runtime that takes the CPU for a GPU, whose calls fail or work (None) in turn."""
    monkeypatch.setattr(runtime_module, "pick_device", lambda name: "meta")
    monkeypatch.setattr(PoseMamba, "to", lambda self, device: self)
    waiting, seen = list(errors), []

    def make(copied: PoseMamba, device: torch.device) -> Forward:
        assert copied is not model
        assert device == torch.device("meta")

        def forward(x: torch.Tensor) -> torch.Tensor:
            seen.append(x)
            error = waiting.pop(0)
            if error is not None:
                raise error
            return torch.full((*x.shape[:3], 3), 7.0)

        return forward

    return LifterRuntime(model, "cuda", make_forward=make), seen


def test_on_the_cpu_it_is_the_model(model: PoseMamba, inputs: np.ndarray) -> None:
    runtime = LifterRuntime(model, "cpu")
    runtime.warm_up(1, 4)
    with torch.no_grad():
        expected = model(torch.from_numpy(inputs)).numpy()
    out = runtime(inputs)
    assert out.dtype == np.float32
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(runtime(torch.from_numpy(inputs)), expected)
    assert runtime.device == "cpu"
    assert runtime.backend in ("numba", "reference")


@pytest.mark.parametrize(("error", "words"), [(OUT_OF_MEMORY, "memory"), (LOST, "launch failure")])
def test_a_gpu_that_fails_costs_one_warning(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    model: PoseMamba,
    inputs: np.ndarray,
    error: Exception,
    words: str,
) -> None:
    with torch.no_grad():
        expected = model(torch.from_numpy(inputs)).numpy()
    runtime, seen = failing_gpu(monkeypatch, model, None, error)
    with caplog.at_level(logging.WARNING):
        assert (runtime(inputs) == 7.0).all()  # the device's own answer
        for _ in range(3):
            np.testing.assert_array_equal(runtime(inputs), expected)
    assert len(seen) == 2  # it is not tried again
    assert runtime.device == "cpu"
    (record,) = caplog.records
    assert words in record.getMessage()
    assert "CPU" in record.getMessage()


def test_a_gpu_that_cannot_take_the_model_is_given_up_at_once(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    model: PoseMamba,
    inputs: np.ndarray,
) -> None:
    monkeypatch.setattr(runtime_module, "pick_device", lambda name: "meta")

    def make(copied: PoseMamba, device: torch.device) -> Forward:
        raise OUT_OF_MEMORY

    monkeypatch.setattr(PoseMamba, "to", lambda self, device: self)
    runtime = LifterRuntime(model, "auto", make_forward=make)
    assert runtime.device == "cpu"
    assert len(caplog.records) == 1
    assert runtime(inputs).shape == (2, 3, 17, 3)


def test_wrong_calls_are_not_taken_for_device_failures(
    monkeypatch: pytest.MonkeyPatch, model: PoseMamba, inputs: np.ndarray
) -> None:
    mismatch = RuntimeError("The size of tensor a (3) must match the size of tensor b (4)")
    runtime, _ = failing_gpu(monkeypatch, model, mismatch)
    with pytest.raises(RuntimeError, match="must match"):
        runtime(inputs)
    assert not is_device_failure(ValueError("CUDA"))
    if hasattr(torch, "AcceleratorError"):
        assert is_device_failure(torch.AcceleratorError("device lost"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu() -> None:
    assert pick_device("auto") == "cpu"
    assert pick_device("cpu") == "cpu"
    with pytest.raises(DeviceError, match="no CUDA device"):
        pick_device("cuda")


def test_an_unusable_gpu_is_not_picked(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def zeros(*_: object, **__: object) -> torch.Tensor:
        raise RuntimeError("CUDA error: no kernel image is available for this device")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "zeros", zeros)
    assert pick_device("auto") == "cpu"
    assert "no kernel image" in caplog.text


def test_a_gpu_without_a_fast_scan_is_not_picked(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    on_cpu = torch.zeros(1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "zeros", lambda *_, **__: on_cpu)
    for backends, device in ((("reference",), "cpu"), (("mamba", "reference"), "cuda")):
        monkeypatch.setattr(cuda, "available_backends", lambda _, b=backends: b)
        assert pick_device("auto") == device
    assert pick_device("cuda") == "cuda"  # who asks for it gets it
    (record,) = caplog.records
    assert "Triton" in record.getMessage()


class Recording:
    """Stands in for a recorded pass; says which shapes were recorded."""

    made: ClassVar[list[tuple[int, ...]]] = []
    error: ClassVar[Exception | None] = None

    def __init__(self, forward: Forward, example: torch.Tensor) -> None:
        if self.error is not None:
            raise self.error
        self.made.append(tuple(example.shape))
        self._forward = forward

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self._forward(x)


@pytest.fixture
def recordings(monkeypatch: pytest.MonkeyPatch) -> type[Recording]:
    monkeypatch.setattr(cuda, "_Graph", Recording)
    monkeypatch.setattr(Recording, "made", [])
    monkeypatch.setattr(Recording, "error", None)
    return Recording


def test_shapes_that_keep_coming_are_recorded_and_those_of_short_tracks_are_not(
    model: PoseMamba, recordings: type[Recording]
) -> None:
    forward = CudaForward(model, torch.device("cpu"), precision="float32")
    window = 4
    model.config = dataclasses.replace(model.config, frames=8)
    model.Temporal_pos_embed = torch.nn.Parameter(torch.zeros(1, 8, 16))
    with torch.inference_mode():
        for _ in range(4):  # tracks that end before their window is full
            for frames in range(1, 9):
                x = torch.randn(1, frames, 17, 2)
                torch.testing.assert_close(forward(x), model(x))
        assert recordings.made == []
        for batch in (1, 2, 1, 2, 1, 2, 1, 2):  # somebody comes and goes
            forward(torch.randn(batch, window, 17, 2))
    assert recordings.made == [(1, window, 17, 2), (2, window, 17, 2)]


def test_the_oldest_recordings_are_given_up(model: PoseMamba, recordings: type[Recording]) -> None:
    forward = CudaForward(model, torch.device("cpu"), precision="float32")
    sizes = [*range(1, cuda._KEPT_GRAPHS + 2), 2, 1]
    with torch.inference_mode():
        for batch in sizes:
            for _ in range(3):
                forward(torch.randn(batch, 1, 17, 2))
    assert [shape[0] for shape in recordings.made] == [*sizes[:-2], 1]  # 2 was still there


def test_what_cannot_be_recorded_is_run_kernel_by_kernel(
    model: PoseMamba,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    recordings: type[Recording],
) -> None:
    monkeypatch.setattr(recordings, "error", RuntimeError("operation not permitted"))
    forward = CudaForward(model, torch.device("cpu"), precision="float32")
    x = torch.randn(1, 4, 17, 2)
    with torch.inference_mode():
        for _ in range(6):
            torch.testing.assert_close(forward(x), model(x))
    (record,) = caplog.records
    assert "operation not permitted" in record.getMessage()


def test_a_gpu_that_goes_while_recording_is_lost_and_not_only_its_recordings(
    model: PoseMamba,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    recordings: type[Recording],
) -> None:
    monkeypatch.setattr(recordings, "error", LOST)
    forward = CudaForward(model, torch.device("cpu"), precision="float32")
    x = torch.randn(1, 4, 17, 2)
    with torch.inference_mode():
        forward(x)
        forward(x)

        def gone(_: torch.Tensor) -> torch.Tensor:
            raise LOST

        monkeypatch.setattr(forward, "eager", gone)
        with pytest.raises(RuntimeError, match="launch failure"):
            forward(x)
    assert not caplog.records  # the runtime around it says so


def test_errors_of_triton_itself_are_the_devices() -> None:
    errors = pytest.importorskip("triton.runtime.errors")
    assert is_device_failure(errors.OutOfResources(300_000, 200_000, "shared memory"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["float32", "tf32", "float16", "bfloat16"])
def test_graphs_give_what_the_cpu_gives(model: PoseMamba, precision: str) -> None:
    runtime = LifterRuntime(model, "cuda", precision)  # type: ignore[arg-type]
    tolerance = {"float32": 1e-4, "tf32": 5e-3, "float16": 5e-3, "bfloat16": 5e-2}[precision]
    for frames in (4, 4, 4, 4, 2, 4):  # eager, recorded, replayed, another shape
        x = torch.randn(1, frames, 17, 2)
        with torch.no_grad():
            expected = model(x).numpy()
        np.testing.assert_allclose(runtime(x), expected, atol=tolerance)
    assert runtime.device == "cuda"
