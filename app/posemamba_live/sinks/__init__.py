"""Where results go: files, recordings, windows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from posemamba_live.files import check_output, suffix_of
from posemamba_live.sinks.base import Exporter, Recording, Sink
from posemamba_live.sinks.bvh import write_bvh
from posemamba_live.sinks.c3d import write_c3d
from posemamba_live.sinks.exporter import FileExporter, Format
from posemamba_live.sinks.gltf import write_glb
from posemamba_live.sinks.json_file import write_json
from posemamba_live.sinks.npz import write_npz
from posemamba_live.sinks.opensim import write_mot, write_trc
from posemamba_live.sinks.rerun_file import write_rrd
from posemamba_live.sinks.tables import write_angles, write_csv, write_long_csv, write_parquet
from posemamba_live.takes.take import Film

FORMATS: Final[dict[str, Format]] = {
    ".npz": Format(write_npz, "everything, for NumPy"),
    ".csv": Format(write_csv, "a table, one row per pose"),
    ".long.csv": Format(write_long_csv, "a table, one row per joint"),
    ".angles.csv": Format(write_angles, "joint angles"),
    ".parquet": Format(write_parquet, "the .csv table, typed", needs=("pyarrow", "parquet")),
    ".json": Format(write_json, "everything, as text"),
    ".trc": Format(write_trc, "markers for OpenSim", per_person=True),
    ".mot": Format(write_mot, "joint angles for OpenSim", per_person=True),
    ".c3d": Format(write_c3d, "markers for biomechanics"),
    ".bvh": Format(write_bvh, "animation for Blender and MotionBuilder", per_person=True),
    ".rrd": Format(write_rrd, "for the Rerun viewer", needs=("rerun", "rerun")),
    ".glb": Format(write_glb, "animation for three.js and engines"),
}
"""What each suffix means. The longest one that a name ends in counts."""

__all__ = [
    "FORMATS",
    "Exporter",
    "Recording",
    "Sink",
    "check_export",
    "check_output",
    "create_exporter",
    "rescuing_exporter",
]


def check_export(path: Path, *, overwrite: bool) -> Format:
    """Refuse an export that could not be written, before anything expensive starts.

    Raises:
        UsageError: unknown suffix, or the file exists and `overwrite` is false.
        SinkError: the folder is missing or cannot be written to, or a library is missing.
    """
    check_output(path, overwrite=overwrite, suffixes=FORMATS)
    format_ = FORMATS[suffix_of(path, FORMATS) or ""]
    format_.check_installed(path)
    return format_


def create_exporter(
    path: Path, *, overwrite: bool, meta: Mapping[str, Any], film: Film | None = None
) -> Exporter:
    """Exporter for the suffix of `path`; problems with the path show here, not on close.

    Args:
        path: the file to write.
        overwrite: replace an existing file.
        meta: JSON values about the run, with `fps` and `image_size` (W, H). It is read on
            close, so that the caller may complete it until then.
        film: opens the film that the poses are of, for formats with pictures.

    Raises:
        UsageError, SinkError: see `check_export`; also when closing fails.
    """
    path = Path(path)
    format_ = check_export(path, overwrite=overwrite)
    return FileExporter(path, format_, overwrite=overwrite, meta=meta, film=film)


def rescuing_exporter(
    path: Path, *, overwrite: bool, meta: Mapping[str, Any], film: Film | None = None
) -> Exporter:
    """The same at the end of a run, when there is something to lose: nothing is refused.

    What was checked at the beginning may have changed since. Where the name is taken or the
    folder has gone, the file goes to another place, and the exporter's `notes` say so.
    """
    format_ = FORMATS[suffix_of(path, FORMATS) or ""]
    return FileExporter(path, format_, overwrite=overwrite, meta=meta, elsewhere=True, film=film)
