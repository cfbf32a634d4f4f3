"""The order of rooms: imports go downwards only, and the library knows nothing of the application.

Every import statement counts, wherever it stands: those inside functions and those for type
checkers too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent
APP: Final = "posemamba_live"
LIBRARY: Final = "posemamba"

ROOMS: Final = (
    # lowest first; rooms of one line know nothing of each other, unless it is files of the root
    ("types", "errors", "terminal", "shown", "nearest", "memory", "garbage"),
    ("keypoints", "address", "files"),
    ("options",),
    ("plan", "command_line"),
    ("sources",),
    ("detectors",),
    ("tracking",),
    ("lifting",),
    ("scene",),
    ("drawing",),
    ("takes",),
    ("sinks",),
    ("streams",),
    ("viewer",),
    ("run",),
    ("parts",),
    ("mistakes",),
    ("wiring", "cli", "__main__", "doctor", "evaluation", "export", "plot", "api"),
    ("batch",),
)
LEVEL: Final = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}
ROOT_FILES: Final = frozenset(
    {
        *ROOMS[0],
        *ROOMS[1],
        "parts",
        "wiring",
        "cli",
        "__main__",
        "doctor",
        "export",
        "plot",
        "evaluation",
        "api",
    }
)
"""May import others of their own line: single files, and what is at the top."""
ALWAYS: Final = frozenset({"__version__", "STARTED_AT"})
"""What anybody may take from the package itself."""

KNOWN: Final[frozenset[tuple[str, str]]] = frozenset()
"""Arrows that go up; each goes with the change that removes it, none may be added."""


def imported(tree: ast.AST, module: str, *, package: bool) -> Iterator[str]:
    """Full names of the modules that a module imports, of ours only.

    `from package import name` counts as `package.name`, which may be a module.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                parts = parts[: len(parts) - node.level + package]
                base = ".".join([*parts, *([base] if base else [])])
            if base in (APP, LIBRARY):
                names = [f"{base}.{alias.name}" for alias in node.names]
            else:
                names = [base]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] in (APP, LIBRARY))


def modules(root: Path) -> Iterator[tuple[str, Path]]:
    """Names and files of all modules of both packages."""
    for source, package in ((root / "app", APP), (root / "models", LIBRARY)):
        for path in sorted((source / package).rglob("*.py")):
            parts = path.relative_to(source).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def wrong_arrows(root: Path) -> set[tuple[str, str]]:
    """Pairs (module, imported) that go upwards, or from the library to the application."""
    wrong = set()
    for module, path in modules(root):
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        for target in imported(tree, module, package=path.name == "__init__.py"):
            if not allowed(module, target):
                wrong.add((module, target))
    return wrong


def allowed(module: str, target: str) -> bool:
    """Whether one module may import another."""
    package, *inside = module.split(".")
    wanted, *below = target.split(".")
    if package == LIBRARY:
        return wanted == LIBRARY
    if wanted == LIBRARY or not inside or (below and below[0] in ALWAYS):
        return True  # the package itself is the public API and knows all
    if not below:
        return False
    own, other = inside[0], below[0]
    if own == other:
        return True
    if LEVEL[other] == LEVEL[own]:
        return own in ROOT_FILES
    return LEVEL[other] < LEVEL[own]


def test_every_file_has_a_room() -> None:
    rooms = {name.split(".")[1] for name, _ in modules(ROOT) if name.startswith(f"{APP}.")}
    assert rooms <= set(LEVEL), "a new room needs its place in the order"


def test_rooms_import_downwards_only() -> None:
    assert wrong_arrows(ROOT) - KNOWN == set()


def test_known_offenders_are_still_there() -> None:
    """The list shrinks with them."""
    assert KNOWN - wrong_arrows(ROOT) == set()


@pytest.mark.parametrize(
    ("where", "statement", "target"),
    [
        ("app/posemamba_live/sources/new.py", "from posemamba_live.run.channel import Channel",
         "posemamba_live.run.channel"),
        ("app/posemamba_live/lifting/new.py", "import posemamba_live.wiring",
         "posemamba_live.wiring"),
        ("app/posemamba_live/scene/new.py", "from posemamba_live import takes",
         "posemamba_live.takes"),
        ("app/posemamba_live/scene/new.py", "from ..viewer import hud",
         "posemamba_live.viewer"),
        ("app/posemamba_live/tracking/__init__.py", "from ..run.channel import Channel",
         "posemamba_live.run.channel"),
        ("app/posemamba_live/types.py", "def late():\n    from posemamba_live import cli",
         "posemamba_live.cli"),
        ("app/posemamba_live/drawing/new.py",
         "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n"
         "    from posemamba_live.sinks import Sink", "posemamba_live.sinks"),
        ("app/posemamba_live/sinks/new.py", "import posemamba_live", "posemamba_live"),
        ("models/posemamba/new.py", "from posemamba_live.types import Frame",
         "posemamba_live.types"),
    ],
)  # fmt: skip
def test_a_wrong_arrow_is_found(where: str, statement: str, target: str, tmp_path: Path) -> None:
    path = tmp_path / where
    path.parent.mkdir(parents=True)
    path.write_text(statement + "\n")
    ((module, found),) = wrong_arrows(tmp_path)
    assert where.endswith((module.split(".")[-1] + ".py", "__init__.py"))
    assert found == target


@pytest.mark.parametrize(
    ("where", "statement"),
    [
        ("app/posemamba_live/run/new.py", "from posemamba_live.viewer.hud import HudInfo"),
        ("app/posemamba_live/sources/new.py", "from posemamba_live import __version__"),
        ("app/posemamba_live/sources/new.py", "from . import base\nfrom .base import Source"),
        ("app/posemamba_live/types.py", "import posemamba.skeleton\nimport numpy"),
        ("app/posemamba_live/__init__.py", "from posemamba_live.run.pipeline import Run"),
        ("models/posemamba/training/new.py", "from posemamba.model import PoseMamba"),
    ],
)
def test_what_goes_downwards_may(where: str, statement: str, tmp_path: Path) -> None:
    path = tmp_path / where
    path.parent.mkdir(parents=True)
    path.write_text(statement + "\n")
    assert wrong_arrows(tmp_path) == set()
