"""Arrays out of a `poses.npz` that anybody may have made.

Such a file is a zip archive of arrays, and every number in it is only a claim. Nothing is
unpacked before the headers of all arrays that are used have been read and their types,
shapes and sizes found to be those of a take; members with other names are not even opened.
What a small file may ask for is bounded, since deflate packs a gigabyte of zeros into a
megabyte. After unpacking, values are checked: finite, and of a size that people have.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import stat
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from posemamba.skeleton import NUM_JOINTS

MAX_UNPACKED: Final = 4 * 2**30
"""Bytes of all arrays together: two days of one person at 30 frames a second."""
MAX_RATIO: Final = 50
"""Unpacked to packed. Poses of a real film reach 2; a figure that stands still, 30."""
ALWAYS_ALLOWED: Final = 64 * 2**20
"""Bytes that a file may unpack to, however small it is."""
MAX_TIME_S: Final = 1e9
MAX_METRES: Final = 1e6
MAX_PIXELS: Final = 1e9
MAX_SIDE: Final = 1_000_000
"""Of a picture, pixels."""
MAX_EXTRA: Final = 1_000
"""Keypoints beyond the 17."""
_MAX_TEXT: Final = 16 * 2**20
"""Bytes of an array of text; `meta` is a few kilobytes."""
_MAX_NUMBER: Final = 8
"""Bytes of one number."""
_ROWS, _EXTRA = "N", "K"
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class UnreadableError(ValueError):
    """What a file holds is no take; the message says what about it."""


@dataclass(frozen=True, slots=True)
class _Key:
    """What an array has to be."""

    kinds: str
    """Kinds of NumPy dtypes."""
    shape: tuple[int | str, ...]
    """Letters stand for a length that all arrays share."""
    dtype: Any = None
    """What it is turned into."""
    required: bool = True
    limit: float = math.inf
    """Largest magnitude; infinity for any finite one."""
    may_miss: bool = False
    """Whether NaN stands for "none" there."""


_FLOAT, _INT = "f", "iu"
KEYS: Final = {
    "frame_index": _Key(_INT, (_ROWS,), np.int64),
    "timestamp": _Key(_FLOAT, (_ROWS,), np.float64, limit=MAX_TIME_S),
    "person_id": _Key(_INT, (_ROWS,), np.int32),
    "joints_2d": _Key(_FLOAT, (_ROWS, NUM_JOINTS, 2), np.float32, limit=MAX_PIXELS),
    "scores_2d": _Key(_FLOAT, (_ROWS, NUM_JOINTS), np.float32, limit=1e6),
    "joints_3d": _Key(_FLOAT, (_ROWS, NUM_JOINTS, 3), np.float32, limit=MAX_METRES),
    "root_3d": _Key(_FLOAT, (_ROWS, 3), np.float32, limit=MAX_METRES),
    "joints_world": _Key(_FLOAT, (_ROWS, NUM_JOINTS, 3), np.float32, limit=MAX_METRES),
    "predicted": _Key("b", (_ROWS,), np.bool_),
    "fps": _Key(_FLOAT + _INT, (), np.float64, limit=1e9),
    "image_size": _Key(_INT, (2,), np.int32, limit=MAX_SIDE),
    "meta": _Key("U", ()),
    # From version 2 on, or where the detector gives them.
    "look_ahead": _Key(_INT, (_ROWS,), np.int32, required=False),
    "camera_pitch": _Key(_FLOAT, (_ROWS,), np.float64, required=False, limit=10.0),
    "camera_roll": _Key(_FLOAT, (_ROWS,), np.float64, required=False, limit=10.0),
    "camera_height": _Key(_FLOAT, (_ROWS,), np.float64, required=False, limit=MAX_METRES),
    "camera_fov": _Key(_FLOAT, (), np.float64, required=False, limit=360.0),
    "visibility_2d": _Key(
        _FLOAT, (_ROWS, NUM_JOINTS), np.float32, required=False, limit=1e6, may_miss=True
    ),
    "peak_2d": _Key(
        _FLOAT, (_ROWS, NUM_JOINTS), np.float32, required=False, limit=1e6, may_miss=True
    ),
    "extra_names": _Key("U", (_EXTRA,), required=False),
    "extra_2d": _Key(
        _FLOAT, (_ROWS, _EXTRA, 2), np.float32, required=False, limit=MAX_PIXELS, may_miss=True
    ),
    "extra_scores": _Key(
        _FLOAT, (_ROWS, _EXTRA), np.float32, required=False, limit=1e6, may_miss=True
    ),
}
"""Everything that is read of a `poses.npz`; names and parents of the joints are known."""
_TOGETHER: Final = ("extra_names", "extra_2d", "extra_scores")


def read_arrays(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The arrays of KEYS that the file has, of the types given there, and its `meta`.

    Raises:
        OSError: it cannot be opened.
        UnreadableError: it is no take.
    """
    check_regular(path)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_own_words())
        archive = stack.enter_context(zipfile.ZipFile(path))
        headers = _headers(archive)
        _check_shapes(headers)
        _check_cost(headers, path.stat().st_size)
        arrays = {key: _array(archive, key) for key in headers}
    for key, values in arrays.items():
        _check_values(key, values)
    arrays = {
        key: values if KEYS[key].dtype is None else values.astype(KEYS[key].dtype)
        for key, values in arrays.items()
    }
    return arrays, parse_meta(str(arrays.pop("meta")))


def check_regular(path: Path) -> None:
    """Refuse what is no file: to open a FIFO may wait for ever, a device may never end.

    Raises:
        OSError: there is none.
        UnreadableError: it is something else.
    """
    kind = os.stat(path).st_mode
    if not stat.S_ISREG(kind):
        what = "a folder" if stat.S_ISDIR(kind) else "no regular file"
        raise UnreadableError(f"it is {what}")


def parse_meta(text: str) -> dict[str, Any]:
    """What a take says of itself, from its JSON; numbers that are not finite become None.

    Raises:
        UnreadableError: it is no JSON object.
    """

    def finite(number: str) -> float | None:
        value = float(number)
        return value if math.isfinite(value) else None

    try:
        meta = json.loads(text, parse_constant=lambda _: None, parse_float=finite)
    except (ValueError, RecursionError) as error:
        raise UnreadableError("its meta is no JSON") from error
    if not isinstance(meta, dict):
        raise UnreadableError("its meta is no JSON object")
    look_ahead = meta.get("look_ahead", 0)
    if not (type(look_ahead) is int and 0 <= look_ahead < 2**31):
        meta["look_ahead"] = 0
    return meta


@dataclass(frozen=True, slots=True)
class _Header:
    """Of one array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    packed: int

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


@contextlib.contextmanager
def _own_words() -> Iterator[None]:
    """One kind of error for everything that zipfile and NumPy say of damaged files."""
    try:
        yield
    except (UnreadableError, OSError):
        raise
    except MemoryError as error:
        raise UnreadableError("there is not enough memory for it") from error
    except Exception as error:  # half a dozen kinds, and zlib's own
        raise UnreadableError(f"it is no whole .npz ({str(error)[:200]})") from error


def _headers(archive: zipfile.ZipFile) -> dict[str, _Header]:
    members = {info.filename: info for info in archive.infolist()}
    found = {}
    for key, expected in KEYS.items():
        info = members.get(f"{key}.npy")
        if info is None:
            if expected.required:
                raise UnreadableError(f"it has no {key!r}")
            continue
        if info.compress_type not in _METHODS or info.flag_bits & 1:
            raise UnreadableError(f"{key} is packed in a way that NumPy does not use")
        with archive.open(info) as member:
            shape, dtype = _header(member, key)
            header = _Header(shape, dtype, info.compress_size)
            if info.file_size != member.tell() + header.nbytes:
                raise UnreadableError(f"{key} has not the size that its header names")
        found[key] = header
    if any(key in found for key in _TOGETHER) and not all(key in found for key in _TOGETHER):
        raise UnreadableError(f"it has only some of {', '.join(_TOGETHER)}")
    return found


def _header(member: IO[bytes], key: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    # Version 2 has headers of up to 4 GB, which NumPy reads before it looks at their length.
    if npy.read_magic(member) != (1, 0):
        raise UnreadableError(f"{key} has a header of a version that is not written for it")
    shape, _, dtype = npy.read_array_header_1_0(member)
    return shape, dtype


def _check_shapes(headers: Mapping[str, _Header]) -> None:
    lengths: dict[str, int] = {}
    for key, header in headers.items():
        expected = KEYS[key]
        dtype = header.dtype
        text = dtype.kind == "U"
        if dtype.kind not in expected.kinds or (not text and dtype.itemsize > _MAX_NUMBER):
            raise UnreadableError(f"{key} is of type {dtype.name[:40]}")
        fits = len(header.shape) == len(expected.shape) and all(
            lengths.setdefault(want, have) == have if isinstance(want, str) else want == have
            for want, have in zip(expected.shape, header.shape, strict=True)
        )
        if not fits:
            raise UnreadableError(f"{key} has the shape {str(header.shape)[:80]}")
        if text and header.nbytes > _MAX_TEXT:
            raise UnreadableError(f"{key} is a text of {header.nbytes / 1e6:.0f} MB")
    if lengths.get(_EXTRA, 0) > MAX_EXTRA:
        raise UnreadableError(f"it has {lengths[_EXTRA]} further keypoints")


def _check_cost(headers: Mapping[str, _Header], file_size: int) -> None:
    unpacked = sum(header.nbytes for header in headers.values())
    packed = min(sum(header.packed for header in headers.values()), file_size)
    allowed = min(max(ALWAYS_ALLOWED, MAX_RATIO * packed), MAX_UNPACKED)
    if unpacked > allowed:
        raise UnreadableError(
            f"it would unpack to {unpacked / 1e6:.0f} MB, {unpacked / max(packed, 1):.0f} times "
            "what is packed: more than poses do"
        )


def _array(archive: zipfile.ZipFile, key: str) -> NDArray[Any]:
    with archive.open(f"{key}.npy") as member:
        values: NDArray[Any] = npy.read_array(member, allow_pickle=False)
    return values


def _check_values(key: str, values: NDArray[Any]) -> None:
    expected = KEYS[key]
    kind = values.dtype.kind
    if kind in "Ub" or not values.size:
        return
    if kind == "f":
        with np.errstate(invalid="ignore"):
            wrong = ~(np.abs(values) <= min(expected.limit, float(np.finfo(np.float32).max)))
        if expected.may_miss:
            wrong &= ~np.isnan(values)
        if wrong.any():
            raise UnreadableError(f"{key} holds {values[wrong].flat[0]:g}")
    else:
        # A whole number that does not fit would become another one.
        whole = np.issubdtype(expected.dtype, np.integer)
        most = min(expected.limit, np.iinfo(expected.dtype).max) if whole else expected.limit
        if int(values.min()) < 0 or int(values.max()) > most:
            raise UnreadableError(f"{key} holds {int(values.min())} to {int(values.max())}")
    least = {"timestamp": 0, "fps": 0, "image_size": 1}.get(key)
    if least is not None and values.min() < least:
        raise UnreadableError(f"{key} holds {values.min():g}")
