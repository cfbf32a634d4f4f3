"""Lifted poses with every field different, and what it takes for two of them to be the same."""

from __future__ import annotations

import dataclasses

import numpy as np

from posemamba_live.types import ExtraPoints, LiftedPose, Pose2D

NAMES = ("left_heel", "right_heel", "left_eye")


def lifted_pose(index: int, *, extra: tuple[str, ...] | None = NAMES) -> LiftedPose:
    """A pose of frame `index`, of one of three people."""
    rng = np.random.default_rng(index)
    points = None
    if extra is not None:
        points = ExtraPoints(
            extra,
            rng.uniform(0, 700, (len(extra), 2)).astype(np.float32),
            rng.random(len(extra), np.float32),
        )
    flat = Pose2D(
        frame_index=index,
        timestamp=index / 30.0,
        person_id=index % 3,
        keypoints=rng.uniform(0, 700, (17, 2)).astype(np.float32),
        scores=rng.random(17, np.float32),
        image_size=(1280, 720 + index % 2),
        predicted=extra is None,
        extra=points,
        visibility=rng.random(17, np.float32) if index % 4 else None,
        peak=rng.random(17, np.float32) if index % 5 else None,
    )
    up = rng.normal(size=3).astype(np.float32) if index % 2 else None
    return LiftedPose(flat, rng.normal(size=(17, 3)).astype(np.float32), index % 5, up)


def same(a: object, b: object) -> bool:
    """Whether two records are alike to the last bit, whoever owns their arrays."""

    def plain(value: object) -> object:
        return (value.dtype.str, value.tobytes()) if isinstance(value, np.ndarray) else value

    def flat(record: object) -> list[object]:
        fields = dataclasses.fields(record)  # type: ignore[arg-type]
        values = [getattr(record, f.name) for f in fields]
        return [flat(v) if dataclasses.is_dataclass(v) else plain(v) for v in values]

    return flat(a) == flat(b)
