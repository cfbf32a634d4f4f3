"""Ray: workers that come and go, each with one job at a time, and whose jobs are tried again.

Plain actors, not Ray Data: that tries the work of a killed actor again without an end, or fails
all of it, where here a video that kills its worker has to be told from a node that went away; and
not `ray.util.ActorPool`, which goes on handing work to actors that have died. What is left to do
by hand is to hand out, and to wait.

Frames never go through the object store: a job and what became of it are a few hundred bytes.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Protocol, TypeVar

from posemamba_live.batch.cluster import Cluster
from posemamba_live.errors import LiveError, describe

logger = logging.getLogger(__name__)

RETRIES: Final = 2
"""How often a job whose worker was killed is tried again."""
_MOST_LOSSES: Final = 20
"""Workers that a job may lose, with nodes that go away counted too."""
_TICK_S: Final = 0.2
_LOOK_S: Final = 2.0
"""Between two looks at what the cluster has."""
_FAILED_STARTS: Final = 3
"""Workers that cannot start, one after another, with none that can: nothing will come of it."""
_LONELY_S: Final = 120.0
"""Without a worker, until somebody is told."""
_PATIENCE_S: Final = 30.0
"""After failed starts, until more are tried."""
_DEEP: Final = 4
"""With more jobs than so many for each worker, each gets its next one before it needs it."""
_LONG_S: Final = 5.0
"""A job that has gone on for so long is asked how far it is."""


class Sized(Protocol):
    """A job, of which the engine knows how large it is."""

    @property
    def size(self) -> int: ...


J = TypeVar("J", bound=Sized)


class Worker(Protocol):
    """What does the jobs, in a process of its own."""

    def load(self) -> None:
        """Get ready. A LiveError says that it will never be."""
        ...

    def lift(self, job: Any) -> Any:
        """Do a job; what fails is in what it returns."""
        ...

    def frames(self) -> int:
        """How far the current job is; another thread asks."""
        ...


@dataclass(frozen=True, slots=True)
class Started:
    """Who a worker is, or why it is none."""

    host: str
    process: int
    node: str
    error: str = ""


class Seat:
    """The actor: makes a worker where it is needed, and has nothing else to say."""

    def __init__(self, make: Callable[[], Worker]) -> None:
        self._make = make
        self._worker: Worker | None = None

    def start(self) -> Started:
        import ray

        error = ""
        try:
            worker = self._make()
            worker.load()
            self._worker = worker
        except Exception as failure:  # errors of ours may not survive the way
            error = describe(failure)
        node = ray.get_runtime_context().get_node_id()
        return Started(socket.gethostname(), os.getpid(), node, error)

    def work(self, job: Any) -> Any:
        assert self._worker is not None
        return self._worker.lift(job)

    def look(self) -> int:
        return self._worker.frames() if self._worker is not None else 0


@dataclass(slots=True)
class Ticket(Generic[J]):
    """A job on its way."""

    job: J
    losses: list[str] = field(default_factory=list)
    """Nodes of the workers that were lost with it."""


@dataclass(slots=True)
class Member(Generic[J]):
    """A worker as it is seen from here."""

    actor: Any
    starting: Any
    """What `Seat.start` will answer; None once it has."""
    started: Started | None = None
    tickets: dict[Any, Ticket[J]] = field(default_factory=dict)
    """By what they will answer, in the order in which they are done."""
    busy_since: float = 0.0
    looking: Any = None
    frames: int = 0
    """Of the current job, as they were last heard of."""


@dataclass(frozen=True, slots=True)
class Answer(Generic[J]):
    """What became of a job."""

    job: J
    outcome: Any
    """What the worker returned; None where no worker could do it."""
    error: str
    worker: Started | None


class Engine(Generic[J]):
    """Does jobs on a cluster, the largest first.

    Args:
        cluster: open.
        make: makes a worker, in its own process.
        told: takes what became of each job, as soon as it is known.
        note: takes what somebody should know.
    """

    def __init__(
        self,
        cluster: Cluster,
        make: Callable[[], Worker],
        told: Callable[[Answer[J]], None],
        note: Callable[[str], None],
    ) -> None:
        self._cluster = cluster
        self._make = make
        self._told = told
        self._note = note
        self._queue: deque[Ticket[J]] = deque()
        self._members: list[Member[J]] = []
        self._failed_starts = 0
        self._hold_until = 0.0
        self._looked = 0.0
        self._wanted = 0
        self._lonely_since: float | None = None

    @property
    def workers(self) -> int:
        """How many are ready."""
        return sum(member.started is not None for member in self._members)

    @property
    def frames(self) -> int:
        """Of jobs that are not done yet."""
        return sum(member.frames for member in self._members)

    def run(
        self,
        jobs: Sequence[J],
        stopping: Callable[[], bool],
        tick: Callable[[], None] = lambda: None,
    ) -> list[J]:
        """Do the jobs; returns those that were not done because `stopping` said so.

        Raises:
            LiveError: no worker can start, or the cluster has gone.
        """
        self._queue.extend(Ticket(job) for job in sorted(jobs, key=lambda job: -job.size))
        try:
            while (self._queue or self._busy) and not stopping():
                self._look_around()
                self._hand_out()
                self._wait()
                tick()
            waiting = [ticket.job for member in self._busy for ticket in member.tickets.values()]
            return [*waiting, *(ticket.job for ticket in self._queue)]
        finally:
            for member in self._members:
                self._cluster.kill(member.actor)
            self._members.clear()

    @property
    def _busy(self) -> list[Member[J]]:
        return [member for member in self._members if member.tickets]

    def _look_around(self) -> None:
        """Have as many workers as there is room for, and work."""
        now = time.monotonic()
        if now - self._looked >= _LOOK_S:
            self._looked = now
            self._wanted = self._cluster.room()
            self._ask_for_frames(now)
        needed = len(self._queue) + len(self._busy)
        while len(self._members) < min(self._wanted, needed) and now >= self._hold_until:
            actor = self._cluster.actor(Seat, self._make)
            self._members.append(Member(actor, actor.start.remote()))
        idle = [m for m in self._members if m.started is not None and not m.tickets]
        if not self._queue:
            for member in idle:  # a node that nobody needs may go
                self._cluster.kill(member.actor)
                self._members.remove(member)
        if self.workers:
            self._lonely_since = None
        elif self._lonely_since is None:
            self._lonely_since = now
        elif now - self._lonely_since > _LONELY_S:
            self._lonely_since = float("inf")  # once
            self._note(self._cluster.why_nobody())

    def _ask_for_frames(self, now: float) -> None:
        for member in self._busy:
            if member.looking is None and now - member.busy_since > _LONG_S:
                member.looking = self._cluster.beside(member.actor.look).remote()

    def _hand_out(self) -> None:
        ready = [member for member in self._members if member.started is not None]
        depth = 2 if len(self._queue) > _DEEP * len(ready) else 1
        for level in range(depth):
            for member in ready:
                if self._queue and len(member.tickets) == level:
                    ticket = self._queue.popleft()
                    if not level:
                        member.busy_since = time.monotonic()
                    member.tickets[member.actor.work.remote(ticket.job)] = ticket

    def _wait(self) -> None:
        """Wait a moment for answers, and take all that are there.

        Through a client (ray://) the answers that are there are other objects, equal to those
        that were waited for.
        """
        owners: dict[Any, Member[J]] = {}
        for member in self._members:
            if member.starting is not None:
                owners[member.starting] = member
            if member.looking is not None:
                owners[member.looking] = member
            owners.update(dict.fromkeys(member.tickets, member))
        if not owners:
            time.sleep(_TICK_S)
            return
        for answer in self._cluster.answered(list(owners), _TICK_S):
            member = owners[answer]
            if member in self._members:
                self._take(member, answer)

    def _take(self, member: Member[J], answer: Any) -> None:
        try:
            value = self._cluster.value(answer)
        except self._cluster.Lost as error:
            if answer == member.looking:
                member.looking = None  # who has gone is told of by its jobs
            else:
                self._lose(member, str(error))
            return
        except Exception as error:  # out of a worker's code
            logger.debug("a worker failed", exc_info=error)
            value, failure = None, f"{type(error).__name__}: {error}".strip().splitlines()[-1]
        else:
            failure = ""
        if answer == member.looking:
            member.looking, member.frames = None, value or 0
        elif answer == member.starting:
            started = value or Started("", 0, "", failure)
            member.starting = None
            if started.error:
                self._cannot_start(member, started.error)
            else:
                member.started, self._failed_starts = started, 0
        else:
            ticket = member.tickets.pop(answer)
            member.frames, member.busy_since = 0, time.monotonic()
            self._told(Answer(ticket.job, value, failure, member.started))

    def _lose(self, member: Member[J], why: str) -> None:
        """A worker is no more: what it had done counts, what it was at is tried again."""
        self._members.remove(member)
        self._cluster.kill(member.actor)
        if member.started is None:
            self._cannot_start(None, why)
            return
        guilty = True  # the one that was being done; those behind it were not begun
        again = []
        for answer, ticket in member.tickets.items():
            try:
                self._told(Answer(ticket.job, self._cluster.value(answer), "", member.started))
                continue
            except self._cluster.Lost:
                pass
            if guilty:
                guilty = False
                ticket.losses.append(member.started.node)
                if self._hopeless(ticket):
                    count = len(ticket.losses)
                    error = f"its worker was killed {count} times, the last time so: {_brief(why)}"
                    self._told(Answer(ticket.job, None, error, member.started))
                    continue
            again.append(ticket)
        self._queue.extendleft(reversed(again))
        logger.info("worker %d of %s is gone: %s", member.started.process, member.started.host, why)

    def _hopeless(self, ticket: Ticket[J]) -> bool:
        """Whether a job has cost too many workers: those whose nodes are gone do not count."""
        alive = self._cluster.nodes()
        killed = sum(node in alive for node in ticket.losses)
        return killed > RETRIES or len(ticket.losses) > _MOST_LOSSES

    def _cannot_start(self, member: Member[J] | None, why: str) -> None:
        if member is not None:
            self._members.remove(member)
            self._cluster.kill(member.actor)
        self._failed_starts += 1
        if self._failed_starts < _FAILED_STARTS:
            return
        if not any(other.started is not None for other in self._members):
            raise LiveError("No worker can start", why=_brief(why))
        self._hold_until = time.monotonic() + _PATIENCE_S
        self._note(f"some workers cannot start: {_brief(why)}")


def _brief(text: str) -> str:
    """A library's message, of which the first lines say what it is about."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return "; ".join(lines)[:600]
