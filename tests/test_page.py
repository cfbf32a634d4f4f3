"""The browser's page, in a real browser: it shows what was sent, and comes back by itself."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from posemamba_live.streams import StreamAddress
from posemamba_live.streams.websocket import WebSocketStream
from tests.support.browser import Browser, find_browser
from tests.support.stream_poses import INFO, picture

pytestmark = pytest.mark.skipif(find_browser() is None, reason="needs the program chromium")

WIDTH, HEIGHT = 960, 600


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser((WIDTH, HEIGHT)) as opened:
        yield opened


@contextmanager
def streaming(people: int, port: int = 0) -> Iterator[WebSocketStream]:
    """A server that sends the same people over and over, as a run would."""
    server = WebSocketStream(StreamAddress("ws", "127.0.0.1", port), INFO)
    over = threading.Event()

    def send() -> None:
        index = 0
        while not over.wait(1 / 30):
            server.write(*picture(index, people))
            index += 1

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield server
    finally:
        over.set()
        thread.join()
        server.close()


def shown(browser: Browser) -> NDArray[np.uint8]:
    """What the tab shows, (H, W, 3) BGR."""
    data = np.frombuffer(browser.screenshot(), np.uint8)
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def still(browser: Browser) -> None:
    """Wait until the view has stopped gliding."""
    browser.value(
        "new Promise(done => { let last = ''; const check = () => {"
        " const now = String(posemamba.drawn.people.map(p => p.joints_px.flat().map(Math.round)));"
        " if (now === last) done(true); else { last = now; setTimeout(check, 250); } }; check(); })"
    )


def test_it_draws_the_joints_that_were_sent(browser: Browser) -> None:
    with streaming(people=2) as server:
        browser.open(f"http://localhost:{server.port}/")
        browser.wait_for("window.posemamba && posemamba.received > 20 && posemamba.drawn")
        still(browser)
        state = browser.value("posemamba")
        image = shown(browser)
        figures = browser.wait_for(
            "document.getElementById('dot').className === 'live' &&"
            "['rate', 'age', 'people', 'source'].map(id => document.getElementById(id).innerText)"
        )
    assert not browser.console, "the page has no complaints"
    assert state["header"]["source"] == "walk.mp4"
    _, poses = picture(0, people=2)
    for person, drawn, pose in zip(state["people"], state["drawn"]["people"], poses, strict=True):
        assert person["person_id"] == drawn["person_id"] == pose.person_id
        np.testing.assert_allclose(person["joints_world"], pose.joints_world, atol=6e-5)
        pixels = np.array(drawn["joints_px"])
        assert (pixels > 0).all()
        assert (pixels < [WIDTH, HEIGHT]).all()
        head, left_wrist, left_ankle = pixels[10], pixels[13], pixels[6]
        assert left_wrist[1] < head[1] < left_ankle[1], "the raised arm is above the head"
        # Somebody who faces the camera has the left arm at the right of the picture.
        assert pixels[11, 0] > pixels[14, 0]
        middle_of_forearm = 0.5 * (pixels[12] + pixels[13])
        b, g, r = image[int(middle_of_forearm[1]), int(middle_of_forearm[0])].astype(int)
        assert max(b, g) > r + 20, "a left arm is cool"
        middle_of_forearm = 0.5 * (pixels[15] + pixels[16])
        b, g, r = image[int(middle_of_forearm[1]), int(middle_of_forearm[0])].astype(int)
        assert r > max(b, g), "a right arm is warm"
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 500, "not blank"
    rate, age, people, source = figures
    assert float(rate) > 0.0
    assert re.fullmatch(r"\d+ m?s", age)
    assert (people, source) == ("2", "walk.mp4")


def test_the_picture_turns_with_the_mouse(browser: Browser) -> None:
    with streaming(people=1) as server:
        browser.open(f"http://localhost:{server.port}/")
        browser.wait_for("window.posemamba && posemamba.received > 5 && posemamba.drawn")
        still(browser)
        joints = "posemamba.drawn.people[0].joints_px"
        before = np.array(browser.value(joints))
        assert before[9, 0] < before[10, 0], "seen from the person's left side"
        for kind, x in (("mousePressed", 400), ("mouseMoved", 600), ("mouseReleased", 600)):
            browser.call(
                "Input.dispatchMouseEvent",
                type=kind, x=x, y=300, button="left", buttons=1, clickCount=1,
            )  # fmt: skip
        # What is near follows the hand: the nose turns to the right.
        browser.wait_for(f"{joints}[9][0] > {joints}[10][0] + 5")
        browser.value("document.querySelector('[data-view=front]').click()")
        still(browser)
        front = np.array(browser.value(joints))
        assert front[11, 0] - front[14, 0] > 60, "seen from the front the shoulders are wide"
        assert abs(front[0, 0] - WIDTH / 2) < 5, "in the middle"


def test_it_finds_its_way_back(browser: Browser) -> None:
    with streaming(people=1) as server:
        port = server.port
        browser.open(f"http://localhost:{port}/")
        browser.wait_for("window.posemamba && posemamba.connected && posemamba.received > 0")
    browser.wait_for("!posemamba.connected")
    browser.wait_for("document.getElementById('source').innerText.startsWith('connection lost')")
    with streaming(people=3, port=port):
        browser.wait_for("posemamba.connected && posemamba.people.length === 3")
        browser.wait_for("posemamba.drawn.people.length === 3")


def test_an_empty_room_is_said(browser: Browser) -> None:
    with streaming(people=0) as server:
        browser.open(f"http://localhost:{server.port}/")
        browser.wait_for("window.posemamba && posemamba.received > 0")
        browser.wait_for("document.getElementById('message').innerText === 'nobody in the picture'")
