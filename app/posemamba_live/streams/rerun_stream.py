"""Rerun: pictures, people, camera and plots to a viewer, one that is opened or one elsewhere.

Each picture is handed over before the next is taken, so that a viewer that is slow costs pictures,
which the run counts as dropped, and neither memory nor time of the run.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any, Final

from posemamba_live.address import StreamAddress
from posemamba_live.errors import SinkError
from posemamba_live.sinks.rerun_log import APPLICATION, RerunLog, import_rerun
from posemamba_live.streams.base import StreamFigures, StreamInfo
from posemamba_live.types import Frame, Pose3D

_CONNECT_S: Final = 5.0
_OPENS_S: Final = 30.0
"""For the viewer that is opened here; a cold start takes seconds."""
_HANDED_OVER_S: Final = 2.0
"""For one picture; a viewer that takes longer loses it."""
_MEMORY: Final = "25%"
"""Of the machine's, for the viewer: it forgets the oldest beyond it."""


class RerunStream:
    """Sends to a viewer.

    Args:
        address: `spawn` opens a viewer on this machine.
        info: of the run.

    Raises:
        SinkError: Rerun is not installed, no viewer can be opened, or none answers.
    """

    pictures = True
    """It wants to see what the frames show."""

    def __init__(self, address: StreamAddress, info: StreamInfo) -> None:
        if importlib.util.find_spec("rerun") is None:
            raise SinkError(
                f"cannot stream to {address}",
                why="rerun-sdk is not installed",
                hint="pip install 'posemamba-live[rerun]'",
            )
        rerun = import_rerun()
        rerun.unregister_shutdown()  # it waits for a viewer that reads nothing, without end
        self._figures = StreamFigures(str(address), receivers=1)
        self._fov, self._live = info.fov_deg, info.live
        self._recording: Any = rerun.RecordingStream(APPLICATION)
        self._log: RerunLog | None = None
        self._closed = False
        self._held_up = False
        """Whether the viewer has not taken the last picture yet."""
        try:
            if address.spawn:
                open_viewer(address)
            else:
                with socket.create_connection((address.host, address.port), _CONNECT_S):
                    pass
            host = f"[{address.host}]" if ":" in address.host else address.host
            self._recording.connect_grpc(f"rerun+http://{host}:{address.port}/proxy")
        except Exception as error:
            why = str(getattr(error, "strerror", None) or error)
            raise SinkError(
                f"cannot stream to {address}",
                why=f"no viewer answers: {why}",
                hint="start one with the command rerun, or let --stream rerun open it",
            ) from error

    @property
    def figures(self) -> StreamFigures:
        return self._figures

    def write(self, frame: Frame, poses: Sequence[Pose3D]) -> None:
        """Send one picture with the people in it."""
        if self._held_up and not self._handed_over():
            return  # nothing is added to what waits
        if self._log is None:
            self._log = RerunLog(self._recording, frame.size, self._fov, live=self._live)
        age = 1e3 * (time.monotonic() - frame.captured_at) if self._live else None
        image = frame.image if min(frame.size) > 1 else None
        self._log.write(frame.index, frame.timestamp, poses, image=image, latency_ms=age)
        if self._handed_over():
            self._figures.sent += 1

    def _handed_over(self) -> bool:
        """Whether the viewer has taken what was logged; else a picture counts as dropped."""
        try:
            self._recording.flush(timeout_sec=_HANDED_OVER_S)
        except Exception as error:  # Rerun has several kinds, which versions rename
            self._held_up = True
            self._figures.dropped += 1
            self._figures.trouble = f"{type(error).__name__}: {error}"
            return False
        self._held_up = False
        return True

    def close(self) -> None:
        """Send what is left, within a few seconds. Idempotent."""
        if not self._closed:
            self._closed = True
            # Of itself it waits for a viewer that reads nothing as long as that lives.
            end = threading.Thread(target=self._recording.disconnect, daemon=True)
            end.start()
            end.join(_HANDED_OVER_S)


def open_viewer(address: StreamAddress) -> None:
    """Start Rerun's viewer, which stays when this program ends, and wait until it listens.

    Where one listens already, that one is used.

    Raises:
        OSError: it cannot be started, or does not listen.
    """
    if _listens(address):
        return
    viewer = subprocess.Popen(
        [sys.executable, "-m", "rerun", "--port", str(address.port), "--memory-limit", _MEMORY],
        env=quiet_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the run
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )
    until = time.monotonic() + _OPENS_S
    while not _listens(address):
        if viewer.poll() is not None:
            raise OSError(f"it ended with code {viewer.returncode}; is there a display?")
        if time.monotonic() > until:
            raise OSError(f"it did not open within {_OPENS_S:.0f} s")
        time.sleep(0.05)


def quiet_environment() -> dict[str, str]:
    """The environment for a viewer that tells its makers nothing of its use.

    Rerun's viewer sends statistics but where `CI` is set: a variable of that one process, while
    its own command, `rerun analytics disable`, changes a setting of the user's for good.
    """
    own = {name: text for name, text in os.environ.items() if name != "FORCE_RERUN_ANALYTICS"}
    return {**own, "CI": "true"}


def _listens(address: StreamAddress) -> bool:
    try:
        with socket.create_connection((address.host, address.port), _CONNECT_S):
            return True
    except OSError:
        return False
