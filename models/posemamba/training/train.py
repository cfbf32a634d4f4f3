"""posemamba-train: train a lifter on synthetic windows, resumably, on CPU or CUDA."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import functools
import os
import platform
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
import typer
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn

from posemamba import gravity
from posemamba.checkpoint import CheckpointMeta, load_checkpoint, save_checkpoint
from posemamba.hybrid import build
from posemamba.model import LifterNetwork
from posemamba.normalize import RAY_INPUTS, ray_track, ray_window, root_relative
from posemamba.skeleton import NUM_JOINTS
from posemamba.training.config import TrainConfig, load_config
from posemamba.training.loss import gravity_loss, pose_loss
from posemamba.training.motion import MotionError, load_motion
from posemamba.training.prefetch import Arrays, MakeBatch, Prefetcher, Request, to_device
from posemamba.training.scoring import evaluate_model
from posemamba.training.synth import Batch, SynthConfig, WindowSampler, load_windows

GPU_WORKERS = 4
"""One makes more than 500 windows of 243 frames a second."""
SICK_AFTER_WINDOWS = 6_000
SICK_MPJPE_MM = 165.0
"""Runs that learn are below 145 mm by then; the plateau at the mean pose is about 180."""


@dataclasses.dataclass
class Progress:
    """What a resumed run has to know besides weights and optimiser."""

    step: int = 0
    windows: int = 0
    best: float = float("inf")


class Trainer:
    """One process of a run; rank 0 logs, validates and saves."""

    def __init__(
        self,
        config: TrainConfig,
        motion: Path,
        folder: Path,
        device: str,
        rank: int,
        world: int,
        workers: int = 0,
    ) -> None:
        self.config, self.folder, self.rank, self.world = config, folder, rank, world
        self.device = torch.device(device)
        torch.manual_seed(config.seed)
        self.model = build(config.model_config()).to(self.device)
        self.average = [p.detach().clone() for p in self.model.parameters()]
        self.optimizers = optimizers(self.model, config)
        self.progress = Progress()
        self.source = BatchSource(config, motion)
        self.workers = workers
        self.sampler = self.source.sampler()
        self._ahead: Prefetcher | None = None
        if rank == 0:
            windows = load_windows(
                motion, "val", config.validation_windows, config.frames,
                close=0.2, level=0.4, shoulders=True, occlusion=config.occlusion,
            )  # fmt: skip
            if config.frame_by_frame:
                inputs, target, _ = streamed(windows)
                windows = dataclasses.replace(windows, inputs=inputs, target=target)
            self.validation = windows

    def run(self, deadline: float) -> None:
        """Train until the config's windows, the deadline (time.monotonic) or SIGTERM."""
        stop = _stop_flag()
        started, start_windows = time.monotonic(), self.progress.windows
        recent: list[dict[str, Tensor]] = []
        while self.progress.windows < self.config.windows:
            recent.append(self.step())
            p = self.progress
            done = self._agree(stop.is_set or time.monotonic() > deadline)
            if self.rank == 0:
                rate = (p.windows - start_windows) / (time.monotonic() - started)
                if p.step % 20 == 0:
                    _status(p, self.config.windows, rate, float(recent[-1]["mpjpe"]))
                if self._passed(self.config.checkpoint_every) or done:
                    self._log(recent, rate)
                    recent.clear()
                    self.save()
                if self._passed(self.config.validate_every):
                    self.validate()
                self._watch_health(recent)
            if done:
                break
        if self.rank == 0:
            self.validate()
            self.save()

    def step(self) -> dict[str, Tensor]:
        """One optimiser step; the parts of the loss in mm."""
        with matmul_precision(self.config.matmul_precision):
            return self._step()

    def _step(self) -> dict[str, Tensor]:
        config, p = self.config, self.progress
        size = config.batch_at(p.windows) // self.world
        inputs, target, height, angles = to_device(self._next_batch(), self.device)
        ramp = min(1.0, p.windows / max(config.velocity_ramp_windows, 1))
        mixed = config.mixed_precision and self.device.type == "cuda"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=mixed):
            predicted = self.model(inputs)
        loss, parts = pose_loss(
            predicted[:, :, :NUM_JOINTS].float(),
            target,
            height,
            velocity_weight=ramp * config.velocity_weight,
        )
        if self.model.config.gravity:
            extra, more = gravity_loss(predicted.float(), target, height, angles)
            loss, parts = loss + config.gravity_weight * extra, parts | more
        self.model.zero_grad(set_to_none=True)
        loss.backward()
        if self.world > 1:
            average_gradients(self.model, self.world)
        nn.utils.clip_grad_norm_(self.model.parameters(), config.clip)
        for optimizer, factor in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.rate() * factor
            optimizer.step()
        with torch.no_grad():
            # A young average would remember the initialisation: decay grows with the steps.
            decay = min(config.ema, (1 + p.step) / (10 + p.step))
            torch._foreach_lerp_(self.average, list(self.model.parameters()), 1.0 - decay)
        p.step += 1
        p.windows += size * self.world
        return parts

    def rate(self) -> float:
        """Learning rate of the step that comes now."""
        return self.config.rate_at(self.progress.windows, self.progress.step)

    def _next_batch(self) -> Arrays:
        """Of the step that comes now."""
        if not self.workers:
            request = next(self._requests())
            return make_batch(self.sampler, self.config, request.size, request.index)
        if self._ahead is None:
            self._ahead = Prefetcher(self.source, self._requests(), self.workers)
        return next(self._ahead)

    def _requests(self) -> Iterator[Request]:
        """This process's batches from the step that comes now on."""
        step, windows = self.progress.step, self.progress.windows
        while True:
            size = self.config.batch_at(windows) // self.world
            yield Request(size, step * self.world + self.rank)
            step, windows = step + 1, windows + size * self.world

    def close(self) -> None:
        """End the processes that make batches."""
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None

    @contextlib.contextmanager
    def averaged(self) -> Iterator[LifterNetwork]:
        """The model with its averaged weights."""
        parameters: list[Tensor] = list(self.model.parameters())
        current = [p.detach().clone() for p in parameters]
        with torch.no_grad():
            torch._foreach_copy_(parameters, self.average)
            try:
                yield self.model.eval()
            finally:
                torch._foreach_copy_(parameters, current)
                self.model.train()

    def validate(self) -> None:
        """Score the averaged weights on validation motion; keep the best as weights."""
        with self.averaged() as model:
            with matmul_precision(self.config.matmul_precision):
                scores = evaluate_model(model, self.validation)
            p = self.progress
            _append_csv(self.folder / "validation.csv", {"windows": p.windows, **scores})
            if scores["n_mpjpe"] < p.best:
                p.best = scores["n_mpjpe"]
                save_checkpoint(
                    self.folder / "best.safetensors", model.state_dict(), self._meta(scores)
                )
        listed = ", ".join(f"{k} {v:.1f}" for k, v in scores.items())
        print(f"\nvalidation at {p.windows} windows: {listed}", file=sys.stderr, flush=True)

    def save(self) -> None:
        """Everything that a resumed run needs, atomically."""
        path = self.folder / "last.pt"
        state = {
            "model": self.model.state_dict(),
            "average": self.average,
            "optimizers": [optimizer.state_dict() for optimizer, _ in self.optimizers],
            "progress": dataclasses.asdict(self.progress),
        }
        torch.save(state, path.with_suffix(".part"))
        os.replace(path.with_suffix(".part"), path)

    def resume(self, path: Path) -> None:
        """Go on from `save`."""
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.average = [t.to(self.device) for t in state["average"]]
        for (optimizer, _), kept in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
        self.progress = Progress(**state["progress"])
        self.close()  # batches made ahead were those of another step

    def start_from(self, weights: str) -> None:
        """Begin with the weights of a finished network instead of random ones."""
        source = load_checkpoint(weights).model.to(self.device).state_dict()
        own = self.model.state_dict()
        for name, parameter in own.items():
            if name.startswith("pools.") and ".proj." in name:
                parameter.zero_()  # weights without pooling go on from what they answer
        fitting = {k: fit(v, own[k]) for k, v in source.items() if k in own}
        self.model.load_state_dict({**own, **{k: v for k, v in fitting.items() if v is not None}})
        self.average = [p.detach().clone() for p in self.model.parameters()]

    def _meta(self, scores: dict[str, float]) -> CheckpointMeta:
        training = {
            "config": dataclasses.asdict(self.config),
            "windows": self.progress.windows,
            "steps": self.progress.step,
            "validation_mm": {k: round(v, 2) for k, v in scores.items()},
            "data": "open motion capture with synthetic cameras and detector noise; see the card",
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "numpy": np.__version__,
            },
        }
        return CheckpointMeta(
            name=self.config.name,
            config=self.model.config,
            input_kind="stream" if self.config.frame_by_frame else "rays",
            output_unit="body_height",
            training=training,
        )

    def _passed(self, every: int) -> bool:
        """True once whenever the window count crosses a multiple of `every`."""
        before = self.progress.windows - self.config.batch_at(self.progress.windows - 1)
        return self.progress.windows // every > before // every

    def _agree(self, flag: bool) -> bool:
        """Whether any process wants to stop: all must leave the loop together."""
        if self.world == 1:
            return flag
        wish = torch.tensor([float(flag)])
        dist.all_reduce(wish, op=dist.ReduceOp.MAX)
        return bool(wish.item() > 0)

    def _log(self, recent: list[dict[str, Tensor]], rate: float) -> None:
        means = {k: float(torch.stack([r[k] for r in recent]).mean()) for k in recent[0]}
        p = self.progress
        row = {
            "windows": p.windows,
            "step": p.step,
            "rate": self.rate(),
            "windows_per_s": rate,
            **means,
        }
        _append_csv(self.folder / "train.csv", row)

    def _watch_health(self, recent: list[dict[str, Tensor]]) -> None:
        if not self._passed(SICK_AFTER_WINDOWS) or self.progress.windows > 2 * SICK_AFTER_WINDOWS:
            return
        error = float(torch.stack([r["mpjpe"] for r in recent[-50:]]).mean()) if recent else 0.0
        if error > SICK_MPJPE_MM:
            print(
                f"\nwarning: {error:.0f} mm after {self.progress.windows} windows; runs that "
                "learn are below 145. Check the initialisation and use smaller batches.",
                file=sys.stderr,
            )


@dataclasses.dataclass(frozen=True)
class BatchSource:
    """What a process needs to make a run's batches."""

    config: TrainConfig
    motion: Path

    def sampler(self) -> WindowSampler:
        config = self.config
        synth = SynthConfig.from_dict(config.synth)
        motion = load_motion(self.motion, "train")
        return WindowSampler(motion, synth, frames=config.frames, seed=config.seed)

    def __call__(self) -> MakeBatch:
        return functools.partial(make_batch, self.sampler(), self.config)


def make_batch(sampler: WindowSampler, config: TrainConfig, size: int, index: int) -> Arrays:
    """Inputs and target as the network will meet them in use, and body heights."""
    batch = sampler.batch(size, index=index)
    rng = np.random.default_rng((config.seed, 1, index))
    short = not config.model_config().causal and rng.random() < config.short_windows
    # The start of a live track and clips shorter than a window.
    frames = int(rng.integers(1, config.frames)) if short else config.frames
    if config.frame_by_frame:
        inputs, target, angles = streamed(batch, frames)
    elif short:
        inputs, target, angles = shortened(batch, frames)
    else:
        inputs, target = batch.inputs, batch.target
        angles = _angles(batch, batch.rotation[:, None])
    return inputs, target, batch.height, angles


def _angles(batch: Batch, rotation: Any) -> Any:
    """(B, T or 1, 2) pitch and roll of virtual cameras that are turned by (B, T or 1, 3, 3)."""
    up = (rotation @ batch.up[:, None, :, None])[..., 0]
    return gravity.angles_of(up)


def streamed(batch: Batch, frames: int | None = None) -> tuple[Any, Any, Any]:
    """The first frames of a batch normalised one by one (`ray_track`).

    Returns:
        inputs (B, T, 17, 6), target (B, T, 17, 3) in body heights, each frame in the axes of
        its own virtual camera, and (B, T, 2) their pitch and roll.
    """
    part = slice(0, frames)
    track = ray_track(
        batch.keypoints[:, part],
        batch.scores[:, part],
        batch.image_size,
        1.0 / batch.fps,
        peaks=batch.peaks[:, part],
    )
    joints = track.to_virtual(root_relative(batch.joints[:, part]))
    angles = _angles(batch, track.turns)
    return track.inputs, joints / batch.height[:, None, None, None], angles


def shortened(batch: Batch, frames: int) -> tuple[Any, Any, Any]:
    """The first frames of every window, normalised by what they hold: as `streamed` returns."""
    part = slice(0, frames)
    window = ray_window(
        batch.keypoints[:, part],
        batch.scores[:, part],
        batch.image_size,
        peaks=batch.peaks[:, part],
    )
    joints = window.to_virtual(root_relative(batch.joints[:, part]))
    angles = _angles(batch, window.turns)
    return window.inputs, joints / batch.height[:, None, None, None], angles


@contextlib.contextmanager
def matmul_precision(name: str) -> Iterator[None]:
    """Multiply so precisely meanwhile, and as before afterwards: it is a setting of the process."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(name)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def fit(source: Tensor, own: Tensor) -> Tensor | None:
    """A finished network's parameter in the shape that this network has it.

    Input channels that the finished network does not know count for nothing at first.

    Args:
        source, own: the same, or embeddings of (dim, c) or (dim, 17 c) inputs.

    Returns:
        None if the shapes have nothing to do with each other.
    """
    if source.shape == own.shape:
        return source
    if source.ndim != 2 or len(source) != len(own) or own.ndim != 2:
        return None
    for joints in (1, NUM_JOINTS):
        channels, wanted = source.shape[1] / joints, own.shape[1] / joints
        if channels in RAY_INPUTS and wanted in RAY_INPUTS and channels < wanted:
            by_joint = source.view(len(source), joints, int(channels))
            return F.pad(by_joint, (0, int(wanted - channels))).flatten(1)
    return None


def optimizers(model: nn.Module, config: TrainConfig) -> list[tuple[torch.optim.Optimizer, float]]:
    """What trains which parameters, each with its factor on the learning rate.

    Muon (Jordan et al. 2024; its steps scaled to AdamW's size as in arXiv 2502.16982) trains the
    matrices between tokens: a network that begins learns faster by its orthogonal steps, a grown
    one as fast. The two ends of the network, the scan, biases and norms stay with AdamW.
    """
    chosen = hidden_matrices(model) if config.muon else []
    groups = parameter_groups(model, config.weight_decay, without=chosen)
    found: list[tuple[torch.optim.Optimizer, float]] = [
        (torch.optim.AdamW(groups, lr=config.learning_rate, fused=True), 1.0)
    ]
    if chosen:
        muon = torch.optim.Muon(
            chosen,
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            adjust_lr_fn="match_rms_adamw",
        )
        found.append((muon, config.muon))
    return found


def hidden_matrices(model: nn.Module) -> list[Tensor]:
    """Weights of the linear layers that map tokens to tokens."""
    ends = ("Spatial_patch_to_embedding", "frame_embedding", "head", "gravity")
    return [
        module.weight
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and not name.startswith(ends)
    ]


def parameter_groups(
    model: nn.Module, weight_decay: float, without: Sequence[Tensor] = ()
) -> list[dict[str, Any]]:
    """Weight decay for matrices only: not for A, D, biases, norms, positions, skips."""
    plain = ("A_logs", "Ds", "bias", "norm", "pos_embed", "input_skip", "head.0", "scale", "shift")
    groups: dict[bool, list[Tensor]] = {True: [], False: []}
    others = {id(parameter) for parameter in without}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and id(parameter) not in others:
            groups[any(part in name for part in plain)].append(parameter)
    return [
        {"params": groups[False], "weight_decay": weight_decay},
        {"params": groups[True], "weight_decay": 0.0},
    ]


def average_gradients(model: nn.Module, world: int) -> None:
    """Mean of the gradients over all processes, in one message."""
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([g.flatten() for g in grads])
    dist.all_reduce(flat)
    flat /= world
    pieces = flat.split([g.numel() for g in grads])
    torch._foreach_copy_(grads, [p.view_as(g) for p, g in zip(pieces, grads, strict=True)])


class _Flag:
    is_set = False


def _stop_flag() -> _Flag:
    """A flag that SIGINT and SIGTERM set, so that a run ends with a checkpoint."""
    flag = _Flag()

    def handler(*_: Any) -> None:
        flag.is_set = True

    signal.signal(signal.SIGTERM, handler)
    signal.signal(signal.SIGINT, handler)
    return flag


def _status(p: Progress, total: int, rate: float, mpjpe: float) -> None:
    if sys.stderr.isatty():
        left = (total - p.windows) / max(rate, 1e-6) / 60.0
        print(
            f"\r{p.windows}/{total} windows  {rate:.1f}/s  {left:.0f} min left  {mpjpe:.0f} mm ",
            end="",
            file=sys.stderr,
            flush=True,
        )


def _append_csv(path: Path, row: dict[str, float]) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(row))
        if new:
            writer.writeheader()
        writer.writerow({k: round(v, 6) for k, v in row.items()})


def _worker(
    rank: int,
    world: int,
    config: TrainConfig,
    motion: Path,
    folder: Path,
    device: str,
    initial: str | None,
    minutes: float,
    workers: int,
    rendezvous: str,
) -> None:
    deadline = time.monotonic() + 60.0 * minutes
    if world > 1:
        torch.set_num_threads(1)
        dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=world)
    trainer = Trainer(config, motion, folder, device, rank, world, workers)
    if (folder / "last.pt").exists():
        trainer.resume(folder / "last.pt")
    elif initial:
        trainer.start_from(initial)
    try:
        trainer.run(deadline)
    finally:
        trainer.close()
    if world > 1:
        dist.destroy_process_group()
        # Gloo's threads may hold tensors that still are Python objects; letting go of them while
        # the interpreter is being torn down ends the process with SIGABRT (pytorch PR 179291).
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="JSON file of the run.")],
    motion: Annotated[Path, typer.Option(help="Folder with the motion .npz files.")],
    out: Annotated[Path, typer.Option(help="Folder for checkpoints and logs.")] = Path("runs"),
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    processes: Annotated[int, typer.Option(min=1, help="CPU processes, one thread each.")] = 1,
    minutes: Annotated[float, typer.Option(help="Stop (resumably) after this long.")] = 1e9,
    initial: Annotated[str | None, typer.Option(help="Weights to start from.")] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=0, help="Processes that make batches ahead; 0 on CPUs, else 4."),
    ] = None,
) -> None:
    """Train a lifter; run it again to go on where it stopped."""
    try:
        load_motion(motion, "val")
    except MotionError as error:
        raise typer.BadParameter(str(error), param_hint="--motion") from error
    try:
        settings = load_config(config)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error), param_hint="CONFIG") from error
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    folder = out / settings.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(config.read_text(encoding="utf-8"), encoding="utf-8")
    if workers is None:
        workers = 0 if device == "cpu" else GPU_WORKERS
    common = (processes, settings, motion, folder, device, initial, minutes, workers)
    if processes == 1:
        _worker(0, *common, "")
        return
    rendezvous = (folder / "rendezvous").resolve()
    rendezvous.unlink(missing_ok=True)
    spawn(_worker, (*common, rendezvous.as_uri()), nprocs=processes)


def main() -> None:
    app()


if __name__ == "__main__":
    main()
