"""How much memory this process holds, and whether it may have as much as it needs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from posemamba_live.errors import LiveError

_LEAST: Final = {"RLIMIT_AS": ("ulimit -v", 1.6e9, 2), "RLIMIT_DATA": ("ulimit -d", 5.5e8, 1)}
"""For each limit of the system: the shell's name for it, the bytes below which no film has been
lifted (1.5 and 0.5 GB failed, 1.8 and 0.6 did not), and gigabytes that are enough."""


def check_limits() -> None:
    """Refuse to begin where the system lets this process have less memory than it works with.

    To be called before libraries are loaded: with too little, some of them neither work nor
    fail, but abort the process or wait for ever.

    Raises:
        LiveError: there is such a limit.
    """
    if sys.platform == "win32":
        return
    import resource

    for name, (command, least, enough) in _LEAST.items():
        limit, _ = resource.getrlimit(getattr(resource, name))
        if limit != resource.RLIM_INFINITY and limit < least:
            raise LiveError(
                "there is not enough memory",
                why=f"this process may take {limit / 1e9:.2g} GB ({command}) and needs {enough}",
                hint=f"raise that limit: {command} unlimited",
            )


def resident_mb() -> float:
    """Memory that this process holds now, in MiB; its peak, or 0, where only that is known."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    except (OSError, ValueError, IndexError, AttributeError):
        pass
    if sys.platform == "win32":
        return 0.0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
