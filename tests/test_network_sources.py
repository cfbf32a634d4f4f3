"""What answers behind addresses: films that end, streams that do not, and nobody."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from posemamba_live.errors import SourceError, UsageError
from posemamba_live.sources import LiveSource, VideoFile, network, open_source
from tests.support.film_server import FilmServer
from tests.support.films import encode, numbered

WALK = Path(__file__).parents[1] / "demo_videos" / "walk_turn.mp4"
SLOW_S = 4.0
"""What a machine under load may take beyond a limit."""


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """90 numbered frames at 30 fps as MPEG-TS."""
    path = tmp_path_factory.mktemp("film") / "film.ts"
    encode(path, [numbered(index) for index in range(90)])
    return path.read_bytes()


@pytest.fixture
def mute() -> Iterator[int]:
    """A port where somebody takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken: list[socket.socket] = []

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    taken.append(server.accept()[0])

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
        for connection in taken:
            connection.close()


@pytest.mark.parametrize("path", ["/film", "/film.mp4", "/watch?v=film.mjpg"])
def test_what_has_a_length_is_a_film(path: str) -> None:
    with FilmServer({path: WALK.read_bytes()}) as server, open_source(server.url(path)) as source:
        assert isinstance(source, VideoFile)
        assert not source.live
        frames = list(source)
    assert [frame.index for frame in frames] == list(range(167))
    assert source.fps == 30.0
    assert frames[-1].timestamp == pytest.approx(166 / 30)


def test_a_playlist_with_an_end_is_a_film(film: bytes) -> None:
    playlist = (
        b"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:3\n#EXTINF:3.0,\none.ts\n"
        b"#EXT-X-DISCONTINUITY\n#EXTINF:3.0,\ntwo.ts\n#EXT-X-ENDLIST\n"
    )
    files = {"/list.m3u8": playlist, "/one.ts": film, "/two.ts": film}
    with FilmServer(files) as server, open_source(server.url("/list.m3u8")) as source:
        assert isinstance(source, VideoFile)
        frames = list(source)
    assert len(frames) == 180
    assert source.fps == pytest.approx(30.0, rel=0.01)


def test_a_film_of_unknown_length_is_not_played_again_and_again(film: bytes) -> None:
    with (
        FilmServer({"/live": film}, length=False) as server,
        open_source(server.url("/live")) as source,
    ):
        assert isinstance(source, LiveSource)
        frames = list(source)
        assert server.requests == 1
        assert source.status == ""
    assert 0 < len(frames) <= 90


def test_playlists_do_not_lead_to_files(film: bytes, tmp_path: Path) -> None:
    secret = tmp_path / "secret.ts"
    secret.write_bytes(film)
    playlist = (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3.0,\nfile://{secret}\n#EXT-X-ENDLIST\n"
    ).encode()
    with FilmServer({"/list.m3u8": playlist}) as server, pytest.raises(SourceError):
        open_source(server.url("/list.m3u8"))


@pytest.mark.parametrize("scheme", ["http", "rtsp", "rtmp", "tcp", "udp"])
def test_whoever_is_silent_is_given_up_in_time(scheme: str, mute: int) -> None:
    start = time.monotonic()
    with pytest.raises(SourceError) as caught:
        open_source(f"{scheme}://127.0.0.1:{mute}/stream")
    assert time.monotonic() - start < network.PATIENCE_S + SLOW_S
    assert caught.value.hint


def test_a_film_that_hangs_at_its_beginning_says_so_in_time() -> None:
    start = time.monotonic()
    with (
        FilmServer({"/film.mp4": WALK.read_bytes()}, hang=1000) as server,
        pytest.raises(SourceError) as caught,
    ):
        open_source(server.url("/film.mp4"))
    assert "time" in caught.value.why
    assert time.monotonic() - start < network.PATIENCE_S + SLOW_S


def test_a_film_that_hangs_on_the_way_says_so_in_time(caplog: pytest.LogCaptureFixture) -> None:
    start = time.monotonic()
    with (
        FilmServer({"/film.mp4": WALK.read_bytes()}, hang=60_000) as server,
        open_source(server.url("/film.mp4")) as source,
    ):
        frames = list(source)
    assert 10 < len(frames) < 100
    assert f"promised 167 frames, {len(frames)}" in caplog.text
    assert time.monotonic() - start < network.PATIENCE_S + SLOW_S


def test_a_film_whose_transfer_is_cut_says_what_is_missing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    content = WALK.read_bytes()  # its index comes first
    with (
        FilmServer({"/film.mp4": content}, cut=2 * len(content) // 3) as server,
        open_source(server.url("/film.mp4")) as source,
    ):
        frames = list(source)
    assert 60 < len(frames) < 150
    assert f"promised 167 frames, {len(frames)} could be decoded" in caplog.text
    assert "5.6 s" in caplog.text


def test_parts_are_for_films(film: bytes) -> None:
    with (
        FilmServer({"/film": WALK.read_bytes()}) as server,
        open_source(server.url("/film"), start=1.0, end=2.0) as source,
    ):
        assert [frame.index for frame in source] == list(range(30, 60))
    with (
        FilmServer({"/live": film}, length=False) as server,
        pytest.raises(UsageError, match="files"),
    ):
        open_source(server.url("/live"), start=1.0)


def test_what_this_ffmpeg_does_not_read_is_named() -> None:
    with FilmServer({"/a.mpd": b"<?xml version='1.0'?><MPD></MPD>"}) as server:
        if network._reads("dash"):
            pytest.skip("this FFmpeg reads DASH")
        with pytest.raises(SourceError) as caught:
            open_source(server.url("/a.mpd"))
    assert "DASH" in caught.value.why
    assert ".m3u8" in caught.value.hint
    assert network._reads("hls")


def test_a_missing_page_is_named() -> None:
    with FilmServer({}) as server, pytest.raises(SourceError, match="Not Found"):
        open_source(server.url("/film.mp4"))


@pytest.mark.skipif(not Path("/proc/net/udp").exists(), reason="/proc tells of open ports")
def test_a_session_description_opens_no_ports() -> None:
    sdp = (
        b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
        b"m=video 5004 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
    )
    seen: set[str] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
                seen.add(line.split()[1].rpartition(":")[2])

    watching = threading.Thread(target=watch)
    with FilmServer({"/camera.sdp": sdp}) as server:
        watching.start()
        with pytest.raises(SourceError):
            open_source(server.url("/camera.sdp"))
        assert server.requests
    done.set()
    watching.join()
    assert not seen & {f"{port:04X}" for port in (5004, 5005)}
