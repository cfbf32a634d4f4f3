"""The journal: every pose is on disk within a second, whatever becomes of the run.

A run's poses go into a file beside its first export while it goes on, and all exports are made
from it in the end; a run that was killed has lost nothing. `takes.recovery` reads journals,
`takes.records` has their format.

The disk is only touched by a thread of the journal's own. Poses that it has not taken yet wait
in memory: where a folder goes away or fills up, the journal moves to another one with all that
it holds, and where nothing can be written, the poses stay in memory and the trouble is told.
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from posemamba_live.files import other_folders
from posemamba_live.takes.journal_content import Content, read_content
from posemamba_live.takes.journal_file import JournalFile
from posemamba_live.takes.records import (
    END,
    HEADER,
    MAGIC,
    META,
    NAMES,
    ROWS_2D,
    ROWS_3D,
    Damaged,
    Writer,
    parse_json,
    plain,
    read_records,
)
from posemamba_live.takes.rows import COLUMNS_2D, COLUMNS_3D, pack, pack_2d, runs
from posemamba_live.types import LiftedPose, Pose2D

logger = logging.getLogger(__name__)

SUFFIX: Final = ".journal"
_EVERY_S: Final = 0.5
"""Seconds between two writings; each ends with all that was written being on the disk."""
_BATCH: Final = 250
"""Poses in a record: with hundreds of extra points still far below the longest record."""
_MOST_WAITING: Final = 10_000
"""Poses that wait in memory for a disk that does not answer: more than five minutes of one
person. Then files wait, and live runs lose poses and say so."""
_MOST_KEPT: Final = 64 * 2**20
"""Bytes that are kept in memory where no folder takes the journal."""
_RETRY_S: Final = 5.0
"""Seconds after which a disk that failed is tried again."""


def journal_path(output: Path) -> Path:
    """Where the journal of a run with this first output belongs."""
    return output.with_name(output.name + SUFFIX)


def leftovers(output: Path) -> list[Path]:
    """Journals beside an output that earlier runs have left, the oldest name first."""
    path = journal_path(output)
    found: list[Path] = []
    for number in itertools.count(2):
        if not os.path.isfile(path):
            return found
        found.append(path)
        path = journal_path(output).with_name(f"{output.name}-{number}{SUFFIX}")
    return found


def how_to_lift(path: Path) -> dict[str, Any]:
    """What the header of a journal says of how its files are made; empty where it says nothing."""
    try:
        with open(path, "rb") as file:
            kind, data = next(read_records(file), (b"", b""))
        how = parse_json(data, dict).get("how") if kind == HEADER else None
    except (Damaged, OSError):
        return {}
    return how if isinstance(how, dict) else {}


class Journal:
    """Takes the poses of one run. Any thread may call any method.

    There is no file before the first call of `begin`, `track` or `extend`: a run that never
    began leaves none.

    Args:
        output: the run's first file; the journal goes beside it, under a free name.
        meta: JSON values about the run, as for the exports. Read at each writing: what has changed
            since the last one is kept.
        live: never make a caller wait. Otherwise one does while the disk does not answer.
        how: JSON values by which the last poses can be lifted later; see `takes.recovery`.
    """

    def __init__(
        self,
        output: Path,
        meta: Mapping[str, Any],
        *,
        live: bool,
        how: Mapping[str, Any] | None = None,
    ) -> None:
        self.lost = 0
        """Poses that could not be kept."""
        self.trouble: Exception | None = None
        """Why nothing is written at the moment: the poses are in memory."""
        self._wanted = journal_path(output)
        self._meta, self._how, self._live = meta, dict(how or {}), live
        self._changed = threading.Condition()
        self._place = threading.Lock()
        """Held by who reads the file, and by who replaces it."""
        self._file: JournalFile | None = None
        self._lifted: list[LiftedPose] = []
        self._tracked: dict[tuple[int, int], Pose2D] = {}
        """By frame and person: not lifted, and not in the file."""
        self._records: list[bytes] = [MAGIC]
        """Not in the file yet."""
        self._begun = self._done = 0
        """Writings: what was given before one began is in the file when it is done."""
        self._wake = self._closing = False
        self._thread: threading.Thread | None = None
        # The writer thread's own.
        self._writer = Writer()
        self._names: tuple[str, ...] = ()
        self._told: dict[str, Any] | None = None
        self._retry_at = 0.0

    @property
    def path(self) -> Path | None:
        """The file, where there is one. It moves when its disk fails."""
        file = self._file
        return None if file is None else file.path

    def begin(self) -> None:
        """Make the file. Idempotent."""
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="journal", daemon=True)
                self._thread.start()

    def track(self, poses: Sequence[Pose2D]) -> None:
        """Keep poses on their way to the lifter, until `extend` brings them back."""
        self.begin()
        with self._changed:
            for pose in poses:
                self._tracked[pose.frame_index, pose.person_id] = pose

    def extend(self, poses: Sequence[LiftedPose]) -> None:
        """Keep lifted poses."""
        self.begin()
        with self._changed:
            while not self._live and len(self._lifted) >= _MOST_WAITING and not self._closing:
                self._changed.wait()
            room = max(0, _MOST_WAITING - len(self._lifted)) if self._live else len(poses)
            self._lifted += poses[:room]
            self.lost += len(poses[room:])
            for pose in poses:
                self._tracked.pop((pose.pose2d.frame_index, pose.pose2d.person_id), None)

    def sync(self, timeout: float) -> bool:
        """Wait until all that was given so far is on the disk; whether it is, in `timeout` s."""
        with self._changed:
            if self._thread is None:
                return True
            wanted, self._wake = self._begun + 1, True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._done >= wanted or self._ended, timeout)
            return self._ended or (self._done >= wanted and self.trouble is None)

    def close(self, timeout: float = 5.0) -> bool:
        """Write what is left, and that the run came to its end. Idempotent.

        Returns:
            Whether all of it is on the disk.
        """
        with self._changed:
            thread, self._closing = self._thread, True
            self._changed.notify_all()
        if thread is None:
            return True
        thread.join(timeout)
        return self._ended and self.trouble is None

    def content(self) -> Content:
        """All that was given so far, from the file and from memory."""
        with self._place:
            with self._changed:
                records, waiting = b"".join(self._records), list(self._lifted)
                file = self._file
                size = 0 if file is None else file.size
            begun = size + len(records) > len(MAGIC)
            content = read_content(_Joined(file, size, records)) if begun else Content()
        content.lifted += waiting
        return content

    def poses(self) -> list[LiftedPose]:
        """The lifted ones, in the order in which they came."""
        return self.content().lifted if self._thread is not None else []

    def remove(self) -> None:
        """Delete the file, whose poses are all in other files now. `close` it before."""
        with self._place:
            if self._file is not None:
                self._file.remove()

    @property
    def _ended(self) -> bool:
        return self._closing and self._thread is not None and not self._thread.is_alive()

    # The writer thread.

    def _work(self) -> None:
        last, pause = False, 0.0  # the file is made at once
        while not last:
            with self._changed:
                self._changed.wait_for(lambda: self._wake or self._closing, pause)
                pause = _EVERY_S
                self._wake, last = False, self._closing
                self._begun += 1
                number = self._begun
            try:
                self._encode(last)
                if last or time.monotonic() >= self._retry_at:
                    self._write()
            except Exception as error:  # whatever it is, the run goes on and is told
                logger.debug("the journal cannot be written", exc_info=error)
                self.trouble, self._retry_at = error, time.monotonic() + _RETRY_S
            with self._changed:
                self._done = number
                self._changed.notify_all()

    def _encode(self, last: bool) -> None:
        """Turn what waits into records."""
        with self._changed:
            if sum(map(len, self._records)) > _MOST_KEPT:
                return
            lifted, tracked = list(self._lifted), list(self._tracked.values())
        checksum, names, told = self._writer.checksum, self._names, self._told
        try:
            records = self._records_of(lifted, tracked, last)
        except BaseException:  # as if nothing had been begun: each record builds on the last
            self._writer.checksum, self._names, self._told = checksum, names, told
            raise
        with self._changed:
            self._records += records
            del self._lifted[: len(lifted)]
            for pose in tracked:
                self._tracked.pop((pose.frame_index, pose.person_id), None)
            self._changed.notify_all()

    def _records_of(
        self, lifted: Sequence[LiftedPose], tracked: Sequence[Pose2D], last: bool
    ) -> list[bytes]:
        records: list[bytes] = []
        meta = plain(self._meta)
        if self._told is None:
            columns = {"rows_2d": COLUMNS_2D, "rows_3d": (*COLUMNS_2D, *COLUMNS_3D)}
            records.append(self._writer.json(HEADER, {"meta": meta, "how": self._how, **columns}))
        elif meta != self._told:
            records.append(self._writer.json(META, meta))
        self._told = meta
        for names, poses in runs(lifted, lambda pose: pose.pose2d, _BATCH):
            records += self._named(names)
            records.append(self._writer.record(ROWS_3D, pack(poses, self._names).tobytes()))
        for names, flat in runs(tracked, lambda pose: pose, _BATCH):
            records += self._named(names)
            records.append(self._writer.record(ROWS_2D, pack_2d(flat, self._names).tobytes()))
        if last:
            records.append(self._writer.record(END))
        return records

    def _named(self, names: tuple[str, ...] | None) -> list[bytes]:
        """The record that is needed before rows with these extra points."""
        if names is None or names == self._names:
            return []
        self._names = names
        return [self._writer.json(NAMES, self._names)]

    def _write(self) -> None:
        """Bring all records to the disk, to another one if need be."""
        news = b"".join(self._records)
        file = self._file
        try:
            if file is None:
                file = JournalFile.create(self._wanted)
                file.append(news)
            elif file.gone:
                raise FileNotFoundError(f"{file.path} has been removed")
            elif news:
                file.append(news)
            with self._changed:
                self._commit(file)
        except OSError as error:
            self._move(error, news)
        self.trouble = None

    def _move(self, error: OSError, news: bytes) -> None:
        """Go on in another folder, with all that was written so far."""
        old = self._file
        folder = self._wanted.parent if old is None else old.path.parent
        for other in other_folders(folder):
            try:
                file = JournalFile.create(other / self._wanted.name)
            except OSError as failure:
                logger.debug("no journal in %s: %s", other, failure)
                continue
            try:
                if old is not None:
                    file.append(*old.pieces())
                file.append(news)
            except OSError as failure:
                logger.debug("no room for the journal in %s: %s", other, failure)
                file.remove()
                continue
            with self._place, self._changed:
                self._commit(file)
                if old is not None:
                    old.remove()
            logger.warning(
                "%s: %s; the journal of this run goes on in %s",
                folder, error.strerror or error, file.path,
            )  # fmt: skip
            return
        raise error

    def _commit(self, file: JournalFile) -> None:
        self._file = file
        self._records.clear()


class _Joined:
    """Reads a file's first bytes, then some from memory."""

    def __init__(self, file: JournalFile | None, size: int, rest: bytes) -> None:
        self._file, self._size, self._rest = file, size, rest
        self._position = 0

    def read(self, count: int) -> bytes:
        part = b""
        if self._file is not None and self._position < self._size:
            part = self._file.read(self._position, min(count, self._size - self._position))
        start = max(0, self._position - self._size)
        part += self._rest[start : start + count - len(part)]
        self._position += len(part)
        return part
