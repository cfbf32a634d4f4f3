"""Where results go: files, recordings, windows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from posemamba_live.sinks.base import Exporter, Sink, check_output
from posemamba_live.sinks.npz import NpzExporter

EXPORTERS: Final[dict[str, Callable[..., Exporter]]] = {".npz": NpzExporter}
"""Suffix to class; each takes (path, *, overwrite, meta)."""

__all__ = ["EXPORTERS", "Exporter", "Sink", "check_output", "create_exporter"]


def create_exporter(path: Path, *, overwrite: bool, meta: Mapping[str, Any]) -> Exporter:
    """Exporter for the suffix of `path`; problems with the path show here, not on close.

    Args:
        path: the file to write.
        overwrite: replace an existing file.
        meta: JSON values about the run, with `fps` and `image_size` (W, H).

    Raises:
        UsageError: unknown suffix, or the file exists and `overwrite` is false.
        SinkError: the folder is missing or cannot be written to.
    """
    path = Path(path)
    check_output(path, overwrite=overwrite, suffixes=EXPORTERS)
    return EXPORTERS[path.suffix.lower()](path, overwrite=overwrite, meta=meta)
