"""Networks trained alike for the same processor time, and how good each of them becomes.

Every run has the same motion, synthesis, losses, batches and rates; only the network differs.
What counts as training is `time.process_time` of the optimiser's steps on one thread, batches
included; the rate is constant for the first half of it and then falls, so that a run's end does
not depend on how many windows its network gets through. Runs that were stopped go on where they
were. Wrong side: limb joints of which the sign of depth within the limb is wrong, in per cent.

    python benchmarks/ablation.py --motion MOTION_FOLDER --out runs/ablation --minutes 30
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from posemamba.checkpoint import save_checkpoint
from posemamba.training.config import TrainConfig
from posemamba.training.scoring import evaluate_model, millimetres, predict
from posemamba.training.train import Trainer
from posemamba_live.evaluation.synthetic import wrong_sides

NETWORKS: dict[str, dict[str, Any]] = {
    "posemamba": {"preset": "M3"},
    "posemamba+pooling": {"preset": "pooling-M3"},
    "pose-magic": {"preset": "magic-M3"},
    "attention-mamba": {"preset": "attention-M5"},
    "pose-magic+exchange": {"preset": "magic-M3", "model": {"exchange": True}},
    "causal posemamba": {"preset": "M3", "model": {"causal": True}},
    "causal pose-magic": {"preset": "magic-M3", "model": {"causal": True}},
}
FIRST = ("posemamba", "pose-magic", "attention-mamba", "posemamba+pooling")
RECIPE: dict[str, Any] = {
    "frames": 27,
    "windows": 1_000_000_000,  # processor time ends a run
    "batch": 16,
    "small_batch": 16,
    "learning_rate": 1.5e-3,
    "matmul_precision": "highest",
    "validation_windows": 256,
}
FALL = 0.5
"""Share of a run in which the rate falls."""
SAVE_EVERY_S = 30.0


class TimedTrainer(Trainer):
    """A trainer whose rate depends on the share of its processor time that is spent."""

    share = 0.0

    def rate(self) -> float:
        warm = min(1.0, (self.progress.step + 1) / self.config.warmup_steps)
        fall = max(self.config.final_rate, min(1.0, (1.0 - self.share) / FALL))
        return self.config.learning_rate * warm * fall


def run_one(network: str, seed: int, motion: Path, out: Path, minutes: float) -> None:
    """Train, or go on training, one network; leaves weights and result.json in its folder."""
    folder = out / f"{network.replace(' ', '-')}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "result.json").exists():
        return
    torch.set_num_threads(1)
    config = TrainConfig(name=folder.name, seed=seed, **RECIPE, **NETWORKS[network])
    trainer = TimedTrainer(config, motion, folder, "cpu", 0, 1)
    spent_file, spent = folder / "spent.txt", 0.0
    if (folder / "last.pt").exists():
        trainer.resume(folder / "last.pt")
        spent = float(spent_file.read_text())
    else:
        shortest = torch.from_numpy(trainer.validation.inputs[:1, :2])
        trainer.model(shortest).sum().backward()  # kernels are compiled
    budget, saved = 60.0 * minutes, spent
    while spent < budget:
        trainer.share = spent / budget
        start = time.process_time()
        trainer.step()
        spent += time.process_time() - start
        if spent - saved > SAVE_EVERY_S or spent >= budget:
            trainer.save()
            spent_file.write_text(str(spent))
            saved = spent
    windows = trainer.validation
    with trainer.averaged() as model:
        scores = evaluate_model(model, windows)
        answers = millimetres(predict(model, windows.inputs), windows)
        wrong = wrong_sides(answers, millimetres(windows.target, windows))
        meta = trainer._meta(scores)
        save_checkpoint(folder / "weights.safetensors", model.state_dict(), meta)
    result = {
        "network": network,
        "seed": seed,
        "minutes": minutes,
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        "progress": dataclasses.asdict(trainer.progress),
        "scores": scores,
        "wrong_side": wrong,
    }
    (folder / "result.json").write_text(json.dumps(result, indent=1, default=float))


def print_table(out: Path) -> None:
    """Of all finished runs, the best first."""
    results = [json.loads(path.read_text()) for path in sorted(out.glob("*/result.json"))]
    results.sort(key=lambda r: float(r["scores"]["n_mpjpe"]))
    print("| network | seed | parameters | processor minutes | windows | N / PA / accel "
          "| wrong side: arms, legs, % |")  # fmt: skip
    print("|---|---|---|---|---|---|---|")
    for r in results:
        s, wrong = r["scores"], r["wrong_side"]
        print(
            f"| {r['network']} | {r['seed']} | {r['parameters']:,} | {r['minutes']:g} "
            f"| {r['progress']['windows']:,} "
            f"| {s['n_mpjpe']:.1f} / {s['pa_mpjpe']:.1f} / {s['accel']:.1f} "
            f"| {wrong['arms']:.1f}, {wrong['legs']:.1f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--motion", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--minutes", type=float, default=30.0, help="processor time of each run")
    parser.add_argument("--networks", nargs="+", default=list(FIRST), choices=list(NETWORKS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--together", type=int, default=2, help="runs at a time")
    parser.add_argument("--one", action="store_true", help="in this process, and no table")
    args = parser.parse_args()
    jobs = [(network, seed) for seed in args.seeds for network in args.networks]
    if args.one:
        for network, seed in jobs:
            run_one(network, seed, args.motion, args.out, args.minutes)
        return
    os.nice(15)
    common = ["--motion", args.motion, "--out", args.out, "--minutes", args.minutes, "--one"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

    def start(job: tuple[str, int]) -> None:
        command = [sys.executable, __file__, *common, "--networks", job[0], "--seeds", job[1]]
        subprocess.run([str(part) for part in command], check=True, env=environment)

    with ThreadPoolExecutor(args.together) as pool:
        list(pool.map(start, jobs))
    print_table(args.out)


if __name__ == "__main__":
    main()
