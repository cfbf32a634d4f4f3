"""What is on the screen while the program starts."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from posemamba_live import cli, detectors, garbage
from posemamba_live.detectors.base import OneStage
from tests.support.films import encode, numbered
from tests.support.stand_ins import StandIn

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


def test_garbage_is_looked_for_rarely_while_the_program_loads_and_then_as_usual(
    tmp_path: Path,
) -> None:
    """Through what was loaded it is not looked for any more."""
    usual, was_frozen = gc.get_threshold(), gc.get_freeze_count()
    told = []

    class Loaded(OneStage):
        def describe(self) -> dict[str, Any]:
            told.append(gc.get_threshold()[0])
            return super().describe()

    encode(tmp_path / "film.mp4", [numbered(index) for index in range(5)])
    garbage.put_off()
    try:
        with pytest.MonkeyPatch.context() as patch:
            models = Loaded("stand-in", StandIn())
            patch.setattr(detectors, "create_detector", lambda *args, **options: models)
            words = ["--headless", "-q", "--export", str(tmp_path / "out.npz")]
            assert cli.run([str(tmp_path / "film.mp4"), *words]) == 0
        assert told[0] > 100 * usual[0]
        assert gc.get_threshold() == usual
        assert gc.get_freeze_count() > was_frozen + 10_000
    finally:
        garbage.loaded()
        gc.unfreeze()
