"""Through Ray's client, `ray://`: from outside of a cluster, which wants a token."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("ray")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Ray's sockets have Linux's names")

STARTS_S = 120.0


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens at."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


@pytest.fixture(scope="module")
def client() -> Iterator[tuple[str, dict[str, str]]]:
    """The address of a cluster of one node of two cores, and the environment of who may join."""
    port, door = free_ports(2)
    # Not pytest's own folder: sockets' names are short.
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    (folder / ".ray").mkdir()
    (folder / ".ray" / "auth_token").write_text(secrets.token_hex(32))
    environment = {name: text for name, text in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"HOME": str(folder), "RAY_USAGE_STATS_ENABLED": "0"}
    server = subprocess.Popen(
        [Path(sys.executable).with_name("ray"), "start", "--head", "--block",
         "--node-ip-address=127.0.0.1", f"--port={port}", f"--ray-client-server-port={door}",
         f"--temp-dir={folder}", "--num-cpus=2", "--include-dashboard=false",
         "--object-store-memory=80000000"],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until = time.monotonic() + STARTS_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", door)).close()
                break
            except OSError:
                assert server.poll() is None, "Ray has ended"
                assert time.monotonic() < until, "Ray does not start"
                time.sleep(0.2)
        yield f"ray://127.0.0.1:{door}", environment
    finally:
        server.terminate()
        try:
            server.wait(60.0)
        finally:
            server.kill()
            shutil.rmtree(folder, ignore_errors=True)


def test_videos_are_lifted_from_outside(
    client: tuple[str, dict[str, str]], walk_clip: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    address, environment = client
    (tmp_path / "in").mkdir()
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(walk_clip, tmp_path / "in" / name)
    (tmp_path / "in" / "bad.mp4").write_bytes(b"no film")
    done = subprocess.run(
        [sys.executable, "-m", "posemamba_live.batch", "in", "--output", "out", "--export", "npz",
         "--weights", str(tiny_weights), "--address", address, "--workers", "2"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240.0,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "2 done" in done.stdout + done.stderr
    assert sorted(path.name for path in (tmp_path / "out").glob("*.npz")) == ["a.npz", "b.npz"]
    assert "Token" not in done.stderr


def test_long_videos_are_asked_how_far_they_are(client: tuple[str, dict[str, str]]) -> None:
    """After some seconds; Ray's client does not know what lets a worker answer meanwhile."""
    address, environment = client
    program = (
        "import sys\n"
        "from posemamba_live.batch.cluster import Cluster, Needs\n"
        "from posemamba_live.batch.engine import Seat\n"
        "with Cluster(Needs(sys.argv[1])) as cluster:\n"
        "    seat = cluster.actor(Seat, int)\n"
        "    answer = cluster.beside(seat.look).remote()\n"
        "    while not cluster.answered([answer], 1.0):\n"
        "        pass\n"
        "    print('frames:', cluster.value(answer))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, address],
        env=environment, capture_output=True, text=True, timeout=240.0,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "frames: 0" in done.stdout
