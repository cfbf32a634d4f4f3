"""PoseMamba on the CPU without PyTorch: the numbers of the module, in all sizes and threads."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
import torch

from posemamba.checkpoint import Checkpoint, load_checkpoint, shipped_weights
from posemamba.config import ARCHITECTURES, PRESETS, PoseMambaConfig
from posemamba.cpu import loading
from posemamba.cpu.forward import CpuForward, CpuStream, supports
from posemamba.hybrid import LAYERS, build
from posemamba.model import PoseMamba
from posemamba.network import use_threads
from posemamba.runtime import LifterRuntime
from posemamba.scan import use_backend
from posemamba.shapes import parameter_shapes
from posemamba.streams import CausalNetwork


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads(), numba.get_num_threads()
    yield
    numba.set_num_threads(before[1])
    torch.set_num_threads(before[0])


def shaken(config: PoseMambaConfig, seed: int = 0) -> PoseMamba:
    """A network in which nothing is left at zero or one."""
    torch.manual_seed(seed)
    model = PoseMamba(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not (config.integer_decay and "A_logs" in name):
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval().requires_grad_(False)


def arrays(model: PoseMamba) -> dict[str, Any]:
    return {name: value.numpy() for name, value in model.state_dict().items()}


def by_reference(model: PoseMamba, inputs: np.ndarray) -> np.ndarray:
    with torch.inference_mode(), use_backend("reference"):
        return model(torch.from_numpy(inputs)).numpy()


CONFIGS = [
    PoseMambaConfig(dim=64, depth=2, frames=9, in_channels=5, frame_embedding=True, input_skip=True,
                    joint_bias=True, integer_decay=True),
    PoseMambaConfig(dim=64, depth=1, frames=9),
    PoseMambaConfig(dim=16, depth=2, frames=9, in_channels=6, frame_embedding=True),
    PoseMambaConfig(dim=48, depth=1, frames=9, mlp_ratio=3, joint_bias=True),
    PoseMambaConfig(dim=80, depth=1, frames=9, expand=1, input_skip=True, in_channels=4),
    PoseMambaConfig(dim=32, depth=2, frames=9, pooling=True, integer_decay=True),
]  # fmt: skip


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"dim{config.dim}")
def test_it_answers_as_the_module_does(config: PoseMambaConfig) -> None:
    model = shaken(config)
    forward = CpuForward(config, arrays(model))
    rng = np.random.default_rng(1)
    for samples, frames in ((1, 9), (3, 4), (1, 1), (2, 9)):
        inputs = rng.normal(size=(samples, frames, 17, config.in_channels)).astype(np.float32)
        expected = by_reference(model, inputs)
        np.testing.assert_allclose(forward(inputs), expected, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize("pooling", [False, True])
@pytest.mark.parametrize("count", [1, 3])
def test_a_stream_answers_as_the_whole_sequence_does(pooling: bool, count: int) -> None:
    config = PoseMambaConfig(
        dim=32, depth=2, frames=9, in_channels=5, frame_embedding=True, input_skip=True,
        joint_bias=True, causal=True, pooling=pooling,
    )  # fmt: skip
    model = shaken(config)
    stream = CpuStream(config, arrays(model))
    inputs = np.random.default_rng(7).normal(size=(count, 12, 17, 5)).astype(np.float32)
    expected = by_reference(model, inputs)
    states = [stream.first_state() for _ in range(count)]
    for t in range(inputs.shape[1]):
        answer, states = stream.step(np.ascontiguousarray(inputs[:, t]), states)
        np.testing.assert_allclose(answer, expected[:, t], atol=2e-5 * np.abs(expected).max())


def test_large_inputs_saturate_as_in_the_module() -> None:
    config = CONFIGS[0]
    model = shaken(config)
    inputs = np.random.default_rng(2).normal(size=(1, 9, 17, 5)).astype(np.float32) * 1e4
    expected = by_reference(model, inputs)
    found = CpuForward(config, arrays(model))(inputs)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    assert not np.isfinite(CpuForward(config, arrays(model))(inputs * np.nan)).any()


SHARED_OUT = """
import numpy as np
from posemamba.checkpoint import load_checkpoint
from posemamba.network import use_threads
from posemamba.runtime import LifterRuntime
runtime = LifterRuntime(load_checkpoint("window-m7"), "cpu")
inputs = np.random.default_rng(3).normal(size=(5, 9, 17, 5)).astype(np.float32)
answers = []
for count in (1, 2, 3):
    use_threads(count)
    answers += [runtime(inputs), np.concatenate([runtime(one[None]) for one in inputs])]
print(all(np.array_equal(answers[0], other) for other in answers))
"""


def test_any_number_of_threads_gives_the_same() -> None:
    """In a process that may have three, whatever the machine has."""
    done = subprocess.run(
        [sys.executable, "-c", SHARED_OUT], env={**os.environ, "NUMBA_NUM_THREADS": "3"},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.stdout.strip() == "True", done.stderr


def test_several_threads_may_call_it_at_once(threads: None) -> None:
    config = CONFIGS[0]
    forward = CpuForward(config, arrays(shaken(config)))
    rng = np.random.default_rng(4)
    inputs = [rng.normal(size=(1, 9, 17, 5)).astype(np.float32) for _ in range(4)]
    use_threads(1)
    expected = [forward(x) for x in inputs]
    wrong: list[int] = []

    def work(n: int) -> None:
        use_threads(1)
        answers = (forward(inputs[n]) for _ in range(30))
        wrong.extend(n for answer in answers if not np.array_equal(answer, expected[n]))

    callers = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


def test_nothing_and_too_much() -> None:
    config = CONFIGS[1]
    forward = CpuForward(config, arrays(shaken(config)))
    assert forward(np.zeros((0, 9, 17, 2), np.float32)).shape == (0, 9, 17, 3)
    assert forward(np.zeros((2, 0, 17, 2), np.float32)).shape == (2, 0, 17, 3)
    with pytest.raises(ValueError, match="10 frames, but built for at most 9"):
        forward(np.zeros((1, 10, 17, 2), np.float32))


def test_networks_of_other_kinds_are_left_to_pytorch() -> None:
    assert supports(PoseMambaConfig())
    assert not supports(PoseMambaConfig(gravity=True))
    assert not supports(PoseMambaConfig(architecture="pose-magic"))
    assert not supports(PoseMambaConfig(dim=24))
    config = PoseMambaConfig(dim=24, depth=1, frames=9)
    model = PoseMamba(config).eval().requires_grad_(False)
    meta: Any = type("Meta", (), {"config": config})
    runtime = LifterRuntime(Checkpoint(None, meta, arrays(model)), "cpu")
    inputs = np.random.default_rng(5).normal(size=(1, 9, 17, 2)).astype(np.float32)
    np.testing.assert_allclose(runtime(inputs), by_reference(model, inputs), atol=1e-5)


@pytest.mark.parametrize("name", sorted(shipped_weights()))
def test_every_shipped_network_answers_as_its_module(name: str) -> None:
    checkpoint = load_checkpoint(name)
    config = checkpoint.meta.config
    shape = (2, config.frames, 17, config.in_channels)
    inputs = np.random.default_rng(6).normal(size=shape).astype(np.float32)
    if config.causal:
        network = CausalNetwork(checkpoint)
        states, answers = [network.first_state() for _ in inputs], []
        for t in range(config.frames):
            frame, states = network.step(np.ascontiguousarray(inputs[:, t]), states)
            answers.append(frame)
        answer = np.stack(answers, 1)
    else:
        answer = LifterRuntime(checkpoint, "cpu")(inputs)
    with torch.inference_mode():
        expected = checkpoint.model(torch.from_numpy(inputs))[:, :, :].numpy()
    np.testing.assert_allclose(answer, expected, atol=5e-6)


OPTIONS = ("frame_embedding", "input_skip", "joint_bias", "causal", "pooling", "gravity")


@pytest.mark.parametrize("chosen", list(product([False, True], repeat=len(OPTIONS)))[::7])
def test_shapes_are_known_without_the_module(chosen: tuple[bool, ...]) -> None:
    options: dict[str, Any] = dict(zip(OPTIONS, chosen, strict=True))
    config = PoseMambaConfig(dim=24, depth=2, frames=5, expand=2, in_channels=5, **options)
    state = PoseMamba(config).state_dict()
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    assert parameter_shapes(config) == shapes


@pytest.mark.parametrize("preset", PRESETS)
def test_shapes_of_presets(preset: str) -> None:
    config = PoseMambaConfig(**{"frames": 3, **PRESETS[preset], "depth": 1})
    shapes = parameter_shapes(config)
    state = build(config).state_dict()
    if config.architecture == "posemamba":
        assert shapes == {name: tuple(value.shape) for name, value in state.items()}
    else:
        assert shapes is None


def test_all_architectures_have_a_name() -> None:
    assert set(ARCHITECTURES) == {"posemamba", *LAYERS}


LIFT = """
import sys
import numpy as np
import posemamba
lifter = posemamba.Lifter("window-m7", device="{device}")
keypoints = np.linspace(100, 300, 2 * 17 * 30).reshape(30, 17, 2)
print(lifter(keypoints, None, (640, 480)).shape, "torch" in sys.modules)
"""


def test_causal_weights_are_lifted_without_importing_pytorch() -> None:
    code = LIFT.format(device="cpu").replace("window-m7", "causal-m8")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240)
    assert done.stdout.split() == ["(30,", "17,", "3)", "False"], done.stderr


@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_window_weights_are_lifted_without_importing_pytorch(device: str) -> None:
    if device == "auto" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    done = subprocess.run(
        [sys.executable, "-c", LIFT.format(device=device)],
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    wanted = torch.version.cuda is not None and device == "auto"
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() in (
        ["(30,", "17,", "3)", "False"],
        *([["(30,", "17,", "3)", "True"]] if wanted else []),
    )


def test_code_compiled_from_older_files_is_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for age, name in zip((5, 9, 7, 20), loading._LAYERS, strict=True):
        (tmp_path / name).write_text("")
        os.utime(tmp_path / name, (age, age))
    monkeypatch.setattr(loading, "__file__", str(tmp_path / "loading.py"))
    loading._forget_outdated.cache_clear()
    try:
        loading._forget_outdated()
    finally:
        loading._forget_outdated.cache_clear()
    assert [(tmp_path / name).stat().st_mtime for name in loading._LAYERS] == [5, 9, 9, 20]
