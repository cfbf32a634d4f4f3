"""What the program may show, log, write and send of what it was given.

Addresses of cameras hold passwords, and names of files may hold anything. Whatever leaves
the program (messages, logs, exports, streams, titles) goes through these functions.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from posemamba.text import printable

__all__ = ["SafeFormatter", "printable", "public", "safe"]

MASK: Final = "***"
_OPTION: Final = re.compile(r"(--?[A-Za-z][\w-]*=)(.*)", re.DOTALL)
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:[/\\]+")
"""One slash is what a path makes of two. A single letter is a drive."""
_DRIVE: Final = re.compile(r"[A-Za-z]:[/\\]")
_AT: Final = re.compile(r"@|%40")
_NAME: Final = re.compile(r"[\w.\[\]-]{1,32}")
_SETTING: Final = re.compile(r"([/;])([^/;=]+)=[^/;]*")
"""As some cameras take them: rtsp://host/user=admin_password=x_channel=1.sdp"""
_QUERY: Final = re.compile(r"\?[^?]*=")
_IN_TEXT: Final = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]+:[/\\]+[^\s'\"]+|[^\s'\"]+:[^\s'\"]*@[^\s'\"]+"
)


def public(word: str) -> str:
    """A word of a command, or an address, without what only its owner should know.

    Of an address, everything between the scheme and the last @ is masked (a password may hold
    any character), as are all values of the query, settings in the path, and the fragment.
    What exists as a file is no address. Masked words stay as they are.
    """
    if option := _OPTION.fullmatch(word):
        return option[1] + public(option[2])
    if os.path.lexists(word) or _DRIVE.match(word):
        return word
    scheme = _SCHEME.match(word)
    head, rest = (word[: scheme.end()], word[scheme.end() :]) if scheme else ("", word)
    ats = [match.start() for match in _AT.finditer(rest)]
    if scheme is None and not ((ats and ":" in rest[: ats[-1]]) or _QUERY.search(rest)):
        return word
    if ats:
        rest = MASK + rest[ats[-1] :]
    rest, hashed, _ = rest.partition("#")
    rest, asked, query = rest.partition("?")
    return (
        head
        + _SETTING.sub(rf"\1\2={MASK}", rest)
        + (asked + re.sub("[^&;]+", _masked_value, query))
        + (hashed + MASK if hashed else "")
    )


def safe(text: str, words: Sequence[str] = ()) -> str:
    """A message of several lines, fit for a terminal or a log that others read.

    Args:
        text: may contain addresses and names.
        words: what the user gave, of which nothing secret may be in the text.
    """
    for word in words:
        hidden = public(word)
        if hidden != word:
            for form in (word, str(Path(word)), repr(word)[1:-1]):
                text = text.replace(form, hidden)
    return printable(_IN_TEXT.sub(_masked_in_text, text), keep="\n\t")


class SafeFormatter(logging.Formatter):
    """Log lines and tracebacks without secrets and without control characters.

    Args:
        words: see `safe`.
    """

    def __init__(self, pattern: str, words: Sequence[str] = ()) -> None:
        super().__init__(pattern)
        self._words = words

    def format(self, record: logging.LogRecord) -> str:
        return safe(super().format(record), self._words)


def _masked_in_text(found: re.Match[str]) -> str:
    word = found[0].rstrip(".,:;!)")
    return public(word) + found[0][len(word) :]


def _masked_value(part: re.Match[str]) -> str:
    name, equals, value = part[0].partition("=")
    # Without a value, what looks like a name may be a key that ends in "=".
    return f"{name}={MASK}" if equals and value and _NAME.fullmatch(name) else MASK
