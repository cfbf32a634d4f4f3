"""posemamba-doctor: does everything that posemamba-live needs work on this machine?

Each check tries the real thing: the shipped network lifts a window, the detector looks at a
picture, a window is opened. One that fails says why and what to try, and stops no other.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from enum import Enum
from importlib import metadata
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from posemamba_live import __version__
from posemamba_live.command_line import start_app
from posemamba_live.errors import EXIT_FAILURE, LiveError, SourceError, missing_library
from posemamba_live.shown import safe

_DISTRIBUTION: Final = "posemamba-live"
_WINDOW_TIMEOUT_S: Final = 60.0
_CAMERA_S: Final = 10.0
_SLOW: Final = 0.8
"""Fraction of the rate that a camera promises below which it is slow."""
_DARK: Final = 35.0
_DIM: Final = 90.0
"""Mean values of pixels: of pictures in which nobody is found, and of rooms with little light."""
_OPENCV: Final = frozenset(
    f"opencv{contrib}-python{headless}"
    for contrib in ("", "-contrib")
    for headless in ("", "-headless")
)
"""Packages that bring the module cv2, all to the same folder."""
_TIMED_RUNS: Final = 15
_OPEN_WINDOW: Final = """
import open3d
window = open3d.visualization.Visualizer()
assert window.create_window(width=320, height=240, visible=False), "no OpenGL context"
window.poll_events()
window.update_renderer()
window.destroy_window()
"""


class Verdict(str, Enum):
    """What a check came to."""

    OK = "ok"
    NOTE = "note"
    """Something optional is not there."""
    FAILED = "failed"
    """posemamba-live will not work, or not as documented."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    name: str
    verdict: Verdict
    text: str
    hint: str = ""
    """What to try."""


def check_packages() -> Finding:
    """Whether the installed libraries are the versions that this one was tested with."""
    from packaging.requirements import Requirement

    name, wrong, shown = "packages", [], []
    for line in metadata.requires(_DISTRIBUTION) or ():
        wanted = Requirement(line)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{wanted.name} is missing")
            continue
        if not wanted.specifier.contains(version, prereleases=True):
            wrong.append(f"{wanted.name} {version} is not {wanted.specifier}")
        if wanted.name in ("torch", "numpy", "onnxruntime", "numba"):
            shown.append(f"{wanted.name} {version}")
    if wrong:
        hint = f"pip install --force-reinstall {_DISTRIBUTION}, in a virtual environment of its own"
        return Finding(name, Verdict.FAILED, "; ".join(wrong), hint)
    return Finding(name, Verdict.OK, ", ".join(shown))


def check_opencv() -> Finding:
    """Whether one package alone brings OpenCV: where there are two, the last installed wins."""
    import cv2

    found = {
        name: d.version
        for d in metadata.distributions()
        if (name := (d.metadata["Name"] or "").lower()) in _OPENCV
    }
    shown = ", ".join(f"{name} {version}" for name, version in sorted(found.items()))
    if len(found) > 1:
        others = " ".join(sorted(found))
        return Finding(
            "opencv",
            Verdict.NOTE,
            f"{shown} lie in one folder; cv2 is {cv2.__version__}",
            f"harmless while it works; else: pip uninstall -y {others}, "
            "then pip install opencv-python",
        )
    return Finding("opencv", Verdict.OK, shown or f"cv2 {cv2.__version__}")


def check_lifter() -> Finding:
    """Whether the shipped network lifts, on what, and how fast."""
    import numpy as np

    from posemamba.checkpoint import load_checkpoint
    from posemamba.network import use_threads
    from posemamba.runtime import LifterRuntime
    from posemamba.streams import CausalNetwork
    from posemamba_live.plan import FILM_WEIGHTS, LIVE_WEIGHTS, WHOLE_WEIGHTS

    use_threads(1)
    checkpoint, live = load_checkpoint(FILM_WEIGHTS), load_checkpoint(LIVE_WEIGHTS)
    load_checkpoint(WHOLE_WEIGHTS)  # it is lifted with as the first is: that it is here is enough
    runtime, stream = LifterRuntime(checkpoint, "auto"), CausalNetwork(live, mirrored=True)
    shape = (1, checkpoint.meta.frames, 17, checkpoint.meta.config.in_channels)
    window = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    frame = np.zeros((1, 17, stream.channels), np.float32)
    states = [stream.first_state()]
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(_TIMED_RUNS):
        start = time.perf_counter()
        poses = runtime(window)
        between = time.perf_counter()
        pose, states = stream.step(frame, states)
        times[0].append(1e3 * (between - start))
        times[1].append(1e3 * (time.perf_counter() - between))
        if not (np.isfinite(poses).all() and np.isfinite(pose).all()):
            return Finding(
                "lifter",
                Verdict.FAILED,
                f"the {runtime.backend} backend answers with values that are no numbers",
                "please report it, with this output",
            )
    film_ms, live_ms = (statistics.median(own) for own in times)
    text = (
        f"{checkpoint.meta.name} on {runtime.device} with {runtime.backend}: {film_ms:.1f} ms for "
        f"{shape[1]} frames on a thread; live {live.meta.name}: {live_ms:.1f} ms a frame"
    )
    if runtime.backend == "reference":
        return Finding(
            "lifter",
            Verdict.NOTE,
            text,
            "the plain backend is some twenty times slower; -vv of posemamba-live says why "
            "Numba's kernels are not used",
        )
    return Finding("lifter", Verdict.OK, text)


def check_detector() -> Finding:
    """Whether the shipped networks see nobody in an empty picture, on what, and how fast."""
    import numpy as np
    import onnxruntime

    from posemamba_live.detectors import Region, TopDown, create_detector

    detector = create_detector()
    assert isinstance(detector, TopDown)
    try:
        picture = np.full((720, 1280, 3), 127, np.uint8)
        seen = bool(detector.person.find(picture))
        times = []
        for _ in range(_TIMED_RUNS):
            start = time.perf_counter()
            (found,) = detector.keypoints.locate(picture, [Region((640.0, 360.0), 600.0, 600.0)])
            times.append(1e3 * (time.perf_counter() - start))
            seen = seen or found.presence >= 0.5
        about = detector.describe()
    finally:
        detector.close()
    text = (
        f"{about['name']} on ONNX Runtime {onnxruntime.__version__} with {about['provider']}: "
        f"{statistics.median(times):.1f} ms a person on a thread"
    )
    if seen:
        return Finding("detector", Verdict.FAILED, f"{text}: sees somebody in an empty picture")
    return Finding("detector", Verdict.OK, text)


def check_gpu() -> Finding:
    """Whether there is a CUDA device, and which scan backends can use it."""
    import torch

    from posemamba.scan import available_backends

    if not torch.cuda.is_available():
        build = f"PyTorch {torch.__version__}"
        return Finding("gpu", Verdict.NOTE, f"no CUDA device that {build} can use: the CPU works")
    backends = ", ".join(available_backends("cuda"))
    text = f"{torch.cuda.get_device_name()}; scan backends: {backends}"
    if available_backends("cuda") == ("reference",):
        hint = f"pip install '{_DISTRIBUTION}[gpu]' brings Triton"
        return Finding("gpu", Verdict.NOTE, text, hint)
    return Finding("gpu", Verdict.OK, text)


def check_window() -> Finding:
    """Whether a window can be opened; in a process of its own, which drivers may end."""
    from posemamba_live.viewer.display import display_available

    if not display_available():
        hint = "--headless works; watch in a browser with --stream ws://localhost:8765"
        return Finding("window", Verdict.NOTE, "there is no display", hint)
    hint = (
        "on Debian or Ubuntu: apt install libusb-1.0-0 libegl1 libgl1; else update the graphics "
        "driver, or use --headless"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", _OPEN_WINDOW],
            capture_output=True, text=True, timeout=_WINDOW_TIMEOUT_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Finding("window", Verdict.FAILED, "Open3D hangs when it opens a window", hint)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"]
        missing = missing_library(OSError(lines[-1]))
        if missing is not None:
            return Finding("window", Verdict.FAILED, missing.what, missing.hint)
        return Finding("window", Verdict.FAILED, f"Open3D opens none: {lines[-1]}", hint)
    return Finding("window", Verdict.OK, f"Open3D {metadata.version(_open3d())} opens one")


def _open3d() -> str:
    names = ("open3d-cpu", "open3d")
    installed = {name for d in metadata.distributions() if (name := d.metadata["Name"])}
    return next((name for name in names if name in installed), "open3d")


def check_camera(device: str | None = None) -> Finding:
    """Whether a camera gives pictures, and at what rate. Without one to try: which there are."""
    if device is None:
        hint = "posemamba-doctor --camera 0 tries the first one"
        if sys.platform != "linux":
            return Finding("camera", Verdict.NOTE, "not tried", hint)
        found = sorted(str(path) for path in Path("/dev").glob("video*"))
        text = f"not tried; devices: {', '.join(found)}" if found else "no device in /dev"
        return Finding("camera", Verdict.NOTE, text, hint if found else "")
    return _try_camera(int(device) if device.isdecimal() else device)


def _try_camera(device: int | str, seconds: float = _CAMERA_S) -> Finding:
    """Look at a camera for some seconds: what it gives, and what keeps it from giving more."""
    from posemamba_live.sources.camera import Camera

    frames, brightness = [], []
    with Camera(device) as camera:
        begin = time.monotonic()
        with contextlib.suppress(SourceError):  # it was unplugged: what it gave counts
            for frame in camera:
                frames.append((frame.index, frame.timestamp))
                brightness.append(float(frame.image[::8, ::8].mean()))
                if time.monotonic() - begin > seconds:
                    break
        width, height = camera.size
        named = camera.fps
    (first, start), (last, end) = frames[0], frames[-1]
    rate = (last - first) / max(end - start, 1e-6)
    text = f"{device}: {width}x{height}, {rate:.1f} pictures a second in {end - start:.0f} s"
    level = statistics.median(brightness)
    if level < _DARK:
        text += f"; the picture is dark ({level:.0f} of 255)"
    if rate < _SLOW * named:
        text += f"; it promises {named:g}"
        hint = (
            "more light: in the dark cameras expose longer, often at 15 pictures a second"
            if level < _DIM
            else "another port (USB 3), no other program, or --camera-size 640x480@30"
        )
        return Finding("camera", Verdict.NOTE, text, hint)
    if level < _DARK:
        return Finding("camera", Verdict.NOTE, text, "more light, or open the camera's cover")
    return Finding("camera", Verdict.OK, text)


def check_recording() -> Finding:
    """Whether recordings will be H.264."""
    from posemamba_live.sinks.encoder import best_codec

    codec = best_codec()
    if codec == "mpeg4":
        text = "this PyAV has no H.264 encoder: videos are MPEG-4, which browsers do not play"
        return Finding("recording", Verdict.NOTE, text, "pip install --force-reinstall av")
    return Finding("recording", Verdict.OK, f"H.264 by {codec}, PyAV {metadata.version('av')}")


def check_cache() -> Finding:
    """Whether what is built once can be kept."""
    from posemamba_live.detectors.bundle import CACHE_VARIABLE, cache_dir

    folder = cache_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return Finding(
            "cache",
            Verdict.NOTE,
            f"{folder} cannot be written to ({error.strerror}): each start takes longer",
            f"set {CACHE_VARIABLE} to a folder of yours",
        )
    return Finding("cache", Verdict.OK, str(folder))


def examine(name: str, check: Callable[[], Finding]) -> Finding:
    """Run a check; one that raises is a failed one. Its words may be shown."""
    finding = _examined(name, check)
    return replace(finding, text=safe(finding.text), hint=safe(finding.hint))


def _examined(name: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except LiveError as error:
        why = f"{error.what}: {error.why}" if error.why else error.what
        return Finding(name, Verdict.FAILED, why, error.hint)
    except Exception as error:  # a broken library raises whatever it likes
        missing = missing_library(error)
        if missing is not None:
            return Finding(name, Verdict.FAILED, missing.what, missing.hint)
        text = f"{type(error).__name__}: {error}".splitlines()[0]
        hint = f"pip install --force-reinstall {_DISTRIBUTION}"
        return Finding(name, Verdict.FAILED, text, hint)


app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})


@app.command()
def doctor(
    camera: Annotated[
        str | None,
        typer.Option(help="Also try this camera: its number, or its path.", metavar="N"),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write the findings to this file.")
    ] = None,
) -> None:
    """Check that everything posemamba-live needs works here: include this in a bug report."""
    machine = (
        f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} CPUs"
    )
    typer.echo(f"posemamba-live {__version__}, {machine}\n")
    checks: dict[str, Callable[[], Finding]] = {
        "packages": check_packages,
        "opencv": check_opencv,
        "lifter": check_lifter,
        "detector": check_detector,
        "gpu": check_gpu,
        "window": check_window,
        "camera": lambda: check_camera(camera),
        "recording": check_recording,
        "cache": check_cache,
    }
    findings = []
    for name, check in checks.items():
        finding = examine(name, check)
        findings.append(finding)
        mark = "-" if finding.verdict is Verdict.NOTE else finding.verdict.value
        typer.echo(f"{mark:<7}{finding.name:<11}{finding.text}")
        if finding.hint:
            typer.echo(f"{'':<18}try: {finding.hint}")
    if json_file is not None:
        report = {
            "version": __version__, "machine": machine, "findings": [asdict(f) for f in findings]
        }  # fmt: skip
        json_file.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    failed = [finding.name for finding in findings if finding.verdict is Verdict.FAILED]
    if failed:
        typer.echo(f"\nnot working: {', '.join(failed)}", err=True)
        raise typer.Exit(EXIT_FAILURE)


def main() -> NoReturn:
    """The `posemamba-doctor` program."""
    start_app(app, "posemamba-doctor", verbosity=-1)  # findings say it


if __name__ == "__main__":
    main()
