"""Streams: what arrives, in which form, who may read it, and that nobody can slow the run.

Receivers are real sockets and a real WebSocket client, on loopback only.
"""

from __future__ import annotations

import http.client
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from posemamba.skeleton import JOINT_NAMES, PARENTS
from posemamba_live.address import parse_address
from posemamba_live.errors import SinkError, UsageError
from posemamba_live.shown import public
from posemamba_live.streams import StreamAddress, open_stream, websocket
from posemamba_live.streams.base import DATAGRAM_LIMIT, is_loopback
from posemamba_live.streams.websocket import BINARY, JSON, MAX_CLIENTS, WebSocketStream
from tests.support.stream_poses import INFO, STANDING, picture

LOOPBACK = "127.0.0.1"


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for something that another thread is about to do."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


# -- addresses -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ws://localhost:9000", StreamAddress("ws", "localhost", 9000)),
        ("ws://", StreamAddress("ws", LOOPBACK, 8765)),
        ("ws://:9000/", StreamAddress("ws", LOOPBACK, 9000)),
        ("ws://[::1]", StreamAddress("ws", "::1", 8765)),
        ("osc://192.168.1.20", StreamAddress("osc", "192.168.1.20", 39539)),
        ("osc://?place=camera", StreamAddress("osc", LOOPBACK, 39539, place="camera")),
        ("udp://studio:9?format=binary", StreamAddress("udp", "studio", 9, "binary")),
        (
            "ws://?origin=http://localhost:3000/&origin=https://a.example",
            StreamAddress(
                "ws", LOOPBACK, 8765, origins=("http://localhost:3000", "https://a.example")
            ),
        ),
    ],
)
def test_addresses_are_read(url: str, expected: StreamAddress) -> None:
    assert parse_address(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "", "localhost:8765", "http://localhost:8765", "ws:localhost", "ws://localhost:0",
        "ws://localhost:70000", "ws://localhost:port", "ws://me@localhost", "ws://localhost/poses",
        "udp://host?format=xml", "udp://host?speed=9", "osc://host?format=binary",
        "osc://host?place=moon", "ws://[::1",
        "ws://localhost?origin=evil", "udp://host?format=json&format=binary", "ws://a?b",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_address(url)
    assert f"--stream {public(url)}" in str(caught.value)
    assert caught.value.hint


# -- datagrams -------------------------------------------------------------------------------


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((LOOPBACK, 0))
        sock.settimeout(10.0)
        yield sock


def decode(data: bytes) -> dict[str, Any]:
    """Reads the binary form by what is written about it, with nothing of the writer."""
    magic, version, joints, count, index, timestamp, age, zero = struct.unpack_from(
        "<4sBBHqdfI", data
    )
    assert (magic, version, joints, zero) == (b"PMLB", 1, 17, 0)
    assert len(data) == 32 + 292 * count
    people = []
    for start in range(32, len(data), 292):
        person, flags, look_ahead = struct.unpack_from("<iHH", data, start)
        numbers = struct.unpack_from("<71f", data, start + 8)
        people.append(
            {
                "person_id": person,
                "predicted": bool(flags & 1),
                "look_ahead": look_ahead,
                "root_3d": list(numbers[:3]),
                "joints_world": np.reshape(numbers[3:54], (17, 3)).tolist(),
                "scores_2d": list(numbers[54:]),
            }
        )
    return {"frame_index": index, "timestamp": timestamp, "age_ms": age, "people": people}


@pytest.mark.parametrize("form", ["json", "binary"])
@pytest.mark.parametrize("people", [0, 1, 4])
def test_a_datagram_per_picture(form: str, people: int, receiver: socket.socket) -> None:
    address = StreamAddress("udp", LOOPBACK, receiver.getsockname()[1], form)
    stream = open_stream(address, INFO, people=4)
    frame, poses = picture(2**40, people, predicted=True)
    stream.write(frame, poses)
    data = receiver.recv(65536)
    assert len(data) <= DATAGRAM_LIMIT * max(1, people if form == "json" else 1)
    message = json.loads(data) if form == "json" else decode(data)
    assert message["frame_index"] == 2**40
    assert message["timestamp"] == pytest.approx(frame.timestamp, abs=1e-6)
    assert 20.0 <= message["age_ms"] < 5000.0
    assert [person["person_id"] for person in message["people"]] == list(range(7, 7 + people))
    for person, pose in zip(message["people"], poses, strict=True):
        assert (person["predicted"], person["look_ahead"]) == (True, 2)
        np.testing.assert_allclose(person["joints_world"], pose.joints_world, atol=6e-5)
        np.testing.assert_allclose(person["root_3d"], pose.root, atol=6e-5)
        np.testing.assert_allclose(person["scores_2d"], pose.pose2d.scores, atol=6e-4)
    stream.close()
    assert (stream.figures.sent, stream.figures.dropped, stream.figures.trouble) == (1, 0, "")


def test_a_receiver_may_come_late_and_go(
    receiver: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    host, port = receiver.getsockname()
    receiver.close()  # nobody listens there now
    stream = open_stream(StreamAddress("udp", host, port), INFO, people=1)
    for index in range(20):
        stream.write(*picture(index))
        time.sleep(0.005)
    figures = stream.figures
    assert figures.dropped >= 15, "nobody took them"
    assert figures.sent + figures.dropped == 20
    assert figures.trouble
    told = [record for record in caplog.records if str(port) in record.getMessage()]
    assert len(told) == 1, "trouble is told once"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as late:
        late.bind((host, port))
        late.settimeout(10.0)
        for index in range(20, 24):
            stream.write(*picture(index))
        assert [json.loads(late.recv(65536))["frame_index"] for _ in range(4)] == [20, 21, 22, 23]
    stream.close()


def test_a_host_that_nobody_knows() -> None:
    for scheme in ("udp", "ws"):
        with pytest.raises(SinkError, match="no-such-host"):
            open_stream(StreamAddress(scheme, "no-such-host.invalid", 9), INFO, people=1)


# -- WebSocket -------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[WebSocketStream]:
    stream = WebSocketStream(StreamAddress("ws", LOOPBACK, 0), INFO, stalled_s=1.0)
    yield stream
    stream.close()


@contextmanager
def client(server: WebSocketStream, **options: Any) -> Iterator[ClientConnection]:
    """A connected client that has got the header: from then on it gets every picture."""
    with connect(f"ws://{LOOPBACK}:{server.port}", compression=None, **options) as connection:
        assert json.loads(connection.recv(timeout=10.0))["type"] == "header"
        yield connection


@pytest.mark.parametrize("form", [None, JSON, BINARY])
def test_a_header_and_then_every_picture(server: WebSocketStream, form: Any) -> None:
    url = f"ws://{LOOPBACK}:{server.port}"
    with connect(url, subprotocols=[form] if form else None) as connection:
        assert connection.subprotocol == form
        header = json.loads(connection.recv(timeout=10.0))
        assert (header["type"], header["schema"]) == ("header", "posemamba.pose")
        assert (header["version"], header["units"], header["fps"]) == (1, "m", 30.0)
        assert tuple(header["joint_names"]) == JOINT_NAMES
        assert tuple(header["joint_parents"]) == PARENTS
        assert (header["source"], header["live"]) == ("walk.mp4", True)
        for index in range(5):
            server.write(*picture(index, people=2))
            data = connection.recv(timeout=10.0)
            message = decode(data) if isinstance(data, bytes) else json.loads(data)
            assert isinstance(data, bytes) == (form == BINARY)
            assert message["frame_index"] == index
            assert [person["person_id"] for person in message["people"]] == [7, 8]
            np.testing.assert_allclose(message["people"][0]["joints_world"], STANDING, atol=6e-5)
    server.close()
    assert (server.figures.sent, server.figures.dropped, server.figures.receivers) == (5, 0, 1)


def test_closing_says_good_bye_after_the_last_picture(server: WebSocketStream) -> None:
    with client(server) as connection:
        server.write(*picture(41))
        server.write(*picture(42))
        server.close()
        *_, last = (json.loads(message)["frame_index"] for message in connection)
        assert last == 42
        with pytest.raises(ConnectionClosed) as caught:
            connection.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1001
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((LOOPBACK, server.port))
    server.write(*picture(43))
    server.close()


def test_a_client_that_stops_reading_harms_nobody(server: WebSocketStream) -> None:
    """Writing never waits, others get the newest, memory stays, and the client is sent away."""
    hung = socket.create_connection((LOOPBACK, server.port))
    hung.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    hung.sendall(
        b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    eventually(lambda: server.figures.receivers == 1)
    seen: list[int] = []
    with client(server, subprotocols=[BINARY], max_queue=None) as reader:

        def read() -> None:
            seen.extend(decode(m)["frame_index"] for m in reader if isinstance(m, bytes))

        thread = threading.Thread(target=read)
        thread.start()
        count = most = 0
        # Far more than the sockets hold; the last ones when it has been sent away.
        began = time.monotonic()
        while time.monotonic() - began < 3.0:
            server.write(*picture(count, people=4))
            count += 1
            time.sleep(0.001)
            most = max([most, *(client.behind for client in list(server._clients))])
        assert len(server._clients) == 1, "the one that hangs was sent away"
        assert most < 10_000, "nothing piles up for it meanwhile"
        eventually(lambda: bool(seen) and seen[-1] > count - 20)
        server.close()
        thread.join(10.0)
    assert seen == sorted(set(seen)), "in order, none twice"
    assert len(seen) > 100
    lost = server.figures.dropped - (count - len(seen))
    assert lost > 50, "what the hanging client did not take was dropped, not kept"
    hung.close()


def test_who_cannot_take_more_misses_pictures_and_gets_the_newest(
    server: WebSocketStream,
) -> None:
    url = f"ws://{LOOPBACK}:{server.port}"
    # A client that reads only when asked: the system holds a little for it, then no more.
    with connect(url, compression=None, max_queue=1) as connection:
        eventually(lambda: server.figures.receivers == 1)
        for index in range(2000):
            server.write(*picture(index, people=4))
            if server.figures.dropped > 50:
                break
            time.sleep(0.001)
        assert server.figures.dropped > 50
        first_lost = server.figures.sent
        assert json.loads(connection.recv(timeout=10.0))["type"] == "header"
        for expected in range(first_lost):
            assert json.loads(connection.recv(timeout=10.0))["frame_index"] == expected
        server.write(*picture(5000))
        assert json.loads(connection.recv(timeout=10.0))["frame_index"] == 5000


def test_too_many_receivers_are_sent_away(server: WebSocketStream) -> None:
    with ExitStack() as stack:
        inside = [stack.enter_context(client(server)) for _ in range(MAX_CLIENTS)]
        with connect(f"ws://{LOOPBACK}:{server.port}") as one_more:
            with pytest.raises(ConnectionClosed) as caught:
                one_more.recv(timeout=10.0)
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1013
        server.write(*picture(3))
        assert json.loads(inside[-1].recv(timeout=10.0))["frame_index"] == 3


def test_what_clients_say_is_ignored_or_ends_them(server: WebSocketStream) -> None:
    with client(server) as chatty, client(server) as loud:
        for _ in range(100):
            chatty.send("are you there?")
        server.write(*picture(1))
        assert json.loads(chatty.recv(timeout=10.0))["frame_index"] == 1
        loud.send("x" * 2000)
        loud.recv(timeout=10.0)
        with pytest.raises(ConnectionClosed) as caught:
            loud.recv(timeout=10.0)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1009
    with socket.create_connection((LOOPBACK, server.port)) as stranger:
        stranger.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello, TLS\r\n\r\n")
    with client(server) as connection:
        server.write(*picture(2))
        assert json.loads(connection.recv(timeout=10.0))["frame_index"] == 2


def get(server: WebSocketStream, path: str = "/", **headers: str) -> tuple[int, dict[str, str]]:
    connection = http.client.HTTPConnection(LOOPBACK, server.port, timeout=10.0)
    connection.request("GET", path, headers=headers)
    reply = connection.getresponse()
    body = reply.read().decode()
    connection.close()
    return reply.status, {**{k.lower(): v for k, v in reply.getheaders()}, "body": body}


def test_the_page_is_at_the_same_address(server: WebSocketStream) -> None:
    status, reply = get(server)
    assert status == 200
    assert reply["content-type"] == "text/html; charset=utf-8"
    assert reply["body"].rstrip().endswith("</html>")
    assert "default-src 'none'" in reply["content-security-policy"]
    assert get(server, "/?")[0] == 200
    assert get(server, "/etc/passwd")[0] == 404


def test_the_page_needs_nothing_from_elsewhere() -> None:
    import posemamba_live.streams as package

    text = (Path(package.__file__).parent / "page.html").read_text()
    for reference in ("src=", '<link rel="stylesheet"', "@import", "https://", "fetch("):
        assert reference not in text


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("localhost:8765", True),
        ("LOCALHOST", True),
        ("127.0.0.1:8765", True),
        ("[::1]:8765", True),
        ("evil.example:8765", False),
        ("localhost.evil.example", False),
        ("192.168.1.20:8765", False),
        ("", False),
        ("[::1", False),
    ],
)
def test_a_name_that_was_pointed_here_is_refused(
    server: WebSocketStream, host: str, allowed: bool
) -> None:
    assert get(server, Host=host)[0] == (200 if allowed else 403)


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://localhost:PORT", True),
        ("http://friend.example", True),
        ("http://localhost:1", False),
        ("http://evil.example", False),
        ("null", False),
        ("", False),
    ],
)
def test_pages_of_other_sites_cannot_read(origin: str, allowed: bool) -> None:
    address = StreamAddress("ws", LOOPBACK, 0, origins=("http://friend.example",))
    server = WebSocketStream(address, INFO)
    url = f"ws://localhost:{server.port}"
    headers = {"Origin": origin.replace("PORT", str(server.port))}
    try:
        if allowed:
            with connect(url, additional_headers=headers) as connection:
                assert json.loads(connection.recv(timeout=10.0))["type"] == "header"
        else:
            with pytest.raises(InvalidStatus) as caught:
                connect(url, additional_headers=headers).__enter__()
            assert caught.value.response.status_code == 403
    finally:
        server.close()


def test_a_port_that_is_taken(server: WebSocketStream) -> None:
    with pytest.raises(SinkError, match=str(server.port)) as caught:
        WebSocketStream(StreamAddress("ws", LOOPBACK, server.port), INFO)
    assert "another port" in caught.value.hint


def test_listening_for_others_is_said(
    server: WebSocketStream, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert not caplog.records, "nobody else can reach a loopback address"
    # Tests open no port to others; what the server takes this one for is what counts.
    monkeypatch.setattr(websocket, "is_loopback", lambda address: False)
    WebSocketStream(StreamAddress("ws", LOOPBACK, 0), INFO).close()
    assert ["everybody" in record.getMessage() for record in caplog.records] == [True]


def test_who_listens_for_others_is_known_by_address_and_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(websocket, "is_loopback", lambda address: False)
    monkeypatch.setattr(socket, "gethostname", lambda: "Studio")
    server = WebSocketStream(StreamAddress("ws", LOOPBACK, 0), INFO)
    try:
        for host in ("192.168.1.20:8765", "[fe80::1]:8765", "studio:8765", "studio.local"):
            assert get(server, Host=host)[0] == 200, host
        for host in ("evil.example:8765", "studio.evil.example"):
            assert get(server, Host=host)[0] == 403, host
    finally:
        server.close()


def test_what_is_an_address_of_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.20", "fe80::1%eth0")))


def test_the_page_is_named_as_a_browser_takes_it() -> None:
    assert parse_address("ws://:9000").page == "http://localhost:9000"
    assert parse_address("ws://0.0.0.0").page == "http://localhost:8765"
    assert parse_address("ws://192.168.1.5:81").page == "http://192.168.1.5:81"
