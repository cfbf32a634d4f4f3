"""The command that makes the measured tables of the accuracy page."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from posemamba_live.sources import open_source

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import accuracy  # noqa: E402

PAGE = """# Page

<!-- measured: films -->
old
text
<!-- end -->
between
<!-- measured: room -->
stays
<!-- end -->
"""


def test_one_table_is_replaced_and_all_else_stays() -> None:
    text = "\n".join(accuracy.table(("a", "b"), [("1", r"\g<0>")]))
    assert accuracy.replaced(PAGE, "films", text) == PAGE.replace("old\ntext", text)


@pytest.mark.parametrize("name", ["live", "film"])
def test_a_table_that_the_page_has_not_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match="0 tables"):
        accuracy.replaced(PAGE, name, "new")


def test_the_page_has_every_table_that_the_command_makes() -> None:
    page = (ROOT / "docs" / "accuracy.md").read_text(encoding="utf-8")
    assert set(re.findall(r"<!-- measured: (\w+) -->", page)) == set(accuracy.TABLES)
    for name in accuracy.TABLES:
        part = re.search(rf"<!-- measured: {name} -->\n(.*?)<!-- end -->", page, re.DOTALL)
        assert part is not None
        lines = [line for line in part.group(1).splitlines() if line.startswith("|")]
        assert len(lines) > 2
        assert len({line.count("|") for line in lines}) == 1
        assert re.search(r"\d\.\d", lines[2])


def test_a_copy_has_every_third_frame(tmp_path: Path) -> None:
    film = ROOT / "demo_videos" / "walk_turn.mp4"
    copy = tmp_path / "copy.mp4"
    accuracy.encode(film, copy, 30, 3)
    with open_source(str(film)) as whole, open_source(str(copy)) as part:
        frames = [frame.image for frame in whole]
        kept = [frame.image for frame in part]
        assert part.fps == pytest.approx(whole.fps / 3.0)
    assert len(kept) == -(-len(frames) // 3)
    for own, other in zip(kept, frames[::3], strict=True):
        assert abs(own.astype(int) - other.astype(int)).mean() < 3.0
