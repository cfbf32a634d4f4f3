"""What a run measures of itself: rates, latency and the time that each stage takes.

Memory stays the same however long the run; percentiles come from an even sample of it.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from posemamba_live import STARTED_AT
from posemamba_live.errors import SinkError
from posemamba_live.files import write_file
from posemamba_live.memory import resident_mb
from posemamba_live.streams.base import StreamFigures

_SAMPLE_SIZE: Final = 4096


class Reservoir:
    """An even sample of fixed size of everything added (algorithm R), and the exact maximum."""

    def __init__(self, size: int = _SAMPLE_SIZE) -> None:
        self.count = 0
        self.maximum = 0.0
        self._size = size
        self._sample: list[float] = []
        self._random = random.Random(0)

    def add(self, value: float) -> None:
        self.maximum = value if self.count == 0 else max(self.maximum, value)
        self.count += 1
        if len(self._sample) < self._size:
            self._sample.append(value)
        elif (slot := self._random.randrange(self.count)) < self._size:
            self._sample[slot] = value

    def percentile(self, percent: float) -> float:
        """Nearest-rank percentile; 0 where nothing was added."""
        if not self._sample:
            return 0.0
        ordered = sorted(self._sample)
        return ordered[min(len(ordered) - 1, int(percent / 100.0 * len(ordered)))]


class Rate:
    """Events per second between the first event and the last."""

    def __init__(self) -> None:
        self.count = 0
        self.first = 0.0
        """When the first event was; 0 before it."""
        self.last = 0.0

    def tick(self, now: float) -> None:
        """Count one event at `now`, seconds of any clock."""
        self.first = now if self.count == 0 else self.first
        self.last = now
        self.count += 1

    @property
    def per_second(self) -> float:
        span = self.last - self.first
        return (self.count - 1) / span if span > 0.0 else 0.0


class RunStats:
    """Counters of one run; any thread may call any method."""

    def __init__(self, device: str = "", backend: str = "") -> None:
        self.device = device
        self.backend = backend
        self.detector: Mapping[str, Any] = {}
        """What runs as the detector, and on what."""
        self.frames_dropped = 0
        """Captured but never processed, because a newer one was there."""
        self.streams: list[StreamFigures] = []
        self._lock = threading.Lock()
        self._in = Rate()
        self._out = Rate()
        self._latency = Reservoir()
        self._stages: dict[str, Reservoir] = {}

    @property
    def frames_in(self) -> int:
        return self._in.count

    @property
    def frames_out(self) -> int:
        return self._out.count

    @property
    def fps_out(self) -> float:
        """Results a second since the first frame came in.

        Not between results: those of a clip shorter than a window all come at once.
        """
        span = self._out.last - self._in.first
        return self._out.count / span if self._out.count and span > 0.0 else 0.0

    @property
    def latency_ms(self) -> float:
        """Median time from capture to result."""
        with self._lock:
            return self._latency.percentile(50)

    def frame_in(self, at: float | None = None) -> None:
        """A frame has come from the source: now, or at `at` (time.monotonic())."""
        with self._lock:
            self._in.tick(time.monotonic() if at is None else at)

    def frame_out(self, captured_at: float) -> None:
        """The result for a frame captured at `captured_at` (time.monotonic()) is there."""
        now = time.monotonic()
        with self._lock:
            self._out.tick(now)
            self._latency.add(1e3 * (now - captured_at))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a block as work of stage `name`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.stage_took(name, time.perf_counter() - start)

    def stage_took(self, name: str, seconds: float) -> None:
        """A piece of work of stage `name` took so long."""
        with self._lock:
            self._stages.setdefault(name, Reservoir()).add(1e3 * seconds)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: milliseconds, frames a second, mebibytes.

        `start_s` is from the program's start to the first result, `run_s` from the first frame
        until now, which is after the files were written; 0 if there was none.
        """
        with self._lock:
            return {
                "frames_in": self._in.count + self.frames_dropped,
                "frames_dropped": self.frames_dropped,
                "frames_out": self._out.count,
                "start_s": round(max(self._out.first - STARTED_AT, 0.0), 2),
                "run_s": round(time.monotonic() - self._in.first if self._in.count else 0.0, 2),
                "fps_in": round(self._in.per_second, 2),
                "fps_out": round(self.fps_out, 2),
                "latency_ms": {
                    "p50": round(self._latency.percentile(50), 2),
                    "p95": round(self._latency.percentile(95), 2),
                    "max": round(self._latency.maximum, 2),
                },
                "stage_ms": {
                    name: {
                        "p50": round(times.percentile(50), 2),
                        "p95": round(times.percentile(95), 2),
                    }
                    for name, times in self._stages.items()
                },
                "streams": [figures.to_dict() for figures in self.streams],
                "rss_mb": round(resident_mb(), 1),
                "device": self.device,
                "backend": self.backend,
                "detector": dict(self.detector),
            }

    def write(self, path: Path, *, overwrite: bool = True) -> tuple[Path, SinkError | None]:
        """Write `to_dict` as JSON; see `files.write_file`.

        Raises:
            SinkError: it cannot be written anywhere.
        """
        text = json.dumps(self.to_dict(), indent=2) + "\n"

        def put(part: Path) -> None:
            part.write_text(text, encoding="utf-8")

        return write_file(path, put, overwrite=overwrite, elsewhere=True)
