"""Where poses go while the run goes on: one file per protocol, `--stream` by `--stream`."""

from __future__ import annotations

from posemamba_live.address import StreamAddress
from posemamba_live.streams.base import Stream, StreamFigures, StreamInfo

__all__ = ["Stream", "StreamAddress", "StreamFigures", "StreamInfo", "open_stream"]


def open_stream(address: StreamAddress, info: StreamInfo, *, people: int) -> Stream:
    """Get ready to send: listen, or look up the host.

    Args:
        address: where to.
        info: what receivers are told once.
        people: how many at most.

    Raises:
        SinkError: the port is taken, or nobody knows the host.
    """
    if address.scheme == "ws":
        from posemamba_live.streams.websocket import WebSocketStream

        return WebSocketStream(address, info)
    if address.scheme == "osc":
        from posemamba_live.streams.vmc import VmcStream

        return VmcStream(address, people=people, hides_unseen=info.hides_unseen)
    from posemamba_live.streams.udp import UdpStream

    return UdpStream(address)
