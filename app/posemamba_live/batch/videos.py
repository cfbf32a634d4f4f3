"""Which videos are meant, with which options, and under which names their results go."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from posemamba_live.batch.options import USUAL_SUFFIXES, scheme_of, shown
from posemamba_live.batch.storage import (
    OWN,
    Facts,
    failed_to_read,
    file_system,
    local_facts,
    local_path,
    remote_facts,
)
from posemamba_live.batch.tables import COLUMNS, Row, read_list, read_table
from posemamba_live.errors import UsageError

_LISTS: Final = (".txt", ".lst")
_TABLES: Final = (".csv", ".parquet")
_PATTERN: Final = re.compile(r"[*?\[]")
_SEVERAL: Final = re.compile(r"(.+)_person\d+(_\d+)?")
"""Names that files of further people get."""


@dataclass(frozen=True, slots=True)
class Video:
    """One video, or a part of one, to be lifted."""

    address: str
    """Absolute path or URL."""
    name: str
    """Of its results, relative to their folder, with slashes and without suffix."""
    facts: Facts | None = None
    """As it was found; None where that was not looked up, or there is nothing."""
    given: Mapping[str, Any] = field(default_factory=dict)
    """Options of its own: see `tables.COLUMNS`."""

    @property
    def size(self) -> int:
        """Bytes, 0 where they are not known."""
        return self.facts.size if self.facts is not None else 0


def find_videos(
    inputs: Sequence[str], suffixes: Sequence[str] = (), output: str | None = None
) -> list[Video]:
    """Every video that the inputs mean, each once, sorted by name.

    Args:
        inputs: folders, videos, patterns, lists and tables.
        suffixes: of files in folders; by default the usual ones.
        output: folder of results, in which nothing is looked for.

    Raises:
        UsageError: an input is not there or holds no video, a table cannot be meant, or two
            videos would have one result.
    """
    wanted = tuple(_dotted(suffix) for suffix in suffixes) or USUAL_SUFFIXES
    # As cp does it: one folder gives its content, several keep their names.
    look = _Look(wanted, _inside(output), keep_names=len(inputs) > 1)
    found: list[Video] = []
    for address in inputs:
        videos = list(look.at(address))
        if not videos:
            raise UsageError(
                f"There is no video in {shown(address)}",
                hint=f"files that end in {', '.join(wanted)}, or say --suffix",
            )
        found += videos
    return sorted(_named(_once(found)), key=lambda video: video.name)


def _dotted(suffix: str) -> str:
    return f".{suffix.lower().lstrip('.')}"


def _inside(output: str | None) -> str:
    path = local_path(output) if output is not None else None
    return "" if path is None else os.path.realpath(path)


@dataclass(frozen=True, slots=True)
class _Look:
    """Looks for videos behind an input."""

    suffixes: Sequence[str]
    results: str
    """Folder of results, that is not looked into."""
    keep_names: bool

    def at(self, address: str) -> Iterator[Video]:
        suffix = os.path.splitext(address)[1].lower()
        path = local_path(address)
        if path is None:
            yield from self._remote(address, suffix)
        elif path.is_dir():
            prefix = f"{path.name}/" if self.keep_names and path.name else ""
            for file, below in self._walk(path):
                yield Video(str(file), prefix + _stem(below), local_facts(file))
        elif path.exists():
            if suffix in (*_LISTS, *_TABLES):
                yield from self._listed(address, suffix)
            else:
                yield Video(str(path), _stem(path.name), local_facts(path))
        elif _PATTERN.search(address):
            yield from self._pattern(str(path))
        else:
            raise UsageError(
                f"There is no {address}", hint="a folder, a video, a pattern or a list"
            )

    def _walk(self, folder: Path) -> Iterator[tuple[Path, str]]:
        own = os.path.realpath(folder) == self.results  # results beside the videos
        for parent, folders, names in os.walk(folder, followlinks=True):
            folders[:] = sorted(
                name
                for name in folders
                if not name.startswith(".")
                and (own or os.path.realpath(os.path.join(parent, name)) != self.results)
            )
            for name in sorted(names):
                if not name.startswith(".") and name.lower().endswith(tuple(self.suffixes)):
                    file = Path(parent, name)
                    yield file, file.relative_to(folder).as_posix()

    def _pattern(self, pattern: str) -> Iterator[Video]:
        fixed = pattern[: _PATTERN.search(pattern).start()]  # type: ignore[union-attr]
        base = Path(fixed if fixed.endswith(os.sep) else os.path.dirname(fixed))
        for name in sorted(glob.glob(pattern, recursive=True)):
            file = Path(name)
            if file.is_file() and OWN not in file.parts:
                yield Video(name, _stem(file.relative_to(base).as_posix()), local_facts(file))

    def _remote(self, url: str, suffix: str) -> Iterator[Video]:
        system, inside = file_system(url)
        try:
            if _PATTERN.search(inside):
                files = system.glob(inside, detail=True)
                base = inside[: _PATTERN.search(inside).start()]  # type: ignore[union-attr]
                base = base.rpartition("/")[0]
            elif system.isdir(inside):
                files, base = system.find(inside, detail=True), inside.rstrip("/")
                files = {path: facts for path, facts in files.items() if self._is_video(path, base)}
            elif suffix in (*_LISTS, *_TABLES):
                yield from self._listed(url, suffix)
                return
            else:
                files, base = {inside: system.info(inside)}, inside.rpartition("/")[0]
        except FileNotFoundError:
            raise UsageError(f"There is no {shown(url)}") from None
        except UsageError:
            raise
        except Exception as error:  # each file system has errors of its own
            raise failed_to_read(url, error) from error
        for path, info in sorted(files.items()):
            if info.get("type", "file") == "file":
                below = path[len(base) :].lstrip("/")
                yield Video(system.unstrip_protocol(path), _stem(below), remote_facts(info))

    def _is_video(self, path: str, base: str) -> bool:
        below = path[len(base) :].strip("/").split("/")
        hidden = any(part.startswith(".") for part in below)
        return not hidden and path.lower().endswith(tuple(self.suffixes))

    def _listed(self, address: str, suffix: str) -> Iterator[Video]:
        """Videos of a list or table. One that is not there is found out when it is lifted."""
        path = local_path(address)
        home = str(path.parent) if path is not None else address.rpartition("/")[0]
        rows = read_list(address) if suffix in _LISTS else read_table(address)
        for row in rows:
            yield from self._row(row, home)

    def _row(self, row: Row, home: str) -> Iterator[Video]:
        if scheme_of(row.path):
            where, name = row.path, row.path.partition("://")[2]
        elif scheme_of(home):
            where = name = row.path
            where = f"{home}/{row.path}"
        else:
            where = os.path.join(home, os.path.expanduser(row.path))
            where = os.path.normpath(where)
            below = os.path.relpath(where, home)
            # Names that stay what they are, whatever else comes into the list.
            name = where if below.startswith("..") else below
            name = os.path.splitdrive(name)[1].replace(os.sep, "/").lstrip("/")
        path = local_path(where)
        several = path is not None and path.is_dir()
        if several or (_PATTERN.search(where) and not (path is not None and path.exists())):
            for video in replace(self, keep_names=False).at(where):
                prefix = f"{name}/" if several else ""
                yield replace(video, name=prefix + video.name, given=row.given)
            return
        facts = local_facts(path) if path is not None else None
        yield Video(str(path) if path is not None else where, _stem(name), facts, row.given)


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]


def _once(videos: Iterable[Video]) -> list[Video]:
    """Each video once; of parts of one, each has the seconds in its name."""
    by_address: dict[str, list[Video]] = {}
    for video in videos:
        same = by_address.setdefault(video.address, [])
        if all(video.given != other.given for other in same):
            same.append(video)
    found = []
    for address, same in by_address.items():
        if len({_part(video) for video in same}) < len(same):
            raise UsageError(
                f"{shown(address)} is there twice, with different options",
                hint=f"parts of one video differ in start and end ({', '.join(COLUMNS)})",
            )
        many = len(same) > 1
        found += [replace(v, name=v.name + _part(v)) if many else v for v in same]
    return found


def _part(video: Video) -> str:
    start, end = video.given.get("start"), video.given.get("end")
    if start is None and end is None:
        return ""
    return f"_{start or 0.0:g}-{'' if end is None else f'{end:g}'}"


def _named(videos: Sequence[Video]) -> list[Video]:
    """With the suffix in the name where another one would have the same results."""
    count = Counter(video.name.lower() for video in videos)  # some systems know no case

    def clashes(video: Video) -> bool:
        further = _SEVERAL.fullmatch(video.name.lower())
        return count[video.name.lower()] > 1 or (further is not None and further[1] in count)

    found = []
    for video in videos:
        suffix = os.path.splitext(video.address)[1]
        found.append(replace(video, name=video.name + suffix) if clashes(video) else video)
    again = Counter(video.name.lower() for video in found)
    twice = [video for video in found if again[video.name.lower()] > 1]
    if twice:
        names = " and ".join(shown(video.address) for video in twice[:2])
        raise UsageError(
            f"Two videos would have the same results: {names}",
            hint="rename one, or give them different --output folders",
        )
    return found


def check_places(videos: Sequence[Video], output: str, suffixes: Sequence[str]) -> None:
    """Refuse results that would replace the videos themselves.

    Raises:
        UsageError: naming one.
    """
    path = local_path(output)
    base = str(path) if path is not None else output.rstrip("/")
    addresses = {video.address for video in videos}
    for video in videos:
        for suffix in suffixes:
            target = f"{base}/{video.name}{suffix}"
            if (os.path.normpath(target) if path is not None else target) in addresses:
                raise UsageError(
                    f"Results would replace {shown(video.address)}", hint="choose another --output"
                )
