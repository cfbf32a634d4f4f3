"""What a batch has to do: which videos are missing, and what makes one that is there count."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, Final

from posemamba.folders import weights_folders
from posemamba_live import __version__
from posemamba_live.batch.options import NOT_OF_RESULTS, SHARED, BatchOptions, shown
from posemamba_live.batch.receipt import PERHAPS, Receipt, difference, receipt_name
from posemamba_live.batch.storage import Facts, Folder, writing_to
from posemamba_live.batch.videos import Video
from posemamba_live.errors import UsageError
from posemamba_live.options import DECLARED, Options
from posemamba_live.plan import FILM_WEIGHTS, second_weights, whole_weights

_READERS: Final = 16
"""Receipts that are read at once."""
_UNREADABLE: Final = Receipt({}, Facts(0, ""), "", {}, complete=False)
"""Stands for one that is damaged: the files beside it are ours all the same."""


@dataclass(frozen=True, slots=True)
class Job:
    """One video to be lifted."""

    video: Video
    options: Options
    """Of a single run of it, without its files."""
    settings: Mapping[str, Any]
    """What its receipt is to say of how it was made."""
    why: str
    """Why there is something to do; empty where its result counts."""
    before: Receipt | None = None
    """Of the result that is there, whatever it is worth."""
    blocked: str = ""
    """A file that is in the way and not ours."""

    @property
    def size(self) -> int:
        """Bytes of the video, by which large ones come first."""
        return self.video.size

    @property
    def unsure(self) -> bool:
        """Whether only the video's content can tell if its result counts."""
        return self.why == PERHAPS


def plan_jobs(
    videos: Sequence[Video], batch: BatchOptions, shared: Options, folder: Folder
) -> list[Job]:
    """A job for each video, in their order; those whose result counts have nothing to do.

    Raises:
        UsageError: a video's own options cannot be meant.
        SinkError: nobody can tell what results there are.
    """
    with writing_to(batch.output or ""):
        sizes = folder.sizes()
        receipts = _receipts(videos, folder, sizes)
    jobs = []
    for video, receipt in zip(videos, receipts, strict=True):
        options = options_of(video, shared)
        settings = settings_of(options, batch)
        why = difference(receipt, settings, video.facts, sizes)
        if batch.force:
            why = "all are to be done again"
        blocked = ""
        if receipt is None and not batch.force:
            names = [f"{video.name}{suffix}" for suffix in batch.suffixes_of_results]
            blocked = next((name for name in names if name in sizes), "")
        jobs.append(Job(video, options, settings, why, receipt, blocked))
    return jobs


def _receipts(
    videos: Sequence[Video], folder: Folder, sizes: Mapping[str, int]
) -> list[Receipt | None]:
    def read(video: Video) -> Receipt | None:
        name = receipt_name(video.name)
        if name not in sizes:
            return None
        return Receipt.from_json(folder.read(name)) or _UNREADABLE

    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(read, videos))


def options_of(video: Video, shared: Options) -> Options:
    """Those of a single run of this video.

    Raises:
        UsageError: they cannot be meant.
    """
    own = dict(video.given)
    if "height" in own:
        own["heights"] = (own.pop("height"),)
    options = replace(shared, source=video.address, headless=True, quiet=True, **own)
    try:
        options.check_numbers()
    except UsageError as error:
        error.what = f"{shown(video.address)}: {error.what}"
        raise
    return options


def settings_of(options: Options, batch: BatchOptions) -> dict[str, Any]:
    """Version and options that a result depends on, as JSON values."""
    settings: dict[str, Any] = {
        "version": __version__,
        "set of exports": list(batch.suffixes_of_exports),
        "record": batch.record,
    }
    for name in SHARED:
        if name in NOT_OF_RESULTS or (name == "no_sound" and not batch.record):
            continue
        value = getattr(options, name)
        if name == "weights":
            value = _weights(value or FILM_WEIGHTS)
        elif name in ("detector_model", "person_model"):
            value = _file(str(value)) if value is not None else None
        if name == "heights":
            value = list(value)
        settings[name] = value.value if isinstance(value, Enum) else value
    again = (second_weights(options, live=False), whole_weights(options, live=False))
    settings["weights that films are seen with again"] = [_weights(name) for name in again if name]
    return settings


def _weights(name: str) -> list[str]:
    """Name and checksum: what is shipped under a name may change."""
    for folder in weights_folders():
        path = folder / f"{name}.safetensors"
        if path.is_file():
            return [name, _checksum(path)]
    return _file(name)


def _file(name: str) -> list[str]:
    path = Path(name)
    return [path.name, _checksum(path) if path.is_file() else ""]


@cache
def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def single_run(job: Job, results: Sequence[Path], record: Path | None) -> list[str]:
    """Words of the posemamba-live command that makes the same files."""
    words = [job.video.address]
    usual = Options()
    for name in SHARED:
        value = getattr(job.options, name)
        if name in ("verbose", "quiet") or value == getattr(usual, name):
            continue
        declared = usual.__dataclass_fields__[name].metadata[DECLARED]
        flag = next(iter(declared.flags), f"--{name.replace('_', '-')}")
        for one in value if name == "heights" else [value]:
            one = one.value if isinstance(one, Enum) else one
            words += [flag] if one is True else [flag, str(one)]
    for path in results:
        words += ["--export", path.name]
    if record is not None:
        words += ["--record", record.name]
    return [*words, "--headless"]
