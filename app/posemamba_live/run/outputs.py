"""Everything that a run leaves behind: recordings and exports, each failing on its own."""

from __future__ import annotations

import logging
import shlex
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from posemamba_live.errors import LiveError, SinkError
from posemamba_live.files import free_name, other_folders
from posemamba_live.keypoints import marked
from posemamba_live.run.history import History
from posemamba_live.sinks import Recording, rescuing_exporter
from posemamba_live.sources import Source
from posemamba_live.takes.journal import Journal
from posemamba_live.types import Frame, Pose3D

logger = logging.getLogger(__name__)

KEPT_POSES: Final = 20_000
"""What "export now" can go back to in an endless run: about ten minutes of one person."""


@dataclass(frozen=True, slots=True)
class Film:
    """A source that can be read a second time."""

    name: str
    """As somebody would give it on the command line."""
    open: Callable[[], Source]
    """Its frames, with the same indices and times."""


@dataclass(slots=True)
class Outputs:
    """The files of one run. A file that cannot be written is told once, in `errors`."""

    exports: Sequence[Path]
    record: Path | None
    open_recorder: Callable[[Path, Sequence[Pose3D] | None], Recording]
    """Starts a recording; only called when there is a frame for it. It is given all poses that
    will come, where they are known."""
    meta: dict[str, Any]
    """What the exports, and the journal from its next writing on, say of the run."""
    overwrite: bool = False
    live: bool = False
    how: Mapping[str, Any] = field(default_factory=dict)
    """By which poses can be lifted later; see `takes.recovery`."""
    film: Film | None = None
    """By which the recording is drawn when the take is solved; None where it is drawn while the
    run goes on. Exports with pictures have them from there."""
    errors: list[LiveError] = field(default_factory=list)
    written: list[Path] = field(default_factory=list)
    """Complete files, in the order of writing."""
    unfinished: list[Path] = field(default_factory=list)
    """Exports that are still to be written."""
    undrawn: Path | None = None
    """The recording, as long as it is still to be drawn from the film."""
    recording_failed: bool = False
    _places: list[Path] | None = None
    """Folders that the recording may go on in; None as long as it has not failed."""
    _recorder: Recording | None = None
    _recording_to: Path | None = None
    _part: Path | None = None
    """What the recording is called as long as it is not complete."""
    _known: Sequence[Pose3D] | None = None
    """All poses of the recording, where they are known."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    """Frames are written by one thread, recordings ended by another."""

    def __post_init__(self) -> None:
        self.meta = dict(self.meta)
        if self.film is None:
            self._recording_to = self.record
        else:
            self.undrawn = self.record
        self.unfinished = sorted(self.exports, key=lambda path: path.suffix != ".npz")

    def memory(self) -> Journal | History:
        """What the run's poses go to while it goes on, and come back from.

        A run with files keeps them in a journal; one that is only watched in memory, and a
        camera that may run for days only what somebody may still want.
        """
        first = next(iter(self.exports), self.record)
        if first is not None:
            return Journal(first, self.meta, live=self.live, how=self.how)
        return History(KEPT_POSES if self.live else None)

    @property
    def recording(self) -> bool:
        return self._recording_to is not None

    def write_frame(self, frame: Frame, poses: Sequence[Pose3D]) -> None:
        """Append one frame to the recording, if there is one.

        After an error what was recorded stays, and the recording goes on in another file.
        """
        with self._lock:
            while self._recording_to is not None and not self._write(frame, poses):
                pass

    def _write(self, frame: Frame, poses: Sequence[Pose3D]) -> bool:
        """Whether that is all for this frame; else there may be another file to be tried."""
        path = self._recording_to
        assert path is not None
        try:
            if self._recorder is None:
                self._recorder = self.open_recorder(path, self._known)
                self._part = getattr(self._recorder, "part", None)
            self._recorder.write(frame, poses)
        except Exception as error:
            begun = self._recorder is not None
            self.recording_failed |= begun
            self._go_on_elsewhere(path, error)
            return begun
        return True

    def draw(
        self,
        solve: Callable[[], Sequence[Pose3D]],
        count: int,
        go_on: Callable[[], bool],
        drawn: Callable[[int], None] = lambda count: None,
    ) -> None:
        """Draw the recording of a film from its solved take, reading the film a second time.

        Args:
            solve: returns all poses.
            count: frames of the film that the run has seen.
            go_on: asked before each frame; once it says no, nothing is left of the recording.
            drawn: told how many frames are done.
        """
        film, path = self.film, self.undrawn
        if film is None or path is None or not count:
            self.undrawn = None
            return
        try:
            poses = marked(solve())
            people: dict[int, list[Pose3D]] = {}
            for pose in poses:
                people.setdefault(pose.frame_index, []).append(pose)
            target = path if self.overwrite or not path.exists() else free_name(path)
            if target != path:
                self.errors.append(
                    SinkError(
                        f"{path} was made by somebody else meanwhile",
                        why="it is left as it is",
                        hint=f"the recording is {target}",
                    )
                )
            with self._lock:
                self._known, self._recording_to = poses, target
            with film.open() as source:
                for number, frame in enumerate(source):
                    if not go_on():
                        self._discard()
                        return
                    self.write_frame(frame, people.get(frame.index, ()))
                    drawn(number + 1)
                    if number + 1 == count or not self.recording:
                        break
        except Exception as error:
            self._fail(error, f"cannot record to {path}")
            self.recording_failed = True
        self.stop_recording()
        if not self.recording_failed:
            self.undrawn = None

    def _discard(self) -> None:
        with self._lock:
            recorder, self._recorder, self._recording_to = self._recorder, None, None
            if recorder is not None:
                recorder.discard()

    def stop_recording(self) -> Path | None:
        """Complete the recording; returns its path if there is one."""
        with self._lock:
            recorder, self._recorder = self._recorder, None
            path, self._recording_to = self._recording_to, None
            if recorder is None or path is None:
                return None
            return self._close(recorder, path)

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
        """Write the poses that `solve` returns to every export path, .npz files first."""
        poses: Sequence[Pose3D] | None = None

        def solve_once() -> Sequence[Pose3D]:
            nonlocal poses
            poses = solve() if poses is None else poses
            return poses

        for path in list(self.unfinished):
            done = self._export(path, solve_once, overwrite=self.overwrite)
            nobody = poses is not None and not poses  # there is nothing to make later
            if done is not None or nobody:
                self.unfinished.remove(path)

    def export_now(self, solve: Callable[[], Sequence[Pose3D]]) -> Path | None:
        """Write the poses so far to a new file in the current folder; returns its path."""
        return self._export(fresh_name("poses", ".npz"), solve, overwrite=False)

    @property
    def whole(self) -> bool:
        """Whether the files hold all that a journal does, or that can be made of it."""
        if self.unfinished or self.undrawn is not None:
            return False
        return not self.recording_failed or (self.film is None and bool(self.exports))

    def how_to_finish(self, journal: Journal) -> str:
        """Where the poses are that are not in all exports, and the line that gets them there."""
        path = journal.path
        if path is None:
            return ""
        names = list(self.unfinished)
        words = ["posemamba-export", str(path)]
        if self.film is not None and (self.undrawn is not None or _shows_film(names)):
            words += ["--video", self.film.name]
        if self.film is not None and self.undrawn is not None:
            names.append(self.undrawn if self.overwrite else free_name(self.undrawn))
        if not names and self.exports:
            if self._part is not None and self._part.exists():
                return f"what was recorded is in {self._part}, and plays"
            return f"all poses are in the exports, and in {path}"
        if not names:  # only a recording was wanted, which poses alone do not make
            first = path.with_suffix("")
            names = [first.with_suffix(".npz") if first.suffix == ".mp4" else first]
        line = shlex.join([*words, *map(str, names)])
        return f"everything captured is in {path}; this line makes the files of it:\n  {line}"

    def _export(
        self, path: Path, solve: Callable[[], Sequence[Pose3D]], *, overwrite: bool
    ) -> Path | None:
        """Returns the first file that was written."""
        try:
            film = None if self.film is None else self.film.open
            exporter = rescuing_exporter(path, overwrite=overwrite, meta=self.meta, film=film)
            for pose in solve():
                exporter.add(pose)
            try:
                exporter.close()
            finally:
                self.written += exporter.files
                self.errors += exporter.notes
        except Exception as error:
            self._fail(error, f"cannot write {path}")
            return None
        return exporter.files[0]

    def _close(self, recorder: Recording, path: Path) -> Path | None:
        """Complete a recording; returns where it is, if it is whole."""
        failed = False
        try:
            recorder.close()
        except Exception as error:
            failed = True
            self._fail(error, f"cannot record to {path}")
        found: Path = getattr(recorder, "path", path)
        if failed and (found == path or ".partial" in found.name):
            self.recording_failed = True
            return None
        if found != path and not found.exists():  # not one picture was whole
            return None
        self.written.append(found)  # elsewhere, where somebody had taken its own name
        return found

    def _go_on_elsewhere(self, path: Path, error: Exception) -> None:
        """Keep what was recorded, and take another file for the next frame."""
        recorder, self._recorder, self._recording_to = self._recorder, None, None
        if self._places is None:
            self._places = [path.parent, *other_folders(path.parent)]
        if recorder is None:  # a folder that takes no file is not asked again
            self._places = [place for place in self._places if place != path.parent]
        # What was begun is closed first: a broken encoder works again in the same folder, and
        # there its name is taken then.
        failures = len(self.errors)
        if recorder is not None:
            self._close(recorder, path)
        if self._places:
            target = self._recording_to = free_name(self._places.pop(0) / path.name)
            why = getattr(error, "why", "") or f"{type(error).__name__}: {error}"
            what = (
                SinkError(f"{path} could not be written: it is {target} instead", why=why)
                if recorder is None
                else SinkError(f"cannot record to {path}", why=why, hint=f"it goes on in {target}")
            )
            self.errors.insert(failures, what)
        else:
            self._fail(error, f"cannot record to {path}")

    def _fail(self, error: Exception, what: str) -> None:
        logger.debug("%s", what, exc_info=error)
        if not isinstance(error, LiveError):
            error = SinkError(what, why=f"{type(error).__name__}: {error}")
        self.errors.append(error)


def _shows_film(exports: Sequence[Path]) -> bool:
    return any(path.suffix.lower() == ".rrd" for path in exports)


def fresh_name(stem: str, suffix: str) -> Path:
    """A name in the current folder that is not taken."""
    return free_name(Path(f"{stem}-{time.strftime('%Y%m%d-%H%M%S')}{suffix}"))
