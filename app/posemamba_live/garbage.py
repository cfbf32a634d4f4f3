"""Python's search for garbage, put off while a program loads.

Most of what is loaded stays for good: to look through all of it again and again makes up a quarter
of the time that loading takes.
"""

from __future__ import annotations

import gc
from typing import Final

_RARELY: Final = 1_000_000
"""New objects between two searches: more than loading makes, fewer than compiling kernels does."""
_usual: list[tuple[int, int, int]] = []


def put_off() -> None:
    """Search rarely, until `loaded`. For a process that is a program of ours."""
    _usual.append(gc.get_threshold())
    gc.set_threshold(_RARELY)


def loaded() -> None:
    """Search as usual again, but never more through what is there now; without `put_off` nothing.

    While pictures come, a search through all that was loaded would hold each of them up.
    """
    if _usual:
        gc.freeze()
        gc.set_threshold(*_usual.pop())
