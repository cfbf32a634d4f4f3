"""Films as people really have them: covers, late tracks, clocks that jump, sizes that change."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tarfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from posemamba_live.errors import SourceError, UsageError
from posemamba_live.sources import (
    ImageSequence,
    VideoFile,
    animation,
    base,
    container,
    open_source,
)
from posemamba_live.sources.image_header import image_size
from posemamba_live.types import Frame
from tests.support.films import encode, number, numbered

ROOT = Path(__file__).parents[1]
WALK = ROOT / "demo_videos" / "walk_turn.mp4"
INPUTS = ROOT.parent / "shared" / "inputs"
ODD_NAME = os.fsdecode(b"caf\xe9")
odd_names = pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode here")


def read(location: Path | str, **options: Any) -> list[Frame]:
    with open_source(str(location), **options) as source:
        frames = list(source)
        assert {frame.size for frame in frames} == {source.size}
    return frames


def numbers(frames: list[Frame]) -> list[int]:
    return [number(frame.image) for frame in frames]


@pytest.fixture
def jump(tmp_path: Path) -> Path:
    """Two pieces of a second; the clock of the second one is ten hours later."""
    encode(tmp_path / "a.ts", [numbered(i) for i in range(30)])
    later = [36_001 + i / 30 for i in range(30)]
    encode(tmp_path / "b.ts", [numbered(30 + i) for i in range(30)], times=later)
    path = tmp_path / "jump.ts"
    path.write_bytes((tmp_path / "a.ts").read_bytes() + (tmp_path / "b.ts").read_bytes())
    return path


@pytest.mark.parametrize("codec", ["mjpeg", "png"])
def test_a_cover_is_not_the_film(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "cover.mp4"
    with av.open(str(path), "w") as out:
        cover: Any = out.add_stream(codec, rate=1)
        film: Any = out.add_stream("libx264", rate=30)
        cover.width, cover.height, film.width, film.height = 160, 90, 320, 180
        cover.pix_fmt = "yuvj420p" if codec == "mjpeg" else "rgb24"
        film.pix_fmt = "yuv420p"
        still = av.VideoFrame.from_ndarray(np.full((90, 160, 3), 200, np.uint8), "bgr24")
        for packet in cover.encode(still) + cover.encode(None):
            out.mux(packet)
        for index in range(40):
            for packet in film.encode(av.VideoFrame.from_ndarray(numbered(index), "bgr24")):
                out.mux(packet)
        for packet in film.encode(None):
            out.mux(packet)
    assert numbers(read(path)) == list(range(40))


def test_a_picture_beside_sound_is_no_film(tmp_path: Path) -> None:
    path = tmp_path / "song.m4a"
    with av.open(str(path), "w", format="mp4") as out:
        tone: Any = out.add_stream("aac", rate=48_000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 48_000
        for packet in tone.encode(frame) + tone.encode(None):
            out.mux(packet)
    with pytest.raises(SourceError) as caught:
        open_source(str(path))
    assert "sound" in caught.value.why


@pytest.mark.parametrize("suffix", [".mkv", ".flv", ".ts"])
def test_a_track_that_begins_late(
    tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / f"late{suffix}"
    times = [100 + i / 30 for i in range(32)]
    encode(path, [numbered(i) for i in range(32)], times=times, tone_s=101.0)
    with open_source(str(path)) as source:
        frames = list(source)
        assert source.fps == pytest.approx(30.0, rel=0.05)
    assert numbers(frames) == list(range(32))
    assert frames[0].timestamp == 0.0
    assert frames[-1].timestamp == pytest.approx(31 / 30, abs=2e-3)
    assert "promised" not in caplog.text


def test_a_clock_that_jumps_keeps_its_times_and_costs_nothing(
    jump: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with open_source(str(jump)) as source:
        assert source.fps == pytest.approx(30.0, rel=0.01)
        assert source.frame_count is None or source.frame_count < 10_000
        frames = list(source)
    assert numbers(frames) == list(range(60))
    times = [frame.timestamp for frame in frames]
    np.testing.assert_allclose(times[:30], np.arange(30) / 30, atol=1e-3)
    np.testing.assert_allclose(times[30:], 36_001 + np.arange(30) / 30, atol=1e-3)
    assert "jumps forward 1 times, by 10.0 hours" in caplog.text
    assert "promised" not in caplog.text


def test_nobody_waits_for_a_clock_that_jumps(jump: Path) -> None:
    start = time.monotonic()
    frames = read(jump, realtime=True)
    assert time.monotonic() - start < 10.0
    assert frames[-1].index == 59
    assert frames[-1].timestamp > 36_000


@pytest.mark.parametrize("fps", [0.2, 0.5, 2.0, 29.97, 240.0, 500.0, 1000.0])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_rates_are_what_the_times_say(tmp_path: Path, fps: float, suffix: str) -> None:
    path = tmp_path / f"rate{suffix}"
    encode(path, [numbered(i) for i in range(50)], fps=fps)
    with open_source(str(path)) as source:
        assert source.fps == pytest.approx(fps, rel=0.01)
        frames = list(source)
    assert numbers(frames) == list(range(50))
    np.testing.assert_allclose(
        [frame.timestamp for frame in frames], np.arange(50) / fps, atol=1.1e-3
    )


def test_a_picture_that_grows_and_shrinks_is_the_true_one(tmp_path: Path) -> None:
    sizes = [(320, 180), (640, 360), (160, 160)]
    for k, size in enumerate(sizes):
        images = [numbered(20 * k + i, size) for i in range(20)]
        encode(tmp_path / f"{k}.ts", images, times=[(20 * k + i) / 30 for i in range(20)])
    path = tmp_path / "grow.ts"
    path.write_bytes(b"".join((tmp_path / f"{k}.ts").read_bytes() for k in range(3)))
    frames = read(path)
    assert frames[0].size == (320, 180)
    assert numbers(frames[:40]) == list(range(40))
    # A square picture is scaled to the height of the first ones, between bars: not squeezed.
    for frame in frames[40:]:
        assert frame.image[:, :69].max() < 12
        assert frame.image[:, -69:].max() < 12
        assert frame.image[:, 75:245].max() > 150
    assert len({frame.image.tobytes() for frame in frames}) == 60


def test_colours_do_not_depend_on_the_pictures_before(tmp_path: Path) -> None:
    """Size and sampling of the colours may change on the way."""
    rng = np.random.default_rng(2)
    kinds = [("yuv420p", (320, 180)), ("yuv444p", (320, 180)), ("yuv422p", (160, 90))]
    alone, whole = [], b""
    for k, (pixels, size) in enumerate(kinds):
        images = [rng.integers(0, 256, (size[1], size[0], 3), np.uint8) for _ in range(5)]
        path = tmp_path / f"{k}.ts"
        encode(path, images, times=[(5 * k + i) / 30 for i in range(5)], pixels=pixels)
        alone += [base.fit(frame.image, (320, 180)) for frame in read(path)]
        whole += path.read_bytes()
    (tmp_path / "whole.ts").write_bytes(whole)
    for expected, frame in zip(alone, read(tmp_path / "whole.ts"), strict=True):
        np.testing.assert_array_equal(frame.image, expected)


@pytest.mark.parametrize("clockwise", [90, 180, 270])
def test_a_film_on_its_side_is_turned(tmp_path: Path, clockwise: int) -> None:
    turn = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
    for plain, turned in zip(
        read(WALK, max_frames=2), read(WALK, max_frames=2, rotate=clockwise), strict=True
    ):
        np.testing.assert_array_equal(turned.image, cv2.rotate(plain.image, turn[clockwise]))
    with pytest.raises(UsageError, match="--rotate"):
        open_source(str(WALK), rotate=45)


def test_av1(tmp_path: Path) -> None:
    codec = next((c for c in ("libsvtav1", "libaom-av1") if c in av.codec.codecs_available), None)
    if codec is None:
        pytest.skip("no AV1 encoder in this PyAV")
    path = tmp_path / "av1.mp4"
    encode(path, [numbered(i) for i in range(12)], codec=codec)
    assert numbers(read(path)) == list(range(12))


@odd_names
def test_names_that_are_not_utf8(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    film = tmp_path / f"{ODD_NAME}.mp4"
    encode(film, [numbered(i) for i in range(5)])
    with open_source(str(film)) as source:
        assert source.name == "caf\ufffd.mp4"
        assert numbers(list(source)) == list(range(5))
    folder = tmp_path / ODD_NAME
    folder.mkdir()
    for i in range(3):
        (folder / f"{ODD_NAME}{i}.png").write_bytes(cv2.imencode(".png", numbered(i))[1])
    (folder / f"{ODD_NAME}3.png").write_bytes(b"spoilt")
    assert numbers(read(folder)) == [0, 1, 2]
    caplog.text.encode("utf-8")


def test_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "film.ts"
    encode(path, [numbered(i) for i in range(25)])
    program = (
        "from posemamba_live.sources import open_source\n"
        "with open_source('-') as source: frames = list(source)\n"
        "print(source.name, source.fps, len(frames), frames[-1].timestamp)"
    )
    for stdin in (subprocess.PIPE, path.open("rb")):
        process = subprocess.Popen(
            [sys.executable, "-c", program], stdin=stdin, stdout=subprocess.PIPE, text=False
        )
        out, _ = process.communicate(path.read_bytes() if stdin == subprocess.PIPE else None, 60)
        name, fps, count, last = out.decode().rsplit(maxsplit=3)
        assert (name, float(fps), int(count)) == ("standard input", 30.0, 25)
        assert float(last) == pytest.approx(24 / 30)
    with pytest.raises(UsageError, match="--start"):
        open_source("-", start=1.0)


def test_pictures_beyond_all_measure_are_refused_from_the_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    png = bytearray(cv2.imencode(".png", numbered(0))[1].tobytes())
    png[16:24] = (30_000).to_bytes(4, "big") * 2
    (tmp_path / "huge.png").write_bytes(png)
    with pytest.raises(SourceError, match="too large") as caught:
        open_source(str(tmp_path / "huge.png"))
    assert "30000x30000" in caught.value.why
    encode(tmp_path / "film.mp4", [numbered(i, (640, 360)) for i in range(3)])
    for module in (base, container):
        monkeypatch.setattr(module, "MAX_PIXELS", 100_000)
    with pytest.raises(SourceError, match="too large"):
        open_source(str(tmp_path / "film.mp4"))
    monkeypatch.setattr(animation, "MAX_PIXELS", 10_000)
    stills = [Pillow.fromarray(numbered(i)) for i in range(3)]
    stills[0].save(tmp_path / "film.webp", save_all=True, append_images=stills[1:])
    with pytest.raises(SourceError, match="too large"):
        open_source(str(tmp_path / "film.webp"))


def test_a_film_that_grows_beyond_all_measure_is_read_to_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = b""
    for k, size in enumerate([(320, 180), (640, 360), (320, 180)]):
        images = [numbered(20 * k + i, size) for i in range(20)]
        encode(tmp_path / f"{k}.ts", images, times=[(20 * k + i) / 30 for i in range(20)])
        whole += (tmp_path / f"{k}.ts").read_bytes()
    (tmp_path / "film.ts").write_bytes(whole)
    for module in (base, container):
        monkeypatch.setattr(module, "MAX_PIXELS", 100_000)
    found = numbers(read(tmp_path / "film.ts"))
    assert found[:20] == list(range(20))
    assert not set(range(20, 40)) & set(found)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tiff", ".webp"])
def test_headers_tell_the_size(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"picture{suffix}"
    path.write_bytes(cv2.imencode(suffix, numbered(0, (322, 181)))[1])
    assert image_size(path) == (322, 181)
    Pillow.fromarray(numbered(0, (322, 181))).save(path)
    assert image_size(path) == (322, 181)
    path.write_bytes(path.read_bytes()[:15])
    assert image_size(path) is None


def test_hidden_companions_are_no_pictures(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for i in range(4):
        (tmp_path / f"shot_{i}.png").write_bytes(cv2.imencode(".png", numbered(i))[1])
        (tmp_path / f"._shot_{i}.png").write_bytes(b"\0\5\x16\7 Mac OS X")
    for location in (tmp_path, tmp_path / "*.png", tmp_path / "shot_%d.png"):
        frames = read(location)
        assert numbers(frames) == [0, 1, 2, 3]
        assert frames[0].timestamp == 0.0
    assert not caplog.records


def test_missing_numbers_are_missing_times(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = [n for n in range(1, 21) if n not in (5, 12, 13)]
    for n in kept:
        (tmp_path / f"take2_{n:04d}.png").write_bytes(cv2.imencode(".png", numbered(n))[1])
    with open_source(str(tmp_path), fps=10.0) as source:
        assert isinstance(source, ImageSequence)
        assert source.note == ""
        frames = list(source)
    assert numbers(frames) == kept
    assert [frame.index for frame in frames] == list(range(17))
    np.testing.assert_allclose([frame.timestamp for frame in frames], (np.array(kept) - 1) / 10)
    assert "3 of the numbers from 1 to 20 are missing (5, 12, 13)" in caplog.text
    with open_source(str(tmp_path)) as source:
        assert isinstance(source, ImageSequence)
        assert "30 a second" in source.note
    with pytest.raises(UsageError, match="--fps"):
        open_source(str(WALK), fps=10.0)
    with pytest.raises(UsageError, match="--fps"):
        open_source(camera=0, fps=10.0)


@pytest.mark.parametrize("suffix", [".webp", ".png", ".gif"])
def test_pictures_that_move(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"moving{suffix}"
    images = [Pillow.fromarray(numbered(i)) for i in range(8)]
    images[0].save(
        path, save_all=True, append_images=images[1:], duration=[100] * 5 + [200] * 3, loop=0
    )
    with open_source(str(path)) as source:
        frames = list(source)
    assert numbers(frames) == list(range(8))
    expected = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9]
    np.testing.assert_allclose([frame.timestamp for frame in frames], expected, atol=1e-6)
    assert 6.0 < source.fps <= 10.0
    assert [frame.index for frame in read(path, start=0.15, end=0.45)] == [2, 3, 4]
    still = tmp_path / f"still{suffix}"
    images[5].save(still)
    assert numbers(read(still)) == [5]


# The shared files, with their right values.


def shared(name: str) -> Path:
    path = INPUTS / name
    if not path.exists():
        pytest.skip("the shared inputs are not here")
    return path


@pytest.mark.parametrize(
    ("name", "frames", "fps", "size"),
    [
        ("coverfirst.mp4", 167, 30.0, (640, 360)),
        ("videolate.mkv", 32, 30.0, (640, 360)),
        ("jump_fwd.ts", 124, 30.0, (640, 360)),
        ("fps05.mp4", 12, 0.5, (640, 360)),
        ("fps2.mp4", 12, 2.0, (640, 360)),
        ("cut.mp4", 120, 30.0, (640, 360)),
        ("zoom.mp4", 120, 30.0, (640, 360)),
        ("tworesolutions.ts", 90, 30.0, (640, 360)),
        ("av1.mp4", 60, 30.0, (640, 360)),
        ("grow.ts", 120, 30.0, (640, 360)),
        ("sideways.mp4", 60, 30.0, (360, 640)),
    ],
)
def test_shared_films(
    name: str, frames: int, fps: float, size: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    with open_source(str(shared(name))) as source:
        assert isinstance(source, VideoFile)
        assert source.size == size
        assert source.fps == pytest.approx(fps, rel=0.01)
        got = list(source)
    assert len(got) == frames
    assert {frame.size for frame in got} == {size}
    assert all((a.image != b.image).any() for a, b in pairwise(got))
    assert "promised" not in caplog.text


def test_shared_film_on_its_side() -> None:
    assert read(shared("sideways.mp4"), rotate=270)[0].size == (640, 360)


def test_shared_pictures(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    for name in ("appledouble.tgz", "tenpersecond.tgz"):
        with tarfile.open(shared(name)) as archive:
            archive.extractall(tmp_path / name, filter="data")
    folder = next(p for p in (tmp_path / "appledouble.tgz").rglob("*") if p.suffix).parent
    frames = read(folder)
    assert len(frames) == 12
    assert frames[0].timestamp == 0.0
    assert not caplog.records
    folder = next(p for p in (tmp_path / "tenpersecond.tgz").rglob("*") if p.suffix).parent
    frames = read(folder, fps=10.0)
    assert len(frames) == 53
    assert frames[-1].timestamp == pytest.approx(5.5)
    assert "12, 13, 30" in caplog.text
