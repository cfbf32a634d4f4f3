"""What Ctrl-C, and whoever else wants the program to end, does to a run."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final

from posemamba_live.errors import EXIT_INTERRUPTED

GRACE_S: Final = 5.0
"""From the first signal to the end of the process, whatever hangs."""
_RESERVE_S: Final = 0.3
"""Of these, for the last words."""
_PATIENCE: Final = 3
"""So many signals are not waited for."""


class Interrupts:
    """Ctrl-C, SIGTERM and a closed terminal, from `__enter__` to `__exit__`.

    Before `run_begins` they end the process there and then: while parts are loading there is
    nothing to save, and an exception in the middle of an import leaves locks behind. After it
    the first one calls `interrupt`; when the run has not come to its end GRACE_S later, or at the
    third signal, `give_up` says what is left and the process ends. After `run_ended` they end it.

    Signals are answered by a thread: the main one may hang in a call that never comes back.
    Handlers belong to the main thread; in any other one nothing is changed.
    """

    def __init__(self) -> None:
        self._numbers: list[int] = []
        self._before: dict[int, Any] = {}
        self._wakeup_before = -1
        self._in: socket.socket | None = None
        self._out: socket.socket | None = None
        self._interrupt: Callable[[], None] | None = None
        self._give_up: Callable[[], None] = lambda: None
        self._ended = False
        self._count = 0
        self._first_at = 0.0

    def run_begins(self, interrupt: Callable[[], None], give_up: Callable[[], None]) -> None:
        """From here on there is something to save.

        Args:
            interrupt: tells the run to end. Called from another thread.
            give_up: tells the user what is kept although the run did not end. Likewise.
        """
        self._give_up, self._interrupt = give_up, interrupt

    def run_ended(self) -> None:
        """All has been said: only the parts are still to be closed."""
        self._ended = True

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is not threading.main_thread():
            return self
        self._out, self._in = socket.socketpair()
        self._in.setblocking(False)
        threading.Thread(
            target=self._answer, args=(self._out,), name="signals", daemon=True
        ).start()
        self._wakeup_before = signal.set_wakeup_fd(self._in.fileno(), warn_on_full_buffer=False)
        # What there is of these depends on the platform; nohup has SIGHUP ignored, and means it.
        self._numbers = [
            number
            for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
            if (number := getattr(signal, name, None)) is not None
            and signal.getsignal(number) is not signal.SIG_IGN
        ]
        # The thread has heard of it: here it only must not do what it does by default.
        self._before = {n: signal.signal(n, lambda signum, frame: None) for n in self._numbers}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._in is not None and self._out is not None:
            signal.set_wakeup_fd(self._wakeup_before)
            self._in.close()  # the thread reads an end
            self._in = None

    def _answer(self, pipe: socket.socket) -> None:
        with pipe:
            while True:
                left = self._first_at + GRACE_S - _RESERVE_S - time.monotonic()
                pipe.settimeout(max(left, 0.0) if self._count else None)
                try:
                    numbers = pipe.recv(64)
                except (TimeoutError, BlockingIOError):
                    self._leave()
                except OSError:
                    return
                if not numbers:
                    return
                for number in numbers:
                    if number in self._numbers:
                        self._signal()

    def _signal(self) -> None:
        self._count += 1
        if self._count == 1:
            self._first_at = time.monotonic()
            if self._interrupt is not None:
                self._interrupt()
        if self._interrupt is None or self._ended or self._count >= _PATIENCE:
            self._leave()

    def _leave(self) -> None:
        if self._interrupt is None:
            with contextlib.suppress(OSError):
                os.write(2, b"error: interrupted before anything was done\n")
        elif not self._ended:  # not even the last words may hang: a terminal that takes none
            last = threading.Thread(target=self._give_up, daemon=True)
            last.start()
            last.join(_RESERVE_S)
        os._exit(EXIT_INTERRUPTED)
