"""README and docs: commands that exist, Python that runs, pages that build."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
import pytest
import typer
import yaml

from posemamba import convert
from posemamba.training import train
from posemamba_live import cli, doctor, export, plot
from posemamba_live.batch import command as batch
from posemamba_live.evaluation import evaluate
from posemamba_live.options import Options
from posemamba_live.sources import open_source
from posemamba_live.sources.bounds import FILM_PIECE, MAX_GROWTH_MB, STREAM_PIECE
from posemamba_live.sources.feed import MAX_PACKET_BYTES
from posemamba_live.streams import wire
from posemamba_live.streams.base import StreamInfo
from posemamba_live.streams.guard import BURST, MAX_CONNECTIONS, RATE
from posemamba_live.streams.websocket import MAX_CLIENTS
from posemamba_live.takes.journal import Journal
from posemamba_live.takes.take import read_take
from posemamba_live.types import Frame, LiftedPose
from tests.support.films import encode

ROOT: Final = Path(__file__).resolve().parent.parent
PAGES: Final = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
PROGRAMS: Final = {
    "posemamba-live": cli.app,
    "posemamba-export": export.app,
    "posemamba-plot": plot.app,
    "posemamba-doctor": doctor.app,
    "posemamba-eval": evaluate.app,
    "posemamba-train": train.app,
    "posemamba-convert": convert.app,
    "posemamba-batch": batch.app,
}
_BLOCK: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PICTURE: Final = re.compile(r"!\[[^]]+\]\(([^)]+)\)")


def blocks(language: str) -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        for match in _BLOCK.finditer(page.read_text(encoding="utf-8")):
            if match[1] == language:
                yield page, match[2]


def command_lines() -> Iterator[str]:
    """Lines of code blocks that start one of our programs, a shell's pipes and comments away."""
    for language in ("", "sh", "bash"):
        for _, block in blocks(language):
            for line in block.replace("\\\n", " ").splitlines():
                for part in re.split(r"\s[|]\s|&&", re.sub(r"\s#.*", "", line)):
                    if part.strip().startswith(tuple(f"{name} " for name in PROGRAMS)):
                        yield part.strip()


LINES: Final = sorted(set(command_lines()))
ELSEWHERE: Final = (
    "--camera",
    "rtsp:",
    "--stream",
    "MOTION_FOLDER",
    "--detector",
    "s3:",
    "/shared/",
)
"""Lines with one of these need what is not here: cameras, other machines, data, other networks."""
RUN: Final = [line for line in LINES if not any(word in line for word in ELSEWHERE)]


def test_there_are_some() -> None:
    assert len(LINES) >= 20
    assert len(list(blocks("python"))) >= 2


@pytest.mark.parametrize("line", LINES)
def test_a_command_line_is_understood(line: str) -> None:
    program, *words = shlex.split(line)
    command = typer.main.get_command(PROGRAMS[program])
    context = command.make_context(program, list(words))
    if program == "posemamba-live":
        given = {name: value for name, value in context.params.items() if value is not None}
        given.pop("version", None)
        Options(**given).check_numbers()
    subcommands = getattr(command, "commands", None)
    if subcommands:  # posemamba-eval: the rest belongs to one of its commands
        name, *rest = words
        subcommands[name].make_context(name, rest)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that the lines take, of one clip of 75 frames."""
    folder = tmp_path_factory.mktemp("docs")
    clip = folder / "clip.mp4"
    with open_source(str(ROOT / "demo_videos" / "walk_turn.mp4")) as source:
        encode(clip, [frame.image for frame in islice(source, 75)])
    for name in (
        "film.mp4",
        "demo_videos/walk_turn.mp4",
        "RECORDINGS/a.mp4",
        "Videos/training/a.mp4",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, folder / name)
    run("posemamba-live clip.mp4 --headless --export poses.npz", folder)
    take = read_take(folder / "poses.npz")
    journal = Journal(folder / "poses.npz", take.meta, live=False)
    journal.extend([LiftedPose(p.pose2d, p.joints, p.look_ahead) for p in take.poses])
    assert journal.close()
    assert (folder / "poses.npz.journal").is_file()
    return folder


def run(line: str, folder: Path) -> None:
    """As somebody would type it, where there is no display and HOME is the folder."""
    program, *words = shlex.split(line)
    words = [word.replace("~", str(folder)) for word in words]
    if program == "posemamba-live" and "--headless" not in words:
        words += ["--headless"]
        words += [] if "--export" in words or "--record" in words else ["--export", "watched.npz"]
    if program in ("posemamba-live", "posemamba-export", "posemamba-plot"):
        words += ["--overwrite"]
    command = Path(sys.executable).with_name(program)
    done = subprocess.run(
        [command, *words], cwd=folder, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("line", RUN)
def test_a_command_line_runs(line: str, films: Path) -> None:
    if ".rrd" in line:
        pytest.importorskip("rerun", reason="rerun-sdk, which wants NumPy 2, is not installed")
    run(line, films)


@pytest.mark.parametrize(
    ("page", "code"), list(blocks("python")), ids=lambda value: getattr(value, "name", "")
)
def test_python_runs_as_it_stands(page: Path, code: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "demo_videos", tmp_path / "demo_videos")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr


def test_messages_of_streams_are_as_they_are_shown(films: Path) -> None:
    shown = {message["type"]: message for message in map(json.loads, texts("json"))}
    pose = read_take(films / "poses.npz").poses[0]
    frame = Frame(0, 0.0, np.zeros((2, 2, 3), np.uint8), 0.0)
    sent = json.loads(wire.to_json(frame, [pose]))
    assert shown.keys() == {"header", "poses"}
    assert shown["header"].keys() == json.loads(wire.header(StreamInfo("a", False, 30.0))).keys()
    assert shown["poses"].keys() == sent.keys()
    assert shown["poses"]["people"][0].keys() == sent["people"][0].keys()


def test_other_blocks_can_be_read() -> None:
    cluster = [yaml.safe_load(text) for text in texts("yaml")]
    assert [one["kind"] for one in cluster] == ["RayCluster"]
    scripts = [*texts("bash"), *texts("sh")]
    assert len(scripts) > 2
    for script in scripts:
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def texts(language: str) -> list[str]:
    return [text for _, text in blocks(language)]


def test_pictures_are_there() -> None:
    for page in PAGES:
        for name in _PICTURE.findall(page.read_text(encoding="utf-8")):
            assert (page.parent / name).is_file(), f"{page.name}: {name}"


def test_pages_build(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="pip install -e '.[docs]'")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "PoseMamba" in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")


def test_the_limits_of_clients_are_those_of_the_code() -> None:
    streaming = (ROOT / "docs" / "streaming.md").read_text(encoding="utf-8")
    security = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    for told in (
        f"up to {MAX_CLIENTS} WebSocket clients",
        f"{MAX_CLIENTS} can be there at once",
        f"more than {BURST // 1024} kB at once or {RATE:.0f} bytes a second",
        f"At most {MAX_CONNECTIONS} connections are open",
    ):
        assert told in " ".join(streaming.split())
    for told in (
        f"at most {MAX_CONNECTIONS} connections are open and {MAX_CLIENTS} clients served",
        f"end when {MAX_PACKET_BYTES >> 20} MB have come",
        f"above {STREAM_PIECE >> 20} MB (films of a known length {FILM_PIECE >> 20})",
        f"grown by {MAX_GROWTH_MB / 1000:.0f} GB",
    ):
        assert told in " ".join(security.split())
