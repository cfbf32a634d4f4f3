"""The CPU scan in the conditions that it meets: threads, caches, frozen and changed weights."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

pytest.importorskip("numba")

import posemamba
from posemamba.config import PoseMambaConfig
from posemamba.model import PoseMamba
from posemamba.scan import use_backend

SETUP = """
    import torch
    from posemamba.config import PoseMambaConfig
    from posemamba.model import PoseMamba
    from posemamba.scan import available_backends, get_backend, use_backend
    torch.manual_seed(0)
    model = PoseMamba(PoseMambaConfig(dim=16, depth=1, frames=9)).eval().requires_grad_(False)
    x = torch.randn(1, 9, 17, 2)
"""


def run(code: str, **environment: str) -> str:
    """What a fresh interpreter prints for SETUP and then the code."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SETUP) + textwrap.dedent(code)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def frozen() -> PoseMamba:
    torch.manual_seed(0)
    config = PoseMambaConfig(dim=32, depth=1, frames=27)
    return PoseMamba(config).eval().requires_grad_(False)


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def both(model: PoseMamba, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The kernel's answer, and the reference's."""
    with torch.inference_mode():
        with use_backend("numba"):
            fast = model(x)
        with use_backend("reference"):
            return fast, model(x)


@pytest.mark.usefixtures("threads")
def test_threads_do_not_change_the_answer(frozen: PoseMamba) -> None:
    x = torch.randn(2, 27, 17, 2)
    answers = []
    for count in (1, 2, 1):
        torch.set_num_threads(count)
        fast, slow = both(frozen, x)
        assert torch.get_num_threads() == count, "Numba's threads leave PyTorch's alone"
        torch.testing.assert_close(fast, slow, atol=1e-5, rtol=0)
        answers.append(fast)
    torch.testing.assert_close(answers[1], answers[0], atol=1e-6, rtol=0)
    assert torch.equal(answers[2], answers[0])


def test_one_numba_thread_is_enough() -> None:
    code = """
    torch.set_num_threads(2)
    with use_backend("numba"):
        fast = model(x)
    with use_backend("reference"):
        print(float((fast - model(x)).abs().max()) < 1e-5, torch.get_num_threads())
    """
    assert run(code, NUMBA_NUM_THREADS="1") == "True 2"


def test_the_cache_can_lie_elsewhere(tmp_path: Path) -> None:
    """As for an installation that its user cannot write to."""
    code = """
    print(get_backend("cpu").name, bool(torch.isfinite(model(x)).all()))
    """
    assert run(code, NUMBA_CACHE_DIR=str(tmp_path)) == "numba True"
    assert list(tmp_path.rglob("*.nbc")), "nothing was cached"


def test_no_place_for_a_cache_is_no_failure(tmp_path: Path) -> None:
    """A file where a folder belongs stops even root from writing, unlike permissions."""
    package = Path(posemamba.__file__).parent
    shutil.copytree(package, tmp_path / "posemamba", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "posemamba" / "scan" / "__pycache__").touch()
    code = """
    import posemamba
    print(get_backend("cpu").name, bool(torch.isfinite(model(x)).all()), posemamba.__file__)
    """
    nowhere = {"HOME": os.devnull, "XDG_CACHE_HOME": os.devnull, "LOCALAPPDATA": os.devnull}
    printed = run(code, **nowhere, PYTHONPATH=str(tmp_path), TMPDIR=str(tmp_path))
    assert printed == f"numba True {tmp_path / 'posemamba' / '__init__.py'}"
    assert not list(tmp_path.glob("posemamba-*")), "the stand-in outlived the process"


def test_without_numba_the_reference_is_used() -> None:
    block = """
    import sys
    sys.modules.update(numba=None, llvmlite=None)  # to Python: not installed
    """
    code = """
    print(*available_backends("cpu"), get_backend("cpu").name, bool(model(x).isfinite().all()))
    """
    done = subprocess.run(
        [sys.executable, "-c", "".join(textwrap.dedent(part) for part in (block, SETUP, code))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["reference", "reference", "True"]


@pytest.mark.parametrize(
    "name", ["x_proj_weight", "dt_projs_weight", "dt_projs_bias", "A_logs", "Ds"]
)
def test_a_frozen_network_that_is_changed_answers_anew(frozen: PoseMamba, name: str) -> None:
    """What was prepared for the kernel must not outlive the parameters it was made from."""
    x = torch.randn(1, 27, 17, 2)
    before, _ = both(frozen, x)
    again, _ = both(frozen, x)
    assert torch.equal(again, before)

    operator = frozen.STEblocks[0].op
    with torch.no_grad():
        getattr(operator, name).mul_(1.5)
    fast, slow = both(frozen, x)
    torch.testing.assert_close(fast, slow, atol=1e-5, rtol=0)
    assert not torch.equal(fast, before)

    setattr(operator, name, torch.nn.Parameter(getattr(operator, name) / 1.5, requires_grad=False))
    fast, _ = both(frozen, x)
    torch.testing.assert_close(fast, before, atol=1e-5, rtol=0)

    other = PoseMamba(frozen.config).state_dict()
    frozen.load_state_dict(other)
    fast, slow = both(frozen, x)
    torch.testing.assert_close(fast, slow, atol=1e-5, rtol=0)


def test_a_network_in_training_answers_with_its_newest_weights() -> None:
    torch.manual_seed(0)
    model = PoseMamba(PoseMambaConfig(dim=16, depth=1, frames=9))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    x = torch.randn(2, 9, 17, 2)
    for _ in range(2):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
        fast, slow = both(model, x)
        torch.testing.assert_close(fast, slow, atol=1e-5, rtol=0)


def test_a_frozen_network_still_gives_gradients_of_its_input(frozen: PoseMamba) -> None:
    x = torch.randn(1, 9, 17, 2)
    gradients = []
    for backend in ("numba", "reference"):
        own = x.clone().requires_grad_()
        with use_backend(backend):
            frozen(own).square().sum().backward()
        assert own.grad is not None
        gradients.append(own.grad)
    assert gradients[1].abs().max() > 0
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-4)


def test_a_copy_of_a_network_does_not_share_what_was_prepared(frozen: PoseMamba) -> None:
    import copy

    x = torch.randn(1, 9, 17, 2)
    both(frozen, x)
    twin = copy.deepcopy(frozen)
    with torch.no_grad():
        twin.STEblocks[0].op.A_logs.add_(0.3)
    for model in (frozen, twin):
        fast, slow = both(model, x)
        torch.testing.assert_close(fast, slow, atol=1e-5, rtol=0)


@pytest.mark.parametrize("sizes", [{"d_state": 8}, {"dim": 12}])
def test_sizes_without_a_kernel_are_named(sizes: dict[str, int]) -> None:
    model = PoseMamba(PoseMambaConfig(**{"dim": 16, "depth": 1, "frames": 9, **sizes}))
    with use_backend("numba"), pytest.raises(ValueError, match="16 states"):
        model(torch.zeros(1, 9, 17, 2))


@pytest.mark.skipif(sys.platform != "linux", reason="limits and /proc of Linux")
def test_where_memory_is_short_nothing_is_compiled() -> None:
    """LLVM would end the process with a word of its own."""
    code = """
import re, resource
import posemamba.scan.backends as backends
from pathlib import Path
now = 1024 * int(re.search(r"VmSize:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
resource.setrlimit(resource.RLIMIT_AS, (now + 300_000_000, now + 300_000_000))
try:
    backends._load("numba")
except MemoryError as error:
    print(error)
"""
    assert run(code) == "the network's kernels cannot be loaded"
