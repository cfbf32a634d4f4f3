"""The command line: options, help, and how errors are told.

Nothing heavy is imported here, so that --help and --version answer at once.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer

from posemamba_live import __version__
from posemamba_live.errors import (
    EXIT_FAILURE,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_USAGE,
    LiveError,
)
from posemamba_live.options import MAX_PEOPLE, DeviceName, ModeName, Options, SubjectName
from posemamba_live.sinks import FORMATS
from posemamba_live.viewer.keys import KEY_BINDINGS

PROGRAM: Final = "posemamba-live"
DEBUG_VARIABLE: Final = "POSEMAMBA_DEBUG"
_INPUT, _OUTPUT, _LIFTING = "Source", "Results", "Pose estimation"
_BODY, _EXTENT, _RUNNING = "Body, camera and view", "How much", "Running"

_FORMATS: Final = ", ".join(f"{suffix} ({format_.text})" for suffix, format_ in FORMATS.items())
_EPILOG: Final = "Keys in the window: " + ", ".join(
    f"{binding.keys} {binding.text}" for binding in KEY_BINDINGS
)

app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"{PROGRAM} {__version__}")
        raise typer.Exit()


@app.command(epilog=_EPILOG)
def command(
    source: Annotated[
        str | None,
        typer.Argument(
            help="A video file, a folder or pattern of pictures (shots/%04d.png), or a stream "
            "(rtsp://, http://).",
            show_default=False,
        ),
    ] = None,
    camera: Annotated[
        str | None,
        typer.Option(
            help="A camera instead: its number, from 0, or its device path.",
            metavar="N",
            show_default=False,
            rich_help_panel=_INPUT,
        ),
    ] = None,
    realtime: Annotated[
        bool,
        typer.Option(
            "--realtime",
            help="Play a file at its own rate, as if it were a camera: the newest frame wins.",
            rich_help_panel=_INPUT,
        ),
    ] = False,
    export: Annotated[
        list[Path] | None,
        typer.Option(
            help=f"Write the poses to PATH; the suffix says how: {_FORMATS}. Can be repeated.",
            metavar="PATH",
            show_default=False,
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(
            help="Record a video (.mp4): the picture with keypoints beside the 3D skeleton.",
            metavar="PATH",
            show_default=False,
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    stream: Annotated[
        list[str] | None,
        typer.Option(
            help="Send poses while they are made: ws://localhost:8765 (also a page for the "
            "browser), osc://HOST (VMC protocol), udp://HOST:PORT. Can be repeated.",
            metavar="URL",
            show_default=False,
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    stats: Annotated[
        Path | None,
        typer.Option(
            help="Write rates, latencies and memory of the run as JSON.",
            metavar="PATH",
            show_default=False,
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace existing files.", rich_help_panel=_OUTPUT),
    ] = False,
    headless: Annotated[
        bool,
        typer.Option("--headless", help="Open no window.", rich_help_panel=_OUTPUT),
    ] = False,
    weights: Annotated[
        str | None,
        typer.Option(
            help="The lifter: a name of shipped weights, or a file (.safetensors, or a published "
            "PoseMamba checkpoint).",
            metavar="NAME|PATH",
            show_default=False,
            rich_help_panel=_LIFTING,
        ),
    ] = None,
    mode: Annotated[
        ModeName,
        typer.Option(
            help="Speed against accuracy: whether the mirrored person is lifted as well (balanced: "
            "in files; accurate: live too), how much the windows of a file overlap, and how many "
            "frames a live window has on a CPU (13, 18, all).",
            rich_help_panel=_LIFTING,
        ),
    ] = ModeName.BALANCED,
    window: Annotated[
        int | None,
        typer.Option(
            help="Frames that the lifter sees together, at most what the weights were made for; "
            "by default all, and live on a CPU what --mode says.",
            metavar="T",
            show_default=False,
            rich_help_panel=_LIFTING,
        ),
    ] = None,
    delay: Annotated[
        int,
        typer.Option(
            help="Live: show the pose of K frames ago, which is steadier; 0 is now.",
            metavar="K",
            rich_help_panel=_LIFTING,
        ),
    ] = 0,
    detector: Annotated[
        str,
        typer.Option(
            help="What finds the 2D keypoints: blazepose, rtmpose, rtmpose-m (larger), "
            "rtmpose-wholebody (hands, feet, face), rtmo, or mediapipe (Google's own graph, an "
            "extra to install).",
            metavar="NAME",
            rich_help_panel=_LIFTING,
        ),
    ] = "blazepose",
    detector_model: Annotated[
        Path | None,
        typer.Option(
            help="A model file for the detector instead of its own: .task for mediapipe, .onnx "
            "for the others.",
            metavar="PATH",
            show_default=False,
            rich_help_panel=_LIFTING,
        ),
    ] = None,
    person_model: Annotated[
        str | None,
        typer.Option(
            help="BlazePose, RTMPose: a YOLOX or RTMDet .onnx that finds people, instead of the "
            "detector's own; none begins with the whole picture.",
            metavar="PATH|none",
            show_default=False,
            rich_help_panel=_LIFTING,
        ),
    ] = None,
    detect_every: Annotated[
        int | None,
        typer.Option(
            help="BlazePose, RTMPose: look for people in every Nth frame and follow them in "
            "between; by default twice a second, and at once when somebody is missing.",
            metavar="N",
            show_default=False,
            rich_help_panel=_LIFTING,
        ),
    ] = None,
    people: Annotated[
        int,
        typer.Option(
            help=f"How many people to follow, up to {MAX_PEOPLE}.",
            metavar="N",
            rich_help_panel=_LIFTING,
        ),
    ] = 1,
    subject: Annotated[
        SubjectName,
        typer.Option(
            help="Whom to follow where there are more people than --people: who came first, "
            "stands largest, or nearest to the centre. They are then kept; a click in the "
            "window chooses somebody else.",
            rich_help_panel=_LIFTING,
        ),
    ] = SubjectName.FIRST,
    device: Annotated[
        DeviceName,
        typer.Option(
            help="Where the networks run; coreml and directml are for the detector, MediaPipe "
            "stays on the CPU.",
            rich_help_panel=_LIFTING,
        ),
    ] = DeviceName.AUTO,
    threads: Annotated[
        int | None,
        typer.Option(
            help="CPU threads of the lifter; by default all cores but one, at most 4.",
            metavar="N",
            show_default=False,
            rich_help_panel=_LIFTING,
        ),
    ] = None,
    height: Annotated[
        float,
        typer.Option(
            help="Standing height of the person, metres: sets the scale of everything.",
            metavar="M",
            rich_help_panel=_BODY,
        ),
    ] = 1.70,
    fov: Annotated[
        float,
        typer.Option(
            help="Field of view across the picture's longer side, degrees.",
            metavar="DEG",
            rich_help_panel=_BODY,
        ),
    ] = 60.0,
    smooth: Annotated[
        float,
        typer.Option(
            help="Strength of the smoothing over time; 0 is off.",
            metavar="S",
            rich_help_panel=_BODY,
        ),
    ] = 1.0,
    mirror: Annotated[
        bool,
        typer.Option("--mirror", help="Show the window as a mirror.", rich_help_panel=_BODY),
    ] = False,
    start: Annotated[
        float,
        typer.Option(help="Begin at this second of a file.", metavar="S", rich_help_panel=_EXTENT),
    ] = 0.0,
    end: Annotated[
        float | None,
        typer.Option(
            help="End at this second of a file.",
            metavar="S",
            show_default=False,
            rich_help_panel=_EXTENT,
        ),
    ] = None,
    max_frames: Annotated[
        int | None,
        typer.Option(
            help="Process so many frames at most.",
            metavar="N",
            show_default=False,
            rich_help_panel=_EXTENT,
        ),
    ] = None,
    duration: Annotated[
        float | None,
        typer.Option(
            help="End after so many seconds.",
            metavar="S",
            show_default=False,
            rich_help_panel=_EXTENT,
        ),
    ] = None,
    verbose: Annotated[
        int,
        typer.Option(
            "-v",
            "--verbose",
            count=True,
            show_default=False,
            help="Say more; -vv everything.",
            rich_help_panel=_RUNNING,
        ),
    ] = 0,
    quiet: Annotated[
        bool,
        typer.Option("-q", "--quiet", help="Say only errors.", rich_help_panel=_RUNNING),
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_version,
            is_eager=True,
            help="Show the version and exit.",
            rich_help_panel=_RUNNING,
        ),
    ] = False,
) -> int:
    """Real-time 3D human pose from a camera, a stream or a video.

    A camera or stream opens a window with the live skeleton.
    A file is processed frame by frame; add --export, --record and --headless as you like.
    """
    _set_up_logging(-1 if quiet else verbose)
    options = Options(
        source=source,
        camera=camera,
        realtime=realtime,
        exports=export or (),
        record=record,
        streams=stream or (),
        stats=stats,
        overwrite=overwrite,
        headless=headless,
        weights=weights,
        mode=mode,
        window=window,
        delay=delay,
        detector=detector,
        detector_model=detector_model,
        person_model=person_model,
        detect_every=detect_every,
        people=people,
        subject=subject,
        device=device,
        threads=threads,
        height=height,
        fov=fov,
        smooth=smooth,
        mirror=mirror,
        start=start,
        end=end,
        max_frames=max_frames,
        duration=duration,
        verbosity=-1 if quiet else verbose,
        command_line=_arguments,
    )
    options.check()
    from posemamba_live.wiring import execute

    return execute(options)


_arguments: Sequence[str] = ()


def run(arguments: Sequence[str]) -> int:
    """Run the command; every failure becomes one message on stderr and an exit code."""
    global _arguments
    _arguments = tuple(arguments)
    try:
        code: Any = typer.main.get_command(app).main(
            list(arguments), prog_name=PROGRAM, standalone_mode=False
        )
        return code if isinstance(code, int) else EXIT_OK
    except (KeyboardInterrupt, typer.Abort):
        return _failed("interrupted before anything was done", EXIT_INTERRUPTED)
    except Exception as error:
        if isinstance(error, LiveError):
            return _failed(str(error), error.exit_code)
        # Typer 0.20 and later bring their own copy of Click's errors: told by what they have.
        if hasattr(error, "format_message"):
            message = f"{error.format_message()}\n  try:   {PROGRAM} --help"
            return _failed(message, EXIT_USAGE)
        return _failed(_describe(error), EXIT_FAILURE)


def _leave(signum: int, frame: object) -> None:
    """End there and then: while parts are loading there is nothing to save.

    Raising KeyboardInterrupt instead, in the middle of an import, leaves locks behind; some
    libraries print it or make an error of their own of it, and Python may die of SIGINT
    although it was caught.
    """
    os.write(2, b"error: interrupted before anything was done\n")
    os._exit(EXIT_INTERRUPTED)


def main() -> NoReturn:
    """The `posemamba-live` program."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # libraries' notes to their developers
    code = run(sys.argv[1:])
    sys.stdout.flush()
    sys.exit(code)


def _describe(error: Exception) -> str:
    what = LiveError(
        "Something went wrong inside posemamba-live",
        why=f"{type(error).__name__}: {error}",
        hint=f"-vv, or {DEBUG_VARIABLE}=1, shows where; please report it",
    )
    return str(what)


def _failed(message: str, code: int) -> int:
    if logging.getLogger("posemamba_live").isEnabledFor(logging.DEBUG):
        traceback.print_exc()
    print(f"error: {message}", file=sys.stderr)
    return code


def _set_up_logging(verbosity: int) -> None:
    if os.environ.get(DEBUG_VARIABLE, "0") not in ("", "0"):
        verbosity = 2
    levels = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO}
    logging.basicConfig(format="%(levelname)s: %(message)s", force=True)
    # Other libraries' debug messages would bury our own.
    logging.getLogger("posemamba_live").setLevel(levels.get(verbosity, logging.DEBUG))
    logging.getLogger("posemamba").setLevel(levels.get(verbosity, logging.DEBUG))
