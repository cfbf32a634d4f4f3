"""The search for people: in the whole picture, and in parts of it while somebody is missing.

A person detector sees a few hundred pixels of the whole picture: somebody a third of its
height may be too small for it. In overlapping square parts of it, of its full height, then of
about half and of a third of that, they are not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np

from posemamba_live.detectors.base import Found, OneStage, PersonDetector, Region, TopDown
from posemamba_live.tracking.association import Seen, without_duplicates
from posemamba_live.tracking.moving import Moving, Stirring
from posemamba_live.tracking.plausibility import (
    PLAIN,
    agree,
    is_newcomer,
    is_person,
    twice,
    unmatched,
)
from posemamba_live.tracking.sight import Sight
from posemamba_live.types import Frame, Image


class _Level(NamedTuple):
    """Parts of one size."""

    side: float
    """Of the picture's shorter side."""
    overlap: float
    """Least overlap of two neighbours, of a part's side."""
    every_s: float
    """Seconds from one search of all of them to the next, in files, while nobody is there."""
    others_s: float
    """The same while others are followed."""


_LEVELS: Final = (
    _Level(1.0, 0.3, 0.5, 0.5),
    _Level(0.6, 0.33, 0.5, 1.0),
    _Level(0.43, 0.2, 1.0, 2.0),
)
"""Of a picture of 16:9 they have 3, 8 and 15 parts; BlazePose's detector finds who is a fifth
of a part's side high, so down to a twelfth of the picture's height."""
_AGAIN_S: Final = 0.25
"""Seconds between two searches after losses that follow each other."""
_LEAST_SIDE: Final = 128
"""Pixels: who is small in a part of this size has no limbs to be seen."""
_AROUND: Final = 2.5
"""Side of the part around somebody, in sizes of the person."""
_SMALLER: Final = 0.8
"""Side of a part, of the picture's longer one, that shows somebody who was found better."""
_BETTER: Final = 0.05
"""By how much surer the best eight joints are then, of who is seen clearly better."""
_BESIDE: Final = 1.25
"""Side of the part around what has changed, in sizes of that."""
_AT_SEAM: Final = 2.0
"""Pixels from the edge of a part at which a box ends that would go on beyond it."""
_PIECE: Final = 0.85
"""Fraction of such a box within somebody's from which it is a piece of them."""

_MOST_MOVING: Final = 3
"""Places where something moves that are looked at in one frame of a film."""
_CERTAIN: Final = 0.9
"""Presence of somebody whom the person detector did not find."""
_PERHAPS: Final = 0.3
"""Score of the best eight joints from which it is worth a second look at such a person."""
_WHOLE: Final = 0.45
"""Mean score of all joints of such a person, who is in view as a whole: 0.5 to 0.8 with blurred
people, 0.3 to 0.36 with round shapes, which are taken for a head and shoulders."""
_MOST_IN_PART: Final = 30
"""Boxes of one part that are compared with all others; a dozen is looked at in the end."""
_MOST_SEEN: Final = 100
"""People of a one-stage model who are compared with each other; at most eight are followed."""


class Part(NamedTuple):
    """A part of a picture."""

    x: int
    y: int
    """Pixels of the picture, where the part begins."""
    image: Image


class Search:
    """Finds people who are not followed yet.

    Args:
        live: a part or two at a time, so that no frame takes long; else all of one size at
            once, but seldom.
    """

    def __init__(self, *, live: bool) -> None:
        self._live = live
        self._searched_at = [-math.inf] * len(_LEVELS)
        self._next = 0
        self._moving = Moving()
        self._stirring = Stirring()
        self._stirred = False
        """Whether the last search began where something had changed."""
        self._sharp = False
        self.doubtful: list[Sight] = []
        """Of those found last, who was found without the person detector."""

    def restart(self, now: float | None = None) -> None:
        """Somebody may be anywhere: do not wait with the parts.

        Args:
            now: seconds; do wait if the last search has only just been.
        """
        if now is None:
            self._moving.restart()
            self._stirring.restart()
        if now is None or not 0.0 <= now - max(self._searched_at) < _AGAIN_S:
            self._searched_at = [-math.inf] * len(_LEVELS)
            self._next = 0

    def top_down(
        self,
        models: TopDown,
        image: Image,
        now: float,
        known: Sequence[Sight],
        *,
        slots: int,
        most: int,
        lost: Sequence[Region] = (),
        closely: bool = False,
        sharp: Image | None = None,
    ) -> list[Sight]:
        """Everybody in the picture who is not known: the whole of it first, then parts.

        Args:
            known: who was found without a search.
            slots: how many are wanted: with fewer, parts are searched, in time.
            most: how many strangers are looked at, for each size of parts.
            lost: where people were who have only just been lost.
            closely: somebody may be lost close to those known (see `unmatched`).
            sharp: the same picture with its blocks, where it has any. The person detector finds
                some people in this one and others in that, and sees them in turns.
        """
        self._sharp = sharp is not None and not self._sharp
        shown = sharp if sharp is not None and self._sharp else image
        regions = models.person.find(shown)
        strangers: list[Sight] = []
        there = [sight.found.next_region for sight in known]
        new = unmatched(regions, there, closely=closely)
        parts = self._parts(shown, now, len(known), lost, self._stirring(image, now, there))
        self.doubtful = []
        whole = True
        while True:
            if new:
                new = sorted(new, key=lambda region: region.score, reverse=True)[:most]
                sights = map(Sight.of, models.keypoints.locate(image, new))
                strangers += [sight for sight in sights if is_person(sight)]
            if len(known) + _believed(strangers) >= slots:
                if whole and len(known) < slots:
                    strangers += self._closer(models, shown, image, strangers[:slots])
                return strangers
            whole = False
            level = next(parts, None)
            if level is None:
                there = [sight.found.next_region for sight in (*known, *strangers)]
                self.doubtful = self._who_moves(models, image, now, there)
                return [*strangers, *self.doubtful]
            found = _in_parts(models.person, level, shown, regions)
            regions = [*regions, *found]
            there = [sight.found.next_region for sight in (*known, *strangers)]
            # Of all regions: who has one already does not take that of somebody beside them.
            new = [region for region in unmatched(regions, there) if region in found]

    def _closer(
        self, models: TopDown, shown: Image, image: Image, sights: Sequence[Sight]
    ) -> list[Sight]:
        """Newcomers once more, if they are seen clearly better from where the person detector has
        them in a part of the picture.

        What it says of the whole of it may be so far off, of somebody who is small in it or sits
        behind a table, that hips are found beside the body, and there again in the frames after.
        """
        new = [sight for sight in sights if is_newcomer(sight, alone=True)]
        parts = []
        for sight in new:
            region = sight.found.next_region
            side = max(_AROUND * max(region.width, region.height), _LEAST_SIDE)
            if min(side, *shown.shape[:2]) < _SMALLER * max(shown.shape[:2]):
                parts.append(_square(shown, region.centre, side))
        again = []
        for region in _in_parts(models.person, parts, shown, []):
            own = [sight.score for sight in new if agree(region, sight.found.next_region)]
            if own:
                again.append((region, max(own)))
        if not again:
            return []
        closer = map(Sight.of, models.keypoints.locate(image, [region for region, _ in again]))
        return [
            sight
            for sight, (_, before) in zip(closer, again, strict=True)
            if is_person(sight) and sight.score > before + _BETTER
        ]

    def _who_moves(
        self, models: TopDown, image: Image, now: float, known: Sequence[Region]
    ) -> list[Sight]:
        """Who is plainly seen where something moves, and seen again where they are then."""
        places = self._moving(image, now, known, 1 if self._live else _MOST_MOVING)
        for least in (_PERHAPS, PLAIN):
            sights = map(Sight.of, models.keypoints.locate(image, places) if places else [])
            sure = [s for s in sights if s.found.presence >= _CERTAIN and s.score >= least]
            places = [s.found.next_region for s in sure]
        whole = [s for s in sure if s.detection.scores.mean() >= _WHOLE]
        return without_duplicates([Seen(s) for s in whole])

    def one_stage(
        self,
        models: OneStage,
        frame: Frame,
        *,
        slots: int,
        followed: Sequence[Region] = (),
    ) -> list[Sight]:
        """Everybody in the picture; who is too small in the whole of it is seen in parts.

        Args:
            slots: how many are wanted.
            followed: where people were a moment ago.
        """
        seen = list(models.model.detect(frame))
        if models.in_parts:
            around = [
                _around(frame.image, region)
                for region in followed
                if not any(agree(region, one.next_region) for one in seen)
            ]
            seen += _seen_in(models, frame, [part for part in around if part is not None])
        sights = _people(seen)
        if not models.in_parts:
            return sights
        for level in self._parts(frame.image, frame.timestamp, len(sights)):
            if _believed(sights) >= slots:
                break
            sights = _people([*(s.found for s in sights), *_seen_in(models, frame, level)])
        return sights

    def _parts(
        self,
        image: Image,
        now: float,
        known: int,
        lost: Sequence[Region] = (),
        changed: Region | None = None,
    ) -> Iterator[list[Part]]:
        """Parts to search now, the most promising first.

        Args:
            changed: where somebody may be coming in.
        """
        around = [part for region in lost if (part := _around(image, region)) is not None]
        if around:
            yield around
        most = 0 if around else 1 if known else 2
        # Live, with others in view, in turns with all other parts.
        if changed is not None and not (self._live and (most == 0 or (known and self._stirred))):
            least = max(_LEVELS[-1].side * min(image.shape[:2]), _LEAST_SIDE)
            side = max(_BESIDE * max(changed.width, changed.height), least)
            yield [_square(image, changed.centre, side)]
            self._stirred, most = True, most - 1
        else:
            self._stirred = False
        if self._live:
            everywhere = [part for level in _LEVELS for part in _parts(image, level)]
            for _ in range(most):
                where = everywhere[self._next % len(everywhere)]
                self._next += 1
                yield [_part(image, *where)]
            return
        for i, level in enumerate(_LEVELS):
            wait = level.others_s if known else level.every_s
            # A hundredth: times of frames are no exact multiples of anything.
            if not 0.0 <= now - self._searched_at[i] < wait - 0.01:
                self._searched_at[i] = now
                yield [_part(image, *part) for part in _parts(image, level)]


def _parts(image: Image, level: _Level) -> list[tuple[int, int, int]]:
    """x, y and side of all parts of a size; none where another size has the same."""
    height, width = image.shape[:2]
    side = min(max(round(level.side * min(height, width)), _LEAST_SIDE), height, width)
    if side == max(height, width) or (level.side < 1.0 and side == min(height, width)):
        return []  # as another size's
    step = (1.0 - level.overlap) * side
    across, down = (1 + math.ceil((whole - side) / step) for whole in (width, height))
    return [
        (round(x), round(y), side)
        for y in np.linspace(0, height - side, down)
        for x in np.linspace(0, width - side, across)
    ]


def _part(image: Image, x: int, y: int, side: int) -> Part:
    return Part(x, y, np.ascontiguousarray(image[y : y + side, x : x + side]))


def _around(image: Image, region: Region) -> Part | None:
    """The part around somebody; None where it would be no smaller than the largest parts."""
    side = max(round(_AROUND * max(region.width, region.height)), _LEAST_SIDE)
    return None if side >= min(image.shape[:2]) else _square(image, region.centre, side)


def _square(image: Image, middle: tuple[float, float], side: float) -> Part:
    """The part of about a side around a place, as far as it has to be moved into the picture."""
    height, width = image.shape[:2]
    pixels = round(min(side, height, width))
    x, y = (
        int(np.clip(round(place - 0.5 * pixels), 0, whole - pixels))
        for place, whole in zip(middle, (width, height), strict=True)
    )
    return _part(image, x, y, pixels)


def _in_parts(
    person: PersonDetector, parts: Sequence[Part], image: Image, regions: Sequence[Region]
) -> list[Region]:
    """Who is found in parts, at their seams nobody twice, beside those found before."""
    found: list[Region] = []
    for part in parts:
        for region in person.find(part.image)[:_MOST_IN_PART]:
            moved = region.moved(part.x, part.y)
            piece = _ends_at_seam(region, part, image)
            if not any(
                twice(moved, other) or (piece and _holds(other, moved))
                for other in (*regions, *found)
            ):
                found.append(moved)
    return found


def _seen_in(models: OneStage, frame: Frame, parts: Sequence[Part]) -> list[Found]:
    """Who a one-stage model sees in parts, whole; a piece of somebody is left out."""
    return [
        one.moved(part.x, part.y)
        for part in parts
        for one in models.model.detect(replace(frame, image=part.image))
        if not _ends_at_seam(one.next_region, part, frame.image)
    ]


def _people(found: Sequence[Found]) -> list[Sight]:
    """The surest of them, nobody twice: each is compared with each."""
    sights = [sight for sight in map(Sight.of, found) if is_person(sight)]
    sights.sort(key=lambda sight: sight.score, reverse=True)
    return without_duplicates([Seen(sight) for sight in sights[:_MOST_SEEN]])


def _believed(sights: Sequence[Sight]) -> int:
    """How many of them count as people."""
    sure = [Seen(s) for s in sights if is_newcomer(s, alone=False)]
    return len(without_duplicates(sure))


def _ends_at_seam(region: Region, part: Part, image: Image) -> bool:
    """Whether a box found in a part ends just where the part does and the picture does not."""
    height, width = part.image.shape[:2]
    low = (region.centre[0] - 0.5 * region.width, region.centre[1] - 0.5 * region.height)
    high = (low[0] + region.width, low[1] + region.height)
    return region.rotation == 0.0 and (
        (part.x > 0 and abs(low[0]) < _AT_SEAM)
        or (part.y > 0 and abs(low[1]) < _AT_SEAM)
        or (part.x + width < image.shape[1] and abs(high[0] - width) < _AT_SEAM)
        or (part.y + height < image.shape[0] and abs(high[1] - height) < _AT_SEAM)
    )


def _holds(whole: Region, piece: Region) -> bool:
    """Whether nearly all of `piece` lies within `whole`, both upright."""
    across = 0.5 * (whole.width + piece.width) - abs(whole.centre[0] - piece.centre[0])
    down = 0.5 * (whole.height + piece.height) - abs(whole.centre[1] - piece.centre[1])
    shared = min(across, piece.width) * min(down, piece.height)
    return min(across, down) > 0.0 and shared > _PIECE * piece.width * piece.height
