"""A WebSocket server for any number of receivers, and a page that shows the skeleton.

Clients choose the form by subprotocol: `posemamba.json.v1` (also who asks for none) or
`posemamba.binary.v1`; `wire` describes both. A plain GET of the same address answers with
`page.html`. The event loop runs in a thread of its own, since clients come and go on their
own time; `write` only hands it the newest picture.

What keeps a receiver from doing harm:

* Nothing waits for it. While it has not taken one picture the next ones are left out, so that
  it gets the newest as soon as it can take one again; of a file, whose pictures come in
  bursts, FILE_LIMIT bytes may wait. One that takes nothing for STALLED_S is disconnected.
* A web page from elsewhere cannot read the poses: a browser says which site a page is from
  (Origin), and that has to be this server, or a site that was allowed. A name that somebody
  else has pointed at this machine (DNS rebinding) shows in the Host header and is refused.
* Nothing is expected from clients: what they send is thrown away, and who sends more than a
  little, or a long message, is sent away. Connections are counted when they are accepted
  (`guard`), and who says nothing makes room for others.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from http import HTTPStatus
from importlib import resources
from typing import Final
from urllib.parse import urlsplit

from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from posemamba_live.address import StreamAddress
from posemamba_live.errors import SinkError
from posemamba_live.streams import wire
from posemamba_live.streams.base import StreamFigures, StreamInfo, is_loopback, resolve
from posemamba_live.streams.guard import BACKLOG, Gate, Guarded
from posemamba_live.types import Frame, Pose3D

logger = logging.getLogger(__name__)

JSON: Final = Subprotocol("posemamba.json.v1")
BINARY: Final = Subprotocol("posemamba.binary.v1")
STALLED_S: Final = 10.0
"""Seconds after which somebody who takes nothing is sent away."""
MAX_CLIENTS: Final = 32
FILE_LIMIT: Final = 64 * 1024
"""Bytes of a file's pictures that may wait for one client."""
_SEND_BUFFER: Final = 32 * 1024
"""Bytes that the system may hold for one client: old pictures are worth nothing."""
_MAX_INCOMING: Final = 1024
_FLUSH_S: Final = 0.5
_CLOSE_S: Final = 2.0
_GOODBYE_S: Final = 1.0
_PAGE_HEADERS: Final = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data:; connect-src 'self' ws: wss:; "
    "frame-ancestors 'none'; base-uri 'none'",
}


@dataclass(frozen=True)
class _Message:
    """One picture; each form is made when the first client that wants it can take it."""

    frame: Frame
    poses: Sequence[Pose3D]

    @cached_property
    def json(self) -> str:
        return wire.to_json(self.frame, self.poses)

    @cached_property
    def binary(self) -> bytes:
        return wire.to_binary(self.frame, self.poses)


@dataclass(eq=False, slots=True)
class _Client:
    """One receiver, as the event loop's thread sees it."""

    connection: ServerConnection
    stalled_at: float | None = None
    """When it took the last byte, by the loop's clock; None while it keeps up."""

    @property
    def behind(self) -> int:
        """Bytes that it has not taken, beyond what the system holds for it."""
        return self.connection.transport.get_write_buffer_size()


class WebSocketStream:
    """Listens from the start on, until closed.

    Args:
        address: where to listen; port 0 takes a free one.
        info: for the header.
        stalled_s: see STALLED_S.

    Raises:
        SinkError: the port is taken, or the host is not this machine.
    """

    def __init__(
        self, address: StreamAddress, info: StreamInfo, *, stalled_s: float = STALLED_S
    ) -> None:
        listener = _listen(address)
        bound, self.port = listener.getsockname()[:2]
        self._loopback = is_loopback(bound)
        self._names = {"localhost", address.host.lower(), *address.hosts}
        if not self._loopback:
            name = socket.gethostname().lower()
            self._names |= {name, f"{name}.local"}
        self._origins = {origin.lower() for origin in address.origins}
        self._header = wire.header(info)
        self._limit = 0 if info.live else FILE_LIMIT
        self._stalled_s = stalled_s
        self._page = (
            resources.files("posemamba_live.streams")
            .joinpath("page.html")
            .read_text(encoding="utf-8")
        )
        self._figures = StreamFigures(str(address))
        self._clients: set[_Client] = set()
        self._gate = Gate(str(address))
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(self._gate.handle)
        self._ending = asyncio.Event()
        self._thread = threading.Thread(
            target=self._run, args=(listener,), name=f"serve {address}", daemon=True
        )
        self._thread.start()

    @property
    def figures(self) -> StreamFigures:
        return self._figures

    def write(self, frame: Frame, poses: Sequence[Pose3D]) -> None:
        """Offer one picture to every client that is there."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._offer, _Message(frame, poses))

    def close(self) -> None:
        """Send what waits, say good-bye, and stop listening."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join()

    # Everything below runs in the event loop's thread.

    def _run(self, listener: socket.socket) -> None:
        try:
            self._loop.run_until_complete(self._serve(listener))
        except Exception as error:  # a thread has no caller: told with the figures
            logger.debug("%s ended", self._figures.url, exc_info=error)
            self._figures.trouble = f"{type(error).__name__}: {error}"
        finally:
            self._loop.close()

    async def _serve(self, listener: socket.socket) -> None:
        server = await serve(
            self._attend,
            sock=listener,
            process_request=self._answer,
            select_subprotocol=_choose,
            compression=None,  # costs each client's memory and the pipeline's processor
            max_size=_MAX_INCOMING,
            close_timeout=_CLOSE_S,
            server_header=None,
            logger=_silent(),
            create_connection=partial(Guarded, self._gate),  # type: ignore[arg-type]
            backlog=BACKLOG,
        )
        await self._ending.wait()
        deadline = self._loop.time() + _FLUSH_S
        while any(c.behind for c in self._clients) and self._loop.time() < deadline:
            await asyncio.sleep(0.01)
        server.close()
        # Browsers open connections ahead, and some clients never answer: left behind.
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(server.wait_closed(), _GOODBYE_S)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _offer(self, message: _Message) -> None:
        """Send to everybody who can take it now: this never waits."""
        now = self._loop.time()
        for client in self._clients:
            if client.behind <= self._limit:
                client.stalled_at = None
                binary = client.connection.subprotocol == BINARY
                broadcast([client.connection], message.binary if binary else message.json)
                self._figures.sent += 1
                continue
            self._figures.dropped += 1
            if client.stalled_at is None:
                client.stalled_at = now
            elif now - client.stalled_at > self._stalled_s:
                logger.info("%s: a receiver takes nothing; sent away", self._figures.url)
                client.connection.transport.abort()

    async def _attend(self, connection: ServerConnection) -> None:
        """From a client's coming to its going."""
        assert isinstance(connection, Guarded)
        self._gate.become_client(connection)
        if len(self._clients) >= MAX_CLIENTS:
            await connection.close(1013, "too many receivers")
            return
        client = _Client(connection)
        try:
            await connection.send(self._header)
            self._clients.add(client)
            self._figures.receivers = max(self._figures.receivers, len(self._clients))
            async for _ in connection:  # nothing is expected; reading shows that it has gone
                pass
        except ConnectionClosed:
            pass
        finally:
            self._clients.discard(client)

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """None lets a WebSocket in; anything else is answered and closed."""
        host = _only(request, "Host")
        if host is None or not self._is_us(host):
            return connection.respond(
                HTTPStatus.FORBIDDEN, "This address does not belong to this stream.\n"
            )
        if request.path.partition("?")[0] != "/":
            return connection.respond(HTTPStatus.NOT_FOUND, "There is only /.\n")
        if "websocket" in (_only(request, "Upgrade") or "").lower():
            if request.headers.get_all("Origin") and not self._may_read(request, host):
                return connection.respond(
                    HTTPStatus.FORBIDDEN,
                    "Pages of other sites may not read this stream; "
                    "--stream 'ws://...?origin=SITE' allows one.\n",
                )
            return None
        response = connection.respond(HTTPStatus.OK, self._page)
        for name, value in _PAGE_HEADERS.items():
            if name in response.headers:
                del response.headers[name]
            response.headers[name] = value
        if isinstance(connection, Guarded) and connection.head:
            response.body = b""
        return response

    def _is_us(self, host: str) -> bool:
        """An address, or a name that is known to be ours: not one that anybody may choose."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
            if name in self._names:
                return True
            number = ipaddress.ip_address(name)
        except ValueError:
            return False
        return number.is_loopback or not self._loopback

    def _may_read(self, request: Request, host: str) -> bool:
        origin = (_only(request, "Origin") or "").lower()
        own = {f"http://{host.lower()}", f"https://{host.lower()}"}
        return origin in own | self._origins


def _listen(address: StreamAddress) -> socket.socket:
    family, where = resolve(address.host, address.port, socket.SOCK_STREAM)
    try:
        both = where[0] == "::" and socket.has_dualstack_ipv6()
        listener = socket.create_server(where, family=family, dualstack_ipv6=both)
    except OSError as error:
        raise SinkError(
            f"cannot listen on {address}",
            why=str(error.strerror or error),
            hint="another port (--stream ws://localhost:8770), and a host of this machine",
        ) from error
    # Connections inherit it. What the system holds is sent before anything newer.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
    if not is_loopback(listener.getsockname()[0]):
        logger.warning(
            "%s: everybody who reaches this machine %scan read the poses",
            address,
            {"::": "by IPv6 or IPv4 " if both else "by IPv6 ", "0.0.0.0": "by IPv4 "}.get(
                str(where[0]), ""
            ),
        )
    return listener


def _choose(connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """The first form that the client names and that we know."""
    return next((name for name in offered if name in (JSON, BINARY)), None)


def _only(request: Request, name: str) -> str | None:
    """A header that may be there once; None if it is missing or there are several."""
    values = request.headers.get_all(name)
    return values[0] if len(values) == 1 else None


def _silent() -> logging.Logger:
    """For the library: what strangers send to an open port is no error of this run."""
    silent = logging.getLogger("posemamba_live.streams.websockets")
    silent.setLevel(logging.CRITICAL)
    return silent
