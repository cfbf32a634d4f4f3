"""RTMPose, RTMW and DWPose: keypoints of people, each looked at in a box of their own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from posemamba.skeleton import LIMB_JOINTS, NOSE
from posemamba_live.detectors.base import (
    DetectorSettings,
    Found,
    Models,
    OneStage,
    PersonDetector,
    Region,
    TopDown,
)
from posemamba_live.detectors.onnx_model import SIMCC_SPLIT, Kind, OnnxModel
from posemamba_live.detectors.person import NO_PERSON_MODEL, BoxDetector, open_person_detector
from posemamba_live.detectors.placement import SEEN, around_seen, cut_out, place_box, planes
from posemamba_live.detectors.rtmo import RTMO
from posemamba_live.detectors.skeletons import from_keypoints
from posemamba_live.detectors.weights import PRESETS, fetch
from posemamba_live.errors import DetectorError, UsageError
from posemamba_live.types import FloatArray, Image

_MARGIN: Final = 1.25
"""Crop relative to the person's box, as in RTMPose's training."""
_MEAN: Final = (123.675, 116.28, 103.53)
_STD: Final = (58.395, 57.12, 57.375)
"""Of RGB, 0 to 255."""
_REACH: Final = 2
"""Bins on each side of the highest one that place the peak between bins."""

_MIN_SEEN: Final = 4
"""Of nose and limb joints: with fewer seen there is no person."""
_TOLD: Final = [*LIMB_JOINTS, NOSE]
"""Joints that come from the detector one to one."""


def build(name: str, settings: DetectorSettings) -> Models:
    """The detector of one of PRESETS; given models take the place of the preset's.

    Raises:
        UsageError: models that do not go together.
        DetectorError: a model cannot be fetched or used.
    """
    preset = PRESETS[name]
    pose = _open(settings.model or fetch(preset.pose), settings)
    if pose.kind is Kind.ONE_STAGE:
        if settings.person_model not in (None, NO_PERSON_MODEL) or settings.detect_every:
            raise UsageError(
                f"{pose.path.name} finds people by itself, in every frame",
                hint="leave out --person-model and --detect-every; they are for RTMPose",
            )
        return OneStage(name, RTMO(pose), in_parts=True)
    if pose.kind is not Kind.POSE:
        raise UsageError(
            f"{pose.path} finds people, not keypoints ({pose.kind.value})",
            hint="--person-model for this one, --detector-model for the RTMPose model",
        )
    person = open_person_detector(settings, lambda: _own_person_detector(name, settings))
    return TopDown(name, person, RTMPose(pose), settings.detect_every)


def _own_person_detector(name: str, settings: DetectorSettings) -> PersonDetector:
    published = PRESETS[name].person
    if published is None:
        raise UsageError(
            f"A model for single people with --detector {name}",
            hint="--detector rtmpose, or --person-model FILE as well",
        )
    return BoxDetector(_open(fetch(published), settings))


def _open(path: Path, settings: DetectorSettings) -> OnnxModel:
    foreign = path == settings.model
    return OnnxModel.open(path, device=settings.device, threads=settings.threads, foreign=foreign)


class RTMPose:
    """Keypoints of people, one box each, all in one run where the network takes several.

    Args:
        model: of kind POSE.
    """

    def __init__(self, model: OnnxModel) -> None:
        self._model: OnnxModel | None = model
        self._about = {"model": model.path.name, **model.runs_on()}

    def locate(self, image: Image, regions: Sequence[Region]) -> list[Found]:
        """Look into the upright box of each region of the picture (H, W, 3) BGR.

        Raises:
            DetectorError: the model failed, or is closed.
        """
        if self._model is None:
            raise DetectorError("The keypoint model is closed")
        if not regions:
            return []
        size = self._model.size
        places = [place_box(region.box(), size, _MARGIN) for region in regions]
        crops = [cut_out(image, place, size) for place in places]
        pictures = np.stack([planes(crop, _MEAN, _STD, rgb=True) for crop in crops])
        batches = [pictures] if self._model.batched else list(pictures[:, None])
        answers = [self._model.run(batch) for batch in batches]
        points, scores = decode_simcc(
            np.concatenate([answer.first for answer in answers]),
            np.concatenate([answer.second for answer in answers]),
        )
        limits = np.array(image.shape[1::-1], np.float32)
        return [
            _found(place.to_picture(p), s, region, limits)
            for place, p, s, region in zip(places, points, scores, regions, strict=True)
        ]

    def describe(self) -> dict[str, Any]:
        return dict(self._about)

    def close(self) -> None:
        self._model = None


def presence(scores: FloatArray) -> float:
    """How sure it is that (17,) scores are a person's: 0.5 with just enough joints seen."""
    least = float(np.sort(scores[_TOLD])[-_MIN_SEEN])
    return min(0.5 * least / SEEN, 1.0)


def _found(points: FloatArray, scores: FloatArray, region: Region, limits: FloatArray) -> Found:
    """(K, 2) pixels of the picture and (K,) scores to an answer."""
    if not (np.isfinite(points).all() and np.isfinite(scores).all()):
        nothing = np.tile(np.array(region.centre, np.float32), (len(points), 1))
        return Found(from_keypoints(nothing, np.zeros(len(points))), 0.0, region)
    detection = from_keypoints(points, scores)
    sure = presence(detection.scores)
    return Found(detection, sure, around_seen(detection, limits, sure) or region)


def decode_simcc(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Peaks of SimCC.

    Args:
        x: (B, K, 2W) responses across, y: (B, K, 2H) down.

    Returns:
        (B, K, 2) positions in the input, centre of the first pixel at (0.5, 0.5), and
        (B, K) the lower of both peaks, which is RTMPose's confidence.
    """
    bins = np.stack([_peak(x), _peak(y)], -1)
    scores = np.minimum(x.max(-1), y.max(-1))
    return (bins / SIMCC_SPLIT + 0.5).astype(np.float32), scores


def _peak(response: FloatArray) -> FloatArray:
    """(..., L) responses to (...) where the highest is, in bins.

    Training targets are Gaussians of about five bins. A parabola through the highest bin
    and those _REACH away finds the middle of such a peak to a hundredth of a bin.
    """
    top = response.argmax(-1)
    last = response.shape[-1] - 1
    inside = np.clip(top, _REACH, last - _REACH)

    def at(offset: int) -> FloatArray:
        return np.take_along_axis(response, (inside + offset)[..., None], -1)[..., 0]

    below, here, above = at(-_REACH), at(0), at(_REACH)
    with np.errstate(invalid="ignore"):  # infinite responses: their people are left out
        bend = np.maximum(2.0 * here - below - above, 1e-12)
        shift = np.clip(0.5 * _REACH * (above - below) / bend, -0.5, 0.5)
    return np.asarray(np.where(top == inside, top + shift, top), np.float32)
