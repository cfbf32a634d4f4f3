"""The field of view that a film's own tags tell reaches the plan."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from posemamba_live.options import Options
from posemamba_live.plan import plan_run
from posemamba_live.sources import open_source
from posemamba_live.sources.lens import FOCAL_LENGTH, told_fov
from posemamba_live.sources.live import LiveSource


def film(path: Path, focal_mm: str | None) -> Path:
    """Three pictures, upright, with the tag that a phone writes."""
    with av.open(path, "w", format="mov", options={"movflags": "use_metadata_tags"}) as container:
        if focal_mm is not None:
            container.metadata[FOCAL_LENGTH] = focal_mm
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 64, "yuv420p"
        for _ in range(3):
            picture = av.VideoFrame.from_ndarray(np.zeros((64, 48, 3), np.uint8), "rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("focal_mm", "fov_deg"),
    [("26", 69.4), ("18.0", 90.0), (None, 60.0), ("0", 60.0), ("wide", 60.0), ("nan", 60.0)],
)
def test_a_phones_film_tells_its_field_of_view(
    tmp_path: Path, focal_mm: str | None, fov_deg: float
) -> None:
    """36 mm across the longer side; what nobody can believe is as if it were not there."""
    path = film(tmp_path / "phone.mov", focal_mm)
    with open_source(str(path)) as source:
        plan = plan_run(Options(source=str(path)), source)
        told = plan_run(Options(source=str(path), fov=40.0), source)
    assert plan.fov_deg == pytest.approx(fov_deg, abs=0.05)
    assert told.fov_deg == 40.0


def test_a_film_that_is_played_as_a_camera_tells_it_too(tmp_path: Path) -> None:
    path = film(tmp_path / "phone.mov", "26")
    with LiveSource(lambda: open_source(str(path))) as source:
        plan = plan_run(Options(source=str(path), realtime=True), source)
    assert plan.fov_deg == pytest.approx(69.4, abs=0.05)


def test_a_track_tells_it_before_the_film() -> None:
    assert told_fov({FOCAL_LENGTH: "36"}, {FOCAL_LENGTH: "18"}) == pytest.approx(53.13, abs=0.01)
    assert told_fov({}, {FOCAL_LENGTH: "18"}) == pytest.approx(90.0)
    assert told_fov({}, {}) is None
