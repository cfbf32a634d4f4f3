"""The library's network under the name that this room knew it by."""

from posemamba.network import Network, use_threads

__all__ = ["Network", "use_threads"]
