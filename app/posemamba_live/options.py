"""What a run is asked to do: every option of the command, declared once, and the checks that
need nothing loaded.

The command line is built from this declaration (`cli`), so that a new option is one more field.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Final, TypeVar

from posemamba_live.address import MAX_PORT, StreamAddress, parse_address
from posemamba_live.errors import UsageError
from posemamba_live.nearest import nearest_file
from posemamba_live.shown import public

MAX_PEOPLE: Final = 8
DECLARED: Final = "declared"
"""Key of a field's metadata under which its `Declared` is."""

T = TypeVar("T")


class ModeName(str, Enum):
    """How much work goes into lifting; plan.MODES says what each one does."""

    FAST = "fast"
    BALANCED = "balanced"
    ACCURATE = "accurate"


class SubjectName(str, Enum):
    """Who is chosen where there are more people than wanted; tracking.Subject does it."""

    FIRST = "first"
    LARGEST = "largest"
    CENTRE = "centre"


class UnseenName(str, Enum):
    """What becomes of joints that nobody has seen for some seconds, in pictures and streams."""

    FAINT = "faint"
    HIDE = "hide"


class DeviceName(str, Enum):
    """Where the networks run; the last two are for the detector alone."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    COREML = "coreml"
    DIRECTML = "directml"

    @property
    def of_lifter(self) -> DeviceName:
        """The lifter's device, which is PyTorch's."""
        return self if self in (DeviceName.CPU, DeviceName.CUDA) else DeviceName.AUTO


class Panel(str, Enum):
    """The groups that `--help` shows options in."""

    SOURCE = "Source"
    OUTPUT = "Results"
    LIFTING = "Pose estimation"
    BODY = "Body, camera and view"
    EXTENT = "How much"
    WORKERS = "Workers"
    RUNNING = "Running"


@dataclass(frozen=True, slots=True)
class Declared:
    """How an option is given on the command line."""

    help: str
    """May hold {formats}, the list of export formats."""
    panel: Panel | None = None
    """None for what is given without a name."""
    metavar: str | None = None
    flags: tuple[str, ...] = ()
    """By default the field's name, with dashes."""
    counted: bool = False
    """How often it is given is its value."""


def option(
    default: T,
    help: str,
    panel: Panel | None = None,
    metavar: str | None = None,
    *,
    flags: tuple[str, ...] = (),
    counted: bool = False,
) -> T:
    """A field of `Options` that is an option of the command, with its default."""
    declared = Declared(help, panel, metavar, flags, counted)
    made: Any = field(default=default, metadata={DECLARED: declared})
    return made  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Options:
    """One field per option of the command; None where it was not given."""

    source: str | None = option(
        None,
        "A video file, a folder or pattern of pictures (shots/%04d.png), a video or stream on the "
        "network (rtsp://, http://), or - for a video that is piped in.",
    )
    camera: str | None = option(
        None,
        "A camera instead: its number, from 0, or its device path; list prints which there are.",
        Panel.SOURCE,
        "N|list",
    )
    camera_size: str | None = option(
        None,
        "What to ask the camera for, 1280x720@30 by default; it gives what is nearest.",
        Panel.SOURCE,
        "WxH@R",
    )
    rotate: int = option(
        0,
        "Turn the picture by 90, 180 or 270 degrees clockwise, after what its file asks for.",
        Panel.SOURCE,
        "DEG",
    )
    fps: float | None = option(
        None,
        "Pictures a second of a sequence of pictures, which cannot tell; 30 are assumed.",
        Panel.SOURCE,
        "N",
    )
    realtime: bool = option(
        False,
        "Play a file at its own rate, as if it were a camera: the newest frame wins.",
        Panel.SOURCE,
    )
    exports: Sequence[Path] = option(
        (),
        "Write the poses to PATH; the suffix says how: {formats}. Can be repeated.",
        Panel.OUTPUT,
        "PATH",
        flags=("--export",),
    )
    record: Path | None = option(
        None,
        "Record a video (.mp4): the picture with keypoints beside the 3D skeleton.",
        Panel.OUTPUT,
        "PATH",
    )
    no_sound: bool = option(False, "Record without the sound of the film.", Panel.OUTPUT)
    streams: Sequence[str] = option(
        (),
        "Send poses while they are made: ws://localhost:8765 (also a page for the "
        "browser), osc://HOST (VMC protocol), udp://HOST:PORT, rerun (opens the Rerun viewer) or "
        "rerun://HOST:PORT. Can be repeated.",
        Panel.OUTPUT,
        "URL",
        flags=("--stream",),
    )
    stats: Path | None = option(
        None, "Write rates, latencies and memory of the run as JSON.", Panel.OUTPUT, "PATH"
    )
    overwrite: bool = option(False, "Replace existing files.", Panel.OUTPUT)
    headless: bool = option(False, "Open no window.", Panel.OUTPUT)
    weights: str | None = option(
        None,
        "The lifter: a name of shipped weights, or a file (.safetensors, or a published "
        "PoseMamba checkpoint). By default live use has causal weights, and films, --delay, "
        "--window, --mode accurate and --device cuda have window weights.",
        Panel.LIFTING,
        "NAME|PATH",
    )
    mode: ModeName = option(
        ModeName.BALANCED,
        "Speed against accuracy: whether the mirrored person is lifted as well (balanced: but "
        "for live windows; accurate: always), how much the windows of a file overlap, and how "
        "many frames a live window has on a CPU (13, 18, all).",
        Panel.LIFTING,
    )
    window: int | None = option(
        None,
        "Frames that the lifter sees together, at most what the weights were made for; "
        "by default all, and live on a CPU what --mode says.",
        Panel.LIFTING,
        "T",
    )
    delay: int = option(
        0, "Live: show the pose of K frames ago, which is steadier; 0 is now.", Panel.LIFTING, "K"
    )
    detector: str = option(
        "blazepose",
        "What finds the 2D keypoints: blazepose, rtmpose, rtmpose-m (larger), "
        "rtmpose-wholebody (hands, feet, face), rtmo, or mediapipe (Google's own graph, an "
        "extra to install).",
        Panel.LIFTING,
        "NAME",
    )
    detector_model: Path | None = option(
        None,
        "A model file for the detector instead of its own: .task for mediapipe, .onnx "
        "for the others.",
        Panel.LIFTING,
        "PATH",
    )
    person_model: str | None = option(
        None,
        "BlazePose, RTMPose: a YOLOX or RTMDet .onnx that finds people, instead of the "
        "detector's own; none begins with the whole picture.",
        Panel.LIFTING,
        "PATH|none",
    )
    detect_every: int | None = option(
        None,
        "BlazePose, RTMPose: look for people in every Nth frame and follow them in between; by "
        "default twice a second, and at once when somebody is missing.",
        Panel.LIFTING,
        "N",
    )
    people: int = option(1, f"How many people to follow, up to {MAX_PEOPLE}.", Panel.LIFTING, "N")
    subject: SubjectName = option(
        SubjectName.FIRST,
        "Whom to follow where there are more people than --people: who comes first, or of "
        "those in view then who is largest, or nearest to the centre. They are kept as long "
        "as they are seen, whoever is larger later; a click in the window chooses somebody else.",
        Panel.LIFTING,
    )
    device: DeviceName = option(
        DeviceName.AUTO,
        "Where the networks run; coreml and directml are for the detector, MediaPipe stays on "
        "the CPU.",
        Panel.LIFTING,
    )
    threads: int | None = option(
        None,
        "CPU threads of the lifter; by default all cores but one, at most 4.",
        Panel.LIFTING,
        "N",
    )
    heights: Sequence[float] = option(
        (),
        "Standing height of the person, metres: sets the scale of everything; 1.70 by default. "
        "Repeated, it is of one person after the other, the last of all others.",
        Panel.BODY,
        "M",
        flags=("--height",),
    )
    pitch: float | None = option(
        None,
        "How far the camera looks down (negative) or up, degrees, for those who know it; it is "
        "found from the people otherwise.",
        Panel.BODY,
        "DEG",
    )
    fov: float | None = option(
        None, "Degrees across the picture's longer side (else what the film says, or 60).",
        Panel.BODY, "DEG",
    )  # fmt: skip
    smooth: float = option(1.0, "Strength of the smoothing over time; 0 is off.", Panel.BODY, "S")
    unseen: UnseenName = option(
        UnseenName.FAINT,
        "Joints that have not been seen for some seconds, as legs under a desk: draw them faint, "
        "or hide them in pictures and streams. Files keep them, with their scores.",
        Panel.BODY,
    )
    mirror: bool = option(False, "Show the window as a mirror.", Panel.BODY)
    start: float = option(0.0, "Begin at this second of a file.", Panel.EXTENT, "S")
    end: float | None = option(None, "End at this second of a file.", Panel.EXTENT, "S")
    max_frames: int | None = option(None, "Process so many frames at most.", Panel.EXTENT, "N")
    duration: float | None = option(None, "End after so many seconds.", Panel.EXTENT, "S")
    verbose: int = option(
        0, "Say more; -vv everything.", Panel.RUNNING, flags=("-v", "--verbose"), counted=True
    )
    quiet: bool = option(False, "Say only errors.", Panel.RUNNING, flags=("-q", "--quiet"))
    command_line: Sequence[str] = ()
    """As given, for the exports' metadata."""

    @property
    def verbosity(self) -> int:
        """-1 quiet, 0 normal, 1 informative, 2 and more everything."""
        return -1 if self.quiet else self.verbose

    @property
    def outputs(self) -> list[Path]:
        """Every file that the run is to write."""
        return [*self.exports, *(path for path in (self.record, self.stats) if path is not None)]

    @property
    def addresses(self) -> list[StreamAddress]:
        """Where the run is to stream to."""
        return [parse_address(url) for url in self.streams]

    def check(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            UsageError: naming the option.
        """
        if self.source is None and self.camera is None:
            raise UsageError(
                "Nothing to look at",
                hint="posemamba-live VIDEO, or posemamba-live --camera 0",
            )
        if self.source is not None and self.camera is not None:
            raise UsageError(
                "Two sources at once",
                why=f"{public(self.source)} and --camera {self.camera}",
                hint="either SOURCE or --camera, not both",
            )
        self.check_numbers()
        self._check_files()
        self._check_streams()

    def check_numbers(self) -> None:
        """Refuse numbers that cannot be meant, wherever pictures come from and poses go to.

        Raises:
            UsageError: naming the option.
        """
        for height in self.heights:
            if 100.0 <= height <= 250.0:
                raise UsageError(
                    f"--height {height:g} is out of range",
                    why="it is metres, not centimetres",
                    hint=f"did you mean --height {height / 100.0:.2f}?",
                )
            _in_range("--height", height, 0.3, 3.0, "metres")
        if self.pitch is not None:
            _in_range("--pitch", self.pitch, -80.0, 80.0, "degrees")
        if self.fov is not None:
            _in_range("--fov", self.fov, 5.0, 150.0, "degrees")
        _in_range("--smooth", self.smooth, 0.0, 100.0, "")
        _in_range("--people", self.people, 1, MAX_PEOPLE, "")
        if self.rotate not in (0, 90, 180, 270):
            raise UsageError(
                f"--rotate {self.rotate} is no quarter turn",
                why="pictures are turned by whole quarters only",
                hint="--rotate 90, 180 or 270",
            )
        if self.fps is not None:
            _in_range("--fps", self.fps, 0.001, 10_000.0, "pictures a second")
        _in_range("--start", self.start, 0.0, math.inf, "seconds")
        for name, until in (("--end", self.end), ("--duration", self.duration)):
            if until == math.inf:
                why = f"without {name} there is none"
                raise UsageError(f"{name} inf is no limit", why=why, hint=f"leave {name} out")
        if self.end is not None and not self.end > self.start:
            raise UsageError(
                f"--end {self.end:g} is not after --start {self.start:g}",
                why="nothing lies between them",
                hint="both are seconds of the film; --duration counts from --start",
            )
        if self.duration is not None and not self.duration > 0.0:
            raise UsageError(f"--duration {self.duration:g} leaves nothing", hint="more than 0")
        for name, count in (
            ("--max-frames", self.max_frames),
            ("--window", self.window),
            ("--threads", self.threads),
            ("--detect-every", self.detect_every),
        ):
            if count is not None and count < 1:
                raise UsageError(
                    f"{name} {count} leaves nothing",
                    why="it has to be a count of something",
                    hint=f"{name} 1 or more",
                )
        if self.delay < 0:
            raise UsageError(f"--delay {self.delay}: nobody sees the future", hint="0 or more")
        if self.window is not None and self.delay >= self.window:
            raise UsageError(
                f"--delay {self.delay} is not inside a window of {self.window} frames",
                why="the pose that is shown has to be in the window",
                hint=f"at most --delay {self.window - 1}",
            )

    def _check_files(self) -> None:
        if self.detector_model is not None and not os.path.isfile(self.detector_model):
            raise UsageError(
                f"There is no detector model {self.detector_model}",
                why="no such file",
                hint=_file_hint("--detector-model", self.detector_model, "takes a file"),
            )
        person_model = self.person_model
        if person_model not in (None, "none") and not os.path.isfile(str(person_model)):
            raise UsageError(
                f"There is no person model {person_model}",
                why="no such file",
                hint=_file_hint(
                    "--person-model", Path(str(person_model)), "takes a file, or the word none"
                ),
            )
        # os.path, unlike Path, has an answer for links in a circle and for names that are too long.
        seen: set[str] = set()
        for path in self.outputs:
            resolved = os.path.realpath(path)
            if resolved in seen:
                raise UsageError(
                    f"{path} is to be written twice",
                    why="two outputs have this name",
                    hint="give each file a name of its own",
                )
            seen.add(resolved)
            if self.source is not None and resolved == os.path.realpath(self.source):
                raise UsageError(
                    f"cannot write {path}",
                    why="it is the source itself",
                    hint="choose another name",
                )
        if self.headless and not (self.outputs or self.streams):
            raise UsageError(
                "--headless leaves nothing to do",
                why="there is no window then, and no file or stream was asked for",
                hint="add --export poses.npz, --record video.mp4 or --stream ws://localhost:8765, "
                "or leave out --headless",
            )

    def _check_streams(self) -> None:
        seen: set[tuple[bool, str, int]] = set()
        for address in self.addresses:
            where = (address.scheme == "ws", address.host, address.port)
            if where in seen:
                raise UsageError(f"--stream {address} is there twice", hint="once is enough")
            seen.add(where)
            if address.scheme == "osc" and address.port + self.people - 1 > MAX_PORT:
                raise UsageError(
                    f"--stream {address} has no ports for {self.people} people",
                    hint=f"each person has one: at most {MAX_PORT + 1 - self.people}",
                )


def _file_hint(option: str, path: Path, otherwise: str) -> str:
    found = nearest_file(path)
    return f"did you mean {option} {found}?" if found else f"{option} {otherwise}"


def _in_range(name: str, value: float, low: float, high: float, unit: str) -> None:
    if not (math.isfinite(value) and low <= value <= high):
        limits = f"{low:g} or more" if high == math.inf else f"{low:g} to {high:g}"
        raise UsageError(
            f"{name} {value:g} is out of range",
            why="it is too small" if value < low else "it is too large or no number",
            hint=f"{name} takes {limits} {unit}".rstrip(),
        )
