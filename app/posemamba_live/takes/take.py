"""A take: all poses of one run, and each person's motion at a constant rate.

Formats of motion capture know rows at a constant rate, one for every frame. Videos mostly
have that; cameras do not quite, and people come and go.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from posemamba.skeleton import NUM_JOINTS
from posemamba_live.errors import LiveError, UsageError
from posemamba_live.keypoints import MAX_GAP_S
from posemamba_live.takes.reading import read_arrays
from posemamba_live.types import ExtraPoints, FloatArray, Frame, Ground, Pose2D, Pose3D

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]
Film = Callable[[], AbstractContextManager[Iterable[Frame]]]
"""Opens a film anew: its frames in order, with the same indices and times."""

SCHEMA_VERSION: Final = 2
"""1 had neither the camera nor each pose's look-ahead."""
_RECORDED_PACKAGES: Final = ("posemamba-live", "torch", "numpy", "mediapipe", "onnxruntime")
_ON_GRID: Final = 0.25
"""Of a frame: what times may be off a constant rate and still count as that frame's."""
LONGEST_GAP_S: Final = 10.0
"""Rows at a constant rate stand for no longer time without anybody."""
_LONGEST_STEPS: Final = 3
"""At low rates so many frame distances are no gap."""
_RATE_ERROR: Final = 0.1
"""What the source's rate may be wrong by, relatively; cameras claim rates in bad light."""
_SAME_RATE: Final = 0.005
"""A measured rate that is nearer to the nominal one confirms it."""
_LEAST_STEPS: Final = 10
"""Between frames with somebody in them, for a rate to be measured."""
_STALL_S: Final = 1.0
_STALL_STEPS: Final = 5.0
"""A step that is longer, and so many times longer than the usual one, is a camera that was away."""
MAX_ROWS: Final = 2_000_000
"""At a constant rate, all people of a take together: 18 hours of one at 30 a second."""


@dataclass(frozen=True, slots=True)
class Motion:
    """One person at a constant rate, from the first pose to the last."""

    person_id: int
    rate: float
    """Rows per second."""
    first: int
    """Row i is at (first + i) / rate seconds of the source, less what long gaps lost."""
    joints: Array
    """(T, 17, 3) metres, world frame; NaN where the person was not seen."""

    @property
    def seen(self) -> NDArray[np.bool_]:
        """(T,) whether there is a pose. First and last row always have one."""
        return np.asarray(~np.isnan(self.joints[:, 0, 0]))

    @property
    def times(self) -> Array:
        """(T,) seconds of the source."""
        return np.asarray((self.first + np.arange(len(self.joints))) / self.rate)


@dataclass(frozen=True, slots=True)
class Take:
    """What a run has found, and what it says about itself."""

    poses: Sequence[Pose3D]
    """Sorted by frame, then person."""
    meta: Mapping[str, Any]
    """JSON values, with `fps` and `image_size` (W, H)."""
    name: str = ""
    """Of the file that it is written to, for formats and messages that say it."""
    film: Film | None = None
    """Opens the film that it was made of, for formats with pictures; None without it."""

    def described(self) -> dict[str, Any]:
        """What a file says of the run that made it: `meta` and versions, JSON values.

        Names of files may hold what is no Unicode (bytes that are not UTF-8): files say `\ufffd`.
        """
        text = json.dumps({**self.meta}, ensure_ascii=False)
        meta = json.loads(text.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
        return {"versions": _versions(), **meta, "schema_version": SCHEMA_VERSION}

    @property
    def title(self) -> str:
        """The name as text that can be written and shown."""
        return os.fsencode(self.name).decode("utf-8", "replace")

    @property
    def fov_deg(self) -> float | None:
        """Field of view across the picture's longer side that was used; None if unknown."""
        match self.meta.get("fov_deg"):
            case int(fov) | float(fov) if 0.0 < fov < 180.0 and fov is not True:
                return float(fov)
        return None

    @property
    def people(self) -> dict[int, list[Pose3D]]:
        """Each person's poses in the order of time; whoever was seen most comes first."""
        found: dict[int, list[Pose3D]] = {}
        for pose in self.poses:
            found.setdefault(pose.person_id, []).append(pose)
        return dict(sorted(found.items(), key=lambda item: (-len(item[1]), item[0])))

    @property
    def rate(self) -> float:
        """Rows per second for formats that want a constant rate: the source's, if it is kept."""
        fps = float(self.meta["fps"])
        times = np.unique([pose.pose2d.timestamp for pose in self.poses])
        if len(times) < 2:
            return fps if _sane(fps) else 30.0
        measured = 1.0 / float(np.median(np.diff(times)))
        if not _sane(fps):
            return round(measured, 2)
        if _grid(times, fps) is not None or abs(measured / fps - 1.0) < _RATE_ERROR:
            return fps
        return round(measured, 2)

    def motions(self) -> list[Motion]:
        """One for each person, all at `rate`; whoever was seen most comes first.

        Where times do not fit the rate, and in gaps of up to MAX_GAP_S, joints are
        interpolated between the poses before and after. Where nobody is seen for longer than
        LONGEST_GAP_S, and a few frames, so many rows stand for that time: clocks that jump by
        hours would take gigabytes.

        Raises:
            LiveError: the rows would be more than MAX_ROWS, whatever few poses are in them.
        """
        rate = self.rate
        times = np.unique([pose.pose2d.timestamp for pose in self.poses])
        limit = max(LONGEST_GAP_S, _LONGEST_STEPS / rate)
        gaps = _long_gaps(times, limit, rate)
        if gaps:
            logger.warning(
                "%s: %d gaps of %.0f s together are shortened to %.0f s each",
                self.title, len(gaps), sum(limit + lost for _, lost in gaps), limit,
            )  # fmt: skip
        self._check_rows(rate, gaps)
        return [_motion(person, poses, rate, gaps) for person, poses in self.people.items()]

    def _check_rows(self, rate: float, gaps: Sequence[tuple[float, float]]) -> None:
        rows = 0.0
        for poses in self.people.values():
            times = [pose.pose2d.timestamp for pose in poses]
            lost = sum(lost for end, lost in gaps if min(times) < end <= max(times))
            rows += (max(times) - min(times) - lost) * rate + 1.0
        if rows > MAX_ROWS:
            raise LiveError(
                f"{self.name or 'the take'} is too long for a constant rate",
                why=f"{rows:.3g} rows for {len(self.poses)} poses; at most {MAX_ROWS}",
                hint=".npz, .csv and .json hold poses alone; --start and --end cut a film",
            )


def with_measured_rate(meta: Mapping[str, Any], poses: Sequence[Pose3D]) -> Mapping[str, Any]:
    """The meta of a live run with the rate that its time stamps had in place of the nominal one.

    Cameras promise rates that they do not keep, and network sources often name none. Frames
    that nobody had time for count as well: each has its index.
    """
    if not meta.get("live") or not poses:
        return meta
    index, first = np.unique([pose.frame_index for pose in poses], return_index=True)
    times = np.array([poses[row].pose2d.timestamp for row in first])
    frames, seconds = np.diff(index), np.diff(times)
    steps = seconds / frames
    if len(steps) < _LEAST_STEPS:
        return meta
    kept = (seconds > 0.0) & (steps < max(_STALL_S, _STALL_STEPS * float(np.median(steps))))
    measured = float(frames[kept].sum() / seconds[kept].sum())
    nominal = float(meta["fps"])
    if not _sane(measured) or abs(nominal / measured - 1.0) < _SAME_RATE:
        return meta
    return {**meta, "fps": round(measured, 3)}


def read_take(path: Path) -> Take:
    """Poses and meta of a `poses.npz`, or of the journal that a run left behind.

    Raises:
        LiveError: the file cannot be read, or is not such a file.
    """
    if path.suffix == ".journal":
        from posemamba_live.takes.recovery import recover

        recovered = recover(path)
        for note in recovered.notes:
            logger.warning(note)
        return recovered.take
    try:
        data, meta = read_arrays(path)
    except FileNotFoundError as error:
        raise UsageError(f"There is no file {path}", hint="the .npz that --export wrote") from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise LiveError(
            f"{path} cannot be read", why=why, hint="it takes the .npz that --export wrote"
        ) from error
    width, height = (int(v) for v in data["image_size"])
    meta |= {"fps": float(data["fps"]), "image_size": [width, height]}
    if "camera_fov" in data:
        meta["fov_deg"] = float(data["camera_fov"])
    look_ahead = data.get("look_ahead")
    grounds = _grounds(data)
    poses = [
        Pose3D(
            pose2d=Pose2D(
                frame_index=int(data["frame_index"][i]),
                timestamp=float(data["timestamp"][i]),
                person_id=int(data["person_id"][i]),
                keypoints=data["joints_2d"][i],
                scores=data["scores_2d"][i],
                image_size=(width, height),
                predicted=bool(data["predicted"][i]),
                extra=_extra(data, i),
                visibility=_part(data, "visibility_2d", i),
                peak=_part(data, "peak_2d", i),
            ),
            joints=data["joints_3d"][i],
            root=data["root_3d"][i],
            joints_world=data["joints_world"][i],
            look_ahead=int(meta.get("look_ahead", 0) if look_ahead is None else look_ahead[i]),
            ground=None if grounds is None else grounds[i],
        )
        for i in np.lexsort((data["person_id"], data["frame_index"]))
    ]
    return Take(poses, meta, path.name)


def _extra(data: Mapping[str, Any], row: int) -> ExtraPoints | None:
    """What the detector saw beyond the 17 joints in a row of a `poses.npz`."""
    if "extra_names" not in data or np.isnan(data["extra_2d"][row]).all():
        return None
    names = tuple(str(name) for name in data["extra_names"])
    return ExtraPoints(names, data["extra_2d"][row], data["extra_scores"][row])


def _grounds(data: Mapping[str, Any]) -> list[Ground] | None:
    """The ground of each row of a `poses.npz`; None in files of schema version 1."""
    keys = ("camera_pitch", "camera_roll", "camera_height")
    if not all(key in data for key in keys):
        return None
    made: dict[tuple[float, ...], Ground] = {}  # a solved take has one, and rows share it
    rows = zip(*(data[key].tolist() for key in keys), strict=True)
    return [made.setdefault(row, Ground(*row)) for row in rows]


def _part(data: Mapping[str, Any], name: str, row: int) -> FloatArray | None:
    """A part of the scores in a row of a `poses.npz`, None where the detector gave none."""
    if name not in data or np.isnan(data[name][row]).all():
        return None
    return np.asarray(data[name][row], np.float32)


def joints_and_times(poses: Sequence[Pose3D]) -> tuple[Array, Array]:
    """(N, 17, 3) metres, world frame, and (N,) seconds of one person's poses, in order of time."""
    joints = np.array([pose.joints_world for pose in poses], np.float64)
    times = np.array([pose.pose2d.timestamp for pose in poses], np.float64)
    times, order = np.unique(times, return_index=True)
    return joints.reshape(-1, NUM_JOINTS, 3)[order], times


def fill_gaps(values: Array, seen: NDArray[np.bool_]) -> Array:
    """(T, K) with straight lines over the rows that were not seen; the first and last were."""
    rows = np.arange(len(values))
    columns = [np.interp(rows, rows[seen], column[seen]) for column in values.T]
    return np.stack(columns, -1)


def _long_gaps(times: Array, limit: float, rate: float) -> list[tuple[float, float]]:
    """(seconds at which a gap ends, whole rows' seconds by which it is longer than `limit`)."""
    lost = np.floor((np.diff(times) - limit) * rate) / rate
    return [(float(times[i + 1]), float(lost[i])) for i in np.flatnonzero(lost > 0.0)]


def _motion(
    person: int, poses: Sequence[Pose3D], rate: float, gaps: Sequence[tuple[float, float]] = ()
) -> Motion:
    joints, times = joints_and_times(poses)
    times = times - np.sum([lost * (times >= end - 1e-9) for end, lost in gaps], axis=0)
    grid = _grid(times, rate)
    if grid is not None:
        times = grid / rate
        first, last = int(grid[0]), int(grid[-1])
    else:
        first = math.ceil(times[0] * rate - 1e-6)
        last = max(math.floor(times[-1] * rate + 1e-6), first)
    wanted = np.clip(np.arange(first, last + 1) / rate, times[0], times[-1])
    # A row that falls on a pose takes it as it is.
    after = np.clip(np.searchsorted(times, wanted - 1e-9), 1 if len(times) > 1 else 0, None)
    before = np.maximum(after - 1, 0)
    gap = times[after] - times[before]
    fraction = np.where(gap > 0.0, (wanted - times[before]) / np.where(gap > 0.0, gap, 1.0), 1.0)
    fraction = np.where(np.abs(fraction - fraction.round()) < 1e-6, fraction.round(), fraction)[
        :, None, None
    ]
    out = (1.0 - fraction) * joints[before] + fraction * joints[after]
    lost = (gap > MAX_GAP_S + 0.5 / rate) & (fraction[:, 0, 0] > 0.0) & (fraction[:, 0, 0] < 1.0)
    out[lost] = np.nan
    if lost.all():  # glimpses only: one of them, in the row that is nearest to it
        glimpse, row = np.unravel_index(
            np.abs(wanted - times[:, None]).argmin(), (len(times), len(out))
        )
        lost[row], out[row] = False, joints[glimpse]
    # Off the grid, the first or last pose may be alone beyond a long gap, between two rows.
    kept = np.flatnonzero(~lost)
    return Motion(person, rate, first + int(kept[0]), out[kept[0] : kept[-1] + 1])


def _grid(times: Array, rate: float) -> NDArray[np.int64] | None:
    """Which row each time is, if all are near enough to one of their own."""
    rows = np.round(times * rate)
    fits = np.abs(times * rate - rows).max() < _ON_GRID and bool((np.diff(rows) > 0).all())
    return rows.astype(np.int64) if fits else None


def _sane(fps: float) -> bool:
    return math.isfinite(fps) and 0.001 <= fps <= 10_000.0


def _versions() -> dict[str, str]:
    """Version of each recorded package that is installed."""
    found = {}
    for name in _RECORDED_PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
