"""Which videos a batch means, and under which names their results go."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from posemamba_live.batch.videos import check_places, find_videos
from posemamba_live.errors import LiveError, UsageError


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return folder


def names(*inputs: object, **how: object) -> dict[str, str]:
    """Names of results and the videos' own, by what is looked for."""
    found = find_videos([str(one) for one in inputs], **how)  # type: ignore[arg-type]
    return {video.name: Path(video.address).name for video in found}


def test_a_folder_is_looked_through(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "b/c.MOV", "b/d/e.avi", "b/notes.txt", "b/._c.mov", ".trash/f.mp4")
    assert names(tmp_path) == {"a": "a.mp4", "b/c": "c.MOV", "b/d/e": "e.avi"}
    assert names(tmp_path, suffixes=["mov"]) == {"b/c": "c.MOV"}
    (video,) = find_videos([str(tmp_path)], ["avi"])
    assert video.address == str(tmp_path / "b/d/e.avi")
    assert video.size == len("b/d/e.avi")


def test_several_folders_keep_their_names(tmp_path: Path) -> None:
    touch(tmp_path, "monday/a.mp4", "tuesday/a.mp4", "extra.mp4")
    found = names(tmp_path / "monday", tmp_path / "tuesday", tmp_path / "extra.mp4")
    assert set(found) == {"monday/a", "tuesday/a", "extra"}


def test_results_are_no_recordings(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "poses/a.mp4", "poses/.posemamba-batch/partial/1.mp4")
    assert set(names(tmp_path, output=str(tmp_path / "poses"))) == {"a"}
    touch(tmp_path, ".posemamba-batch/partial/2.mp4")
    assert set(names(tmp_path, output=str(tmp_path))) == {"a", "poses/a"}


def test_videos_of_one_name_keep_their_suffixes(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "a.mov", "b.mp4", "b_person2.mp4", "c_person2.mp4")
    assert set(names(tmp_path)) == {"a.mp4", "a.mov", "b", "b_person2.mp4", "c_person2"}


def test_patterns(tmp_path: Path) -> None:
    touch(tmp_path, "x/1/front.mp4", "x/2/front.mp4", "x/2/side.mp4")
    assert set(names(tmp_path / "x/*/front.mp4")) == {"1/front", "2/front"}
    assert set(names(tmp_path / "x/**/*.mp4")) == {"1/front", "2/front", "2/side"}


def test_a_text_list_has_anything_that_may_be_an_input(tmp_path: Path) -> None:
    touch(tmp_path, "day/a.mp4", "day/more/b.mp4", "day/c.mp4", "elsewhere/d.mp4", "l/x.txt")
    listed = tmp_path / "day" / "list.txt"
    listed.write_text(f"# today\na.mp4\n\nmore\nc*.mp4\n{tmp_path}/elsewhere/d.mp4\ngone.mp4\n")
    found = find_videos([str(listed)])
    absolute = str(tmp_path / "elsewhere/d").lstrip(os.sep)
    assert {video.name for video in found} == {"a", "more/b", "c", absolute, "gone"}
    gone = next(video for video in found if video.name == "gone")
    assert gone.facts is None


@pytest.mark.parametrize("kind", ["csv", "semicolons", "parquet"])
def test_tables_have_options_for_each_video(kind: str, tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "b.mp4")
    header = ["path", "height", "fov", "people", "start", "end"]
    rows = [["a.mp4", "1.82", "", "2", "", ""], ["b.mp4", "", "75", "", "1", "2.5"],
            ["b.mp4", "", "75", "", "3", ""]]  # fmt: skip
    if kind == "parquet":
        import pyarrow as pa
        from pyarrow import parquet

        table = tmp_path / "t.parquet"
        values = [[r[0] if i == 0 else (float(r[i]) if r[i] else None) for r in rows]
                  for i in range(6)]  # fmt: skip
        parquet.write_table(pa.table(dict(zip(header, values, strict=True))), table)
    else:
        table = tmp_path / "t.csv"
        separator = "," if kind == "csv" else ";"
        table.write_text("\n".join(separator.join(row) for row in [header, *rows]), "utf-8-sig")
    a, part, rest = find_videos([str(table)])
    assert (a.name, a.given) == ("a", {"height": 1.82, "people": 2})
    assert isinstance(a.given["people"], int)
    assert (part.name, part.given) == ("b_1-2.5", {"fov": 75.0, "start": 1.0, "end": 2.5})
    assert rest.name == "b_3-"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("file\na.mp4\n", "does not know 'file'|no column 'path'"),
        ("path,weight\na.mp4,80\n", "does not know 'weight'"),
        ("path,height\na.mp4,tall\n", "Row 1 .*height 'tall' is no number"),
        ("path,people\na.mp4,1.5\n", "people '1.5' is no number"),
        ("path,height\n,1.8\n", "Row 1 .*has no path"),
        ("path,height\na.mp4,1.8\na.mp4,1.7\n", "there twice, with different options"),
    ],
)
def test_tables_that_cannot_be_meant(text: str, told: str, tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UsageError, match=told):
        find_videos([str(tmp_path / "t.csv")])


def test_what_is_given_twice_is_there_once(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    assert len(find_videos([str(tmp_path / "a.mp4"), str(tmp_path / "*.mp4")])) == 1


def test_inputs_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"There is no .*nowhere"):
        find_videos([str(tmp_path / "nowhere")])
    with pytest.raises(UsageError, match="no video in"):
        find_videos([str(tmp_path)])
    with pytest.raises(LiveError, match="nothing-knows-this"):
        find_videos(["nothing-knows-this://x/y.mp4"])


def test_a_video_is_never_replaced_by_its_recording(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    videos = find_videos([str(tmp_path)])
    check_places(videos, str(tmp_path), [".npz"])
    with pytest.raises(UsageError, match=r"would replace .*a\.mp4"):
        check_places(videos, str(tmp_path), [".npz", ".mp4"])
