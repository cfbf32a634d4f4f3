"""Recordings and streams for Rerun, read back with Rerun's own reader."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from posemamba.skeleton import JOINT_NAMES
from posemamba_live.address import parse_address
from posemamba_live.errors import SinkError, UsageError
from posemamba_live.scene.pinhole import Pinhole
from posemamba_live.sinks import create_exporter
from posemamba_live.sinks.rerun_log import SEEN, RerunLog, camera_in_world, joint_colors
from posemamba_live.streams import Stream, StreamInfo, open_stream
from posemamba_live.streams.rerun_stream import quiet_environment
from posemamba_live.types import Frame
from tests.support.stream_poses import picture


def read(path: Path) -> dict[str, dict[str, list[tuple[int | None, float | None, Any]]]]:
    """Entity and component to (frame, seconds, value) of every row; static ones without times."""
    from rerun.chunk import RrdReader

    found: Any = defaultdict(lambda: defaultdict(list))
    for chunk in RrdReader(path).stream().to_chunks():
        table = chunk.to_record_batch()
        columns = {name: table.column(name).to_pylist() for name in table.schema.names}
        frames = columns.get("frame", [None] * table.num_rows)
        times = columns.get("time", [None] * table.num_rows)
        for name, values in columns.items():
            if ":" in name:
                for frame, moment, value in zip(frames, times, values, strict=True):
                    if value is not None:
                        seconds = None if moment is None else moment.total_seconds()
                        found[chunk.entity_path][name].append((frame, seconds, value))
    return found


def test_addresses_are_read() -> None:
    assert parse_address("rerun").spawn
    assert str(parse_address("rerun")) == "rerun"
    there = parse_address("rerun://192.168.1.20:9000")
    assert (there.host, there.port, there.spawn) == ("192.168.1.20", 9000, False)
    assert parse_address("rerun://localhost").port == 9876
    with pytest.raises(UsageError, match="unknown setting"):
        parse_address("rerun://localhost?place=camera")


def test_the_camera_is_where_the_poses_say() -> None:
    pose = picture(3)[1][0]
    rotation, place = camera_in_world(pose)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    world = (pose.joints + pose.root) @ rotation.T + place
    np.testing.assert_allclose(world, pose.joints_world, atol=2e-3)


def test_unseen_joints_are_grey() -> None:
    seen = np.ones(17, bool)
    seen[4] = False
    colors = joint_colors(0, seen)
    assert np.ptp(colors[4].astype(int)) < 30
    assert np.ptp(colors[3].astype(int)) > 100


def test_a_recording_holds_what_the_take_holds(tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="rerun-sdk, which wants NumPy 2, is not installed")
    for name in ("walk.rrd", "walk.npz"):
        meta = {"fps": 30.0, "image_size": (640, 360), "fov_deg": 60.0}
        exporter = create_exporter(tmp_path / name, overwrite=False, meta=meta)
        for frame in (0, 1, 2, 3, 9, 10):
            for pose in picture(frame, people=2)[1]:
                exporter.add(pose)
        exporter.close()
    found = read(tmp_path / "walk.rrd")
    with np.load(tmp_path / "walk.npz") as data:
        own = data["person_id"] == 8
        index, times = data["frame_index"][own], data["timestamp"][own]
        world, flat = data["joints_world"][own], data["joints_2d"][own]
        scores, size, person = data["scores_2d"][own], data["image_size"], 8
    joints = found[f"/world/people/{person}/joints"]
    rows = sorted(joints["Points3D:positions"])
    assert [row[0] for row in rows] == list(index)
    np.testing.assert_allclose([row[1] for row in rows], times, atol=1e-6)
    np.testing.assert_allclose([row[2] for row in rows], world, atol=1e-6)
    assert joints["Points3D:labels"][0][2] == list(JOINT_NAMES)
    small = [np.array(row[2]) < 0.02 for row in sorted(joints["Points3D:radii"])]
    np.testing.assert_array_equal(small, scores < SEEN)
    place = f"/world/camera/image/people/{person}"
    keypoints = sorted(found[f"{place}/keypoints"]["Points2D:positions"])
    np.testing.assert_allclose([row[2] for row in keypoints], flat, atol=1e-3)
    assert len(found[f"{place}/box"]["Boxes2D:half_sizes"]) == len(index)
    plot = sorted(found[f"/scores/{person}"]["Scalars:scalars"])
    np.testing.assert_allclose([row[2][0] for row in plot], scores.mean(1), atol=1e-5)
    lens = found["/world/camera/image"]
    assert lens["Pinhole:resolution"][0][2][0] == pytest.approx(size)
    focal = Pinhole.from_fov((int(size[0]), int(size[1])), 60.0).focal
    assert lens["Pinhole:image_from_camera"][0][2][0][0] == pytest.approx(focal)
    cleared = found[f"/world/people/{person}"]["Clear:is_recursive"]
    assert [row[0] for row in cleared] == [4], "nobody stays where nobody was seen"
    assert "/world/floor" in found
    assert "/world/camera" in found


def test_a_recording_has_the_films_pictures(tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="rerun-sdk, which wants NumPy 2, is not installed")
    shade = {index: np.full((360, 640, 3), 20 * index, np.uint8) for index in range(12)}
    opened = []

    @contextmanager
    def film() -> Iterator[list[Frame]]:
        opened.append(True)
        yield [Frame(index, index / 30, image, 0.0) for index, image in shade.items()]

    meta = {"fps": 30.0, "image_size": (640, 360), "fov_deg": 60.0}
    seen = (2, 3, 7, 14)
    exporter = create_exporter(tmp_path / "a.rrd", overwrite=False, meta=meta, film=film)
    for index in seen:
        exporter.add(picture(index)[1][0])
    exporter.close()
    assert opened == [True], "the film is read once"
    found = read(tmp_path / "a.rrd")
    person = picture(0)[1][0].person_id
    joints = found[f"/world/people/{person}/joints"]["Points3D:positions"]
    assert sorted(row[0] for row in joints) == list(seen), "whatever the film has lost"
    pictures = sorted(found["/world/camera/image"]["EncodedImage:blob"])
    assert [row[0] for row in pictures] == list(shade)
    for index, moment, blob in pictures:
        assert moment == pytest.approx(index / 30)
        image = cv2.imdecode(np.frombuffer(bytes(blob[0]), np.uint8), cv2.IMREAD_COLOR)
        assert abs(int(image[100, 100, 1]) - 20 * index) <= 2
    cleared = found[f"/world/people/{person}"]["Clear:is_recursive"]
    assert sorted(row[0] for row in cleared) == [4, 8]


def test_another_films_pictures_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="rerun-sdk, which wants NumPy 2, is not installed")
    frames = [Frame(0, 0.0, np.zeros((90, 160, 3), np.uint8), 0.0)]
    meta = {"fps": 30.0, "image_size": (640, 360), "fov_deg": 60.0}
    path = tmp_path / "a.rrd"
    exporter = create_exporter(path, overwrite=False, meta=meta, film=lambda: nullcontext(frames))
    exporter.add(picture(0)[1][0])
    with pytest.raises(SinkError, match="160x90") as caught:
        exporter.close()
    assert "640x360" in str(caught.value)
    assert not path.exists()


def test_a_film_is_exported_with_its_pictures(
    walk_clip: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    pytest.importorskip("rerun", reason="rerun-sdk, which wants NumPy 2, is not installed")
    words = [str(walk_clip), "--headless", "--weights", str(tiny_weights), "--max-frames", "20"]
    words += ["--start", "1", "--export", "a.rrd", "--export", "a.npz"]
    again = ["a.npz", "b.rrd", "--video", str(walk_clip)]
    for command in (["posemamba_live", *words], ["posemamba_live.export", *again]):
        subprocess.run([sys.executable, "-m", *command], cwd=tmp_path, check=True)
    for name in ("a.rrd", "b.rrd"):
        found = read(tmp_path / name)
        pictures = found["/world/camera/image"]["EncodedImage:blob"]
        assert len(pictures) == 20
        joints = found["/world/people/0/joints"]["Points3D:positions"]
        assert sorted(row[0] for row in joints) == sorted(row[0] for row in pictures)


def test_the_viewer_that_is_opened_sends_no_statistics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By Rerun's own word, whatever the user has set, and nothing of the user's is changed."""
    pytest.importorskip("rerun", reason="rerun-sdk, which wants NumPy 2, is not installed")
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("RUST_LOG", "re_analytics=debug")
    monkeypatch.setenv("FORCE_RERUN_ANALYTICS", "1")
    monkeypatch.delenv("CI", raising=False)
    before = dict(os.environ)
    command = [sys.executable, "-m", "rerun", "--version"]
    done = subprocess.run(
        command, env=quiet_environment(), capture_output=True, text=True, check=True
    )
    assert "Analytics disabled" in done.stderr
    assert dict(os.environ) == before


def test_poses_of_packed_rows_are_taken_too(tmp_path: Path) -> None:
    rerun = pytest.importorskip("rerun", reason="rerun-sdk, which wants NumPy 2, is not installed")
    packed = np.zeros(1, np.dtype([("odd", "u1"), ("joints", "<f4", (17, 3))]))
    assert not packed["joints"][0].flags.aligned
    recording = rerun.RecordingStream("test")
    recording.save(tmp_path / "a.rrd")
    pose = picture(0)[1][0]
    packed["joints"][0] = pose.joints_world
    log = RerunLog(recording, (640, 360), 60.0)
    log.write(0, 0.0, [replace(pose, joints_world=packed["joints"][0])])
    recording.disconnect()
    rows = read(tmp_path / "a.rrd")[f"/world/people/{pose.person_id}/joints"]
    np.testing.assert_allclose(rows["Points3D:positions"][0][2], pose.joints_world)


def test_who_has_gone_is_cleared_and_pictures_are_compressed(tmp_path: Path) -> None:
    rerun = pytest.importorskip("rerun", reason="rerun-sdk, which wants NumPy 2, is not installed")
    path = tmp_path / "a.rrd"
    recording = rerun.RecordingStream("test")
    recording.save(path)
    log = RerunLog(recording, (640, 360), 60.0)
    image = np.full((360, 640, 3), 90, np.uint8)
    pose = picture(0)[1][0]
    log.write(0, 0.0, [pose], image=image, latency_ms=41.5)
    log.write(1, 0.04, [], image=image)
    recording.flush()
    recording.disconnect()
    found = read(path)
    pictures = found["/world/camera/image"]["EncodedImage:blob"]
    assert [row[0] for row in pictures] == [0, 1]
    assert len(bytes(pictures[0][2][0])) < image.nbytes / 20
    cleared = found[f"/world/people/{pose.person_id}"]["Clear:is_recursive"]
    assert [row[0] for row in cleared] == [1]
    assert found["/latency_ms"]["Scalars:scalars"][0][2] == [41.5]


@contextmanager
def receiver() -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """A port on which Rerun's own receiver listens, and its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = (
        "import rerun as rr, sys\n"
        "rec = rr.RecordingStream('server')\n"
        f"print(rec.serve_grpc(grpc_port={port}), flush=True)\n"
        "sys.stdin.read()"
    )
    server = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        assert str(port) in server.stdout.readline()
        yield port, server
    finally:
        server.kill()
        server.wait()


def send(stream: Stream, count: int) -> None:
    # Noise, which JPEG makes large: what waits shall not all fit into the sockets' buffers.
    image = np.random.default_rng(0).integers(0, 256, (360, 640, 3), np.uint8)
    for index in range(count):
        stream.write(Frame(index, index / 30, image, time.monotonic()), picture(index)[1])


def test_a_stream_reaches_who_listens() -> None:
    pytest.importorskip("rerun", reason="rerun-sdk, which wants NumPy 2, is not installed")
    with receiver() as (port, _):
        info = StreamInfo("film.mp4", False, 30.0)
        stream = open_stream(parse_address(f"rerun://127.0.0.1:{port}"), info, people=1)
        send(stream, 10)
        stream.close()
        assert (stream.figures.sent, stream.figures.dropped) == (10, 0)


def test_who_listens_and_then_stops_holds_nobody_up() -> None:
    """Once it hung until the viewer was killed: writing, closing, and the end of the program."""
    pytest.importorskip("rerun", reason="rerun-sdk, which wants NumPy 2, is not installed")
    with receiver() as (port, server):
        code = (
            "import sys, time\n"
            "from posemamba_live import terminal\n"
            "from posemamba_live.address import parse_address\n"
            "from posemamba_live.streams import StreamInfo, open_stream\n"
            "from tests.test_rerun import send\n"
            f"address = parse_address('rerun://127.0.0.1:{port}')\n"
            "stream = open_stream(address, StreamInfo('film.mp4', True, 30.0), people=1)\n"
            "send(stream, 1)\n"
            "print('one', flush=True)\n"
            "sys.stdin.readline()\n"
            "while stream.figures.dropped < 2:\n"
            "    send(stream, 1)\n"
            "stream.close()\n"
            "print('two', flush=True)\n"
            "terminal.finish(0)\n"
        )
        sender = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent,
        )  # fmt: skip
        try:
            assert sender.stdout is not None
            assert sender.stdout.readline() == "one\n"
            server.send_signal(signal.SIGSTOP)
            out, err = sender.communicate("go on\n", timeout=120.0)
        finally:
            sender.kill()
            sender.wait()
    assert (out, err, sender.returncode) == ("two\n", "", 0)


def test_nobody_there_is_told() -> None:
    pytest.importorskip("rerun", reason="rerun-sdk, which wants NumPy 2, is not installed")
    with pytest.raises(SinkError, match=r"cannot stream to rerun://127\.0\.0\.1:1") as caught:
        open_stream(parse_address("rerun://127.0.0.1:1"), StreamInfo("a", True, 30.0), people=1)
    assert "rerun" in caught.value.hint
