"""The packed memory of a run: nothing lost, nothing invented, bounded where asked."""

from __future__ import annotations

import itertools
import threading
import tracemalloc

import pytest

from posemamba_live.run.history import History
from tests.support.lifted_poses import NAMES, same
from tests.support.lifted_poses import lifted_pose as pose


def test_poses_come_back_as_they_were() -> None:
    history = History()
    given = [pose(i, extra=None if i % 7 == 3 else NAMES) for i in range(2_345)]
    for start in range(0, len(given), 100):
        history.extend(given[start : start + 100])
    returned = history.poses()
    assert len(history) == len(returned) == len(given)
    assert all(same(a, b) for a, b in zip(given, returned, strict=True))


@pytest.mark.parametrize("first", [None, ("nose_tip",)])
def test_extra_points_that_come_later_or_change_are_kept(first: tuple[str, ...] | None) -> None:
    history = History(2_000)
    given = [*(pose(i, extra=first) for i in range(5)), *(pose(i) for i in range(5, 12))]
    history.extend(given)
    assert all(same(a, b) for a, b in zip(given, history.poses(), strict=True))


def test_the_newest_are_remembered_in_memory_that_does_not_grow() -> None:
    history = History(3_000)
    history.extend([pose(0)])
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for i in range(1, 20_001):
            history.extend([pose(i)])
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    kept = [p.pose2d.frame_index for p in history.poses()]
    assert 3_000 <= len(kept) <= 4_000
    assert kept == list(range(20_001 - len(kept), 20_001))
    assert after - before < 100_000


def test_it_can_be_read_while_it_is_written() -> None:
    history, stop = History(2_000), threading.Event()
    some = [pose(i) for i in range(50)]

    def write() -> None:
        while not stop.is_set():
            history.extend(some)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(20):
            indices = [p.pose2d.frame_index for p in history.poses()]
            assert all((a + 1) % 50 == b for a, b in itertools.pairwise(indices))
    finally:
        stop.set()
        writer.join()
