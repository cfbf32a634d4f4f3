"""Files named `poses.npz` as a stranger may send them: damaged, lying, or bombs."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

Arrays = dict[str, Any]


def arrays(rows: int = 40) -> Arrays:
    """All that a proper take of one person has; a figure that sways."""
    rng = np.random.default_rng(5)
    body = rng.uniform(-0.6, 0.6, (17, 3)).astype(np.float32)
    joints = body + 0.05 * np.sin(np.arange(rows) / 5.0)[:, None, None].astype(np.float32)
    joints[:, 0] = 0.0
    return {
        "frame_index": np.arange(rows, dtype=np.int64),
        "timestamp": np.arange(rows) / 30.0,
        "person_id": np.zeros(rows, np.int32),
        "joints_2d": (300.0 + 100.0 * joints[..., :2]).astype(np.float32),
        "scores_2d": np.full((rows, 17), 0.9, np.float32),
        "joints_3d": joints,
        "root_3d": np.tile(np.array([0.0, 0.0, 3.0], np.float32), (rows, 1)),
        "joints_world": joints + np.array([0.0, 3.0, 1.0], np.float32),
        "predicted": np.zeros(rows, np.bool_),
        "fps": np.float64(30.0),
        "image_size": np.array([640, 360], np.int32),
        "joint_names": np.array(["Hip"] * 17),
        "joint_parents": np.zeros(17, np.int32),
        "meta": np.array(json.dumps({"source": "walk.mp4", "look_ahead": 3})),
    }


def write(path: Path, values: Arrays) -> None:
    """As `numpy.savez_compressed`."""
    with open(path, "wb") as file:
        np.savez_compressed(file, **values)


def _with(**changes: Any) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        values = arrays()
        for key, change in changes.items():
            values[key] = change(values[key]) if callable(change) else change
        write(path, values)

    return make


def _without(key: str) -> Callable[[Path], None]:
    return lambda path: write(path, {k: v for k, v in arrays().items() if k != key})


def _put(value: float, *where: int) -> Callable[[Any], Any]:
    def change(values: Any) -> Any:
        values = values.copy()
        values[where] = value
        return values

    return change


def _member(key: str, content: Callable[[], bytes | list[bytes]]) -> Callable[[Path], None]:
    """A take of which one member is written by hand."""

    def make(path: Path) -> None:
        write(path, {k: v for k, v in arrays().items() if k != key})
        with (
            zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive,
            archive.open(f"{key}.npy", "w", force_zip64=True) as member,
        ):
            parts = content()
            for part in [parts] if isinstance(parts, bytes) else parts:
                member.write(part)

    return make


def _header(shape: tuple[int, ...], descr: str = "<f4") -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        out, {"shape": shape, "fortran_order": False, "descr": descr}
    )
    return out.getvalue()


def _zeros(megabytes: int) -> list[bytes]:
    return [bytes(2**20)] * megabytes


def _long_header() -> list[bytes]:
    """Of version 2, whose length has four bytes."""
    size = 256 * 2**20
    return [b"\x93NUMPY\x02\x00" + size.to_bytes(4, "little"), *([b" " * 2**20] * 256)]


def _bomb(path: Path, rows: int = 500_000) -> None:
    """Consistent and finite: half a million rows of zeros, 360 MB in one."""
    plain = arrays(1)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for key, value in plain.items():
            if np.ndim(value) and len(value) == 1:
                head = _header((rows, *value.shape[1:]), value.dtype.str)
                with archive.open(f"{key}.npy", "w", force_zip64=True) as member:
                    member.write(head)
                    left = rows * value[0].nbytes
                    while left:
                        member.write(bytes(min(left, 2**22)))
                        left -= min(left, 2**22)
            else:
                with archive.open(f"{key}.npy", "w") as member:
                    np.save(member, value)


def _pickled(path: Path) -> None:
    values = arrays()
    values["meta"] = np.array([{"a": 1}], dtype=object)
    with open(path, "wb") as file:
        np.savez(file, **values)


def _cut(path: Path) -> None:
    write(path, arrays())
    path.write_bytes(path.read_bytes()[:-300])


def _flipped(path: Path) -> None:
    write(path, arrays())
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0xFF
    path.write_bytes(data)


REFUSED: Final[dict[str, Callable[[Path], None]]] = {
    "empty": lambda path: path.write_bytes(b"") and None,
    "text": lambda path: path.write_text("frame_index,timestamp\n") and None,
    "one array": lambda path: np.save(path.open("wb"), np.zeros(3)),
    "cut short": _cut,
    "a byte changed": _flipped,
    "pickle": _pickled,
    "NaN joint": _with(joints_world=_put(np.nan, 3, 2, 1)),
    "infinite joint": _with(joints_world=_put(np.inf, 3, 2, 1)),
    "NaN joint in 2D": _with(joints_2d=_put(np.nan, 3, 2, 1)),
    "NaN joint in the camera's frame": _with(joints_3d=_put(np.nan, 3, 2, 1)),
    "NaN root": _with(root_3d=_put(np.nan, 3, 2)),
    "NaN score": _with(scores_2d=_put(np.nan, 3, 2)),
    "a joint light years away": _with(joints_world=_put(1e30, 3, 2, 1)),
    "text for joints": _with(joints_world=lambda v: np.full(v.shape, "far")),
    "whole numbers for joints": _with(joints_3d=lambda v: v.astype(np.int32)),
    "complex joints": _with(joints_3d=lambda v: v.astype(np.complex64)),
    "wide floats": _with(joints_3d=lambda v: v.astype(np.longdouble)),
    "16 joints": _with(joints_world=lambda v: v[:, :16]),
    "flat joints": _with(joints_world=lambda v: v.reshape(len(v), -1)),
    "fewer rows": _with(joints_world=lambda v: v[:-1]),
    "a table of times": _with(timestamp=lambda v: v[:, None]),
    "no shape": _with(frame_index=np.int64(3)),
    "NaN time": _with(timestamp=_put(np.nan, 3)),
    "infinite time": _with(timestamp=_put(np.inf, 39)),
    "negative time": _with(timestamp=lambda v: v - 5.0),
    "a time of 1e300": _with(timestamp=_put(1e300, 39)),
    "text for times": _with(timestamp=lambda v: v.astype(str)),
    "negative frame": _with(frame_index=_put(-3, 0)),
    "frames as floats": _with(frame_index=lambda v: v.astype(np.float64)),
    "frames beyond 63 bits": _with(frame_index=lambda v: v.astype(np.uint64) + np.uint64(2**63)),
    "persons beyond 32 bits": _with(person_id=lambda v: v.astype(np.int64) + 2**40),
    "NaN rate": _with(fps=np.float64(np.nan)),
    "text for a rate": _with(fps=np.array("30")),
    "rates": _with(fps=np.array([30.0, 30.0])),
    "no picture": _with(image_size=np.array([0, 0], np.int32)),
    "three sizes": _with(image_size=np.array([640, 360, 3], np.int32)),
    "huge picture": _with(image_size=np.array([2**31 - 1, 2**31 - 1], np.int32)),
    "meta is no JSON": _with(meta=np.array("{")),
    "meta is a list": _with(meta=np.array("[1]")),
    "meta is deep": _with(meta=np.array("[" * 100_000)),
    "meta is bytes": _with(meta=np.array(b"{}")),
    "several metas": _with(meta=np.array(["{}", "{}"])),
    "records": _with(joints_3d=lambda v: np.zeros(len(v), [("a", "f4"), ("b", "f4")])),
    "extra without names": _with(extra_2d=np.zeros((40, 2, 2), np.float32)),
    "a million extra points": _with(
        extra_names=np.full(10**6, "x"), extra_2d=np.zeros((40, 0, 2), np.float32),
        extra_scores=np.zeros((40, 0), np.float32),
    ),
    "header promises 2^62": _member("joints_world", lambda: _header((2**58, 17, 3))),
    "header is negative": _member("joints_world", lambda: _header((-1, 17, 3))),
    "header is a program": _member(
        "joints_world", lambda: b"\x93NUMPY\x01\x00\x40\x00" + b"__import__('os').abort()".ljust(64)
    ),
    "header is deep": _member(
        "joints_world", lambda: b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65535
    ),
    "header of a quarter of a gigabyte": _member("joints_world", _long_header),
    "bomb in a used member": _member(
        "joints_3d", lambda: [_header((1_000_000, 17, 3)), *_zeros(195)]
    ),
    "bomb in all members": _bomb,
    **{f"no {key}": _without(key) for key in ("frame_index", "joints_world", "meta", "fps")},
}  # fmt: skip
"""What is no take: refused with one message, at once, in little memory."""

ODD: Final[dict[str, Callable[[Path], None]]] = {
    "nobody": lambda path: write(path, arrays(0)),
    "one pose": lambda path: write(path, arrays(1)),
    "bomb in an unused member": _member("notes", lambda: _zeros(300)),
    "115 days": _with(timestamp=_put(1e7, 39)),
    "all at once": _with(timestamp=lambda v: v * 0.0),
    "backwards": _with(timestamp=lambda v: v[::-1]),
    "unsorted": lambda path: write(
        path, {k: v[::-1] if np.ndim(v) and len(v) == 40 else v for k, v in arrays().items()}
    ),
    "a rate of 0": _with(fps=np.float64(0.0)),
    "a rate of 1e9": _with(fps=np.float64(1e9)),
    "all in one point": _with(joints_world=lambda v: v * 0.0, joints_3d=lambda v: v * 0.0),
    "a thousand kilometres": _with(joints_world=lambda v: v * np.float32(1e5)),
    "tiny": _with(joints_world=lambda v: v * np.float32(1e-38)),
    "the last frame there is": _with(frame_index=_put(2**63 - 1, 39)),
    "40 people": _with(person_id=np.arange(40, dtype=np.int32)),
    "one pose twice": _with(frame_index=lambda v: v * 0),
    "meta of other types": _with(
        meta=np.array('{"look_ahead": "x", "source": 7, "weights": NaN, "height_m": 1e999}')
    ),
    "escapes in meta": _with(meta=np.array(json.dumps({"source": "\x1b[31mred</script>\n"}))),
    "big-endian": _with(joints_world=lambda v: v.astype(">f4")),
    "half floats": _with(joints_3d=lambda v: v.astype(np.float16)),
    "in columns": _with(joints_world=np.asfortranarray),
}
"""Takes that are strange, but takes: each format writes them, or says in one message why not."""
