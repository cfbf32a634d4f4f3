"""Give MP4 files what phones write into them, by editing their boxes (ISO/IEC 14496-12)."""

from __future__ import annotations

import struct
from pathlib import Path

_MATRICES = {  # a, b, c, d of the track header's display matrix, by clockwise degrees
    90: (0, 1, -1, 0),
    180: (-1, 0, 0, -1),
    270: (0, -1, 1, 0),
}


def set_rotation(source: Path, target: Path, clockwise: int) -> None:
    """Copy a video and ask players to turn it by 90, 180 or 270 degrees."""
    content = bytearray(source.read_bytes())
    a, b, c, d = (value << 16 for value in _MATRICES[clockwise])
    matrix_at = content.index(b"tkhd") + 44  # version 0
    struct.pack_into(">9i", content, matrix_at, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    target.write_bytes(content)


def set_pixel_aspect(source: Path, target: Path, horizontal: int, vertical: int) -> None:
    """Copy a video and give its pixels an aspect, in a `pasp` box that it gets or has.

    The video must have its index (moov) at its end.
    """
    content = bytearray(source.read_bytes())
    assert content.index(b"mdat") < content.index(b"moov"), "chunk offsets would have to move"
    aspect = struct.pack(">2I", horizontal, vertical)
    if b"pasp" in content:
        at = content.index(b"pasp") + 4
        content[at : at + 8] = aspect
    else:
        entry = content.index(b"stsd") + 12  # the first sample entry, which may hold it at its end
        (size,) = struct.unpack_from(">I", content, entry)
        content[entry + size : entry + size] = struct.pack(">I", 16) + b"pasp" + aspect
        _grow(content, entry, 16, (b"stsd", b"stbl", b"minf", b"mdia", b"trak", b"moov"))
        struct.pack_into(">I", content, entry, size + 16)
    target.write_bytes(content)


def _grow(content: bytearray, inside: int, by: int, boxes: tuple[bytes, ...]) -> None:
    """Tell the boxes around a place that something was put in there."""
    for kind in boxes:
        at = content.rindex(kind, 0, inside) - 4
        (size,) = struct.unpack_from(">I", content, at)
        struct.pack_into(">I", content, at, size + by)


def slow_down(source: Path, target: Path, after: int, factor: int) -> None:
    """Copy a video of constant rate and make the frames from `after` on last longer.

    The video must have its index (moov) at its end and no reordered frames.
    """
    content = bytearray(source.read_bytes())
    assert content.index(b"mdat") < content.index(b"moov"), "chunk offsets would have to move"
    assert b"ctts" not in content, "reordered frames"
    box = content.index(b"stts") - 4
    entries, count, delta = struct.unpack_from(">3I", content, box + 12)
    assert entries == 1, "not of constant rate"
    table = struct.pack(">5I", 2, after, delta, count - after, delta * factor)
    content[box + 12 : box + 24] = table
    if b"elst" in content:  # the edit list would end the video where it ended before
        duration_at = content.index(b"elst") + 12  # version 0
        (duration,) = struct.unpack_from(">I", content, duration_at)
        longer = duration * (after + (count - after) * factor) // count
        struct.pack_into(">I", content, duration_at, longer)
    _grow(content, box + 8, 8, (b"stts", b"stbl", b"minf", b"mdia", b"trak", b"moov"))
    target.write_bytes(content)
