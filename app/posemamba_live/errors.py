"""Errors that a person can act on, and the exit codes they lead to."""

from __future__ import annotations

import errno
import re
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


_NOT_FOUND: Final = re.compile(r"(lib[\w.+-]+\.so[\w.]*): cannot open shared object file")
"""What the loader of libraries says on Linux, in whatever error it arrives."""
_DEBIAN_PACKAGES: Final = {
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libusb-1.0.so.0": "libusb-1.0-0",
    "libgomp.so.1": "libgomp1",
    "libX11.so.6": "libx11-6",
    "libxcb.so.1": "libxcb1",
    "libSM.so.6": "libsm6",
    "libXext.so.6": "libxext6",
    "libXrender.so.1": "libxrender1",
    "libstdc++.so.6": "libstdc++6",
}
"""Shared libraries that OpenCV, Open3D and PyTorch take from the system, by Debian package."""


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
    missing = missing_library(error)
    if missing is not None:
        return str(missing)
    return str(
        LiveError(
            "Something went wrong inside posemamba-live",
            why=f"{type(error).__name__}: {error}",
            hint="-vv, or POSEMAMBA_DEBUG=1, shows where; please report it",
        )
    )


def missing_library(error: BaseException) -> LiveError | None:
    """What to install, if an import failed for want of a shared library of the system."""
    if not isinstance(error, (ImportError, OSError)):
        return None
    match = _NOT_FOUND.search(str(error))
    if match is None:
        return None
    library = match[1]
    package = _DEBIAN_PACKAGES.get(library)
    return LiveError(
        f"The system's library {library} is missing",
        why="OpenCV, Open3D or PyTorch needs it, and no Python package can bring it",
        hint=f"on Debian or Ubuntu: apt install {package}"
        if package
        else f"install the package that has it; on Debian or Ubuntu: apt-file search {library}",
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
