"""One selective scan, several backends behind one interface, chosen at run time."""

from posemamba.scan.backends import Backend, available_backends, get_backend, use_backend
from posemamba.scan.interface import ScanParameters

__all__ = [
    "Backend",
    "ScanParameters",
    "available_backends",
    "get_backend",
    "use_backend",
]
