"""What strangers may take of a WebSocket server: so many connections, so many bytes.

Both are checked before anything is parsed, so that who exceeds them costs next to nothing:
connections when they are accepted, bytes when they arrive.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from typing import Any, Final

from websockets.asyncio.server import ServerConnection
from websockets.frames import CloseCode
from websockets.protocol import State

logger = logging.getLogger(__name__)

MAX_CONNECTIONS: Final = 64
"""Accepted at once: clients, and those that have not said yet what they want."""
BACKLOG: Final = 64
"""Connections that the system accepts in one go; they hold a descriptor before they are counted."""
_SHARE: Final = 8
"""Of the descriptors that a process may have, one in so many; the others are the run's."""
BURST: Final = 4096
"""Bytes that a client may send at once: some thousand times what an answer to a ping takes."""
RATE: Final = 512.0
"""Bytes that it may send per second in the long run."""
_REQUEST: Final = 16 * 1024
"""Bytes of a request: browsers send less than 2 kB."""
_LAST_WORDS_S: Final = 0.5
"""Seconds in which somebody who is sent away can still read why."""
_LONGEST_METHOD: Final = 16
_NOT_ALLOWED: Final = (
    b"HTTP/1.1 405 Method Not Allowed\r\nAllow: GET, HEAD\r\nContent-Length: 0\r\n"
    b"Connection: close\r\n\r\n"
)


class Gate:
    """Counts the connections of one server. All methods belong to its event loop's thread.

    Args:
        name: of the stream, for the log.
        limit: connections at once; by default MAX_CONNECTIONS, fewer where a process may
            have few descriptors.
    """

    def __init__(self, name: str, limit: int | None = None) -> None:
        self._name = name
        self._limit = limit or _default_limit()
        self._silent: dict[Guarded, None] = {}
        """Accepted, but no clients yet; the oldest first."""
        self._clients: set[Guarded] = set()
        self._told = False

    def enter(self, connection: Guarded) -> bool:
        """Whether there is room; if need be, whoever has been silent for longest makes it."""
        if len(self._silent) + len(self._clients) >= self._limit:
            self._tell(f"more than {self._limit} connections; those that say nothing are closed")
            oldest = next(iter(self._silent), None)
            if oldest is None:
                return False
            self.leave(oldest)
            oldest.transport.abort()
        self._silent[connection] = None
        return True

    def become_client(self, connection: Guarded) -> None:
        """Its handshake is done."""
        if connection in self._silent:
            del self._silent[connection]
            self._clients.add(connection)

    def leave(self, connection: Guarded) -> None:
        self._silent.pop(connection, None)
        self._clients.discard(connection)

    def sent_away(self) -> None:
        """Somebody has exceeded the budget."""
        self._tell("a receiver that sends too much was sent away")

    def handle(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """For `loop.set_exception_handler`: what strangers do to sockets is no error of a run."""
        error = context.get("exception")
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            self._tell("no descriptors are left for further receivers")
        logger.debug("%s: %s", self._name, context.get("message"), exc_info=error)

    def _tell(self, what: str) -> None:
        """One warning for all that strangers do; more would let them fill a disk."""
        if not self._told:
            self._told = True
            logger.warning("%s: %s", self._name, what)


class Guarded(ServerConnection):
    """A connection with a gate before it and a budget of bytes."""

    def __init__(self, gate: Gate, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.head = False
        """Whether only the head of an answer is wanted."""
        self._gate = gate
        self._refused = False
        self._made = False
        self._start: bytes | None = b""
        """Of the request, until its method is known."""
        self._request = 0
        self._budget = float(BURST)
        self._counted_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._refused = not self._gate.enter(self)
        if self._refused:
            assert isinstance(transport, asyncio.Transport)
            transport.abort()
            return
        self._made = True
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._gate.leave(self)
        if self._made:
            super().connection_lost(exc)

    def eof_received(self) -> None:
        if self._made and not self._refused:
            super().eof_received()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self.protocol.state is State.CONNECTING:
            self._request += len(data)
            if self._request > _REQUEST:
                self._refuse()
                return
            known = self._with_method(data)
            if known:
                super().data_received(known)
            return
        now = self.loop.time()
        earned = RATE * (now - self._counted_at) if self._counted_at else 0.0
        self._counted_at = now
        self._budget = min(self._budget + earned, BURST) - len(data)
        if self._budget < 0.0:
            self._gate.sent_away()
            self.protocol.fail(CloseCode.POLICY_VIOLATION, "nothing is expected from clients")
            self.send_data()
            self._refuse()
            return
        super().data_received(data)

    def _with_method(self, data: bytes) -> bytes:
        """The data as a GET, which is all that the library knows; nothing while there is too
        little of it, and where the method is another one, which is answered here."""
        if self._start is None:
            return data
        data = self._start + data
        method, space, rest = data.partition(b" ")
        if not space and len(data) < _LONGEST_METHOD and b"\n" not in data:
            self._start = data
            return b""
        self._start = None
        if method == b"HEAD":
            self.head = True
            return b"GET " + rest
        if space and method != b"GET" and method.isalpha() and method.isupper():
            self.transport.write(_NOT_ALLOWED)
            self._refuse()
            return b""
        return data

    def _refuse(self) -> None:
        """Read no more, and end the connection when the last words have had time to arrive."""
        self._refused = True
        self.transport.pause_reading()
        self.loop.call_later(_LAST_WORDS_S, self.transport.abort)


def _default_limit() -> int:
    try:
        import resource
    except ImportError:  # Windows, where sockets are no descriptors
        return MAX_CONNECTIONS
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(4, min(MAX_CONNECTIONS, most // _SHARE))
