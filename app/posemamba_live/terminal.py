"""Messages on stderr, which any room may have to print before there is anybody to ask."""

from __future__ import annotations

import sys


def say(text: str) -> None:
    """Print one message to stderr, whole lines at a time."""
    sys.stderr.write(text.rstrip() + "\n")
    sys.stderr.flush()
