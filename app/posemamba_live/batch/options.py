"""What a batch is asked to do: its own options, and those that it shares with a single run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from posemamba_live.errors import UsageError
from posemamba_live.options import DeviceName, Options, Panel, option
from posemamba_live.shown import public
from posemamba_live.sinks import FORMATS

SHARED: Final = (
    "weights", "mode", "window", "detector", "detector_model", "person_model", "detect_every",
    "people", "subject", "device", "heights", "pitch", "fov", "smooth", "rotate", "start", "end",
    "max_frames", "no_sound", "verbose", "quiet",
)  # fmt: skip
"""Options of posemamba-live that hold for every video of a batch."""
NOT_OF_RESULTS: Final = ("device", "verbose", "quiet")
"""Of these, those that leave results as they are."""
USUAL_SUFFIXES: Final = (
    ".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".flv", ".ts",
    ".mts", ".m2ts", ".3gp", ".ogv",
)  # fmt: skip
"""What counts as a video in folders."""
RECORDED: Final = ".mp4"
"""Suffix of recordings."""
_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """One field per option that only a batch has."""

    inputs: Sequence[str] = option(
        (),
        "Folders, videos, patterns ('takes/*/front.mov'), lists (.txt: one of these a line) and "
        "tables (.csv, .parquet: path, height, fov, people, start, end), local or URLs "
        "(s3://, gs://, sftp://, ...).",
        metavar="INPUT...",
    )
    output: str | None = option(
        None,
        "Folder or URL that results go to, in the tree that the videos have.",
        Panel.OUTPUT,
        "FOLDER|URL",
        flags=("--output", "-o"),
    )
    formats: Sequence[str] = option(
        (),
        "Formats to export, by name: "
        f"{', '.join(suffix[1:] for suffix in FORMATS)}; npz if nothing is said. Can be repeated.",
        Panel.OUTPUT,
        "NAME",
        flags=("--export",),
    )
    record: bool = option(False, "Record a video (.mp4) of each.", Panel.OUTPUT)
    force: bool = option(
        False, "Lift everything, also what is there already, and replace it.", Panel.OUTPUT
    )
    dry_run: bool = option(False, "Say what would be done, and do nothing.", Panel.OUTPUT)
    suffixes: Sequence[str] = option(
        (),
        "In folders take files of this suffix (.mp4), instead of all usual ones. Can be repeated.",
        Panel.SOURCE,
        "SUFFIX",
        flags=("--suffix",),
    )
    address: str | None = option(
        None,
        "The Ray cluster: ray://HOST:10001, HOST:6379, or auto on one of its machines; by default "
        "Ray is started on this one.",
        Panel.WORKERS,
    )
    workers: int | None = option(
        None, "How many; by default as many as there is room for.", Panel.WORKERS, "N"
    )
    cpus_per_worker: int = option(1, "Cores, and CPU threads, of each worker.", Panel.WORKERS, "N")
    gpus_per_worker: float = option(
        0.0, "GPUs, or which part of one, of each worker.", Panel.WORKERS, "N"
    )
    dashboard: bool = option(
        False, "Start Ray's dashboard, on loopback; needs Ray's extra default.", Panel.WORKERS
    )

    @property
    def suffixes_of_exports(self) -> tuple[str, ...]:
        """Of the files to export, each once."""
        names = [name.lower().lstrip(".") for name in self.formats] or ["npz"]
        return tuple(f".{name}" for name in dict.fromkeys(names))

    @property
    def suffixes_of_results(self) -> tuple[str, ...]:
        """Of all files that every video gets."""
        recorded = (RECORDED,) if self.record else ()
        return (*self.suffixes_of_exports, *recorded)

    def check(self, shared: Options) -> None:
        """Refuse what cannot be meant.

        Raises:
            UsageError: naming the option.
            SinkError: a format's library is missing.
        """
        if not self.inputs:
            raise UsageError("Nothing to lift", hint="posemamba-batch RECORDINGS/ --output POSES/")
        if self.output is None:
            raise UsageError(
                "Where should results go?", hint="--output FOLDER, or the URL of one (s3://...)"
            )
        for suffix in self.suffixes_of_exports:
            if suffix not in FORMATS:
                raise UsageError(
                    f"There is no format {suffix[1:]!r}",
                    hint=f"one of: {', '.join(known[1:] for known in FORMATS)}",
                )
            FORMATS[suffix].check_installed(Path(f"x{suffix}"))
        for address in (*self.inputs, self.output):
            if scheme_of(address) == "memory":
                raise UsageError(
                    f"{address} is in the memory of one process",
                    hint="workers are others: name a folder or a URL that all of them reach",
                )
        for name, count in (
            ("--workers", self.workers),
            ("--cpus-per-worker", self.cpus_per_worker),
        ):
            if count is not None and count < 1:
                raise UsageError(f"{name} {count} leaves nothing", hint="1 or more")
        gpus = self.gpus_per_worker
        if not (0.0 <= gpus <= 1.0 or (gpus > 1.0 and gpus.is_integer())):
            raise UsageError(
                f"--gpus-per-worker {gpus:g} is out of range", hint="a part of one, or whole ones"
            )
        if shared.device is DeviceName.CUDA and not gpus:
            raise UsageError(
                "--device cuda needs --gpus-per-worker",
                hint="1 for a GPU of its own, 0.25 where four workers share one",
            )
        shared.check_numbers()


def scheme_of(address: str) -> str:
    """Lower-case scheme of a URL; empty for a path."""
    found = _URL.match(address)
    return found[1].lower() if found else ""


def shown(address: str) -> str:
    """An address without what only its owner should know."""
    return public(address) if scheme_of(address) else address
