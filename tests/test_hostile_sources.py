"""What network cameras of strangers may send, on loopback: pictures, segments and messages
without an end."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2
import pytest

from posemamba_live.errors import SourceError
from posemamba_live.sources import network
from tests.support.films import encode, numbered
from tests.support.stream_servers import CHUNK, Put, flv_tags, rtmp, rtsp, serving

linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells of peaks")
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
    exec(sys.argv[2])
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


@linux
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
        told, growth = watched(address.format(port))
    assert growth < GROWTH_MB, told
    assert "64 MB have come, and it is not complete" in told
    assert "Traceback" not in told


def watched(url: str, first: str = "") -> tuple[str, float]:
    """What is said of a stream in a process of its own, and how many MB that has grown."""
    done = subprocess.run(
        [sys.executable, "-c", OPENED, url, first],
        cwd=ROOT, capture_output=True, text=True, timeout=120.0, check=True,
    )  # fmt: skip
    *said, growth = done.stdout.strip().split("\n")
    return " ".join([*said, done.stderr]), float(growth)


def ts_goes_on(channel: int = 0x100, count: int = 5000) -> bytes:
    """MPEG-TS packets in which a picture goes on."""
    head = bytes([0x47, channel >> 8, channel & 0xFF])
    return b"".join(head + bytes([0x10 | (n & 15)]) + b"\x55" * 184 for n in range(count))


def playlist(film: bytes) -> Callable[[socket.socket], None]:
    """A live playlist of two segments, of which the second has no end."""
    text = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:0\n"
    text += "#EXTINF:2,\na.ts\n#EXTINF:2,\nb.ts\n"
    more = ts_goes_on(count=5008)

    def answer(client: socket.socket) -> None:
        asked = client.recv(65536)
        client.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
        client.sendall(text.encode() if b".m3u8" in asked else film)
        for _ in range(MANY // len(more) if b"b.ts" in asked else 0):
            client.sendall(more)

    return answer


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two seconds of film as a.ts and, with sound, a.flv."""
    folder = tmp_path_factory.mktemp("films")
    for name, tone_s in (("a.ts", 0.0), ("a.flv", 2.0)):
        encode(folder / name, [numbered(index) for index in range(60)], tone_s=tone_s)
    return folder


def endless_picture(put: Put) -> None:
    """Pieces of one picture (FU-A of RFC 6184)."""
    put(b"\x7c\x85" + b"\x88" * 60_000)
    for _ in range(MANY // 60_000):
        put(b"\x7c\x05" + b"\x55" * 60_000)


@linux
@pytest.mark.parametrize("what", ["a segment", "a picture by RTSP", "a description by RTSP"])
def test_what_ffmpeg_reads_itself_is_bounded(what: str, films: Path) -> None:
    if what == "a segment":
        answer, address = playlist((films / "a.ts").read_bytes()), "http://127.0.0.1:{}/a.m3u8"
    else:
        promised = None if "picture" in what else MANY
        answer, address = rtsp(endless_picture, promised=promised), "rtsp://127.0.0.1:{}/x"
    with serving(answer) as port:
        told, growth = watched(address.format(port))
    assert growth < GROWTH_MB, told


@linux
def test_a_film_of_which_one_picture_has_gigabytes(tmp_path: Path) -> None:
    """Its length is known, so that FFmpeg reads it; it takes all memory before it reads."""
    path = tmp_path / "a.avi"
    encode(path, [numbered(index) for index in range(5)], codec="mjpeg")
    data = bytearray(path.read_bytes())
    at = data.rindex(b"00dc", 0, data.index(b"idx1")) + 4
    data[at : at + 4] = struct.pack("<I", 4 * MANY - 8)
    data[data.index(b"movi") - 4 : data.index(b"movi")] = struct.pack("<I", 4 * MANY + 10_000)
    head = b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % (4 * MANY + at)
    with endless(head, bytes(data[: at + 4])) as port:
        told, growth = watched(f"http://127.0.0.1:{port}/a.avi")
    assert growth < GROWTH_MB, told


@linux
def test_messages_that_never_end_are_noticed(films: Path) -> None:
    """Of RTMP: more and more of them, while pictures come."""
    tags = sorted(flv_tags((films / "a.flv").read_bytes()), key=lambda tag: tag[1])
    picture = next(content for _, _, content in tags if content[:2] == b"\x17\1")

    def play(put: Put) -> None:
        at = 0
        for kind, at, content in tags:
            put(6, kind, content, at)
        for number in range(400):
            at += 33
            put(6, 9, picture, at)
            if number >= 200:  # FFmpeg looks at some of it first
                time.sleep(0.02)
                put(100 + number, 9, bytes(CHUNK), at, 2 * CHUNK)

    with serving(rtmp(play)) as port:
        told, growth = watched(f"rtmp://127.0.0.1:{port}/app/x", LITTLE.format(100))
    assert "takes too much memory" in told
    assert growth < 1000.0, told


LITTLE = "from posemamba_live.sources import bounds; bounds.MAX_GROWTH_MB = {}"


@linux
def test_a_list_that_never_ends_is_given_up() -> None:
    """While FFmpeg reads it in one call, which takes ten times as much as has come."""
    head = b"HTTP/1.0 200 OK\r\nContent-Type: application/vnd.apple.mpegurl\r\n\r\n"
    head += b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:0\n"
    entries = b"#EXTINF:2,\ns0.ts\n" * 50_000

    def answer(client: socket.socket) -> None:
        client.recv(65536)
        client.sendall(head)
        for _ in range(MANY // len(entries)):
            client.sendall(entries)

    with serving(answer) as port:
        told, growth = watched(f"http://127.0.0.1:{port}/a.m3u8", LITTLE.format(40))
    assert "more than 0.04 GB since it was opened" in told
    assert growth < 500.0, told


@linux
def test_messages_without_a_picture_are_given_up(films: Path) -> None:
    """Of RTMP, all of them read in one call."""
    tags = sorted(flv_tags((films / "a.flv").read_bytes()), key=lambda tag: tag[1])

    def play(put: Put) -> None:
        for kind, at, content in tags:
            put(6, kind, content, at)
        for number in range(400):
            put(100 + number, 9, bytes(CHUNK), 2000, 2 * CHUNK)

    with serving(rtmp(play)) as port:
        told, growth = watched(f"rtmp://127.0.0.1:{port}/app/x", LITTLE.format(100))
    assert "more than 0.1 GB since it was opened" in told
    assert growth < 1000.0, told


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
