"""Batches ahead of time are those that would have been made on the spot."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from posemamba.training.config import TrainConfig
from posemamba.training.prefetch import Arrays, MakeBatch, Prefetcher, Request, to_device
from posemamba.training.train import Trainer
from tests.support.motion_files import walking, write_motion


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


def test_a_trainer_takes_the_same_steps_with_workers(tmp_path: Path) -> None:
    write_motion(tmp_path / "walk.npz", [walking(150), walking(90)], ["train", "val"], ["a"] * 2)
    config = TrainConfig(
        frames=9, batch=2, small_batch=3, small_batch_windows=6, validation_windows=2,
        short_windows=0.5, model={"dim": 16, "depth": 1},
    )  # fmt: skip
    runs = [Trainer(config, tmp_path, tmp_path, "cpu", 0, 1, workers) for workers in (0, 1)]
    try:
        for run in runs:
            for _ in range(4):
                run.step()
    finally:
        for run in runs:
            run.close()
    assert runs[0].progress == runs[1].progress
    parameters = (run.model.parameters() for run in runs)
    for a, b in zip(*parameters, strict=True):
        torch.testing.assert_close(a, b, atol=0, rtol=0)


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
