"""Names of files to write: what is refused before a long run, and where unfinished ones lie."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from posemamba_live.errors import SinkError, UsageError
from posemamba_live.shown import public


def check_output(path: Path, *, overwrite: bool, suffixes: Collection[str]) -> None:
    """Refuse a file that could not be written, before anything expensive starts.

    Raises:
        UsageError: unknown suffix, or the file exists and `overwrite` is false.
        SinkError: the folder is missing or cannot be written to, or a folder is in the way.
    """
    if suffix_of(path, suffixes) is None:
        # Of an address that came here by mistake, the end may be a password's.
        kind = path.suffix if public(str(path)) == str(path) else ""
        raise UsageError(
            f"cannot write {path}: unknown file type {kind or '(no suffix)'!r}",
            hint=f"end the name in one of: {', '.join(sorted(suffixes))}",
        )
    folder = path.parent
    # os.path, unlike Path, answers False for names that the system cannot even look up.
    if not os.path.isdir(folder):
        why = "is a file" if os.path.exists(folder) else "does not exist"
        raise SinkError(
            f"cannot write {path}",
            why=f"the folder {folder} {why}",
            hint="create the folder, or choose another one",
        )
    if os.path.isdir(path):
        raise SinkError(
            f"cannot write {path}", why="a folder of this name exists", hint="choose another name"
        )
    if os.path.exists(path) and not overwrite:
        raise UsageError(
            f"{path} exists already", hint="choose another name, or replace it with --overwrite"
        )
    # os.access does not know read-only file systems everywhere: trying does.
    probe = partial_path(path)
    try:
        with open(probe, "wb"):
            pass
        probe.unlink()
    except OSError as error:
        raise SinkError(
            f"cannot write {path}",
            why=f"{folder}: {error.strerror or error}",
            hint="choose a folder that you may write to",
        ) from error


def suffix_of(path: Path, suffixes: Collection[str]) -> str | None:
    """The longest of `suffixes` that the name ends in, after at least one letter of its own."""
    name = path.name.lower()
    ends = [s for s in suffixes if name.endswith(s) and len(name) > len(s)]
    return max(ends, key=len, default=None)


def partial_path(path: Path) -> Path:
    """Name beside `path`, of the same suffix, for a file that is not finished yet."""
    return path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
