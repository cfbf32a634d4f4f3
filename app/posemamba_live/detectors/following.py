"""Several people with a detector for one: each is followed in a picture of their own.

MediaPipe's landmarker for several people looks at the whole picture for each missing one,
does not smooth, and drops people whose surroundings overlap: it loses one of two who come
within a body's height of each other. Its landmarker for one person does none of that, but
jumps to whoever is more prominent. So everybody gets one of those, which sees the others
painted out where they are in front, and one more looks for newcomers now and then in a
picture without those who are known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import cv2
import numpy as np

from posemamba.skeleton import BONES, HEAD, L_HIP, L_SHOULDER, NOSE, R_HIP, R_SHOULDER
from posemamba_live.detectors.base import Detector
from posemamba_live.tracking.kalman import person_size
from posemamba_live.tracking.people import inside, pose_distance, torso
from posemamba_live.types import Detection, Expected, FloatArray, Frame, Image

_IDLE_LOOK_S: Final = 0.5
"""Seconds between two looks for others while all places are taken: bystanders."""
_BUSY_LOOK_S: Final = 0.1
"""The same while somebody is missing."""
_CLOSE: Final = 0.5
"""Gap between two people's boxes, in person sizes, within which they can be mistaken."""
_MARGIN: Final = 0.3
"""Picture around somebody among others, in person sizes; MediaPipe's own crop has as much."""
_LIMB: Final = 0.13
"""Width of painted-out limbs relative to the person's height."""
_CUT_WIDER: Final = 1.5
"""Limbs of a person who is cut out: clothes, and the movement of one frame."""
_IN_FRONT: Final = 0.03
"""Heights by which somebody's feet are lower in the picture who is clearly in front."""
_SAME: Final = 0.15
"""Two detections nearer than this, in person sizes, are of one person."""
_CLEAR: Final = 0.2
"""Distance of torsos, in person sizes, from which two who overlapped can be told apart."""
_SURE: Final = 0.5
"""Mean score of somebody who is not yet known."""
_TAKEN: Final = 0.6
"""Share of a newcomer's box in known people's beyond which it is a piece of those."""


@dataclass(slots=True)
class _Eye:
    """A detector for one person, and whom it saw last."""

    detector: Detector
    last: Detection | None = None

    def look(self, frame: Frame, picture: Image) -> Detection | None:
        seen = self.detector.detect(replace(frame, image=picture))
        self.last = seen[0] if seen else None
        return self.last


class FollowingDetector:
    """Finds people with one detector for each, where the tracker expects them.

    Alone in the picture a person costs what the single detector costs, but for a look
    around twice a second. Bystanders are followed as well while they are close to somebody.
    As long as nobody tells it what to expect, it finds one person.

    Args:
        make: a detector that finds one person and follows them; the first one is made now.
        people: how many are wanted.
    """

    def __init__(self, make: Callable[[], Detector], people: int) -> None:
        self._make = make
        self._people = people
        self._first = make()
        self.name = self._first.name
        self._eyes: dict[int, _Eye] = {}
        """Of the people followed, by their key."""
        self._spare = [_Eye(self._first)]
        self._expected: Sequence[Expected] = ()
        self._guided = False
        self._last_time = -np.inf
        self._looked_at = -np.inf

    def expect(self, people: Sequence[Expected]) -> None:
        """Where people should be in the frame that is detected next."""
        self._expected = people
        self._guided = True

    def detect(self, frame: Frame) -> list[Detection]:
        """Everybody followed, and newcomers if it is time to look for some.

        Raises:
            DetectorError: the detector cannot go on.
        """
        if not self._guided:
            return self._spare[0].detector.detect(frame)
        expected, self._expected = self._expected, ()
        followed = [e for e in expected if e.chosen or _close_to_chosen(e, expected)]
        self._hand_out(followed)
        present = [e for e in followed if e.seen_at == self._last_time]
        lost = [e for e in followed if e.seen_at != self._last_time]
        found: dict[int, Detection] = {}
        for person in present:
            others = [o for o in expected if o is not person and _gap(o, person) < _CLOSE]
            picture = frame.image
            if any(o.seen_at != self._last_time for o in others):
                picture = _cut_out(frame.image, person)
            elif others:
                front = [o.keypoints for o in others if _in_front(o, person)]
                behind = [o.keypoints for o in others if not _in_front(o, person)]
                picture = _surroundings(frame.image, person, front, behind)
            self._look(person, frame, picture, found)
        self._settle(present, found)
        for person in lost:
            seen = [d.keypoints for d in found.values()]
            self._look(person, frame, _surroundings(frame.image, person, seen), found)
            self._check_sighting(person, found)
        everybody = list(found.values())
        if self._is_time_to_look(frame.timestamp, followed, found):
            self._look_around(frame, everybody)
        self._last_time = frame.timestamp
        return everybody

    def describe(self) -> dict[str, Any]:
        """What runs and on what, as JSON values, for statistics and exports."""
        return self._first.describe()

    def close(self) -> None:
        for eye in [*self._eyes.values(), *self._spare]:
            eye.detector.close()

    def _hand_out(self, followed: Sequence[Expected]) -> None:
        """Give everybody followed an eye: if somebody was just discovered, the same one."""
        keys = {person.key for person in followed}
        for key in [key for key in self._eyes if key not in keys]:
            self._spare.append(self._eyes.pop(key))
        for person in followed:
            if person.key in self._eyes:
                continue
            here = Detection(person.keypoints, np.ones(len(person.keypoints), np.float32))
            best = min(
                self._spare,
                key=lambda eye: np.inf if eye.last is None else pose_distance(eye.last, here),
                default=None,
            )
            if best is None:
                best = _Eye(self._make())
            else:
                self._spare.remove(best)
            self._eyes[person.key] = best

    def _look(
        self, person: Expected, frame: Frame, picture: Image, found: dict[int, Detection]
    ) -> None:
        seen = self._eyes[person.key].look(frame, picture)
        if seen is not None:
            found[person.key] = seen

    def _settle(self, present: Sequence[Expected], found: dict[int, Detection]) -> None:
        """Where two eyes see one person it is the one whose expectation that suits."""
        for i, a in enumerate(present):
            for b in present[:i]:
                if a.key in found and b.key in found:
                    seen, other = found[a.key], found[b.key]
                    if pose_distance(seen, other) < _SAME:
                        strays = (_miss(a, seen) > _miss(b, other)) - 0.5
                        del found[a.key if strays > 0 else b.key]

    def _check_sighting(self, person: Expected, found: dict[int, Detection]) -> None:
        """Somebody who was lost is not found again until clear of everybody else."""
        seen = found.get(person.key)
        if seen is not None and any(
            key != person.key and _torsos_apart(seen, other) < _CLEAR
            for key, other in found.items()
        ):
            del found[person.key]

    def _is_time_to_look(
        self, now: float, followed: Sequence[Expected], found: dict[int, Detection]
    ) -> bool:
        chosen = [person for person in followed if person.chosen]
        if not chosen or now < self._looked_at:
            return True
        complete = len(chosen) == self._people and all(p.key in found for p in chosen)
        return now - self._looked_at > (_IDLE_LOOK_S if complete else _BUSY_LOOK_S) - 1e-3

    def _look_around(self, frame: Frame, everybody: list[Detection]) -> None:
        """Add people who are not among `everybody`: one, or as many as there are places."""
        self._looked_at = frame.timestamp
        unused = list(self._spare)
        while True:
            if not unused:
                self._spare.append(_Eye(self._make()))
                unused.append(self._spare[-1])
            eye = unused.pop(0)
            before = eye.last
            picture = _without(frame.image, everybody)
            seen = eye.look(frame, picture)
            if seen is None and before is not None:
                # It looked where it saw somebody last; only now it looks everywhere.
                seen = eye.look(frame, picture)
            if seen is None or seen.scores.mean() < _SURE or _is_piece(seen, everybody):
                return
            first = not everybody
            everybody.append(seen)
            if not first and len(everybody) > self._people:
                return


def _close_to_chosen(person: Expected, everybody: Sequence[Expected]) -> bool:
    return any(o.chosen and o is not person and _gap(o, person) < _CLOSE for o in everybody)


def _gap(a: Expected, b: Expected) -> float:
    """Distance between two people's boxes in sizes of the larger; 0 where they overlap."""
    apart = np.maximum(
        a.keypoints.min(0) - b.keypoints.max(0), b.keypoints.min(0) - a.keypoints.max(0)
    )
    size = max(person_size(a.keypoints), person_size(b.keypoints))
    return float(np.hypot(*np.maximum(apart, 0.0))) / size


def _torsos_apart(a: Detection, b: Detection) -> float:
    """Distance of two torsos in sizes of the larger person."""
    size = max(person_size(a.keypoints), person_size(b.keypoints))
    return float(np.hypot(*(torso(a.keypoints) - torso(b.keypoints)))) / size


def _in_front(a: Expected, b: Expected) -> bool:
    lower = a.keypoints[:, 1].max() - b.keypoints[:, 1].max()
    return bool(lower > _IN_FRONT * np.ptp(b.keypoints[:, 1]))


def _miss(person: Expected, seen: Detection) -> float:
    """Mean distance of the joints from where they were expected, in person sizes."""
    distances = np.linalg.norm(person.keypoints - seen.keypoints, axis=1)
    return float(distances.mean()) / person_size(person.keypoints)


def _is_piece(seen: Detection, everybody: Sequence[Detection]) -> bool:
    return any(inside(seen.keypoints, other.keypoints) > _TAKEN for other in everybody)


def _surroundings(
    image: Image,
    person: Expected,
    front: Sequence[FloatArray],
    behind: Sequence[FloatArray] = (),
) -> Image:
    """The picture around where somebody should be, the others painted out.

    Those behind, or beside, only where the person is not: nearly always right, and it keeps
    the detector from taking their limbs for the person's.
    """
    margin = _MARGIN * person_size(person.keypoints) + person.reach
    rows, columns = _box(person.keypoints, margin, image)
    picture = _blank(image)
    picture[rows, columns] = image[rows, columns]
    if behind:
        for keypoints in behind:
            _paint_body(picture, keypoints, _color(image))
        own = np.zeros(image.shape[:2], np.uint8)
        _paint_body(own, person.keypoints, (255,))
        cv2.copyTo(image, own, picture)
    for keypoints in front:
        _paint_body(picture, keypoints, _color(image))
    return picture


def _cut_out(image: Image, person: Expected) -> Image:
    """Nothing but the person: somebody who is hidden may come out from behind anywhere."""
    picture = _blank(image)
    own = np.zeros(image.shape[:2], np.uint8)
    _paint_body(own, person.keypoints, (255,), widen=_CUT_WIDER)
    cv2.copyTo(image, own, picture)
    return picture


def _without(image: Image, people: Sequence[Detection]) -> Image:
    """The picture with a blank box over everybody."""
    if not people:
        return image
    picture = image.copy()
    for person in people:
        margin = 0.12 * float(np.ptp(person.keypoints[:, 1]))
        picture[_box(person.keypoints, margin, image)] = _color(image)
    return picture


def _box(keypoints: FloatArray, margin: float, image: Image) -> tuple[slice, slice]:
    height, width = image.shape[:2]
    x0, y0 = np.clip(keypoints.min(0) - margin, 0, (width, height)).astype(int)
    x1, y1 = np.clip(keypoints.max(0) + margin, 0, (width, height)).astype(int)
    return slice(y0, y1), slice(x0, x1)


def _blank(image: Image) -> Image:
    picture = np.empty_like(image)
    picture[:] = _color(image)
    return picture


def _color(image: Image) -> tuple[int, int, int]:
    """About the picture's mean: what is painted so has edges that are no stronger than need be."""
    b, g, r = image[::16, ::16].reshape(-1, 3).mean(0)
    return int(b), int(g), int(r)


def _paint_body(
    picture: Image, keypoints: FloatArray, color: tuple[int, ...], *, widen: float = 1.0
) -> None:
    """Paint over somebody's body, in place."""
    height = widen * float(np.ptp(keypoints[:, 1]))
    points = np.clip(keypoints, -1e4, 1e4).astype(np.int32)
    width = max(1, round(_LIMB * height))
    for a, b in BONES:
        cv2.line(picture, points[a].tolist(), points[b].tolist(), color, width)
    trunk = points[[L_SHOULDER, R_SHOULDER, R_HIP, L_HIP]]
    cv2.fillConvexPoly(picture, cv2.convexHull(trunk), color)
    middle = (points[HEAD] + points[NOSE]) // 2
    cv2.circle(picture, middle.tolist(), max(1, round(0.1 * height)), color, cv2.FILLED)
