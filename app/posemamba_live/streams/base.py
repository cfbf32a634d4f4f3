"""What every stream has in common: it takes pictures like any sink, and keeps count."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from typing import Any, Final, Protocol

from posemamba_live.errors import SinkError
from posemamba_live.sinks.base import Sink

DATAGRAM_LIMIT: Final = 1_400
"""Bytes that pass through an Ethernet in one piece, with room for a tunnel's headers."""


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What receivers are told once of the run."""

    source: str
    live: bool
    fps: float
    """Nominal rate of the source."""
    hides_unseen: bool = False
    """Whether joints that nobody has seen for a while are not to be drawn."""


@dataclass(slots=True)
class StreamFigures:
    """How a stream fared; any thread may read it."""

    url: str
    sent: int = 0
    """Messages handed to the network, all receivers together."""
    dropped: int = 0
    """Messages replaced by newer ones before they could be sent."""
    receivers: int = 0
    """Most that there were at once; for datagrams, the addresses that they went to."""
    trouble: str = ""
    """What kept messages from being sent, the last time; empty if nothing did."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "url": self.url,
            "sent": self.sent,
            "dropped": self.dropped,
            "receivers": self.receivers,
            "trouble": self.trouble,
        }


class Stream(Sink, Protocol):
    """A sink that sends each frame away at once, and never waits for who receives it."""

    @property
    def figures(self) -> StreamFigures: ...


def resolve(host: str, port: int, kind: socket.SocketKind) -> tuple[socket.AddressFamily, Any]:
    """Family and socket address of a host, IPv4 if it has both.

    Raises:
        SinkError: nobody knows the host.
    """
    try:
        found = socket.getaddrinfo(host, port, type=kind)
    except (OSError, UnicodeError) as error:
        raise SinkError(
            f"cannot stream to {host}",
            why=str(getattr(error, "strerror", None) or error),
            hint="check the name, or use the address: 192.168.1.20",
        ) from error
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    family, _, _, _, address = found[0]
    return family, address


def is_loopback(address: str) -> bool:
    """Whether a numeric address can only be reached from this machine."""
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback
