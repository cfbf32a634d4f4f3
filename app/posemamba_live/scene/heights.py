"""Relative heights of people who stand on one floor.

One height is told, or assumed, for everybody. Whoever is smaller is then placed too far away, and
hovers above the floor that the others stand on, or sinks into it: by as much as the camera's
height times the error of the height. Turned round, that tells the height, as far as people differ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from posemamba.skeleton import L_ANKLE, R_ANKLE
from posemamba_live.scene.ground import ANKLE_HEIGHT, GroundEvidence, leg_length, lowest_contacts
from posemamba_live.types import Ground

Array = NDArray[np.float64]

_FACTORS: Final = (0.55, 1.3)
"""Relative heights beyond which somebody is not on this floor at all: on a roof, on stairs."""
_TALLER: Final = 0.06
_SMALLER: Final = 0.22
"""Spread of log relative heights: few people are much taller than told, children are smaller."""
_MEASURED: Final = 0.03
"""Error of a relative height that does not become less with time."""
_QUANTILE: Final = 0.4
"""Of the relative heights that single poses tell: lifted feet make people look taller."""
_HARDLY_SEEN: Final = 0.1
"""Confidence of a foot that is in view for a moment, or not quite."""
_UNSEEN_FACTORS: Final = (0.3, 1.3)
"""Relative heights of people whose feet nobody sees: a long lens that is taken for a wide one
makes those in front small, however tall they are."""
_SHIFTS: Final = np.linspace(-0.6, 0.6, 241)
STRANGER: Final = 9.0
"""Cost of taking somebody for not being on this floor: as of three standard deviations."""
_LEAST_WEIGHT: Final = 0.5
"""Of the evidence of somebody's feet: one pose in which they are well seen."""
LEAST_CAMERA_HEIGHT: Final = 0.3
"""Metres above the feet below which a camera sees nothing of this."""


@dataclass(frozen=True, slots=True)
class ToldHeights:
    """Heights that somebody told: one of everybody, or of one person after the other."""

    metres: tuple[float, ...]

    @property
    def each(self) -> bool:
        """People were told apart: nothing is concluded about their heights any more."""
        return len(self.metres) > 1

    def of(self, person_id: int) -> float:
        """Metres; the last holds for all others. Identities count from 0."""
        return self.metres[min(max(person_id, 0), len(self.metres) - 1)]


def told_heights(height_m: float | Sequence[float]) -> ToldHeights:
    """Of one height, or several.

    Raises:
        ValueError: there is none.
    """
    heights = tuple(height_m) if isinstance(height_m, Sequence) else (height_m,)
    if not heights:
        raise ValueError("there is no height")
    return ToldHeights(tuple(map(float, heights)))


def relative_heights(people: Sequence[GroundEvidence], ground: Ground) -> list[float]:
    """Factors on the people's sizes, and so on their distances, that put them on the floor.

    Args:
        people: what each of them tells of the floor, metres under the told height.
        ground: common floor.

    Returns:
        A factor for each; 1 for who is alone, or does not stand on this floor.
    """
    measured = [_measure(evidence, ground) for evidence in people]
    together = [i for i, each in enumerate(measured) if each is not None]
    factors = [1.0] * len(people)
    if len(together) < 2:
        return factors
    logs = np.array([each[0] for each in measured if each is not None])
    errors = np.array([each[1] for each in measured if each is not None])
    # Who is as tall as told cannot be seen, only who is taller than whom: all of them by one
    # factor is the floor at another height. The most probable one is taken.
    shifted = logs + _SHIFTS[:, None]
    costs = np.where(possible(shifted), (shifted / spread(shifted)) ** 2, STRANGER)
    likely = shifted[np.minimum(costs, STRANGER).sum(1).argmin()]
    if possible(likely).sum() < 2:
        return factors
    likely = likely * spread(likely) ** 2 / (spread(likely) ** 2 + errors**2)
    for i, value, here in zip(together, likely, possible(likely), strict=True):
        factors[i] = math.exp(value) if here else 1.0
    return factors


def feet_unseen(weights: Array) -> float:
    """How sure it is, 0 to 1, that nobody has seen somebody's feet.

    Args:
        weights: (N, 18) of segments, from `segment_weights`.
    """
    seen = float(weights[:, [R_ANKLE, L_ANKLE]].max(1).mean())
    return min(max(2.0 - seen / _HARDLY_SEEN, 0.0), 1.0)


def onto_floor(evidence: GroundEvidence, ground: Ground, factor: float, unseen: float) -> float:
    """Relative height of somebody whose feet nobody has seen, among people on a floor.

    Nobody is below the floor, and a hip is at most a leg's length above it, or else somebody is
    not on this floor. In between, sitting for example, the told height is the better guess.

    Args:
        evidence: of the person, metres under the told height.
        factor: relative height so far.
        unseen: how sure it is that nobody has seen the feet, 0 to 1.
    """
    if unseen <= 0.0 or ground.height < LEAST_CAMERA_HEIGHT or not len(evidence.axes):
        return factor
    below, clearance, _ = lowest_contacts(evidence, ground)
    lowest, carries = float(np.median(below)), float(np.median(clearance))
    if lowest > -LEAST_CAMERA_HEIGHT / 2:
        return factor
    hip, reach = float(np.median(evidence.roots @ ground.up)), leg_length(evidence) + ANKLE_HEIGHT
    if lowest + ground.height < carries:
        wanted = (carries - ground.height) / lowest
    else:
        wanted = max(ground.height / (reach - hip), 1.0)
    if not _UNSEEN_FACTORS[0] < wanted < _UNSEEN_FACTORS[1]:
        return factor
    return math.exp((1.0 - unseen) * math.log(factor) + unseen * math.log(wanted))


def height_above(evidence: GroundEvidence, ground: Ground) -> float:
    """Metres above the floor, negative below it, at which somebody stands as tall as told."""
    below, clearance, _ = lowest_contacts(evidence, ground)
    return float(np.quantile(below - clearance, _QUANTILE)) + ground.height


def may_stand(evidence: GroundEvidence, ground: Ground) -> bool:
    """Whether a height that people have puts somebody on the floor."""
    measured = _measure(evidence, ground)
    return measured is not None and bool(possible(np.array(measured[0])))


def possible(logs: Array) -> NDArray[np.bool_]:
    """Whether somebody of that log relative height may be on this floor."""
    return (logs > math.log(_FACTORS[0])) & (logs < math.log(_FACTORS[1]))


def spread(logs: Array) -> Array:
    """Standard deviation of log relative heights on the side of these."""
    return np.where(logs > 0.0, _TALLER, _SMALLER)


def _measure(evidence: GroundEvidence, ground: Ground) -> tuple[float, float] | None:
    """Log relative height and its error; None for who is not on this floor."""
    if ground.height < LEAST_CAMERA_HEIGHT or not len(evidence.axes):
        return None
    below, clearance, weights = lowest_contacts(evidence, ground)
    if not (below < -LEAST_CAMERA_HEIGHT / 2).all() or weights.sum() < _LEAST_WEIGHT:
        return None
    factors = (clearance - ground.height) / below
    low, middle, high = np.quantile(factors, (0.16, _QUANTILE, 0.84))
    independent = max(1.0, float(weights.sum()))
    error = 0.5 * float(high - low) / math.sqrt(independent) + _MEASURED
    return math.log(float(middle)), error
