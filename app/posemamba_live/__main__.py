"""`python -m posemamba_live`, and the program `posemamba-live`."""

from __future__ import annotations

import os
import signal
from typing import NoReturn


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


def main() -> NoReturn:
    """Run the command. Signals come first: even the command line takes a while to load."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)
    from posemamba_live.cli import main as command

    command()


if __name__ == "__main__":
    main()
