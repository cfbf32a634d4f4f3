"""Work in a thread of its own, for which nobody waits without a limit.

FFmpeg's calls answer no signal and may hang: in a network, on a drive that went to sleep.
They are made here; whoever wants their results waits in Python, and can be sent away.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from posemamba_live.errors import SourceError

T = TypeVar("T")

_LOOK_S: Final = 0.25
"""How often somebody who waits looks whether the work still gets on."""
_JOIN_S: Final = 1.0


class Closed(Exception):
    """Raised in the worker's thread by `beat` and `put`: nobody wants the rest."""


class Worker(Generic[T]):
    """Runs `work` in a daemon thread and hands out what it puts, in order.

    Args:
        name: of the thread, and of what is read in messages.
        work: gets this worker; calls `put` for each item and `beat` whenever it gets on.
        capacity: items that may wait to be taken.
        newest: a full worker drops its oldest item instead of waiting.
        patience: seconds without any progress after which `take` gives up; None waits on.
        look: called now and then while somebody waits; what it raises, `take` raises.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[Worker[T]], None],
        *,
        capacity: int = 3,
        newest: bool = False,
        patience: float | None = None,
        look: Callable[[], None] = lambda: None,
    ) -> None:
        self._name = name
        self._work = work
        self._capacity = capacity
        self._newest = newest
        self._patience = patience
        self._look = look
        self._items: deque[T] = deque()
        self._error: Exception | None = None
        self._ended = False
        self._closing = False
        self._changed = threading.Condition()
        self._moved = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=f"read {name}", daemon=True)
        self._thread.start()

    # In the thread.

    def beat(self) -> None:
        """The work has got on, though there is nothing to hand out yet.

        Raises:
            Closed: nobody wants the rest.
        """
        self._moved = time.monotonic()
        if self._closing:
            raise Closed

    def put(self, item: T) -> None:
        """Hand out an item, waiting until there is room for it.

        Raises:
            Closed: nobody wants the rest.
        """
        with self._changed:
            if self._newest and len(self._items) >= self._capacity:
                self._items.popleft()
            while len(self._items) >= self._capacity and not self._closing:
                self._changed.wait()
            self._items.append(item)
            self._changed.notify_all()
        self.beat()

    def _run(self) -> None:
        try:
            self._work(self)
        except Closed:
            pass
        except Exception as error:  # a thread has no caller: `take` hands it on
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    # Outside.

    def take(self) -> T | None:
        """Wait for the next item; None at the end, and after `close`.

        Raises:
            SourceError: nothing moves any more, or `look` has seen too much.
            Exception: what the work has failed with, once, after all its items.
        """
        with self._changed:
            while not self._items and not self._ended and not self._closing:
                self._changed.wait(_LOOK_S)
                try:
                    self._look()
                except SourceError:
                    self._closing = True
                    raise
                still = time.monotonic() - self._moved
                if self._patience is not None and still > self._patience and not self._items:
                    self._closing = True
                    raise SourceError(
                        f"{self._name} does not answer",
                        why=f"nothing could be read for {still:.0f} s",
                        hint="check the drive or the network that it is on",
                    )
            if self._closing:
                return None
            if self._items:
                self._changed.notify_all()
                self._moved = time.monotonic()  # it may have waited for us until now
                return self._items.popleft()
            error, self._error = self._error, None
        if error is not None:
            raise error
        return None

    def close(self) -> None:
        """Send the work away. A call that hangs is left behind, not waited for."""
        with self._changed:
            self._closing = True
            self._items.clear()
            self._changed.notify_all()
        if self._thread is not threading.current_thread():
            self._thread.join(_JOIN_S)
