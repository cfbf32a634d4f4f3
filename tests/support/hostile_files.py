"""Files that run code in a reader that unpickles them; the code only writes a marker file."""

from __future__ import annotations

import io
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch


@dataclass(frozen=True)
class Marker:
    """Pickles as a call of open(path, "w"): `path` exists once somebody unpickled it."""

    path: Path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.path), "w")


def _bare(path: Path, marker: Marker) -> None:
    """A plain pickle, as torch.save would begin one."""
    path.write_bytes(_as_legacy(pickle.dumps({"model_pos": marker}, protocol=2)))


def _as_legacy(payload: bytes) -> bytes:
    """A file of torch.save before 1.6: magic number, version, system, content, keys."""
    magic, version = 0x1950A86A20F9469CFC6C, 1001
    system = {"protocol_version": version, "little_endian": True, "type_sizes": {}}
    start = b"".join(pickle.dumps(part, protocol=2) for part in (magic, version, system))
    return start + payload + pickle.dumps([], protocol=2)


def _first(path: Path, marker: Marker) -> None:
    """Runs before the magic number is looked at."""
    path.write_bytes(pickle.dumps(marker, protocol=2) + _as_legacy(pickle.dumps({}, protocol=2)))


def _archive(path: Path, marker: Marker) -> None:
    """What torch.save writes today, the call beside a proper state dict."""
    torch.save({"model_pos": {"weight": torch.zeros(2)}, "epoch": marker}, path)


def _repacked(path: Path, marker: Marker) -> None:
    """A zip archive made by hand, its data.pkl exchanged."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(marker, protocol=2))
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/version", "3\n")


def _tar(path: Path, marker: Marker) -> None:
    """The oldest format; its storages were once read without checks."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name in ("storages", "tensors", "pickle"):
            content = pickle.dumps(marker, protocol=2)
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def _numpy_name(path: Path, marker: Marker) -> None:
    """A NumPy function with the call as its argument: NumPy numbers are let through."""

    class Number:
        def __reduce__(self) -> tuple[Any, ...]:
            from numpy.core.multiarray import scalar  # type: ignore[attr-defined]

            return scalar, ("f8", marker)

    torch.save({"model_pos": {}, "loss": Number()}, path)


HOSTILE: Final[dict[str, Callable[[Path, Marker], None]]] = {
    "bare pickle": _bare,
    "before the magic number": _first,
    "archive": _archive,
    "extra record": _repacked,
    "legacy tar": _tar,
    "beside a NumPy number": _numpy_name,
}
