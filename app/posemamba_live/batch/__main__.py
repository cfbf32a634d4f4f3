"""`python -m posemamba_live.batch`, and the program `posemamba-batch`."""

from __future__ import annotations

from typing import NoReturn

from posemamba_live.batch.command import main as command


def main() -> NoReturn:
    """Run the command."""
    command()


if __name__ == "__main__":
    main()
