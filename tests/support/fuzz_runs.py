"""Random runs: options, files that are good, damaged and odd, limits and signals, by a seed.

Where `fuzz` makes command lines of which most are refused, most of these get to work.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from posemamba_live.sinks import FORMATS
from posemamba_live.takes.journal import Journal
from tests.support import fuzz, hostile_takes
from tests.support.films import encode, numbered
from tests.support.formats import INSTALLED
from tests.support.lifted_poses import lifted_pose

STRANGER: Final = b"a stranger's"
"""What stand-ins write as well."""
_NAMES: Final = (
    "film", "a b", "-v", "100%d", "%s", "{}", "*", "[a]", "\x1b[31mred", "new\nline", "ünï 🕺",
    "日" * 60, "x" * 200, "con:a",
    "'quoted\"", "a.npz", ".hidden", "~", "$HOME", "$\\frac{$", "rtsp:", "a.partial",
)  # fmt: skip
_VALUES: Final = {
    "--height": ("1.7", "0.5", "2.5"),
    "--pitch": ("-10", "0", "30", "89"),
    "--fov": ("60", "20", "140"),
    "--smooth": ("0", "1", "20"),
    "--people": ("1", "2", "8"),
    "--delay": ("0", "3"),
    "--window": ("1", "3", "9"),
    "--rotate": ("0", "90", "180", "270"),
    "--fps": ("1", "30", "1000"),
    "--start": ("0", "0.2", "5", "1e6"),
    "--end": ("0.2", "1", "1e9"),
    "--max-frames": ("1", "4", "100"),
    "--duration": ("0.1", "0.5"),
    "--mode": ("fast", "balanced", "accurate"),
    "--device": ("cpu", "auto"),
    "--subject": ("first", "largest", "centre"),
    "--unseen": ("faint", "hide"),
    "--detect-every": ("1", "5"),
    "--stream": ("ws://127.0.0.1:0", "udp://127.0.0.1:9", "osc://127.0.0.1:9"),
}
_FLAGS: Final = ("-q", "-v", "-vv", "--mirror", "--realtime", "--no-sound")
_STAND_INS: Final[tuple[dict[str, Any], ...]] = (
    *({} for _ in range(7)),
    {"nobody": True},
    {"slow": 0.02},
    {"no_memory_at": 5},
)
_TEXTS: Final = (
    b"", b"\n", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
    b"ffconcat version 1.0\nfile /etc/passwd\n",
    b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    b"<?xml version='1.0'?><MPD></MPD>", b"RIFF\xff\xff\xff\xffAVI LIST", b"\x89PNG\r\n\x1a\n",
    b"\0" * 5000,
)  # fmt: skip


@dataclass(frozen=True)
class Order:
    """One run: what is started, how it is disturbed, and what it must not touch."""

    module: str
    words: list[str]
    stand_in: dict[str, Any]
    limits: dict[str, int] = field(default_factory=dict)
    signal: signal.Signals | None = None
    after: float = 0.0
    """Seconds, for the signal."""
    outputs: list[str] = field(default_factory=list)
    """Names in the folder of outputs that were asked for."""


class Material:
    """Good files of every kind, made once."""

    def __init__(self, folder: Path, clip: Path, weights: Path) -> None:
        self.weights = weights
        self.films: list[Path] = []
        self.takes: list[Path] = []
        pictures = [numbered(index) for index in range(12)]
        for suffix, codec in ((".mp4", "libx264"), (".avi", "mjpeg"), (".mkv", "libx264")):
            path = folder / f"film{suffix}"
            encode(path, pictures, codec=codec)
            self.films.append(path)
        heard = folder / "heard.mp4"
        encode(heard, pictures, tone_s=0.5, options={"movflags": "+faststart"})
        late = folder / "late.mp4"
        encode(
            late, pictures, times=[*(i / 30 for i in range(6)), *(40 + i / 30 for i in range(6))]
        )
        tiny = folder / "tiny.mp4"
        encode(tiny, [np.full((2, 2, 3), 90, np.uint8)] * 3)
        fragments = folder / "fragments.mp4"
        encode(fragments, pictures, options={"movflags": "frag_every_frame+empty_moov"})
        self.films += [heard, late, tiny, fragments, clip]
        for suffix in (".png", ".jpg", ".bmp", ".webp", ".tiff"):
            path = folder / f"still{suffix}"
            cv2.imwrite(str(path), pictures[3])
            self.films.append(path)
        take = folder / "take.npz"
        hostile_takes.write(take, hostile_takes.arrays(12))
        journal = Journal(folder / "run.npz", {"fps": 30.0, "image_size": [1280, 720]}, live=False)
        for start in range(0, 40, 10):
            journal.extend([lifted_pose(index) for index in range(start, start + 10)])
            journal.sync(10.0)
        journal.track([lifted_pose(index).pose2d for index in range(40, 44)])
        journal.close()
        assert journal.path is not None
        self.takes += [take, journal.path]


class Scene:
    """The folders of one run, and the run."""

    def __init__(self, material: Material, folder: Path, rng: random.Random) -> None:
        self._material, self._rng = material, rng
        self.inputs, self.outputs = folder / "in", folder / "out"
        for path in (self.inputs, self.outputs):
            path.mkdir()
        make = rng.choices((self._live, self._export, self._plot), (8, 2, 1))[0]
        self.order = make()

    def _live(self) -> Order:
        rng = self._rng
        words = [self._source(), "--headless"]
        for option in rng.sample(list(_VALUES), rng.choice((0, 0, 1, 1, 2, 3))):
            good = rng.random() < 0.9
            words += [option, rng.choice(_VALUES[option] if good else fuzz.ODD_WORDS)]
        words += [flag for flag in _FLAGS if rng.random() < 0.08]
        weights = self._material.weights
        if rng.random() < 0.1:
            weights = self._copy(weights, damage=True)
        words += ["--weights", str(weights), "--threads", "1"]
        asked: list[str] = []
        for _ in range(rng.choice((1, 1, 2, 3))):
            words += ["--export", self._output(tuple(INSTALLED), asked)]
        if rng.random() < 0.35:
            words += ["--record", self._output((".mp4",), asked)]
        if rng.random() < 0.1:
            words += ["--stats", self._output((".json",), asked)]
        self._lay_out(asked, words)
        return self._disturbed(Order("posemamba_live", words, self._stand_in(), outputs=asked))

    def _export(self) -> Order:
        asked: list[str] = []
        words = [self._take()]
        words += [
            self._output((*INSTALLED, ".mp4"), asked) for _ in range(self._rng.choice((1, 2, 4)))
        ]
        if self._rng.random() < 0.5:
            words += ["--video", self._source()]
        self._lay_out(asked, words)
        return Order("posemamba_live.export", words, {}, outputs=asked)

    def _plot(self) -> Order:
        asked: list[str] = []
        words = [self._take(), "--output", self._output((".png", ".html"), asked)]
        for option in ("--person", "--at"):
            if self._rng.random() < 0.3:
                words += [option, self._rng.choice(("0", "1", "0.1", "nan", "-1", "1e99", "x"))]
        self._lay_out(asked, words)
        return Order("posemamba_live.plot", words, {}, outputs=asked)

    def _source(self) -> str:
        rng, kind = self._rng, self._rng.random()
        if kind < 0.4:
            return str(rng.choice(self._material.films))
        if kind < 0.8:
            return str(self._copy(rng.choice(self._material.films), damage=True))
        if kind < 0.88:  # pictures, of which some are no good
            folder = self.inputs / "pictures"
            folder.mkdir()
            for index in range(rng.randrange(6)):
                data = (self._material.films[-5]).read_bytes()
                bad = fuzz.damaged(data, rng) if rng.random() < 0.3 else data
                (folder / f"{index:03d}.png").write_bytes(bad)
            return str(rng.choice((folder, folder / "%03d.png", folder / "*.png")))
        return self._odd()

    def _odd(self) -> str:
        rng, path = self._rng, self._free(".mp4")
        match rng.randrange(7):
            case 0:
                os.mkfifo(path)
            case 1:
                path.symlink_to(path)
            case 2:
                path = self._free(rng.choice((".mp4", ".m3u8", ".sdp", ".png", ".txt", ".ts")))
                path.write_bytes(rng.choice(_TEXTS))
            case 3:
                path = self._copy(rng.choice(self._material.takes), damage=False)
            case 4:
                return str(self.inputs)
            case 5:
                shutil.copy(rng.choice(self._material.films), path)  # under another suffix
        return str(path)

    def _take(self) -> str:
        rng, kind = self._rng, self._rng.random()
        if kind < 0.3:
            return str(rng.choice(self._material.takes))
        if kind < 0.65:
            return str(self._copy(rng.choice(self._material.takes), damage=True))
        if kind < 0.9:
            path = self._free(".npz")
            rng.choice(list(hostile_takes.ODD.values()))(path)
            return str(path)
        return self._odd()

    def _copy(self, path: Path, *, damage: bool) -> Path:
        rng, copy = self._rng, self._free(path.suffix)
        data = path.read_bytes()
        for _ in range(rng.choice((1, 1, 2)) if damage else 0):
            data = fuzz.damaged(data or b"\0", rng)
        copy.write_bytes(data)
        return copy

    def _free(self, suffix: str) -> Path:
        name = self._rng.choice(_NAMES) if self._rng.random() < 0.25 else "film"
        path = self.inputs / f"{name}{suffix}"
        while os.path.lexists(path):
            path = path.with_name(f"x{path.name}")
        return path

    def _output(self, suffixes: tuple[str, ...], asked: list[str]) -> str:
        """A name to write; now and then a strange one, or one in no folder."""
        rng = self._rng
        suffix = rng.choice(suffixes) if rng.random() < 0.97 else rng.choice(list(FORMATS))
        stem = rng.choice(_NAMES) if rng.random() < 0.15 else f"out{rng.randrange(3)}"
        if rng.random() < 0.03:
            return str(self.outputs / "missing" / f"{stem}{suffix}")
        asked.append(f"{stem}{suffix}")
        return str(self.outputs / f"{stem}{suffix}")

    def _lay_out(self, asked: list[str], words: list[str]) -> None:
        """What is in the folder of outputs before: strangers' files, links, old journals."""
        rng = self._rng
        for name in asked:
            path, kind = self.outputs / name, rng.random()
            if os.path.lexists(path):
                continue
            if kind < 0.12:
                path.write_bytes(STRANGER)
            elif kind < 0.16:
                path.symlink_to(self.outputs / f"real{path.suffix}")
            elif kind < 0.18:
                path.mkdir()
            journal = path.with_name(f"{name}.journal")
            if rng.random() < 0.08 and not journal.exists():
                data = self._material.takes[1].read_bytes()
                journal.write_bytes(fuzz.damaged(data, rng) if rng.random() < 0.5 else data)
        if rng.random() < 0.3:
            words.append("--overwrite")

    def _stand_in(self) -> dict[str, Any]:
        stand_in = dict(self._rng.choice(_STAND_INS))
        if self._rng.random() < 0.06:
            stand_in |= {"at": self._rng.randrange(6), "create": [str(self.outputs / "out1.npz")]}
        elif self._rng.random() < 0.04:
            stand_in |= {"at": self._rng.randrange(6), "remove": str(self.outputs)}
        return stand_in

    def _disturbed(self, order: Order) -> Order:
        rng = self._rng
        if rng.random() < 0.12:
            number = rng.choice((signal.SIGINT, signal.SIGTERM))
            stand_in = {**order.stand_in, "slow": 0.05}
            return Order(
                order.module,
                order.words,
                stand_in,
                {},
                number,
                rng.uniform(0.2, 1.5),
                order.outputs,
            )
        limits = {"RLIMIT_FSIZE": rng.randrange(1_000, 200_000)} if rng.random() < 0.06 else {}
        return Order(order.module, order.words, order.stand_in, limits, outputs=order.outputs)
