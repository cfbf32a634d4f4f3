"""A bounded queue between two threads that either of them can end."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Channel(Generic[T]):
    """Passes items in order; a full channel makes the writer wait, so that nothing piles up.

    The writer ends it with `close`: the reader gets what is left, then its loop ends. The
    reader ends it with `abandon`: what is left and what still comes is thrown away, so that
    a stage that failed never blocks the ones before it.
    """

    def __init__(self, capacity: int) -> None:
        self._items: deque[T] = deque()
        self._capacity = capacity
        self._closed = False
        self._abandoned = False
        self.lost = 0
        """Items that `push` gave up for newer ones."""
        self._changed = threading.Condition()

    def put(self, item: T) -> None:
        """Append an item, waiting while the channel is full."""
        with self._changed:
            while len(self._items) >= self._capacity and not self._abandoned:
                self._changed.wait()
            if not self._abandoned:
                self._items.append(item)
                self._changed.notify_all()

    def push(self, item: T) -> None:
        """Append an item, in place of the oldest one where the channel is full."""
        with self._changed:
            if self._abandoned:
                return
            if len(self._items) >= self._capacity:
                self._items.popleft()
                self.lost += 1
            self._items.append(item)
            self._changed.notify_all()

    def close(self) -> None:
        """No more items will come."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def abandon(self) -> None:
        """No more items will be read."""
        with self._changed:
            self._abandoned = True
            self._items.clear()
            self._changed.notify_all()

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._changed:
                while not self._items and not self._closed and not self._abandoned:
                    self._changed.wait()
                item = self._pop()
            if item is None:
                return
            yield item

    def _pop(self) -> T | None:
        if not self._items:
            return None
        item = self._items.popleft()
        self._changed.notify_all()
        return item
