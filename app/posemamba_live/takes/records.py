"""The file format of journals: records one after another, each checked as the sequel of the last.

    "posemamba journal 1\\n", then records: kind (1 byte), length (4 bytes), checksum (4 bytes),
    and so many bytes of content; numbers are little-endian.

A checksum is the CRC-32 of the record, begun with the checksum of the record before: a record
that is damaged, left out, repeated or taken from another file does not fit. Kinds and contents:

    H  JSON, once, first: what made the file, and the columns of its rows
    N  JSON list of names of the points beyond the 17 joints, for the rows from here on
    M  JSON, what has changed in the header's `meta`
    2  rows of poses in 2D that had still to be lifted (takes.rows, without the 3D columns)
    3  rows of lifted poses
    E  nothing: the run has come to its end

Nothing in a journal is executed or unpickled; sizes are checked before memory is taken.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol

MAGIC: Final = b"posemamba journal 1\n"
_MAGIC_START: Final = b"posemamba journal "
HEADER, NAMES, META, ROWS_2D, ROWS_3D, END = b"H", b"N", b"M", b"2", b"3", b"E"
MAX_RECORD: Final = 16 * 2**20
"""Bytes of content; what is longer was not written by this program."""
_HEAD: Final = struct.Struct("<cI")
_SUM: Final = struct.Struct("<I")


class Damaged(Exception):
    """The file is not what a journal should be, from a place on that the message names."""


class Readable(Protocol):
    """A file at its beginning, or something like one."""

    def read(self, count: int, /) -> bytes: ...


class Writer:
    """Makes records, in their order. `checksum` of the last one is all that it remembers."""

    def __init__(self) -> None:
        self.checksum = zlib.crc32(MAGIC)

    def record(self, kind: bytes, content: bytes = b"") -> bytes:
        """The next record's bytes."""
        if len(content) > MAX_RECORD:
            raise ValueError(f"a record of {len(content)} bytes")
        head = _HEAD.pack(kind, len(content))
        self.checksum = zlib.crc32(content, zlib.crc32(head, self.checksum))
        return head + _SUM.pack(self.checksum) + content

    def json(self, kind: bytes, value: object) -> bytes:
        """The next record, of JSON."""
        return self.record(kind, json.dumps(value, ensure_ascii=False).encode())


def read_records(file: Readable) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each record of a file, from its beginning.

    Raises:
        Damaged: after the last record that is whole, unless the file ends there.
    """
    start = file.read(len(MAGIC))
    if not start:
        raise Damaged("it is empty")
    if start != MAGIC:
        if MAGIC.startswith(start):
            raise Damaged("it ends in its first line")
        foreign = start.startswith(_MAGIC_START)
        other = "it was written by another version of this program"
        raise Damaged(other if foreign else "it is not a journal")
    position, checksum = len(MAGIC), zlib.crc32(MAGIC)
    while True:
        head = file.read(_HEAD.size + _SUM.size)
        if not head:
            return
        if len(head) < _HEAD.size + _SUM.size:
            raise Damaged(f"it ends within a record, at byte {position}")
        kind, length = _HEAD.unpack(head[: _HEAD.size])
        (expected,) = _SUM.unpack(head[_HEAD.size :])
        if length > MAX_RECORD:
            raise Damaged(f"the record at byte {position} is damaged")
        content = file.read(length)
        if len(content) < length:
            raise Damaged(f"it ends within a record, at byte {position}")
        checksum = zlib.crc32(content, zlib.crc32(head[: _HEAD.size], checksum))
        if checksum != expected:
            raise Damaged(f"the record at byte {position} is damaged")
        yield kind, content
        position += len(head) + length


def parse_json(content: bytes, kind: type[Any]) -> Any:
    """A JSON value of this type.

    Raises:
        Damaged: it is another one, or none.
    """
    try:
        value = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise Damaged("a record holds no JSON") from error
    if not isinstance(value, kind):
        raise Damaged(f"a record holds no {kind.__name__}")
    return value


def plain(meta: Mapping[str, Any]) -> dict[str, Any]:
    """The values as JSON brings them back: tuples become lists, keys strings."""
    return dict(json.loads(json.dumps(dict(meta))))
