"""Levels of dark and of flat pictures, stretched for the networks that look at them.

BlazePose finds nobody in a picture at an eighth of its brightness, and some people only
late in fog. Pictures at usual levels are handed on untouched, and so are overexposed ones,
which stretching makes worse. What people are shown is not this picture but the camera's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from posemamba_live.types import Image

_COPY: Final = (64, 36)
"""Columns and rows of the copy that is measured."""
_WHITE: Final = 235.0
"""Where the brightest that counts goes; the darkest goes to 0."""
_DARK: Final = (60.0, 110.0)
"""The 99th percentile up to which a picture is dark, and from which it is not at all."""
_FLAT: Final = (60.0, 110.0)
"""Distance of the darkest to the brightest up to which it is flat, and from which not at all."""
_CLIPPED: Final = (225.0, 245.0)
"""The 99th percentile up to which levels may be stretched, and from which they never are."""
_MAX_GAIN: Final = 12.0
"""Beyond this a picture shows nothing but noise and its own steps."""
_FAR_BRIGHTER: Final = (320.0, 640.0)
"""Where the brightest would go from which it is a spot of light, and from which it is one
for sure."""
_KNEE: Final = 170.0
"""Level from which the curve is flatter then."""
_NOTHING: Final = 4.0
"""Levels from the darkest to the brightest of a picture that shows nothing."""
_NOISY: Final = 12.0
"""Levels of noise, after stretching, from which it is blurred."""
_BLUR: Final = 1.2 / 640.0
"""Standard deviation of that blur, relative to the longer side."""
_SLOW_S: Final = 1.0
"""Seconds in which two thirds of a change of the light are followed."""
_MEASURE_S: Final = 0.1
"""Seconds from one measurement to the next."""
_GOOD_S: Final = 0.25
"""The same while nothing has to be stretched."""
_MANY: Final = 2**16 - 1
_FINE: Final = 16.0
"""Steps of a level while blurring."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """What is done to levels: value -> gain * (value - low)."""

    low: float = 0.0
    gain: float = 1.0
    brightest: float = 0.0
    """Of the small copy: a lamp, or the one who is lit. 0 where it does not matter."""
    noise: float = 0.0
    """Levels, before stretching."""

    def towards(self, other: Stretch, share: float) -> Stretch:
        """Part of the way; the gain in factors."""
        return Stretch(
            self.low + share * (other.low - self.low),
            self.gain * (other.gain / self.gain) ** share,
            self.brightest + share * (other.brightest - self.brightest),
            self.noise + share * (other.noise - self.noise),
        )


class Levels:
    """Stretches the levels of a film, slowly, so that nothing flickers."""

    def __init__(self) -> None:
        self._stretch: Stretch | None = None
        self._time = -math.inf

    def __call__(self, image: Image, now: float, *, afresh: bool = False) -> Image:
        """The picture (H, W, 3) BGR that networks should see; the same one if it is good.

        Args:
            now: seconds, source time.
            afresh: after a cut: the light has nothing to do with that before.
        """
        since = now - self._time
        if self._stretch is None or afresh or since < 0.0:
            self._stretch, self._time = wanted(image), now
        elif since >= (_GOOD_S if self._stretch.gain == 1.0 else _MEASURE_S):
            share = 1.0 - math.exp(-since / _SLOW_S)
            self._stretch, self._time = self._stretch.towards(wanted(image), share), now
        return stretched(image, self._stretch)


def wanted(image: Image) -> Stretch:
    """What a picture's levels need."""
    copy = _small(image)
    darkest, low, high, brightest = (
        float(value) for value in np.percentile(copy, [0.0, 1.0, 99.0, 100.0])
    )
    # Somebody small before a plain wall is outside of the percentiles, and would be cut off.
    need = max(_ramp(high, _DARK), _ramp(brightest - darkest, _FLAT)) * _ramp(high, _CLIPPED)
    if need <= 0.0 or brightest - darkest < _NOTHING:
        return Stretch()
    gain = min(max(_WHITE / max(high - low, 1.0), 1.0), _MAX_GAIN)
    return Stretch(need * low, gain**need, brightest, _noise(image))


def stretched(image: Image, stretch: Stretch) -> Image:
    """The picture with its levels stretched, blurred where that shows too much noise."""
    if stretch.gain < 1.02:
        return image
    values = _curve(stretch)
    if stretch.gain * stretch.noise < _NOISY:
        return np.asarray(cv2.LUT(image, np.clip(np.rint(values), 0, 255).astype(np.uint8)))
    # The blur comes first and must not be rounded to what are now steps of many levels.
    table = np.clip(np.rint(_FINE * values), 0, _MANY).astype(np.uint16)
    fine = cv2.LUT(image, table)
    side = _box_side(_BLUR * max(image.shape[:2]))
    soft = cv2.blur(cv2.blur(fine, (side, side)), (side, side))
    return np.asarray(cv2.convertScaleAbs(soft, alpha=1.0 / _FINE), np.uint8)


def _curve(stretch: Stretch) -> NDArray[np.float64]:
    """(256,) what each level becomes; what is far brighter than the rest keeps its shape."""
    values = stretch.gain * (np.arange(256.0) - stretch.low)
    top = stretch.gain * (stretch.brightest - stretch.low)
    knee = _KNEE + (255.0 - _KNEE) * _ramp(top, _FAR_BRIGHTER)
    above = values > knee
    if top > 255.0 > knee:
        values[above] = knee + (values[above] - knee) * (255.0 - knee) / (top - knee)
    return values


def _box_side(deviation: float) -> int:
    """Pixels, odd, of the box of which two make about a Gaussian; it is five times as fast."""
    return max(2 * round(0.5 * (math.sqrt(6.0 * deviation**2 + 1.0) - 1.0)) + 1, 3)


def _ramp(value: float, ends: tuple[float, float]) -> float:
    """1 up to the first end, 0 from the second."""
    return min(max((ends[1] - value) / (ends[1] - ends[0]), 0.0), 1.0)


def _small(image: Image) -> NDArray[np.uint8]:
    """(36, 64) brightness of every few pixels: cheap, and noise is averaged away."""
    height, width = image.shape[:2]
    step = max(1, min(height // 144, width // 256))
    few = width // step, height // step
    # Every few pixels of what is so many times as large; NumPy takes six times as long for it.
    whole = image[: few[1] * step, : few[0] * step]
    grey = cv2.cvtColor(cv2.resize(whole, few, interpolation=cv2.INTER_NEAREST), cv2.COLOR_BGR2GRAY)
    return np.asarray(cv2.resize(grey, _COPY, interpolation=cv2.INTER_AREA), np.uint8)


def _noise(image: Image) -> float:
    """Standard deviation of what changes from pixel to pixel, in levels of green."""
    rows = image[:: max(1, image.shape[0] // 48), :, 1].astype(np.int16)
    if rows.shape[1] < 3:
        return 0.0
    bend = np.abs(rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:])
    return float(np.median(bend)) / 0.6745 / math.sqrt(6.0)
