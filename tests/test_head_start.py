"""A film begins while the lifter is loading: nothing is lost, doubled or different for it."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from posemamba_live.detectors import DetectorSettings, create_detector
from posemamba_live.errors import LiveError, SourceError
from posemamba_live.options import Options
from posemamba_live.plan import RunPlan
from posemamba_live.run import head_start
from posemamba_live.run.head_start import Found, HeadStart, make_tracker, unseen
from posemamba_live.run.statistics import RunStats
from posemamba_live.sources import open_source
from posemamba_live.types import Frame
from posemamba_live.wiring import execute

PLAN = RunPlan("film", live=False, replayed=False, fps=30.0, image_size=(640, 360))
FRAMES = 12


class Film:
    """Frames, and perhaps an error after them."""

    def __init__(self, frames: Sequence[Frame], error: Exception | None = None) -> None:
        self._frames, self._error = frames, error

    def __iter__(self) -> Iterator[Frame]:
        yield from self._frames
        if self._error is not None:
            raise self._error


@pytest.fixture(scope="module")
def frames(walk_clip: Path) -> list[Frame]:
    with open_source(str(walk_clip), max_frames=FRAMES) as source:
        return list(source)


def started(film: Film, duration: float | None = None) -> HeadStart:
    detector = create_detector("blazepose", DetectorSettings(device="cpu"))
    return HeadStart(film, make_tracker(PLAN, detector), duration)  # type: ignore[arg-type]


def test_what_it_found_and_the_rest_are_the_film(frames: list[Frame]) -> None:
    start = started(Film(frames))
    time.sleep(0.1)  # some of them; however many it is, nothing may change
    start.stop()
    found, stats = list(start.found()), RunStats()
    rest = list(unseen(Film([]), start, None, stats))  # type: ignore[arg-type]
    assert [f.frame.index for f in found] + [f.index for f in rest] == list(range(FRAMES))
    assert stats.frames_in == len(found)
    rows = [*(row.poses for row in found), *(poses for _, poses in start.tracker.follow(rest))]
    alone = make_tracker(PLAN, create_detector("blazepose", DetectorSettings(device="cpu")))
    for row, (_, poses) in zip(rows, alone.follow(frames), strict=True):
        assert [p.person_id for p in row] == [p.person_id for p in poses] == [0]
        assert np.array_equal(row[0].keypoints, poses[0].keypoints)


def test_pictures_that_wait_are_bounded(
    frames: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head_start, "_MOST_BYTES", 3 * frames[0].image.nbytes)
    start = started(Film(frames))
    found = list(start.found())
    assert len(found) == 4
    assert [f.index for f in start.rest()] == list(range(4, FRAMES))
    start.stop()


def test_a_duration_ends_it(frames: list[Frame]) -> None:
    late = [replace(frame, timestamp=frame.timestamp + 7.0) for frame in frames]
    start = started(Film(late), duration=0.1)
    found = list(start.found())
    start.stop()
    rest = list(start.rest())
    assert len(found) + len(rest) == sum(f.timestamp < 7.1 for f in late) == 3


def test_what_fails_is_told_after_what_was_found(frames: list[Frame]) -> None:
    start = started(Film(frames[:3], SourceError("the film is damaged")))
    found: list[Found] = list(start.found())
    start.stop()
    rest = start.rest()
    for index in range(len(found), 3):
        assert next(rest).index == index
    with pytest.raises(SourceError, match="damaged"):
        next(rest)


def test_a_detector_that_fails_leaves_what_was_found(frames: list[Frame]) -> None:
    stats = RunStats()
    start = started(Film([*frames[:3], replace(frames[3], image=None)]))  # type: ignore[arg-type]
    assert len(list(start.found())) >= 2
    start.stop()
    with pytest.raises(Exception, match="NoneType"):
        unseen(Film([]), start, None, stats)  # type: ignore[arg-type]
    assert stats.frames_in >= 2, "so that they are written"


def test_the_interpreter_switches_as_before(frames: list[Frame]) -> None:
    before = sys.getswitchinterval()
    start = started(Film(frames))
    assert sys.getswitchinterval() < before
    start.stop()
    start.close()
    assert sys.getswitchinterval() == before


def test_a_lifter_that_does_not_load_ends_the_head_start(walk_clip: Path, tmp_path: Path) -> None:
    before = sys.getswitchinterval()
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"no weights")
    with pytest.raises(LiveError, match="damaged"):
        execute(Options(str(walk_clip), headless=True, weights=damaged))
    assert sys.getswitchinterval() == before
    assert not [thread for thread in threading.enumerate() if thread.name == "head start"]
