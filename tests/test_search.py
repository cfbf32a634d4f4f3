"""The search in parts of the picture, and cuts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from posemamba_live.detectors.base import Region
from posemamba_live.tracking.cuts import CutDetector
from posemamba_live.tracking.search import Search
from posemamba_live.types import Frame, Image


@dataclass
class NearSighted:
    """Finds white dots in pictures of up to `width` pixels."""

    width: int
    sizes: list[tuple[int, ...]] = field(default_factory=list)

    def find(self, image: Image) -> list[Region]:
        self.sizes.append(image.shape[:2])
        if image.shape[1] > self.width:
            return []
        rows, columns = np.nonzero(image[..., 0])
        return [Region((x + 0.5, y + 0.5), 40.0, 40.0) for x, y in zip(columns, rows, strict=True)]

    def describe(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        pass


def room(*people: tuple[int, int]) -> Image:
    picture = np.zeros((200, 400, 3), np.uint8)
    for x, y in people:
        picture[y, x] = 255
    return picture


def test_somebody_small_is_found_in_a_part_and_at_a_seam_only_once() -> None:
    detector = NearSighted(width=300)
    found = Search(live=False)(detector, room((200, 100), (390, 10)), 0.0, missing=True)
    assert sorted(region.centre for region in found) == [(200.5, 100.5), (390.5, 10.5)]
    assert detector.sizes == [(200, 400)] + 4 * [(120, 240)]


def test_parts_are_searched_twice_a_second_and_only_while_somebody_is_missing() -> None:
    detector, search = NearSighted(width=300), Search(live=False)
    for i in range(30):
        search(detector, room(), i / 30.0, missing=True)
    assert len(detector.sizes) == 30 + 2 * 4
    search(detector, room(), 5.0, missing=False)
    assert len(detector.sizes) == 30 + 2 * 4 + 1
    search.restart()
    search(detector, room(), 1.0, missing=True)
    assert len(detector.sizes) == 30 + 2 * 4 + 1 + 5


def test_live_it_is_one_part_at_a_time() -> None:
    detector, search = NearSighted(width=300), Search(live=True)
    found = [search(detector, room((390, 190)), i / 30.0, missing=True) for i in range(4)]
    assert [len(regions) for regions in found] == [0, 0, 0, 1]


@pytest.mark.parametrize(("change", "cut"), [("noise", False), ("scene", True), ("size", True)])
def test_cuts_are_told_from_noise(change: str, cut: bool) -> None:
    rng = np.random.default_rng(5)
    first = np.kron(rng.integers(0, 255, (9, 16, 3)), np.ones((20, 20, 1))).astype(np.uint8)
    then = {"noise": first, "scene": first[::-1].copy(), "size": first[::2, ::2].copy()}[change]
    detector, told = CutDetector(), []
    for i in range(12):
        shown = first if i < 8 else then
        noisy = np.clip(shown + rng.normal(0, 6, shown.shape), 0, 255).astype(np.uint8)
        told.append(detector(Frame(i, i / 30.0, noisy, 0.0)))
    assert [i for i, one in enumerate(told) if one] == ([8] if cut else [])


def test_a_box_that_a_seam_cuts_is_a_piece_of_whom_the_whole_picture_shows() -> None:
    class Boxes:
        """A person detector for boxes: sees the part of one body that is in the picture."""

        def find(self, image: np.ndarray) -> list[Region]:
            rows, columns = np.nonzero(image[..., 0])
            if not len(rows):
                return []
            low = np.array([columns.min(), rows.min()], float)
            high = np.array([columns.max(), rows.max()], float) + 1.0
            middle, size = 0.5 * (low + high), high - low
            return [Region((middle[0], middle[1]), float(size[0]), float(size[1]), 0.0, 0.9)]

    image = np.zeros((360, 640, 3), np.uint8)
    image[60:310, 60:160] = 255  # higher than a part
    found = Search(live=False)(Boxes(), image, 0.0, missing=True)
    assert [(region.width, region.height) for region in found] == [(100.0, 250.0)]
