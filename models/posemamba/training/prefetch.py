"""Batches made ahead of the training step, in worker processes, in a fixed order.

A batch is a function of its request (size and number) alone, so that neither the number of
workers nor an interruption changes what a run sees: a resumed run asks for the batches from
its step on. One core makes several hundred windows of 243 frames a second; a GPU takes more.
"""

from __future__ import annotations

import contextlib
import signal
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Arrays = tuple[NDArray[np.float32], ...]
MakeBatch = Callable[[int, int], Arrays]
"""Size and number of a batch to its arrays."""

_AHEAD_PER_WORKER: Final = 2
"""Batches that wait for the training step, so that a slow one stalls nobody."""


@dataclass(frozen=True, slots=True)
class Request:
    """One batch."""

    size: int
    index: int


class Prefetcher:
    """Iterates over the batches of `requests`, in their order.

    Args:
        source: makes the function that makes batches; called once in every process that
            makes some. Must be picklable, and its function must depend on nothing else.
        requests: read `ahead` of what has been taken.
        workers: processes; none makes each batch when it is asked for.

    Closing it (or leaving its with-block) ends the processes.
    """

    def __init__(
        self, source: Callable[[], MakeBatch], requests: Iterator[Request], workers: int = 0
    ) -> None:
        self._requests = requests
        self._ahead = _AHEAD_PER_WORKER * workers
        self._waiting: deque[Future[Arrays]] = deque()
        self._pool: ProcessPoolExecutor | None = None
        self._make: MakeBatch | None = None
        if workers:
            # Not forked: a forked process cannot use a parent's CUDA and thread pools.
            self._pool = ProcessPoolExecutor(
                workers, get_context("spawn"), initializer=_start_worker, initargs=(source,)
            )
        else:
            self._make = source()

    def __iter__(self) -> Iterator[Arrays]:
        return self

    def __next__(self) -> Arrays:
        """The next batch.

        Raises:
            concurrent.futures.process.BrokenProcessPool: if a worker died.
        """
        if self._make is not None:
            request = next(self._requests)
            return self._make(request.size, request.index)
        self._fill()
        if not self._waiting:
            raise StopIteration
        arrays = self._waiting.popleft().result()
        self._fill()
        return arrays

    def _fill(self) -> None:
        assert self._pool is not None
        while len(self._waiting) < self._ahead:
            request = next(self._requests, None)
            if request is None:
                return
            self._waiting.append(self._pool.submit(_work, request))

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._waiting.clear()

    def __enter__(self) -> Prefetcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_make_here: MakeBatch | None = None
"""In a worker process: its function."""


def _start_worker(source: Callable[[], MakeBatch]) -> None:
    global _make_here
    # Ctrl-C goes to all processes of a terminal; the training process decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(RuntimeError):
        torch.set_num_threads(1)
    _make_here = source()


def _work(request: Request) -> Arrays:
    assert _make_here is not None
    return _make_here(request.size, request.index)


def to_device(arrays: Any, device: torch.device) -> list[Tensor]:
    """Float32 tensors on the device; from page-locked memory to CUDA, beside its work."""
    tensors = [torch.from_numpy(np.ascontiguousarray(a, np.float32)) for a in arrays]
    if device.type != "cuda":
        return tensors
    return [t.pin_memory().to(device, non_blocking=True) for t in tensors]
