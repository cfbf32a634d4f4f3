"""The search in parts of the picture, people across the room, and cuts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from posemamba.skeleton import HIP, L_WRIST, THORAX
from posemamba_live.detectors import DetectorSettings, create_detector
from posemamba_live.detectors.base import Circle, Found, OneStage, Region, TopDown
from posemamba_live.detectors.onnx_model import OnnxModel
from posemamba_live.detectors.rtmo import RTMO
from posemamba_live.detectors.skeletons import COCO_17
from posemamba_live.sources import VideoFile
from posemamba_live.tracking.cuts import CutDetector
from posemamba_live.tracking.moving import Moving
from posemamba_live.tracking.people import PeopleTracker
from posemamba_live.tracking.search import Search
from posemamba_live.tracking.sight import Sight
from posemamba_live.types import Detection, Frame, Image, Pose2D
from tests.support import onnx_models

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"


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


class Believer:
    """Takes every region for somebody."""

    def locate(self, image: Image, regions: Sequence[Region]) -> list[Found]:
        rng = np.random.default_rng(2)
        shape = rng.uniform(-0.5, 0.5, (17, 2)).astype(np.float32)
        return [
            Found(
                Detection(
                    shape * region.width + np.array(region.centre, np.float32),
                    np.full(17, 0.9, np.float32),
                ),
                1.0,
                region,
                Circle(region.centre, 0.5 * region.width),
            )
            for region in regions
        ]

    def describe(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        pass


def room(*people: tuple[int, int]) -> Image:
    picture = np.zeros((360, 640, 3), np.uint8)
    for x, y in people:
        picture[y, x] = 255
    return picture


@dataclass
class Searcher:
    """A search with models that say how they were asked."""

    search: Search
    detector: NearSighted
    slots: int = 1
    now: float = 0.0

    def __call__(
        self, picture: Image, known: Sequence[Sight] = (), lost: Sequence[Region] = ()
    ) -> list[tuple[float, float]]:
        models = TopDown("test", self.detector, Believer())
        before = len(self.detector.sizes)
        sights = self.search.top_down(
            models, picture, self.now, known, slots=self.slots, most=self.slots + 4, lost=lost
        )
        self.asked = self.detector.sizes[before:]
        self.now += 1.0 / 30.0
        return sorted(sight.found.next_region.centre for sight in sights)


@dataclass
class Merging(NearSighted):
    """In the whole picture two who are close are one, the first of them."""

    def find(self, image: Image) -> list[Region]:
        found = super().find(image)
        return found[:1] if image.shape[1] == 640 else found


def test_who_is_found_in_a_part_beside_somebody_known_is_looked_at() -> None:
    """Closer than two regions of one person may be: the one known has a region already."""
    search = Searcher(Search(live=False), Merging(640), slots=2)
    assert search(room((200, 180), (212, 180))) == [(200.5, 180.5), (212.5, 180.5)]


class Coarse(NearSighted):
    """In the whole picture it is off by a tenth of the person's size."""

    def find(self, image: Image) -> list[Region]:
        whole = image.shape[1] == 640
        return [region.moved(4.0, 0.0) if whole else region for region in super().find(image)]


@dataclass
class Doubter(Believer):
    """Sees people of a place worse in another region than in one about that place."""

    place: tuple[float, float]
    off: float
    """Score of another one."""

    def locate(self, image: Image, regions: Sequence[Region]) -> list[Found]:
        return [
            replace(
                one,
                detection=replace(
                    one.detection,
                    scores=np.full(
                        17, 0.9 if region.centre == self.place else self.off, np.float32
                    ),
                ),
            )
            for one, region in zip(super().locate(image, regions), regions, strict=True)
        ]


@pytest.mark.parametrize(("off", "seen"), [(0.7, 2), (0.88, 1)])
def test_a_newcomer_is_looked_at_closer_and_taken_from_there_if_clearly_better(
    off: float, seen: int
) -> None:
    detector, search = Coarse(640), Search(live=False)
    models = TopDown("test", detector, Doubter((200.5, 180.5), off))
    sights = search.top_down(models, room((200, 180)), 0.0, [], slots=1, most=5)
    assert [sight.found.next_region.centre[0] for sight in sights] == [204.5, 200.5][:seen]
    assert detector.sizes == [WHOLE, AROUND]
    known = [sights[0]]
    search.top_down(models, room((200, 180)), 1.0, known, slots=1, most=5)
    assert detector.sizes[2:] == [WHOLE], "who is followed already is not"


def test_where_something_moves_somebody_may_be() -> None:
    empty, somebody = room(), room()
    somebody[100:220, 300:340] = 255
    moving = Moving()
    assert moving(empty, 0.0, [], 3) == [] == moving(empty, 0.3, [], 3)
    assert moving(somebody, 0.4, [], 3) == []  # not yet time
    around = moving(somebody, 0.6, [], 3)
    assert [np.allclose(region.centre, (320, 160), atol=8) for region in around] == [True, True]
    assert around[0].width == pytest.approx(1.15 * 120, rel=0.3)
    assert moving(somebody, 0.9, [], 3) == []
    assert moving(empty, 1.2, [Region((320.0, 160.0), 150.0, 150.0)], 3) == []  # that is known
    assert moving(np.full_like(empty, 90), 1.5, [], 3) == []  # the light
    assert moving(somebody, 9.0, [], 3) == []  # long ago


@pytest.mark.parametrize(("clip", "row"), [("high_corner", 0.8), ("far_away", 0.6)])
def test_blurred_people_are_found_where_they_move(clip: str, row: float) -> None:
    """The person detector finds them in 0.48 and in none of the frames."""
    path = SHARED / "dev_clips" / f"{clip}.mp4"
    if not path.is_file():
        pytest.skip("needs the shared clips")
    kernel = np.full((1, 21), 1.0 / 21.0)
    tracker = PeopleTracker(create_detector("blazepose", DetectorSettings(device="cpu")), 1)
    with VideoFile(path) as film:
        frames = [
            replace(f, image=np.asarray(cv2.filter2D(f.image, -1, kernel), np.uint8)) for f in film
        ]
    poses = [pose for _, found in tracker.follow(frames) for pose in found]
    truth = np.load(path.with_name(f"{clip}_gt.npz"))["joints_2d"]
    tall = np.median(np.ptp(truth[..., 1], axis=1))
    away = [np.linalg.norm(p.keypoints - truth[p.frame_index], axis=1).mean() for p in poses]
    assert np.median(away) < 0.1 * tall
    assert len(poses) >= row * len(frames)
    assert {pose.person_id for pose in poses} == {0}


@pytest.mark.parametrize(
    ("clip", "first", "least"), [("arm_signals", 20, 70), ("walk_turn", 35, 55)]
)
def test_small_blurred_people_are_found_only_where_they_move(
    monkeypatch: pytest.MonkeyPatch, clip: str, first: int, least: int
) -> None:
    """Films shrunken into a larger still picture, with 21 px of motion blur."""
    kernel = np.full((1, 21), 1.0 / 21.0)
    with VideoFile(ROOT / "demo_videos" / f"{clip}.mp4", max_frames=90) as film:
        whole = list(film)
    height, width = whole[0].image.shape[:2]
    x, y = round(0.3 * width), round(0.3 * height)
    frames = []
    for frame in whole:
        picture = np.full_like(frame.image, 128)
        small = cv2.resize(frame.image, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
        picture[y : y + small.shape[0], x : x + small.shape[1]] = small
        blurred = np.asarray(cv2.filter2D(picture, -1, kernel), np.uint8)
        frames.append(replace(frame, image=blurred))

    def seen() -> list[Pose2D]:
        tracker = PeopleTracker(create_detector("blazepose", DetectorSettings(device="cpu")), 1)
        return [pose for _, found in tracker.follow(frames) for pose in found]

    with monkeypatch.context() as patched:
        patched.setattr(Moving, "__call__", lambda *_: [])
        assert seen() == [], "the person detector finds them: that tests nothing"
    poses = seen()
    assert len(poses) >= least
    assert poses[0].frame_index <= first
    truth = np.load(ROOT / "demo_videos" / f"{clip}_gt.npz")["joints_2d"] * 0.4 + (x, y)
    tall = np.median(np.ptp(truth[..., 1], axis=1))
    away = [np.linalg.norm(p.keypoints - truth[p.frame_index], axis=1).mean() for p in poses]
    assert np.median(away) < 0.1 * tall
    assert {pose.person_id for pose in poses} == {0}


def test_round_shapes_that_move_are_nobody() -> None:
    """A body and a head without limbs: the keypoint model is sure of a head and shoulders."""
    tracker = PeopleTracker(
        create_detector("blazepose", DetectorSettings(people=2, device="cpu")), 2
    )
    behind = np.random.default_rng(3).integers(60, 200, (6, 4, 3), np.uint8)
    behind = cv2.resize(behind, (640, 360), interpolation=cv2.INTER_CUBIC)
    rows = 0
    for i in range(60):
        picture = behind.copy()
        x = 320 + round(224 * math.sin(i / 12))
        cv2.ellipse(picture, (x, 198), (64, 90), 0, 0, 360, (200, 180, 150), -1)
        cv2.circle(picture, (x, 86), 22, (140, 160, 210), -1)
        rows += len(tracker(Frame(i, i / 30, picture, 0.0)))
    assert rows == 0


WHOLE = (360, 640)
AROUND = (128, 128)
"""The part around somebody small."""
SQUARES = 3 * [(360, 360)]
HALVES = 8 * [(216, 216)]
THIRDS = 15 * [(155, 155)]


def test_smaller_and_smaller_parts_are_searched_till_enough_people_are_there() -> None:
    picture = room((200, 180), (630, 10))
    for width, parts in ((640, 2 * [AROUND]), (400, SQUARES), (300, SQUARES + HALVES)):
        search = Searcher(Search(live=False), NearSighted(width), slots=2)
        assert search(picture) == [(200.5, 180.5), (630.5, 10.5)], "nobody twice at a seam"
        assert search.asked == [WHOLE, *parts]
    search = Searcher(Search(live=False), NearSighted(160), slots=3)
    assert search(picture) == [(200.5, 180.5), (630.5, 10.5)]
    assert search.asked == [WHOLE, *SQUARES, *HALVES, *THIRDS]


def test_in_a_second_of_film_an_empty_room_costs_two_searches_and_one_of_the_smallest_parts() -> (
    None
):
    search = Searcher(Search(live=False), NearSighted(300))
    for _ in range(30):
        search(room())
    assert search.detector.sizes.count(WHOLE) == 30
    assert len(search.detector.sizes) == 30 + 2 * (3 + 8) + 15


def test_where_enough_are_known_no_part_is_searched() -> None:
    found = Believer().locate(room(), [Region((100.0, 100.0), 40.0, 40.0)])
    search = Searcher(Search(live=False), NearSighted(300))
    assert search(room((400, 300)), [Sight.of(one) for one in found]) == []
    assert search.asked == [WHOLE]


def test_after_a_cut_or_a_loss_the_search_begins_again_but_not_in_every_frame() -> None:
    search = Searcher(Search(live=False), NearSighted(300))
    search(room())
    search(room())
    assert search.asked == [WHOLE]
    search.search.restart(search.now)  # a loss just after a search
    search(room())
    assert search.asked == [WHOLE]
    search.search.restart()  # a cut
    search(room())
    assert search.asked == [WHOLE, *SQUARES, *HALVES, *THIRDS]
    search.now += 0.3
    search.search.restart(search.now)
    search(room())
    assert search.asked == [WHOLE, *SQUARES, *HALVES, *THIRDS]


@pytest.mark.parametrize("live", [True, False])
def test_who_was_lost_is_looked_for_around_that_place_first(live: bool) -> None:
    search = Searcher(Search(live=live), NearSighted(300))
    lost = [Region((630.0, 340.0), 60.0, 60.0)]
    assert search(room((620, 330)), lost=lost) == [(620.5, 330.5)]
    assert search.asked == [WHOLE, (150, 150)]


def test_live_it_is_two_parts_a_frame_and_one_while_others_are_followed() -> None:
    search = Searcher(Search(live=True), NearSighted(300), slots=2)
    known = [Sight.of(one) for one in Believer().locate(room(), [Region((9.0, 9.0), 9.0, 9.0)])]
    search(room(), known)
    assert len(search.asked) == 1 + 1
    seen = [search(room((630, 340))) for _ in range(13)]
    assert search.asked == [WHOLE, *search.asked[1:3]]
    assert [(630.5, 340.5)] in seen, "half a second is enough for all parts"


def test_where_something_has_just_changed_somebody_is_looked_for_at_once() -> None:
    """Without waiting for the next search of all parts; of nobody who is known."""
    grey, changed = np.full((360, 640, 3), 40, np.uint8), np.full((360, 640, 3), 40, np.uint8)
    grey[..., 0], changed[..., 0] = 0, 0
    changed[150:190, 590:620, 1] = 90
    changed[170, 600, 0] = 255
    for live in (False, True):
        search = Searcher(Search(live=live), NearSighted(300))
        for _ in range(6):
            search(grey)
        assert search(changed) == [(600.5, 170.5)]
        assert search.asked == [WHOLE, (155, 155)]
        known = [Sight.of(one) for one in Believer().locate(grey, [Region((9, 9), 9, 9)])]
        search = Searcher(Search(live=live), NearSighted(100), slots=2)
        for _ in range(6):
            search(grey, known)
        parts = []
        for picture in (changed, grey):  # live in turns with all other parts
            search(picture, known)
            parts.append(search.asked[1:])
        assert parts == [[(155, 155)], [(216, 216)] if live else [(155, 155)]]
        around = [Sight.of(one) for one in Believer().locate(grey, [Region((605, 170), 90, 90)])]
        search(grey, around)
        assert (155, 155) not in search.asked


def test_a_one_stage_model_is_shown_parts_and_goes_on_around_whom_it_found(tmp_path: Path) -> None:
    box = np.array([900.0, 100.0, 940.0, 200.0])
    grid = np.stack(np.meshgrid(np.linspace(0.1, 0.9, 4), np.linspace(0.05, 0.95, 5)), -1)
    points = box[:2] + grid.reshape(-1, 2)[:17] * (box[2:] - box[:2])
    picture = np.zeros((720, 1280, 3), np.uint8)
    picture[:, :400] = 255  # or it would be taken for dark, and its colours changed
    onnx_models.draw_person(picture, box, points, radius=4.0)
    model = OnnxModel.open(onnx_models.rtmo_model(tmp_path / "rtmo.onnx", (416, 416)))
    widths: list[int] = []

    class NearSightedRTMO(RTMO):
        """The drawn model reads pixels; this one sees as little as those trained on people."""

        def detect(self, frame: Frame) -> list[Found]:
            widths.append(frame.size[0])
            return super().detect(frame) if frame.size[0] < 500 else []

    for in_parts in (False, True):
        tracker = PeopleTracker(OneStage("rtmo", NearSightedRTMO(model), in_parts=in_parts))
        widths.clear()
        rows = [tracker(Frame(i, i / 30.0, picture, 0.0)) for i in range(3)]
        assert [len(poses) for poses in rows] == 3 * [int(in_parts)]
        if in_parts:
            wrist = rows[-1][0].keypoints[L_WRIST]
            np.testing.assert_allclose(wrist, points[COCO_17.index("left_wrist")], atol=1.0)
            assert widths[:12] == [1280, *3 * [720], *8 * [432]]
            assert widths[12:] == [1280, pytest.approx(250, abs=9)] * 2
        else:
            assert widths == 3 * [1280]


def far(image: Image, height: float, truth: np.ndarray) -> Image:
    """The picture shrunk onto a plain one, so that the person is so many pixels high."""
    scale = height / float(np.ptp(truth[:, 1]))
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    plain = np.full_like(image, 128)
    y, x = 20, image.shape[1] - small.shape[1] - 30
    plain[y : y + small.shape[0], x : x + small.shape[1]] = small
    return np.asarray(plain, np.uint8)


def rows_of(frames: Sequence[Frame], people: int = 1, *, live: bool = False) -> list[int]:
    models = create_detector("blazepose", DetectorSettings(people=people, device="cpu"))
    tracker = PeopleTracker(models, people, live=live)
    rows = [len(tracker(frame)) for frame in frames]
    models.close()
    return rows


@pytest.mark.parametrize("name", ["walk_turn", "arm_signals"])
def test_somebody_of_60_pixels_in_360_lines_is_there_from_the_first_frame(name: str) -> None:
    clip = ROOT / "demo_videos" / f"{name}.mp4"
    truth = np.load(clip.with_name(f"{name}_gt.npz"))["joints_2d"]
    with VideoFile(clip, max_frames=12) as video:
        frames = [replace(f, image=far(f.image, 60.0, truth[f.index])) for f in video]
    assert rows_of(frames) == 12 * [1]
    assert sum(rows_of(frames, live=True)[8:]) == 4


@pytest.mark.skipif(not (SHARED / "field").exists(), reason="real clips are not here")
@pytest.mark.parametrize(
    ("clip", "people", "least"), [("classroom", 4, 4), ("tennis_broadcast", 8, 5)]
)
def test_small_people_in_real_rooms(clip: str, people: int, least: int) -> None:
    with VideoFile(SHARED / "field" / f"{clip}.mp4", max_frames=3) as video:
        rows = rows_of(list(video), people)
    assert min(rows) >= least


@pytest.mark.skipif(not (SHARED / "field").exists(), reason="real clips are not here")
def test_hips_behind_a_table_are_below_the_shoulders_from_the_first_frame() -> None:
    """A man on the right whom the person detector puts too far left in the whole picture."""
    tracker = PeopleTracker(create_detector("blazepose", DetectorSettings(device="cpu")))
    with VideoFile(SHARED / "field" / "classroom.mp4", max_frames=12) as film:
        poses = [pose for _, seen in tracker.follow(film) for pose in seen]
    assert len(poses) == 12
    for pose in poses:
        across = pose.keypoints[HIP] - pose.keypoints[THORAX]
        assert abs(across[0]) < 0.3 * across[1], pose.frame_index


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
    class Boxes(NearSighted):
        """A person detector for boxes: sees the part of one body that is in the picture."""

        def find(self, image: Image) -> list[Region]:
            rows, columns = np.nonzero(image[..., 0])
            if not len(rows):
                return []
            low = np.array([columns.min(), rows.min()], float)
            high = np.array([columns.max(), rows.max()], float) + 1.0
            middle, size = 0.5 * (low + high), high - low
            return [Region((middle[0], middle[1]), float(size[0]), float(size[1]), 0.0, 0.9)]

    image = room()
    image[60:310, 60:160] = 255  # higher than the smaller parts
    search = Searcher(Search(live=False), Boxes(0), slots=2)
    assert search(image) == [(110.0, 185.0)]
