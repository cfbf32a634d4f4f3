"""A shared library that the system lacks: named in one line by every program, with its package."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from posemamba_live.errors import missing_library
from tests.support.fuzz import small_take

CLIP = Path(__file__).resolve().parent.parent / "demo_videos" / "walk_turn.mp4"
HIDDEN = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            raise {error}({library!r} + ": cannot open shared object file: No such file")
sys.meta_path.insert(0, Hidden())
"""
"""What the loader of libraries says is raised where the module is imported."""


@pytest.mark.parametrize(
    ("library", "package"),
    [
        ("libGL.so.1", "libgl1"),
        ("libgthread-2.0.so.0", "libglib2.0-0"),
        ("libusb-1.0.so.0", "libusb-1.0-0"),
        ("libEGL.so.1", "libegl1"),
    ],
)
def test_its_package_is_named(library: str, package: str) -> None:
    error = ImportError(f"{library}: cannot open shared object file: No such file or directory")
    told = missing_library(error)
    assert told is not None
    assert library in told.what
    assert told.hint == f"on Debian or Ubuntu: apt install {package}"


def test_one_that_nobody_has_heard_of_is_searched_for() -> None:
    told = missing_library(OSError("libodd-2.so.7: cannot open shared object file: No such file"))
    assert told is not None
    assert told.hint.endswith("apt-file search libodd-2.so.7")


def test_other_errors_are_other_errors() -> None:
    assert missing_library(ImportError("cannot import name 'x' from 'y'")) is None
    assert missing_library(ValueError("libGL.so.1: cannot open shared object file")) is None


@pytest.mark.parametrize(
    ("module", "error", "library", "package", "program"),
    [
        ("cv2", "ImportError", "libGL.so.1", "libgl1",
 ["posemamba_live.__main__", str(CLIP), "--headless", "--export", "x.npz"]),
        ("cv2", "ImportError", "libgthread-2.0.so.0", "libglib2.0-0",
         ["posemamba_live.evaluation", str(CLIP)]),
        ("cv2", "ImportError", "libGL.so.1", "libgl1",
         ["posemamba_live.export", "poses.npz", "out.mp4", "--video", str(CLIP)]),
        ("torch", "OSError", "libgomp.so.1", "libgomp1", ["posemamba_live.doctor"]),
    ],
    ids=["live", "eval", "export", "doctor"],
)  # fmt: skip
def test_every_program_says_it(
    module: str, error: str, library: str, package: str, program: list[str], tmp_path: Path
) -> None:
    hidden = HIDDEN.format(module=module, error=error, library=library)
    (tmp_path / "sitecustomize.py").write_text(hidden)
    small_take(tmp_path / "poses.npz")
    places = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", f"import sys, sitecustomize\nfrom {program[0]} import main\nmain()",
         *program[1:]],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": places},
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    told = done.stdout + done.stderr
    assert library in told
    assert f"apt install {package}" in told
    assert "Traceback" not in told
    assert "inside posemamba" not in told
