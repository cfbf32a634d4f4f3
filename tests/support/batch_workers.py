"""Workers for the batch engine that only wait, and jobs for them."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Nap:
    """A job that takes so long."""

    name: str
    seconds: float
    size: int = 1
    deadly: bool = False
    """Whoever does it is killed."""


class Napper:
    """A worker that sleeps."""

    def load(self) -> None:
        pass

    def lift(self, job: Nap) -> str:
        if job.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(job.seconds)
        return job.name

    def frames(self) -> int:
        return 1


class Unready(Napper):
    """A worker that never starts."""

    def load(self) -> None:
        raise RuntimeError("no such weights")
