"""The runtime on the CPU, and how it gets there when a GPU fails (by injected failures)."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from posemamba import runtime as runtime_module
from posemamba.model import PoseMamba, PoseMambaConfig
from posemamba.runtime import DeviceError, Forward, LifterRuntime, is_device_failure, pick_device

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
    monkeypatch.setattr(runtime_module, "pick_device", lambda name: torch.device("meta"))
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
    assert runtime.device.type == "cpu"
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
    assert runtime.device.type == "cpu"
    (record,) = caplog.records
    assert words in record.getMessage()
    assert "CPU" in record.getMessage()


def test_a_gpu_that_cannot_take_the_model_is_given_up_at_once(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    model: PoseMamba,
    inputs: np.ndarray,
) -> None:
    monkeypatch.setattr(runtime_module, "pick_device", lambda name: torch.device("meta"))

    def make(copied: PoseMamba, device: torch.device) -> Forward:
        raise OUT_OF_MEMORY

    monkeypatch.setattr(PoseMamba, "to", lambda self, device: self)
    runtime = LifterRuntime(model, "auto", make_forward=make)
    assert runtime.device.type == "cpu"
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
    assert pick_device("auto") == torch.device("cpu")
    assert pick_device("cpu") == torch.device("cpu")
    with pytest.raises(DeviceError, match="no CUDA device"):
        pick_device("cuda")


def test_an_unusable_gpu_is_not_picked(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def zeros(*_: object, **__: object) -> torch.Tensor:
        raise RuntimeError("CUDA error: no kernel image is available for this device")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "zeros", zeros)
    assert pick_device("auto") == torch.device("cpu")
    assert "no kernel image" in caplog.text


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
    assert runtime.device.type == "cuda"
