"""A stage of a run, and how it is waited for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from posemamba_live.run.channel import Channel

_POLL_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run went."""

    frames: int
    poses: int
    people: int
    interrupted: bool
    errors: tuple[Exception, ...]
    """What failed, in the order of failing; empty if all went well."""
    left_behind: tuple[str, ...] = ()
    """Stages that did not end after an interrupt. Their threads still run: the process should
    end without waiting for them."""
    kept: str = ""
    """Where poses are that are not in all files, and how to get them there."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A thread between two channels."""

    thread: threading.Thread
    inbox: Channel[Any] | None
    outbox: Channel[Any] | None

    @property
    def name(self) -> str:
        return self.thread.name

    def release(self) -> None:
        """Take no more and give no more, so that nobody waits for this stage."""
        if self.inbox is not None:
            self.inbox.abandon()
        if self.outbox is not None:
            self.outbox.close()


def wait(threads: Sequence[threading.Thread], left: Callable[[], float]) -> None:
    """Wait until the threads have ended, or `left` says that no seconds are left."""
    while (alive := [t for t in threads if t.is_alive()]) and (seconds := left()) > 0.0:
        alive[0].join(min(seconds, _POLL_S))


def hanging(names: Sequence[str]) -> str:
    """A sentence on what did not end."""
    found = [name for name in names if name]
    return f"{' and '.join(found)} did not end in time and was left behind" if found else ""
