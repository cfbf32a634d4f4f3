"""Starts the program with stand-ins in a tenth of the time: forks of a process with all imported.

Importing takes seconds of processor time, and tests of how runs end need many runs. Each is a
process of its own, with its own signals, limits and descriptors; see `stand_ins` for what it does.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parent.parent.parent
_MOST: Final = 65536


def environment() -> dict[str, str]:
    """For programs that use this checkout."""
    path = os.pathsep.join(map(str, (ROOT, ROOT / "app", ROOT / "models")))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


class Nursery:
    """Where processes come from; `close` it in the end."""

    def __init__(self) -> None:
        self._socket, other = socket.socketpair()
        with other:
            command = [sys.executable, "-m", "tests.support.nursery", str(other.fileno())]
            self._parent = subprocess.Popen(
                command, env=environment(), cwd=ROOT, pass_fds=[other.fileno()]
            )
        self._codes: dict[int, int] = {}
        self._rest = b""

    def start(
        self,
        stand_in: Mapping[str, Any],
        arguments: Sequence[str],
        *,
        folder: Path,
        limits: Mapping[str, int] | None = None,
        stdout: int | None,
        stderr: int | None,
    ) -> Process:
        """Run the program in a folder.

        Args:
            limits: bytes by the names of `resource.RLIMIT_*`.
            stdout, stderr: descriptors; None closes them. They are closed here.
        """
        given = [number for number in (stdout, stderr) if number is not None]
        order = {
            "argv": ["stand_ins", json.dumps(stand_in), *arguments],
            "cwd": str(folder),
            "limits": dict(limits or {}),
            "stdout": stdout is not None,
            "stderr": stderr is not None,
        }
        socket.send_fds(self._socket, [json.dumps(order).encode()], given)
        for number in given:
            os.close(number)
        while True:
            word, value = self._hear()
            if word == "started":
                return Process(self, value)

    def code(self, pid: int) -> int | None:
        """How a process ended, as in subprocess.Popen; None while it runs."""
        while pid not in self._codes and select.select([self._socket], [], [], 0)[0]:
            self._hear()
        return self._codes.get(pid)

    def close(self) -> None:
        self._socket.close()
        self._parent.wait(60.0)

    def _hear(self) -> tuple[str, int]:
        while b"\n" not in self._rest:
            news = self._socket.recv(_MOST)
            if not news:
                raise RuntimeError("the nursery has died")
            self._rest += news
        line, self._rest = self._rest.split(b"\n", 1)
        word, pid, *code = line.decode().split()
        if word == "ended":
            self._codes[int(pid)] = int(code[0])
        return word, int(pid)


class Process:
    """What tests need of subprocess.Popen."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self.pid = pid
        self._nursery = nursery

    def poll(self) -> int | None:
        return self._nursery.code(self.pid)

    def wait(self, timeout: float) -> int:
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("stand_ins", timeout)
            time.sleep(0.01)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _serve(orders: socket.socket) -> None:
    import posemamba_live.cli
    import posemamba_live.lifting.factory
    import posemamba_live.run.watch
    import posemamba_live.sinks.recorder
    import posemamba_live.sources.network
    import posemamba_live.wiring  # noqa: F401

    children: set[int] = set()
    while True:
        if select.select([orders], [], [], 0.02)[0]:
            data, given, _, _ = socket.recv_fds(orders, _MOST, 2)
            if not data:
                for pid in children:
                    os.kill(pid, signal.SIGKILL)
                return
            pid = os.fork()
            if pid == 0:
                orders.close()
                _live(json.loads(data), given)
            for number in given:
                os.close(number)
            children.add(pid)
            orders.sendall(f"started {pid}\n".encode())
        for pid in list(children):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                children.discard(pid)
                orders.sendall(f"ended {pid} {os.waitstatus_to_exitcode(status)}\n".encode())


def _live(order: dict[str, Any], given: list[int]) -> None:
    """The child: as if the program had just been started."""
    code = 1
    try:
        os.chdir(order["cwd"])
        for number, name in ((1, "stdout"), (2, "stderr")):
            os.close(number)
            stream: Any = None
            if order[name]:
                os.dup2(given[0], number)
                os.close(given.pop(0))
                stream = io.TextIOWrapper(io.FileIO(number, "w", closefd=False), write_through=True)
            setattr(sys, name, stream)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for name, size in order["limits"].items():
            resource.setrlimit(getattr(resource, name), (size, size))
        sys.argv = order["argv"]
        from tests.support.stand_ins import main

        main()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as orders:
        _serve(orders)
