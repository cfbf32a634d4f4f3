"""How fast the lifter is on a GPU: S, B, L at 27, 81, 243 frames, each backend in turns.

Every way to run a network takes its turn in one process, timed with CUDA events, so that a
GPU's changing clocks meet all of them. Beside each time stand the operations and bytes that
the pass needs, counted from the architecture, and the roofline: what they would take at the
rates that this GPU reaches in the same run on a large copy and on large matrix products.
Weights are random: they do not change the work.

    PYTHONPATH=models python benchmarks/gpu_lifter.py --json gpu.json
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import torch

from posemamba.config import PRESETS, PoseMambaConfig
from posemamba.cuda import CudaForward, Precision
from posemamba.model import PoseMamba
from posemamba.scan import available_backends, use_backend
from posemamba.skeleton import NUM_JOINTS

FRAMES: Final = (27, 81, 243)
BATCHES: Final = (1, 16)
PRECISIONS: Final[tuple[Precision, ...]] = ("float32", "tf32", "float16", "bfloat16")
REFERENCE_TOKENS: Final = 27 * NUM_JOINTS
"""The reference is a loop over tokens: longer windows would take the run's time."""
_SCAN_OPERATIONS: Final = 7
"""Per state: dt * A, its exponential, decay * h + dt B x (3), C h added up (2)."""


@dataclass(frozen=True)
class Step:
    """Part of a forward pass: operations, and bytes that go through memory at least."""

    name: str
    flops: float
    bytes: float
    matrix: bool = False
    """Done by the matrix units."""


def steps(config: PoseMambaConfig, batch: int, frames: int, element: int) -> list[Step]:
    """A pass whose kernels are matrix products, scan, convolution and what can be fused to it.

    Args:
        element: bytes of an activation or weight between kernels (the residual path is 4).
    """
    tokens = batch * frames * NUM_JOINTS
    c, d, n = config.dim, config.dim * config.expand, config.d_state
    rank = math.ceil(c / 16)
    rows = 4 * (rank + 2 * n)
    hidden = c * config.mlp_ratio

    def product(name: str, k: int, m: int) -> Step:
        traffic = element * (tokens * (k + m) + k * m)
        return Step(name, 2.0 * tokens * k * m, traffic, matrix=True)

    one = [
        product("in_proj", c, 2 * d),
        Step("conv", 22.0 * tokens * d, element * tokens * 2 * d),
        product("x_proj", d, rows),
        Step(
            "scan",
            tokens * 4.0 * d * (n * _SCAN_OPERATIONS + 2 * rank + 10),
            tokens * (element * (d + rows) + 4 * d),
        ),
        Step("gate", 20.0 * tokens * d, tokens * (4 * d + element * 2 * d)),
        product("out_proj", d, c),
        Step("norm2", 10.0 * tokens * c, tokens * c * (8 + 2 * element)),
        product("fc1", c, hidden),
        Step("gelu", 10.0 * tokens * hidden, tokens * hidden * 2 * element),
        product("fc2", hidden, c),
        Step("norms", 20.0 * tokens * c, tokens * c * (8 + 2 * element)),
    ]
    return one * (2 * config.depth)


@dataclass(frozen=True)
class Machine:
    """Rates that this GPU reached in this run."""

    copy: float
    """Bytes read and written per second."""
    float32: float
    """Operations per second of large matrix products; likewise the others."""
    tf32: float
    half: float
    """bfloat16; float16 has the same rate."""

    def roofline_ms(self, parts: list[Step], precision: Precision) -> float:
        """Time at these rates if nothing but the slower of work and traffic counted."""
        matrix = {"float32": self.float32, "tf32": self.tf32}.get(precision, self.half)
        seconds = sum(
            max(s.flops / (matrix if s.matrix else self.float32), s.bytes / self.copy)
            for s in parts
        )
        return 1000.0 * seconds


def measure_machine(side: int = 8192, copied: int = 1 << 30) -> Machine:
    """Large copies and products on random data (zeros can run faster)."""
    source = torch.randn(copied // 4, device="cuda")
    target = torch.empty_like(source)
    copy = 2.0 * copied / _seconds(functools.partial(target.copy_, source))
    rates = {}
    before = torch.get_float32_matmul_precision()
    for name, dtype in (
        ("float32", torch.float32),
        ("tf32", torch.float32),
        ("half", torch.bfloat16),
    ):
        torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
        a, b = (torch.randn(side, side, device="cuda", dtype=dtype) for _ in range(2))
        product = functools.partial(torch.mm, a, b, out=torch.empty_like(a))
        rates[name] = 2.0 * side**3 / _seconds(product)
    torch.set_float32_matmul_precision(before)
    return Machine(copy=copy, **rates)


def _seconds(run: Callable[[], object], repeats: int = 10) -> float:
    """Median of single runs after three that do not count."""
    for _ in range(3):
        run()
    return statistics.median(event_ms(run, 1) for _ in range(repeats)) / 1000.0


def event_ms(run: Callable[[], object], count: int) -> float:
    """Milliseconds of one of `count` runs one after another, by the GPU's own clock."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(count):
        run()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / count


@dataclass
class Timing:
    """One way to run one network on one shape."""

    network: str
    frames: int
    batch: int
    backend: str
    how: str
    precision: Precision
    run: Callable[[], object] = field(repr=False)
    times: list[float] = field(default_factory=list, repr=False)
    count: int = 1

    failure: str = ""
    """Why there are no times."""

    def attempt(self, action: Callable[[], None]) -> None:
        """Do one of the two below; one that fails takes no further part."""
        if self.failure:
            return
        try:
            action()
        except Exception as error:  # of any kind: the others' times are still wanted
            self.failure = (str(error).strip() or type(error).__name__).splitlines()[0]
            self.times.clear()

    def prepare(self, turn_ms: float = 20.0) -> None:
        """Compile, record, and choose how often a turn repeats it."""
        for _ in range(4):
            self.run()
        self.count = max(1, min(200, int(turn_ms / max(event_ms(self.run, 1), 1e-3))))

    def turn(self) -> None:
        self.times.append(event_ms(self.run, self.count))

    def report(self, machine: Machine) -> dict[str, Any]:
        what = {
            "network": self.network,
            "frames": self.frames,
            "batch": self.batch,
            "backend": self.backend,
            "how": self.how,
            "precision": self.precision,
        }
        if self.failure:
            return {**what, "failure": self.failure}
        config = PoseMambaConfig(**PRESETS[self.network])  # type: ignore[arg-type]
        element = 2 if self.precision in ("float16", "bfloat16") else 4
        parts = steps(config, self.batch, self.frames, element)
        median, least = statistics.median(self.times), machine.roofline_ms(parts, self.precision)
        return {
            **what,
            "median_ms": round(median, 4),
            "min_ms": round(min(self.times), 4),
            "gflop": round(sum(s.flops for s in parts) / 1e9, 3),
            "mbyte": round(sum(s.bytes for s in parts) / 1e6, 2),
            "roofline_ms": round(least, 4),
            "of_roofline": round(median / least, 2),
            "clips_per_s": round(1000.0 * self.batch / median, 1),
            "turns": len(self.times),
        }


def candidates(network: str, frames: int, batch: int) -> list[Timing]:
    """Every backend that works here: recorded, kernel by kernel, and as the plain module."""
    torch.manual_seed(0)
    config = PoseMambaConfig(**PRESETS[network], frames=frames)  # type: ignore[arg-type]
    model = PoseMamba(config).cuda().eval()
    x = torch.randn(batch, frames, NUM_JOINTS, 2, device="cuda")
    out = []

    def add(backend: str, how: str, precision: Precision, forward: Callable[[Any], Any]) -> None:
        def run() -> None:
            with use_backend(backend), torch.inference_mode():
                forward(x)

        out.append(Timing(network, frames, batch, backend, how, precision, run))

    for backend in available_backends("cuda"):
        with use_backend(backend):
            if backend == "reference":
                if frames * NUM_JOINTS <= REFERENCE_TOKENS and batch == 1:
                    add(backend, "eager", "float32", _forward(model, "float32", graphs=False))
                continue
            for precision in PRECISIONS:
                add(backend, "graph", precision, _forward(model, precision, graphs=True))
            add(backend, "eager", "tf32", _forward(model, "tf32", graphs=False))
            if backend == "triton":
                add(backend, "module", "float32", model)
    return out


def _forward(model: PoseMamba, precision: Precision, *, graphs: bool) -> Callable[[Any], Any]:
    return CudaForward(model, torch.device("cuda"), precision=precision, graphs=graphs)


def measure(
    networks: list[str], frames: list[int], batches: list[int], rounds: int, deadline: float
) -> Iterator[list[Timing]]:
    """The timings of each shape, taken in turns, until the deadline (time.monotonic)."""
    for network in networks:
        for t in frames:
            for batch in batches:
                if time.monotonic() > deadline:
                    print(f"out of time before {network}, {t} frames, batch {batch}")
                    return
                found = candidates(network, t, batch)
                for timing in found:
                    once = timing.backend == "reference"
                    timing.attempt(timing.turn if once else timing.prepare)
                for _ in range(rounds):
                    for timing in found:
                        if timing.backend != "reference":
                            timing.attempt(timing.turn)
                for timing in found:
                    timing.run = _nothing  # lets go of the model and its recordings
                yield found
                torch.cuda.empty_cache()


def _nothing() -> None:
    raise RuntimeError("this timing is over")


_COLUMNS: Final = {
    "network": 8, "frames": 7, "batch": 6, "backend": 10, "how": 7, "precision": 10,
    "median_ms": 10, "min_ms": 9, "gflop": 9, "mbyte": 9, "roofline_ms": 12,
    "of_roofline": 12, "clips_per_s": 12,
}  # fmt: skip


def print_row(row: Mapping[str, Any]) -> None:
    """A line of the table; of a timing that failed, why."""
    line = "".join(str(row[n]).rjust(width) for n, width in _COLUMNS.items() if n in row)
    print(f"{line}  {row.get('failure', '')}".rstrip(), flush=True)


def describe_gpu() -> str:
    properties = torch.cuda.get_device_properties(0)
    memory = properties.total_memory / 2**30
    return (
        f"{properties.name}, {properties.multi_processor_count} multiprocessors, {memory:.0f} GiB; "
        f"PyTorch {torch.__version__}, CUDA {torch.version.cuda}; "
        f"backends {', '.join(available_backends('cuda'))}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=["S", "B", "L"], choices=sorted(PRESETS))
    parser.add_argument("--frames", nargs="+", type=int, default=list(FRAMES))
    parser.add_argument("--batches", nargs="+", type=int, default=list(BATCHES))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--minutes", type=float, default=8.0, help="begin nothing new after this")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("There is no CUDA GPU that PyTorch can use here, so there is nothing to measure.")
        return 1
    print(describe_gpu())
    machine = measure_machine()
    rates = ((n, getattr(machine, n) / 1e12) for n in ("float32", "tf32", "half"))
    listed = ", ".join(f"{name} {rate:.0f}" for name, rate in rates)
    print(f"copy {machine.copy / 1e12:.2f} TB/s; matrix products in TFLOP/s: {listed}\n")
    deadline = time.monotonic() + 60.0 * options.minutes
    rows: list[dict[str, Any]] = []
    print_row({name: name for name in _COLUMNS})
    shapes = measure(options.networks, options.frames, options.batches, options.rounds, deadline)
    for found in shapes:
        for timing in found:
            rows.append(timing.report(machine))
            print_row(rows[-1])
        if options.json:  # after each shape: what was measured is kept, whatever comes
            report = {"gpu": describe_gpu(), "machine": asdict(machine), "rows": rows}
            options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
