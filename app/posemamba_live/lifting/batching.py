"""Lifting several people at once: their questions to the network become one batch.

A lifter's work is a generator that yields what it has to ask the network and is sent the
answer. Alone it is driven question by question; people of one frame are driven side by
side, and those of their questions that are alike are answered by one call.
"""

from __future__ import annotations

from collections.abc import Generator, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from posemamba_live.types import FloatArray, LiftedPose

if TYPE_CHECKING:
    from posemamba.network import Network


class Question(Protocol):
    """Something to ask a network."""

    @property
    def kind(self) -> Hashable:
        """Questions of one kind can be answered together."""
        ...

    def answer(self, alike: Sequence[Any]) -> list[FloatArray]:
        """Answer questions of this one's kind, itself among them, in their order."""
        ...


T = TypeVar("T")
Work = Generator[Question, FloatArray, T]
"""Yields questions, is sent their answers, returns the result."""
Lifting = Work[list[LiftedPose]]


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """Windows of one person to be lifted; see `Network` for the arrays."""

    network: Network
    keypoints: FloatArray
    """(B, T, 17, 2)"""
    scores: FloatArray
    """(B, T, 17)"""
    image_size: tuple[int, int]

    @property
    def kind(self) -> Hashable:
        return id(self.network), self.keypoints.shape[1], self.image_size

    def answer(self, alike: Sequence[Windows]) -> list[FloatArray]:
        """(B, T, 17, 3) each, root-relative, camera axes, body heights."""
        joints = self.network(
            np.concatenate([question.keypoints for question in alike]),
            np.concatenate([question.scores for question in alike]),
            self.image_size,
        )
        ends = np.cumsum([len(question.keypoints) for question in alike])
        return np.split(joints, ends[:-1])


def alone(work: Work[T]) -> T:
    """Drive one work to its end."""
    return together([work])[0]


def together(works: Sequence[Work[T]]) -> list[T]:
    """Drive works side by side to their ends; returns their results in order."""
    results: dict[int, T] = {}
    waiting: dict[int, Question] = {}

    def go_on(i: int, answer: FloatArray | None) -> None:
        try:
            waiting[i] = next(works[i]) if answer is None else works[i].send(answer)
        except StopIteration as end:
            results[i] = end.value

    for i in range(len(works)):
        go_on(i, None)
    while waiting:
        alike: dict[Hashable, list[int]] = {}
        for i, question in waiting.items():
            alike.setdefault(question.kind, []).append(i)
        # The largest group first: others may catch up with what it asks next.
        group = max(alike.values(), key=len)
        questions = [waiting.pop(i) for i in group]
        for i, answer in zip(group, questions[0].answer(questions), strict=True):
            go_on(i, answer)
    return [results[i] for i in range(len(works))]
