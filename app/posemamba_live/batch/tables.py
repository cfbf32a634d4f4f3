"""Lists and tables of videos, with options of their own, and the report on them."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final

from posemamba_live.batch.options import shown
from posemamba_live.batch.storage import (
    Folder,
    failed_to_read,
    file_system,
    local_path,
    missing,
)
from posemamba_live.errors import LiveError, SinkError, SourceError, UsageError

COLUMNS: Final = ("path", "height", "fov", "people", "start", "end")
"""Of a table of videos; all but the first may be missing or empty."""
DONE: Final = "done"
KEPT: Final = "kept"
"""It was there already, made from this video by this version and these options."""
FAILED: Final = "failed"
NOT_DONE: Final = "not done"
"""The batch was interrupted before."""
REPORTS: Final = ("report.parquet", "report.csv")


@dataclass(frozen=True, slots=True)
class Row:
    """Of a list or table of videos."""

    path: str
    given: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReportRow:
    """What became of one video."""

    path: str
    status: str
    error: str = ""
    frames: int = 0
    people: int = 0
    poses: int = 0
    fps: float = 0.0
    seen: float = 0.0
    seconds: float = 0.0
    host: str = ""
    worker: str = ""
    name: str = ""


def read_list(address: str) -> list[Row]:
    """A video, folder or pattern in each line; empty lines and what begins with # do not count.

    Raises:
        SourceError, UsageError: it cannot be read.
    """
    lines = _text(address).splitlines()
    return [Row(line.strip()) for line in lines if line.strip() and not line.startswith("#")]


def read_table(address: str) -> list[Row]:
    """The videos of a CSV or Parquet file, with their options.

    Raises:
        SourceError, UsageError: it cannot be read, or a value cannot be meant.
    """
    records = _parquet(address) if address.lower().endswith(".parquet") else _csv(address)
    rows = []
    for number, record in enumerate(records, 1):
        words = {
            str(key).strip().lower(): value for key, value in record.items() if key is not None
        }
        unknown = sorted(set(words) - set(COLUMNS))
        if "path" not in words or unknown:
            what = f"does not know {unknown[0]!r}" if unknown else "has no column 'path'"
            raise UsageError(
                f"The table {shown(address)} {what}", hint=f"columns: {', '.join(COLUMNS)}"
            )
        path = str(words.pop("path") or "").strip()
        if not path:
            raise UsageError(f"Row {number} of {shown(address)} has no path")
        given = {key: _number(value, key, number, address) for key, value in words.items()}
        rows.append(Row(path, {key: value for key, value in given.items() if value is not None}))
    return rows


def _number(value: Any, key: str, number: int, address: str) -> float | int | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        found = float(value)
        if math.isnan(found) and not isinstance(value, str):
            return None  # as tables of numbers say that there is none
        if not math.isfinite(found) or (key == "people" and not found.is_integer()):
            raise ValueError
    except (TypeError, ValueError):
        raise UsageError(
            f"Row {number} of {shown(address)}: {key} {str(value)!r} is no number"
        ) from None
    return int(found) if key == "people" else found


def _bytes(address: str) -> bytes:
    path = local_path(address)
    try:
        if path is not None:
            return path.read_bytes()
        system, inside = file_system(address)
        return bytes(system.cat_file(inside))
    except FileNotFoundError as error:
        raise missing(address) from error
    except LiveError:
        raise
    except Exception as error:  # each file system has errors of its own
        raise failed_to_read(address, error) from error


def _text(address: str) -> str:
    try:
        return _bytes(address).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"{shown(address)} cannot be read", why="it is not UTF-8") from error


def _csv(address: str) -> Iterator[dict[str, Any]]:
    text = _text(address)
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)  # as spreadsheets write it where commas are decimal
    try:
        yield from csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)
    except csv.Error as error:
        raise SourceError(f"{shown(address)} cannot be read", why=str(error)) from error


def _parquet(address: str) -> list[dict[str, Any]]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise UsageError(
            f"{shown(address)} cannot be read",
            why="pyarrow is not installed",
            hint="pip install 'posemamba-live[batch]'",
        ) from error
    try:
        table = parquet.read_table(io.BytesIO(_bytes(address)))
    except ArrowException as error:
        raise SourceError(f"{shown(address)} cannot be read", why=str(error)) from error
    return list(table.to_pylist())


def write_report(folder: Folder, rows: Sequence[ReportRow]) -> list[SinkError]:
    """Write the rows as Parquet and CSV into the folder of results; returns what failed."""
    words = [asdict(row) for row in rows]
    names = [column.name for column in fields(ReportRow)]
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, names)
    table.writeheader()
    table.writerows({**row, "error": row["error"].replace("\n", "; ")} for row in words)
    contents: dict[str, bytes] = {"report.csv": text.getvalue().encode()}
    errors: list[SinkError] = []
    try:
        contents["report.parquet"] = _as_parquet(words, names)
    except ImportError:
        hint = "pip install 'posemamba-live[batch]'"
        errors.append(SinkError("cannot write report.parquet", why="no pyarrow", hint=hint))
    for name, data in contents.items():
        error = _written(folder, data, name)
        errors += [error] if error is not None else []
    return errors


def _written(folder: Folder, data: bytes, name: str) -> SinkError | None:
    try:
        folder.write(data, name)
    except Exception as error:  # each file system has errors of its own
        return SinkError(f"cannot write {name}", why=f"{type(error).__name__}: {error}")
    return None


def _as_parquet(words: Sequence[Mapping[str, Any]], names: Sequence[str]) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    types = {"int": pa.int64(), "float": pa.float64(), "str": pa.string()}
    schema = pa.schema([(column.name, types[str(column.type)]) for column in fields(ReportRow)])
    columns = {name: [row[name] for row in words] for name in names}
    buffer = io.BytesIO()
    parquet.write_table(pa.table(columns, schema=schema), buffer)
    return buffer.getvalue()
