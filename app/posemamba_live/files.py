"""Names of files to write: what is refused before a long run, and where unfinished ones lie."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Collection
from pathlib import Path
from typing import Final

from posemamba_live.errors import SinkError, UsageError
from posemamba_live.shown import public

_LONGEST_NAME: Final = 255
"""Bytes of a file's name, on all usual file systems."""
_TAG: Final = 8


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
    target = real_path(path)
    folder = target.parent
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
    if os.path.islink(target):
        raise SinkError(
            f"cannot write {path}",
            why="it is a symbolic link that leads back to itself",
            hint="remove it, or choose another name",
        )
    if os.path.exists(path) and not os.path.isfile(path):
        raise SinkError(
            f"cannot write {path}",
            why="a device or a pipe has this name",
            hint="choose another name",
        )
    if os.path.exists(path) and not overwrite:
        raise UsageError(
            f"{path} exists already", hint="choose another name, or replace it with --overwrite"
        )
    # os.access does not know read-only file systems everywhere: trying does.
    probe = partial_path(path)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.lstat(target)  # the name itself may be too long
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


def real_path(path: Path) -> Path:
    """The file itself, where `path` is a symbolic link: that is what is written to."""
    return Path(os.path.realpath(path)) if os.path.islink(path) else path


def partial_path(path: Path) -> Path:
    """Name for a file that is not finished yet, of the same suffix and in the folder of the
    file that `put_in_place` gives it the name of. As long as names may be."""
    path = real_path(path)
    suffix = f".{os.getpid()}.part{path.suffix}"
    stem = path.stem
    if len(os.fsencode(f".{stem}{suffix}")) > _LONGEST_NAME:
        tag = hashlib.sha256(os.fsencode(stem)).hexdigest()[:_TAG]
        room = _LONGEST_NAME - len(os.fsencode(suffix)) - _TAG - 2
        stem = f"{os.fsencode(stem)[:room].decode(errors='ignore')}-{tag}"
    return path.with_name(f".{stem}{suffix}")


def put_in_place(part: Path, path: Path) -> None:
    """Give a finished file its name; a symbolic link of that name stays and leads to it.

    Raises:
        OSError: the folder is gone, for one.
    """
    part.replace(real_path(path))
