"""Live sources against a loopback camera that stalls, changes, breaks and goes away."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest

from posemamba_live.detectors import create_detector
from posemamba_live.errors import SourceError
from posemamba_live.sources import (
    LiveSource,
    Source,
    Stream,
    VideoFile,
    base,
    container,
    open_source,
)
from posemamba_live.sources.live import BACK_OFF_S
from posemamba_live.tracking.people import PeopleTracker
from posemamba_live.types import Frame
from tests.support.films import encode
from tests.support.mjpeg_server import MjpegServer

WALK = Path(__file__).parents[1] / "demo_videos" / "walk_turn.mp4"
PATIENCE_S = 20.0
"""How long to wait for something that takes far less on an idle machine."""


@pytest.fixture
def network_camera() -> Iterator[MjpegServer]:
    with MjpegServer(WALK, max_frames=30) as server:
        yield server


@pytest.fixture
def source(network_camera) -> Iterator[LiveSource]:
    opened = open_source(network_camera.url)
    assert isinstance(opened, LiveSource)
    with opened:
        yield opened


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def take(source: LiveSource, count: int) -> list[Frame]:
    return list(islice(source, count))


def test_a_stream_gives_fresh_frames_with_increasing_indices_and_times(source):
    assert source.live
    assert source.size == (640, 360)
    frames = take(source, 40)
    assert np.all(np.diff([frame.index for frame in frames]) > 0)
    times = np.array([frame.timestamp for frame in frames])
    captured = np.array([frame.captured_at for frame in frames])
    assert np.all(np.diff(times) > 0)
    np.testing.assert_allclose(times - times[0], captured - captured[0], atol=1e-9)
    assert source.status == ""


def test_the_rate_of_a_stream_is_measured():
    with MjpegServer(WALK, fps=12.0, max_frames=10) as slow, open_source(slow.url) as source:
        guess = source.fps
        take(source, 35)
        assert 2.0 < source.fps < 16.0 < guess


def test_the_newest_frame_wins_and_the_others_are_counted(source):
    frames = iter(source)
    first = next(frames)
    wait_for(lambda: source.captured > first.index + 10)
    before = source.captured
    second = next(frames)
    assert second.index >= before - 1
    assert source.dropped >= second.index - first.index - 1


def test_changed_resolution_is_fitted(source, network_camera):
    take(source, 3)
    network_camera.resize((320, 180))
    frames = take(source, 15)
    assert {frame.size for frame in frames} == {(640, 360)}
    assert frames[-1].image.mean() > 30  # a picture, not black bars
    network_camera.resize((1280, 720))
    assert {frame.size for frame in take(source, 15)} == {(640, 360)}


def test_corrupt_pictures_do_not_end_the_stream(source, network_camera):
    first = take(source, 3)[-1]
    network_camera.send_corrupt(2)
    frames = take(source, 20)
    assert frames[-1].index > first.index
    assert source.status == ""


def test_a_stalled_camera_is_told_and_goes_on(source, network_camera):
    last = take(source, 3)[-1]
    network_camera.stall()
    wait_for(lambda: "no picture" in source.status or "lost" in source.status)
    network_camera.resume()
    frames = take(source, 10)
    assert frames[-1].timestamp > last.timestamp + 1.0
    wait_for(lambda: source.status == "")


def test_a_camera_that_goes_away_is_awaited(source, network_camera):
    last = take(source, 3)[-1]
    network_camera.unplug()
    wait_for(lambda: "lost" in source.status)
    time.sleep(0.5)
    network_camera.plug()
    after = [frame for frame in take(source, 10) if frame.captured_at > last.captured_at + 0.5]
    assert after
    assert after[-1].index > last.index
    assert after[-1].timestamp - last.timestamp == pytest.approx(
        after[-1].captured_at - last.captured_at
    )
    wait_for(lambda: source.status == "")


def test_a_fast_camera_that_hangs_up_is_no_film_that_ended():
    """MJPEG carries no times: by FFmpeg's 25 pictures a second any fast camera is ahead of them."""
    with MjpegServer(WALK, max_frames=10, fps=120.0) as camera, open_source(camera.url) as source:
        wait_for(lambda: source.captured > 60)
        camera.unplug()
        wait_for(lambda: "lost" in source.status)
        camera.plug()
        count = source.captured
        wait_for(lambda: source.captured > count + 30)


def test_close_does_not_wait_for_a_read_that_hangs(source, network_camera):
    take(source, 3)
    network_camera.stall()
    time.sleep(0.3)
    source.close()
    hanging = [t for t in threading.enumerate() if t.name.startswith("read http")]
    assert hanging, "the read was expected to hang still"
    assert list(source) == []
    network_camera.resume()
    wait_for(lambda: not hanging[0].is_alive())


def test_close_wakes_whoever_waits_for_a_frame(source, network_camera):
    network_camera.stall()
    got: list[list[Frame]] = []
    waiting = threading.Thread(target=lambda: got.append(list(source)))
    waiting.start()
    time.sleep(0.2)
    source.close()
    waiting.join(PATIENCE_S)
    assert len(got) == 1


def test_close_leaves_no_thread_behind(network_camera):
    opened = open_source(network_camera.url)
    names = ("capture http", "read http")
    thread = [t for t in threading.enumerate() if t.name.startswith(names)]
    assert len(thread) == 2
    opened.close()
    opened.close()
    assert not any(t.is_alive() for t in thread)


def test_max_frames_and_duration_end_a_live_source(network_camera):
    with open_source(network_camera.url, max_frames=5) as limited:
        assert len(list(limited)) == 5
    with open_source(network_camera.url, duration=0.5) as limited:
        frames = list(limited)
    assert frames
    assert frames[-1].timestamp < 2.0


def test_duration_ends_a_silent_source_too(network_camera):
    with open_source(network_camera.url, duration=0.5) as limited:
        network_camera.stall()
        assert len(list(limited)) < 30


def test_a_lost_camera_that_never_returns_can_be_closed(source, network_camera):
    take(source, 2)
    network_camera.unplug()
    wait_for(lambda: "lost" in source.status)
    source.close()
    assert list(source) == []


def test_people_leave_the_picture(source, network_camera):
    take(source, 2)
    network_camera.leave()
    assert take(source, 15)[-1].image.std() < 2.0
    network_camera.enter()
    assert take(source, 15)[-1].image.std() > 10.0


def test_a_file_in_real_time_plays_at_its_own_rate_and_ends(network_camera):
    start = time.monotonic()
    with open_source(str(WALK), realtime=True, end=1.0) as played:
        frames = list(played)
        assert played.captured == 30
        assert played.captured == played.dropped + len(frames)
    assert time.monotonic() - start >= 29 / 30
    assert frames[-1].index == 29
    lateness = np.array([frame.captured_at - frame.timestamp for frame in frames])
    assert np.all(lateness - lateness[0] > -1e-3), "no frame comes before its time"


def test_real_time_with_a_slow_reader_drops_and_still_ends():
    with open_source(str(WALK), realtime=True, end=1.0) as played:
        taken = []
        for frame in played:
            taken.append(frame.index)
            time.sleep(0.15)
        assert played.dropped == 30 - len(taken) > 10
    assert taken == sorted(taken)


def test_a_failure_in_the_thread_reaches_the_reader():
    class Failing(VideoFile):
        def __iter__(self) -> Iterator[Frame]:
            yield from islice(super().__iter__(), 2)
            raise RuntimeError("decoder gave up")

    with (
        LiveSource(lambda: Failing(WALK)) as played,
        pytest.raises(RuntimeError, match="gave up"),
    ):
        list(played)


def test_a_stream_without_threads_reads_every_picture(network_camera):
    with Stream(network_camera.url) as stream:
        frames = take(stream, 10)
    assert [frame.index for frame in frames] == list(range(10))


def test_a_camera_that_grows_and_shrinks_goes_on_showing_motion(source, network_camera):
    """OpenCV alone hands out the last small picture for ever, and says nothing."""
    take(source, 3)
    for size in ((1280, 720), (320, 180), (640, 360)):
        network_camera.resize(size)
        time.sleep(0.3)
        frames = take(source, 12)[2:]
        assert {frame.size for frame in frames} == {(640, 360)}
        # The clip plays to and fro: some pictures come twice, none stands.
        assert len({frame.image.tobytes() for frame in frames}) >= 5
        steps = [np.abs(a.image.astype(int) - b.image).mean() for a, b in pairwise(frames)]
        assert np.mean(np.array(steps) > 0.1) > 0.7


def test_a_picture_beyond_all_measure_is_not_decoded(network_camera, monkeypatch):
    for module in (base, container):
        monkeypatch.setattr(module, "MAX_PIXELS", 300_000)
    with open_source(network_camera.url) as source:
        take(source, 3)
        network_camera.resize((1280, 720))
        time.sleep(0.5)
        count = source.captured
        time.sleep(0.5)
        assert source.captured == count
        network_camera.resize((320, 180))
        assert take(source, 10)[-1].image.mean() > 30
        assert source.captured > count


def test_poses_go_on_moving_in_pixels_of_the_first_size(tmp_path):
    """A film of somebody who walks, which grows after a second."""
    with VideoFile(WALK, max_frames=60) as film:
        images = [frame.image for frame in film]
    times = [index / 30 for index in range(60)]
    grown = [cv2.resize(image, (1280, 720)) for image in images[30:]]
    encode(tmp_path / "a.ts", images[:30], times=times[:30])
    encode(tmp_path / "b.ts", grown, times=times[30:])
    path = tmp_path / "grow.ts"
    path.write_bytes((tmp_path / "a.ts").read_bytes() + (tmp_path / "b.ts").read_bytes())
    hips = {}
    detector = create_detector()
    for name in (path, WALK):
        track = PeopleTracker(detector)
        with VideoFile(name, max_frames=60) as film:
            found = [track(frame) for frame in film if frame.index >= 25]
        assert {pose.person_id for people in found for pose in people} == {0}
        hips[name] = np.array([people[0].keypoints[0] for people in found])
    detector.close()
    assert np.abs(hips[path] - hips[WALK]).max() < 6.0
    assert np.ptp(hips[path][8:, 0]) > 5.0


class Fickle(Source):
    """Gives three pictures and hangs up, every time."""

    name, size, fps, frame_count, live = "fickle", (32, 24), 30.0, None, True
    opened: ClassVar[list[float]] = []

    def __init__(self) -> None:
        self.opened.append(time.monotonic())

    def __iter__(self) -> Iterator[Frame]:
        for i in range(3):
            yield Frame(i, i / 30, np.zeros((24, 32, 3), np.uint8), time.monotonic())
        raise SourceError("hung up")

    def close(self) -> None:
        pass


def test_who_hangs_up_again_and_again_is_asked_ever_more_rarely(caplog):
    Fickle.opened.clear()
    with LiveSource(Fickle, duration=4.0) as source:
        frames = list(source)
    assert 4 <= len(Fickle.opened) <= 5  # at 0, 0.25, 0.75, 1.75 and 3.75 s
    waits = np.diff(Fickle.opened)
    assert (waits >= BACK_OFF_S[: len(waits)]).all()
    assert frames[-1].timestamp > 1.5
    told = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert told == ["fickle was lost; waiting for it to come back", "fickle is back"]


def test_a_connection_that_held_is_asked_again_at_once(monkeypatch):
    monkeypatch.setattr("posemamba_live.sources.live.HELD_S", 0.0)
    Fickle.opened.clear()
    with LiveSource(Fickle, duration=1.4) as source:
        list(source)
    assert len(Fickle.opened) >= 4
