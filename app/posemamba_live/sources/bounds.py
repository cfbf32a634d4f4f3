"""What the streams of strangers may take of the memory, where FFmpeg itself sets no limit.

Demuxers and parsers keep what belongs together until its end has come. What comes through a
`Feed` is counted in bytes; everything else is bounded here.
"""

from __future__ import annotations

import ctypes
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

import av

from posemamba_live.errors import SourceError
from posemamba_live.memory import resident_mb

logger = logging.getLogger(__name__)

STREAM_PIECE: Final = 128 * 1024 * 1024
"""Bytes for one packet, one picture, one list of a live stream; a picture of 8K has 100 MB."""
FILM_PIECE: Final = 512 * 1024 * 1024
"""The same for films, whose largest pictures have 300 MB."""
_WITHOUT: Final = 2**31 - 1
"""FFmpeg's own limit."""
MAX_GROWTH_MB: Final = 2000.0
"""Of the process while a stream is read. Networks that are loaded meanwhile take less than 1000."""
_EVERY_S: Final = 0.2
_NOTHING: Final = 32
"""Bytes: less than FFmpeg takes for anything."""
_STARVED_S: Final = 0.2
"""Whoever takes gigabytes takes some of them within this time."""

_lock = threading.Lock()
_held: list[int] = []


@contextmanager
def pieces_of(size: int) -> Iterator[None]:
    """Let FFmpeg take no piece of memory of more than so many bytes, in all of the process.

    Where PyAV's libraries do not hand out `av_max_alloc` (Windows) there is no such limit.
    """
    _change(_held.append, size)
    try:
        yield
    finally:
        _change(_held.remove, size)


def _change(change: Callable[[int], None], size: int) -> None:
    with _lock:
        change(size)
        setter = _setter()
        if setter is not None:
            setter(min(_held, default=_WITHOUT))


@cache
def _setter() -> Any:
    try:
        # A module that is linked to FFmpeg: symbols are looked up in what it needs as well.
        found = ctypes.CDLL(av._core.__file__).av_max_alloc
    except (OSError, AttributeError) as error:
        logger.debug("FFmpeg's memory cannot be limited: %s", error)
        return None
    found.argtypes, found.restype = [ctypes.c_size_t], None
    return found


class GrowthWatch:
    """Looks from time to time how much the process has grown since this was made.

    RTMP has 65,000 channels, and on each a message may begin that is never complete; the list of
    segments of a playlist may have no end. Both are read in one call, in which nobody looks but
    those who wait for it.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._before = resident_mb()
        self._next = time.monotonic()

    def look(self) -> None:
        """Raises SourceError beyond MAX_GROWTH_MB."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _EVERY_S
        if resident_mb() - self._before > MAX_GROWTH_MB:
            error = SourceError(
                f"{self._name} takes too much memory",
                why=f"more than {MAX_GROWTH_MB / 1000:g} GB since it was opened",
                hint="check that the address is that of a camera or a video",
            )
            logger.warning("%s", error)
            raise error

    def look_at_a_call(self) -> None:
        """The same from outside of a call of FFmpeg's, which it makes fail.

        For a moment FFmpeg gets no memory at all, whoever calls it. A recording that wants some
        just then goes on in a second file.
        """
        try:
            self.look()
        except SourceError:
            with pieces_of(_NOTHING):
                time.sleep(_STARVED_S)
            raise
