"""What network cameras of strangers may send, on loopback: pictures without an end."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2
import pytest

from posemamba_live.errors import SourceError
from posemamba_live.sources import network
from tests.support.films import numbered

ROOT = Path(__file__).parent.parent
MANY = 500_000_000
GROWTH_MB = 300
PICTURE = cv2.imencode(".jpg", numbered(1))[1].tobytes()
PART = b"--x\r\nContent-Type: image/jpeg\r\n\r\n"
OPENED = """if True:
    import re, sys
    from pathlib import Path
    from posemamba_live.errors import SourceError
    from posemamba_live.sources import network
    def peak():
        # Not getrusage: there a child begins with the peak of its parent.
        status = Path("/proc/self/status").read_text()
        return int(re.search("VmHWM:(.*) kB", status)[1]) / 1024
    before = peak()
    try:
        source = network.Stream(sys.argv[1])
        for frame in source:
            pass
    except SourceError as error:
        print(error, error.why)
    source = None
    print(peak() - before)
"""


@contextmanager
def endless(head: bytes, begin: bytes) -> Iterator[int]:
    """Port of a server that sends `begin` and then MANY bytes of nothing, to each client."""

    def serve(client: socket.socket) -> None:
        with client, suppress(OSError):
            if head:
                client.recv(65536)
            client.sendall(head + begin)
            for _ in range(MANY // 1_000_000):
                client.sendall(bytes(1_000_000))

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]


HEAD = b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=x\r\n\r\n"
PLAIN = b"HTTP/1.0 200 OK\r\nContent-Type: image/jpeg\r\n\r\n"
WHOLE = b"".join([PART, PICTURE, b"\r\n"])
CLAIMED = b"--x\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % MANY


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells of peaks")
@pytest.mark.parametrize(
    ("address", "head", "begin"),
    [
        ("http://127.0.0.1:{}/video.mjpg", HEAD, PART + PICTURE[:-2]),
        ("http://127.0.0.1:{}/video.mjpg", HEAD, CLAIMED),
        ("http://127.0.0.1:{}/video.mp4", HEAD, WHOLE * 5 + PART),
        ("http://127.0.0.1:{}/video", HEAD, WHOLE * 200 + CLAIMED),
        ("http://127.0.0.1:{}/video", PLAIN, PICTURE * 50 + PICTURE[:-2]),
        ("tcp://127.0.0.1:{}", b"", WHOLE * 200 + PART),
    ],
    ids=["at once", "claimed", "behind a film's name", "later", "no parts", "tcp"],
)
def test_a_picture_without_an_end_is_bounded(address: str, head: bytes, begin: bytes) -> None:
    with endless(head, begin) as port:
        done = subprocess.run(
            [sys.executable, "-c", OPENED, address.format(port)],
            cwd=ROOT, capture_output=True, text=True, timeout=120.0, check=True,
        )  # fmt: skip
    *said, growth = done.stdout.strip().split("\n")
    told = " ".join(said)
    assert float(growth) < GROWTH_MB, told
    assert "64 MB have come, and it is not complete" in told


def test_what_is_complete_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many pictures are more than the largest one may be."""
    monkeypatch.setattr("posemamba_live.sources.feed.MAX_PACKET_BYTES", 20 * len(WHOLE))
    with endless(HEAD, WHOLE * 200) as port:
        stream = network.Stream(f"http://127.0.0.1:{port}/video.mjpg")
        seen: list[int] = []
        with pytest.raises(SourceError):
            seen.extend(frame.index for frame in stream)
        stream.close()
    assert seen[-1] > 150
