"""The trainer on a small motion folder: resumable to the bit, logged, and honest when sick."""

from __future__ import annotations

import csv
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from posemamba import gravity
from posemamba.checkpoint import load_checkpoint, save_checkpoint
from posemamba.normalize import RAY_CHANNELS, RayStream
from posemamba.skeleton import NUM_JOINTS
from posemamba.training.config import TrainConfig, load_config
from posemamba.training.loss import OTHER_JOINT_WEIGHT, pose_loss
from posemamba.training.metrics import hip_aligned
from posemamba.training.scoring import predict
from posemamba.training.synth import WindowSampler, load_windows
from posemamba.training.train import (
    Trainer,
    app,
    hidden_matrices,
    parameter_groups,
    shortened,
    streamed,
)
from posemamba_live.evaluation.synthetic import lift
from tests.support.motion_files import walking, write_motion

SMALL = {
    "name": "small",
    "preset": "XS",
    "frames": 9,
    "windows": 24,
    "batch": 4,
    "small_batch": 4,
    "decay_windows": 8,
    "validate_every": 1000,
    "validation_windows": 8,
    "checkpoint_every": 8,
    "matmul_precision": "highest",
    "model": {"dim": 16, "depth": 1},
}


@pytest.fixture(scope="module")
def motion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("motion")
    clips = [walking(150), walking(120, 0.5), walking(100, 1.3), walking(110, 0.8)]
    write_motion(folder / "walk.npz", clips, ["train", "train", "val", "train"], ["a"] * 4)
    return folder


def make_trainer(motion: Path, folder: Path, **changes: object) -> Trainer:
    folder.mkdir(exist_ok=True)
    config = TrainConfig(**{**SMALL, **changes})  # type: ignore[arg-type]
    return Trainer(config, motion, folder, "cpu", 0, 1)


def train(config: dict[str, object], motion: Path, out: Path, *options: str) -> tuple[int, str]:
    path = out / "run.json"
    path.write_text(json.dumps(config))
    arguments = [str(path), "--motion", str(motion), "--out", str(out), "--device", "cpu"]
    result = CliRunner().invoke(app, [*arguments, *options])
    return result.exit_code, result.output


def test_a_run_is_one_command_and_leaves_weights_and_logs(motion: Path, tmp_path: Path) -> None:
    code, output = train(SMALL, motion, tmp_path)
    assert code == 0, output
    folder = tmp_path / "small"
    checkpoint = load_checkpoint(folder / "best.safetensors")
    assert checkpoint.meta.input_kind == "rays"
    assert checkpoint.meta.training["windows"] == 24
    assert checkpoint.meta.training["config"]["seed"] == 1
    assert checkpoint.meta.training["versions"]["torch"] == torch.__version__
    rows = list(csv.DictReader((folder / "train.csv").open()))
    assert [int(row["windows"]) for row in rows] == [8, 16, 24]
    assert all(float(row["mpjpe"]) > 0 for row in rows)
    assert (folder / "config.json").read_text() == json.dumps(SMALL)


def test_precision_of_products_is_a_matter_of_the_run(
    motion: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a setting of the process, in which other networks may run afterwards."""
    seen = []

    def watched(*arguments: Any, **options: Any) -> Any:
        seen.append(torch.get_float32_matmul_precision())
        return pose_loss(*arguments, **options)

    monkeypatch.setattr("posemamba.training.train.pose_loss", watched)
    before = torch.get_float32_matmul_precision()
    assert before != "medium"
    trainer = make_trainer(motion, tmp_path / "a", matmul_precision="medium")
    trainer.step()
    trainer.run(time.monotonic())
    assert set(seen) == {"medium"}
    assert torch.get_float32_matmul_precision() == before


def test_a_resumed_run_goes_on_exactly_where_it_was(motion: Path, tmp_path: Path) -> None:
    straight = make_trainer(motion, tmp_path / "a")
    for _ in range(6):
        straight.step()
    first = make_trainer(motion, tmp_path / "b")
    for _ in range(3):
        first.step()
    first.save()
    second = make_trainer(motion, tmp_path / "b")
    second.resume(tmp_path / "b" / "last.pt")
    for _ in range(3):
        second.step()
    assert second.progress == straight.progress
    for a, b in zip(straight.model.parameters(), second.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=0, rtol=0)
    for a, b in zip(straight.average, second.average, strict=True):
        torch.testing.assert_close(a, b, atol=0, rtol=0)


def test_processes_share_their_gradients(motion: Path, tmp_path: Path) -> None:
    code, output = train({**SMALL, "windows": 8}, motion, tmp_path, "--processes", "2")
    assert code == 0, output
    assert load_checkpoint(tmp_path / "small" / "best.safetensors").meta.training["steps"] == 2


def test_a_network_can_learn_a_batch_by_heart(
    motion: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(
        motion, tmp_path / "c", windows=9000, small_batch_windows=9000, learning_rate=3e-3,
        short_windows=0.0, velocity_ramp_windows=9000,
    )  # fmt: skip
    batch = trainer.sampler.batch(4, index=0)
    monkeypatch.setattr(trainer.sampler, "batch", lambda n, index: batch)
    losses = [float(trainer.step()["mpjpe"]) for _ in range(150)]
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])


def test_the_velocity_weight_is_the_configs_and_grows(
    motion: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[float] = []

    def watched(*arguments: torch.Tensor, velocity_weight: float) -> object:
        used.append(velocity_weight)
        return pose_loss(*arguments, velocity_weight)

    monkeypatch.setattr("posemamba.training.train.pose_loss", watched)
    trainer = make_trainer(motion, tmp_path / "v", velocity_weight=8.0, velocity_ramp_windows=8)
    for _ in range(4):  # of 4 windows each
        trainer.step()
    assert used == [0.0, 4.0, 8.0, 8.0]


def test_averaged_weights_are_the_ones_evaluated(motion: Path, tmp_path: Path) -> None:
    trainer = make_trainer(motion, tmp_path / "d")
    trainer.step()
    before = [p.detach().clone() for p in trainer.model.parameters()]
    with trainer.averaged() as model:
        for p, average in zip(model.parameters(), trainer.average, strict=True):
            torch.testing.assert_close(p, average, atol=0, rtol=0)
    for p, original in zip(trainer.model.parameters(), before, strict=True):
        torch.testing.assert_close(p, original, atol=0, rtol=0)


def test_a_causal_run_sees_what_streams_see(motion: Path, tmp_path: Path) -> None:
    trainer = make_trainer(motion, tmp_path / "e", model={"dim": 16, "depth": 1, "causal": True})
    trainer.step()
    trainer.validate()
    checkpoint = load_checkpoint(tmp_path / "e" / "best.safetensors")
    assert checkpoint.meta.input_kind == "stream"

    windows = load_windows(motion, "val", 8, 9, close=0.2)
    inputs, target, _ = streamed(windows)
    own = hip_aligned(predict(checkpoint.model, inputs))
    camera = hip_aligned(lift(checkpoint, windows) @ windows.rotation[:, None])
    np.testing.assert_allclose(  # lengths do not depend on the axes
        np.linalg.norm(own, axis=-1), np.linalg.norm(camera, axis=-1), atol=1e-4
    )

    batch = WindowSampler(trainer.sampler.motion, frames=9, seed=4).batch(3)
    inputs, target, _ = streamed(batch)
    stream = RayStream()
    for t in range(9):
        view = stream.update(
            batch.keypoints[:, t],
            batch.scores[:, t],
            batch.image_size,
            1 / batch.fps,
            batch.peaks[:, t],
        )
        np.testing.assert_allclose(inputs[:, t], view.inputs[:, 0], atol=1e-6)
        back = view.to_camera(target[:, t : t + 1] * batch.height[:, None, None, None])[:, 0]
        true = batch.joints[:, t] - batch.joints[:, t, :1]
        np.testing.assert_allclose(back, true, atol=1e-4)


def test_short_windows_are_normalised_by_what_they_hold(motion: Path, tmp_path: Path) -> None:
    trainer = make_trainer(motion, tmp_path / "f")
    batch = trainer.sampler.batch(3, index=0)
    inputs, target, angles = shortened(batch, 9)
    np.testing.assert_allclose(inputs, batch.inputs, atol=1e-5)
    np.testing.assert_allclose(target, batch.target, atol=1e-5)
    up = gravity.up_of(angles)[:, 0] @ np.eye(3)
    back = np.einsum("bij,bi->bj", batch.rotation, up)
    np.testing.assert_allclose(back, batch.up, atol=1e-5)
    inputs, target, _ = shortened(batch, 4)
    assert inputs.shape == (3, 4, 17, 6)
    assert target.shape == (3, 4, 17, 3)
    assert np.abs(inputs - batch.inputs[:, :4]).max() > 1e-4


def test_a_network_learns_which_way_is_up_beside_the_pose(motion: Path, tmp_path: Path) -> None:
    plain = make_trainer(motion, tmp_path / "m")
    plain.validate()
    size = {"dim": 16, "depth": 1, "gravity": True}
    trainer = make_trainer(motion, tmp_path / "n", model=size, learning_rate=3e-3)
    trainer.start_from(str(tmp_path / "m" / "best.safetensors"))
    parts = [trainer.step() for _ in range(30)]
    assert {"standing", "pitch_deg", "roll_deg"} < set(parts[0])
    first, last = (
        np.mean([float(part["roll_deg"]) for part in some]) for some in (parts[:6], parts[-6:])
    )
    assert last < first + 5.0
    assert all(np.isfinite(float(part["standing"])) for part in parts)
    trainer.validate()
    checkpoint = load_checkpoint(tmp_path / "n" / "best.safetensors")
    assert checkpoint.meta.config.gravity


def test_starting_from_finished_weights(motion: Path, tmp_path: Path) -> None:
    first = make_trainer(motion, tmp_path / "g")
    first.step()
    first.validate()
    second = make_trainer(motion, tmp_path / "h", seed=9)
    second.start_from(str(tmp_path / "g" / "best.safetensors"))
    for a, b in zip(first.average, second.model.parameters(), strict=True):
        torch.testing.assert_close(a, b.detach(), atol=0, rtol=0)


@pytest.mark.parametrize("channels", [4, 5])
def test_weights_made_before_an_input_was_there_go_on(
    channels: int, motion: Path, tmp_path: Path
) -> None:
    """New channels change nothing at first, and are learned from then on."""
    old = make_trainer(motion, tmp_path / "o", model={**SMALL["model"], "in_channels": channels})
    with old.averaged() as model:
        save_checkpoint(tmp_path / "old.safetensors", model.state_dict(), old._meta({}))
    trainer = make_trainer(motion, tmp_path / "n")
    trainer.start_from(str(tmp_path / "old.safetensors"))
    x = torch.randn(2, 9, 17, RAY_CHANNELS)
    with torch.no_grad():
        torch.testing.assert_close(trainer.model(x), old.model(x[..., :channels]))
    trainer.step()
    embedding = trainer.model.frame_embedding.weight.view(-1, 17, RAY_CHANNELS)
    assert (embedding[..., channels:].abs().amax((0, 1)) > 0).all()


def test_weights_without_pooling_go_on_with_it(motion: Path, tmp_path: Path) -> None:
    old = make_trainer(motion, tmp_path / "p")
    with old.averaged() as model:
        save_checkpoint(tmp_path / "old.safetensors", model.state_dict(), old._meta({}))
    pooling = {**SMALL["model"], "pooling": True}
    trainer = make_trainer(motion, tmp_path / "q", model=pooling)
    trainer.start_from(str(tmp_path / "old.safetensors"))
    x = torch.randn(2, 9, 17, RAY_CHANNELS)
    with torch.no_grad():
        torch.testing.assert_close(trainer.model(x), old.model(x))
    trainer.step()
    assert trainer.model.pools[0].proj.weight.abs().max() > 0


def test_hidden_matrices_take_orthogonal_steps(motion: Path, tmp_path: Path) -> None:
    trainer = make_trainer(motion, tmp_path / "r", weight_decay=0.0)
    names = {id(p): n for n, p in trainer.model.named_parameters() if p.requires_grad}
    hidden = {names[id(p)] for p in hidden_matrices(trainer.model)}
    assert {n.split(".", 2)[2] for n in hidden if n.startswith("STEblocks.0")} == {
        "op.in_proj.weight", "op.out_proj.weight", "mlp.fc1.weight", "mlp.fc2.weight"
    }  # fmt: skip
    assert not any(n.startswith(("head", "Spatial_patch", "frame_embedding")) for n in hidden)
    groups = [g for o, _ in trainer.optimizers for g in o.param_groups]
    trained = [id(p) for group in groups for p in group["params"]]
    assert len(trained) == len(set(trained)) == len(names)

    own = {"muon": trainer.model.STEblocks[0].mlp.fc1.weight, "adamw": trainer.model.head[1].weight}
    before = {name: weight.detach().clone() for name, weight in own.items()}
    rate = trainer.rate()
    trainer.step()
    moved = {name: (weight.detach() - before[name]) / rate for name, weight in own.items()}
    torch.testing.assert_close(moved["adamw"].abs(), torch.ones(3, 16), atol=0.02, rtol=0)
    factor, rows = trainer.config.muon, max(own["muon"].shape)
    spectrum = torch.linalg.svdvals(moved["muon"]) / (0.2 * rows**0.5 * factor)
    assert 0.7 < spectrum[:4].mean() < 1.3, "an orthogonal matrix of the size of AdamW's steps"


def test_all_parameters_can_be_left_to_adamw(motion: Path, tmp_path: Path) -> None:
    trainer = make_trainer(motion, tmp_path / "s", muon=0.0)
    ((optimizer, factor),) = trainer.optimizers
    assert isinstance(optimizer, torch.optim.AdamW)
    assert factor == 1.0


def test_an_old_pytorch_without_muon_is_told(
    motion: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(torch.optim, "Muon")
    code, output = train(SMALL, motion, tmp_path)
    assert code == 2
    assert "PyTorch 2.9" in " ".join(output.split())


def test_a_run_that_does_not_learn_says_so(
    motion: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = make_trainer(motion, tmp_path / "i")
    trainer.progress.windows = 6_000
    trainer._watch_health([{"mpjpe": torch.tensor(180.0)}] * 50)
    assert "180 mm after 6000 windows" in capsys.readouterr().err
    trainer._watch_health([{"mpjpe": torch.tensor(120.0)}] * 50)
    assert capsys.readouterr().err == ""


def test_decay_spares_what_it_should() -> None:
    config = TrainConfig()
    from posemamba.model import PoseMamba

    model = PoseMamba(dataclasses.replace(config.model_config(), integer_decay=False))
    names = {id(p): n for n, p in model.named_parameters()}
    decayed, spared = parameter_groups(model, 0.02)
    assert decayed["weight_decay"] == 0.02
    assert spared["weight_decay"] == 0.0
    assert all(p.ndim >= 2 for p in decayed["params"])
    spared_names = {names[id(p)] for p in spared["params"]}
    assert {"Spatial_pos_embed", "STEblocks.0.op.A_logs", "STEblocks.0.op.Ds"} <= spared_names
    assert len(decayed["params"]) + len(spared["params"]) == len(names)


def test_the_rate_warms_up_stays_and_falls() -> None:
    config = TrainConfig(windows=1000, decay_windows=400, learning_rate=1e-3, warmup_steps=10)
    assert config.rate_at(0, 0) == pytest.approx(1e-4)
    assert config.rate_at(500, 100) == pytest.approx(1e-3)
    assert config.rate_at(800, 100) == pytest.approx(5e-4)
    assert config.rate_at(1000, 100) == pytest.approx(2e-5)


def test_loss_against_plain_numpy() -> None:
    rng = np.random.default_rng(0)
    p, t = rng.normal(0, 0.3, (2, 3, 5, NUM_JOINTS, 3)).astype(np.float32)
    height = rng.uniform(1.5, 1.9, 3).astype(np.float32)
    loss, parts = pose_loss(*(torch.from_numpy(a) for a in (p, t, height)), velocity_weight=20.0)

    limbs = (1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15, 16)
    weights = np.full(NUM_JOINTS, OTHER_JOINT_WEIGHT)
    weights[list(limbs)] = 1.0
    weights /= weights.mean()
    p, t = ((a - a[:, :, :1]) * height[:, None, None, None] for a in (p, t))
    mean = lambda d: (np.linalg.norm(d, axis=-1) * weights).mean()  # noqa: E731
    n_mpjpe = np.mean([mean(a * (a * b).sum() / (a * a).sum() - b) for a, b in zip(p, t)])  # noqa: B905
    velocity = mean(np.diff(p, axis=1) - np.diff(t, axis=1))
    assert float(loss) == pytest.approx(mean(p - t) + 0.5 * n_mpjpe + 20 * velocity, rel=1e-4)
    assert parts["mpjpe"] == pytest.approx(1000 * mean(p - t), rel=1e-4)


def test_windows_of_one_frame_have_no_velocity() -> None:
    one = torch.randn(2, 1, NUM_JOINTS, 3)
    loss, parts = pose_loss(one, one + 0.1 * torch.randn_like(one), torch.ones(2))
    assert torch.isfinite(loss)
    assert parts["velocity"] == 0.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "Expecting"),
        ('{"windowz": 3}', "unknown keys windowz"),
        ('{"preset": "XXL"}', "none of"),
    ],
)
def test_a_bad_config_is_a_usage_error(text: str, said: str, motion: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    result = CliRunner().invoke(app, [str(path), "--motion", str(motion), "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert said in " ".join(result.output.replace("│", " ").split())


def test_a_folder_without_motion_is_a_usage_error(tmp_path: Path) -> None:
    code, output = train(SMALL, tmp_path, tmp_path)
    assert code == 2
    assert "--motion" in output


def test_shipped_configs_can_be_read() -> None:
    folder = Path(__file__).parent.parent / "weights" / "recipes"
    paths = sorted(folder.glob("*.json"))
    assert paths
    for path in paths:
        assert load_config(path).name == path.stem
