"""The house rules: one format, no lint, sound types, and a README whose code works."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    "tool", [("ruff", "check"), ("ruff", "format", "--check"), ("mypy",)], ids=" ".join
)
def test_tools_are_content(tool: tuple[str, ...]) -> None:
    done = subprocess.run([sys.executable, "-m", *tool], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_programs_in_the_readme_run(tmp_path: Path) -> None:
    """One after the other, in a folder where the demo clips are."""
    pages = (ROOT / "README.md", ROOT / "docs" / "python.md")
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    blocks = list(dict.fromkeys(re.findall(r"```python\n(.*?)```", text, re.DOTALL)))
    assert len(blocks) == 3  # a take, of the README and of the page, and the network alone
    del blocks[0]
    shutil.copytree(ROOT / "demo_videos", tmp_path / "demo_videos")
    program = "".join(f"{block}assert joints.shape == (167, 17, 3)\n" for block in blocks)
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "walk.bvh").is_file()
