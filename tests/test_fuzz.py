"""Random command lines and damaged files: no traceback, no hang, nothing half written.

POSEMAMBA_FUZZ_RUNS and POSEMAMBA_FUZZ_SEED make a longer run of it, by hand.
"""

from __future__ import annotations

import json
import os
import random
import shlex
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from posemamba_live.errors import LiveError
from posemamba_live.sources import open_source
from posemamba_live.takes.take import read_take
from tests.support import fuzz

RUNS = int(os.environ.get("POSEMAMBA_FUZZ_RUNS", "0"))
SEED = int(os.environ.get("POSEMAMBA_FUZZ_SEED", "1"))
SECONDS = 90.0
"""For one command: most of it is loading, on a busy machine."""

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="FIFOs and links as Unix has them"),
    pytest.mark.timeout(0 if RUNS else 300),
]


@pytest.mark.parametrize("run", range(RUNS or 8))
def test_any_command_line_ends_as_it_should(run: int, walk_clip: Path, tmp_path: Path) -> None:
    rng = random.Random(1000 * SEED + run)
    inputs, outputs = tmp_path / "in", tmp_path / "out"
    inputs.mkdir()
    outputs.mkdir()
    words = fuzz.command_line(fuzz.files(inputs, walk_clip, rng), outputs, rng)
    words = [word for word in words if "\0" not in word]
    before = sorted(os.listdir(inputs))
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "posemamba_live", *words],
        cwd=outputs, capture_output=True, timeout=SECONDS, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    said = f"{shlex.join(words)}\n{done.stderr.decode(errors='replace')[-3000:]}"
    assert done.returncode in (0, 1, 2), said
    assert time.monotonic() - start < SECONDS, said
    text = done.stderr.decode()
    if "-vv" not in words:
        assert "Traceback" not in text, said
    assert "Something went wrong inside" not in text, said
    assert done.returncode == 0 or "error: " in text, said
    assert b"\x1b" not in done.stderr + done.stdout, said
    assert sorted(os.listdir(inputs)) == before, said
    left = sorted(outputs.iterdir())
    assert not [path for path in left if path.name.startswith(".")], said
    for path in left:
        assert path.stat().st_size > 0, said
        if path.suffix == ".npz":
            read_take(path)
        if path.suffix == ".json":
            json.loads(path.read_text())
        if path.suffix == ".mp4":
            with open_source(str(path)) as film:
                assert next(iter(film)).image.size, said


@pytest.mark.parametrize("suffix", fuzz.MAKERS)
def test_damaged_files_are_read_or_refused(suffix: str, tmp_path: Path) -> None:
    """In a process of its own: decoders are C++."""
    count = max(RUNS, 25)
    program = f"from tests.test_fuzz import read_damaged; read_damaged({suffix!r}, {SEED}, {count})"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).parent.parent, capture_output=True,
        text=True, timeout=60 + 3 * count, check=False, env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == f"{count} files"


def read_damaged(suffix: str, seed: int, count: int) -> None:
    """What the test above runs; says the number of each file before it is read."""
    folder = Path(os.environ["TMPDIR"])
    good, bad = folder / f"good{suffix}", folder / f"bad{suffix}"
    fuzz.MAKERS[suffix](good)
    data = good.read_bytes()
    for index in range(count):
        print(index, flush=True)
        bad.write_bytes(fuzz.damaged(data, random.Random(f"{seed} {suffix} {index}")))
        start = time.monotonic()
        try:
            if suffix == ".npz":
                for pose in read_take(bad).poses:
                    assert np.isfinite(pose.joints_world).all()
            else:
                with open_source(str(bad), max_frames=40) as source:
                    for frame in source:
                        assert frame.size == source.size
        except LiveError:
            pass
        assert time.monotonic() - start < 20.0, index
    print(f"{count} files")
