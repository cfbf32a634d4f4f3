"""The file under a journal: created under a free name, appended to whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from posemamba_live.files import free_name

try:
    import fcntl
except ImportError:  # Windows: there nobody can tell whether a journal is being written
    fcntl = None  # type: ignore[assignment]

_PIECE: Final = 2**20
_BINARY: Final = getattr(os, "O_BINARY", 0)


class JournalFile:
    """An open file of which `size` bytes are on the disk, whatever happens after that."""

    def __init__(self, path: Path, writing: int, reading: int) -> None:
        self.path = path
        self.size = 0
        self._writing, self._reading = writing, reading
        self._closed = False

    @classmethod
    def create(cls, wanted: Path) -> JournalFile:
        """A new file under this name, or a free one beside it; never one that was there.

        Raises:
            OSError: the folder does not take it.
        """
        while True:
            path = free_name(wanted)
            try:
                writing = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o666)
            except FileExistsError:
                continue  # somebody was faster: the next name
            break
        try:
            reading = os.open(path, os.O_RDONLY | _BINARY)
        except OSError:
            os.close(writing)
            raise
        if fcntl is not None:
            with contextlib.suppress(OSError):  # not every network drive has locks
                fcntl.flock(writing, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _sync_folder(path.parent)
        return cls(path, writing, reading)

    @property
    def gone(self) -> bool:
        """Whether the file has no name any more: it would end with this process."""
        return os.name != "nt" and os.fstat(self._writing).st_nlink == 0

    def append(self, *pieces: bytes) -> None:
        """Write at the end, and wait until it is on the disk. If it fails, nothing was written.

        Raises:
            OSError: the disk is full, or has gone.
        """
        try:
            size = self.size
            for piece in pieces:
                view = memoryview(piece)
                while view:
                    written = os.write(self._writing, view)
                    size, view = size + written, view[written:]
            _sync(self._writing)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._writing, self.size)
                os.lseek(self._writing, self.size, os.SEEK_SET)
            raise
        self.size = size

    def read(self, position: int, count: int) -> bytes:
        """So many bytes, or fewer at the end. One thread at a time."""
        os.lseek(self._reading, position, os.SEEK_SET)
        return os.read(self._reading, count)

    def pieces(self) -> Iterator[bytes]:
        """All that is on the disk."""
        for position in range(0, self.size, _PIECE):
            yield self.read(position, min(_PIECE, self.size - position))

    def remove(self) -> None:
        """Close and delete the file, unless another one has its name by now."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(OSError):
            ours = os.path.samestat(os.fstat(self._writing), os.stat(self.path))
            self._close()
            if ours:
                os.unlink(self.path)
        self._close()

    def _close(self) -> None:
        descriptors, self._writing, self._reading = (self._writing, self._reading), -1, -1
        for descriptor in descriptors:
            if descriptor >= 0:
                os.close(descriptor)


def in_use(path: Path) -> bool:
    """Whether a run is writing this journal now."""
    if fcntl is None:
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def _sync(descriptor: int) -> None:
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:  # macOS: fsync leaves data in the drive's own memory
        with contextlib.suppress(OSError):
            fcntl.fcntl(descriptor, full)
            return
    os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    """Have the file's name on the disk as well."""
    if os.name == "nt":
        return
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
