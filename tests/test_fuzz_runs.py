"""Random runs over options and damaged or odd files: no traceback, no hang, exit codes as agreed,
nothing half written, nothing of somebody else's touched.

POSEMAMBA_FUZZ_RUNS and POSEMAMBA_FUZZ_SEED make a longer run of it, by hand.
"""

from __future__ import annotations

import hashlib
import os
import random
import shlex
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from posemamba_live.shown import printable
from tests.support.fuzz_runs import STRANGER, Material, Order, Scene
from tests.support.nursery import Nursery
from tests.support.whole import check_whole

RUNS = int(os.environ.get("POSEMAMBA_FUZZ_RUNS", "0"))
SEED = int(os.environ.get("POSEMAMBA_FUZZ_SEED", "1"))
SECONDS = 60.0
"""For one run, on a busy machine."""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="FIFOs, links, limits of Unix")


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    nursery = Nursery()
    yield nursery
    nursery.close()


@pytest.fixture(scope="module")
def material(
    walk_clip: Path, tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory
) -> Material:
    return Material(tmp_path_factory.mktemp("good"), walk_clip, tiny_weights)


def contents(folder: Path) -> dict[str, bytes]:
    """What is in a folder, by name: a digest of files, else what kind of thing it is."""
    found = {}
    for path in folder.rglob("*"):
        mode = path.lstat().st_mode
        data = path.read_bytes() if stat.S_ISREG(mode) else str(stat.S_IFMT(mode)).encode()
        found[str(path.relative_to(folder))] = hashlib.sha256(data).digest()
    return found


@pytest.mark.timeout(0 if RUNS else 300)
@pytest.mark.parametrize("run", range(RUNS or 12))
def test_any_run_ends_as_it_should(
    run: int,
    nursery: Nursery,
    material: Material,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    scene = Scene(material, tmp_path, random.Random(f"{SEED} {run}"))
    order = scene.order
    given, before = contents(scene.inputs), contents(scene.outputs)
    code, said = ended(order, nursery, tmp_path)
    record_property("code", code)
    record_property("said", printable(said))
    told = f"{order.module} {shlex.join(order.words)}\n{order}\nexit code {code}\n{said[-3000:]}"
    assert code in (0, 1, 2) if order.signal is None else code in (0, 1, 2, 130), told
    if "-vv" not in order.words:
        assert "Traceback" not in said, told
    assert "Something went wrong inside" not in said, told
    assert code in (0, 130) or "error: " in said.lower() or "usage: " in said.lower(), told
    assert "\x1b" not in said, told
    assert contents(scene.inputs) == given, told
    check_outputs(scene, before, code, said, told)


def ended(order: Order, nursery: Nursery, folder: Path) -> tuple[int, str]:
    """Exit code of a run, and what it said."""
    here = folder / "here"
    here.mkdir()
    outs = [os.open(folder / name, os.O_WRONLY | os.O_CREAT) for name in ("stdout", "stderr")]
    process = nursery.start(
        {**order.stand_in, "module": order.module}, order.words,
        folder=here, limits=order.limits, stdout=outs[0], stderr=outs[1],
    )  # fmt: skip
    if order.signal is not None:
        time.sleep(order.after)
        process.send_signal(order.signal)
    try:
        code = process.wait(SECONDS)
    finally:
        process.kill()
    texts = [(folder / name).read_bytes().decode() for name in ("stdout", "stderr")]
    return code, "".join(texts)


def check_outputs(scene: Scene, before: dict[str, bytes], code: int, said: str, told: str) -> None:
    """What the run has left: whole files, and nothing else."""
    order = scene.order
    places = [path for path in (scene.outputs, scene.outputs.parent / "here") if path.exists()]
    removed = "remove" in order.stand_in
    after = contents(scene.outputs) if scene.outputs.exists() else {}
    if "--overwrite" not in order.words and not removed:
        assert before.items() <= after.items(), told
    if not removed:
        journals = {name: data for name, data in before.items() if name.endswith(".journal")}
        assert journals.items() <= after.items(), told
    for place in places:
        for path in sorted(place.iterdir()):
            if before.get(path.name) == after.get(path.name) and place == scene.outputs:
                continue
            if not path.is_file() or path.read_bytes() == STRANGER:
                continue
            name = path.name
            assert code != 2, f"{name}\n{told}"
            assert not name.startswith(".") or name.startswith(".hidden"), f"{name}\n{told}"
            if name.endswith(".journal") or ".partial" in name.replace("a.partial", ""):
                assert code != 0, f"{name}\n{told}"
                assert printable(name) in said or order.signal is not None, f"{name}\n{told}"
            try:
                check_whole(path)
            except Exception as error:
                raise AssertionError(f"{name}: {error!r}\n{told}") from error
    if code == 0:
        for name in order.outputs:
            path = scene.outputs / name
            assert path.is_file(), f"{name}\n{told}"
            assert path.read_bytes() != STRANGER, f"{name}\n{told}"
