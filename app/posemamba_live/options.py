"""What a run is asked to do, and the checks that need nothing loaded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final

from posemamba_live.errors import UsageError
from posemamba_live.streams.address import MAX_PORT, StreamAddress, parse_address

MAX_PEOPLE: Final = 8


class ModeName(str, Enum):
    """How much work goes into lifting; lifter_factory.MODES says what each one does."""

    FAST = "fast"
    BALANCED = "balanced"
    ACCURATE = "accurate"


class SubjectName(str, Enum):
    """Who is chosen where there are more people than wanted; tracking.Subject does it."""

    FIRST = "first"
    LARGEST = "largest"
    CENTRE = "centre"


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


@dataclass(frozen=True, slots=True)
class Options:
    """One field per option of the command; None where it was not given."""

    source: str | None = None
    camera: str | None = None
    realtime: bool = False
    exports: Sequence[Path] = ()
    record: Path | None = None
    streams: Sequence[str] = ()
    stats: Path | None = None
    overwrite: bool = False
    headless: bool = False
    weights: str | None = None
    mode: ModeName = ModeName.BALANCED
    window: int | None = None
    delay: int = 0
    detector: str = "blazepose"
    detector_model: Path | None = None
    person_model: str | None = None
    detect_every: int | None = None
    people: int = 1
    subject: SubjectName = SubjectName.FIRST
    device: DeviceName = DeviceName.AUTO
    threads: int | None = None
    height: float = 1.70
    fov: float = 60.0
    smooth: float = 1.0
    mirror: bool = False
    start: float = 0.0
    end: float | None = None
    max_frames: int | None = None
    duration: float | None = None
    verbosity: int = 0
    """-1 quiet, 0 normal, 1 informative, 2 everything."""
    command_line: Sequence[str] = field(default_factory=tuple)
    """As given, for the exports' metadata."""

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
            raise UsageError("Two sources at once", hint="either SOURCE or --camera, not both")
        _in_range("--height", self.height, 0.3, 3.0, "metres")
        _in_range("--fov", self.fov, 5.0, 150.0, "degrees")
        _in_range("--smooth", self.smooth, 0.0, 100.0, "")
        _in_range("--people", self.people, 1, MAX_PEOPLE, "")
        _in_range("--start", self.start, 0.0, math.inf, "seconds")
        if self.end is not None and not self.end > self.start:
            raise UsageError(f"--end {self.end:g} is not after --start {self.start:g}")
        if self.duration is not None and not self.duration > 0.0:
            raise UsageError(f"--duration {self.duration:g} leaves nothing", hint="more than 0")
        for name, count in (
            ("--max-frames", self.max_frames),
            ("--window", self.window),
            ("--threads", self.threads),
            ("--detect-every", self.detect_every),
        ):
            if count is not None and count < 1:
                raise UsageError(f"{name} {count} leaves nothing", hint="1 or more")
        if self.delay < 0:
            raise UsageError(f"--delay {self.delay}: nobody sees the future", hint="0 or more")
        if self.window is not None and self.delay >= self.window:
            raise UsageError(
                f"--delay {self.delay} is not inside a window of {self.window} frames",
                hint=f"at most --delay {self.window - 1}",
            )
        self._check_files()
        self._check_streams()

    def _check_files(self) -> None:
        if self.detector_model is not None and not self.detector_model.is_file():
            raise UsageError(
                f"There is no detector model {self.detector_model}",
                hint="--detector-model takes a file",
            )
        person_model = self.person_model
        if person_model not in (None, "none") and not Path(str(person_model)).is_file():
            raise UsageError(
                f"There is no person model {person_model}",
                hint="--person-model takes a file, or the word none",
            )
        seen: set[Path] = set()
        for path in self.outputs:
            resolved = path.resolve()
            if resolved in seen:
                raise UsageError(f"{path} is to be written twice", hint="give each file a name")
            seen.add(resolved)
            if self.source is not None and resolved == Path(self.source).resolve():
                raise UsageError(f"{path} is the source itself", hint="choose another name")
        if self.headless and not (self.outputs or self.streams):
            raise UsageError(
                "Without a window and without a file there is nothing to do",
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


def _in_range(name: str, value: float, low: float, high: float, unit: str) -> None:
    if not (math.isfinite(value) and low <= value <= high):
        limits = f"{low:g} or more" if high == math.inf else f"{low:g} to {high:g}"
        raise UsageError(f"{name} {value:g} is out of range", hint=f"{limits} {unit}".rstrip())
