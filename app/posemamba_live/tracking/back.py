"""A look back at the frames before somebody was found: they were there already.

A person detector finds who comes in through the picture's edge when half of them is there, who is
small or blurred when they have moved. The keypoint model sees them sooner, once it is shown the
place: it goes back from frame to frame as it goes on otherwise. Films have the time for it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from posemamba_live.detectors.base import KeypointModel
from posemamba_live.tracking.association import same_person
from posemamba_live.tracking.plausibility import is_newcomer
from posemamba_live.tracking.sides import LOOK_AHEAD_S
from posemamba_live.tracking.sight import Sight, torsos_apart
from posemamba_live.tracking.tracks import Track
from posemamba_live.types import Detection, Frame

_MOST_BYTES: Final = 128 * 2**20
"""Of pictures that are kept."""
_CLEAR: Final = 0.3
"""Distance of torsos, in sizes of the larger person, from which pieces of one are not the other."""


@dataclass(slots=True)
class _Past:
    frame: Frame
    """As the models see it."""
    cut: bool
    """It does not go on from the one before."""
    seen: dict[Track, Sight]
    shown: int
    """How many of them were handed out."""


class LookBack:
    """The frames of the last half second, and who was seen in them."""

    def __init__(self) -> None:
        self._frames: deque[_Past] = deque()

    def forget(self) -> None:
        """What comes now does not follow what was before."""
        self._frames.clear()

    def keep(self, frame: Frame, tracks: Sequence[Track], *, shown: int, cut: bool) -> None:
        """Keep a frame that has been looked at.

        Args:
            frame: as the models see it.
            tracks: everybody who is followed.
            shown: how many of those seen in it were handed out.
            cut: it does not go on from the one before.
        """
        now = frame.timestamp
        seen = {track: track.sight for track in tracks if track.seen_at == now}
        self._frames.append(_Past(frame, cut, seen, shown))
        most = max(1, _MOST_BYTES // max(frame.image.nbytes, 1))
        while len(self._frames) > most or now - self._frames[0].frame.timestamp > LOOK_AHEAD_S:
            self._frames.popleft()

    def before(
        self, keypoints: KeypointModel, track: Track, *, people: int
    ) -> list[tuple[Frame, Detection]]:
        """What is seen of somebody before the last frame kept, the latest first.

        Args:
            track: who is seen in that frame.
            people: how many are handed out at most.
        """
        found: list[tuple[Frame, Detection]] = []
        frames = list(self._frames)
        # Time runs backwards.
        back = Track.begin(track.sight, -frames[-1].frame.timestamp)
        back.hands(track.sight.detection, frames[-1].frame.size)
        for after, past in zip(frames[:0:-1], frames[-2::-1], strict=True):
            if after.cut or past.frame.timestamp <= track.shown_at or past.shown >= people:
                break
            others = [sight for one, sight in past.seen.items() if one is not track]
            (seen,) = keypoints.locate(past.frame.image, [back.region])
            sight, then = Sight.of(seen), -past.frame.timestamp
            if not is_newcomer(sight, alone=not others) or any(
                torsos_apart(sight, other) < _CLEAR or same_person(sight, other) for other in others
            ):
                break
            if not math.isfinite(back.misfit(sight, then)):
                break
            back.see(sight, then)
            past.seen[track] = sight
            past.shown += 1
            found.append((past.frame, back.hands(sight.detection, past.frame.size)))
        return found
