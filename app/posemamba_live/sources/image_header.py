"""What headers of picture files say before anything is decoded: the size, and whether it moves."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_START_OF_FRAME: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""JPEG's markers (ITU-T T.81, table B.1) that carry the size."""
_STANDALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
_TIFF_FORMATS: Final = {3: "H", 4: "I"}
_MAX_PARTS: Final = 1000


def image_size(path: Path) -> tuple[int, int] | None:
    """(W, H) in pixels of a PNG, JPEG, BMP, TIFF or WebP as stored; None where it is neither.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(32)
        try:
            if head.startswith(_PNG):
                return struct.unpack(">2I", head[16:24])
            if head.startswith(b"\xff\xd8"):
                return _jpeg_size(file)
            if head.startswith(b"BM"):
                width, height = struct.unpack("<2i", head[18:26])
                return abs(width), abs(height)
            if head[:4] in (b"II*\0", b"MM\0*"):
                return _tiff_size(file, "<" if head.startswith(b"II") else ">")
            if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
                return _webp_size(head)
        except struct.error:  # cut short
            return None
    return None


def is_animated(path: Path) -> bool:
    """Tell an APNG or animated WebP from a still picture; False for what cannot be read."""
    try:
        with path.open("rb") as file:
            head = file.read(32)
            if head.startswith(_PNG):
                return any(kind == b"acTL" for kind in _png_chunks(file))
            return is_animated_webp(head)
    except OSError:
        return False


def is_animated_webp(head: bytes) -> bool:
    """Whether the first 21 bytes of a file are those of a WebP (VP8X) with an animation."""
    webp = head.startswith(b"RIFF") and head[8:16] == b"WEBPVP8X"
    return webp and len(head) > 20 and bool(head[20] & 0x02)


def _png_chunks(file: BinaryIO) -> Iterator[bytes]:
    """Kinds of a PNG's chunks before its pixels."""
    file.seek(len(_PNG))
    for _ in range(_MAX_PARTS):
        header = file.read(8)
        if len(header) < 8 or header[4:] == b"IDAT":
            return
        yield header[4:]
        file.seek(int.from_bytes(header[:4], "big") + 4, 1)


def _jpeg_size(file: BinaryIO) -> tuple[int, int] | None:
    file.seek(2)
    for _ in range(_MAX_PARTS):
        byte = file.read(1)
        if byte != b"\xff":
            return None
        while byte == b"\xff":  # markers may be padded
            byte = file.read(1)
        if not byte:
            return None
        if byte[0] in _STANDALONE:
            continue
        (length,) = struct.unpack(">H", file.read(2))
        if byte[0] in _START_OF_FRAME:
            height, width = struct.unpack(">x2H", file.read(5))
            return width, height
        file.seek(length - 2, 1)
    return None


def _tiff_size(file: BinaryIO, order: str) -> tuple[int, int] | None:
    file.seek(4)
    file.seek(struct.unpack(f"{order}I", file.read(4))[0])
    found: dict[int, int] = {}
    (entries,) = struct.unpack(f"{order}H", file.read(2))
    for _ in range(entries):
        tag, kind, _, value = struct.unpack(f"{order}2HI4s", file.read(12))
        if tag in (256, 257) and kind in _TIFF_FORMATS:
            found[tag] = struct.unpack_from(f"{order}{_TIFF_FORMATS[kind]}", value)[0]
    return (found[256], found[257]) if len(found) == 2 else None


def _webp_size(head: bytes) -> tuple[int, int] | None:
    """Of the three kinds: lossy (VP8), lossless (VP8L), extended (VP8X)."""
    kind = head[12:16]
    if kind == b"VP8X":
        return (
            1 + int.from_bytes(head[24:27], "little"),
            1 + int.from_bytes(head[27:30], "little"),
        )
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack("<2H", head[26:30])
        return width & 0x3FFF, height & 0x3FFF
    return None
