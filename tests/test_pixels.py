"""Pictures as arrays: the colours that FFmpeg's own converter gives, in memory used again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.reformatter import Colorspace, VideoReformatter

from posemamba_live.sources import VideoFile
from posemamba_live.sources.pixels import BgrConverter
from tests.support.films import encode, number, numbered

KINDS = (
    "yuv420p", "yuvj420p", "yuv422p", "yuv444p", "yuv410p", "yuv440p", "yuv420p10le",
    "yuv422p12le", "yuva420p", "nv12", "p010le", "yuyv422", "gray", "gray10le", "monow",
    "rgb24", "bgr24", "bgra", "gbrp", "gbrp10le", "rgb48le", "rgb565le",
)  # fmt: skip


def picture(kind: str, size: tuple[int, int]) -> Any:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (size[1], size[0], 3), np.uint8)
    return av.VideoFrame.from_ndarray(pixels, "bgr24").reformat(format=kind)


@pytest.mark.parametrize("size", [(320, 180), (101, 55)])
@pytest.mark.parametrize("kind", KINDS)
def test_colours_are_those_of_bt601(kind: str, size: tuple[int, int]) -> None:
    """Of whatever matrix and range the file speaks."""
    convert = BgrConverter()
    for matrix in (1, 2, 6, 9):
        for value_range in (0, 1, 2):
            frame = picture(kind, size)
            frame.colorspace, frame.color_range = matrix, value_range
            image = convert(frame)
            expected = VideoReformatter().reformat(
                frame, format="bgr24", src_colorspace=Colorspace.ITU601
            )
            np.testing.assert_array_equal(image, expected.to_ndarray())
            assert image.flags.c_contiguous


def test_pictures_that_are_kept_stay_as_they_are(tmp_path: Path) -> None:
    """Memory is used again only when nobody looks at it any more."""
    path = tmp_path / "film.mp4"
    encode(path, [numbered(index) for index in range(60)])
    kept, passed = [], []
    with VideoFile(path) as film:
        for frame in film:
            passed.append(frame.image.ctypes.data)
            if frame.index % 7 == 0:
                kept.append(frame)
    assert [number(frame.image) for frame in kept] == [frame.index for frame in kept]
    assert len({frame.image.ctypes.data for frame in kept}) == len(kept)
    assert len(set(passed)) < 30
