"""Batches ahead of time are those that would have been made on the spot."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from posemamba.training.prefetch import Arrays, MakeBatch, Prefetcher, Request, to_device


def numbers() -> MakeBatch:
    """Random arrays that depend on the request alone, and the process that made them."""

    def make(size: int, index: int) -> Arrays:
        values = np.random.default_rng(index).normal(size=(size, 3)).astype(np.float32)
        return values, np.array([index, os.getpid()], np.float32)

    return make


def failing() -> MakeBatch:
    def make(size: int, index: int) -> Arrays:
        raise ValueError(f"batch {index} cannot be made")

    return make


def requests(first: int, last: int) -> Iterator[Request]:
    return (Request(size=2 + i % 3, index=10 * i) for i in range(first, last))


def test_workers_give_the_same_batches_in_the_same_order() -> None:
    with Prefetcher(numbers, requests(0, 9)) as here, Prefetcher(numbers, requests(0, 9), 2) as far:
        expected, actual = list(here), list(far)
    assert len(expected) == len(actual) == 9
    for i, (own, other) in enumerate(zip(expected, actual, strict=True)):
        np.testing.assert_array_equal(own[0], other[0])
        assert own[0].shape == (2 + i % 3, 3)
        assert other[1][0] == 10 * i
        assert other[1][1] != own[1][1]


def test_a_resumed_run_sees_what_it_would_have_seen() -> None:
    whole = list(Prefetcher(numbers, requests(0, 6)))
    resumed = list(Prefetcher(numbers, requests(4, 6)))
    for own, other in zip(whole[4:], resumed, strict=True):
        np.testing.assert_array_equal(own[0], other[0])


def test_a_batch_that_cannot_be_made_stops_the_run() -> None:
    with (
        Prefetcher(failing, requests(3, 4), 1) as batches,
        pytest.raises(ValueError, match="batch 30 cannot be made"),
    ):
        next(batches)


def test_requests_are_not_read_far_ahead() -> None:
    taken: list[int] = []

    def endless() -> Iterator[Request]:
        index = 0
        while True:
            taken.append(index)
            yield Request(1, index)
            index += 1

    with Prefetcher(numbers, endless(), 1) as batches:
        next(batches)
        next(batches)
        assert len(taken) <= 2 + 2  # two taken, two ahead


def test_arrays_become_float32_tensors() -> None:
    arrays = (np.arange(6.0).reshape(2, 3).T, np.ones(2, np.float32))
    first, second = to_device(arrays, torch.device("cpu"))
    assert first.dtype == second.dtype == torch.float32
    np.testing.assert_array_equal(first.numpy(), arrays[0])
