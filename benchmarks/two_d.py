"""How well the 2D stage follows people, against bare MediaPipe on the same pictures.

For each clip with ground truth (NAME.mp4 beside NAME_gt.npz), and each person in it: in how
many of the frames that plainly show the person there is a row, how far the limb joints in
the picture are from the truth, how often left and right are exchanged, how many identities
the person had and how often they changed, rows that are nobody's, and processor time per
frame of the whole stage on one thread. Ours is the program's own detector and tracker,
MediaPipe is Google's graph in video mode as it comes.

    python benchmarks/two_d.py demo_videos
    python benchmarks/two_d.py demo_videos --degrade blur --every 2
    python benchmarks/two_d.py demo_videos --clips walk_turn --time --json two_d.json

What MediaPipe finds is kept in --cache, so that it runs once for each clip and way of
degrading; with --time both run frame by frame in turns on pictures decoded before, which is
what processor times need.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from posemamba.skeleton import HIP, L_SHOULDER, LIMB_JOINTS, MIRROR, R_SHOULDER
from posemamba_live.sources import open_source
from posemamba_live.tracking.ahead import with_next
from posemamba_live.types import Frame, Image, Pose2D

Array = NDArray[np.float64]

_LIMBS: Final = list(LIMB_JOINTS)
_ENOUGH: Final = 4
"""Limb joints in the picture from which somebody is plainly there."""
_ENOUGH_OF: Final = {"desk_head_shoulders": 2}
_SOMEBODY: Final = 1.5
"""Torso lengths between a row and the person from which it is somebody else's, or nobody's."""
_EXCHANGED: Final = 0.6
"""Share of its error that a row has against the exchanged labels if left and right changed."""
_FAR_OFF: Final = 0.15
"""Torso lengths below which a row is right whatever its labels."""
_SMALL: Final = 70
"""Pixels of height of the people who are shrunk."""


# -- pictures made worse ----------------------------------------------------------------------


@dataclass(frozen=True)
class Degraded:
    """A picture, and where the truth is in it: (2, 3)."""

    image: Image
    moved: Array


_AS_IT_WAS: Final = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def _blur(image: Image, _: Array) -> Degraded:
    kernel = np.full((1, 21), 1.0 / 21.0)
    return Degraded(np.asarray(cv2.filter2D(image, -1, kernel), np.uint8), _AS_IT_WAS)


def _tiny(image: Image, _: Array) -> Degraded:
    height, width = image.shape[:2]
    scale = 160.0 / max(height, width)
    size = round(width * scale), round(height * scale)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return Degraded(np.asarray(small, np.uint8), scale * _AS_IT_WAS)


def _jpeg(image: Image, _: Array) -> Degraded:
    _, coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 5])
    return Degraded(np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8), _AS_IT_WAS)


def _grey(image: Image, _: Array) -> Degraded:
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    return Degraded(np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), np.uint8), _AS_IT_WAS)


def _upside_down(image: Image, _: Array) -> Degraded:
    height, width = image.shape[:2]
    moved = np.array([[-1.0, 0.0, width], [0.0, -1.0, height]])
    return Degraded(np.ascontiguousarray(image[::-1, ::-1]), moved)


def _dark(image: Image, _: Array) -> Degraded:
    rng = np.random.default_rng(int(image[::8, ::8].sum()))
    noisy = 0.12 * image + rng.normal(0.0, 6.0, image.shape)
    return Degraded(np.clip(np.rint(noisy), 0, 255).astype(np.uint8), _AS_IT_WAS)


def _flat(image: Image, _: Array) -> Degraded:
    pale = 0.15 * image + 0.85 * 128.0
    return Degraded(np.rint(pale).astype(np.uint8), _AS_IT_WAS)


def _far(image: Image, truth: Array) -> Degraded:
    """On a plain picture of the same size, so small that people are _SMALL pixels tall."""
    height, width = image.shape[:2]
    scale = min(1.0, _SMALL / float(np.nanmedian(np.ptp(truth[..., 1], axis=-1))))
    moved = scale * _AS_IT_WAS
    moved[:, 2] = 0.5 * (1.0 - scale) * np.array([width, height])
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    plain = np.full_like(image, 128)
    x, y = round(moved[0, 2]), round(moved[1, 2])
    plain[y : y + small.shape[0], x : x + small.shape[1]] = small
    return Degraded(plain, moved)


DEGRADE: Final[dict[str, Callable[[Image, Array], Degraded]]] = {
    "none": lambda image, _: Degraded(image, _AS_IT_WAS),
    "blur": _blur,
    "tiny": _tiny,
    "jpeg": _jpeg,
    "grey": _grey,
    "upside-down": _upside_down,
    "dark": _dark,
    "flat": _flat,
    "far": _far,
}
"""Ways to make pictures worse: 21 px of motion blur, 160 pixels across, JPEG quality 5, no
colour, turned by 180 degrees, 12 % of the brightness with noise of 6 levels, 15 % of the
contrast, people 70 pixels tall."""


@dataclass(frozen=True)
class Clip:
    """A film as it is shown to both."""

    name: str
    path: Path
    degrade: str
    every: int
    """Only every so many frames are shown."""
    truth: Array
    """(T, P, 17, 2) pixels of the original picture; NaN where nobody is."""

    def frames(self) -> Iterator[tuple[Frame, Array]]:
        """Frames with the true keypoints (P, 17, 2) in them."""
        with open_source(str(self.path)) as source:
            for frame in source:
                if frame.index % self.every or frame.index >= len(self.truth):
                    continue
                worse = DEGRADE[self.degrade](frame.image, self.truth)
                moved = self.truth[frame.index] @ worse.moved[:, :2].T + worse.moved[:, 2]
                yield replace(frame, image=worse.image), moved


def find_clips(folder: Path, names: Sequence[str], degrade: str, every: int) -> list[Clip]:
    clips = []
    for path in sorted(folder.glob("*.mp4")):
        answers = path.with_name(f"{path.stem}_gt.npz")
        if not answers.exists() or (names and path.stem not in names):
            continue
        truth = np.load(answers, allow_pickle=False)["joints_2d"].astype(np.float64)
        truth = truth[:, None] if truth.ndim == 3 else truth
        clips.append(Clip(path.stem, path, degrade, every, truth))
    return clips


# -- who finds what ---------------------------------------------------------------------------

Row = tuple[int, Array]
"""Identity and (17, 2) pixels."""


@dataclass
class Found:
    """What one way found in a clip."""

    rows: list[list[Row]] = field(default_factory=list)
    """Of each frame."""
    ms: list[float] = field(default_factory=list)
    """Processor time of each frame."""


Earlier = list[tuple[int, Row]]
"""Rows of frames before, with their index: films are looked back at."""
Way = Callable[[Frame, Frame | None], tuple[list[Row], Earlier]]
"""Takes a frame and, of a film, the one after it."""


def ours(people: int, detector: str, *, live: bool, at_once: bool) -> Way:
    from posemamba_live.detectors import DetectorSettings, create_detector
    from posemamba_live.tracking.people import PeopleTracker

    settings = DetectorSettings(people=people, device="cpu", threads=1)
    tracker = PeopleTracker(create_detector(detector, settings), people, live=live)
    tracker.ahead.at_once = at_once

    def row(pose: Pose2D) -> Row:
        return pose.person_id, pose.keypoints.astype(np.float64)

    def way(frame: Frame, after: Frame | None) -> tuple[list[Row], Earlier]:
        now = [row(pose) for pose in tracker(frame, None if live else after)]
        return now, [(pose.frame_index, row(pose)) for pose in tracker.earlier]

    return way


def mediapipe(people: int) -> Way:
    from posemamba_live.detectors.mediapipe import MediaPipeDetector

    detector = MediaPipeDetector(people=people)

    def way(frame: Frame, _: Frame | None) -> tuple[list[Row], Earlier]:
        found = detector.detect(frame)
        return [(i, one.detection.keypoints.astype(np.float64)) for i, one in enumerate(found)], []

    return way


def look(clip: Clip, ways: dict[str, Way]) -> dict[str, Found]:
    """Show each frame to each way in turn."""
    found = {name: Found() for name in ways}
    frames: Iterable[Frame] = (frame for frame, _ in clip.frames())
    if len(ways) > 1:
        # The decoder's threads work ahead, just when the next frame has been taken: their time
        # would be that of whoever is shown a frame first.
        frames = list(frames)
    for number, (frame, after) in enumerate(with_next(frames)):
        turns = list(ways.items())
        # Films are looked at two frames at a time; of these, too, each is first in turn.
        for name, way in turns if number // 2 % 2 == 0 else reversed(turns):
            began = time.process_time()
            rows, earlier = way(frame, after)
            found[name].ms.append(1e3 * (time.process_time() - began))
            found[name].rows.append(rows)
            for index, row in earlier:
                found[name].rows[index // clip.every].append(row)
    return found


def kept(clip: Clip, people: int, cache: Path) -> Found:
    """What MediaPipe finds, from the cache if it was asked before."""
    digest = hashlib.sha256(clip.path.read_bytes()).hexdigest()[:16]
    path = cache / f"{clip.name}-{digest}-{clip.degrade}-{clip.every}-{people}.json"
    if path.exists():
        data = json.loads(path.read_text())
        rows = [[(i, np.array(points)) for i, points in frame] for frame in data["rows"]]
        return Found(rows, data["ms"])
    found = look(clip, {"mediapipe": mediapipe(people)})["mediapipe"]
    cache.mkdir(parents=True, exist_ok=True)
    frames = [[(i, points.round(2).tolist()) for i, points in frame] for frame in found.rows]
    path.write_text(json.dumps({"rows": frames, "ms": found.ms}))
    return found


# -- what it is worth -------------------------------------------------------------------------


@dataclass
class Score:
    """How well one person of a clip was followed."""

    clip: str
    person: int
    way: str
    rows: float
    """Share of the frames that plainly show the person."""
    error: float
    """Mean distance of the limb joints in the picture, in lengths of the torso."""
    exchanged: float
    """Share of the rows with left and right exchanged."""
    identities: int
    switches: int
    strange: float
    """Rows of the clip, per frame, that are nobody's."""
    ms: float
    """Processor time per frame."""
    missing: list[int]
    """Frames without a row."""


def plain(truth: Array, size: tuple[int, int]) -> NDArray[np.bool_]:
    """(..., 12) which limb joints of (..., 17, 2) lie in the picture."""
    points = truth[..., _LIMBS, :]
    with np.errstate(invalid="ignore"):
        return np.asarray(((points >= 0) & (points <= np.array(size))).all(-1))


def distance(points: Array, truth: Array, inside: NDArray[np.bool_]) -> float:
    """Mean over the limb joints inside, in lengths of the torso."""
    shoulders = 0.5 * (truth[L_SHOULDER] + truth[R_SHOULDER])
    torso = max(float(np.hypot(*(shoulders - truth[HIP]))), 1.0)
    away = np.linalg.norm(points[_LIMBS] - truth[_LIMBS], axis=1)[inside]
    return float(away.mean()) / torso if away.size else float("inf")


def score(clip: Clip, way: str, found: Found) -> list[Score]:
    people = clip.truth.shape[1]
    need = _ENOUGH_OF.get(clip.name, _ENOUGH)
    shown = [0] * people
    errors: list[list[float]] = [[] for _ in range(people)]
    exchanged: list[list[bool]] = [[] for _ in range(people)]
    ids: list[list[int]] = [[] for _ in range(people)]
    missing: list[list[int]] = [[] for _ in range(people)]
    strange = 0
    for (frame, truth), rows in zip(clip.frames(), found.rows, strict=True):
        inside = plain(truth, frame.size)
        costs = np.array(
            [[_either(p, t, i) for _, p in rows] for t, i in zip(truth, inside, strict=True)]
        )
        costs = np.minimum(np.nan_to_num(costs, nan=99.0), 99.0).reshape(people, len(rows))
        own = dict(zip(*linear_sum_assignment(costs), strict=True))
        own = {int(p): int(r) for p, r in own.items() if costs[p, r] <= _SOMEBODY}
        strange += len(rows) - len(own)
        for person in range(people):
            if inside[person].sum() < need:
                continue
            shown[person] += 1
            if person not in own:
                missing[person].append(frame.index)
                continue
            person_id, points = rows[own[person]]
            error = distance(points, truth[person], inside[person])
            other = distance(points[list(MIRROR)], truth[person], inside[person])
            errors[person].append(error)
            exchanged[person].append(error > _FAR_OFF and other < _EXCHANGED * error)
            ids[person].append(person_id)
    return [
        Score(
            clip=clip.name,
            person=person,
            way=way,
            rows=len(errors[person]) / max(shown[person], 1),
            error=float(np.mean(errors[person])) if errors[person] else float("nan"),
            exchanged=float(np.mean(exchanged[person])) if errors[person] else 0.0,
            identities=len(set(ids[person])),
            switches=sum(a != b for a, b in zip(ids[person], ids[person][1:], strict=False)),
            strange=strange / max(len(found.rows), 1),
            ms=statistics.fmean(found.ms[5:] or found.ms or [0.0]),
            missing=missing[person],
        )
        for person in range(people)
    ]


def _either(points: Array, truth: Array, inside: NDArray[np.bool_]) -> float:
    """Distance whichever side is left."""
    if not inside.any():
        return float("nan")
    exchanged = points[list(MIRROR)]
    return min(distance(points, truth, inside), distance(exchanged, truth, inside))


# -- the table --------------------------------------------------------------------------------


def table(scores: Sequence[Score]) -> None:
    ways = list(dict.fromkeys(s.way for s in scores))
    head = "".join(f"{way:>12}{'2D':>7}{'L/R %':>7}{'ids':>5}{'odd':>6}{'ms':>7}" for way in ways)
    print(f"{'clip':26}{head}")
    for name, person in dict.fromkeys((s.clip, s.person) for s in scores):
        line = f"{name + (f' ({person})' if person else ''):26}"
        for way in ways:
            (s,) = (s for s in scores if (s.clip, s.person, s.way) == (name, person, way))
            line += f"{s.rows:12.3f}{s.error:7.3f}{100 * s.exchanged:7.1f}"
            line += f"{f'{s.identities}/{s.switches}':>5}{s.strange:6.2f}{s.ms:7.1f}"
        print(line)
    line = f"{'mean':26}"
    for way in ways:
        own = [s for s in scores if s.way == way]
        rows, error, exchanged, strange, ms = (
            float(np.nanmean([getattr(s, key) for s in own]))
            for key in ("rows", "error", "exchanged", "strange", "ms")
        )
        line += f"{rows:12.3f}{error:7.3f}{100 * exchanged:7.1f}{'':5}{strange:6.2f}{ms:7.1f}"
    print(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--clips", nargs="*", default=[], help="names, without suffix")
    parser.add_argument("--degrade", choices=list(DEGRADE), default="none")
    parser.add_argument("--every", type=int, default=1, help="show every Nth frame only")
    parser.add_argument("--people", type=int, help="as many as the clip has")
    parser.add_argument("--detector", default="blazepose")
    parser.add_argument("--live", action="store_true", help="the settings of live use")
    parser.add_argument("--time", action="store_true", help="run both in turns; nothing is kept")
    parser.add_argument("--no-mediapipe", action="store_true")
    parser.add_argument("--cache", type=Path, default=Path(__file__).parent / ".cache")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    scores: list[Score] = []
    for folder in given.folders:
        for clip in find_clips(folder, given.clips, given.degrade, given.every):
            people = given.people or clip.truth.shape[1]
            at_once = not given.time
            ways = {"ours": ours(people, given.detector, live=given.live, at_once=at_once)}
            if given.time:
                ways["mediapipe"] = mediapipe(people)
            found = look(clip, ways)
            if not (given.time or given.no_mediapipe):
                found["mediapipe"] = kept(clip, people, given.cache)
            for way, own in found.items():
                scores += score(clip, way, own)
            lost = {s.person: s.missing for s in scores if s.clip == clip.name and s.way == "ours"}
            print(f"{clip.name}: frames without a row {lost}", flush=True)
    table(scores)
    if given.json is not None:
        data: dict[str, Any] = {"degrade": given.degrade, "every": given.every}
        data["scores"] = [asdict(s) for s in scores]
        given.json.write_text(json.dumps(data, indent=1))


if __name__ == "__main__":
    main()
