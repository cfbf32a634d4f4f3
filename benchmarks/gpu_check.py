"""Every check that needs a GPU, in one run of under eight minutes, with a short table.

Needs only PyTorch, Triton, NumPy and safetensors (the trainer's check also SciPy and Typer):

    PYTHONPATH=models python benchmarks/gpu_check.py [--parity FOLDER]

Inputs are drawn anew in every run (--seed repeats one), memory that kernels must write is
filled with NaN before, and references are float64. With --interpret the part about right
answers runs on the CPU, in Triton's interpreter, on tiny sizes, and the detector's networks
for one person and for many.
"""

from __future__ import annotations

import argparse
import dataclasses
import faulthandler
import logging
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

if "--interpret" in sys.argv:  # Triton reads it when it is imported
    os.environ["TRITON_INTERPRET"] = "1"
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # ONNX Runtime reads it when it is imported

import torch
from torch import Tensor

from posemamba.checkpoint import load_checkpoint
from posemamba.config import PRESETS, PoseMambaConfig
from posemamba.cuda import CudaForward, Precision
from posemamba.model import PoseMamba
from posemamba.normalize import ray_window, root_relative
from posemamba.runtime import LifterRuntime
from posemamba.scan import ScanParameters, available_backends, backends, reference, use_backend
from posemamba.skeleton import NUM_JOINTS

ROOT: Final = Path(__file__).resolve().parent.parent
FORWARD_LIMIT: Final = 1e-5
GRADIENT_LIMIT: Final = 1e-4
"""Relative, in float32, against float64."""
DETECTOR_LIMIT: Final = 1e-3
DETECTOR_TF32_LIMIT: Final = 3e-2
"""Relative L2 of each output, against the CPU."""
PRECISIONS: Final[tuple[Precision, ...]] = ("float32", "tf32", "float16", "bfloat16")
PRECISION_LIMIT_MM: Final = 1.0
_BODY_MM: Final = 1700.0
_CPU: Final = "CPUExecutionProvider"
_CUDA: Final = "CUDAExecutionProvider"


class CheckError(AssertionError):
    """What a check found wrong."""


@dataclasses.dataclass
class Context:
    """What all checks share."""

    device: torch.device
    names: tuple[str, ...]
    """Backends to check."""
    parity: Path | None
    tiny: bool
    """For the interpreter."""


def need(condition: bool, message: str) -> None:
    if not condition:
        raise CheckError(message)


def error(actual: Tensor, expected: Tensor) -> float:
    """Relative, in the norm; infinite where anything is not a number."""
    difference = (actual.double() - expected.double()).norm() / expected.double().norm()
    return float(difference.nan_to_num(nan=float("inf")))


@contextmanager
def poisoned() -> Iterator[None]:
    """Memory that is not written holds NaN."""
    settings: Any = torch.utils.deterministic
    before = settings.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    settings.fill_uninitialized_memory = True
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)
        settings.fill_uninitialized_memory = before


def random_parameters(
    channels: int, states: int, rank: int, device: torch.device, *, integer: bool, causal: bool
) -> ScanParameters:
    """Float64, at trained networks' scales, away from the initial values."""

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, device=device, dtype=torch.float64)

    a_logs = torch.arange(1.0, states + 1, device=device, dtype=torch.float64).log()
    a_logs = a_logs.repeat(4 * channels, 1)
    if not integer:
        a_logs = a_logs + 0.3 * normal(*a_logs.shape)
    return ScanParameters(
        normal(4, rank + 2 * states, channels) * channels**-0.5,
        normal(4, channels, rank) * rank**-0.5,
        normal(4, channels) - 2.0,
        a_logs,
        normal(4 * channels),
        integer,
        causal,
    )


_TENSORS: Final = ("x_proj_weight", "dt_projs_weight", "dt_projs_bias", "a_logs", "ds")


def scan_gradients(
    scan: Callable[..., Tensor],
    values: Tensor,
    parameters: ScanParameters,
    weight: Tensor,
    dtype: torch.dtype,
) -> dict[str, Tensor]:
    """Output and gradients of a scan in a type."""
    leaves = {name: getattr(parameters, name) for name in _TENSORS} | {"values": values}
    leaves = {n: t.detach().to(dtype).requires_grad_() for n, t in leaves.items()}
    own = dataclasses.replace(parameters, **{n: leaves[n] for n in _TENSORS})
    y = scan(leaves["values"], own)
    y.backward(weight.to(dtype))
    found = {n: t.grad for n, t in leaves.items() if t.grad is not None}
    return {"output": y.detach(), **found}


def check_scan(c: Context) -> str:
    """Forward and gradients of every backend, all variants, against float64."""
    shapes = [(1, 2, 16, 2, 1)] if c.tiny else [(2, 27, 128, 16, 4), (1, 61, 256, 16, 8)]
    variants = [(i, False) for i in (False, True)] + ([] if c.tiny else [(False, True)])
    worst = {"forward": 0.0, "gradient": 0.0}
    for batch, frames, channels, states, rank in shapes:
        for integer, causal in variants:
            parameters = random_parameters(
                channels, states, rank, c.device, integer=integer, causal=causal
            )
            values = torch.randn(batch, frames, NUM_JOINTS, channels, device=c.device)
            weight = torch.randn_like(values)
            expected = scan_gradients(reference.scan, values, parameters, weight, torch.float64)
            for name in c.names:
                scan = backends._load(name).scan
                with poisoned():
                    actual = scan_gradients(scan, values, parameters, weight, torch.float32)
                for key, got in actual.items():
                    off = error(got, expected[key])
                    kind, limit = ("gradient", GRADIENT_LIMIT)
                    if key == "output":
                        kind, limit = ("forward", FORWARD_LIMIT)
                    where = f"{name} {key} (integer {integer}, causal {causal}, D {channels})"
                    need(off <= limit, f"{where}: error {off:.1e}, limit {limit:.0e}")
                    worst[kind] = max(worst[kind], off)
    return f"worst forward {worst['forward']:.1e}, gradient {worst['gradient']:.1e} ({c.names})"


def check_repeatable(c: Context) -> str:
    """The same inputs give the same bits: no two programs race."""
    frames = 2 if c.tiny else 243
    channels, states, rank = (16, 2, 1) if c.tiny else (128, 16, 4)
    parameters = random_parameters(channels, states, rank, c.device, integer=False, causal=False)
    values = torch.randn(1, frames, NUM_JOINTS, channels, device=c.device)
    weight = torch.randn_like(values)
    scan = backends._load("triton").scan
    first = scan_gradients(scan, values, parameters, weight, torch.float32)
    for _ in range(1 if c.tiny else 20):
        again = scan_gradients(scan, values, parameters, weight, torch.float32)
        for name, tensor in first.items():
            need(torch.equal(tensor, again[name]), f"{name} changes from run to run")
    return f"bit for bit, T {frames}"


def check_convolution(c: Context) -> str:
    """The fused convolution against PyTorch's in float64."""
    worst = 0.0
    for causal in (False, True):
        values = torch.randn(2, 5 if c.tiny else 243, NUM_JOINTS, 32, device=c.device)
        leaves = [
            values,
            torch.randn(32, 1, 3, 3, device=c.device),
            torch.randn(32, device=c.device),
        ]
        dy = torch.randn_like(values)
        results = []
        ours = backends._load("triton").conv_silu
        for conv, dtype in ((reference.conv_silu, torch.float64), (ours, torch.float32)):
            x, weight, bias = (t.detach().to(dtype).requires_grad_() for t in leaves)
            y = conv(x, weight, bias, causal)
            y.backward(dy.to(dtype))
            results.append([y.detach(), x.grad, weight.grad, bias.grad])
        for expected, actual in zip(*results, strict=True):
            assert expected is not None
            assert actual is not None
            worst = max(worst, error(actual, expected))
    need(worst <= FORWARD_LIMIT, f"error {worst:.1e}")
    return f"worst {worst:.1e}"


def random_network(preset: str, frames: int, device: torch.device, **changes: Any) -> PoseMamba:
    """Weights away from their initial values, so that every part shows in the output."""
    config = PoseMambaConfig(**{**PRESETS[preset], "frames": frames, **changes})
    model = PoseMamba(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.to(device).eval()


def check_network(c: Context) -> str:
    """The fused network and the module on every backend, against float64."""
    from posemamba.fused import FusedForward

    changes = {"dim": 16, "depth": 1, "d_state": 2} if c.tiny else {}
    frames = 2 if c.tiny else 27
    model = random_network("S", frames, c.device, **changes)
    x = torch.randn(1, frames, NUM_JOINTS, 2, device=c.device)
    exact = PoseMamba(model.config).to(c.device, torch.float64)
    exact.load_state_dict(model.state_dict())
    with torch.no_grad(), use_backend("reference"):
        expected = exact(x.double())
    offs = {}
    for name in c.names:
        with torch.no_grad(), use_backend(name):
            offs[name] = error(model(x), expected)
    with poisoned():
        offs["fused"] = error(FusedForward(model)(x), expected)
    for name, off in offs.items():
        need(off <= 1e-4, f"{name}: error {off:.1e}")
    return ", ".join(f"{name} {off:.1e}" for name, off in offs.items())


def check_parity(c: Context) -> str:
    """Numbers of the published code, on every backend."""
    if c.parity is None:
        return "skipped: no --parity"
    limits = {"tiny": 2e-5, "tiny_eps": 1e-5, "S": 2e-4}
    worst = []
    for fixture, limit in list(limits.items())[: 1 if c.tiny else None]:
        arrays = dict(np.load(c.parity / f"posemamba_{fixture}.npz"))
        dim, depth, frames = (int(n) for n in arrays["meta"][:3])
        model = PoseMamba(PoseMambaConfig(dim=dim, depth=depth, frames=frames)).eval()
        weights = {
            k.removeprefix("w/"): torch.from_numpy(v) for k, v in arrays.items() if k[:2] == "w/"
        }
        model.load_state_dict(weights, strict=True)
        model.to(c.device)
        for suffix in ("_short",) if c.tiny else ("", "_short"):
            if f"input{suffix}" not in arrays:
                continue
            some = slice(0, 1 if c.tiny else None)
            x = torch.from_numpy(arrays[f"input{suffix}"][some]).to(c.device)
            for name in c.names:
                with torch.no_grad(), use_backend(name):
                    y = model(x).cpu().numpy()
                off = float(np.abs(y - arrays[f"output{suffix}"][some]).max())
                need(off <= limit, f"{fixture}{suffix} on {name}: {off:.1e}, limit {limit:.0e}")
                worst.append(off)
    return f"largest difference {max(worst):.1e}"


def check_graphs(c: Context) -> str:
    """A recorded pass gives what kernel-by-kernel gives, on new inputs, for every shape."""
    model = random_network("S", 243, c.device)
    for precision in PRECISIONS:
        recorded = CudaForward(model, c.device, precision=precision)
        eager = CudaForward(model, c.device, precision=precision, graphs=False)
        for shape in ((1, 243), (1, 81), (4, 27), (1, 243)):
            for _ in range(4):
                x = torch.randn(*shape, NUM_JOINTS, 2)
                with torch.inference_mode():
                    a, b = recorded(x).clone(), eager(x)
                need(error(a, b) <= 1e-5, f"{precision} {shape}: they differ by {error(a, b):.1e}")
    return "S, 4 precisions, 3 shapes"


def check_precision(c: Context) -> str:
    """Millimetres between the precisions and float32, shipped weights, the demo clips."""
    checkpoint = load_checkpoint(ROOT / "weights" / "window-m3.safetensors")
    frames, channels = checkpoint.meta.frames, checkpoint.meta.config.in_channels
    exact = LifterRuntime(checkpoint.model, c.device, "float32")
    others = {p: LifterRuntime(checkpoint.model, c.device, p) for p in PRECISIONS[1:]}
    found: dict[str, list[Any]] = {name: [] for name in others}
    for clip in ("walk_turn", "arm_signals"):
        truth = np.load(ROOT / "demo_videos" / f"{clip}_gt.npz")
        points = truth["joints_2d"]
        points = np.stack([points[s : s + frames] for s in range(len(points) - frames + 1)])
        scores = np.ones(points.shape[:3], np.float32)
        inputs = ray_window(points, scores, truth["image_size"]).inputs[..., :channels]
        expected = root_relative(exact(inputs))
        for name, runtime in others.items():
            for _ in range(3):  # the last one is a recorded pass
                answer = runtime(inputs)
            off = np.linalg.norm(root_relative(answer) - expected, axis=-1)
            found[name].append(_BODY_MM * off.ravel())
    for runtime in (exact, *others.values()):
        need(runtime.device == "cuda", "a runtime has left the GPU: nothing was compared")
    rows = {which: np.concatenate(parts) for which, parts in found.items()}
    for which, off in rows.items():
        need(bool(off.mean() <= PRECISION_LIMIT_MM), f"{which}: mean {off.mean():.2f} mm")
    return "; ".join(f"{n} mean {o.mean():.3f} max {o.max():.2f} mm" for n, o in rows.items())


def check_fallback(c: Context) -> str:
    """A GPU that is really full: one warning, and the CPU's answer."""
    model = random_network("XS", 27, torch.device("cpu"))
    x = np.random.default_rng().normal(size=(2, 27, NUM_JOINTS, 2)).astype(np.float32)
    with torch.no_grad():
        expected = model(torch.from_numpy(x)).numpy()
    runtime = LifterRuntime(model, c.device, "float32", graphs=False)
    need(float(np.abs(runtime(x) - expected).max()) <= 1e-3, "wrong before the failure")
    warnings: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: warnings.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("posemamba.runtime")
    logger.addHandler(handler)
    try:
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(1e-6)
        big = np.tile(x, (64, 1, 1, 1))
        answers = [runtime(big), runtime(x)]
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        logger.removeHandler(handler)
    need(runtime.device == "cpu", "it did not leave the GPU")
    need(len(warnings) == 1, f"{len(warnings)} warnings: {warnings}")
    need(float(np.abs(answers[1] - expected).max()) <= 1e-5, "wrong after the failure")
    off = np.abs(answers[0] - np.tile(expected, (64, 1, 1, 1))).max()
    need(float(off) <= 1e-4, f"what failed on the GPU is {off:.1e} wrong from the CPU")
    return warnings[0]


_LOSE_THE_GPU: Final = """
import logging
import os
import numpy as np
import torch
from posemamba.config import PRESETS, PoseMambaConfig
from posemamba.model import PoseMamba
from posemamba.runtime import LifterRuntime

warnings = []
handler = logging.Handler()
handler.emit = lambda record: warnings.append(record.getMessage())
logging.getLogger("posemamba.runtime").addHandler(handler)
model = PoseMamba(PoseMambaConfig(**PRESETS["XS"], frames=27)).eval()
x = torch.randn(2, 27, 17, 2)
with torch.no_grad():
    expected = model(x).numpy()
runtime = LifterRuntime(model, "cuda", "float32")
runtime.warm_up(2, 27)
assert runtime.device == "cuda", warnings
try:  # an index outside of its tensor: no call to this GPU works from here on
    torch.zeros(1, device="cuda")[torch.tensor([5], device="cuda")].item()
except RuntimeError:
    pass
for _ in range(2):
    np.testing.assert_allclose(runtime(x), expected, atol=1e-5)
assert runtime.device == "cpu"
assert len(warnings) == 1, warnings
print(warnings[0], flush=True)
os._exit(0)  # what is left of CUDA cannot be tidied up
"""


def check_lost(c: Context) -> str:
    """A GPU that is gone for good, in a process of its own: one warning, and the CPU's answer."""
    command = [sys.executable, "-c", _LOSE_THE_GPU]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=90.0, check=False)
    except subprocess.TimeoutExpired:
        raise CheckError("it hangs") from None
    need(done.returncode == 0, (done.stderr.strip() or "it died").splitlines()[-1])
    return done.stdout.strip()


def check_training(c: Context) -> str:
    """Steps on one batch must lower the loss; clips per second of whole steps."""
    results = []
    for name, dtype in (("TF32", None), ("bfloat16", torch.bfloat16)):
        torch.set_float32_matmul_precision("high")
        model = random_network("S", 243, c.device).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
        batch = 32
        x, target = (torch.randn(batch, 243, NUM_JOINTS, n, device=c.device) for n in (2, 3))
        losses: list[float] = []
        started = 0.0
        for step in range(23):
            if step == 3:
                torch.cuda.synchronize()
                started = time.perf_counter()
            with torch.autocast("cuda", dtype, enabled=dtype is not None):
                loss = (model(x).float() - target).square().mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            losses.append(float(loss.detach()))
        rate = 20 * batch / (time.perf_counter() - started)
        need(bool(np.isfinite(losses).all()), f"{name}: the loss is not finite")
        need(losses[-1] < losses[0], f"{name}: the loss went from {losses[0]} to {losses[-1]}")
        memory = torch.cuda.max_memory_allocated() / 2**30
        results.append(f"{name} {rate:.0f} clips/s ({memory:.0f} GiB)")
        del model, optimizer
        torch.cuda.empty_cache()
    torch.set_float32_matmul_precision("highest")
    return f"S, T 243, batch 32: {', '.join(results)}"


def check_data(c: Context) -> str:
    """The trainer itself, which makes its windows beside: clips per second of whole steps."""
    sys.path.insert(0, str(ROOT))
    try:
        from tests.support.motion_files import walking, write_motion

        from posemamba.training.config import TrainConfig
        from posemamba.training.train import GPU_WORKERS, Trainer
    except ImportError as missing:
        return f"skipped: {missing}"
    frames = 9 if c.tiny else 243
    config = TrainConfig(
        name="check", preset="XS" if c.tiny else "S", frames=frames, small_batch_windows=0,
        velocity_ramp_windows=0, short_windows=0.0, validation_windows=4, matmul_precision="high",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        motion = Path(folder)
        clips = [walking(900, speed) for speed in (0.5, 1.0, 1.5, 1.0)]
        write_motion(motion / "walk.npz", clips, ["train", "train", "train", "val"], ["a"] * 4)
        trainer = Trainer(config, motion, motion, c.device.type, 0, 1, GPU_WORKERS)
        try:
            warm, counted = (1, 2) if c.tiny else (10, 30)
            for _ in range(warm - 1):
                trainer.step()
            float(trainer.step()["mpjpe"])  # waits for all of them
            started = time.perf_counter()
            for _ in range(counted - 1):
                trainer.step()
            loss = float(trainer.step()["mpjpe"])
            rate = counted * config.batch / (time.perf_counter() - started)
        finally:
            trainer.close()
    need(bool(np.isfinite(loss)), "the loss is not finite")
    return f"{config.preset}, T {frames}, batch {config.batch}: {rate:.0f} clips/s with their data"


def check_speed(c: Context) -> str:
    """One window of 243 frames; benchmarks/gpu_lifter.py has the whole table."""
    import gpu_lifter

    rows = []
    for network in ("S", "B", "L"):
        found = [
            t
            for t in gpu_lifter.candidates(network, 243, 1)
            if (t.how, t.precision) in (("graph", "tf32"), ("eager", "tf32"), ("graph", "float16"))
        ]
        for timing in found:
            timing.prepare()
        for _ in range(7):
            for timing in found:
                timing.turn()
        rows += [
            f"{network} {t.backend} {t.how} {t.precision} {np.median(t.times):.2f}" for t in found
        ]
    return "ms: " + "; ".join(rows)


def check_detector(c: Context) -> str:
    """BlazePose on ONNX Runtime: CUDA against the CPU, for one person and for many.

    In a dry run the CPU takes the part of both, which tries all but the GPU.
    """
    try:
        import onnxruntime
    except ImportError as missing:
        return f"skipped: {missing}"
    gpu = _CPU if c.tiny else _CUDA
    if gpu not in onnxruntime.get_available_providers():
        return f"skipped: this ONNX Runtime {onnxruntime.__version__} has no CUDA"
    if not c.tiny:
        onnxruntime.preload_dlls()
    # Products of reduced precision are fine for people, but not for telling right from wrong.
    exact = (gpu, {"use_tf32": "0"})
    runs = {"CPU": [_CPU], "exact": [exact, _CPU], "CUDA": [gpu, _CPU]}
    if c.tiny:
        runs = {how: [_CPU] for how in runs}
    said = []
    with np.load(ROOT / "tests" / "data" / "blazepose_tflite.npz") as stored:
        pictures = {
            "detector": stored["detector_pictures"].astype(np.float32) / 127.5 - 1.0,
            "full": np.ascontiguousarray(stored["landmark_pictures"][..., ::-1]),
        }
    for name, two in pictures.items():
        path = str(ROOT / "weights" / f"blazepose-{name}.onnx")
        sessions = {
            how: onnxruntime.InferenceSession(path, providers=providers)
            for how, providers in runs.items()
        }
        if sessions["CUDA"].get_providers()[0] != gpu:
            raise CheckError("ONNX Runtime's CUDA is there, but does not start")
        for people in (1, 3, 8):
            batch = np.concatenate([two] * 4)[:people]
            answers = {how: one.run(None, {"pictures": batch}) for how, one in sessions.items()}
            for how, limit in (("exact", DETECTOR_LIMIT), ("CUDA", DETECTOR_TF32_LIMIT)):
                for mine, theirs in zip(answers[how], answers["CPU"], strict=True):
                    apart = np.linalg.norm(mine - theirs) / np.linalg.norm(theirs)
                    if not apart <= limit:
                        raise CheckError(f"{name}, {people} people, {how}: {apart:.1e} apart")
            times = []
            for _ in range(1 if c.tiny else 20):
                start = time.perf_counter()
                sessions["CUDA"].run(None, {"pictures": batch})
                times.append(1e3 * (time.perf_counter() - start))
            said.append(f"{name} {people} {np.median(times):.2f}")
    return f"ONNX Runtime {onnxruntime.__version__}, ms: " + "; ".join(said)


def check_environment(c: Context) -> str:
    import triton

    from posemamba.fused import _mixed_products

    name = torch.cuda.get_device_name() if c.device.type == "cuda" else "CPU (interpreter)"
    mixed = f", mixed products {_mixed_products()}" if c.device.type == "cuda" else ""
    return f"{name}; PyTorch {torch.__version__}, Triton {triton.__version__}; {c.names}{mixed}"


ANYWHERE: Final = (
    check_environment,
    check_convolution,
    check_scan,
    check_repeatable,
    check_network,
    check_parity,
    check_detector,
)
GPU_ONLY: Final = (
    check_graphs,
    check_precision,
    check_fallback,
    check_lost,
    check_training,
    check_data,
    check_speed,
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parity", type=Path, help="folder with posemamba_*.npz")
    parser.add_argument(
        "--interpret", action="store_true", help="without a GPU: right answers only"
    )
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**31)
    parser.add_argument("--minutes", type=float, default=7.0, help="begin nothing new after this")
    options = parser.parse_args()
    if not options.interpret and not torch.cuda.is_available():
        print("There is no CUDA GPU that PyTorch can use here; --interpret checks without one.")
        return 1
    names: tuple[str, ...] = ("triton",)
    if not options.interpret:
        names = available_backends("cuda")
        if "triton" not in names:
            print("Triton cannot be used on this GPU: see the warning above.")
            return 1
        names = tuple(name for name in names if name != "reference")
    device = torch.device("cpu" if options.interpret else "cuda")
    context = Context(device, names, options.parity, options.interpret)
    torch.manual_seed(options.seed)
    # Some machines' settings let float32 products round to TF32.
    torch.set_float32_matmul_precision("highest")
    print(f"seed {options.seed}")
    if not options.interpret:  # a kernel that never ends: say where, and end
        faulthandler.dump_traceback_later(60.0 * (options.minutes + 1.0), exit=True)
    started, failed = time.monotonic(), 0
    for check in ANYWHERE + (() if options.interpret else GPU_ONLY):
        began = time.monotonic()
        if began - started > 60.0 * options.minutes:
            status, detail = "LATE", "not begun: out of time"
        else:
            try:
                status, detail = "ok", check(context)
            except CheckError as found:
                status, detail = "FAIL", str(found)
            except Exception:
                status, detail = "ERROR", traceback.format_exc().rstrip()
        failed += status != "ok"
        title = check.__name__.removeprefix("check_")
        print(f"{status:6}{title:13}{time.monotonic() - began:6.1f} s  {detail}", flush=True)
    faulthandler.cancel_dump_traceback_later()
    print(f"{failed} of the checks did not pass" if failed else "all passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
