"""A stage of a run, and how it is waited for."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from posemamba_live.errors import SinkError
from posemamba_live.run.channel import Channel

if TYPE_CHECKING:
    from posemamba_live.run.assembly import Picture
    from posemamba_live.streams import Stream

logger = logging.getLogger(__name__)

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


def until(moment: float) -> float:
    """Seconds until then, on the monotonic clock."""
    return moment - time.monotonic()


def feed(stream: Stream, pictures: Channel[Picture]) -> SinkError | None:
    """Hand a stream its pictures until they end, then close it; returns what made it fail."""
    failed = None
    try:
        for picture in pictures:
            stream.write(picture.frame, picture.poses)
        stream.close()
    except Exception as error:
        pictures.abandon()
        what = f"streaming to {stream.figures.url} failed"
        logger.debug("%s", what, exc_info=error)
        failed = SinkError(what, why=f"{type(error).__name__}: {error}")
    stream.figures.dropped += pictures.lost
    return failed
