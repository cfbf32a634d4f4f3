"""Long recordings through a network that sees windows: where they start, and their mean."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from posemamba.skeleton import NUM_JOINTS

Float = NDArray[np.float32]

_BATCH_FRAMES: Final = 64
"""About how many frames are lifted together: more is no faster on a CPU."""


def windows_at_once(frames: int) -> int:
    """How many windows of so many frames are lifted together."""
    return max(1, _BATCH_FRAMES // frames)


def window_starts(count: int, length: int, hop: int, first: int = 0) -> list[int]:
    """First frames of the windows of `length` frames that cover `count` frames.

    Windows start `hop` frames apart from `first` on; the last one ends at the last frame. Where
    there are fewer frames than a window has, the only one starts at frame 0.
    """
    starts = list(range(first, count - length + 1, hop))
    last = max(0, count - length)
    if count and last not in starts:
        starts.append(last)
    return starts


def blend_weights(length: int) -> Float:
    """(length,) weights of a window's frames: a Hann bell, positive at the edges.

    A frame near the middle was lifted with context on both sides and counts most. At the
    edge the bell falls to next to nothing, so that a window enters and leaves the average
    without a step.
    """
    phase = (np.arange(length) + 0.5) / length
    return np.asarray(np.sin(np.pi * phase) ** 2 + 1e-4, np.float32)


class Blender:
    """Weighted mean of overlapping windows, given out frame by frame from the front."""

    def __init__(self, rows: int = NUM_JOINTS) -> None:
        self.start = 0
        """Frame number of the first frame not yet given out."""
        self._sum: NDArray[np.float64] = np.zeros((0, rows, 3))
        self._weight: NDArray[np.float64] = np.zeros(0)
        self._seen_to: NDArray[np.int64] = np.zeros(0, np.int64)

    def add(self, start: int, joints: Float) -> None:
        """Add a window's answer.

        Args:
            start: frame number of the window's first frame, not before `self.start`.
            joints: (T, rows, 3) in axes and units that all windows share.
        """
        first, last = start - self.start, start - self.start + len(joints)
        if first < 0:
            raise ValueError(f"frame {start} was already given out")
        missing = last - len(self._weight)
        if missing > 0:
            self._sum = np.concatenate([self._sum, np.zeros((missing, *self._sum.shape[1:]))])
            self._weight = np.concatenate([self._weight, np.zeros(missing)])
            self._seen_to = np.concatenate([self._seen_to, np.zeros(missing, np.int64)])
        weights = blend_weights(len(joints))
        self._sum[first:last] += weights[:, None, None] * joints
        self._weight[first:last] += weights
        self._seen_to[first:last] = np.maximum(self._seen_to[first:last], self.start + last - 1)

    def take(self, stop: int) -> tuple[Float, NDArray[np.int64]]:
        """Give out the n frames before number `stop`.

        Returns:
            (n, rows, 3) blended joints, and (n,) how many frames after each one its windows saw.
        """
        n = stop - self.start
        if n > len(self._weight) or not self._weight[:n].all():
            raise ValueError("a frame that no window covers")
        joints = (self._sum[:n] / self._weight[:n, None, None]).astype(np.float32)
        look_ahead = self._seen_to[:n] - np.arange(self.start, stop)
        self._sum, self._weight, self._seen_to = self._sum[n:], self._weight[n:], self._seen_to[n:]
        self.start = stop
        return joints, look_ahead
