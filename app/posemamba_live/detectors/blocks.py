"""Pictures that fall apart into blocks of 8 pixels, smoothed for the networks that look at them.

At JPEG quality 5, or in MPEG-4 at its coarsest, edges of blocks are stronger than those of people,
and colours are plain squares. Keypoint models and person detectors were not trained on that:
smoothed, brightness a little and colours a lot, people are found and seen better. Good pictures are
handed on untouched, and H.264, which smooths its blocks itself, nearly so. What people are
shown is not this picture but the camera's.
"""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np

from posemamba_live.types import Image

_BLOCK: Final = 8
"""Pixels of a block's side."""
_LINES: Final = 48
"""Rows and columns of the picture, about, in which steps are measured."""
_MOST: Final = 16
"""Levels of a step that count at most: outlines of things are no blocks, wherever they are."""
_LEAST: Final = 0.1
"""Levels by which steps between blocks are higher than others, below which there are none."""
_FEWEST: Final = 0.08
"""Share of the places between blocks that have a step, below which a few drawn lines happen to lie
there: pictures at JPEG quality 5 to 20 have 0.16 to 0.9, flat drawings 0.02."""
_BLOCKY: Final = (1.9, 2.6)
"""Steps between blocks, relative to others, up to which a picture is left as it is, and from which
it is smoothed in full. Good films have 1.0 to 1.5, H.264 at its worst 2.0, JPEG at quality 20
2.0 to 3.0, at 10 2.4 to 4.1, at 5 2.8 to 6.1."""
_BRIGHTNESS: Final = 1.5
"""Pixels: standard deviation of the brightness's blur."""
_COARSE: Final = 4
"""Pixels of a side of which colours are the mean; with a blur of three such squares, and
interpolated, that is a standard deviation of 4 pixels."""
_MEASURE_S: Final = 0.25
_SLOW_S: Final = 0.5
"""Seconds in which two thirds of a change are followed."""


class Blocks:
    """Smooths a film's blocks where it has any, and no more from one frame to the next than
    the measure of several."""

    def __init__(self) -> None:
        self._strength = 0.0
        self._time = -math.inf

    def __call__(self, image: Image, now: float, *, afresh: bool = False) -> Image:
        """The picture (H, W, 3) BGR that networks should see; the same one if it is good.

        Args:
            now: seconds, source time.
            afresh: after a cut, or in the first frame.
        """
        since = now - self._time
        if afresh or not 0.0 <= since < math.inf:
            self._strength, self._time = strength(image), now
        elif since >= _MEASURE_S:
            share = 1.0 - math.exp(-since / _SLOW_S)
            self._strength += share * (strength(image) - self._strength)
            self._time = now
        return smoothed(image, self._strength)


def strength(image: Image) -> float:
    """How much a picture should be smoothed, 0 to 1."""
    between, within, there = 0.0, 0.0, 0.0
    height, width = image.shape[:2]
    for lines in (
        image[:: max(1, height // _LINES), :, 1],
        image[:, :: max(1, width // _LINES), 1].T,
    ):
        count = (lines.shape[1] - 1) // _BLOCK * _BLOCK
        if count == 0:
            return 0.0
        lines = np.ascontiguousarray(lines)
        steps = np.minimum(cv2.absdiff(lines[:, 1 : count + 1], lines[:, :count]), _MOST)
        steps = steps.reshape(-1, _BLOCK)
        means = steps.mean(0)
        # Blocks begin anywhere in a picture that was cut or turned.
        first = int(means.argmax())
        highest = float(means[first])
        there += 0.5 * np.count_nonzero(steps[:, first]) / len(steps)
        between += highest
        within += (float(means.sum()) - highest) / (_BLOCK - 1)
    if between - within < 2.0 * _LEAST or there < _FEWEST:
        return 0.0
    low, high = _BLOCKY
    return min(max((between / max(within, 1e-6) - low) / (high - low), 0.0), 1.0)


def smoothed(image: Image, strength: float) -> Image:
    """The picture (H, W, 3) BGR with its brightness blurred a little and its colours a lot."""
    if strength < 0.02:
        return image
    height, width = image.shape[:2]
    few = max(width // _COARSE, 1), max(height // _COARSE, 1)
    brightness, *colours = cv2.split(cv2.cvtColor(image, cv2.COLOR_BGR2YCrCb))
    soft = [cv2.GaussianBlur(brightness, (0, 0), _BRIGHTNESS)]
    for colour in colours:
        coarse = cv2.resize(colour, few, interpolation=cv2.INTER_AREA)
        coarse = cv2.GaussianBlur(coarse, (3, 3), 0)
        soft.append(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR))
    smooth = cv2.cvtColor(cv2.merge(soft), cv2.COLOR_YCrCb2BGR)
    if strength < 0.98:
        smooth = cv2.addWeighted(image, 1.0 - strength, smooth, strength, 0.0)
    return np.asarray(smooth, np.uint8)
