"""What BlazePose says of its own keypoints: visibility, and how clear a peak it saw.

Measured on ten rendered clips with ground truth (`benchmarks/detector_errors.py` names them),
without any smoothing. Visibility tells hidden joints, also those that the body itself hides, but
hardly misplaced ones; the peak tells both. Points as in `noise`; logits are natural.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]


def _row(*values: float) -> Float:
    return np.array(values, np.float32)


# Order: RHip RKnee RAnkle LHip LKnee LAnkle LShoulder LElbow LWrist RShoulder RElbow RWrist
# Nose EarMid.
VISIBLE_LOGIT: Final = _row(6.5, 3.8, 4.4, 6.5, 3.8, 4.4, 8.1, 4.7, 3.7, 8.1, 4.7, 3.7, 8.1, 8.0)
VISIBLE_SD: Final = _row(2.3, 2.0, 1.8, 2.3, 2.0, 1.8, 1.5, 2.0, 2.2, 1.5, 2.0, 2.2, 1.5, 1.3)
BEHIND_LOGIT: Final = _row(5.8, 0.0, 1.0, 5.8, 0.0, 1.0, 7.4, -0.6, -2.3, 7.4, -0.6, -2.3, 7.5, 7.5)
"""Of joints that the body hides. Hips and shoulders it takes for visible all the same."""
BEHIND_SD: Final = _row(2.5, 1.5, 1.1, 2.5, 1.5, 1.1, 1.4, 2.1, 1.3, 1.4, 2.1, 1.3, 1.5, 1.3)
BEHIND_GAIN: Final = _row(0.5, 0.9, 0.7, 0.5, 0.9, 0.7, 0.35, 0.25, 0.5, 0.35, 0.25, 0.5, 0.3, 0.2)
"""Logarithm of how much larger the errors of such joints are, beside what their visibility says."""
COVER_BEGINS, COVER_FULL = -0.5, 0.3
"""`occlusion.covered` at which visibility begins to fall, and where it has fallen."""

PEAK_LOGIT: Final = _row(
    1.43, 1.85, 1.95, 1.43, 1.85, 1.95, 2.7, 2.15, 2.35, 2.7, 2.15, 2.35, 4.2, 2.3
)
PEAK_ERROR: Final = _row(0.0, 0.6, 0.1, 0.0, 0.6, 0.1, 0.43, 0.69, 0.85, 0.43, 0.69, 0.85, 1.3, 0.4)
"""Fall of the logit with log(error + 0.5), error in percent of body height."""
PEAK_BEHIND: Final = _row(0.5, 0.4, 1.6, 0.5, 0.4, 1.6, 1.05, 0.3, 0.4, 1.05, 0.3, 0.4, 0.5, 0.3)
PEAK_SD: Final = _row(0.4, 0.58, 0.7, 0.4, 0.58, 0.7, 0.55, 0.65, 0.63, 0.55, 0.65, 0.63, 0.6, 0.5)
PEAK_OUTSIDE: Final = (-3.5, 1.0)
"""Mean and sd, of points at least `PEAK_GONE` percent of body height outside the picture."""
PEAK_GONE: Final = 13.0


def hidden_share(cover: Float) -> Float:
    """0 for joints in plain view, 1 for those behind a part of the body, of `covered`'s depth."""
    share = (cover - COVER_BEGINS) / (COVER_FULL - COVER_BEGINS)
    return np.asarray(np.clip(share, 0.0, 1.0), np.float32)


def visibility_logits(share: Float, visible: Float, behind: Float) -> Float:
    """Logit of visibility.

    Args:
        share: (B, T, P) of `hidden_share`.
        visible, behind: (B, T, P) unit-variance noise, for joints in view and for hidden ones.
    """
    clear = VISIBLE_LOGIT + VISIBLE_SD * visible
    hidden = np.minimum(BEHIND_LOGIT + BEHIND_SD * behind, clear)
    return np.asarray(clear + share * (hidden - clear), np.float32)


def peak_logits(error: Float, share: Float, beyond: Float, noise: Float) -> Float:
    """Logit of the heatmap's highest value near each point.

    Args:
        error: (B, T, P) distance from the truth, percent of body height.
        share: (B, T, P) of `hidden_share`.
        beyond: (B, T, P) percent of body height by which a point is outside the picture.
        noise: (B, T, P) unit variance.
    """
    logit = PEAK_LOGIT - PEAK_BEHIND * share + PEAK_SD * noise
    logit = logit - PEAK_ERROR * np.log(error + 0.5)
    mean, sd = PEAK_OUTSIDE
    gone = np.clip(beyond / PEAK_GONE, 0.0, 1.0)
    return np.asarray(logit + gone * (np.minimum(mean + sd * noise, logit) - logit), np.float32)
