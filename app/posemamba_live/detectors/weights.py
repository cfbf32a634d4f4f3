"""Published RTMPose models: where they are, what they must be, and how they get here.

A model is fetched once, from its publisher, over HTTPS, and checked against its SHA-256
before it is put into the cache and again whenever it is used. Nothing in it is executed
but the network's operators.
"""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import shutil
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from posemamba_live.detectors.bundle import cache_dir
from posemamba_live.errors import DetectorError
from posemamba_live.terminal import say

logger = logging.getLogger(__name__)

_PUBLISHER: Final = "https://download.openmmlab.com/mmpose/v1/projects"
_TIMEOUT_S: Final = 30.0
_CHUNK: Final = 1 << 20
_ARCHIVE_SLACK: Final = 4 << 20
"""Bytes an archive may have beyond its model: a little JSON, and what deflating cannot win."""
_STALE_S: Final = 3600.0
"""Seconds after which an unfinished file was left by a run that is over."""


@dataclass(frozen=True, slots=True)
class Published:
    """One published model: an archive with one `.onnx` in it."""

    name: str
    """Of the file in the cache, without its suffix."""
    url: str
    sha256: str
    """Of the `.onnx` itself."""
    size: int
    """Bytes of the `.onnx`."""

    @property
    def path(self) -> Path:
        """Where it is in the cache, once fetched."""
        return cache_dir() / "models" / f"{self.name}.onnx"


@dataclass(frozen=True, slots=True)
class Preset:
    """What a detector's name stands for."""

    pose: Published
    person: Published | None
    """None for models that find people by themselves."""


def _published(folder: str, name: str, sha256: str, size: int) -> Published:
    return Published(name, f"{_PUBLISHER}/{folder}/onnx_sdk/{name}.zip", sha256, size)


# The publisher names no sums. These are the ones that projects which use the same files
# have published, several of them for most; a wrong one refuses a good file, no more.
_YOLOX_TINY: Final = _published(
    "rtmposev1",
    "yolox_tiny_8xb8-300e_humanart-6f3252f9",
    "ceb11c07298f95c50d7c5abeb906d03340c85f23aa79e3e66966e7fb6c307250",
    20_283_006,
)
_YOLOX_M: Final = _published(
    "rtmposev1",
    "yolox_m_8xb8-300e_humanart-c2c7a14a",
    "3dea6513388889f0fff4b77bf7a26013600321b9eb9ceb0e9a400a82572f5f23",
    101_400_344,
)

PRESETS: Final = {
    "rtmpose": Preset(
        _published(
            "rtmposev1",
            "rtmpose-s_simcc-body7_pt-body7-halpe26_700e-256x192-7f134165_20230605",
            "85c5d669aa0b0c7969799ea9e0620d3b8c1d3c2b6878243e98a1ef8351457986",
            22_793_379,
        ),
        _YOLOX_TINY,
    ),
    "rtmpose-m": Preset(
        _published(
            "rtmposev1",
            "rtmpose-m_simcc-body7_pt-body7-halpe26_700e-256x192-4d3e73dd_20230605",
            "26f3a19e61304a600dfb82d1001d41d24343b89fc70a33ffc84657e0b0bf2ecf",
            55_685_444,
        ),
        _YOLOX_M,
    ),
    "rtmpose-wholebody": Preset(
        _published(
            "rtmw",
            "rtmw-dw-x-l_simcc-cocktail14_270e-256x192_20231122",
            "9a9bc17c13ff0a1e37507f45a037a21bc410cd08374b0e664c57d0080843aa58",
            228_708_578,
        ),
        _YOLOX_M,
    ),
    "rtmo": Preset(
        _published(
            "rtmo",
            "rtmo-s_8xb32-600e_body7-640x640-dac2bf74_20231211",
            "d0703d40d19f3921da51ae725402d5fdae4d2478c7442072d3101bd396f370d8",
            39_617_685,
        ),
        None,
    ),
}

Open = Callable[[str], IO[bytes]]


def fetch(model: Published, open_url: Open | None = None) -> Path:
    """Path of the model in the cache, fetched there if it is not.

    Args:
        open_url: opens a URL for reading; by default HTTPS alone, redirections included.

    Raises:
        DetectorError: it cannot be fetched, or is not what it should be.
    """
    path = model.path
    if path.is_file():
        if _sum_of(path) == model.sha256:
            return path
        say(f"{path} is damaged: fetching it again")
    say(f"fetching {model.name} ({model.size / 1e6:.0f} MB) from {_host(model.url)}, once...")
    start = time.monotonic()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path.parent)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=_PART) as folder:
            archive, unpacked = Path(folder) / "archive.zip", Path(folder) / "model.onnx"
            with (open_url or _open_https)(model.url) as source:
                _copy(source, archive, model.size + _ARCHIVE_SLACK)
            _unpack(archive, unpacked, model)
            os.replace(unpacked, path)
    except _Refused as error:
        raise DetectorError(
            f"{model.url} is not the model it should be", why=str(error), hint=_by_hand(model)
        ) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise DetectorError(
            f"Cannot fetch {model.name}", why=_reason(error), hint=_by_hand(model)
        ) from error
    logger.info("fetched %s in %.1f s", path, time.monotonic() - start)
    return path


_PART: Final = "part-"


class _Refused(Exception):
    """What came is not what was asked for."""


def _unpack(archive: Path, target: Path, model: Published) -> None:
    """Write the archive's one `.onnx` to `target`, whatever its name and folder there."""
    try:
        with zipfile.ZipFile(archive) as contents:
            members = [info for info in contents.infolist() if info.filename.endswith(".onnx")]
            if len(members) != 1:
                raise _Refused(f"{len(members)} .onnx files in the archive, 1 expected")
            with contents.open(members[0]) as source:
                _copy(source, target, model.size)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError) as error:
        raise _Refused(f"not a zip archive that can be read: {error}") from error
    found = _sum_of(target)
    if found != model.sha256:
        raise _Refused(f"its SHA-256 is {found}, not {model.sha256}")


def _copy(source: IO[bytes], target: Path, limit: int) -> None:
    """Copy at most `limit` bytes; there being more is refused."""
    with open(target, "wb") as file:
        while chunk := source.read(min(_CHUNK, limit + 1 - file.tell())):
            file.write(chunk)
            if file.tell() > limit:
                raise _Refused(f"more than {limit} bytes")


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **keywords: Any) -> urllib.request.Request | None:
        request = super().redirect_request(*args, **keywords)
        if request is not None and request.type != "https":
            raise urllib.error.URLError(f"redirected to {request.full_url}, which is not HTTPS")
        return request


def _open_https(url: str) -> IO[bytes]:
    if urllib.parse.urlsplit(url).scheme != "https":
        raise urllib.error.URLError(f"{url} is not HTTPS")
    source: IO[bytes] = urllib.request.build_opener(_HttpsOnly).open(url, timeout=_TIMEOUT_S)
    return source


def _sum_of(path: Path) -> str:
    digest = hashlib.sha256()
    for chunk in _chunks(path):
        digest.update(chunk)
    return digest.hexdigest()


def _chunks(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _remove_leftovers(folder: Path) -> None:
    """Delete what runs that were killed while fetching have left."""
    for leftover in folder.glob(f"{_PART}*"):
        if time.time() - leftover.stat().st_mtime > _STALE_S:
            shutil.rmtree(leftover, ignore_errors=True)


def _host(url: str) -> str:
    return urllib.parse.urlsplit(url).netloc


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server says {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return str(error.reason)
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__
    return str(error) or type(error).__name__


def _by_hand(model: Published) -> str:
    return (
        f"download {model.url} in another way, unpack it\n"
        f"         and put its end2end.onnx at {model.path},\n"
        "         or give any such file with --detector-model or, for YOLOX, --person-model"
    )
