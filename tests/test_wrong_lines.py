"""Command lines as people get them wrong, and what each is told.

`wrong_lines.txt` is the table: a line that begins with $ is a command line, what follows until
the next is all that it gets on stderr, word for word.
"""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Final

import pytest

from posemamba_live import cli

pytestmark = pytest.mark.usefixtures("restored_logging")

TABLE: Final = Path(__file__).with_name("wrong_lines.txt")


def table() -> list[tuple[str, str]]:
    blocks = re.split(r"^\$ ?", TABLE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return [(line, told.strip()) for line, _, told in (block.partition("\n") for block in blocks)]


LINES: Final = table()


@pytest.fixture(scope="module")
def folder(walk_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What lies where the commands are typed."""
    folder = tmp_path_factory.mktemp("here")
    for name in ("walk.mp4", "my walk.mp4"):
        shutil.copy(walk_clip, folder / name)
    for name in ("folder", "empty"):
        (folder / name).mkdir()
    (folder / "notes.txt").write_text("hello\n" * 100)
    (folder / "poses.npz").write_text("somebody's")
    return folder


def test_the_table_is_long_enough() -> None:
    assert len({line for line, _ in LINES}) == len(LINES) >= 40


@pytest.mark.parametrize(("line", "told"), LINES, ids=[line for line, _ in LINES])
def test_a_wrong_line_gets_its_sentence(
    line: str,
    told: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    before = sorted(folder.rglob("*"))
    code = cli.run(shlex.split(line))
    out, err = capsys.readouterr()
    assert err.strip() == told
    assert re.fullmatch(r"error: .+\n  cause: .+\n  try:   .+", told), "what, why and what to try"
    assert code in (1, 2)
    assert out == ""
    assert sorted(folder.rglob("*")) == before
