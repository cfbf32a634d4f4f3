"""The bytes of a live stream, on their way from FFmpeg's protocol to FFmpeg's demuxer.

A demuxer keeps a picture until its end has come, however long that takes: somebody has to count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

import av
from av.error import FFmpegError

from posemamba_live.errors import SourceError
from posemamba_live.shown import public

if TYPE_CHECKING:
    from av.container import InputContainer

MAX_PACKET_BYTES: Final = 64 * 1024 * 1024
"""What may come without a picture or a piece of sound being complete."""
_CHUNK: Final = 65_536
_SNIFFED: Final = 8
"""Bytes that tell text from video."""


class Feed:
    """A file-like object of what an address sends, read once; no further than MAX_PACKET_BYTES
    from one `progress` to the next.

    Args:
        url: of one of FFmpeg's byte protocols.
        options: FFmpeg's, for its protocol.
        timeout: seconds for connecting, and for each read.

    Raises:
        FFmpegError, OSError: it does not open.
    """

    def __init__(self, url: str, options: Mapping[str, str], timeout: tuple[float, float]) -> None:
        self.name = url
        self.error: FFmpegError | None = None
        """What ended it, if it was not the end."""
        self._refused: SourceError | None = None
        self._options = dict(options)
        self._timeout = timeout
        self._container: InputContainer = av.open(
            url, "r", format="data", timeout=timeout, metadata_errors="ignore",
            options={**options, "raw_packet_size": str(_CHUNK)},
        )  # fmt: skip
        self._chunks = self._received()
        self._rest = b""
        self._count = 0
        self._begin = b""
        while len(self._begin.lstrip()) < _SNIFFED and len(self._begin) < _CHUNK:
            chunk = next(self._chunks, b"")
            if not chunk:
                break
            self._begin += chunk
        self._rest = self._begin

    def again(self) -> Feed:
        """Close it and connect once more."""
        self.close()
        return Feed(self.name, self._options, self._timeout)

    @property
    def is_multipart(self) -> bool:
        """It begins with a boundary, as network cameras do."""
        return self._begin.lstrip().startswith(b"--")

    @property
    def is_text(self) -> bool:
        """It begins as playlists do, which lead to other addresses, and pages."""
        begin = self._begin.removeprefix(b"\xef\xbb\xbf").lstrip()[:_SNIFFED]
        return all(byte in b"\r\n\t" or 32 <= byte < 127 for byte in begin)

    @property
    def is_endless(self) -> bool:
        """The server does not say how long it is."""
        return int(self._container.size) <= 0

    def progress(self) -> None:
        """Something is complete: count from here.

        Raises:
            SourceError: as `check`.
        """
        self.check()
        self._count = 0

    def check(self) -> None:
        """Raises SourceError: too much has come without an end, and no more is read."""
        if self._refused is not None:
            raise self._refused

    def read(self, size: int) -> bytes:
        """What is there, at most `size` bytes; nothing at the end, and none after too much.

        FFmpeg calls this: an error would be printed, and reading go on.
        """
        if self._refused is not None:
            return b""
        if not self._rest:
            self._rest = next(self._chunks, b"")
        data, self._rest = self._rest[:size], self._rest[size:]
        self._count += len(data)
        if self._count > MAX_PACKET_BYTES:
            self._refused = SourceError(
                f"{public(self.name)} sends a picture without an end",
                why=f"{MAX_PACKET_BYTES >> 20} MB have come, and it is not complete",
                hint="check that the address is that of a camera or a video",
            )
            return b""
        return data

    def _received(self) -> Iterator[bytes]:
        try:
            for packet in self._container.demux():
                if packet.size:
                    yield bytes(packet)
        except FFmpegError as error:
            self.error = error

    def close(self) -> None:
        """Hang up; for the thread that reads it."""
        self._container.close()
