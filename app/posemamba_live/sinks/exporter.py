"""What every export has in common: collect, then write whole files or none."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from posemamba_live.errors import SinkError
from posemamba_live.files import write_file
from posemamba_live.takes.take import Film, Take, with_measured_rate
from posemamba_live.types import Pose3D


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file."""

    write: Callable[[Path, Take], None]
    """Writes a new file; atomicity is not its business."""
    text: str
    """What it is, in a few words, for the help."""
    per_person: bool = False
    """Whether a file holds one person: others get files of their own."""
    needs: tuple[str, str] | None = None
    """A module that may be missing, and the extra that brings it."""

    def check_installed(self, path: Path) -> None:
        """Raises SinkError where a library that writes `path` is missing."""
        if self.needs is None:
            return
        module, extra = self.needs
        if importlib.util.find_spec(module) is None:
            raise SinkError(
                f"cannot write {path}",
                why=f"{module} is not installed",
                hint=f"pip install 'posemamba-live[{extra}]', or another file type",
            )


class FileExporter:
    """Collects poses and writes them, sorted by frame, then person.

    Args:
        path: the file; it appears when closed, complete, or not at all. If the format holds
            one person a file, this is the person seen in most frames, and each other one's
            file has `_person` and the id before its suffix.
        format_: see `sinks.FORMATS`.
        overwrite: replace existing files. A further person's file that exists is otherwise
            left alone, and the new one gets a number.
        meta: see `sinks.create_exporter`.
        elsewhere: where the folder does not take a file, find it another one: see `notes`.
        film: opens the film, for formats with pictures.
    """

    def __init__(
        self,
        path: Path,
        format_: Format,
        *,
        overwrite: bool,
        meta: Mapping[str, Any],
        elsewhere: bool = False,
        film: Film | None = None,
    ) -> None:
        self._path = path
        self._format = format_
        self._overwrite = overwrite
        self._meta = meta
        self._elsewhere = elsewhere
        self._film = film
        self._poses: dict[tuple[int, int], Pose3D] = {}
        self._spoilt = 0
        self._files: list[Path] = []
        self._notes: list[SinkError] = []
        self._closed = False

    @property
    def files(self) -> Sequence[Path]:
        return tuple(self._files)

    @property
    def notes(self) -> Sequence[SinkError]:
        return tuple(self._notes)

    def add(self, pose: Pose3D) -> None:
        """Take one person in one frame; a second one for the same replaces the first.

        One that is not finite is left out, which `close` tells once the others are written.
        """
        if all(np.isfinite(part).all() for part in (pose.joints, pose.root, pose.joints_world)):
            self._poses[pose.frame_index, pose.person_id] = pose
        else:
            self._spoilt += 1

    def close(self) -> None:
        """Write the files. Idempotent.

        Raises:
            SinkError: with the path and what is wrong with it.
        """
        if self._closed:
            return
        self._closed = True
        poses = [self._poses[key] for key in sorted(self._poses)]
        self._meta = with_measured_rate(self._meta, poses)
        if not self._format.per_person:
            self._write(self._path, poses)
        else:
            self._write_people(poses)
        if self._spoilt:
            raise SinkError(
                f"{self._path} lacks {self._spoilt} poses", why="their numbers were not finite"
            )

    def _write_people(self, poses: Sequence[Pose3D]) -> None:
        people = Take(poses, self._meta).people or {0: []}
        # A stack works from its top, and to its bottom whatever fails: it raises at the end.
        with ExitStack() as stack:
            for number, (person, own) in reversed(list(enumerate(people.items()))):
                path = self._beside(person) if number else self._path
                stack.callback(self._write, path, own)

    def _beside(self, person: int) -> Path:
        stem, suffix = self._path.stem, self._path.suffix
        path, number = self._path.with_name(f"{stem}_person{person}{suffix}"), 2
        while path.exists() and not self._overwrite:
            path = self._path.with_name(f"{stem}_person{person}_{number}{suffix}")
            number += 1
        return path

    def _write(self, path: Path, poses: Sequence[Pose3D]) -> None:
        take = Take(poses, self._meta, path.name, self._film)
        try:
            found, note = write_file(
                path,
                lambda part: self._format.write(part, take),
                overwrite=self._overwrite,
                elsewhere=self._elsewhere,
            )
        except NobodySeen as error:
            raise SinkError(
                f"cannot write {path}",
                why="nobody was seen, and this kind of file cannot say so",
                hint="a .csv, .json or .npz file can be empty",
            ) from error
        self._files.append(found)
        if note is not None:
            self._notes.append(note)


class NobodySeen(Exception):
    """There is no pose, and the format has no way to say that."""
