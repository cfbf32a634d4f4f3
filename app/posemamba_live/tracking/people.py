"""The people tracker: it decides where to look, asks the models, and says who is who.

    frame -> look where people were (one batch) -> anything odd, missing or due?
          -> look for people in the whole picture -> look at those who are new
          -> who continues whom -> slots, identities

One-stage models look everywhere anyway: with them the first steps are one.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np

from posemamba_live.detectors.base import Models, Region, TopDown
from posemamba_live.detectors.blocks import Blocks
from posemamba_live.detectors.levels import Levels
from posemamba_live.tracking import association
from posemamba_live.tracking.ahead import LookAhead, as_good, with_next
from posemamba_live.tracking.apart import Where, told_apart
from posemamba_live.tracking.association import Seen, assign, inside, without_duplicates
from posemamba_live.tracking.back import LookBack
from posemamba_live.tracking.clothes import OTHER, OWN, colours
from posemamba_live.tracking.cuts import CutDetector, changed
from posemamba_live.tracking.kalman import Array
from posemamba_live.tracking.plausibility import NEW, PLAIN, agree, is_newcomer, is_still_there
from posemamba_live.tracking.search import Search
from posemamba_live.tracking.sides import LOOK_AHEAD_S
from posemamba_live.tracking.sight import Sight, torsos_apart
from posemamba_live.tracking.tracks import Slots, Subject, Track
from posemamba_live.types import Detection, FloatArray, Frame, Image, Pose2D

__all__ = ["PeopleTracker", "Subject"]

_IDLE_LOOK_S: Final = 0.5
"""Seconds between two looks for people while all slots are taken."""
_ALONE_LOOK_S: Final = 2.0
"""The same while nobody else is about, whoever is followed is plainly seen, and nothing has
changed in the picture but where they are."""
_ALONE_AFTER_S: Final = 2.0
"""Seconds without others after which nobody is about."""
_MARGIN: Final = 1.25
"""Of where somebody is, relative to the circle around them."""
_BUSY_LOOK_S: Final = 0.1
"""The same while somebody is missing."""
_BYSTANDERS: Final = 4
"""People followed beside the chosen ones."""
_CLOSE: Final = 0.5
"""Distance of two people, in sizes of the larger, within which they can be mistaken."""
_CLEAR: Final = 0.12
"""Distance of torsos, in person sizes, from which two who overlapped can be told apart."""
_OVERLAP: Final = 0.4
"""Share of a newcomer's box inside another person's from which it may be a false alarm."""
_LOST_LOOK_S: Final = 0.25
"""Seconds for which it is still looked where somebody was."""
_HIDDEN_LOOK_S: Final = 1.5
"""The same where somebody else is in front."""
_NO_JUMP: Final = 1.2
"""Squared Mahalanobis distance within which somebody close to others is certainly the same:
0.2 is usual, 1.4 and more where a model begins to take one for the other."""
_CLOTHES_WEIGHT: Final = 4.0
"""Of the difference of clothes beside the squared distance of position and size."""
_MOST_DIFFERENT: Final = 4.0
"""Difference of clothes that counts at most: the light may have changed."""
_MORE_LIKE: Final = 1.5
"""How much more what somebody wears has to differ from what all others close to them wear than from
what they wear themselves: of who hugs another half may be hidden."""
_BESIDE: Final = 0.3
"""Distance of torsos, in sizes of the larger, within which one may hide parts of the other."""
_LEARN_S: Final = 0.1
"""Seconds between two looks at what somebody wears."""
_USUAL_STEP_S: Final = 1.0 / 30.0


class _Shown(NamedTuple):
    """A frame as the models see it."""

    frame: Frame
    seen: Frame
    """Without blocks, and with its levels stretched; the same one if it is good."""
    sharp: Image
    """The same with its blocks: the person detector finds small people better in it."""
    cut: bool
    """It does not go on from the one before."""
    small: FloatArray | None
    """Its thumbnail."""


class PeopleTracker:
    """Follows everybody and hands out up to `people` of them; call it with frame after frame.

    A slot is free again when its person has not been seen for a while, which is longer
    for who was followed longer; who comes later is a new person.

    Args:
        models: what looks at pictures; the caller closes them.
        people: how many slots there are.
        subject: who gets a free slot.
        live: whether rows have to be there at once.
    """

    def __init__(
        self,
        models: Models,
        people: int = 1,
        subject: Subject = Subject.FIRST,
        *,
        live: bool = False,
    ) -> None:
        if people < 1:
            raise ValueError(f"people must be at least 1, not {people}")
        self._models = models
        self._slots = Slots(people, subject)
        self._tracks: list[Track] = []
        self._cuts = CutDetector()
        self._blocks = Blocks()
        self._levels = Levels()
        self._search = Search(live=live)
        self.ahead = LookAhead()
        self._back = None if live else LookBack()
        self.earlier: list[Pose2D] = []
        """Of frames before the last one, by frame: of people who have now been found, and in
        films turn out to have been there before."""
        self._next: _Shown | None = None
        """The frame after the last one, where somebody looked at it already."""
        self._step = _USUAL_STEP_S
        """Seconds from one frame to the next, of late."""
        self._last_time: float | None = None
        self._looked_at = -np.inf
        self._looked: FloatArray | None = None
        """The thumbnail of that frame."""
        self._others_at = -np.inf
        """When somebody was last seen who is not wanted."""
        self._frames_since_look = 0
        self._now = -np.inf
        """Seconds, source time, of the frame that is looked at."""
        self._colours: dict[int, tuple[Sight, Array]] = {}
        """What each sight of it wears, by the sight's address."""

    @property
    def in_view(self) -> int:
        """How many people were seen in the last frame that was looked at, followed or not."""
        return sum(track.seen_at == self._last_time for track in self._tracks)

    def choose(self, x: float, y: float) -> None:
        """Make the person at a point of the picture the subject. Any thread may call it.

        Whoever is there within a second takes the first slot; with all slots taken the
        last one is given up.

        Args:
            x, y: fractions of the picture's width and height, 0 to 1.
        """
        self._slots.choose(x, y)

    def choose_next(self) -> None:
        """Make the next person to the right of the subject the subject, as `choose` does."""
        self._slots.choose_next()

    def follow(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, list[Pose2D]]]:
        """Look at all frames of a film, two at a time: each frame with its poses.

        A frame comes half a second late: whoever is found then was perhaps there already.

        Raises:
            DetectorError: a model cannot go on.
        """
        waiting: deque[tuple[Frame, list[Pose2D]]] = deque()
        for frame, after in with_next(frames):
            waiting.append((frame, self(frame, after)))
            for earlier, poses in waiting if self.earlier else ():
                poses += [pose for pose in self.earlier if pose.frame_index == earlier.index]
                poses.sort(key=lambda pose: pose.person_id)
            while abs(frame.timestamp - waiting[0][0].timestamp) > LOOK_AHEAD_S:
                yield waiting.popleft()
        yield from waiting

    def __call__(self, frame: Frame, after: Frame | None = None) -> list[Pose2D]:
        """Look at the next frame; at most `people` poses, by identity.

        Args:
            frame: whose turn it is.
            after: the one that the next call will be about, where it is there already: both
                are looked at together, which takes hardly longer where there are two cores.

        Raises:
            DetectorError: a model cannot go on.
        """
        now = frame.timestamp
        self._measure_step(now)
        self._now = now
        self._tracks = [t for t in self._tracks if t.remembered(now, self._step)]
        shown = self._show(frame)
        seen, cut = shown.seen, shown.cut
        self._image: Image = seen.image
        self._colours = {}
        if isinstance(self._models, TopDown):
            self._next = self._show(after) if after is not None else None
            sights = self._look(self._models, shown)
        else:
            followed = [t.region for t in self._slots.taken if self._was_present(t)]
            if cut:
                self._search.restart()
            slots = self._slots.people
            sights = self._search.one_stage(self._models, seen, slots=slots, followed=followed)
        self._identify(sights, frame, cut=cut)
        self._slots.fill(self._tracks, frame, self._step)
        if any(t.seen_at == now and t not in self._slots.taken for t in self._tracks):
            self._others_at = now
        self._learn(now)
        shown_now = [t for t in self._slots.taken if t.person_id is not None and t.seen_at == now]
        self._look_back(shown, shown_now)
        for track in shown_now:
            track.shown_at = now
        self._last_time = now
        return [
            _pose(track.hands(track.sight.detection, frame.size), track.person_id or 0, frame)
            for track in sorted(shown_now, key=lambda track: track.person_id or 0)
        ]

    def _look_back(self, shown: _Shown, tracks: Sequence[Track]) -> None:
        """Find those who have just come in the frames before, of a film."""
        self.earlier = []
        if self._back is None or not isinstance(self._models, TopDown):
            return
        now = shown.frame.timestamp
        self._back.keep(shown.seen, self._tracks, shown=len(tracks), cut=shown.cut)
        for track in tracks:
            anew = track.shown_at == -math.inf
            if track.shown_at != self._last_time and (not anew or now - track.began < LOOK_AHEAD_S):
                self.earlier += [
                    _pose(detection, track.person_id or 0, frame)
                    for frame, detection in self._back.before(
                        self._models.keypoints, track, people=self._slots.people
                    )
                ]
        self.earlier.sort(key=lambda pose: (pose.frame_index, pose.person_id))

    def _show(self, frame: Frame) -> _Shown:
        shown, self._next = self._next, None
        if shown is not None and shown.frame is frame:
            return shown
        cut = self._cuts(frame)
        now = frame.timestamp
        smooth = self._blocks(frame.image, now, afresh=cut)
        sharp = self._levels(frame.image, now, afresh=cut)
        image = sharp if smooth is frame.image else self._levels(smooth, now)
        seen = frame if image is frame.image else replace(frame, image=image)
        return _Shown(frame, seen, sharp, cut, self._cuts.picture)

    def _measure_step(self, now: float) -> None:
        if self._last_time is None:
            return
        step = now - self._last_time
        if step <= 0.0:  # another source: nobody is where they were
            self._tracks, self._looked_at, self._others_at = [], -np.inf, -np.inf
            if self._back is not None:
                self._back.forget()
        else:
            self._step = step

    # Looking.

    def _look(self, models: TopDown, shown: _Shown) -> list[Sight]:
        """Everybody who can be seen: where they were, and elsewhere if it is time to look."""
        _, frame, sharp, cut, small = shown
        now = frame.timestamp
        followed = self._to_look_at(now)
        where = [Where(track, self._region(track, now)) for track in followed]
        sights = told_apart(
            models.keypoints,
            frame.image,
            now,
            where,
            self._locate(models, where, frame),
            cost=lambda track, sight: track.misfit(sight, now) + self._stranger(track, sight),
            mistaken=lambda track, sight: self._difference(track, sight) > OWN,
        )
        seen: list[Seen] = []
        wanted: list[Sight] = []  # who were there a moment ago: to lose one of them is odd
        odd = cut
        for track, sight in zip(followed, sights, strict=True):
            present = self._was_present(track)
            misfit = track.misfit(sight, now) if is_still_there(sight) else None
            if present and track in self._slots.taken:
                odd = odd or misfit is None or not math.isfinite(misfit)
                wanted.append(sight)
            if misfit is not None and (present or math.isfinite(misfit)):
                seen.append(
                    Seen(
                        sight,
                        misfit + self._stranger(track, sight),
                        (present and _goes_on(track, sight, now)) or self._surely(track, sight),
                    )
                )
        clear = without_duplicates(seen)
        odd = odd or any(not any(sight is one for one in clear) for sight in wanted)
        self._frames_since_look += 1
        if not (odd or self._is_time_to_look(models, shown, clear)):
            return clear
        self._looked_at, self._looked, self._frames_since_look = now, small, 0
        lost: list[Region] = []
        if cut:
            self._search.restart()
        elif len(clear) < self._slots.people:
            if odd:
                self._search.restart(now)
            lost = [
                self._region(track, now)
                for track in followed
                if track in self._slots.taken and track.is_known
            ]
            lost = [r for r in lost if not any(agree(r, s.found.next_region) for s in clear)]
        strangers = self._search.top_down(
            models,
            frame.image,
            now,
            [] if cut else clear,
            slots=self._slots.people,
            most=self._slots.people + _BYSTANDERS,
            lost=lost,
            closely=len(clear) < len(self._slots.taken),
            sharp=sharp,
        )
        if not strangers:
            return clear
        return without_duplicates([*seen, *(Seen(s) for s in strangers)])

    def _locate(self, models: TopDown, where: Sequence[Where], frame: Frame) -> list[Sight]:
        """What is seen where people were, in their order."""
        now, after = frame.timestamp, self._next
        tracks, regions = [w.track for w in where], [w.region for w in where]
        glimpses = self.ahead.take()
        sights = {
            track: Sight.of(glimpses[track].found)
            for track, region in zip(tracks, regions, strict=True)
            if track in glimpses and as_good(glimpses[track].region, region)
        }
        sights = {t: s for t, s in sights.items() if _suits(t, s, now)}
        rest = [i for i, track in enumerate(tracks) if track not in sights]
        if rest:
            wanted = [regions[i] for i in rest]
            expected = {}
            if after is not None and not after.cut:
                then = after.frame.timestamp
                expected = {
                    t: self._expected(t, now, then)
                    for t in tracks
                    if self._was_present(t) and self._is_clear(t, now)
                }
            if after is not None and expected:
                located = self.ahead.locate(
                    models.keypoints, frame.image, wanted, after.seen, expected
                )
            else:
                located = models.keypoints.locate(frame.image, wanted)
            sights.update((tracks[i], Sight.of(one)) for i, one in zip(rest, located, strict=True))
        return [sights[track] for track in tracks]

    def _is_clear(self, track: Track, now: float) -> bool:
        """Whether nobody else is near enough to be mistaken for somebody."""
        others = [other for other in self._tracks if other is not track]
        return not any(self._gap(track, other, now) < _CLOSE for other in others)

    def _to_look_at(self, now: float) -> list[Track]:
        wanted = self._slots.taken
        near = [
            track
            for track in self._tracks
            if track not in wanted and any(self._gap(track, w, now) < _CLOSE for w in wanted)
        ]
        if len(wanted) < self._slots.people:  # nobody tentative is confirmed without a look
            near += [
                track
                for track in self._tracks
                if track.tentative and self._was_present(track) and track not in (*wanted, *near)
            ]
        looked = []
        for track in [*wanted, *near]:
            unseen = now - track.seen_at
            limit = max(_LOST_LOOK_S, 1.5 * self._step)
            if unseen > limit and any(
                other is not track and self._gap(track, other, now) < _CLOSE
                for other in self._tracks
                if self._was_present(other)
            ):
                limit = _HIDDEN_LOOK_S
            if unseen <= limit:
                looked.append(track)
        if not wanted:  # nobody is wanted yet: somebody tentative has to be seen again
            looked = [t for t in self._tracks if self._was_present(t)]
        return looked

    def _was_present(self, track: Track) -> bool:
        return track.seen_at == self._last_time

    def _gap(self, a: Track, b: Track, now: float) -> float:
        away = a.motion.predict(now)[0] - b.motion.predict(now)[0]
        reach = 0.25 * (a.sight.size + b.sight.size)
        return max(float(np.hypot(*away)) - reach, 0.0) / max(a.sight.size, b.sight.size)

    def _region(self, track: Track, now: float) -> Region:
        """Where to look for somebody: where they were, or are expected if that is long ago."""
        if self._was_present(track):
            return track.region
        position, change, _ = track.motion.predict(now)
        x, y = position - track.sight.position
        return track.region.moved(float(x), float(y), change)

    def _expected(self, track: Track, now: float, then: float) -> Region:
        """Where somebody will be looked for in the next frame."""
        start, before, _ = track.motion.predict(now)
        end, after, _ = track.motion.predict(then)
        x, y = end - start
        return track.region.moved(float(x), float(y), after / before)

    def _is_time_to_look(self, models: TopDown, shown: _Shown, seen: Sequence[Sight]) -> bool:
        if models.detect_every is not None:
            return self._frames_since_look >= models.detect_every or not self._slots.taken
        if not self._slots.taken or not seen:
            return True
        wanted, now = self._slots.taken, shown.frame.timestamp
        since = now - self._looked_at + 1e-3
        if len(wanted) < self._slots.people or len(seen) < len(wanted) or self._slots.wished:
            return since > _BUSY_LOOK_S
        if since <= _IDLE_LOOK_S or since > _ALONE_LOOK_S:
            return since > _ALONE_LOOK_S
        if now - self._others_at < _ALONE_AFTER_S or any(s.score < PLAIN for s in seen):
            return True
        if self._looked is None or shown.small is None:
            return True
        where = [s.found.next_region.moved(0.0, 0.0, _MARGIN).box() for s in seen]
        return changed(self._looked, shown.small, shown.frame.size, where)

    # Who is who.

    def _identify(self, sights: Sequence[Sight], frame: Frame, *, cut: bool) -> None:
        now = frame.timestamp
        costs = np.array([[self._cost(t, s, sights, now) for s in sights] for t in self._tracks])
        costs = costs.reshape(len(self._tracks), len(sights))
        chosen = assign(costs, unassigned=association.UNASSIGNED)
        # Whoever is exactly where expected was not cut away: the light changed, no more.
        cut = cut and not any(
            j is not None and _goes_on(track, sights[j], now)
            for track, j in zip(self._tracks, chosen, strict=True)
        )
        for track, j in zip(self._tracks, chosen, strict=True):
            if j is not None:
                track.see(sights[j], now)
        strangers = [s for j, s in enumerate(sights) if j not in chosen]
        strangers = [s for s in strangers if is_newcomer(s, alone=len(sights) == 1)]
        self._inherit(strangers, now, cut=cut)
        for sight in sorted(strangers, key=lambda s: s.size * s.score, reverse=True):
            self._begin(sight, now)
        self._recognise(now)

    def _cost(self, track: Track, sight: Sight, sights: Sequence[Sight], now: float) -> float:
        if (
            not self._was_present(track)
            and not (sight.score >= NEW and self._surely(track, sight))
            and (
                any(o is not sight and torsos_apart(sight, o) < _CLEAR for o in sights)
                or (self._may_be_a_piece(track, sights, now) and self._is_beside_somebody(track))
            )
        ):
            # Nobody is found again before being clear of the others, and plainly seen beside them:
            # pieces of who is in front often look like whoever is behind.
            return float("inf")
        return track.misfit(sight, now) + self._stranger(track, sight)

    def _may_be_a_piece(self, track: Track, sights: Sequence[Sight], now: float) -> bool:
        """Whether somebody may be a sight that is not plain; then they are no other one either,
        which would leave it to whoever that one is."""
        return any(s.score < PLAIN and math.isfinite(track.misfit(s, now)) for s in sights)

    # What people wear.

    def _difference(self, track: Track, sight: Sight) -> float:
        """Between what somebody wore and what a sight wears (see `Clothes.difference`)."""
        if id(sight) not in self._colours:
            self._colours[id(sight)] = sight, colours(self._image, sight.detection)
        return track.clothes.difference(self._colours[id(sight)][1])

    def _close_to(self, track: Track) -> list[Track]:
        return [
            other
            for other in self._tracks
            if other is not track and self._gap(track, other, self._now) < _CLOSE
        ]

    def _is_beside_somebody(self, track: Track) -> bool:
        return any(self._was_present(other) for other in self._close_to(track))

    def _stranger(self, track: Track, sight: Sight) -> float:
        """What it costs that a sight wears other clothes: infinite if those of somebody close, who
        may be where it is. Colours change with the light: they alone make nobody another."""
        if len(self._tracks) < 2:
            return 0.0
        difference = self._difference(track, sight)
        if math.isnan(difference):
            return 0.0
        if difference > OTHER and any(
            self._difference(other, sight) < OWN and math.isfinite(other.misfit(sight, self._now))
            for other in self._close_to(track)
        ):
            return math.inf
        return _CLOTHES_WEIGHT * min(difference, _MOST_DIFFERENT)

    def _surely(self, track: Track, sight: Sight) -> bool:
        """Whether a sight is of somebody and of nobody else close to them, by what it wears."""
        if not track.is_known:
            return False
        own = self._difference(track, sight)
        others = [self._difference(other, sight) for other in self._close_to(track)]
        if own < OWN:
            return all(other > OTHER for other in others)
        # Of who hugs another half may be hidden: it is plain for all that who they are not.
        least = max(OTHER, _MORE_LIKE * own)
        return sight.score >= PLAIN and bool(others) and all(other > least for other in others)

    def _learn(self, now: float) -> None:
        """What those wear who are plainly seen and not beside somebody."""
        for track in self._tracks:
            if track.seen_at != now or track.sight.score < PLAIN:
                continue
            if now - track.clothes.learnt_at < _LEARN_S - 1e-3:
                continue
            if not any(
                other is not track and torsos_apart(track.sight, other.sight) < _BESIDE
                for other in self._tracks
            ):
                track.clothes.learn(colours(self._image, track.sight.detection), now)

    def _inherit(self, strangers: list[Sight], now: float, *, cut: bool) -> None:
        """One person before and one after are the same, however far they jumped."""
        lost = [t for t in self._slots.taken if t.seen_at != now]
        present = [t for t in self._tracks if t.seen_at == now]
        if len(lost) == 1 and len(strangers) == 1 and not present:
            lost[0].see(strangers.pop(), now, afresh=True)
        elif cut:
            self._tracks = [t for t in self._tracks if t not in lost]

    def _begin(self, sight: Sight, now: float) -> None:
        if len(self._tracks) >= self._slots.people + _BYSTANDERS:
            return
        unsure = any(sight is one for one in self._search.doubtful) or any(
            inside(sight, track.sight) > _OVERLAP for track in self._tracks if track.seen_at == now
        )
        self._tracks.append(Track.begin(sight, now, tentative=unsure))

    def _recognise(self, now: float) -> None:
        """Newcomers who may be somebody who was lost are that person, once they are clear."""
        lost = [t for t in self._tracks if t.person_id is not None and t.seen_at != now]
        new = [t for t in self._tracks if t.person_id is None and t.seen_at == now]
        if not lost or not new:
            return
        present = [t.sight for t in self._tracks if t.seen_at == now]
        costs = np.array(
            [
                [
                    self._cost(old, other.sight, present, now)
                    if other.began > old.seen_at
                    else np.inf
                    for other in new
                ]
                for old in lost
            ]
        )
        for old, j in zip(lost, assign(costs, unassigned=association.UNASSIGNED), strict=True):
            if j is not None:
                old.continue_as(new[j])
                self._tracks.remove(new[j])


def _pose(detection: Detection, person_id: int, frame: Frame) -> Pose2D:
    return Pose2D(
        frame_index=frame.index,
        timestamp=frame.timestamp,
        person_id=person_id,
        keypoints=detection.keypoints,
        scores=detection.scores,
        image_size=frame.size,
        extra=detection.extra,
        visibility=detection.visibility,
        peak=detection.peak,
    )


def _suits(track: Track, sight: Sight, now: float) -> bool:
    return is_still_there(sight) and math.isfinite(track.misfit(sight, now))


def _goes_on(track: Track, sight: Sight, now: float) -> bool:
    """Whether somebody long followed is where and as large as expected, with no jump at all:
    a model that begins to take somebody else for the person shows it so."""
    if not track.is_known:
        return False
    distance, _ = track.motion.surprise(sight.position, sight.size, now)
    return distance < _NO_JUMP
