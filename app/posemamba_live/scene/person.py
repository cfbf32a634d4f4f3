"""What is remembered of one person while poses come: measures of the body, feet, distance."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from posemamba_live.scene.body import Body, measure_body, segment_lengths, segment_weights
from posemamba_live.scene.contact import Feet
from posemamba_live.scene.heights import feet_unseen
from posemamba_live.scene.smoothing import MAX_GAP, DepthFilter, OneEuroFilter

Array = NDArray[np.float64]

SAMPLE_SPACING: Final = 0.1
"""Seconds between the poses that body and ground are estimated from: more are not independent."""
MAX_SAMPLES: Final = 600
"""Poses kept for the running estimates: a minute of one person."""
SOLVE_EVERY: Final = 0.5
"""Seconds between new running estimates."""
SETTLED: Final = 2.0
"""Seconds in which the running estimates may move fast."""
_GUESS_S: Final = 0.5
"""Seconds in which the size of somebody follows whose feet nobody sees, and so the floor."""


@dataclass(slots=True)
class Person:
    """What a `SceneTracker` remembers of one person."""

    one_euro: OneEuroFilter
    depth: DepthFilter = field(default_factory=DepthFilter)
    feet: Feet = field(default_factory=Feet)
    body: Body | None = None
    target: Body | None = None
    segments: deque[Array] = field(default_factory=lambda: deque(maxlen=MAX_SAMPLES))
    weights: deque[Array] = field(default_factory=lambda: deque(maxlen=MAX_SAMPLES))
    seen_for: float = 0.0
    time: float = -math.inf
    sampled: float = -math.inf
    measured: float = -math.inf
    sampled_for_ground: float = -math.inf
    factor: float = 1.0
    """Height relative to the told one, from where the feet are among other people's."""
    factor_target: float = 1.0
    feet_unseen: float = 0.0
    """How sure it is that nobody has seen the feet, 0 to 1."""

    def measure(self, units: Array, scores: Array, now: float, height_m: float) -> Body:
        """Running measures of the body: new medians now and then, approached smoothly."""
        dt = min(max(now - self.time, 0.0), MAX_GAP) if self.body is not None else 0.0
        self.time = now
        self.seen_for += dt
        if self.body is None or abs(now - self.sampled) >= SAMPLE_SPACING:
            self.sampled = now
            self.segments.append(segment_lengths(units)[0])
            self.weights.append(segment_weights(scores)[0])
            self.feet_unseen = feet_unseen(np.array(self.weights))
        due = SOLVE_EVERY if self.seen_for > SETTLED else SAMPLE_SPACING
        if self.target is None or abs(now - self.measured) >= due:
            self.measured = now
            self.target = measure_body(np.array(self.segments), np.array(self.weights), height_m)
        if self.body is None:
            self.body = self.target
        fraction = fraction_moved(dt, self.seen_for)
        guess = self.feet_unseen * (1.0 - math.exp(-dt / _GUESS_S))
        self.factor += max(fraction, guess) * (self.factor_target - self.factor)
        self.body = Body(
            self.body.scale + fraction * (self.target.scale - self.body.scale),
            self.body.lengths + fraction * (self.target.lengths - self.body.lengths),
        )
        return Body(self.factor * self.body.scale, self.factor * self.body.lengths)


def fraction_moved(dt: float, age: float) -> float:
    """How far a running estimate moves in `dt` seconds: fast when new, slowly once settled."""
    return 1.0 - math.exp(-dt / (0.4 + 0.3 * min(age, 7.0)))
