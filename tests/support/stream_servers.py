"""Servers of RTSP and RTMP on loopback that say just enough to be played, and then anything."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

Put = Callable[..., None]
_SDP: Final = (
    b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    b"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
    b"a=fmtp:96 packetization-mode=1\r\na=control:track1\r\n"
)
CHUNK: Final = 8_000_000
"""Bytes of a message in one piece: of small ones all."""


@contextlib.contextmanager
def serving(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """The port where each client is answered in a thread of its own."""

    def serve(client: socket.socket) -> None:
        with client, contextlib.suppress(OSError, EOFError):
            client.settimeout(30.0)
            answer(client)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client = server.accept()[0]
                threading.Thread(target=serve, args=(client,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]


def _until(client: socket.socket, data: bytes, word: bytes) -> bytes:
    """All that has come, once the word is in it."""
    while word not in data:
        news = client.recv(65536)
        if not news:
            raise EOFError
        data += news
    return data


def rtsp(
    play: Callable[[Put], None], *, sdp: bytes = _SDP, promised: int | None = None
) -> Callable[[socket.socket], None]:
    """An answerer for `serving`.

    Args:
        play: is given `put(payload, ticks, last)`, which sends an RTP packet of H.264.
        sdp: what describes the stream.
        promised: the length that is claimed for it.
    """

    def answer(client: socket.socket) -> None:
        data = b""
        while True:
            data = _until(client, data, b"\r\n\r\n")
            request, data = data.split(b"\r\n\r\n", 1)
            verb = request.split()[0]
            number = re.findall(rb"(?i)cseq: *(\d+)", request)[0]
            body = sdp if verb == b"DESCRIBE" else b""
            length = promised if body and promised is not None else len(body)
            client.sendall(
                b"RTSP/1.0 200 OK\r\nCSeq: %s\r\nSession: 1\r\n"
                b"Public: DESCRIBE, SETUP, PLAY\r\nContent-Type: application/sdp\r\n"
                b"Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nContent-Length: %d\r\n\r\n%s"
                % (number, length, body)
            )
            if body and promised is not None:
                break
            if verb == b"PLAY":
                break
        count = 0

        def put(payload: bytes, ticks: int = 0, last: bool = False) -> None:
            nonlocal count
            kind = 96 | (128 if last else 0)
            packet = struct.pack(">BBHII", 0x80, kind, count & 0xFFFF, ticks, 1) + payload
            client.sendall(b"$\0" + struct.pack(">H", len(packet)) + packet)
            count += 1

        if promised is None:
            play(put)
        else:
            for _ in range(promised // 1_000_000):
                client.sendall(b"a=x:" + b"y" * 999_990 + b"\r\n")

    return answer


def rtmp(play: Callable[[Put], None]) -> Callable[[socket.socket], None]:
    """An answerer for `serving`.

    Args:
        play: is given `put(channel, kind, content, milliseconds, length)`, which sends a message;
            with a length of more than its content, which has CHUNK bytes, it is not complete.
    """

    def answer(client: socket.socket) -> None:
        data = b""
        while len(data) < 1537:
            data += client.recv(65536)
        client.sendall(b"\x03" + bytes(1536) + data[1:1537])
        data = _until(client, data[1537:], b"connect")

        def put(
            channel: int, kind: int, content: bytes, at: int = 0, length: int | None = None
        ) -> None:
            size = len(content) if length is None else length
            begin = bytes([channel]) if channel < 64 else b"\1" + struct.pack("<H", channel - 64)
            head = at.to_bytes(3, "big") + size.to_bytes(3, "big") + bytes([kind])
            client.sendall(begin + head + struct.pack("<I", 1) + content)

        put(2, 1, struct.pack(">I", CHUNK))
        put(3, 20, _text("_result") + _number(1) + b"\5" + _level("NetConnection.Connect.Success"))
        data = _until(client, data, b"createStream")
        time.sleep(0.1)
        at = data.index(b"createStream") + 12
        (number,) = struct.unpack(">d", data[at + 1 : at + 9])
        put(3, 20, _text("_result") + _number(number) + b"\5" + _number(1.0))
        _until(client, data, b"play")
        put(5, 20, _text("onStatus") + _number(0) + b"\5" + _level("NetStream.Play.Start"))
        play(put)

    return answer


def flv_tags(film: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Kind, milliseconds and content of what is in an FLV file."""
    at = 13
    while at + 11 <= len(film):
        size = int.from_bytes(film[at + 1 : at + 4], "big")
        yield film[at], int.from_bytes(film[at + 4 : at + 7], "big"), film[at + 11 : at + 11 + size]
        at += size + 15


def _text(value: str) -> bytes:
    return b"\2" + struct.pack(">H", len(value)) + value.encode()


def _number(value: float) -> bytes:
    return b"\0" + struct.pack(">d", value)


def _level(code: str) -> bytes:
    """An object of AMF: what a status is made of."""
    return b"\3\0\5level" + _text("status") + b"\0\4code" + _text(code) + b"\0\0\x09"
