"""Everything that a run leaves behind: recordings and exports, each failing on its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from posemamba_live.errors import LiveError, SinkError
from posemamba_live.sinks import Sink, create_exporter
from posemamba_live.types import Frame, Pose3D

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Outputs:
    """The files of one run. A file that cannot be written is told once, in `errors`."""

    exports: Sequence[Path]
    record: Path | None
    open_recorder: Callable[[Path], Sink]
    """Starts a recording; only called when there is a frame for it."""
    meta: Mapping[str, Any]
    """What the exports say of the run."""
    overwrite: bool = False
    errors: list[LiveError] = field(default_factory=list)
    written: list[Path] = field(default_factory=list)
    """Complete files, in the order of writing."""
    _recorder: Sink | None = None
    _recording_to: Path | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    """Frames are written by one thread, recordings ended by another."""

    def __post_init__(self) -> None:
        self._recording_to = self.record

    @property
    def recording(self) -> bool:
        return self._recording_to is not None

    def write_frame(self, frame: Frame, poses: Sequence[Pose3D]) -> None:
        """Append one frame to the recording, if there is one."""
        with self._lock:
            if self._recording_to is None:
                return
            try:
                if self._recorder is None:
                    self._recorder = self.open_recorder(self._recording_to)
                self._recorder.write(frame, poses)
            except Exception as error:
                self._fail(error, f"cannot record to {self._recording_to}")
                self._abort_recording()

    def stop_recording(self) -> Path | None:
        """Complete the recording; returns its path if there is one."""
        with self._lock:
            recorder, self._recorder = self._recorder, None
            path, self._recording_to = self._recording_to, None
            if recorder is None or path is None:
                return None
            try:
                recorder.close()
            except Exception as error:
                self._fail(error, f"cannot record to {path}")
                return None
        self.written.append(path)
        return path

    def toggle_recording(self) -> Path | None:
        """End the recording, or begin one under a new name in the current folder.

        Returns:
            The file that was completed, or None where one begins.
        """
        if self.recording:
            return self.stop_recording()
        self._recording_to = fresh_name("recording", ".mp4")
        return None

    def export(self, solve: Callable[[], Sequence[Pose3D]]) -> None:
        """Write the poses that `solve` returns to every export path."""
        poses: Sequence[Pose3D] | None = None

        def solve_once() -> Sequence[Pose3D]:
            nonlocal poses
            poses = solve() if poses is None else poses
            return poses

        for path in self.exports:
            self._export(path, solve_once, overwrite=self.overwrite)

    def export_now(self, solve: Callable[[], Sequence[Pose3D]]) -> Path | None:
        """Write the poses so far to a new file in the current folder; returns its path."""
        path = fresh_name("poses", ".npz")
        return path if self._export(path, solve, overwrite=False) else None

    def _export(
        self, path: Path, solve: Callable[[], Sequence[Pose3D]], *, overwrite: bool
    ) -> bool:
        try:
            exporter = create_exporter(path, overwrite=overwrite, meta=self.meta)
            for pose in solve():
                exporter.add(pose)
            try:
                exporter.close()
            finally:
                self.written += exporter.files
        except Exception as error:
            self._fail(error, f"cannot write {path}")
            return False
        return True

    def _abort_recording(self) -> None:
        recorder, self._recorder, self._recording_to = self._recorder, None, None
        if recorder is not None:
            try:
                recorder.close()
            except Exception as error:  # already told why it failed
                logger.debug("closing the failed recording: %s", error)

    def _fail(self, error: Exception, what: str) -> None:
        logger.debug("%s", what, exc_info=error)
        if not isinstance(error, LiveError):
            error = SinkError(what, why=f"{type(error).__name__}: {error}")
        self.errors.append(error)


def fresh_name(stem: str, suffix: str) -> Path:
    """A name in the current folder that is not taken."""
    base = f"{stem}-{time.strftime('%Y%m%d-%H%M%S')}"
    path, number = Path(base + suffix), 2
    while path.exists():
        path, number = Path(f"{base}-{number}{suffix}"), number + 1
    return path
