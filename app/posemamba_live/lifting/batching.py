"""Lifting several people at once: their requests to the network become one batch.

A lifter works in a coroutine (`Work`) that yields network requests and is sent the answers.
Alone it is driven request by request; the coroutines of all people in a frame are driven
together, and those of their requests that are of one kind are answered by one call.
"""

from __future__ import annotations

from collections.abc import Generator, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from posemamba_live.types import FloatArray, LiftedPose

if TYPE_CHECKING:
    from posemamba.network import Network


class Request(Protocol):
    """One call that a lifter needs of a network."""

    @property
    def kind(self) -> Hashable:
        """Requests of one kind can be answered together."""
        ...

    def answer(self, alike: Sequence[Any]) -> list[FloatArray]:
        """Answer requests of this one's kind, itself among them, in their order."""
        ...


T = TypeVar("T")
Work = Generator[Request, FloatArray, T]
"""A coroutine that yields network requests, is sent their answers and returns its result."""
Lifting = Work[list[LiftedPose]]
"""A coroutine that returns the poses that are now final."""


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """Windows of one person to be lifted; see `Network` for the arrays."""

    network: Network
    keypoints: FloatArray
    """(B, T, 17, 2)"""
    scores: FloatArray
    """(B, T, 17)"""
    peaks: FloatArray
    """(B, T, 17)"""
    image_size: tuple[int, int]

    @property
    def kind(self) -> Hashable:
        return id(self.network), self.keypoints.shape[1], self.image_size

    def answer(self, alike: Sequence[Windows]) -> list[FloatArray]:
        """(B, T, 17, 3) each, root-relative, camera axes, body heights."""
        joints = self.network(
            np.concatenate([request.keypoints for request in alike]),
            np.concatenate([request.scores for request in alike]),
            self.image_size,
            np.concatenate([request.peaks for request in alike]),
        )
        ends = np.cumsum([len(request.keypoints) for request in alike])
        return np.split(joints, ends[:-1])


def alone(work: Work[T]) -> T:
    """Drive one coroutine to its end; returns its result."""
    return together([work])[0]


def together(works: Sequence[Work[T]]) -> list[T]:
    """Drive coroutines together to their ends, batching requests; returns results in order."""
    results: dict[int, T] = {}
    waiting: dict[int, Request] = {}

    def go_on(i: int, answer: FloatArray | None) -> None:
        try:
            waiting[i] = next(works[i]) if answer is None else works[i].send(answer)
        except StopIteration as end:
            results[i] = end.value

    for i in range(len(works)):
        go_on(i, None)
    while waiting:
        alike: dict[Hashable, list[int]] = {}
        for i, request in waiting.items():
            alike.setdefault(request.kind, []).append(i)
        # The largest group first: others may catch up with its next request.
        group = max(alike.values(), key=len)
        requests = [waiting.pop(i) for i in group]
        for i, answer in zip(group, requests[0].answer(requests), strict=True):
            go_on(i, answer)
    return [results[i] for i in range(len(works))]
