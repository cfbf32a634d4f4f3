"""How fast the lifter is: whole forwards on the CPU, against the reference and a rival.

Everything that is compared runs in turns within one process, and what counts are the ratios
of the medians. Work of one thread is measured in processor time, which other programs on the
machine hardly touch; work of several in wall time, which needs a quiet machine. Weights are
random: they do not change the work.

    python benchmarks/lifter.py --json lifter.json
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

import torch
import typer
from motionagformer import XS_FRAMES, MotionAGFormer

from posemamba.config import PRESETS, PoseMambaConfig
from posemamba.model import PoseMamba
from posemamba.scan import use_backend

NETWORKS: Final = ("S", "M3", "XS")
FRAMES: Final = (27, 81, 243)
RIVAL: Final = "MotionAGFormer-XS"
_TURN_S: Final = 0.3
"""A turn of a fast candidate repeats it for so long."""
_PAUSE_S: Final = 0.05
"""Lets the threads that one candidate leaves spinning fall asleep before the next."""


@dataclass
class Timing:
    """One thing that is timed, and its times in milliseconds."""

    network: str
    frames: int
    threads: int
    backend: str
    run: Callable[[], object] = field(repr=False)
    times: list[float] = field(default_factory=list, repr=False)
    """Processor time if one thread works, else wall time."""
    wall: list[float] = field(default_factory=list, repr=False)

    @property
    def median(self) -> float:
        return statistics.median(self.times)

    def turn(self) -> None:
        torch.set_num_threads(self.threads)
        self.run()  # brings caches and threads back
        spent = 0.0
        while spent < _TURN_S:
            wall, own = time.perf_counter(), time.thread_time()
            self.run()
            wall, own = time.perf_counter() - wall, time.thread_time() - own
            self.wall.append(1000 * wall)
            self.times.append(1000 * (own if self.threads == 1 else wall))
            spent += own
        time.sleep(_PAUSE_S)

    def report(self) -> dict[str, Any]:
        return {
            "network": self.network,
            "frames": self.frames,
            "threads": self.threads,
            "backend": self.backend,
            "median_ms": round(self.median, 2),
            "wall_median_ms": round(statistics.median(self.wall), 2),
            "wall_min_ms": round(min(self.wall), 2),
            "runs": len(self.times),
        }


@dataclass(frozen=True)
class Ratio:
    """Two medians compared, and what the project wants of it."""

    what: str
    value: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def reached(self) -> bool:
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )

    def __str__(self) -> str:
        wanted = f">= {self.at_least}" if self.at_least is not None else f"<= {self.at_most}"
        verdict = "reached" if self.reached else "missed"
        return f"{self.what:<52}{self.value:>7.2f}   wanted {wanted}: {verdict}"


def posemamba(preset: str, frames: int, threads: int, backend: str, causal: bool = False) -> Timing:
    """A whole forward of one window, or (causal) one step of a stream."""
    config = PoseMambaConfig(**PRESETS[preset], in_channels=4, causal=causal)
    model = PoseMamba(config).eval().requires_grad_(False)
    state = model.init_state() if causal else []
    x = torch.randn(1, 17, 4) if causal else torch.randn(1, frames, 17, 4)

    @torch.inference_mode()
    def run() -> object:
        with use_backend(backend):
            return model.step(x, state) if causal else model(x)

    return Timing(preset, frames, threads, backend, run)


def rival() -> Timing:
    model = MotionAGFormer().eval().requires_grad_(False)
    x = torch.randn(1, XS_FRAMES, 17, 3)

    @torch.inference_mode()
    def run() -> object:
        return model(x)

    return Timing(RIVAL, XS_FRAMES, 1, "eager", run)


def alternate(timings: Iterable[Timing], rounds: int) -> list[Timing]:
    timings = list(timings)
    for timing in timings:
        timing.run()  # compiles
    for _ in range(rounds):
        for timing in timings:
            timing.turn()
    for timing in timings:
        row = timing.report()
        typer.echo(
            f"{row['network']:<19}{row['frames']:>6}{row['threads']:>8}  {row['backend']:<12}"
            f"{row['median_ms']:>9.1f}{row['wall_median_ms']:>9.1f}{row['wall_min_ms']:>9.1f}"
            f"{row['runs']:>6}"
        )
    return timings


def measure(rounds: int, reference_up_to: int) -> tuple[list[Timing], list[Ratio]]:
    """All timings, one comparison after the other, and the ratios that are wanted."""
    done: list[Timing] = []
    ratios: list[Ratio] = []
    for preset in NETWORKS:
        for frames in FRAMES:
            group = [posemamba(preset, frames, 1, "numba")]
            if frames <= reference_up_to:
                group.append(posemamba(preset, frames, 1, "reference"))
            done += alternate(group, rounds)
            if preset == "S" and len(group) == 2:
                ratios.append(
                    Ratio(
                        f"S, {frames} frames, one thread: reference / numba",
                        group[1].median / group[0].median,
                        at_least=20.0 if frames <= 81 else None,
                    )
                )
    ours, other = alternate([posemamba("S", XS_FRAMES, 1, "numba"), rival()], 3 * rounds)
    ratios.append(Ratio(f"S / {RIVAL}, 27 frames", ours.median / other.median, at_most=0.8))
    done += [ours, other]
    if (os.cpu_count() or 1) > 1:
        one, two = alternate([posemamba("S", 243, n, "numba") for n in (1, 2)], 2 * rounds)
        ratios.append(
            Ratio("S, 243 frames: one thread / two", one.median / two.median, at_least=1.6)
        )
        done += [one, two]
    done += alternate((posemamba(p, 1, 1, "numba", causal=True) for p in NETWORKS), rounds)
    return done, ratios


def main(
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write the numbers to this file.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Turns that each candidate gets.")] = 3,
    reference_up_to: Annotated[
        int, typer.Option(help="Longest window for the slow reference, in frames.")
    ] = 81,
) -> None:
    """Time whole forwards, batch 1; a window of 1 frame is a step of a stream."""
    count = sum(p.numel() for p in MotionAGFormer().parameters())
    typer.echo(f"{RIVAL}: {count / 1e6:.2f} M parameters")
    typer.echo("network            frames threads  backend            ms     wall wall min  runs")
    torch.manual_seed(0)
    timings, ratios = measure(rounds, reference_up_to)
    for ratio in ratios:
        typer.echo(str(ratio))
    if json_file is not None:
        report = {
            "machine": {
                "processor": platform.processor() or platform.machine(),
                "cpus": os.cpu_count(),
                "load": os.getloadavg() if hasattr(os, "getloadavg") else None,
            },
            "torch": torch.__version__,
            "timings": [t.report() for t in timings],
            "ratios": [{**asdict(r), "reached": r.reached} for r in ratios],
        }
        json_file.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
