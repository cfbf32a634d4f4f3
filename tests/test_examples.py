"""The example scripts, each on real parts: the demo clip, a network camera, a running stream."""

from __future__ import annotations

import importlib.util
import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import posemamba_live as pml
from posemamba.keypoints import COCO_17
from posemamba.skeleton import JOINT_NAMES
from posemamba_live import cli
from tests.support.mjpeg_server import MjpegServer

EXAMPLES = Path(__file__).parent.parent / "examples"
FRAMES = 40

pytestmark = pytest.mark.usefixtures("restored_logging")


def example(name: str) -> Callable[[list[str]], None]:
    """The main function of a script; calling it here spares another start of torch."""
    spec = importlib.util.spec_from_file_location(f"examples.{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    main: Callable[[list[str]], None] = module.main
    return main


def test_they_are_short_and_say_how_they_are_called() -> None:
    scripts = sorted(EXAMPLES.glob("*.py"))
    assert len(scripts) == 5
    for script in scripts:
        text = script.read_text()
        assert len(text.splitlines()) < 60
        assert f"python examples/{script.name}" in text


def test_video_to_bvh(walk_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "walk.bvh"
    example("video_to_bvh")([str(walk_clip), str(output), "--max-frames", str(FRAMES)])
    told = capsys.readouterr()
    assert told.out.split() == [str(output)]
    assert f"{FRAMES} of {FRAMES} frames" in told.err
    assert f"Frames: {FRAMES}" in output.read_text()


def test_webcam(walk_clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with MjpegServer(walk_clip, max_frames=FRAMES) as camera:
        example("webcam")([camera.url, "--max-frames", "15"])
    lines = capsys.readouterr().out.splitlines()
    assert 10 <= len(lines) <= 15
    heights = [float(height) for line in lines for height in re.findall(r"hand +(\S+) m", line)]
    assert len(heights) == 2 * len(lines)
    assert all(0.0 < height < 2.3 for height in heights)


def test_own_keypoints(walk_clip: Path, tmp_path: Path) -> None:
    """Keypoints of the detector, written as COCO results, come back as they were lifted."""
    take = pml.lift_video(walk_clip, max_frames=FRAMES, smooth=0.0)
    extra = {str(name): i for i, name in enumerate(take.arrays["extra_names"])}
    results = []
    for row, frame in enumerate(take.frame_index):
        triples: list[float] = []
        for name in COCO_17:
            side, _, part = name.partition("_")
            joint = "Nose" if name == "nose" else f"{side[0].upper()}{part.capitalize()}"
            if joint in JOINT_NAMES:
                j = JOINT_NAMES.index(joint)
                point, score = take.joints_2d[row, j], take.scores_2d[row, j]
            else:
                k = extra[name]
                point = take.arrays["extra_2d"][row, k]
                score = take.arrays["extra_scores"][row, k]
            triples += [float(point[0]), float(point[1]), float(score)]
        results.append({"image_id": int(frame), "category_id": 1, "keypoints": triples})
    path, output = tmp_path / "keypoints.json", tmp_path / "poses.npy"
    path.write_text(json.dumps(results[::-1]))
    example("own_keypoints")([str(path), str(output), "--size", "640", "360"])
    joints = np.load(output)
    assert joints.shape == (FRAMES, 17, 3)
    # The scene makes bones constant and finds the body's scale: the same pose but for that.
    error = np.linalg.norm(joints - joints[:, :1] - take.joints_3d, axis=-1)
    assert error.mean() < 0.05


def test_squat_angles(walk_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    example("squat_angles")([str(walk_clip), str(page), "--max-frames", str(FRAMES)])
    out = capsys.readouterr().out
    found = re.search(
        r"deepest at (\S+) s, frame (\d+)\nknee_angle +right +(\d+) +left +(\d+)", out
    )
    assert found is not None, out
    assert int(found[2]) == round(30.0 * float(found[1]))
    # A step of walking bends one knee by 60 degrees or so, and the other one little.
    assert 15 < (int(found[3]) + int(found[4])) / 2 < 60
    assert "<svg" in page.read_text()


def test_read_stream(walk_clip: Path) -> None:
    """The client as a program of its own, beside a camera that the command streams."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"ws://localhost:{port}"
    with MjpegServer(walk_clip, max_frames=FRAMES) as camera:
        words = [camera.url, "--headless", "--stream", url, "--duration", "6"]
        codes: list[int] = []
        run = threading.Thread(target=lambda: codes.append(cli.run(words)), daemon=True)
        run.start()
        lines = _read(url, pictures=5)
        run.join(60.0)
    assert codes == [0]
    assert re.fullmatch(r".+, \S+ frames a second, units m", lines[0])
    heads = [re.search(r"head at (\S+) (\S+) (\S+) m", line) for line in lines[1:]]
    assert len(heads) >= 3
    assert all(head is not None and 1.2 < float(head[3]) < 2.1 for head in heads)


def _read(url: str, *, pictures: int) -> list[str]:
    """What the client prints; it is started again until somebody listens."""
    program = [sys.executable, str(EXAMPLES / "read_stream.py"), url]
    for _ in range(60):
        done = subprocess.run(
            [*program, "--max-pictures", str(pictures)], capture_output=True, text=True, timeout=120
        )
        if "ConnectionRefusedError" not in done.stderr:
            break
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
