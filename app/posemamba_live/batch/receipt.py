"""Receipts: what makes a result count, so that a batch that is started again does what is missing.

Beside the results, in a folder of its own, each video has a receipt: of which input, by which
version and options, which files. It is written last; one that says "begun" comes before the first
file, so that files which nobody has a receipt for are known to be somebody else's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from posemamba_live.batch.storage import OWN, Facts

_SCHEMA: Final = 1


@dataclass(frozen=True, slots=True)
class Figures:
    """What a result holds."""

    frames: int = 0
    people: int = 0
    poses: int = 0
    fps: float = 0.0
    """Of the video."""
    seen: float = 0.0
    """Share of its frames in which there is somebody."""
    seconds: float = 0.0
    """That it took."""
    host: str = ""
    worker: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """Of one video's results."""

    settings: Mapping[str, Any]
    """Version and options, as JSON values: see `plan.settings_of`."""
    input: Facts
    sha256: str
    """Of the input's content."""
    files: Mapping[str, int]
    """Bytes of each file, by its name in the folder of results."""
    figures: Figures = field(default_factory=Figures)
    complete: bool = True
    """Not so while the files are being written."""

    def to_json(self) -> bytes:
        words = {"schema": _SCHEMA, **asdict(self)}
        return json.dumps(words, ensure_ascii=False, indent=1).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Receipt | None:
        """None where it is damaged, or of another kind."""
        try:
            words = json.loads(data)
            if words["schema"] != _SCHEMA:
                return None
            return cls(
                settings=dict(words["settings"]),
                input=Facts(**words["input"]),
                sha256=str(words["sha256"]),
                files={str(name): int(size) for name, size in words["files"].items()},
                figures=Figures(**words["figures"]),
                complete=bool(words["complete"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return None


def receipt_name(name: str) -> str:
    """Where the receipt of the results called `name` is, in their folder."""
    return f"{OWN}/{name}.json"


def difference(
    receipt: Receipt | None,
    settings: Mapping[str, Any],
    now: Facts | None,
    sizes: Mapping[str, int],
) -> str:
    """Why a result does not count; empty if it does.

    Args:
        receipt: of the result, None if there is none.
        settings: as they are wanted now.
        now: the input as it is now.
        sizes: of all files in the folder of results.
    """
    if receipt is None:
        return "not done yet"
    if not receipt.complete:
        return "begun, but not finished"
    for key in sorted({*settings, *receipt.settings}):
        if settings.get(key) != receipt.settings.get(key):
            return f"made with other {key}"
    if any(sizes.get(name) != size for name, size in receipt.files.items()):
        return "files are missing or cut off"
    if now is not None and now.size != receipt.input.size:
        return "the video has changed"
    if now is not None and now.mark != receipt.input.mark:
        return PERHAPS
    return ""


PERHAPS: Final = "the video may have changed"
"""Only its content can tell: whoever has read it knows."""
