"""Messages on stdout and stderr, whatever these are: nothing that is said can fail a run."""

from __future__ import annotations

import atexit
import contextlib
import io
import logging
import os
import sys
from collections.abc import Iterator
from typing import Any, NoReturn, TextIO

from posemamba_live.errors import EXIT_FAILURE, missing_library
from posemamba_live.shown import safe


class Forgiving:
    """A stream that swallows what cannot be written: a full device, a reader that has gone.

    Everything else is the wrapped stream's.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def prepare() -> None:
    """Make sure that there are descriptors 0 to 2, sys.stdout and sys.stderr, and that none fails.

    Without it the first file that is opened would get a closed descriptor's number, and what
    libraries print there would end up in it.
    """
    # A new descriptor is the lowest that is free.
    null = os.open(os.devnull, os.O_RDWR)
    while null <= 2:
        os.set_inheritable(null, True)  # as these are: programs that are started have them too
        null = os.open(os.devnull, os.O_RDWR)
    os.close(null)
    logging.raiseExceptions = False
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, Forgiving):
            continue
        if stream is None:
            stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (for good)
        elif isinstance(stream, io.TextIOWrapper):
            # A name that the terminal has no letters for is no reason to fail.
            stream.reconfigure(errors="backslashreplace")
        setattr(sys, name, Forgiving(stream))


def put(text: str) -> None:
    """Print to stdout."""
    with contextlib.suppress(OSError, ValueError):
        print(text, flush=True)


def say(text: str) -> None:
    """Print one message to stderr, whole lines at a time."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(safe(text).rstrip() + "\n")
        sys.stderr.flush()


@contextlib.contextmanager
def libraries_named() -> Iterator[None]:
    """For entry points: an import that lacks a library of the system says what to install."""
    try:
        yield
    except (ImportError, OSError) as error:
        missing = missing_library(error)
        if missing is None:
            raise
        say(f"error: {missing}")
        raise SystemExit(EXIT_FAILURE) from error


def finish(code: int) -> NoReturn:
    """End the process in good order, but for Python's own tear-down.

    A daemon thread that asks for the interpreter during that is unwound through whatever C++ it
    is in, which aborts (libraries' threads too: one run in four ended in SIGABRT, with all files
    written); and it takes a second.
    """
    with contextlib.suppress(Exception):
        atexit._run_exitfuncs()
    leave(code)


def leave(code: int) -> NoReturn:
    """End the process now: threads that hang are not waited for, and nothing aborts."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)
