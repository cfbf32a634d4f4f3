"""Names and folders for files that cannot go where they were meant to."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


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

    Args:
        part: the file, in the folder of `path`.

    Returns:
        The name that it has now: `path`, or a free one beside it.

    Raises:
        OSError: the folder has gone, or does not take the name.
    """
    if overwrite:
        os.replace(part, path)
        return path
    while True:
        name = free_name(path)
        try:
            _rename_to_free(part, name)
        except FileExistsError:
            continue  # somebody was faster: the next name
        return name


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
