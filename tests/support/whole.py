"""Whether a file of any kind that the program writes is whole: everything in it can be read."""

from __future__ import annotations

import csv
import json
import re
import struct
from pathlib import Path

import av
import cv2
import numpy as np
import trimesh

from posemamba_live.takes.recovery import recover
from posemamba_live.takes.take import read_take


def check_whole(path: Path) -> None:
    """Read all of it.

    Raises:
        AssertionError, ValueError, LiveError: it is empty, ends too early or makes no sense.
    """
    assert path.stat().st_size > 0
    suffix = path.suffix.lower()
    if suffix == ".npz":
        for pose in read_take(path).poses:
            assert np.isfinite(pose.joints_world).all()
    elif suffix == ".journal":
        recover(path)
    elif suffix == ".json":
        json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_constant)
    elif suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
        assert {len(row) for row in rows} == {len(rows[0])}
    elif suffix in _READERS:
        _READERS[suffix](path)
    else:
        raise AssertionError(f"nobody asked for {path.name}")


def _no_constant(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


def _bvh(path: Path) -> None:
    head, rows = path.read_text(encoding="utf-8").split("MOTION\n")
    count = int(re.findall(r"Frames:\s*(\d+)", rows)[0])
    channels = sum(map(int, re.findall(r"CHANNELS (\d+)", head)))
    frames = [line.split() for line in rows.splitlines()[2:] if line.strip()]
    assert len(frames) == count
    assert all(np.isfinite(np.array(frame, float)).all() for frame in frames)
    assert {len(frame) for frame in frames} <= {channels}


def _table(path: Path) -> None:
    """.trc and .mot: as many rows as promised, each with its last column."""
    head, _, rest = path.read_text(encoding="utf-8").partition("endheader\n")
    if rest:
        count = int(re.findall(r"nRows=(\d+)", head)[0])
        rows = [line.split("\t") for line in rest.rstrip("\n").split("\n")[1:]]
    else:
        lines = head.rstrip("\n").split("\n")
        count = int(lines[2].split("\t")[2])
        rows = [line.split("\t") for line in lines[6:]]
    assert len(rows) == count
    for row in rows:
        assert not np.isinf(np.array(row, float)).any()
    assert len({len(row) for row in rows}) == 1


def _glb(path: Path) -> None:
    data = path.read_bytes()
    magic, _, length = struct.unpack("<4sII", data[:12])
    assert (magic, length) == (b"glTF", len(data))
    assert b"NaN" not in data[:65536]
    trimesh.load(path, file_type="glb")


def _c3d(path: Path) -> None:
    import ezc3d

    assert np.isfinite(ezc3d.c3d(str(path))["data"]["points"][:3]).any()


def _parquet(path: Path) -> None:
    import pyarrow.parquet

    pyarrow.parquet.read_table(path)


def _rrd(path: Path) -> None:
    from rerun.chunk import RrdReader

    assert sum(chunk.to_record_batch().num_rows for chunk in RrdReader(path).stream().to_chunks())


def _film(path: Path) -> None:
    with av.open(str(path)) as film:
        assert film.duration
        assert sum(1 for _ in film.decode(video=0)) > 0


def _picture(path: Path) -> None:
    assert cv2.imread(str(path)) is not None


def _page(path: Path) -> None:
    assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")


_READERS = {
    ".bvh": _bvh,
    ".trc": _table,
    ".mot": _table,
    ".glb": _glb,
    ".c3d": _c3d,
    ".parquet": _parquet,
    ".rrd": _rrd,
    ".mp4": _film,
    ".png": _picture,
    ".html": _page,
}
