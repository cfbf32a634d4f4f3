"""Small films made with PyAV: of numbered pictures, at any times, in any sizes, with sound."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
SIZE = (320, 180)
_TICKS = 90_000


def numbered(index: int, size: tuple[int, int] = SIZE) -> Image:
    """A dark picture with a bright bar whose place tells the number, 0 to 63 (then again)."""
    image = np.full((size[1], size[0], 3), 30, np.uint8)
    step = size[0] // 64
    place = index % 64
    image[:, place * step : (place + 1) * step] = 220
    return image


def number(image: Image) -> int:
    """What `numbered` was asked for."""
    step = image.shape[1] // 64
    return int(image[:, : 64 * step].mean((0, 2)).reshape(64, step).mean(1).argmax())


def encode(
    path: Path,
    images: Sequence[Image],
    *,
    times: Sequence[float] | None = None,
    fps: float = 30.0,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    tone_s: float = 0.0,
    sound: str = "aac",
    options: dict[str, str] | None = None,
) -> None:
    """Write a film whose container format the suffix says.

    Args:
        times: seconds of each picture; otherwise at `fps`.
        pixels: FFmpeg's name of how they are stored.
        tone_s: seconds of sound beside it, from 0 on: a tone.
        sound: its codec.
        options: of the container.
    """
    times = [index / fps for index in range(len(images))] if times is None else times
    with av.open(str(path), "w", options=options or {}) as out:
        stream: Any = out.add_stream(codec, rate=Fraction(fps).limit_denominator(10_000))
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else pixels
        stream.codec_context.time_base = Fraction(1, _TICKS)
        if codec == "libx264":
            stream.codec_context.options = {"preset": "ultrafast", "crf": "18"}
        tone: Any = None
        if tone_s:
            tone = out.add_stream(sound, rate=48_000)
            tone.layout = "mono"
        for packet in _heard(tone, tone_s):
            out.mux(packet)
        for image, seconds in zip(images, times, strict=True):
            frame = av.VideoFrame.from_ndarray(image, "bgr24").reformat(format=stream.pix_fmt)
            frame.pts, frame.time_base = round(seconds * _TICKS), Fraction(1, _TICKS)
            for packet in stream.encode(frame):
                out.mux(packet)
        for packet in stream.encode(None):
            out.mux(packet)


def _heard(stream: Any, seconds: float) -> list[Any]:
    """Packets of a 440 Hz tone whose loudness rises with time."""
    if stream is None:
        return []
    packets: list[Any] = []
    size = stream.codec_context.frame_size or 1024
    for at in range(0, int(seconds * 48_000), size):
        t = (at + np.arange(size)) / 48_000
        wave = (0.8 * t / seconds * np.sin(2 * np.pi * 440 * t)).astype(np.float32)[None]
        kind = stream.codec_context.format.name
        data = wave if kind == "fltp" else (wave * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(data, format=kind, layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, at, Fraction(1, 48_000)
        packets += stream.encode(frame)
    return packets + stream.encode(None)
