"""Errors that a person can act on, and the exit codes they lead to."""

from __future__ import annotations

from posemamba_live.shown import printable, safe

EXIT_OK = 0
EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


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
