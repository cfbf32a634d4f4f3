"""The library stands alone: it imports nothing of the application, and nothing heavy too early."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODELS = ROOT / "models"
DISTRIBUTIONS = {
    "PIL": "pillow",
    "cv2": "opencv-python",
    "pythonosc": "python-osc",
    "rerun": "rerun-sdk",
    "open3d": "open3d-cpu",
}
"""Of modules that are not called like what brings them."""


def imported(path: Path) -> Iterator[str]:
    """Names of all modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def arrows_to_the_application(folder: Path) -> list[str]:
    """Files of a folder that import the application."""
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*.py"))
        if any(name.split(".")[0] == "posemamba_live" for name in imported(path))
    ]


def test_the_library_imports_nothing_of_the_application(tmp_path: Path) -> None:
    assert arrows_to_the_application(MODELS) == []
    (tmp_path / "wrong.py").write_text(
        "def late():\n    from posemamba_live.types import Frame\n    return Frame\n"
    )
    (tmp_path / "right.py").write_text("import posemamba_liver, posemamba\n")
    assert arrows_to_the_application(tmp_path) == ["wrong.py"]


def test_scan_backends_do_not_import_who_chooses_them() -> None:
    for path in (MODELS / "posemamba" / "scan").glob("*.py"):
        if path.name != "__init__.py":
            assert "posemamba.scan.backends" not in set(imported(path)), path


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import posemamba", ("torch", "numpy", "numba")),
        ("import posemamba_live", ("torch", "numpy", "cv2", "mediapipe", "open3d")),
        (
            "import posemamba; posemamba.Lifter('window-m7')",
            ("cv2", "mediapipe", "open3d", "onnxruntime", "posemamba_live", "matplotlib"),
        ),
    ],
)
def test_nothing_is_imported_before_its_time(statement: str, absent: tuple[str, ...]) -> None:
    program = f"import sys; {statement}; print(*(m for m in {absent} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_everything_imported_is_declared() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    declared = set(re.findall(r'"([a-z0-9-]+)(?:\[[^]]+\])?[<>=]', text))
    own = {"posemamba", "posemamba_live", *sys.stdlib_module_names}
    for path in [*MODELS.rglob("*.py"), *(ROOT / "app").rglob("*.py")]:
        for name in {name.split(".")[0] for name in imported(path)} - own:
            assert DISTRIBUTIONS.get(name, name.replace("_", "-")) in declared, f"{path}: {name}"
