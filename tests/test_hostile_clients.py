"""What strangers do to the WebSocket server, on loopback: floods, crowds, odd requests."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from posemamba_live.address import parse_address
from posemamba_live.errors import UsageError
from posemamba_live.streams import StreamAddress, open_stream
from posemamba_live.streams.guard import MAX_CONNECTIONS
from posemamba_live.streams.websocket import MAX_CLIENTS, WebSocketStream
from tests.support.stream_poses import INFO, picture

LOOPBACK = "127.0.0.1"
ROOT = Path(__file__).parent.parent
MASKED_BYTE = b"\x82\x81\x00\x00\x00\x00x"
"""A binary message of one byte, as clients send it."""
PING = b"\x89\x80\x00\x00\x00\x00"
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@pytest.fixture
def server() -> Iterator[WebSocketStream]:
    with closing(WebSocketStream(StreamAddress("ws", LOOPBACK, 0), INFO)) as stream:
        yield stream


def raw(server: WebSocketStream) -> socket.socket:
    return socket.create_connection((LOOPBACK, server.port), timeout=10.0)


def answer(server: WebSocketStream, request: bytes) -> bytes:
    """Everything that comes back until the server hangs up."""
    with raw(server) as sock:
        sock.sendall(request)
        parts = []
        try:
            while part := sock.recv(65536):
                parts.append(part)
        except ConnectionResetError:
            pass
        return b"".join(parts)


def closing_code(data: bytes) -> int | None:
    """Of the close frame at the end of what a server sent."""
    found = re.search(rb"\x88[\x02-\x7d](..)[^\x88]*$", data, re.DOTALL)
    return struct.unpack(">H", found[1])[0] if found else None


@pytest.mark.parametrize("frame", [MASKED_BYTE, PING], ids=["messages", "pings"])
def test_who_floods_is_sent_away(server: WebSocketStream, frame: bytes) -> None:
    """With 1008, after a few kilobytes, and whoever listens gets every picture meanwhile."""
    with ExitStack() as stack:
        listener = stack.enter_context(connect(f"ws://{LOOPBACK}:{server.port}"))
        assert json.loads(listener.recv(timeout=10.0))["type"] == "header"
        sock = stack.enter_context(raw(server))
        sock.sendall(HANDSHAKE)
        sent, received = 0, b""
        # What comes together with the handshake is answered before it, and by hanging up alone.
        while b'"type":"header"' not in received:
            received += sock.recv(65536)
        start = time.monotonic()
        flood = frame * 2000
        try:
            while time.monotonic() - start < 5.0:
                sent += sock.send(flood)
        except OSError:
            pass
        took = time.monotonic() - start
        try:
            while part := sock.recv(65536):
                received += part
        except OSError:
            received = b""  # a reset takes away what had come and was not read
        assert took < 3.0, "it may go on for as long as the system buffers"
        if received:
            assert closing_code(received) == 1008
        for index in range(5):
            server.write(*picture(index))
            assert json.loads(listener.recv(timeout=10.0))["frame_index"] == index


def test_the_code_is_1008(server: WebSocketStream) -> None:
    with connect(f"ws://{LOOPBACK}:{server.port}", max_queue=None) as client:
        with contextlib.suppress(ConnectionClosed):  # it may be sent away before it is done
            for _ in range(60):
                client.send("x" * 100)
        with pytest.raises(ConnectionClosed) as caught:
            list(iter(lambda: client.recv(timeout=10.0), None))
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1008


def test_who_answers_pings_and_says_a_little_stays(server: WebSocketStream) -> None:
    with connect(f"ws://{LOOPBACK}:{server.port}") as client:
        for _ in range(20):
            client.ping().wait(5.0)
            client.send("hello")
        client.recv(timeout=10.0)
        server.write(*picture(1))
        assert json.loads(client.recv(timeout=10.0))["frame_index"] == 1


def test_a_crowd_that_says_nothing_keeps_nobody_out(
    server: WebSocketStream, caplog: pytest.LogCaptureFixture
) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    if not Path("/proc/self/fd").exists():
        pytest.skip("descriptors are counted in /proc")
    with ExitStack() as stack:
        listener = stack.enter_context(connect(f"ws://{LOOPBACK}:{server.port}"))
        assert json.loads(listener.recv(timeout=10.0))["type"] == "header"
        before = descriptors()
        count = 300
        for _ in range(count):
            stack.enter_context(raw(server))
        deadline = time.monotonic() + 10.0
        while descriptors() - before > count + MAX_CONNECTIONS and time.monotonic() < deadline:
            time.sleep(0.05)
        assert descriptors() - before <= count + MAX_CONNECTIONS
        late = stack.enter_context(connect(f"ws://{LOOPBACK}:{server.port}"))
        assert json.loads(late.recv(timeout=10.0))["type"] == "header"
        server.write(*picture(8))
        for client in (listener, late):
            assert json.loads(client.recv(timeout=10.0))["frame_index"] == 8
    told = [r for r in caplog.records if r.levelname == "WARNING"]
    assert len(told) == 1, "one warning"


def test_a_crowd_does_not_use_up_the_descriptors() -> None:
    """1,100 connections to a process that may have 256 descriptors: it can still open files."""
    if sys.platform == "win32":
        pytest.skip("sockets are no descriptors there")
    program = """if True:
        import resource, socket, sys, time
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
        from posemamba_live.streams import StreamAddress
        from posemamba_live.streams.websocket import WebSocketStream
        from tests.support.stream_poses import INFO
        server = WebSocketStream(StreamAddress("ws", "127.0.0.1", 0), INFO)
        print(server.port, flush=True)
        sys.stdin.readline()
        files = [open("/dev/null") for _ in range(150)]
        print(len(files), server.figures.trouble, flush=True)
        server.close()
    """
    with (
        subprocess.Popen(
            [sys.executable, "-c", program], cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as process,
        ExitStack() as stack,
    ):  # fmt: skip
        assert process.stdout is not None
        port = int(process.stdout.readline())
        for _ in range(1_100):
            sock = stack.enter_context(socket.socket())
            sock.settimeout(5.0)
            sock.connect((LOOPBACK, port))
            if _ % 4 == 3:  # a system that may not open so many here either
                sock.close()
        with connect(f"ws://{LOOPBACK}:{port}") as client:
            assert json.loads(client.recv(timeout=10.0))["type"] == "header"
        out, err = process.communicate("\n", timeout=60.0)
    assert out.strip() == "150"
    assert "Traceback" not in err
    assert err.count("\n") <= 1


def test_the_next_receiver_after_the_last_is_told(server: WebSocketStream) -> None:
    with ExitStack() as stack:
        for _ in range(MAX_CLIENTS):
            client = stack.enter_context(connect(f"ws://{LOOPBACK}:{server.port}"))
            client.recv(timeout=10.0)
        late = stack.enter_context(connect(f"ws://{LOOPBACK}:{server.port}"))
        with pytest.raises(ConnectionClosed) as caught:
            late.recv(timeout=10.0)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1013


def test_head_is_answered_without_a_body(server: WebSocketStream) -> None:
    head = answer(server, b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    full = answer(server, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    start, body = full.split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 200")
    assert head.endswith(b"\r\n\r\n")
    assert head.count(b"\r\n\r\n") == 1
    length = re.search(rb"Content-Length: (\d+)", head)
    assert length is not None
    assert int(length[1]) == len(body)
    assert start.startswith(b"HTTP/1.1 200")
    missing = answer(server, b"HEAD /x HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert missing.startswith(b"HTTP/1.1 404")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT"])
def test_other_methods_are_not_allowed(server: WebSocketStream, method: str) -> None:
    request = f"{method} / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"
    reply = answer(server, request.encode())
    assert reply.startswith(b"HTTP/1.1 405 ")
    assert b"\r\nAllow: GET, HEAD\r\n" in reply


def test_a_request_in_pieces_is_understood(server: WebSocketStream) -> None:
    with raw(server) as sock:
        for byte in b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n":
            sock.sendall(bytes([byte]))
        assert sock.recv(100).startswith(b"HTTP/1.1 200")


def test_nonsense_harms_nobody(server: WebSocketStream) -> None:
    for data in (b"\0" * 1000, b"\xff" * 70_000, b"A" * 70_000, b"\n", b"GET\n", b"GET " * 9000):
        answer(server, data + b"\r\n\r\n") if data[:1] != b"\0" else answer(server, data + b"\n\n")
    with connect(f"ws://{LOOPBACK}:{server.port}") as client:
        assert json.loads(client.recv(timeout=10.0))["type"] == "header"


def test_a_proxy_may_have_a_name_of_its_own() -> None:
    address = parse_address("ws://127.0.0.1?host=Poses.example.org&origin=https://a.example")
    assert address.hosts == ("poses.example.org",)
    address = StreamAddress("ws", LOOPBACK, 0, origins=address.origins, hosts=address.hosts)
    with closing(WebSocketStream(address, INFO)) as server:
        for host, status in (
            (b"poses.example.org", b"200"), (b"localhost", b"200"), (b"evil.example", b"403")
        ):  # fmt: skip
            reply = answer(server, b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
            assert reply.split(b" ")[1] == status
    for odd in (
        "ws://?host=",
        "ws://?host=a/b",
        "ws://?host=a:1",
        "udp://h?host=a",
        "ws://?host=*",
    ):
        with pytest.raises(UsageError):
            parse_address(odd)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
def test_all_addresses_are_both_kinds(caplog: pytest.LogCaptureFixture) -> None:
    with closing(WebSocketStream(StreamAddress("ws", "::", 0), INFO)) as server:
        assert "by IPv6 or IPv4" in caplog.text
        for host in (LOOPBACK, "[::1]"):
            with connect(f"ws://{host}:{server.port}") as client:
                assert json.loads(client.recv(timeout=10.0))["type"] == "header"
    assert StreamAddress("ws", "::1", 8765).page == "http://[::1]:8765"
    assert StreamAddress("ws", "::", 8765).page == "http://localhost:8765"


@pytest.mark.skipif(sys.platform != "linux", reason="where loopback has a broadcast address")
@pytest.mark.parametrize("scheme", ["udp", "osc"])
def test_datagrams_can_be_broadcast(scheme: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("", 0))
        receiver.settimeout(10.0)
        address = StreamAddress(scheme, "127.255.255.255", receiver.getsockname()[1])
        stream = open_stream(address, INFO, people=1)
        stream.write(*picture(3))
        assert receiver.recv(65536)
        stream.close()
    assert stream.figures.sent > 0
    assert (stream.figures.dropped, stream.figures.trouble) == (0, "")


def flood_for(port: int, seconds: float, frame: bytes) -> None:
    """One client that comes back as soon as it is sent away."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with socket.create_connection((LOOPBACK, port), timeout=1.0) as sock:
                sock.sendall(HANDSHAKE)
                while time.monotonic() < end:
                    sock.sendall(frame * 100)
        except OSError:  # noqa: PERF203
            time.sleep(0.05)


def test_pictures_come_on_time_during_a_flood(server: WebSocketStream) -> None:
    """At 60 a second, with a client that floods and comes back."""
    flood = threading.Thread(target=flood_for, args=(server.port, 3.0, MASKED_BYTE))
    with connect(f"ws://{LOOPBACK}:{server.port}") as client:
        client.recv(timeout=10.0)
        flood.start()
        start = time.monotonic()
        for index in range(120):
            time.sleep(max(0.0, start + index / 60.0 - time.monotonic()))
            server.write(*picture(index))
        got = [json.loads(client.recv(timeout=10.0))["frame_index"]]
        while got[-1] != 119:
            got.append(json.loads(client.recv(timeout=10.0))["frame_index"])
    flood.join()
    assert len(got) > 0.9 * 120
