"""RTMPose: people's boxes first, then keypoints within each of them.

Between two looks for people each person's box comes from their last keypoints: that is
what makes the detector fast enough for live use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from posemamba.skeleton import LIMB_JOINTS, NOSE
from posemamba_live.detectors.base import Detector, DetectorSettings
from posemamba_live.detectors.onnx_model import SIMCC_SPLIT, Kind, OnnxModel
from posemamba_live.detectors.person import PersonDetector, overlap
from posemamba_live.detectors.placement import cut_out, place_box, planes
from posemamba_live.detectors.rtmo import RTMODetector
from posemamba_live.detectors.skeletons import from_keypoints
from posemamba_live.detectors.weights import PRESETS, fetch
from posemamba_live.errors import DetectorError, UsageError
from posemamba_live.tracking.people import without_duplicates
from posemamba_live.types import Detection, FloatArray, Frame, Image

NO_PERSON_MODEL: Final = "none"
"""Instead of a person detector: the whole picture is the first box."""

_LIVE_INTERVAL: Final = 10
"""Frames from one look for people to the next in live use."""
_MARGIN: Final = 1.25
"""Crop relative to the person's box, as in RTMPose's training."""
_BOX_GROWTH: Final = 1.2
"""Person's box relative to that of their keypoints: those end at nose, wrists and ankles."""
_MEAN: Final = (123.675, 116.28, 103.53)
_STD: Final = (58.395, 57.12, 57.375)
"""Of RGB, 0 to 255."""
_REACH: Final = 2
"""Bins on each side of the highest one that place the peak between bins."""

_SEEN: Final = 0.3
"""Score from which a keypoint counts as seen."""
_MIN_SEEN: Final = 4
"""Of nose and limb joints: with fewer seen there is no person."""
_CONFIRMED: Final = 0.6
"""Overlap from which a person's own box is trusted more than a newly found one."""
_SAME_PERSON: Final = 0.3
"""Overlap from which a newly found box is not somebody else."""
_SPARE_PEOPLE: Final = 3
"""People looked at beyond those asked for, so that the tracker can choose."""

_TOLD: Final = [*LIMB_JOINTS, NOSE]
"""Joints that come from the detector one to one."""


def build(name: str, settings: DetectorSettings) -> Detector:
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
        return RTMODetector(pose, name)
    if pose.kind is not Kind.POSE:
        raise UsageError(
            f"{pose.path} finds people, not keypoints ({pose.kind.value})",
            hint="--person-model for this one, --detector-model for the RTMPose model",
        )
    return RTMPoseDetector(
        pose,
        _person_detector(name, settings),
        name=name,
        people=settings.people,
        interval=settings.detect_every or (_LIVE_INTERVAL if settings.live else 1),
    )


def _person_detector(name: str, settings: DetectorSettings) -> PersonDetector | None:
    if settings.person_model == NO_PERSON_MODEL:
        if settings.people > 1:
            raise UsageError(
                f"--people {settings.people} needs a person detector",
                hint="--person-model FILE instead of --person-model none",
            )
        if settings.detect_every:
            raise UsageError(
                f"--detect-every {settings.detect_every} needs a person detector",
                hint="leave it out, or --person-model FILE instead of --person-model none",
            )
        return None
    if settings.person_model is not None:
        path = Path(settings.person_model)
    else:
        default = PRESETS[name].person
        if default is None:
            raise UsageError(
                f"A model for single people with --detector {name}",
                hint="--detector rtmpose, or --person-model FILE as well",
            )
        path = fetch(default)
    model = _open(path, settings)
    if model.kind not in (Kind.BOXES, Kind.GRID):
        raise UsageError(
            f"{path} does not find people ({model.kind.value})",
            hint="--person-model takes a YOLOX or RTMDet model, or the word none",
        )
    return PersonDetector(model)


def _open(path: Path, settings: DetectorSettings) -> OnnxModel:
    return OnnxModel(path, device=settings.device, threads=settings.threads)


@dataclass(frozen=True, slots=True)
class _Person:
    """Somebody in the last frame."""

    box: FloatArray
    """(4,) around their keypoints."""
    detection: Detection


class RTMPoseDetector:
    """Keypoints of several people, top-down.

    Args:
        pose: of kind POSE.
        person: finds boxes; None where the whole picture is the first box.
        people: how many are asked for; a few more are looked at.
        interval: frames from one look for people to the next. It is also looked for
            people when nobody is followed or somebody got lost.
    """

    def __init__(
        self,
        pose: OnnxModel,
        person: PersonDetector | None,
        *,
        name: str = "rtmpose",
        people: int = 1,
        interval: int = 1,
    ) -> None:
        self.name = name
        self._pose: OnnxModel | None = pose
        self._person = person
        self._about = {
            "name": name,
            "model": pose.path.name,
            "person_model": person.model.path.name if person else None,
            "detect_every": interval,
            **pose.runs_on(),
        }
        self._limit = people + _SPARE_PEOPLE if person else 1
        self._interval = interval
        self._followed: list[_Person] = []
        self._size = (0, 0)
        self._until_look = 0

    def describe(self) -> dict[str, Any]:
        return dict(self._about)

    def detect(self, frame: Frame) -> list[Detection]:
        """Return the people in the picture, in pixels of the picture.

        Raises:
            DetectorError: a model failed, or the detector is closed.
        """
        if self._pose is None:
            raise DetectorError("The RTMPose detector is closed")
        if frame.size != self._size:  # another source: nobody is where they were
            self._followed, self._size = [], frame.size
        look = self._until_look <= 0 or not self._followed
        boxes = [person.box for person in self._followed]
        if look:
            boxes = self._merge(boxes, self._find(frame.image))
        seen = self._estimate(self._pose, frame.image, boxes[: self._limit])
        self._until_look = self._interval - 1 if look else self._until_look - 1
        if len(seen) < len(self._followed):
            self._until_look = 0
        self._followed = seen
        return [person.detection for person in seen]

    def close(self) -> None:
        self._pose = self._person = None
        self._followed = []

    def _find(self, image: Image) -> list[FloatArray]:
        if self._person is None:
            whole = np.array([0, 0, image.shape[1], image.shape[0]], np.float32)
            return [] if self._followed else [whole]
        found = list(self._person.find(image))
        return sorted(found, key=lambda box: -float((box[2:] - box[:2]).prod()))

    @staticmethod
    def _merge(followed: Sequence[FloatArray], found: Sequence[FloatArray]) -> list[FloatArray]:
        """Boxes of those who are followed, corrected, then of others, the largest first."""
        boxes, left = [], list(found)
        for box in followed:
            overlaps = [overlap(box, other) for other in left]
            best = int(np.argmax(overlaps)) if overlaps else -1
            if best >= 0 and overlaps[best] >= _SAME_PERSON:
                other = left.pop(best)
                box = box if overlaps[best] >= _CONFIRMED else other
            boxes.append(box)
        return boxes + left

    def _estimate(
        self, pose: OnnxModel, image: Image, boxes: Sequence[FloatArray]
    ) -> list[_Person]:
        """Keypoints within each box; boxes without a person, or with the same one, go."""
        if not boxes:
            return []
        places = [place_box(box, pose.size, _MARGIN) for box in boxes]
        crops = [cut_out(image, place, pose.size) for place in places]
        pictures = np.stack([planes(crop, _MEAN, _STD, rgb=True) for crop in crops])
        batches = [pictures] if pose.batched else list(pictures[:, None])
        people = []
        for start, batch in enumerate(batches):
            outputs = pose.run(batch)
            points, scores = decode_simcc(outputs.first, outputs.second)
            for i, place in enumerate(places[start : start + len(batch)]):
                if np.isfinite(points[i]).all() and np.isfinite(scores[i]).all():
                    people.append(from_keypoints(place.to_picture(points[i]), scores[i]))
        sure = [person for person in people if (person.scores[_TOLD] >= _SEEN).sum() >= _MIN_SEEN]
        kept = {id(person) for person in without_duplicates(sure)}
        size = image.shape[1], image.shape[0]
        return [_Person(_box(person, size), person) for person in sure if id(person) in kept]


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


def _box(person: Detection, size: tuple[int, int]) -> FloatArray:
    """(4,) box of what is seen of somebody, within the picture."""
    seen = person.scores >= _SEEN
    low, high = person.keypoints[seen].min(0), person.keypoints[seen].max(0)
    grown = 0.5 * (_BOX_GROWTH - 1.0) * (high - low)
    limits = np.array(size, np.float32)
    corners = np.clip([low - grown, high + grown], 0.0, limits)
    return np.asarray(corners, np.float32).reshape(4)
