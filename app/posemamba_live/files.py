"""Files to write: what is refused before a long run, where unfinished ones lie, and where they
go in the end if they cannot go where they were meant to."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import tempfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Final

from posemamba_live.errors import SinkError, UsageError
from posemamba_live.nearest import nearest
from posemamba_live.shown import public

_LONGEST_NAME: Final = 255
"""Bytes of a file's name, on all usual file systems."""
_TAG: Final = 8
_VIDEOS: Final = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".gif", ".m4v")
_INSTEAD: Final = {
    ".fbx": (".bvh", ", which Blender, Unity's importers and Unreal turn into .fbx"),
    ".gltf": (".glb", ", the same in one file"),
    ".usd": (".glb", ", which Blender turns into .usd"),
    ".pkl": (".npz", ", which NumPy reads"),
    ".npy": (".npz", ", which NumPy reads"),
    ".xlsx": (".csv", ", which every table program reads"),
    ".txt": (".csv", ", which is text"),
}
"""Types of files that are asked for, and which one does instead."""


def check_output(path: Path, *, overwrite: bool, suffixes: Collection[str]) -> None:
    """Refuse a file that could not be written, before anything expensive starts.

    Raises:
        UsageError: unknown suffix, or the file exists and `overwrite` is false.
        SinkError: the folder is missing or cannot be written to, or a folder is in the way.
    """
    if suffix_of(path, suffixes) is None:
        # Of an address that came here by mistake, the end may be a password's.
        kind = path.suffix if public(str(path)) == str(path) else ""
        if os.path.isdir(path):
            raise UsageError(
                f"cannot write {path}",
                why="it is a folder",
                hint=f"name the file in it: {path / _example(suffixes)}",
            )
        raise UsageError(
            f"cannot write {path}",
            why=f"unknown file type {kind or '(no suffix)'!r}",
            hint=_other_type(path, kind, suffixes),
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
            f"{path} exists already",
            why="no file is replaced without being told",
            hint="choose another name, or replace it with --overwrite",
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


def _other_type(path: Path, kind: str, suffixes: Collection[str]) -> str:
    """What to try instead of a type of file that cannot be written."""
    kind, name = kind.lower(), public(str(path))
    videos = ".mp4" in suffixes
    everything = f"end the name in one of: {', '.join(sorted(suffixes))}"
    if not kind:
        plain = f".{path.name.lower()}"
        return f"did you mean {_example([plain])}?" if plain in suffixes else everything
    if videos and kind in (".npz", ".csv", ".json", ".bvh", ".glb", ".c3d", ".trc", ".rrd"):
        return f"--export {name} writes poses; --record takes a name that ends in .mp4"
    if videos and kind in _VIDEOS:
        return f"did you mean {path.with_suffix('.mp4')}?"
    if not videos and kind in _VIDEOS:
        return f"--record {path.with_suffix('.mp4')} makes a video; else {everything}"
    if kind in _INSTEAD and (meant := _INSTEAD[kind][0]) in suffixes:
        return f"{path.with_suffix(meant)}{_INSTEAD[kind][1]}; else {everything}"
    found = nearest(kind, suffixes)
    return f"did you mean {path.with_suffix(found)}? Else {everything}" if found else everything


def _example(suffixes: Collection[str]) -> str:
    for suffix, name in ((".npz", "poses"), (".mp4", "video"), (".json", "stats")):
        if suffix in suffixes:
            return f"{name}{suffix}"
    return f"poses{next(iter(suffixes))}"


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


def write_file(
    path: Path, write: Callable[[Path], None], *, overwrite: bool, elsewhere: bool = False
) -> tuple[Path, SinkError | None]:
    """Write a whole file; without `overwrite` under another name if somebody has taken this one.

    Args:
        path: where it belongs.
        write: writes a new file of this name.
        elsewhere: in another folder, rather than not at all.

    Returns:
        Where the file is, and why it is not at `path`; None if it is.

    Raises:
        SinkError: no folder takes it.
    """
    first: OSError | None = None
    for folder in (path.parent, *(other_folders(path.parent) if elsewhere else ())):
        wanted = folder / path.name
        part = partial_path(wanted)
        try:
            write(part)
            found = settle(part, wanted, overwrite=overwrite and first is None)
        except OSError as error:
            first = first or error
            continue
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
        if first is not None:
            why = f"{path.parent}: {first.strerror or first}"
        elif found != path:
            why = "another file of this name has appeared meanwhile, and is left alone"
        else:
            return found, None
        return found, SinkError(f"{path} could not be written: it is {found} instead", why=why)
    assert first is not None
    raise SinkError(
        f"cannot write {path}",
        why=str(first.strerror or first),
        hint="check that the disk has room and that the folder is still there",
    ) from first


def free_name(path: Path) -> Path:
    """`path`, or the first of `x-2.npz`, `x-3.npz` and so on beside it that is not taken."""
    found, number = path, 2
    while os.path.lexists(found):
        found = path.with_name(f"{path.stem}-{number}{path.suffix}")
        number += 1
    return found


def other_folders(folder: Path) -> Iterator[Path]:
    """Where a file goes whose own folder cannot take it: each once, only those that exist."""
    tried = {os.path.abspath(folder)}
    for find in (Path.cwd, Path.home, lambda: Path(tempfile.gettempdir())):
        try:
            other = find()
        except (OSError, RuntimeError):  # the current folder was removed; nobody's home
            continue
        if os.path.abspath(other) not in tried and os.path.isdir(other):
            tried.add(os.path.abspath(other))
            yield other


def settle(part: Path, path: Path, *, overwrite: bool) -> Path:
    """Give a finished file its name; without `overwrite` nothing is ever replaced.

    A symbolic link of that name stays and leads to the file.

    Args:
        part: the file, under its `partial_path`.

    Returns:
        The name that it has now: `path`, or a free one beside it.

    Raises:
        OSError: the folder has gone, or does not take the name.
    """
    target = real_path(path)
    if overwrite:
        os.replace(part, target)
        return path
    while True:
        name = free_name(target)
        try:
            _rename_to_free(part, name)
        except FileExistsError:
            continue  # somebody was faster: the next name
        return path if name == target else name


def _rename_to_free(part: Path, name: Path) -> None:
    """Rename, but never over a file that has appeared since the name was looked up."""
    if os.name == "nt":
        os.rename(part, name)  # raises FileExistsError of itself
        return
    try:
        os.link(part, name)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
            raise
        # FAT and some network drives have no hard links: the name is taken first.
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        os.replace(part, name)
    else:
        os.unlink(part)
