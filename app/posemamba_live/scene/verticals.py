"""How the camera is tilted, from what stands upright behind people: walls, door frames, shelves.

Lines that are vertical in the room meet in one point of the picture, far below it where the camera
looks down. That tells its pitch and roll, whatever people do, and from the first picture on.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from posemamba_live.scene.pinhole import Pinhole
from posemamba_live.types import Frame, Image, Pose2D

Array = NDArray[np.float64]

_SIDE: Final = 640
"""Pixels of the longer side of the picture in which lines are looked for."""
_SHORTEST: Final = 0.04
"""Share of that side below which a line tells nothing."""
_STEEP: Final = math.tan(math.radians(35.0))
"""How far a line may lean that is asked."""
_FULL_WEIGHT: Final = 0.1
_MOST_WEIGHT: Final = 2.0
"""Share of the longer side at which a line counts 1, and what the longest one counts."""
_LINE_ERROR: Final = math.radians(0.35)
_END_ERROR: Final = 0.7
"""Errors of a line's direction: radians, and pixels at its ends."""
_VERTICAL: Final = 0.4
"""Share of steep lines that are vertical in the room, others lean by anything."""
_ANY: Final = 1.0 / math.radians(70.0)
"""Density of the leans of those."""
_DEPENDENT: Final = 2.0
"""Lines that tell as much as a single one: both edges of a frame, both halves of an edge."""
_PITCHES: Final = np.radians(np.arange(-60.0, 40.1, 2.0))
_ROLLS: Final = np.radians(np.arange(-10.0, 10.1, 1.0))
"""Where the camera may be turned."""
_FARTHEST: Final = 0.5 * math.pi
_ROLL_SPREAD: Final = math.radians(4.0)
_BLURRED: Final = math.radians(1.0)
"""Error of lines that is assumed where these are tried."""
_BETTER: Final = 4.5
_AMBIGUOUS: Final = 3.0
"""How much more probable (logarithm) the best place has to be than that nothing is vertical, and
than another such place."""
_STEPS: Final = 8
_PITCH_BIAS: Final = math.radians(1.0)
_PITCH_FRACTION: Final = 0.15
"""Error of the pitch that no number of lines removes: a lens that bends them; and, as a fraction of
the pitch, one that is longer or wider than taken for."""
_ROLL_BIAS: Final = math.radians(0.5)
_WORST: Final = math.radians(6.0)
"""Error of pitch beyond which nothing is said."""
_LOOKS: Final = 4
"""Pictures that are remembered."""
_FIRST_S: Final = 1.0
_MOST_S: Final = 30.0
"""Seconds from the first picture that is looked at to the second; then twice as many each time, up
to so many: the camera stays where it is."""
_MARGIN: Final = 0.15
"""Sizes of a person around their keypoints that are not background."""


@dataclass(frozen=True, slots=True)
class Upright:
    """What the background says of the camera: radians, and information (inverse covariance)."""

    pitch: float
    roll: float
    pitch_information: float
    roll_information: float
    shared_information: float

    @property
    def information(self) -> Array:
        """(2, 2) of pitch and roll."""
        both = self.shared_information
        rows = [[self.pitch_information, both], [both, self.roll_information]]
        return np.array(rows)


def plain(said: Upright | None) -> dict[str, float] | None:
    """As JSON values, which bring back the same numbers."""
    return None if said is None else asdict(said)


def upright_of(said: Any) -> Upright | None:
    """Of what `plain` has made.

    Raises:
        ValueError, TypeError: it is something else.
    """
    if said is None:
        return None
    if not isinstance(said, dict):
        raise TypeError(f"not what a background says: {said!r}")
    upright = Upright(**{name: float(value) for name, value in said.items()})
    if not np.isfinite(list(asdict(upright).values())).all():
        raise ValueError(f"a background says what cannot be: {said}")
    if abs(upright.pitch) > _FARTHEST or np.linalg.eigvalsh(upright.information)[0] < 0.0:
        raise ValueError(f"a background says what cannot be: {said}")
    return upright


class Verticals:
    """Looks at the background now and then; call it with every frame and the people in it.

    What it costs: 5 to 35 ms for one picture after 0, 1, 3, 7 seconds and so on.

    Args:
        fov_deg: field of view across the picture's longer side, degrees.
    """

    def __init__(self, fov_deg: float) -> None:
        self._fov_deg = fov_deg
        self._seen: deque[Array] = deque(maxlen=_LOOKS)
        self._next = -math.inf
        self._wait = _FIRST_S
        self._time = -math.inf
        self._size = (0, 0)
        self.said: Upright | None = None
        """What is known by now."""

    def due(self, frame: Frame) -> bool:
        """Whether this frame is one to be looked at."""
        return frame.timestamp >= self._next or self._anew(frame)

    def _anew(self, frame: Frame) -> bool:
        """Whether it is of another source, or of one that starts again."""
        return frame.size != self._size or frame.timestamp < self._time

    def __call__(self, frame: Frame, people: Sequence[Pose2D]) -> None:
        """Take the next frame."""
        if not self.due(frame):
            return
        if self._anew(frame):
            self._seen.clear()
            self._wait = _FIRST_S
        self._size, self._time = frame.size, frame.timestamp
        self._next = frame.timestamp + self._wait
        self._wait = min(2.0 * self._wait, _MOST_S)
        self._seen.append(steep_lines(frame.image, people))
        self.said = camera_of(list(self._seen), frame.size, self._fov_deg)


def steep_lines(image: Image, people: Sequence[Pose2D] = ()) -> Array:
    """(K, 4) ends x, y, x, y of the background's lines that are upright or nearly so; pixels."""
    scale = min(1.0, _SIDE / max(image.shape[:2]))
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    if scale < 1.0:
        h, w = (max(1, round(length * scale)) for length in grey.shape)
        grey = cv2.resize(grey, (w, h), interpolation=cv2.INTER_AREA)
    found = cv2.createLineSegmentDetector(cv2.LSD_REFINE_STD).detect(grey)[0]
    if found is None:
        return np.empty((0, 4))
    lines = np.asarray(found, np.float64).reshape(-1, 4)
    along = np.abs(lines[:, 2:] - lines[:, :2])
    lines = lines[
        (np.hypot(*along.T) > _SHORTEST * max(grey.shape)) & (along[:, 0] < _STEEP * along[:, 1])
    ]
    lines /= scale
    free = _background(0.5 * (lines[:, :2] + lines[:, 2:]), people)
    return np.asarray(lines[free], np.float64)


def _background(points: Array, people: Sequence[Pose2D]) -> NDArray[np.bool_]:
    """(K,) which of the points, (K, 2), nobody is near."""
    free = np.ones(len(points), np.bool_)
    for pose in people:
        low, high = pose.keypoints.min(0), pose.keypoints.max(0)
        margin = _MARGIN * float((high - low).max())
        free &= ~((points > low - margin) & (points < high + margin)).all(1)
    return free


def camera_of(looks: Sequence[Array], size: tuple[int, int], fov_deg: float) -> Upright | None:
    """Pitch and roll that most of the lines agree on; None where they tell too little.

    Args:
        looks: (K, 4) lines of each picture, pixels; pictures of the same background.
        size: width and height of the pictures.
        fov_deg: degrees across the longer side.
    """
    lines = np.concatenate(looks)
    if not len(lines):
        return None
    leaning = _Leaning.of(lines, size, fov_deg, len(looks))
    start = leaning.most_probable()
    return None if start is None else leaning.refined(*start)


@dataclass(frozen=True, slots=True)
class _Leaning:
    """Lines as places from which they point to where verticals meet."""

    places: Array
    """(K, 2) middles, tangent units."""
    leans: Array
    """(K,) radians from the picture's vertical, to the right at the top."""
    errors: Array
    """(K,) radians."""
    weights: Array
    """(K,)"""

    @classmethod
    def of(cls, lines: Array, size: tuple[int, int], fov_deg: float, looks: int) -> _Leaning:
        along = lines[:, :2] - lines[:, 2:]
        along *= np.where(along[:, 1:] > 0.0, -1.0, 1.0)  # up
        shares = np.hypot(*along.T) / max(size)
        weights = np.minimum(shares / _FULL_WEIGHT, _MOST_WEIGHT) / (_DEPENDENT * looks)
        pixel = 1.0 / min(_SIDE, max(size))
        return cls(
            Pinhole.from_fov(size, fov_deg).rays(0.5 * (lines[:, :2] + lines[:, 2:])),
            np.arctan2(along[:, 0], -along[:, 1]),
            _LINE_ERROR + _END_ERROR * pixel / shares,
            weights,
        )

    def misfits(self, pitches: Array, rolls: Array) -> Array:
        """(P, K) radians by which lines lean more than verticals do before P cameras."""
        pitch, roll = pitches[:, None], rolls[:, None]
        x, y = self.places.T
        up = np.cos(pitch) * np.sin(roll) - x * np.sin(pitch)
        down = -np.cos(pitch) * np.cos(roll) - y * np.sin(pitch)
        away = self.leans - np.arctan2(up, -down)
        return np.asarray((away + 0.5 * math.pi) % math.pi - 0.5 * math.pi, np.float64)

    def most_probable(self) -> tuple[float, float] | None:
        """Pitch and roll; None where others are as probable, or that nothing is vertical."""
        pitches, rolls = np.meshgrid(_PITCHES, _ROLLS, indexing="ij")
        likely = self._likely(pitches.ravel(), rolls.ravel(), np.hypot(self.errors, _BLURRED))
        likely = likely.reshape(pitches.shape)
        by_pitch = likely.max(1)
        best = int(by_pitch.argmax())
        inner = by_pitch[1:-1]
        peaks = 1 + np.flatnonzero((inner >= by_pitch[:-2]) & (inner > by_pitch[2:]))
        others = by_pitch[peaks[peaks != best]]
        if by_pitch[best] < max(_BETTER, *(others + _AMBIGUOUS).tolist(), -math.inf):
            return None
        return float(_PITCHES[best]), float(_ROLLS[int(likely[best].argmax())])

    def _likely(self, pitches: Array, rolls: Array, errors: Array) -> Array:
        """(P,) log likelihood ratio to that nothing is vertical, with what rolls are usual."""
        misfit = self.misfits(pitches, rolls) / errors
        vertical = np.exp(-0.5 * misfit**2) / (math.sqrt(2.0 * math.pi) * errors)
        ratio = 1.0 + _VERTICAL * (vertical / _ANY - 1.0)
        usual = -0.5 * (rolls / _ROLL_SPREAD) ** 2
        return np.asarray(np.log(ratio) @ self.weights + usual, np.float64)

    def refined(self, pitch: float, roll: float) -> Upright | None:
        """From a place near by, by re-weighted Gauss-Newton."""
        x, step = np.array([pitch, roll]), 1e-4
        errors = np.hypot(self.errors, _BLURRED)
        normal = np.zeros((2, 2))
        for k in range(_STEPS):
            if k == _STEPS // 2:
                errors = self.errors
            here, by_pitch, by_roll = self.misfits(
                x[0] + np.array([0.0, step, 0.0]), x[1] + np.array([0.0, 0.0, step])
            )
            jacobian = np.stack([by_pitch - here, by_roll - here], 1) / step
            vertical = _VERTICAL * np.exp(-0.5 * (here / errors) ** 2)
            vertical /= math.sqrt(2.0 * math.pi) * errors
            w = self.weights / errors**2 * vertical / (vertical + (1.0 - _VERTICAL) * _ANY)
            normal = jacobian.T @ (w[:, None] * jacobian) + np.diag([1e-6, _ROLL_SPREAD**-2])
            rhs = -jacobian.T @ (w * here) - [0.0, x[1] / _ROLL_SPREAD**2]
            x = x + np.clip(np.linalg.solve(normal, rhs), -0.1, 0.1)
        bias = math.hypot(_PITCH_BIAS, _PITCH_FRACTION * float(x[0]))
        covariance = np.linalg.inv(normal) + np.diag([bias**2, _ROLL_BIAS**2])
        if covariance[0, 0] > _WORST**2 or not _PITCHES[0] < x[0] < _PITCHES[-1]:
            return None
        information = np.linalg.inv(covariance)
        return Upright(
            float(x[0]), float(x[1]),
            float(information[0, 0]), float(information[1, 1]), float(information[0, 1]),
        )  # fmt: skip
