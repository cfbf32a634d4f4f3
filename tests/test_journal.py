"""The journal: to the last bit what went in, up to wherever it was cut or damaged."""

from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posemamba.checkpoint import Checkpoint, load_checkpoint
from posemamba_live.errors import LiveError, UsageError
from posemamba_live.files import free_name, settle
from posemamba_live.lifting.factory import lifter_factory
from posemamba_live.lifting.people import People
from posemamba_live.plan import plan_lifting
from posemamba_live.scene.scene import solve_scene
from posemamba_live.takes import journal as journals
from posemamba_live.takes import records, recovery, rows
from posemamba_live.takes.journal import Journal, journal_path, leftovers
from posemamba_live.takes.journal_content import Content, read_content
from posemamba_live.takes.journal_file import JournalFile, in_use
from posemamba_live.takes.recovery import recover, solve
from posemamba_live.types import Frame, LiftedPose
from tests.conftest import MakeTrack
from tests.support.lifted_poses import lifted_pose, same

META = {"fps": 30.0, "image_size": [1280, 720], "height_m": 1.8, "source": "film.mp4"}


def read(path: Path) -> Content:
    with open(path, "rb") as file:
        return read_content(file)


def written(folder: Path, poses: Sequence[LiftedPose], *, step: int = 40) -> Path:
    """A journal of a run that came to its end, in several records."""
    journal = Journal(folder / "walk.npz", META, live=False)
    for start in range(0, len(poses), step):
        journal.extend(poses[start : start + step])
        assert journal.sync(10.0)
    assert journal.close()
    assert journal.path is not None
    return journal.path


def some(count: int) -> list[LiftedPose]:
    return [lifted_pose(i, extra=None if i % 7 == 3 else ("a", "b")) for i in range(count)]


# -- round trips -----------------------------------------------------------------------------


def test_poses_come_back_to_the_last_bit(tmp_path: Path) -> None:
    given = [
        *(lifted_pose(i, extra=None) for i in range(5)),
        *some(700),
        *(lifted_pose(i, extra=("c",)) for i in range(700, 720)),
        *some(3),
    ]
    given[9].joints[3] = np.nan  # what a run says is kept, even that
    path = written(tmp_path, given, step=1000)
    content = read(path)
    assert path == tmp_path / "walk.npz.journal"
    assert len(content.lifted) == len(given)
    assert all(same(a, b) for a, b in zip(given, content.lifted, strict=True))
    assert content.meta == META
    assert content.complete
    assert content.damage is None


def test_what_was_not_lifted_yet_is_there_in_2d(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "walk.npz", META, live=False)
    given = some(30)
    for pose in given:
        journal.track([pose.pose2d])
    journal.extend(given[:10])
    assert journal.sync(10.0)
    journal.extend(given[10:20])
    assert journal.sync(10.0)
    assert journal.path is not None
    for content in (read(journal.path), journal.content()):
        assert [p.pose2d.frame_index for p in content.lifted] == list(range(20))
        waiting = list(content.waiting.values())
        assert all(same(a, b.pose2d) for a, b in zip(waiting, given[20:], strict=True))
    journal.close()


def test_a_live_journal_holds_each_pose_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "walk.npz", META, live=True)
    for pose in some(50):
        with journal._changed:  # nothing is written between the two
            journal.track([pose.pose2d])
            journal.extend([pose])
    journal.close()
    assert journal.path is not None
    kinds = [kind for kind, _ in records.read_records(io.BytesIO(journal.path.read_bytes()))]
    assert set(kinds) == {b"H", b"N", b"3", b"E"}


def test_it_is_on_the_disk_within_a_second_of_itself(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "walk.npz", META, live=True)
    journal.extend(some(20))
    deadline = time.monotonic() + 1.0
    path = tmp_path / "walk.npz.journal"
    while time.monotonic() < deadline and not (path.exists() and path.stat().st_size > 8000):
        time.sleep(0.02)
    assert len(read(path).lifted) == 20
    journal.close()


def test_without_a_pose_there_is_no_file_and_after_begin_there_is(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "a.npz", META, live=False)
    assert journal.close()
    assert journal.poses() == []
    assert not list(tmp_path.iterdir())
    journal = Journal(tmp_path / "b.npz", META, live=False)
    journal.begin()
    assert journal.close()
    content = read(tmp_path / "b.npz.journal")
    assert (content.lifted, content.complete) == ([], True)


def test_meta_that_changes_is_on_the_disk_with_the_next_writing(tmp_path: Path) -> None:
    meta: dict[str, Any] = META | {"camera_moves": False}
    journal = Journal(tmp_path / "a.npz", meta, live=True)
    journal.extend(some(3))
    assert journal.sync(10.0)
    meta["camera_moves"] = True
    for _ in range(3):
        assert journal.sync(10.0)
    content = read(tmp_path / "a.npz.journal")
    assert content.meta["camera_moves"] is True
    assert not content.complete
    journal.close()
    data = (tmp_path / "a.npz.journal").read_bytes()
    kinds = [kind for kind, _ in records.read_records(io.BytesIO(data))]
    assert kinds.count(records.META) == 1


def test_meta_that_changed_in_the_end_is_what_counts(tmp_path: Path) -> None:
    meta: dict[str, Any] = dict(META)
    journal = Journal(tmp_path / "a.npz", meta, live=False)
    journal.extend(some(3))
    journal.sync(10.0)
    meta["fps"] = 24.5
    journal.close()
    assert read(tmp_path / "a.npz.journal").meta == META | {"fps": 24.5}


def test_it_can_be_read_while_it_is_written(tmp_path: Path) -> None:
    journal, stop = Journal(tmp_path / "a.npz", META, live=False), threading.Event()
    given = some(50)

    def write() -> None:
        while not stop.is_set():
            journal.extend(given)
            time.sleep(0.02)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(20):
            journal.sync(0.01)
            indices = [p.pose2d.frame_index for p in journal.poses()]
            assert indices == [i % 50 for i in range(len(indices))]
    finally:
        stop.set()
        thread.join()
    assert journal.close()


# -- damage ----------------------------------------------------------------------------------


def test_cut_anywhere_everything_before_is_there(tmp_path: Path) -> None:
    given = some(6)
    whole = written(tmp_path, given, step=2).read_bytes()
    ends = [len(records.MAGIC)]
    for _, content in records.read_records(io.BytesIO(whole)):
        ends.append(ends[-1] + 9 + len(content))
    header, seen = ends[1], set()
    for size in range(len(whole) + 1):
        file = io.BytesIO(whole[:size])
        if size < header:
            with pytest.raises(records.Damaged, match=r"ends|empty"):
                read_content(file)
            continue
        content = read_content(file)
        assert all(same(a, b) for a, b in zip(given, content.lifted, strict=False))
        assert (content.damage is None) == (size in ends)
        assert content.complete == (size == len(whole))
        seen.add(len(content.lifted))
    assert seen == {0, 2, 4, 6}


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    given = some(6)
    whole = written(tmp_path, given, step=2).read_bytes()
    rng = np.random.default_rng(0)
    for position in [*range(400), *rng.integers(400, len(whole), 800)]:
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(rng.integers(8))
        try:
            content = read_content(io.BytesIO(bytes(damaged)))
        except records.Damaged:
            continue
        assert content.damage is not None
        assert not content.complete
        assert all(same(a, b) for a, b in zip(given, content.lifted, strict=False))


@pytest.mark.parametrize("what", ["left out", "repeated", "exchanged", "of another file"])
def test_records_that_do_not_follow_each_other_are_noticed(what: str, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    parts = _parts(written(tmp_path, some(8), step=2).read_bytes())
    others = _parts(written(tmp_path / "other", some(9)[1:], step=2).read_bytes())
    a, b = 4, 5  # rows
    parts = {
        "left out": [*parts[:a], *parts[a + 1 :]],
        "repeated": [*parts[: a + 1], *parts[a:]],
        "exchanged": [*parts[:a], parts[b], parts[a], *parts[b + 1 :]],
        "of another file": [*parts[:a], others[a], *parts[a + 1 :]],
    }[what]
    content = read_content(io.BytesIO(b"".join(parts)))
    assert content.damage is not None
    assert not content.complete


def _parts(data: bytes) -> list[bytes]:
    parts, position = [data[: len(records.MAGIC)]], len(records.MAGIC)
    for _, content in records.read_records(io.BytesIO(data)):
        parts.append(data[position : position + 9 + len(content)])
        position += 9 + len(content)
    return parts


def forged(*given: tuple[bytes, object]) -> io.BytesIO:
    """A journal with right checksums and these records."""
    writer = records.Writer()
    parts = [
        writer.record(kind, value) if isinstance(value, bytes) else writer.json(kind, value)
        for kind, value in given
    ]
    return io.BytesIO(records.MAGIC + b"".join(parts))


def header(**changes: Any) -> tuple[bytes, object]:
    columns = {"rows_2d": rows.COLUMNS_2D, "rows_3d": (*rows.COLUMNS_2D, *rows.COLUMNS_3D)}
    return records.HEADER, {"meta": META, "how": {}, **columns} | changes


_DEEP = b"[" * 100_000


@pytest.mark.parametrize(
    "given",
    [
        [],
        [(b"E", b"")],
        [(b"H", b"no json \xff")],
        [(b"H", _DEEP)],
        [(b"H", [])],
        [header(meta=None)],
        [header(meta={})],
        [header(meta={"fps": 30.0, "image_size": [0, 5]})],
        [header(meta={"fps": 10**300, "image_size": [5, 5]})],
        [header(meta={"fps": "fast", "image_size": [5, 5]})],
        [header(rows_2d=None)],
        [header(rows_3d=[])],
        [header(rows_3d=[["frame_index", "O", []]])],
        [header(rows_3d=[["frame_index", "<i8", [4096, 4096]]])],
        [header(rows_3d=[*rows.COLUMNS_2D, *rows.COLUMNS_3D, ["x", "<f8", [-1]]])],
        [header(rows_3d=[*rows.COLUMNS_2D, *rows.COLUMNS_3D, ["extra", "<f8", []]])],
        [header(rows_3d=[*rows.COLUMNS_2D, *rows.COLUMNS_3D] * 2)],
        [header(rows_3d=[["a", "<f8", []]] * 1000)],
    ],
    ids=lambda given: str(given)[:60],
)
def test_hostile_headers_are_refused(given: list[tuple[bytes, object]]) -> None:
    with pytest.raises(records.Damaged):
        read_content(forged(*given))


def _row(**values: Any) -> bytes:
    packed = rows.pack([lifted_pose(1, extra=None)], ())
    for key, value in values.items():
        packed[key] = value
    return packed.tobytes()


@pytest.mark.parametrize(
    "given",
    [
        (b"3", b"short"),
        (b"3", _row()[:-1]),
        (b"3", _row(timestamp=np.nan)),
        (b"3", _row(timestamp=np.inf)),
        (b"3", _row(frame_index=-1)),
        (b"3", _row(image_size=0)),
        (b"3", _row(image_size=2**30)),
        (b"N", b'{"a": 1}'),
        (b"N", [1, 2]),
        (b"N", ["x" * 5000]),
        (b"N", ["x"] * 5000),
        (b"M", _DEEP),
        (b"M", {"fps": None}),
    ],
    ids=lambda given: str(given)[:60],
)
def test_hostile_records_end_the_reading(given: tuple[bytes, object]) -> None:
    content = read_content(forged(header(), (b"3", _row()), given, (b"3", _row()), (b"E", b"")))
    assert len(content.lifted) == 1
    assert content.damage is not None
    assert not content.complete


def test_sizes_are_checked_before_memory_is_taken() -> None:
    class Endless:
        """More than any memory holds, for who asks for it."""

        def __init__(self) -> None:
            self.asked = 0
            self._start = records.MAGIC + b"H" + (2**32 - 1).to_bytes(4, "little") + b"\0\0\0\0"

        def read(self, count: int, /) -> bytes:
            self.asked += count
            data, self._start = self._start[:count], self._start[count:]
            return data + bytes(count - len(data))

    endless = Endless()
    with pytest.raises(records.Damaged):
        read_content(endless)
    assert endless.asked < 100


def test_columns_and_kinds_of_later_versions_are_left_out() -> None:
    columns = [*rows.COLUMNS_2D, ("mood", "<f8", (3,)), *rows.COLUMNS_3D]
    type_ = np.dtype([*columns, ("extra", "<f4", (0, 3))])
    pose = lifted_pose(4, extra=None)
    packed = rows.pack([pose], ())
    row = np.ones(1, type_)
    for name in packed.dtype.names or ():
        row[name] = packed[name]
    content = read_content(
        forged(header(rows_3d=columns), (b"?", b"later"), (b"3", row.tobytes()), (b"E", b""))
    )
    assert content.damage is None
    assert same(content.lifted[0], pose)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "it is empty"),
        (b"posemamba jour", "ends in its first line"),
        (b"posemamba journal 2\n" + bytes(50), "another version"),
        (b"PK\x03\x04" + bytes(100), "not a journal"),
        (records.MAGIC, "before its header"),
    ],
)
def test_what_is_no_journal_is_told(data: bytes, why: str, tmp_path: Path) -> None:
    path = tmp_path / "walk.npz.journal"
    path.write_bytes(data)
    with pytest.raises(LiveError, match=why):
        recover(path)
    with pytest.raises(UsageError, match="no file"):
        recover(tmp_path / "none.journal")


# -- names, folders, disks -------------------------------------------------------------------


def test_an_old_journal_is_never_overwritten(tmp_path: Path) -> None:
    output = tmp_path / "walk.npz"
    assert leftovers(output) == []
    first = written(tmp_path, some(3))
    old = first.read_bytes()
    second = written(tmp_path, some(5))
    assert second == tmp_path / "walk.npz-2.journal"
    assert first.read_bytes() == old
    assert leftovers(output) == [first, second]


def test_a_journal_is_known_to_be_in_use(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "a.npz", META, live=False)
    journal.extend(some(1))
    journal.sync(10.0)
    path = journal_path(tmp_path / "a.npz")
    assert in_use(path) == (os.name != "nt")
    journal.close()
    journal.remove()
    assert not path.exists()
    path.write_bytes(b"left by somebody")
    assert not in_use(path)
    journal.remove()
    assert path.exists()


def test_a_stranger_under_the_journals_name_is_left_alone(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "a.npz", META, live=False)
    journal.extend(some(1))
    journal.close()
    path = journal_path(tmp_path / "a.npz")
    path.unlink()
    path.write_text("a stranger's")
    journal.remove()
    assert path.read_text() == "a stranger's"


@pytest.fixture
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A folder for outputs and the current folder."""
    out, here = tmp_path / "out", tmp_path / "here"
    out.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    return out, here


def test_where_its_folder_is_removed_it_moves_with_all_that_it_holds(
    homes: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    out, here = homes
    given = some(40)
    journal = Journal(out / "walk.npz", META, live=True)
    journal.extend(given[:20])
    assert journal.sync(10.0)
    journal_path(out / "walk.npz").unlink()
    out.rmdir()
    journal.extend(given[20:])
    assert journal.sync(10.0)
    assert journal.path == here / "walk.npz.journal"
    assert str(journal.path) in caplog.text
    content = read(journal.path)
    assert all(same(a, b) for a, b in zip(given, content.lifted, strict=True))
    journal.close()
    assert all(same(a, b) for a, b in zip(given, journal.poses(), strict=True))


@pytest.mark.parametrize("everywhere", [False, True])
def test_a_disk_that_fills_up(
    everywhere: bool, homes: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, here = homes
    full: set[Path] = set()
    append = JournalFile.append

    def failing(self: JournalFile, *pieces: bytes) -> None:
        if self.path.parent in full or (everywhere and full):
            raise OSError(28, "No space left on device")
        append(self, *pieces)

    monkeypatch.setattr(JournalFile, "append", failing)
    monkeypatch.setattr(journals, "_RETRY_S", 0.0)
    given = some(40)
    journal = Journal(out / "walk.npz", META, live=True)
    journal.extend(given[:20])
    assert journal.sync(10.0)
    full.add(out)
    journal.extend(given[20:30])
    assert journal.sync(10.0) != everywhere
    assert (journal.trouble is not None) == everywhere
    assert (
        len(read(out / "walk.npz.journal").lifted) == 20 if everywhere else not any(out.iterdir())
    )
    assert all(same(a, b) for a, b in zip(given[:30], journal.poses(), strict=True))
    full.clear()
    journal.extend(given[30:])
    assert journal.close()
    assert journal.path is not None
    assert journal.path.parent == (out if everywhere else here)
    assert all(same(a, b) for a, b in zip(given, read(journal.path).lifted, strict=True))
    assert sorted(p.name for p in here.iterdir()) == ([] if everywhere else ["walk.npz.journal"])


@pytest.mark.parametrize("live", [False, True])
def test_a_disk_that_hangs_makes_files_wait_and_live_runs_lose_and_say_so(
    live: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()
    append = JournalFile.append

    def hanging(self: JournalFile, *pieces: bytes) -> None:
        answers.wait()
        append(self, *pieces)

    monkeypatch.setattr(JournalFile, "append", hanging)
    monkeypatch.setattr(journals, "_MOST_WAITING", 30)
    journal = Journal(tmp_path / "walk.npz", META, live=live)
    given = some(100)
    journal.extend(given[:20])
    assert not journal.sync(0.2)

    def feed() -> None:
        for pose in given[20:]:
            journal.extend([pose])

    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    feeder.join(0.5)
    assert feeder.is_alive() != live
    assert not journal.sync(0.1)
    answers.set()
    feeder.join(10.0)
    assert journal.close()
    kept = [p.pose2d.frame_index for p in journal.poses()]
    assert journal.lost == (50 if live else 0)
    assert kept == list(range(50 if live else 100))


def test_what_cannot_be_packed_does_not_break_the_chain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory may be short for a moment."""
    given, short_of_memory = some(10), threading.Event()
    short_of_memory.set()
    pack: Callable[..., Any] = rows.pack

    def short(*arguments: Any) -> Any:
        if short_of_memory.is_set():
            raise MemoryError
        return pack(*arguments)

    monkeypatch.setattr(journals, "pack", short)
    monkeypatch.setattr(journals, "_RETRY_S", 0.0)
    journal = Journal(tmp_path / "walk.npz", META, live=True)
    journal.extend(given)
    assert not journal.sync(10.0)
    short_of_memory.clear()
    assert journal.close()
    content = read(tmp_path / "walk.npz.journal")
    assert content.damage is None
    assert all(same(a, b) for a, b in zip(given, content.lifted, strict=True))


def test_finished_files_never_replace_what_they_were_not_told_to(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"

    def finished(text: str) -> Path:
        part = tmp_path / "part"
        part.write_text(text)
        return part

    assert settle(finished("one"), path, overwrite=False) == path
    assert settle(finished("two"), path, overwrite=False) == tmp_path / "x-2.npz"
    assert settle(finished("three"), path, overwrite=True) == path
    assert (path.read_text(), free_name(path).name) == ("three", "x-3.npz")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x-2.npz", "x.npz"]


def test_where_there_are_no_hard_links_nothing_is_replaced_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*arguments: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", none)
    (tmp_path / "x.npz").write_text("a stranger's")
    (tmp_path / "part").write_text("ours")
    assert settle(tmp_path / "part", tmp_path / "x.npz", overwrite=False).name == "x-2.npz"
    assert (tmp_path / "x.npz").read_text() == "a stranger's"
    assert (tmp_path / "x-2.npz").read_text() == "ours"


# -- recovery --------------------------------------------------------------------------------


@pytest.fixture
def lifting(tiny_weights: Path) -> tuple[Checkpoint, dict[str, Any]]:
    """A checkpoint, and the meta of a run with it."""
    checkpoint = load_checkpoint(tiny_weights)
    meta = {
        "fps": 30.0,
        "image_size": [640, 360],
        "weights": checkpoint.meta.name,
        "weights_sha256": checkpoint.meta.sha256,
        "mode": "balanced",
        "live": False,
        "height_m": 1.75,
        "fov_deg": 60.0,
        "smooth": 1.0,
    }
    return checkpoint, meta


def people(checkpoint: Checkpoint, meta: dict[str, Any]) -> People:
    lifting = plan_lifting(checkpoint.meta, live=False, fps=30.0, fov_deg=60.0)
    return People(lifter_factory(checkpoint, lifting), fill_gaps=True)


def frame(index: int) -> Frame:
    return Frame(index, index / 30.0, np.zeros((1, 1, 3), np.uint8), 0.0)


@pytest.mark.parametrize("length", [150, 700])  # all of it, or the end of it is lifted again
def test_a_killed_run_is_recovered_as_if_it_had_been_interrupted(
    length: int,
    lifting: tuple[Checkpoint, dict[str, Any]],
    tiny_weights: Path,
    make_track: MakeTrack,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Poses that were still in a window are lifted, gaps before them filled."""
    monkeypatch.setattr(recovery, "_CONTEXT", 301)  # no multiple of what windows start apart
    checkpoint, meta = lifting
    track = {pose.frame_index: pose for pose in make_track(length)}
    for index in (40, 41, length - 7):
        del track[index]
    how = {"weights": str(tiny_weights), "frames": None, "delay": 0}
    journal = Journal(tmp_path / "walk.npz", meta, live=False, how=how)
    stage, lifted = people(checkpoint, meta), []
    for index in range(length):
        poses = [track[index]] if index in track else []
        journal.track(poses)
        news = stage.push(frame(index), poses).poses
        journal.extend(news)
        lifted += news
    assert journal.sync(10.0)
    assert len(lifted) < length - 1
    waiting = len(journal.content().waiting)
    assert waiting > 0
    journal_file = journal_path(tmp_path / "walk.npz")

    recovered = recover(journal_file)  # the run is never closed: it was killed
    assert "did not come to its end" in " ".join(recovered.notes)
    expected = solve([*lifted, *stage.flush().poses], meta)
    took = recovered.take.poses
    assert [p.frame_index for p in took] == [p.frame_index for p in expected] == [*range(length)]
    assert [p.pose2d.predicted for p in took] == [i in (40, 41, length - 7) for i in range(length)]
    for a, b in zip(took, expected, strict=True):
        np.testing.assert_allclose(a.joints_world, b.joints_world, atol=1e-4)

    tiny = tiny_weights.read_bytes()
    try:
        tiny_weights.write_bytes(tiny[:-1] + bytes([tiny[-1] ^ 1]))
        recovered = recover(journal_file)
    finally:
        tiny_weights.write_bytes(tiny)
    assert len(recovered.take.poses) == len(lifted)
    assert "not those of the run" in " ".join(recovered.notes)


def test_a_finished_runs_journal_gives_what_its_export_gives(
    lifting: tuple[Checkpoint, dict[str, Any]], make_track: MakeTrack, tmp_path: Path
) -> None:
    checkpoint, meta = lifting
    stage, lifted = people(checkpoint, meta), []
    for pose in make_track(70):
        lifted += stage.push(frame(pose.frame_index), [pose]).poses
    lifted += stage.flush().poses
    journal = Journal(tmp_path / "walk.npz", meta, live=False)
    journal.extend(lifted)
    journal.close()
    recovered = recover(tmp_path / "walk.npz.journal")
    assert recovered.notes == ()
    assert recovered.take.name == "walk.npz"
    assert recovered.take.meta == meta
    expected = solve_scene(lifted, 1.75, 60.0, smooth=1.0)
    assert all(same(a, b) for a, b in zip(recovered.take.poses, expected, strict=True))


@pytest.mark.parametrize(
    "changes", [{"height_m": "tall"}, {"height_m": 9.0}, {"fov_deg": 1e9}, {"smooth": []}]
)
def test_a_journal_that_asks_for_what_cannot_be_is_refused(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "walk.npz.journal"
    path.write_bytes(forged(header(meta=META | changes), (b"3", _row())).getvalue())
    with pytest.raises(LiveError, match="make no sense"):
        recover(path)


@pytest.mark.parametrize("weights", ["/dev/zero", "/etc/passwd", "/", 7, "a\0b"])
def test_a_journal_cannot_have_any_file_opened_as_weights(weights: object, tmp_path: Path) -> None:
    path = tmp_path / "walk.npz.journal"
    flat = rows.pack_2d([lifted_pose(2, extra=None).pose2d], ()).tobytes()
    path.write_bytes(forged(header(how={"weights": weights}), (b"2", flat)).getvalue())
    recovered = recover(path)
    assert recovered.take.poses == []
    assert "left out" in " ".join(recovered.notes)
