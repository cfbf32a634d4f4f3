"""Where poses are streamed to, as the user names it; read before anything is loaded."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import parse_qs, urlsplit

from posemamba_live.errors import UsageError
from posemamba_live.nearest import nearest
from posemamba_live.shown import public

LOOPBACK: Final = "127.0.0.1"
DEFAULT_PORTS: Final = {"osc": 39539, "rerun": 9876, "udp": 8766, "ws": 8765}
"""Scheme to port. 39539 is where receivers of the VMC protocol listen."""
MAX_PORT: Final = 65535
FORMATS: Final = ("json", "binary")
PLACES: Final = ("start", "camera")
_HINT: Final = "osc://HOST:39539 (VMC), ws://localhost:8765, udp://HOST:8766 or rerun"
_SCHEMES: Final = "osc://, ws://, udp:// or rerun://"
_HOST_AND_PORT: Final = re.compile(r"[A-Za-z0-9.-]{1,253}:\d{1,5}")
_ORIGIN: Final = re.compile(r"https?://[^/?#\s]+")
_HOST: Final = re.compile(r"[a-z0-9.-]{1,253}")


@dataclass(frozen=True, slots=True)
class StreamAddress:
    """One `--stream`, taken apart."""

    scheme: str
    """A key of DEFAULT_PORTS."""
    host: str
    """A name, or an address without brackets."""
    port: int
    format: str = "json"
    """Of FORMATS; only `udp` knows both (a WebSocket client chooses for itself)."""
    place: str = "start"
    """Of PLACES, for `osc`: the origin is where the first person first stood, or the camera."""
    origins: tuple[str, ...] = ()
    """Web sites whose pages may read a `ws` stream besides its own page."""
    hosts: tuple[str, ...] = ()
    """Names, in lower case, that a `ws` stream answers to besides its own: a proxy's."""

    spawn: bool = False
    """For `rerun` without a host: a viewer is opened on this machine."""

    @property
    def page(self) -> str:
        """What to open in a browser on this machine."""
        here = self.host in (LOOPBACK, "0.0.0.0", "::")
        url = str(replace(self, host="localhost") if here else self)
        return url.replace("ws:", "http:", 1)

    def __str__(self) -> str:
        if self.spawn:
            return self.scheme
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def _meant(url: str, scheme: str) -> str:
    """The address that is nearest to what was given."""
    rest = url.partition("://")[2] if "://" in url else url
    if scheme in ("http", "https", "wss"):
        return f"did you mean {public(f'ws://{rest}')}? The page in a browser comes of itself"
    if url in DEFAULT_PORTS:
        return f"did you mean {url}://localhost:{DEFAULT_PORTS[url]}?"
    found = nearest(scheme, DEFAULT_PORTS) if "://" in url else None
    if found is not None:
        return f"did you mean {public(f'{found}://{rest}')}?"
    if "://" not in url and _HOST_AND_PORT.fullmatch(url):
        return f"did you mean ws://{url}, osc://{url} or udp://{url}?"
    return _HINT


def parse_address(url: str) -> StreamAddress:
    """Read what was given as `--stream`. Host and port may be left out.

    Raises:
        UsageError: it cannot be meant.
    """
    if url == "rerun":
        return StreamAddress(url, LOOPBACK, DEFAULT_PORTS[url], spawn=True)
    what = f"--stream {public(url)} is not an address to stream to"
    try:
        parts = urlsplit(url)
        given = parts.port
        query = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:  # its text quotes parts of the address, which may be a password's
        raise UsageError(
            what, why="its host, port or settings cannot be read", hint=_HINT
        ) from None
    if parts.scheme not in DEFAULT_PORTS or not url.startswith(f"{parts.scheme}://"):
        raise UsageError(
            what, why=f"it has to begin with {_SCHEMES}", hint=_meant(url, parts.scheme)
        )
    if parts.path not in ("", "/") or parts.fragment or "@" in parts.netloc:
        raise UsageError(what, why="only a host and a port can follow", hint=_HINT)
    if given == 0:
        raise UsageError(what, why="port 0 is none", hint="a port from 1 to 65535")
    port = given or DEFAULT_PORTS[parts.scheme]
    known = {"udp": {"format"}, "osc": {"place"}, "ws": {"origin", "host"}}
    if query.keys() - known.get(parts.scheme, set()):
        raise UsageError(
            what,
            why="unknown setting",
            hint="udp://...?format=binary, osc://...?place=camera, "
            "ws://...?origin=http://localhost:3000, ws://...?host=NAME",
        )
    chosen = {}
    for name, values in (("format", FORMATS), ("place", PLACES)):
        given_values = query.get(name, [values[0]])
        if len(given_values) != 1 or given_values[0] not in values:
            raise UsageError(
                what, why=f"unknown {name}", hint=f"{name}={f' or {name}='.join(values)}"
            )
        chosen[name] = given_values[0]
    origins = tuple(origin.rstrip("/") for origin in query.get("origin", []))
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise UsageError(
                what, why=f"{origin!r} is no web site", hint="origin=http://localhost:3000"
            )
    hosts = tuple(host.lower() for host in query.get("host", []))
    if not all(_HOST.fullmatch(host) for host in hosts):
        raise UsageError(what, why="a host is a name alone", hint="host=poses.example.org")
    host = parts.hostname or LOOPBACK
    return StreamAddress(
        parts.scheme, host, port, chosen["format"], chosen["place"], origins, hosts
    )
