"""Messages on stderr, which any room may have to print before there is anybody to ask."""

from __future__ import annotations

import sys

from posemamba_live.shown import safe


def say(text: str) -> None:
    """Print one message to stderr, whole lines at a time."""
    sys.stderr.write(safe(text).rstrip() + "\n")
    sys.stderr.flush()
