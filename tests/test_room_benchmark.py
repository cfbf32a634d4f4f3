"""Camera, floor and feet of the program, as `benchmarks/room.py` has them of known cameras."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared" / "dev_clips"
sys.path.insert(0, str(ROOT / "benchmarks"))
try:
    import room
finally:
    sys.path.pop(0)


@pytest.mark.parametrize(
    ("folder", "clip"), [(ROOT / "demo_videos", "walk_turn"), (SHARED, "high_corner")]
)
def test_people_stand_on_the_floor_of_a_camera_that_looks_where_it_does(
    folder: Path, clip: str, tmp_path: Path
) -> None:
    """Who walks past a level camera, and who walks up to one that looks down by 29 degrees."""
    if not (folder / f"{clip}.mp4").is_file():
        pytest.skip("needs the shared clips")
    found = tmp_path / "room.json"
    room.main([folder], tmp_path, only=[clip], json_file=found)
    for how, rows in json.loads(found.read_text(encoding="utf-8")).items():
        row = rows[clip]
        assert abs(row["pitch"]) < 4.0, how
        assert row["low5"] > -5.0, how
        assert row["low95"] < 15.0, how
        assert row["skate"] < 10.0, how
