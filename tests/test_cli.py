"""The command as users meet it: its files, its messages, its exit codes.

Most runs call the command in this process, which spares the imports; a few are real
programs, where signals, terminals or import time matter.
"""

from __future__ import annotations

import functools
import json
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from websockets.sync.client import connect

from posemamba.checkpoint import checksum_of, find_weights
from posemamba.skeleton import JOINT_NAMES, PARENTS
from posemamba_live import __version__, cli, command_line
from posemamba_live.plan import SECOND_WEIGHTS, WHOLE_WEIGHTS

PROGRAM = [sys.executable, "-m", "posemamba_live"]


@pytest.fixture(autouse=True)
def no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never open a window on the screen of whoever runs the tests."""
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)


pytestmark = pytest.mark.usefixtures("restored_logging")

Refused = tuple[int, str]


def refuse(capsys: pytest.CaptureFixture[str], arguments: Sequence[object]) -> Refused:
    """Run a command that must fail with one message and no traceback."""
    code = cli.run([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    assert out == ""
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, err
    return code, err


# -- no run at all ---------------------------------------------------------------------------


def test_help_names_every_option_and_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--help"]) == 0
    text = re.sub(r"[\s│]+", " ", capsys.readouterr().out)
    for option in (
        "--camera", "--realtime", "--export", "--record", "--overwrite", "--headless",
        "--weights", "--mode", "--window", "--delay", "--detector", "--detector-model",
        "--person-model", "--detect-every",
        "--people", "--device", "--threads", "--height", "--pitch", "--fov", "--smooth", "--mirror",
        "--start", "--end", "--max-frames", "--duration", "--stats", "--stream", "--verbose",
        "--quiet", "--version", "fast|balanced|accurate", "auto|cpu|cuda", "Space pause",
        "Q, Esc quit", ".npz (", ".long.csv (", ".angles.csv (", ".trc (", ".mot (", ".c3d (",
        ".bvh (", ".glb (",
    ):  # fmt: skip
        assert option in text
    assert cli.run(["-h"]) == 0


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == f"posemamba-live {__version__}\n"


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom posemamba_live import cli\ncli.run(['--help'])\n"
        "heavy = {'torch', 'cv2', 'mediapipe', 'onnxruntime', 'open3d', 'numba', 'scipy'}\n"
        "heavy |= {'matplotlib', 'ezc3d', 'pyarrow'}\n"
        "sys.exit(','.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        ([], "Nothing to look at"),
        (["CLIP", "--camera", "0"], "Two sources"),
        (["CLIP", "OTHER"], "OTHER"),
        (["--camera"], "--camera"),
        (["CLIP", "--no-such-option"], "--no-such-option"),
        (["--camera", "front", "--export", "a.npz"], "front"),
        (["gopher://example.org/cat", "--export", "a.npz"], "gopher"),
        (["CLIP", "--height", "-1.7"], "--height -1.7"),
        (["CLIP", "--height", "nan"], "--height nan"),
        (["CLIP", "--height", "1.7", "--height", "9"], "--height 9"),
        (["CLIP", "--pitch", "-95"], "--pitch -95"),
        (["CLIP", "--height", "tall"], "--height"),
        (["CLIP", "--fov", "200"], "--fov 200"),
        (["CLIP", "--smooth", "-1"], "--smooth -1"),
        (["CLIP", "--people", "0"], "--people 0"),
        (["CLIP", "--start", "-1"], "--start -1"),
        (["CLIP", "--start", "3", "--end", "2"], "--end 2"),
        (["CLIP", "--max-frames", "0"], "--max-frames 0"),
        (["CLIP", "--duration", "0"], "--duration 0"),
        (["CLIP", "--threads", "0"], "--threads 0"),
        (["CLIP", "--window", "0"], "--window 0"),
        (["CLIP", "--delay", "-1"], "--delay -1"),
        (["CLIP", "--window", "9", "--delay", "9"], "--delay 9"),
        (["CLIP", "--mode", "perfect"], "perfect"),
        (["CLIP", "--device", "tpu"], "tpu"),
        (["CLIP", "--headless"], "nothing to do"),
        (["CLIP", "--stream", "http://localhost:80"], "--stream http://localhost:80"),
        (["CLIP", "--stream", "ws://localhost:99999"], "--stream ws://localhost:99999"),
        (["CLIP", "--stream", "udp://:9", "--stream", "udp://127.0.0.1:9"], "twice"),
        (["CLIP", "--export", "poses.docx"], ".docx"),
        (["CLIP", "--export", "poses"], "no suffix"),
        (["CLIP", "--record", "video.gif"], ".gif"),
        (["CLIP", "--stats", "stats.txt"], ".txt"),
        (["CLIP", "--export", "a.npz", "--export", "./a.npz"], "twice"),
        (["CLIP", "--record", "CLIP", "--overwrite"], "the source itself"),
        (["CLIP", "--detector-model", "missing.task", "--export", "a.npz"], "missing.task"),
        (["CLIP", "--person-model", "no.onnx", "--export", "a.npz"], "no.onnx"),
        (["CLIP", "--person-model", "none", "--people", "2", "--export", "a.npz"], "--people 2"),
        (["CLIP", "--detect-every", "0"], "--detect-every 0"),
        (["CLIP", "--rotate", "45", "--export", "a.npz"], "--rotate 45"),
        (["CLIP", "--fps", "25", "--export", "a.npz", "--headless"], "--fps is for sequences"),
        (["CLIP", "--fps", "0", "--export", "a.npz"], "--fps 0"),
        (
            ["CLIP", "--camera-size", "1280x720", "--export", "a.npz", "--headless"],
            "is for cameras",
        ),
        (["--camera", "0", "--camera-size", "wide", "--export", "a.npz", "--headless"], "wide"),
        (["-", "--start", "3", "--export", "a.npz", "--headless"], "--start is for files"),
        (["CLIP", "--detector", "crystal-ball", "--export", "a.npz"], "crystal-ball"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    arguments: list[str],
    fragment: str,
    walk_clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = [str(walk_clip) if word == "CLIP" else word for word in arguments]
    code, err = refuse(capsys, arguments)
    assert code == 2
    assert fragment in err
    assert "try:" in err or "--overwrite" in err or fragment.startswith("--end")
    assert list(tmp_path.iterdir()) == []


def test_cameras_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--camera", "list"]) == 0
    out = capsys.readouterr().out
    assert "--camera " in out or "no camera" in out


# -- bad inputs and outputs ------------------------------------------------------------------


def damaged(kind: str, folder: Path, clip: Path) -> Path:
    path = folder / f"{kind}.mp4"
    if kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("this is not a video\n" * 100)
    elif kind == "random":
        path.write_bytes(np.random.default_rng(0).bytes(50_000))
    elif kind == "truncated":
        path.write_bytes(clip.read_bytes()[:20_000])
    elif kind == "directory":
        path.mkdir()
    return path


@pytest.mark.parametrize(
    "kind", ["nonexistent", "empty", "text", "random", "truncated", "directory"]
)
def test_bad_inputs(
    kind: str, walk_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = damaged(kind, tmp_path, walk_clip)
    export = tmp_path / "poses.npz"
    code, err = refuse(capsys, [path, "--export", export, "--headless"])
    assert code == 1
    assert path.name in err
    assert not export.exists()


def test_a_camera_that_is_not_there(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, err = refuse(capfd, ["--camera", 97, "--export", tmp_path / "a.npz", "--headless"])
    assert code == 1
    assert "97" in err


def test_existing_outputs_are_kept_unless_told(
    walk_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for option, name in (("--export", "a.npz"), ("--record", "a.mp4"), ("--stats", "a.json")):
        path = tmp_path / name
        path.write_text("precious")
        code, err = refuse(capsys, [walk_clip, "--headless", option, path])
        assert code == 2
        assert "--overwrite" in err
        assert path.read_text() == "precious"


def test_outputs_that_cannot_be_written(
    walk_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.npz").mkdir()
    for name in ("missing/a.npz", "file/a.npz", "folder.npz"):
        code, err = refuse(capsys, [walk_clip, "--headless", "--export", tmp_path / name])
        assert code == 1
        assert name.split("/")[0] in err


def test_no_display(walk_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, err = refuse(capsys, [walk_clip])
    assert code == 1
    assert "--headless" in err


class Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch '{self.marker}'",)


@pytest.mark.parametrize(
    "kind",
    ["missing", "name", "folder", "text", "evil", "evil-zip", "state", "too-long", "no-window"],
)
def test_bad_weights(
    kind: str,
    walk_clip: Path,
    tiny_weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    marker, path, extra = tmp_path / "ran", tmp_path / "weights.bin", []
    if kind == "name":
        path = Path("window-nobody-made")
    elif kind == "folder":
        path.mkdir()
    elif kind == "text":
        path = tmp_path / "weights.safetensors"
        path.write_text("not weights at all")
    elif kind == "evil":
        path.write_bytes(pickle.dumps({"model_pos": Evil(marker)}))
    elif kind == "evil-zip":
        torch.save({"model_pos": Evil(marker)}, path)
    elif kind == "state":
        torch.save({"model_pos": {"layer.weight": torch.zeros(3)}}, path)
    elif kind == "too-long":
        path, extra = tiny_weights, ["--window", "99"]
    elif kind == "no-window":
        path, extra = Path("causal-m3"), ["--window", "20"]
    export = tmp_path / "poses.npz"
    code, err = refuse(
        capsys, [walk_clip, "--headless", "--export", export, "--weights", path, *extra]
    )
    window = kind in ("too-long", "no-window")
    assert code == (2 if window else 1)
    assert ("--window" if window else path.name) in err
    assert not marker.exists(), "a weight file ran a command"
    assert not export.exists()


@pytest.mark.parametrize("kind", ["missing", "damaged"])
def test_weights_that_come_with_it_and_are_not_as_they_came(
    kind: str,
    walk_clip: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also those that are needed only when a film has been read."""
    path = tmp_path / "film-gone.safetensors"
    if kind == "damaged":
        path.write_bytes(find_weights("film-m2").read_bytes()[:-1000])
    monkeypatch.setattr("posemamba_live.plan.WHOLE_WEIGHTS", str(path))
    monkeypatch.setattr("posemamba_live.parts.SHIPPED", (str(path),))
    export = tmp_path / "poses.npz"
    code, err = refuse(capsys, [walk_clip, "--headless", "--export", export])
    assert code == 1
    assert path.name in err
    assert "install posemamba-live again" in err
    assert not list(tmp_path.glob("poses*")), "nothing was begun"


def test_a_port_that_is_taken(walk_clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"ws://127.0.0.1:{taken.getsockname()[1]}"
        code, err = refuse(capsys, [walk_clip, "--headless", "--stream", url])
    assert code == 1
    assert url in err


# -- runs ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(walk_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole run of the real program with the default weights."""
    folder = tmp_path_factory.mktemp("run")
    command = [
        *PROGRAM, str(walk_clip), "--export", "poses.npz", "--record", "walk.mp4",
        "--stats", "stats.json",
    ]  # fmt: skip
    environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (folder / "stdout").write_text(done.stdout)
    (folder / "stderr").write_text(done.stderr)
    return folder


def test_a_run_tells_what_it_did(finished: Path) -> None:
    assert "167 frames" in (finished / "stdout").read_text()
    assert "poses.npz" in (finished / "stdout").read_text()
    lines = (finished / "stderr").read_text().splitlines()
    lines = [line for line in lines if not line.startswith("compiling the network's kernels")]
    assert lines == ["WARNING: no display: running without a window, as with --headless"]
    assert {path.name for path in finished.iterdir()} == {
        "poses.npz", "walk.mp4", "stats.json", "stdout", "stderr",
    }  # fmt: skip


def test_the_export_is_as_documented(finished: Path) -> None:
    with np.load(finished / "poses.npz", allow_pickle=False) as data:
        shapes = {key: (data[key].shape, data[key].dtype) for key in data.files}
        meta = json.loads(str(data["meta"]))
        joints, root, world = data["joints_3d"], data["root_3d"], data["joints_world"]
        assert tuple(data["joint_names"]) == JOINT_NAMES
        assert tuple(data["joint_parents"]) == PARENTS
        np.testing.assert_array_equal(data["frame_index"], np.arange(167))
        np.testing.assert_allclose(data["timestamp"], np.arange(167) / 30.0, atol=1e-3)
        assert tuple(data["image_size"]) == (640, 360)
        assert data["fps"] == 30.0
    rows, f4 = 167, np.dtype(np.float32)
    assert shapes["joints_3d"] == shapes["joints_world"] == ((rows, 17, 3), f4)
    assert shapes["joints_2d"] == ((rows, 17, 2), f4)
    assert shapes["scores_2d"] == ((rows, 17), f4)
    assert shapes["root_3d"] == ((rows, 3), f4)
    assert shapes["frame_index"] == ((rows,), np.dtype(np.int64))
    assert shapes["person_id"] == ((rows,), np.dtype(np.int32))
    assert shapes["predicted"] == ((rows,), np.dtype(np.bool_))
    assert np.abs(joints[:, 0]).max() == 0.0
    assert root[:, 2].min() > 0.5, "in front of the camera"
    np.testing.assert_allclose(
        np.linalg.norm(joints[:, 10] - joints[:, 3], axis=-1),
        np.linalg.norm(world[:, 10] - world[:, 3], axis=-1),
        rtol=1e-3,
    )
    assert meta["weights"] == "window-m7"
    assert len(meta["weights_sha256"]) == 64
    assert meta["second_weights"] == SECOND_WEIGHTS
    assert meta["second_weights_sha256"] == checksum_of(SECOND_WEIGHTS)
    assert meta["whole_weights"] == WHOLE_WEIGHTS
    assert meta["whole_weights_sha256"] == checksum_of(WHOLE_WEIGHTS)
    assert meta["command_line"].endswith("--stats stats.json")
    assert {"schema_version", "window", "look_ahead", "height_m", "fov_deg", "detector"} <= set(
        meta
    )


def test_the_recording_has_every_frame_at_the_sources_rate(finished: Path) -> None:
    video = cv2.VideoCapture(str(finished / "walk.mp4"))
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(30.0)
    frames = 0
    while video.grab():
        frames += 1
    assert frames == 167


def test_the_statistics_are_as_documented(finished: Path) -> None:
    stats = json.loads((finished / "stats.json").read_text())
    assert (stats["frames_in"], stats["frames_dropped"], stats["frames_out"]) == (167, 0, 167)
    assert stats["fps_in"] > 0
    assert stats["fps_out"] > 0
    assert (
        0 < stats["latency_ms"]["p50"] <= stats["latency_ms"]["p95"] <= stats["latency_ms"]["max"]
    )
    for stage in ("read", "detect", "lift", "draw"):
        assert 0 <= stats["stage_ms"][stage]["p50"] <= stats["stage_ms"][stage]["p95"]
    assert 0.1 < stats["start_s"] < 300
    assert 0.1 < stats["run_s"] < 300
    assert 50 < stats["rss_mb"] < 8000
    assert stats["device"] in ("cpu", "cuda")
    assert stats["backend"]


def test_the_person_is_where_the_truth_is(finished: Path, walk_clip: Path) -> None:
    """Procrustes-aligned error of the limbs: below 70 mm, the error of a plausible person."""
    limbs = [1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15, 16]
    truth = np.load(walk_clip.with_name("walk_turn_gt.npz"))["joints_camera"][:, limbs]
    with np.load(finished / "poses.npz") as data:
        got = data["joints_3d"][:, limbs].astype(np.float64)
    errors = []
    for a, b in zip(got, truth, strict=True):
        a, b = a - a.mean(0), b - b.mean(0)
        u, s, vt = np.linalg.svd(a.T @ b)
        sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
        scale = (s * sign).sum() / (a**2).sum()
        errors.append(np.linalg.norm(scale * a @ (u * sign) @ vt - b, axis=-1).mean())
    assert 1000 * np.mean(errors) < 70.0


def test_part_of_a_file_in_each_mode(
    walk_clip: Path, tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for mode, more in (("fast", ["--start", "1"]), ("accurate", ["--duration", "0.5"])):
        export = tmp_path / f"{mode}.npz"
        common = ["--headless", "--export", export, "--weights", tiny_weights, "--mode", mode]
        arguments = [walk_clip, *common, *more, "--max-frames", 15, "-q"]
        assert cli.run([str(argument) for argument in arguments]) == 0
        assert capsys.readouterr() == ("", "")
        first = 30 if mode == "fast" else 0
        with np.load(export) as data:
            np.testing.assert_array_equal(data["frame_index"], np.arange(first, first + 15))


def test_logins_stay_out_of_files(walk_clip: Path, tiny_weights: Path, tmp_path: Path) -> None:
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(walk_clip.parent))
    export = tmp_path / "poses.npz"
    stats = tmp_path / "stats.json"
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host = f"127.0.0.1:{server.server_address[1]}"
        url = f"http://anna:hush@{host}/{walk_clip.name}?token=hush"
        arguments = [url, "--export", export, "--stats", stats, "--weights", tiny_weights]
        arguments += ["--headless", "--max-frames", 5, "-q"]
        assert cli.run([str(argument) for argument in arguments]) == 0
        server.shutdown()
    with np.load(export) as data:
        meta = json.loads(str(data["meta"]))
    assert meta["source"] == f"http://***@{host}/{walk_clip.name}?token=***"
    assert meta["source"] in meta["command_line"]
    for text in (json.dumps(meta), stats.read_text()):
        assert "hush" not in text
        assert "anna" not in text


def test_a_run_may_do_nothing_but_stream(
    walk_clip: Path, tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(10.0)
        url = f"udp://127.0.0.1:{receiver.getsockname()[1]}"
        export, stats = tmp_path / "poses.npz", tmp_path / "stats.json"
        code = cli.run(
            [
                str(walk_clip), "--headless", "--stream", url, "--max-frames", "30",
                "--weights", str(tiny_weights), "--export", str(export), "--stats", str(stats),
            ]
        )  # fmt: skip
        messages = [json.loads(receiver.recv(65536)) for _ in range(30)]
    assert code == 0
    out, err = capsys.readouterr()
    assert f"streamed 30 messages to {url}" in out
    assert "--realtime" in err, "a file is streamed as fast as it is processed, which is said"
    assert [message["frame_index"] for message in messages] == list(range(30))
    with np.load(export) as data:
        for message in messages:
            (person,) = message["people"]
            row = message["frame_index"]
            assert person["person_id"] == data["person_id"][row]
            np.testing.assert_allclose(message["timestamp"], data["timestamp"][row], atol=1e-5)
            np.testing.assert_allclose(person["scores_2d"], data["scores_2d"][row], atol=1e-3)
    (figures,) = json.loads(stats.read_text())["streams"]
    assert figures == {"url": url, "sent": 30, "dropped": 0, "receivers": 1, "trouble": ""}


def test_a_live_run_is_watched_over_a_websocket(walk_clip: Path, tiny_weights: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        *PROGRAM, str(walk_clip), "--realtime", "--headless", "--weights", str(tiny_weights),
        "--stream", f"ws://localhost:{port}",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        deadline, page = time.monotonic() + 120.0, b""
        while not page:  # the page is there before anything has been loaded
            assert process.poll() is None
            assert time.monotonic() < deadline
            try:
                page = urllib.request.urlopen(f"http://localhost:{port}/", timeout=60.0).read()
            except urllib.error.URLError:
                time.sleep(0.2)
        with connect(f"ws://localhost:{port}", open_timeout=60.0) as client:
            header = json.loads(client.recv(timeout=60.0))
            messages = [json.loads(message) for message in client]
    finally:
        out, err = process.communicate(timeout=120.0)
    assert process.returncode == 0, err
    assert page.startswith(b"<!doctype html>")
    assert (header["source"], header["live"], header["fps"]) == ("walk_turn.mp4", True, 30.0)
    indices = [message["frame_index"] for message in messages]
    assert indices == sorted(set(indices))
    assert indices[-1] > 100, "to the end of the clip"
    assert sum(len(message["people"]) for message in messages) > 0
    assert f"watch at http://localhost:{port}\n" in err
    assert f"streamed {len(messages)} messages to ws://localhost:{port}" in out


def test_existing_outputs_are_replaced_when_told(
    walk_clip: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    path = tmp_path / "a.npz"
    path.write_text("old")
    arguments = [walk_clip, "--export", path, "--overwrite", "--headless", "--max-frames", 3]
    assert cli.run([*map(str, arguments), "--weights", str(tiny_weights)]) == 0
    with np.load(path) as data:
        assert len(data["frame_index"]) == 3


@pytest.mark.skipif(os.name == "nt", reason="signals to other processes are a POSIX affair")
@pytest.mark.parametrize(
    ("number", "more"),
    [
        (signal.SIGINT, []),
        (signal.SIGTERM, ["--delay", "3"]),
        (getattr(signal, "SIGHUP", signal.SIGTERM), []),
    ],
)
def test_interrupted_runs_leave_complete_files(
    number: signal.Signals, more: list[str], walk_clip: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    command = [
        *PROGRAM, str(walk_clip), "--headless", "--export", "a.npz", "--record", "a.mp4",
        "--stats", "a.json", "--weights", str(tiny_weights), "--realtime", *more,
    ]  # fmt: skip
    before = signal.signal(number, signal.SIG_DFL)  # tests under nohup would hand on its SIG_IGN
    try:
        process = subprocess.Popen(
            command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
    finally:
        signal.signal(number, before)
    deadline = time.monotonic() + 60.0
    while not (tmp_path / "a.partial.mp4").exists():  # the recording has begun
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(2.0)  # of the 5.6 s at its true speed: poses came, and more would
    process.send_signal(number)
    _, err = process.communicate(timeout=60.0)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.mp4", "a.npz"]
    with np.load(tmp_path / "a.npz", allow_pickle=False) as data:
        rows = len(data["frame_index"])
    assert 0 < rows < 167
    assert json.loads((tmp_path / "a.json").read_text())["frames_out"] >= rows
    video = cv2.VideoCapture(str(tmp_path / "a.mp4"))
    assert video.grab()


def wait_until_it_listens(process: subprocess.Popen[str]) -> None:
    """Until the program catches SIGTERM: before that, Python's own start is what a signal ends."""
    status = Path(f"/proc/{process.pid}/status")
    if not status.exists():
        time.sleep(1.0)
        return
    deadline = time.monotonic() + 60.0
    while time.monotonic() < deadline and process.poll() is None:
        caught = next(row for row in status.read_text().splitlines() if row.startswith("SigCgt"))
        if int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.05)


def test_interrupted_while_loading(walk_clip: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*PROGRAM, str(walk_clip), "--headless", "--export", "a.npz"],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_until_it_listens(process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60.0)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == [] or (tmp_path / "a.npz").exists()


def test_a_bug_is_told_in_one_message_and_shown_on_request(
    walk_clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def explode(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("posemamba_live.wiring.open_source", explode)
    arguments = [str(walk_clip), "--headless", "--export", str(tmp_path / "a.npz")]
    code, err = refuse(capsys, arguments)
    assert code == 1
    assert "ZeroDivisionError: a bug" in err
    monkeypatch.setenv(command_line.DEBUG_VARIABLE, "1")
    assert cli.run(arguments) == 1
    assert "Traceback" in capsys.readouterr().err
