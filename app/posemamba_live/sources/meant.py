"""Sources that cannot be meant as they were given, and what was meant instead."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from posemamba_live.errors import SourceError, UsageError
from posemamba_live.nearest import nearest, nearest_file
from posemamba_live.shown import public

_CAMERA_WORDS: Final = frozenset({"camera", "cam", "webcam"})
_DEVICE: Final = re.compile(r"/dev/video\d+")
_PORTALS: Final = (
    "youtube.com", "youtu.be", "vimeo.com", "dailymotion.com", "twitch.tv", "tiktok.com",
    "instagram.com", "facebook.com", "x.com", "twitter.com", "bilibili.com",
)  # fmt: skip
"""Hosts whose addresses are those of pages; their films have other addresses."""
_POSES: Final = (
    ".npz", ".journal", ".csv", ".json", ".parquet", ".bvh", ".glb", ".c3d", ".trc", ".mot", ".rrd",
)  # fmt: skip
"""Files that the program writes and cannot look at."""
_READ_AGAIN: Final = (".npz", ".journal")
"""Those of them that posemamba-export reads."""
_NEARLY_URL: Final = re.compile(r"([A-Za-z]{3,6})(:/{0,1}|/{2})(?=[^/:\\\s])")
"""The beginning of an address that lacks a colon or a slash."""


def check_meant(source: str, schemes: tuple[str, ...]) -> None:
    """Refuse what is no source, with the sentence that names what is one.

    Args:
        source: as given, but for "-".
        schemes: of addresses that can be opened.

    Raises:
        UsageError: something else was meant.
        SourceError: there is no such file.
    """
    if os.path.exists(source):
        _check_kind(source)
        return
    _check_camera(source)
    _check_portal(source)
    _check_address(source, schemes)


def missing(path: Path) -> SourceError:
    """What is said of a file that is not there."""
    found = nearest_file(path)
    hint = "check the path, and put a name with spaces into quotes"
    if not path.parent.is_dir():
        return SourceError(
            f"Cannot open {path}", why=f"there is no folder {path.parent}", hint=hint
        )
    if found is not None:
        hint = f"did you mean {found}?"
    return SourceError(f"Cannot open {path}", why="no such file", hint=hint)


def _check_kind(source: str) -> None:
    if _DEVICE.fullmatch(source):
        raise _is_camera(source, source)
    suffix = Path(source).suffix.lower()
    if suffix in _POSES and os.path.isfile(source):
        hint = "give the film that they come from"
        if suffix in _READ_AGAIN:
            hint = f"posemamba-export {source} FILE makes other files of it; or {hint}"
        raise UsageError(f"Cannot look at {source}", why="it holds poses, no pictures", hint=hint)


def _check_camera(source: str) -> None:
    if source.isdecimal():
        raise _is_camera(source, source)
    if _DEVICE.fullmatch(source):
        raise _is_camera(source, source)
    if source.lower() in _CAMERA_WORDS:
        raise _is_camera(source, "0")


def _is_camera(source: str, device: str) -> UsageError:
    return UsageError(
        f"Cannot open {source} as a film",
        why="a camera is named with --camera",
        hint=f"posemamba-live --camera {device}; --camera list prints which there are",
    )


def _check_portal(source: str) -> None:
    try:
        host = urlsplit(source if "://" in source else f"https://{source}").hostname or ""
    except ValueError:
        return
    if any(host == portal or host.endswith(f".{portal}") for portal in _PORTALS):
        raise UsageError(
            f"Cannot open {public(source)}",
            why=f"it is the address of a page at {host}, not of a film",
            hint="download the film first, where its owner allows that, and give the file",
        )


def _check_address(source: str, schemes: tuple[str, ...]) -> None:
    if source.lower().startswith("file:"):
        path = re.sub(r"^file:/*", "/", source, flags=re.IGNORECASE)
        raise UsageError(
            f"Cannot open {source}", why="a file is given by its path alone", hint=path
        )
    scheme, separator, rest = source.partition("://")
    if separator:
        meant = None if scheme.lower() in schemes else nearest(scheme, schemes)
    else:
        match = _NEARLY_URL.match(source)
        if match is None:
            return
        rest = source[match.end() :]
        meant = nearest(match[1], schemes)
    if meant is not None:
        raise UsageError(
            f"Cannot open {public(source)}",
            why="its beginning is not that of an address",
            hint=f"did you mean {public(f'{meant}://{rest}')}?",
        )
