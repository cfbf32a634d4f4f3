"""posemamba-convert: published checkpoints in, safetensors out, and what it says otherwise."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner, Result

from posemamba.checkpoint import load_checkpoint
from posemamba.config import PoseMambaConfig
from posemamba.convert import app
from posemamba.model import PoseMamba
from tests.support.hostile_files import HOSTILE, Marker

PARITY = Path(__file__).resolve().parent.parent.parent / "shared" / "parity"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def assert_told(result: Result, code: int, *parts: str) -> None:
    """The exit code, and a message on stderr without a traceback."""
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    for part in parts:
        assert part in result.stderr
    assert "Traceback" not in result.stderr
    assert result.exception is None or isinstance(result.exception, SystemExit)


@pytest.fixture(scope="module")
def network() -> PoseMamba:
    torch.manual_seed(2)
    model = PoseMamba(PoseMambaConfig(dim=16, depth=2, frames=9)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def training_checkpoint(state: Mapping[str, Tensor]) -> dict[str, object]:
    """What the published training code saves: DataParallel names, optimiser, a NumPy loss."""
    weight = torch.nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.AdamW([weight])
    weight.sum().backward()
    optimizer.step()
    return {
        "epoch": 12,
        "lr": 2e-4,
        "optimizer": optimizer.state_dict(),
        "model_pos": {f"module.{name}": tensor for name, tensor in state.items()},
        "min_loss": np.float64(38.1),
        "loss_now": np.float32(40.5),
    }


@pytest.fixture
def published(network: PoseMamba, tmp_path: Path) -> Path:
    path = tmp_path / "best_epoch.pth.tr"
    torch.save(training_checkpoint(network.state_dict()), path)
    return path


def test_a_training_checkpoint_becomes_safetensors(
    network: PoseMamba, published: Path, tmp_path: Path
) -> None:
    result = run(published, tmp_path / "S-h36m.safetensors")
    assert result.exit_code == 0, result.output
    assert "dim 16, depth 2, 9 frames" in result.stdout

    loaded = load_checkpoint(tmp_path / "S-h36m.safetensors")
    assert loaded.meta.name == "S-h36m"
    assert loaded.meta.config == network.config
    assert (loaded.meta.input_kind, loaded.meta.output_unit) == ("image", "image")
    assert loaded.meta.training == {
        "source": "converted from best_epoch.pth.tr",
        "source_sha256": hashlib.sha256(published.read_bytes()).hexdigest(),
    }
    assert loaded.model.state_dict().keys() == network.state_dict().keys()
    x = torch.randn(2, 9, 17, 2)
    with torch.no_grad():
        assert torch.equal(loaded.model(x), network(x))


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("key", ["model_pos", "model", "state_dict", None])
def test_every_layout_of_a_checkpoint_is_read(
    key: str | None, legacy: bool, network: PoseMamba, tmp_path: Path
) -> None:
    state = network.state_dict()
    content = state if key is None else {key: state, "epoch": 1}
    torch.save(content, tmp_path / "in.bin", _use_new_zipfile_serialization=not legacy)
    result = run(tmp_path / "in.bin", tmp_path / "out.safetensors", "--name", "renamed")
    assert result.exit_code == 0, result.output
    loaded = load_checkpoint(tmp_path / "out.safetensors")
    assert loaded.meta.name == "renamed"
    for name, tensor in loaded.model.state_dict().items():
        assert torch.equal(tensor, state[name]), name


@pytest.mark.parametrize(("name", "tolerance"), [("tiny", 2e-5), ("S", 2e-4)])
def test_published_weights_give_the_published_numbers(
    name: str, tolerance: float, tmp_path: Path
) -> None:
    path = PARITY / f"posemamba_{name}.npz"
    if not path.exists():
        pytest.skip("the parity fixtures of the official code are not part of the repository")
    arrays = {k: torch.from_numpy(v) for k, v in np.load(path).items()}
    state = {k.removeprefix("w/"): v for k, v in arrays.items() if k.startswith("w/")}
    torch.save(training_checkpoint(state), tmp_path / "in.pth.tr")
    assert run(tmp_path / "in.pth.tr", tmp_path / "out.safetensors").exit_code == 0
    model = load_checkpoint(tmp_path / "out.safetensors").model
    torch.testing.assert_close(model(arrays["input"]), arrays["output"], atol=tolerance, rtol=0)


@pytest.mark.parametrize("form", HOSTILE)
def test_hostile_checkpoints_are_refused(form: str, tmp_path: Path) -> None:
    marker = Marker(tmp_path / "executed")
    HOSTILE[form](tmp_path / "in.bin", marker)
    result = run(tmp_path / "in.bin", tmp_path / "out.safetensors")
    assert_told(result, 1, "cause:", "try:")
    assert not marker.path.exists()
    assert not (tmp_path / "out.safetensors").exists()


def test_a_refusal_says_what_the_file_asked_for(tmp_path: Path) -> None:
    HOSTILE["archive"](tmp_path / "in.bin", Marker(tmp_path / "executed"))
    result = run(tmp_path / "in.bin", tmp_path / "out.safetensors")
    assert_told(result, 1, "was refused", "open")


@pytest.mark.parametrize("content", [b"", b"just text\n" * 100, bytes(range(256)) * 20])
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "in.bin").write_bytes(content)
    assert_told(run(tmp_path / "in.bin", tmp_path / "out.safetensors"), 1, "in.bin", "cause:")


def test_a_network_with_other_weights_beside_is_refused(network: PoseMamba, tmp_path: Path) -> None:
    torch.save({"model_pos": {**network.state_dict(), "extra": torch.ones(2)}}, tmp_path / "in.bin")
    assert_told(run(tmp_path / "in.bin", tmp_path / "out.safetensors"), 1, "extra")


def test_missing_inputs_and_folders_are_failures(published: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.safetensors"
    assert_told(run(tmp_path / "absent.bin", target), 1, "absent.bin", "no such file")
    assert_told(run(tmp_path, target), 1, "folder")
    assert_told(run(published, tmp_path / "no" / "x.safetensors"), 1, "no such folder")


def test_misuse_is_a_usage_error(published: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.safetensors"
    assert_told(run(), 2, "IN")
    assert_told(run(published), 2, "OUT")
    assert_told(run(published, tmp_path / "out.npz"), 2, ".safetensors")
    assert_told(run(target, target), 2, "already")
    assert_told(run(published, target, "--name", ""), 2, "--name")
    assert_told(run(published, target, "--frames", 3), 2, "--frames")
    (tmp_path / "folder.safetensors").mkdir()
    assert_told(run(published, tmp_path / "folder.safetensors", "--overwrite"), 2, "folder")
    assert not target.exists()


def test_an_existing_file_is_replaced_only_when_told(published: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.safetensors"
    target.write_bytes(b"precious")
    assert_told(run(published, target), 2, "--overwrite")
    assert target.read_bytes() == b"precious"
    assert run(published, target, "--overwrite").exit_code == 0
    assert load_checkpoint(target).meta.name == "out"


def test_help_does_not_wait_for_torch() -> None:
    code = (
        "import sys; from posemamba.convert import app; app(['--help'], standalone_mode=False); "
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "OUT" in done.stdout
