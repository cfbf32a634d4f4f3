"""`python -m posemamba_live`, and the program `posemamba-live`."""

from __future__ import annotations

import os
import signal
import sys
from typing import Final, NoReturn

_SILENT: Final = {"-h", "--help", "--version", "-q", "--quiet"}


def _leave(signum: int, frame: object) -> None:
    """End there and then: while parts are loading there is nothing to save.

    Raising KeyboardInterrupt instead, in the middle of an import, leaves locks behind; some
    libraries print it or make an error of their own of it, and Python may die of SIGINT
    although it was caught.
    """
    try:
        os.write(2, b"error: interrupted before anything was done\n")
    finally:
        os._exit(130)


def _open_with_a_word() -> None:
    """Say on a terminal that something is going on: loading takes seconds.

    Whatever is said next takes the line's place: it is longer, and begins where this did.
    """
    if sys.stderr is None or not sys.stderr.isatty() or _SILENT & set(sys.argv[1:]):
        return
    os.write(2, b"loading...\r")


def main() -> NoReturn:
    """Run the command. Signals come first: even the command line takes a while to load."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)
    _open_with_a_word()
    from posemamba_live.garbage import put_off

    put_off()
    from posemamba_live.cli import main as command

    command()


if __name__ == "__main__":
    main()
