"""Datagrams: one per picture, to whoever listens at the address, or nobody."""

from __future__ import annotations

import logging
import socket
from collections.abc import Sequence

from posemamba_live.address import StreamAddress
from posemamba_live.streams import wire
from posemamba_live.streams.base import StreamFigures, resolve
from posemamba_live.types import Frame, Pose3D

logger = logging.getLogger(__name__)


class DatagramSender:
    """Sends to one address, never waits, and never fails: trouble is told once and counted.

    Args:
        host, port: of the receiver.
        figures: kept up to date.

    Raises:
        SinkError: nobody knows the host.
    """

    def __init__(self, host: str, port: int, figures: StreamFigures) -> None:
        family, address = resolve(host, port, socket.SOCK_DGRAM)
        self._figures = figures
        self._address = address
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        # Without it the system refuses every datagram to 192.168.1.255.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        self._connected = False
        figures.receivers += 1

    def send(self, datagram: bytes) -> None:
        """Hand one datagram to the network; if that is impossible now, forget it."""
        try:
            # A connected socket hears of it when nobody listens. Connecting itself fails
            # without a route to the host, which may be there the next time.
            if not self._connected:
                self._socket.connect(self._address)
                self._connected = True
            self._send(datagram)
        except BlockingIOError:
            self._figures.dropped += 1
        except OSError as error:
            self._figures.dropped += 1
            self._tell(error)
        else:
            self._figures.sent += 1

    def _send(self, datagram: bytes) -> None:
        try:
            self._socket.send(datagram)
        except ConnectionRefusedError as error:
            # It is the one before that nobody took; this one has not been sent yet.
            self._figures.sent -= 1
            self._figures.dropped += 1
            self._tell(error)
            self._socket.send(datagram)

    def _tell(self, error: OSError) -> None:
        reason = error.strerror or str(error)
        if not self._figures.trouble:
            logger.warning("%s: %s; going on", self._figures.url, reason)
        self._figures.trouble = reason

    def close(self) -> None:
        self._socket.close()


class UdpStream:
    """Each picture as one datagram, JSON or binary (see `wire`).

    Raises:
        SinkError: nobody knows the host.
    """

    def __init__(self, address: StreamAddress) -> None:
        self._figures = StreamFigures(str(address))
        self._binary = address.format == "binary"
        self._sender = DatagramSender(address.host, address.port, self._figures)

    @property
    def figures(self) -> StreamFigures:
        return self._figures

    def write(self, frame: Frame, poses: Sequence[Pose3D]) -> None:
        """Send one picture."""
        encode = wire.to_binary if self._binary else _json_bytes
        self._sender.send(encode(frame, poses))

    def close(self) -> None:
        self._sender.close()


def _json_bytes(frame: Frame, poses: Sequence[Pose3D]) -> bytes:
    return wire.to_json(frame, poses).encode()
