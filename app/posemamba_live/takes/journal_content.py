"""What a journal holds, as far as it is whole."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from posemamba_live.takes.records import (
    END,
    HEADER,
    META,
    NAMES,
    ROWS_2D,
    ROWS_3D,
    Damaged,
    Readable,
    parse_json,
    read_records,
)
from posemamba_live.takes.rows import (
    COLUMNS_2D,
    COLUMNS_3D,
    Column,
    Rows,
    row_type,
    unpack,
    unpack_2d,
)
from posemamba_live.types import LiftedPose, Pose2D

_NUMBER: Final = re.compile(r"[|<][iuf][1248]")
_MOST_COLUMNS: Final = 64
_MOST_VALUES: Final = 4096
"""In one column of a row; also the most extra points."""
_LONGEST_NAME: Final = 200
_LARGEST_PICTURE: Final = 2**20
"""Pixels along a side."""


@dataclass(slots=True)
class Content:
    """Of a journal, up to the place where it is damaged, or to its end."""

    meta: dict[str, Any] = field(default_factory=dict)
    how: dict[str, Any] = field(default_factory=dict)
    """By which the last poses can be lifted; see `recovery`."""
    lifted: list[LiftedPose] = field(default_factory=list)
    """In the order in which they came."""
    waiting: dict[tuple[int, int], Pose2D] = field(default_factory=dict)
    """By frame and person: had still to be lifted."""
    complete: bool = False
    """Whether the run came to its end."""
    damage: str | None = None
    """Where reading had to stop, and why."""


def read_content(file: Readable) -> Content:
    """Read records as long as they are whole.

    Raises:
        Damaged: not even the header is.
    """
    content = Content()
    columns: dict[bytes, list[Column]] | None = None
    names: tuple[str, ...] = ()
    records = read_records(file)
    while True:
        try:
            kind, data = next(records, (b"", b""))
            if not kind:
                break
            if columns is None:
                if kind != HEADER:
                    raise Damaged("it does not begin with a header")
                header = parse_json(data, dict)
                content.meta = _checked_meta(header.get("meta"))
                content.how = header["how"] if isinstance(header.get("how"), dict) else {}
                columns = _header_columns(header)
            elif kind == META:
                content.meta = _checked_meta(content.meta | parse_json(data, dict))
            elif kind == NAMES:
                names = _parse_names(parse_json(data, list))
            elif kind == ROWS_3D:
                rows = _parse_rows(data, columns[kind], len(names), lifted=True)
                for pose in unpack(rows, names):
                    content.lifted.append(pose)
                    key = pose.pose2d.frame_index, pose.pose2d.person_id
                    content.waiting.pop(key, None)
            elif kind == ROWS_2D:
                rows = _parse_rows(data, columns[kind], len(names), lifted=False)
                content.waiting |= {(p.frame_index, p.person_id): p for p in unpack_2d(rows, names)}
            elif kind == END:
                content.complete = True
            # Other kinds are of later versions, which this one does without.
        except Damaged as error:
            if columns is None:
                raise
            content.damage = str(error)
            break
    if columns is None:
        raise Damaged("it ends before its header")
    return content


def _header_columns(header: dict[str, Any]) -> dict[bytes, list[Column]]:
    """What a row of each kind is made of: at least the columns that are known here."""
    kinds = {
        ROWS_2D: ("rows_2d", COLUMNS_2D),
        ROWS_3D: ("rows_3d", (*COLUMNS_2D, *COLUMNS_3D)),
    }
    found = {}
    for kind, (key, known) in kinds.items():
        columns = _checked_columns(header.get(key))
        if not set(known) <= set(columns):
            raise Damaged("its rows lack what every pose has")
        found[kind] = columns
    return found


def _checked_columns(value: Any) -> list[Column]:
    columns: list[Column] = []
    if not isinstance(value, list) or len(value) > _MOST_COLUMNS:
        raise Damaged("its header does not describe the rows")
    for item in value:
        match item:
            case [str(name), str(number), list(shape)] if (
                _NUMBER.fullmatch(number)
                and len(shape) <= 3
                and all(type(n) is int and 0 <= n <= _MOST_VALUES for n in shape)
                and math.prod(shape) <= _MOST_VALUES
            ):
                columns.append((name, number, tuple(shape)))
            case _:
                raise Damaged("its header does not describe the rows")
    if len({name for name, _, _ in columns} | {"extra"}) != len(columns) + 1:
        raise Damaged("its header does not describe the rows")
    return columns


def _checked_meta(meta: Any) -> dict[str, Any]:
    """The meta, with the two values that every file needs."""
    match meta:
        case {"fps": float(fps) | int(fps), "image_size": [int(width), int(height)]} if (
            (isinstance(fps, float) or abs(fps) < _LARGEST_PICTURE)
            and 0 < width <= _LARGEST_PICTURE
            and 0 < height <= _LARGEST_PICTURE
        ):
            return dict(meta)
    raise Damaged("its header does not say the rate and the size of the pictures")


def _parse_names(value: Sequence[Any]) -> tuple[str, ...]:
    if len(value) > _MOST_VALUES or not all(
        isinstance(name, str) and len(name) <= _LONGEST_NAME for name in value
    ):
        raise Damaged("a record holds no names of points")
    return tuple(value)


def _parse_rows(data: bytes, columns: Sequence[Column], extra: int, *, lifted: bool) -> Rows:
    """Rows as `takes.rows` has them; columns of later versions are left out."""
    type_ = np.dtype([*columns, ("extra", "<f4", (extra, 3))])
    if len(data) % type_.itemsize:
        raise Damaged("a record does not hold whole rows")
    given = np.frombuffer(data, type_)
    rows: Rows = np.zeros(len(given), row_type(extra, lifted=lifted))
    for name in rows.dtype.names or ():
        rows[name] = given[name]
    sizes = rows["image_size"]
    if not (
        np.isfinite(rows["timestamp"]).all()
        and (rows["frame_index"] >= 0).all()
        and (sizes > 0).all()
        and (sizes <= _LARGEST_PICTURE).all()
    ):
        raise Damaged("a record holds impossible values")
    return rows
