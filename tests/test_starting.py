"""What is on the screen while the program starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")


def on_a_terminal(*arguments: str) -> bytes:
    """What the program writes to the terminal that its stderr is, in the order of writing."""
    ours, theirs = pty.openpty()
    try:
        program = subprocess.Popen(
            [sys.executable, "-m", "posemamba_live", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=theirs,
        )
        os.close(theirs)
        told = b""
        try:
            while more := os.read(ours, 4096):
                told += more
        except OSError:  # the other end is closed
            pass
        program.wait(timeout=60)
        return told
    finally:
        os.close(ours)


def test_the_first_word_comes_at_once_and_the_next_message_takes_its_place(tmp_path: Path) -> None:
    told = on_a_terminal(str(tmp_path / "none.mp4"), "--headless")
    first, _, then = told.partition(b"\r")
    assert first == b"loading..."
    assert then.startswith(b"error: ")


@pytest.mark.parametrize("option", ["--version", "-q"])
def test_nothing_is_said_where_nothing_takes_long_or_nobody_wants_to_hear_it(
    tmp_path: Path, option: str
) -> None:
    told = on_a_terminal(option, str(tmp_path / "none.mp4"), "--headless")
    assert not told.startswith(b"loading")
