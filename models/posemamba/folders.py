"""Where the files that came with this installation are."""

from __future__ import annotations

from pathlib import Path


def weights_folders() -> list[Path]:
    """Where named weights are looked for: beside the package, or in a checkout."""
    here = Path(__file__).resolve().parent
    return [here / "weights", here.parent.parent / "weights"]
