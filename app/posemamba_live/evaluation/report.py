"""Figures as tables on the terminal and as a file for machines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import typer


def print_table(head: str, rows: Mapping[str, Mapping[str, Any]], columns: Iterable[str]) -> None:
    """Print rows by name; a figure that a row lacks is a dash."""
    columns = list(columns)
    width = max(len(head), *(len(name) for name in rows), 12)
    typer.echo("\n" + head.ljust(width) + "".join(c.rjust(11) for c in columns))
    for name, row in rows.items():
        cells = [
            "-"
            if c not in row
            else f"{row[c]:.0f}"
            if c in ("windows", "frames")
            else f"{row[c]:.1f}"
            for c in columns
        ]
        typer.echo(name.ljust(width) + "".join(c.rjust(11) for c in cells))


def write_json(path: Path | None, report: Mapping[str, Any]) -> None:
    """Write the report, if a file was asked for."""
    if path is not None:
        path.write_text(json.dumps(report, indent=2) + "\n")
