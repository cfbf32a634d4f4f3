"""What was meant by a word that nobody knows: the nearest of those that are known."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Final

_ALIKE: Final = 0.7
"""Share of letters from which two words are taken for one."""
_MOST_FILES: Final = 5_000
"""Of a folder that is looked through for a name."""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is most like this one, if any is like it at all."""
    by_lower = {name.lower(): name for name in known}
    found = get_close_matches(word.lower(), by_lower, 1, _ALIKE)
    return by_lower[found[0]] if found else None


def did_you_mean(word: str, known: Collection[str], *, before: str = "") -> str:
    """A hint: the nearest of the known words and then all of them.

    Args:
        word: what was given.
        known: what can be given.
        before: what comes before each of them on the command line.
    """
    found = nearest(word, known)
    names = ", ".join(known)
    return f"did you mean {before}{found}? Known are: {names}" if found else f"one of: {names}"


def nearest_file(path: Path) -> Path | None:
    """The file beside `path` whose name is most like its own, also without its suffix."""
    folder = path.parent
    try:
        with os.scandir(folder) as entries:
            names = [e.name for e in islice(entries, _MOST_FILES) if not e.name.startswith(".")]
    except (OSError, ValueError):
        return None
    stems = sorted(name for name in names if Path(name).stem.lower() == path.name.lower())
    found = stems[0] if stems else nearest(path.name, names)
    return folder / found if found else None
