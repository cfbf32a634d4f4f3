"""Where videos come from and results go to: local folders, and everything that fsspec reaches.

Files appear whole or not at all. A folder's files have names with slashes, relative to it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol

from posemamba_live.batch.options import scheme_of, shown
from posemamba_live.errors import LiveError, SinkError, SourceError, UsageError

OWN: Final = ".posemamba-batch"
"""Folder within a folder of results that holds what is known of them."""
_PARTIAL: Final = f"{OWN}/partial"
_STALE_S: Final = 3600.0
"""No finished file takes longer to be copied to its place."""
_WHOLE_OBJECTS: Final = frozenset(
    {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "oss"}
)
"""Stores in which an object is there when its last byte is, under its own name."""
_PACKAGES: Final = {
    "s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs",
    "abfss": "adlfs", "adl": "adlfs", "sftp": "paramiko", "ssh": "paramiko", "http": "aiohttp",
    "https": "aiohttp", "smb": "smbprotocol",
}  # fmt: skip
"""What fsspec needs beside itself."""
_MARKS: Final = (
    "ETag", "etag", "md5Hash", "md5", "content_md5", "mtime", "LastModified", "last_modified",
    "modified", "updated", "created",
)  # fmt: skip
"""What file systems say of a file that changes with its content, the best first."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What tells a file from what it was before, without reading it."""

    size: int
    mark: str
    """A time or a checksum, as the file system has it."""


class Folder(Protocol):
    """A place for results. What fails raises OSError, or an error of the file system's library."""

    def sizes(self) -> dict[str, int]:
        """Bytes of every file below, by name; empty if there is no such folder."""
        ...

    def size(self, name: str) -> int | None:
        """Bytes of one file, None if there is none."""
        ...

    def read(self, name: str) -> bytes:
        """A file's content."""
        ...

    def put(self, file: Path, name: str) -> None:
        """Copy a local file here, over one that has this name."""
        ...

    def write(self, data: bytes, name: str) -> None:
        """Write a small file, over one that has this name."""
        ...

    def remove(self, name: str) -> None:
        """Delete a file, if it is there."""
        ...

    def tidy(self) -> None:
        """Delete what runs that were killed have left unfinished."""
        ...


class LocalFolder:
    """A folder of this machine, or a network drive that all workers have under this path."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def sizes(self) -> dict[str, int]:
        found = {}
        for folder, _, names in os.walk(self._path):
            below = os.path.relpath(folder, self._path).replace(os.sep, "/")
            for name in names:
                with contextlib.suppress(OSError):  # it may go while we look
                    size = os.path.getsize(os.path.join(folder, name))
                    found[name if below == "." else f"{below}/{name}"] = size
        return found

    def size(self, name: str) -> int | None:
        try:
            return os.path.getsize(self._path / name)
        except OSError:
            return None

    def read(self, name: str) -> bytes:
        return (self._path / name).read_bytes()

    def put(self, file: Path, name: str) -> None:
        part = self._part(file.suffix)
        try:
            shutil.copyfile(file, part)
            self._settle(part, name)
        finally:
            part.unlink(missing_ok=True)

    def write(self, data: bytes, name: str) -> None:
        part = self._part("")
        try:
            part.write_bytes(data)
            self._settle(part, name)
        finally:
            part.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        (self._path / name).unlink(missing_ok=True)

    def tidy(self) -> None:
        before = time.time() - _STALE_S
        with contextlib.suppress(OSError):
            for part in (self._path / _PARTIAL).iterdir():
                if part.stat().st_mtime < before:
                    part.unlink(missing_ok=True)

    def _part(self, suffix: str) -> Path:
        part = self._path / _PARTIAL / f"{uuid.uuid4().hex}{suffix}"
        part.parent.mkdir(parents=True, exist_ok=True)
        return part

    def _settle(self, part: Path, name: str) -> None:
        target = self._path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(part, target)


class RemoteFolder:
    """A folder that fsspec reaches.

    Args:
        system: of fsspec.
        path: the folder, in the words of that system.
        whole: a file that is written appears only when it is complete.
    """

    def __init__(self, system: Any, path: str, *, whole: bool) -> None:
        self._system = system
        self._path = path.rstrip("/")
        self._whole = whole

    def sizes(self) -> dict[str, int]:
        self._system.invalidate_cache()
        try:
            found = self._system.find(self._path, detail=True)
        except FileNotFoundError:
            return {}
        start = len(self._path) + 1
        return {path[start:]: int(info["size"]) for path, info in found.items()}

    def size(self, name: str) -> int | None:
        self._system.invalidate_cache()
        try:
            return int(self._system.info(self._full(name))["size"])
        except FileNotFoundError:
            return None

    def read(self, name: str) -> bytes:
        return bytes(self._system.cat_file(self._full(name)))

    def put(self, file: Path, name: str) -> None:
        with self._writing(name) as target:
            self._system.put_file(str(file), target)

    def write(self, data: bytes, name: str) -> None:
        with self._writing(name) as target:
            self._system.pipe_file(target, data)

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._system.rm_file(self._full(name))

    def tidy(self) -> None:
        """Nothing: clocks of other machines do not tell what is old."""

    @contextlib.contextmanager
    def _writing(self, name: str) -> Iterator[str]:
        """What to write to so that `name` is there afterwards, or not at all."""
        target = self._full(name)
        if self._whole:
            yield target
            return
        part = self._full(f"{_PARTIAL}/{uuid.uuid4().hex}")
        self._system.makedirs(part.rpartition("/")[0], exist_ok=True)
        self._system.makedirs(target.rpartition("/")[0], exist_ok=True)
        yield part
        self._system.mv(part, target)

    def _full(self, name: str) -> str:
        return f"{self._path}/{name}"


def open_folder(address: str) -> Folder:
    """The folder of results at a path or URL. It need not exist yet.

    Raises:
        UsageError: nobody knows such URLs, or a package is missing.
    """
    path = local_path(address)
    if path is not None:
        return LocalFolder(path)
    system, inside = file_system(address)
    return RemoteFolder(system, inside, whole=scheme_of(address) in _WHOLE_OBJECTS)


def local_path(address: str) -> Path | None:
    """The absolute path that is meant, or None for a URL of something else."""
    scheme = scheme_of(address)
    if scheme in ("file", "local"):
        address = address.partition("://")[2]
    elif scheme and not os.path.lexists(address):
        return None
    return Path(os.path.abspath(os.path.expanduser(address)))


def file_system(url: str) -> tuple[Any, str]:
    """fsspec's file system for a URL, and the path in it.

    Raises:
        UsageError: nobody knows such URLs, or a package is missing.
    """
    scheme = scheme_of(url)
    if importlib.util.find_spec("fsspec") is None:
        raise UsageError(
            f"{shown(url)} cannot be opened",
            why="fsspec is not installed",
            hint="pip install 'posemamba-live[batch]'",
        )
    from fsspec.core import url_to_fs

    try:
        system, path = url_to_fs(url)
    except ImportError as error:
        package = _PACKAGES.get(scheme, "what fsspec names")
        raise UsageError(
            f"{shown(url)} cannot be opened", why=str(error), hint=f"pip install {package}"
        ) from error
    except ValueError as error:
        raise UsageError(f"{shown(url)} cannot be opened", why=str(error)) from error
    return system, str(path)


def facts(address: str) -> Facts | None:
    """Of one file; None where there is none.

    Raises:
        SourceError: nobody can tell.
    """
    path = local_path(address)
    if path is not None:
        return local_facts(path)
    system, inside = file_system(address)
    try:
        return remote_facts(system.info(inside))
    except FileNotFoundError:
        return None
    except Exception as error:
        raise failed_to_read(address, error) from error


def local_facts(path: str | os.PathLike[str]) -> Facts | None:
    """Of a local file; None where there is none."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return Facts(status.st_size, str(status.st_mtime_ns))


def remote_facts(info: dict[str, Any]) -> Facts:
    """Of what fsspec says of a file."""
    mark = next((info[key] for key in _MARKS if info.get(key) is not None), "")
    if isinstance(mark, datetime):  # listings of some have seconds where files have a date
        mark = mark.timestamp()
    if isinstance(mark, float):
        mark = f"{mark:.6f}"
    return Facts(int(info.get("size") or 0), str(mark))


def fetch(address: str, folder: Path) -> Path:
    """A local file with the content of `address`: itself, or a copy in `folder`.

    Raises:
        SourceError: it is not there, or cannot be read.
    """
    path = local_path(address)
    if path is not None:
        return path
    system, inside = file_system(address)
    copy = folder / (inside.rstrip("/").rpartition("/")[2] or "video")
    try:
        system.get_file(inside, str(copy))
    except FileNotFoundError as error:
        raise missing(address) from error
    except Exception as error:  # each file system has errors of its own
        raise failed_to_read(address, error) from error
    return copy


def missing(address: str) -> SourceError:
    return SourceError(f"{shown(address)} does not exist")


def failed_to_read(address: str, error: Exception) -> SourceError:
    return SourceError(f"{shown(address)} cannot be read", why=f"{type(error).__name__}: {error}")


@contextlib.contextmanager
def writing_to(address: str) -> Iterator[None]:
    """Errors of file systems become one that says where something could not be written."""
    try:
        yield
    except LiveError:
        raise
    except Exception as error:
        raise SinkError(
            f"cannot write to {shown(address)}", why=f"{type(error).__name__}: {error}"
        ) from error
