"""Errors that a person can act on, and the exit codes they lead to."""

from __future__ import annotations

import errno
from typing import Final

from posemamba_live.shown import printable, safe

EXIT_OK = 0
EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


_OUT_OF_MEMORY: Final = (
    "can't allocate memory",  # torch
    "cannot allocate memory",  # the system, the loader of libraries
    "out of memory",
    "insufficient memory",  # OpenCV
    "failed to allocate memory",  # ONNX Runtime
    "bad allocation",
    "bad_alloc",
    "can't start new thread",
    "failed to map segment",  # the loader of libraries
)


class LiveError(Exception):
    """A failure told in one message: what went wrong, why, and what to try.

    As text, each part is one line without control characters, and without secrets of addresses.
    """

    exit_code = EXIT_FAILURE

    def __init__(self, what: str, *, why: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.hint = hint

    def __str__(self) -> str:
        lines = [_one_line(self.what)]
        if self.why:
            lines.append(f"  cause: {_one_line(self.why)}")
        if self.hint:  # examples of addresses stay as they are
            lines.append(f"  try:   {printable(self.hint)}")
        return "\n".join(lines)


class UsageError(LiveError):
    """The command line asks for something that cannot be meant."""

    exit_code = EXIT_USAGE


class SourceError(LiveError):
    """A video, camera or stream that cannot be opened or read."""


class DetectorError(LiveError):
    """A keypoint detector that cannot be built or run."""


class SinkError(LiveError):
    """A result that cannot be written or shown."""


def _one_line(text: str) -> str:
    return printable(safe(text))


def describe(error: BaseException) -> str:
    """One message for any error, foreseen or not."""
    if out_of_memory(error):
        return (
            "there is not enough memory: end other programs, or raise this one's limit "
            "(ulimit -v, or the container's)"
        )
    if isinstance(error, LiveError):
        return str(error)
    return str(
        LiveError(
            "Something went wrong inside posemamba-live",
            why=f"{type(error).__name__}: {error}",
            hint="-vv, or POSEMAMBA_DEBUG=1, shows where; please report it",
        )
    )


def out_of_memory(error: BaseException) -> bool:
    """Whether an error, or one that it came from, is about memory, in whose words ever."""
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        if isinstance(found, MemoryError) or getattr(found, "errno", None) == errno.ENOMEM:
            return True
        text = str(found).lower()
        if "cuda" not in text and any(words in text for words in _OUT_OF_MEMORY):
            return True
        found = found.__cause__ or found.__context__
    return False
