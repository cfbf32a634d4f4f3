"""Decoded pictures as arrays of BGR."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import numpy as np
from av.filter import Graph

from posemamba_live.types import Image

if TYPE_CHECKING:
    from av.filter.context import FilterContext
    from av.video.frame import VideoFrame

_AS_OPENCV: Final = "colorspace=bt470bg:color_primaries=unknown:color_trc=unknown"
"""How colours are turned into BGR, whatever the file says (BT.601): so does OpenCV, whose pictures
cameras give and detectors were measured with, and so are recordings turned back."""


class BgrConverter:
    """Turns pictures into BGR, in memory that is used again.

    FFmpeg's filters keep a pool of pictures: what an array no longer needs, a later one gets. A
    picture of 4K has 25 MB, and memory that the system has to hand out anew costs as much time as
    turning the colours.
    """

    def __init__(self) -> None:
        self._kind: tuple[object, ...] = ()
        self._graph: Graph | None = None
        self._begin: FilterContext | None = None
        self._end: FilterContext | None = None

    def __call__(self, frame: VideoFrame) -> Image:
        """(H, W, 3) BGR, contiguous; nobody else writes into it as long as it is used."""
        kind = (
            frame.width, frame.height, frame.format.name, frame.colorspace, frame.color_range,
        )  # fmt: skip
        if kind != self._kind:
            self._set_up(frame)
            self._kind = kind
        assert self._begin is not None
        assert self._end is not None
        self._begin.push(frame)
        bgr = cast("VideoFrame", self._end.pull())
        plane = bgr.planes[0]
        rows = np.frombuffer(cast(bytes, plane), np.uint8).reshape(-1, plane.line_size)
        return np.ascontiguousarray(rows[: bgr.height, : 3 * bgr.width]).reshape(
            bgr.height, bgr.width, 3
        )

    def _set_up(self, frame: VideoFrame) -> None:
        """Make the filters for pictures of this kind."""
        graph = Graph()
        graph.threads = 1  # else as many as there are cores, which nobody uses: up to 3 ms
        nodes = [
            graph.add(
                "buffer",
                f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}"
                f":time_base=1/1000:colorspace={frame.colorspace:d}:range={frame.color_range:d}",
            ),
            graph.add("setparams", _AS_OPENCV),
            # Decoding has the other cores.
            graph.add("scale", "flags=bilinear:threads=1"),
            graph.add("format", "pix_fmts=bgr24"),
            graph.add("buffersink"),
        ]
        graph.link_nodes(*nodes)
        graph.configure()
        self._graph, self._begin, self._end = graph, nodes[0], nodes[-1]
