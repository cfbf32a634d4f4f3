"""Errors that look like a 2D keypoint detector's, measured on MediaPipe Pose 0.10.21.

The constants come from comparing its keypoints with projected ground truth on rendered and
real video (full model, video mode, smoothing on). Those of `RAW_*` are of the same network
without smoothing, on the rendered clips that `benchmarks/detector_errors.py` names. Unit
throughout: percent of the person's standing height as it projects at the depth of the hips;
standard deviations are per axis.
Points are the 14 that a detector gives: the 12 limb joints in Human3.6M order, the nose, and
the middle of the ears.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from posemamba.skeleton import LIMB_JOINTS
from posemamba.training import confidence

Float = NDArray[np.float32]

NUM_POINTS: Final = 14
P_NOSE, P_EARS = 12, 13
POINT_OF: Final = {joint: point for point, joint in enumerate(LIMB_JOINTS)}


def _row(*values: float) -> Float:
    return np.array(values, np.float32)


# Order: RHip RKnee RAnkle LHip LKnee LAnkle LShoulder LElbow LWrist RShoulder RElbow RWrist
# Nose EarMid.
WHITE_SD: Final = _row(
    0.12, 0.2, 0.25, 0.12, 0.2, 0.25, 0.1, 0.18, 0.25, 0.1, 0.18, 0.25, 0.1, 0.08
)
DRIFT_SD: Final = _row(
    0.85, 0.9, 1.0, 0.85, 0.9, 1.0, 0.62, 0.95, 1.05, 0.62, 0.95, 1.05, 0.7, 0.45
)
OFFSET_SD: Final = _row(1.2, 0.6, 0.8, 1.2, 0.6, 0.8, 1.0, 0.4, 0.5, 1.0, 0.4, 0.5, 1.0, 0.8)
OFFSET_SHARED: Final = _row(0.8, 0, 0, 0.8, 0, 0, 0.5, 0, 0, 0.5, 0, 0, 0, 0)
"""Correlation of a point's offset with that of its partner on the other side: a detector that
marks one hip too high marks both so. In the measurements the two hips' mean offsets differ by 0.2,
where independent ones would by 0.8 to 1.0. Shoulders agree less."""
BIAS_UP: Final = _row(-1.1, 0.1, 0.7, -1.1, 0.1, 0.7, 0.4, 0.0, -0.2, 0.4, 0.0, -0.2, 0.3, 0.4)
"""Along the picture line hips -> shoulders; mean of rendered and real clips, sides averaged."""
BIAS_RENDERED: Final = _row(-0.4, 0.5, 1.0, -0.4, 0.5, 1.0, 1.6, 0.2, 0.0, 1.6, 0.2, 0.0, 0.9, 0.75)
BIAS_REAL: Final = _row(
    -1.9, -0.3, 0.35, -1.9, -0.3, 0.35, -0.6, -0.2, -0.4, -0.6, -0.2, -0.4, -0.3, 0.0
)
"""The two whose mean that is: against the joint centres of rendered bodies, and on real video
against another detector, itself off by 1 to 2 percent. They differ by what each calls a hip or a
shoulder, so all points of a person differ together."""
BIAS_SHARE: Final = (-0.2, 1.2)
"""Range of the share of `BIAS_RENDERED`; the rest is `BIAS_REAL`."""
DRIFT_TIME_S: Final = 0.15
MAX_LAG_S: Final = 0.013
"""The detector smooths its output, 4 to 13 ms late."""

RAW_DRIFT_SD: Final = _row(
    0.5, 0.52, 0.55, 0.5, 0.52, 0.55, 0.37, 0.72, 0.72, 0.37, 0.72, 0.72, 0.3, 0.28
)
RAW_DRIFT_TIME_S: Final = (0.12, 1.2)
"""Range, drawn log-uniformly for each window. What changes more slowly is part of the offset."""
RAW_OFFSET_SD: Final = _row(
    0.4, 0.35, 0.35, 0.4, 0.35, 0.35, 0.4, 0.5, 0.6, 0.4, 0.5, 0.6, 0.35, 0.25
)
"""Of what stays the same for a second, beside `landmarks`, which turn with the body."""

_TOGETHER: Final = {
    (0, 3): (0.6, 0.65),
    (0, 1): (0.2, 0.4), (3, 4): (0.2, 0.4),
    (1, 2): (0.35, 0.28), (4, 5): (0.35, 0.28),
    (0, 2): (0.15, 0.1), (3, 5): (0.15, 0.1),
    (2, 5): (-0.25, 0.0),
    (0, 6): (0.1, 0.27), (0, 9): (0.1, 0.27), (3, 6): (0.1, 0.27), (3, 9): (0.1, 0.27),
    (6, 9): (-0.2, 0.4),
    (6, 7): (0.2, 0.1), (9, 10): (0.2, 0.1),
    (7, 8): (0.4, 0.35), (10, 11): (0.4, 0.35),
    (7, 10): (0.0, 0.2), (8, 11): (-0.2, 0.1),
}  # fmt: skip
"""Correlations of what changes over time in the errors of two points, across the trunk and up it:
both hips are marked too high at once, an elbow takes its wrist along. Pairs that are not named have
none, or have been found to differ between one half of the clips and the other."""

HIDDEN_SD: Final = _row(2.0, 6, 10, 2.0, 6, 10, 2, 6, 9, 2, 6, 9, 3, 3)
"""Constant and drift together, of a limb behind furniture."""
HIDDEN_UP: Final = _row(1.9, 4, 10, 1.9, 4, 10, 0, 0, 0, 0, 0, 0, 0, 0)
"""The detector pulls hidden legs up towards the trunk."""
OUTSIDE_SD: Final = _row(4, 11, 15, 4, 11, 15, 3, 6, 9, 3, 6, 9, 3, 3)
"""Of points beyond the picture's edge, which the detector invents."""
EDGE_HIPS_UP: Final = -4.0
"""Hips at the lower edge of the picture come out 2 to 6 percent too low."""

SCORE_LOGIT: Final = (6.0, 2.8)
"""Mean and sd of logit(visibility) of points in view. With the hidden and invented points
below it gives the measured shares: 58 % above 0.99, 82 % above 0.9, 91 % above 0.6, 99 % above
0.1."""
SCORE_KNEE, SCORE_GAIN = 1.5, 0.35
"""Errors grow by exp(0.35 (1.5 - logit)) below a logit of 1.5 and not above: the measured
median error is 1.1 to 1.6 percent for visibilities over 0.6, 3.0 around 0.45, 5 to 8 below."""
HIDDEN_LOGIT: Final = (-0.9, 0.9)
OUTSIDE_LOGIT: Final = (-2.2, 1.0)
EDGE_REACH: Final = 7.0
"""Percent of body height from wrist or ankle to the end of hand or foot: where that is outside the
picture while the joint is inside, the joint may be put anywhere."""
EDGE_ASTRAY: Final = 0.4
"""Share of the limbs at an edge to which that happens."""
EDGE_ASTRAY_SD: Final = (6.0, 22.0)
"""Range, drawn log-uniformly for each limb: up to 40 percent of body height were seen."""
EDGE_OTHER: Final = 0.3
"""Share of these limbs that are put where the other side's hand or foot is."""
EDGE_LOGIT: Final = (0.3, 2.0)

_LIMBS: Final = ((0, 1, 2), (3, 4, 5), (6, 7, 8), (9, 10, 11))
_OTHER_SIDE: Final = (3, 4, 5, 0, 1, 2, 9, 10, 11, 6, 7, 8, 12, 13)
_BURST_SD: Final = (3.0, 6.0)


@dataclass(frozen=True, slots=True)
class NoiseConfig:
    """How often and how much."""

    amount: float = 1.0
    """Factor on all position errors; 0 gives exact keypoints (and lost frames, if any)."""
    severity: float = 0.5
    """Sigma of the log-normal factor that all errors of a window share."""
    burst: float = 0.05
    """Probability per limb and window that its outer joints go astray for a while."""
    burst_far: float = 0.15
    """The same for a limb that is the farther one of its pair."""
    burst_swap: float = 0.35
    """Share of bursts that jump onto the other side's limb."""
    legs_swapped: float = 0.02
    """Probability per window that both legs change names for a while."""
    hidden: float = 0.11
    """Probability per window that the legs or one limb are behind something."""
    frozen: float = 0.05
    """Probability per limb and window that its points stand still for a few frames."""
    gap: float = 0.08
    """Probability per window of frames without any detection, filled in linearly."""
    shared_bias: bool = True
    """Biases that all points of a window share a cause for, anywhere between those of rendered
    and of real clips; otherwise about their mean, each point on its own."""
    paired_offset: bool = True
    """Constant errors of hips and of shoulders mostly the same on both sides (`OFFSET_SHARED`)."""
    compressed_scores: float = 0.06
    """Share of windows whose scores stay below about 0.6 to 1, as other detectors' do."""
    raw: bool = True
    """Errors of unsmoothed keypoints (`RAW_*`), places fixed to the body (`landmarks`) instead of
    biases in the picture, and hands and feet lost at its edge."""
    together: bool = True
    """Of `raw` errors: those of neighbouring points go together (`_TOGETHER`); otherwise each goes
    its own way."""
    astray: float = EDGE_ASTRAY
    """Share of the limbs whose hand or foot has left the picture while wrist or ankle has not,
    that are put anywhere; of `raw` errors."""
    self_occlusion: bool = True
    """Joints that the body hides are less visible and worse placed."""
    peaks: float = 0.8
    """Share of windows whose scores are visibility times peak; the others' are visibility."""


@dataclass(frozen=True, slots=True)
class Detections:
    """What the imagined detector reports."""

    points: Float
    """(B, T, 14, 2) pixels."""
    scores: Float
    """(B, T, 14) 0 to 1."""
    peaks: Float
    """(B, T, 14) how sharply each was localised, 0 to 1; the scores, where it is not told."""


def detect(
    rng: np.random.Generator,
    points: Float,
    depth: Float,
    percent: Float,
    image_size: Float,
    fps: Float,
    config: NoiseConfig,
    cover: Float | None = None,
) -> Detections:
    """Turn exact projections into what a detector would have said.

    Args:
        points: (B, T, 14, 2) exact pixels, in or out of the picture.
        depth: (B, T, 14) metres along the optical axis.
        percent: (B,) pixels per percent of body height.
        image_size: (B, 2) W, H.
        fps: (B,) frames per second.
        cover: (B, T, 14) of `occlusion.covered`, for a config with `self_occlusion`.
    """
    batch, frames = points.shape[:2]
    scale = percent[:, None, None, None]
    up = _trunk_direction(points)

    far = _far_limbs(depth)
    share = np.zeros(points.shape[:3], np.float32)
    if config.self_occlusion and cover is not None:
        share = confidence.hidden_share(cover)
        noise = [_slow(rng, batch, frames, fps) for _ in range(2)]
        logit = confidence.visibility_logits(share, *noise)
    else:
        logit = _score_logits(rng, batch, frames, fps, far)
    clean = _lagged(rng, points, config.amount * fps)

    severity = np.exp(config.severity * rng.standard_normal(batch, np.float32))
    weak = np.exp(SCORE_GAIN * np.maximum(SCORE_KNEE - logit, 0.0) + confidence.BEHIND_GAIN * share)
    shape = (batch, frames, NUM_POINTS, 2)
    error: Float
    if config.raw:
        low, high = np.log(RAW_DRIFT_TIME_S)
        drift, white = _drift(rng, shape, fps, np.exp(rng.uniform(low, high, batch)))
        offset = rng.standard_normal((batch, 1, NUM_POINTS, 2), np.float32)
        if config.together:
            drift, offset = _together(drift, up), _together(offset, up)
        error = drift * RAW_DRIFT_SD[:, None]
        error += offset * RAW_OFFSET_SD[:, None]
    else:
        drift, white = _drift(rng, shape, fps, DRIFT_TIME_S)
        offset = rng.standard_normal((batch, 1, NUM_POINTS, 2), np.float32)
        if config.paired_offset:
            offset = _paired(offset)
        error = drift * DRIFT_SD[:, None]
        error += offset * OFFSET_SD[:, None]
    error += white * WHITE_SD[:, None]
    error *= weak[..., None] * severity[:, None, None, None]
    if config.raw:
        bias = np.zeros((batch, 1, NUM_POINTS), np.float32)
    elif config.shared_bias:
        part = rng.uniform(*BIAS_SHARE, (batch, 1, 1)).astype(np.float32)
        bias = BIAS_REAL + part * (BIAS_RENDERED - BIAS_REAL)
    else:
        bias = BIAS_UP * rng.uniform(0.0, 1.5, (batch, 1, NUM_POINTS)).astype(np.float32)
    known = bias[..., None] * up
    error += known

    _hide(rng, error, logit, drift, up, config)
    _burst(rng, error, logit, clean, scale, far, fps, config)
    if config.raw:
        _lose_at_edge(rng, error, logit, drift, clean, image_size, percent, config.astray)
    _invent_outside(rng, error, logit, drift, up, clean, image_size, percent)

    noisy = clean + config.amount * error * scale
    scores = _sigmoid(logit)
    peaks = scores.copy()
    if config.peaks:
        distance = config.amount * np.linalg.norm(error - known, axis=-1)
        beyond = _beyond(clean, image_size) / percent[:, None, None]
        noise_of_peak = _slow(rng, batch, frames, fps)
        peak = _sigmoid(confidence.peak_logits(distance, share, beyond, noise_of_peak))
        with_peak = np.asarray(rng.random(batch) < config.peaks)[:, None, None]
        scores *= np.where(with_peak, peak, np.float32(1.0))
        peaks = np.where(with_peak, peak, peaks)
    trust = np.stack([scores, peaks], -1)
    _freeze(rng, noisy, trust, config)
    _drop_frames(rng, noisy, trust, fps, config)
    squeeze = np.where(rng.random(batch) < config.compressed_scores, rng.uniform(0.6, 1, batch), 1)
    trust *= squeeze.astype(np.float32)[:, None, None, None]
    return Detections(noisy, trust[..., 0], trust[..., 1])


def _sigmoid(x: Float) -> Float:
    return np.asarray(1.0 / (1.0 + np.exp(-x)), np.float32)


def _trunk_direction(points: Float) -> Float:
    """(B, T, 1, 2) unit picture vector from hips to shoulders; upwards where they coincide."""
    hips = points[:, :, 0] + points[:, :, 3]
    up = 0.5 * (points[:, :, 6] + points[:, :, 9] - hips)
    length = np.linalg.norm(up, axis=-1, keepdims=True)
    up = np.where(length > 1e-3, up / np.maximum(length, 1e-3), _row(0.0, -1.0))
    return np.asarray(up[:, :, None], np.float32)


def _paired(offset: Float) -> Float:
    """Unit-variance (B, 1, 14, 2) noise, made to agree between the sides by `OFFSET_SHARED`."""
    # a x + b y and a y + b x have unit variance and the correlation 2 a b.
    angle = 0.5 * np.arcsin(OFFSET_SHARED)[:, None]
    partner = offset[:, :, _OTHER_SIDE]
    return np.asarray(np.cos(angle) * offset + np.sin(angle) * partner, np.float32)


def _together(noise: Float, up: Float) -> Float:
    """(B, T, 14, 2) unit-variance noise of independent points, (B, T or 1, 14, 2), made to go
    together by `_TOGETHER`.

    Args:
        up: (B, T, 1, 2) of `_trunk_direction`.
    """
    mixed = np.stack([noise[..., axis] @ factor.T for axis, factor in enumerate(_FACTORS)], -1)
    across = np.stack([-up[..., 1], up[..., 0]], -1)
    return np.asarray(mixed[..., :1] * across + mixed[..., 1:] * up, np.float32)


def _factors() -> list[Float]:
    """Of the correlations across the trunk and up it: (14, 14), times its own transpose each."""
    out = []
    for axis in (0, 1):
        correlation = np.eye(NUM_POINTS)
        for (a, b), both in _TOGETHER.items():
            correlation[a, b] = correlation[b, a] = both[axis]
        out.append(np.linalg.cholesky(correlation).astype(np.float32))
    return out


_FACTORS: Final = _factors()


def _slow(rng: np.random.Generator, batch: int, frames: int, fps: Float) -> Float:
    """(B, T, 14) unit-variance noise, most of it constant and the rest slow."""
    slow, _ = _drift(rng, (batch, frames, NUM_POINTS), fps, 4 * DRIFT_TIME_S)
    fixed = rng.standard_normal((batch, 1, NUM_POINTS), np.float32)
    return np.asarray(0.8 * fixed + 0.6 * slow, np.float32)


def _far_limbs(depth: Float) -> NDArray[np.bool_]:
    """(B, 4) is the limb at least 10 cm farther from the camera than its partner?"""
    middle = depth[:, :, (1, 4, 7, 10)].mean(1)
    return np.asarray(middle - middle[:, (1, 0, 3, 2)] > 0.1)


def _drift(
    rng: np.random.Generator, shape: tuple[int, ...], fps: Float, seconds: float | NDArray[Any]
) -> tuple[Float, Float]:
    """Unit-variance AR(1) noise along axis 1, and unit white noise of the same shape."""
    both = rng.standard_normal((2, *shape), np.float32)
    drift, white = both[0], both[1]
    keep = np.exp(-1.0 / (fps * seconds)).reshape(-1, *([1] * (len(shape) - 2)))
    renew = np.sqrt(1.0 - keep**2).astype(np.float32)
    for t in range(1, shape[1]):
        drift[:, t] *= renew
        drift[:, t] += keep * drift[:, t - 1]
    return drift, white


def _score_logits(
    rng: np.random.Generator, batch: int, frames: int, fps: Float, far: NDArray[np.bool_]
) -> Float:
    """(B, T, 14) logit of visibility: per point, slowly changing, lower on the far side."""
    slow, _ = _drift(rng, (batch, frames, NUM_POINTS), fps, 4 * DRIFT_TIME_S)
    fixed = rng.standard_normal((batch, 1, NUM_POINTS), np.float32)
    mean, sd = SCORE_LOGIT
    logit = mean + sd * (0.8 * fixed + 0.6 * slow)
    for limb, points in enumerate(_LIMBS):
        logit[:, :, points[1:]] -= 2.0 * far[:, limb, None, None]
    return np.asarray(logit, np.float32)


def _lagged(rng: np.random.Generator, points: Float, fps: Float) -> Float:
    """The points a few milliseconds ago, as the detector's own smoothing shows them."""
    lag = (rng.uniform(0.0, MAX_LAG_S, len(points)) * fps).astype(np.float32)
    out = points.copy()
    out[:, 1:] -= lag[:, None, None, None] * (points[:, 1:] - points[:, :-1])
    return out


def _span(rng: np.random.Generator, frames: int, shortest: int, longest: int) -> tuple[int, int]:
    """A run of frames that may begin before the window or end after it.

    So every frame of a window is as likely to be in it, the newest of live use included.
    """
    shortest = max(shortest, 1)
    length = int(rng.integers(shortest, max(shortest, longest) + 1))
    begin = int(rng.integers(1 - length, frames))
    return max(begin, 0), min(begin + length, frames)


def _hide(
    rng: np.random.Generator, error: Float, logit: Float, drift: Float, up: Float, cfg: NoiseConfig
) -> None:
    """Put legs or one limb behind furniture, mostly for the whole window."""
    frames = error.shape[1]
    for b in np.flatnonzero(rng.random(len(error)) < cfg.hidden):
        whole = rng.random() < 0.7
        begin, end = (0, frames) if whole else _span(rng, frames, frames // 4, frames)
        limbs = (0, 1) if rng.random() < 0.6 else (int(rng.integers(4)),)
        points = [p for limb in limbs for p in _LIMBS[limb][0 if len(limbs) == 2 else 1 :]]
        fixed = rng.standard_normal((1, len(points), 2), np.float32)
        wander = 0.7 * (fixed + drift[b, begin:end][:, points])
        pull = rng.uniform(0.3, 1.7) * HIDDEN_UP[points, None]
        error[b, begin:end, points] = (
            wander * HIDDEN_SD[points, None] + pull * up[b, begin:end]
        ).swapaxes(0, 1)
        mean, sd = HIDDEN_LOGIT
        level = mean + sd * rng.standard_normal((1, len(points)), np.float32)
        hip = np.array([p in (0, 3) for p in points])
        # Hips behind a table keep most of their visibility; the trunk gives them away.
        level = level + np.where(hip, 2.5, 0.0)
        logit[b, begin:end, points] = np.broadcast_to(level, (end - begin, len(points))).T


def _burst(
    rng: np.random.Generator,
    error: Float,
    logit: Float,
    clean: Float,
    scale: Float,
    far: NDArray[np.bool_],
    fps: Float,
    cfg: NoiseConfig,
) -> None:
    """Let the two outer joints of a limb go astray, or jump onto the other side's, for a while."""
    frames = error.shape[1]
    chance = np.where(far, cfg.burst_far, cfg.burst)
    for b, limb in np.argwhere(rng.random(far.shape) < chance):
        begin, end = _span(rng, frames, max(2, round(0.1 * float(fps[b]))), int(0.6 * frames))
        points = _LIMBS[limb][1:]
        if rng.random() < cfg.burst_swap:
            other = [_OTHER_SIDE[p] for p in points]
            jump = (clean[b, begin:end][:, other] - clean[b, begin:end][:, points]) / scale[b]
        else:
            jump = rng.standard_normal((1, 2, 2), np.float32) * _row(*_BURST_SD)[:, None]
        error[b, begin:end, points[0] : points[1] + 1] += jump
        logit[b, begin:end, points[0] : points[1] + 1] -= rng.uniform(0.0, 5.0)
    for b in np.flatnonzero(rng.random(len(error)) < cfg.legs_swapped):
        begin, end = _span(rng, frames, 2, frames)
        legs = clean[b, begin:end, :6]
        error[b, begin:end, :6] += (legs[:, _OTHER_SIDE[:6]] - legs) / scale[b]


def _invent_outside(
    rng: np.random.Generator,
    error: Float,
    logit: Float,
    drift: Float,
    up: Float,
    clean: Float,
    image_size: Float,
    percent: Float,
) -> None:
    """Where a point leaves the picture, the detector goes on with a guess and low scores.

    It never guesses farther than one picture beyond the edge: `clean` is cut off there in place.
    """
    picture = image_size[:, None, None, :]
    np.clip(clean, -picture, 2.0 * picture, out=clean)
    beyond = _beyond(clean, image_size)
    if not (beyond > 0).any():
        return
    # Full effect 3 percent of body height beyond the edge: the detector's smoothing blurs it.
    share = np.clip(beyond / (3.0 * percent[:, None, None]), 0.0, 1.0)[..., None]
    shape = (len(error), 1, NUM_POINTS, 2)
    guess = OUTSIDE_SD[:, None] * (0.6 * rng.standard_normal(shape, np.float32) + 0.4 * drift)
    low = EDGE_HIPS_UP + 1.3 * rng.standard_normal((len(error), 1, 1, 1), np.float32)
    guess[:, :, (0, 3)] += low * up
    error += share * guess
    mean, sd = OUTSIDE_LOGIT
    level = mean + sd * rng.standard_normal((len(error), 1, NUM_POINTS), np.float32)
    logit += share[..., 0] * (np.minimum(level, logit) - logit)


def _beyond(points: Float, image_size: Float) -> Float:
    """(B, T, P) pixels by which points are outside the picture, negative inside."""
    picture = image_size[:, None, None, :]
    return np.asarray(np.maximum(-points, points - picture).max(-1), np.float32)


def _lose_at_edge(
    rng: np.random.Generator,
    error: Float,
    logit: Float,
    drift: Float,
    clean: Float,
    image_size: Float,
    percent: Float,
    often: float,
) -> None:
    """Put wrists and ankles whose hand or foot has left the picture where the body is, or the
    other one of the pair."""
    frames = error.shape[1]
    least, most = np.log(EDGE_ASTRAY_SD)
    for limb in _LIMBS:
        joint, end = limb[1:]
        way = clean[:, :, end] - clean[:, :, joint]
        way = way / np.maximum(np.linalg.norm(way, axis=-1, keepdims=True), 1e-6)
        tip = clean[:, :, end] + EDGE_REACH * percent[:, None, None] * way
        at_edge = (_beyond(tip[:, :, None], image_size) > 0)[..., 0]
        at_edge &= (_beyond(clean[:, :, end, None], image_size) < 0)[..., 0]
        for b in np.flatnonzero(at_edge.mean(1) > 0.3):
            if rng.random() >= often:
                continue
            begin, end_frame = (0, frames) if rng.random() < 0.5 else _span(rng, frames, 3, frames)
            part = slice(begin, end_frame)
            away = np.float32(np.exp(rng.uniform(least, most)))
            wander = 0.6 * rng.standard_normal((1, 2), np.float32) + 0.8 * drift[b, part, end]
            if rng.random() < EDGE_OTHER:
                other = clean[b, part, _OTHER_SIDE[end]] - clean[b, part, end]
                error[b, part, end] += other / percent[b] + 0.4 * away * wander
            else:
                inwards = -np.sign(way[b, part]) * np.abs(rng.normal(0.0, away))
                error[b, part, end] += away * wander + inwards
            mean, sd = EDGE_LOGIT
            level = mean + sd * np.float32(rng.standard_normal())
            logit[b, part, end] = np.minimum(logit[b, part, end], level)


def _freeze(rng: np.random.Generator, noisy: Float, trust: Float, cfg: NoiseConfig) -> None:
    """Let the outer joints of a limb stand still for some frames, with a low score."""
    frames = noisy.shape[1]
    for b, limb in np.argwhere(rng.random((len(noisy), 4)) < cfg.frozen):
        begin, end = _span(rng, frames, 1, 6)
        first, last = _LIMBS[limb][1], _LIMBS[limb][2] + 1
        noisy[b, begin:end, first:last] = noisy[b, begin, first:last]
        trust[b, begin:end, first:last] *= np.float32(rng.uniform(0.0, 0.6))


def _drop_frames(
    rng: np.random.Generator, noisy: Float, trust: Float, fps: Float, cfg: NoiseConfig
) -> None:
    """Lose the whole person for up to a quarter second; bridge it linearly or by holding."""
    frames = noisy.shape[1]
    for b in np.flatnonzero(rng.random(len(noisy)) < cfg.gap):
        begin, end = _span(rng, frames, 1, max(1, int(0.25 * float(fps[b]))))
        before, after = max(begin - 1, 0), min(end, frames - 1)
        if begin == 0:
            before = after
        if end == frames:
            after = before
        share = np.linspace(0, 1, end - begin + 2, dtype=np.float32)[1:-1, None, None]
        noisy[b, begin:end] = noisy[b, before] + share * (noisy[b, after] - noisy[b, before])
        bridge = trust[b, before] + share * (trust[b, after] - trust[b, before])
        trust[b, begin:end] = bridge * np.float32(rng.uniform(0.0, 1.0))
