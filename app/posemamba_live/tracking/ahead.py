"""A look at the next frame of a film while this one is looked at: two frames on two cores.

One network on two threads is a third faster than on one, two networks on a thread each are
nearly twice as fast. Where people will be in the next frame is not known yet, but about: what
is seen there counts only if it was looked for where it would have been looked for anyway.
It makes no difference to results how many threads there really are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

from posemamba_live.detectors.base import Found, KeypointModel, Region
from posemamba_live.tracking.tracks import Track
from posemamba_live.types import Frame, Image

_OFF: Final = 0.08
"""Distance of two regions' middles, in sizes of the region, within which either will do."""
_LARGER: Final = 1.12
"""How many times larger one of them may be."""
_TURNED: Final = math.radians(12.0)


class _Glimpse(NamedTuple):
    region: Region
    """Where it was looked."""
    found: Found


class LookAhead:
    """What was seen in the next frame before its turn."""

    def __init__(self) -> None:
        self._seen: dict[Track, _Glimpse] = {}
        self._pool: ThreadPoolExecutor | None = None
        self.at_once = True
        """Else one frame after the other, in the caller's thread: the rest of the machine is busy.
        Results are the same."""

    def take(self) -> dict[Track, _Glimpse]:
        """What was seen in the frame whose turn it is now; it is given once."""
        seen, self._seen = self._seen, {}
        return seen

    def locate(
        self,
        keypoints: KeypointModel,
        image: Image,
        regions: Sequence[Region],
        after: Frame,
        expected: Mapping[Track, Region],
    ) -> list[Found]:
        """Look into each region of the picture, and at the same time into the next one.

        Args:
            image: (H, W, 3) BGR, as `regions`, the answer, what `KeypointModel.locate` has.
            after: the next frame.
            expected: where people will be in it.
        """
        there = list(expected.values())
        if self.at_once:
            self._pool = self._pool or ThreadPoolExecutor(1, "ahead")
            work = self._pool.submit(keypoints.locate, after.image, there)
            try:
                found = keypoints.locate(image, regions)
            finally:
                seen = work.result()
        else:
            found = keypoints.locate(image, regions)
            seen = keypoints.locate(after.image, there)
        self._seen = {
            track: _Glimpse(region, one)
            for (track, region), one in zip(expected.items(), seen, strict=True)
        }
        return found


def with_next(frames: Iterable[Frame]) -> Iterator[tuple[Frame, Frame | None]]:
    """Each frame with the one after it; the last one with none."""
    frame = None
    for after in frames:
        if frame is not None:
            yield frame, after
        frame = after
    if frame is not None:
        yield frame, None


def as_good(a: Region, b: Region) -> bool:
    """Whether it makes no difference in which of two regions somebody is looked for.

    People move further from one frame to the next at half the rate, and are seen as well.
    """
    one, other = max(a.width, a.height), max(b.width, b.height)
    turned = math.remainder(a.rotation - b.rotation, math.tau)
    return (
        math.dist(a.centre, b.centre) < _OFF * max(one, other)
        and max(one, other) < _LARGER * min(one, other)
        and abs(turned) < _TURNED
    )
