"""The little that ONNX Runtime does not tell of a graph: what is done to the input first.

An ONNX file is one protocol buffer. Only the fields on the way to the first operators are
read; anything else, damaged files included, is skipped or ends the search.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

_MODEL_GRAPH: Final = 7
_GRAPH_NODE: Final = 1
_NODE_INPUT, _NODE_OUTPUT, _NODE_OPERATOR = 1, 2, 4
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_TRANSPARENT: Final = {"Cast", "Identity"}
"""Operators that only hand the picture on."""


def first_operators(path: Path, tensor: str) -> set[str]:
    """Types of the operators that take `tensor`, looking through conversions.

    Returns:
        "Conv", "Slice", ...; empty where the file cannot be made sense of.
    """
    names, found = {tensor}, set()
    try:
        data = memoryview(path.read_bytes())
        for graph in _fields(data, _MODEL_GRAPH):
            for node in _fields(graph, _GRAPH_NODE):
                operator = b"".join(_fields(node, _NODE_OPERATOR)).decode()
                if not names & {bytes(name).decode() for name in _fields(node, _NODE_INPUT)}:
                    continue
                if operator in _TRANSPARENT:
                    names |= {bytes(name).decode() for name in _fields(node, _NODE_OUTPUT)}
                else:
                    found.add(operator)
    except (OSError, ValueError, IndexError):
        return set()
    return found


def _fields(message: memoryview, wanted: int) -> Iterator[memoryview]:
    """The length-delimited fields of number `wanted`, in order."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == _VARINT:
            _, at = _varint(message, at)
        elif kind == _FIXED64:
            at += 8
        elif kind == _FIXED32:
            at += 4
        elif kind == _BYTES:
            length, at = _varint(message, at)
            if at + length > len(message):
                raise ValueError("a field beyond the end")
            if key >> 3 == wanted:
                yield message[at : at + length]
            at += length
        else:
            raise ValueError(f"wire type {kind}")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at
        if shift > 63:
            raise ValueError("a number without an end")
