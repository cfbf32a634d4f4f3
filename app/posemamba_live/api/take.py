"""The result: every pose of a recording, as arrays and as files."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from posemamba_live.api.settings import in_python
from posemamba_live.takes import take as takes

if TYPE_CHECKING:
    from typing_extensions import Self

Float = NDArray[np.float32]


class Take(takes.Take):
    """All poses of a recording: N rows, one for each person in each frame where there is one.

    Rows are sorted by frame, then person. The arrays are those of `poses.npz`, and `arrays`
    has all of them by their keys; `poses` has the same as records, `people` those of each
    person, `meta` how they were made.
    """

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a recording: the `.npz` that `save` or `posemamba-live --export` wrote.

        Raises:
            LiveError: it cannot be read, or is no such file.
        """
        read = takes.read_take(Path(path))
        return cls(read.poses, read.meta, read.name)

    def save(
        self, path: str | Path, *, overwrite: bool = False, film: str | Path | None = None
    ) -> list[Path]:
        """Write a file of the kind that its suffix says, whole or not at all.

        Args:
            path: ends in .npz, .csv, .long.csv, .angles.csv, .parquet, .json, .trc, .mot,
                .c3d, .bvh, .glb or .rrd.
            overwrite: replace an existing file.
            film: what the take was made of: a .rrd then has its pictures.

        Returns:
            The files written: one, or one for each person where a format holds only one.

        Raises:
            UsageError: another suffix, or the file exists and `overwrite` is false.
            SinkError: it cannot be written, or nobody was seen and the format cannot say so.
            SourceError: the film cannot be read.
        """
        from posemamba_live.export import export_take

        video = None if film is None else str(film)
        with in_python():
            return export_take(self, Path(path), overwrite=overwrite, video=video)

    def plot(
        self,
        path: str | Path,
        *,
        person: int | None = None,
        moments: Sequence[float] = (),
        overwrite: bool = False,
    ) -> Path:
        """Draw a page: skeletons, joint angles and speeds over time.

        Args:
            path: ends in .png or .html.
            person: a `person_id`; by default whoever was seen most.
            moments: seconds at which to draw the skeleton; by default evenly spread.
            overwrite: replace an existing file.

        Raises:
            UsageError: another suffix, an existing file, nobody by that number or at that moment.
            SinkError: it cannot be written.
        """
        from posemamba_live.plot import save_plot

        with in_python():
            return save_plot(self, Path(path), person=person, moments=moments, overwrite=overwrite)

    def angles(self) -> dict[str, NDArray[np.float64]]:
        """Joint angles by name: (N,) degrees each, a value for every row of the take.

        Names, signs and zeros are in `takes.angles`: `knee_angle_r` is 0 for a straight leg
        and grows as it bends. NaN where an angle is undefined.
        """
        from posemamba_live.takes.angles import ANGLES, joint_angles

        table = {angle.name: np.full(len(self.poses), np.nan) for angle in ANGLES}
        for person, poses in self.people.items():
            joints, times = takes.joints_and_times(poses)
            rows = np.flatnonzero(self.person_id == person)
            at = np.searchsorted(times, self.timestamp[rows])
            for name, values in joint_angles(joints, times).items():
                table[name][rows] = values[at]
        return table

    @cached_property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """Every array of `poses.npz` by its key; the README says what each one is."""
        from posemamba_live.sinks.npz import take_arrays

        return {key: np.asarray(value) for key, value in take_arrays(self).items()}

    @property
    def frame_index(self) -> NDArray[np.int64]:
        """(N,) which frame of the source, in decoding order from 0."""
        return self.arrays["frame_index"]

    @property
    def timestamp(self) -> NDArray[np.float64]:
        """(N,) seconds from the source's first frame."""
        return self.arrays["timestamp"]

    @property
    def person_id(self) -> NDArray[np.int32]:
        """(N,) which person."""
        return self.arrays["person_id"]

    @property
    def joints_2d(self) -> Float:
        """(N, 17, 2) pixels."""
        return self.arrays["joints_2d"]

    @property
    def scores_2d(self) -> Float:
        """(N, 17) confidence of the keypoints, 0 to 1."""
        return self.arrays["scores_2d"]

    @property
    def joints_3d(self) -> Float:
        """(N, 17, 3) metres, camera axes, relative to Hip."""
        return self.arrays["joints_3d"]

    @property
    def root_3d(self) -> Float:
        """(N, 3) metres, camera frame: where Hip is."""
        return self.arrays["root_3d"]

    @property
    def joints_world(self) -> Float:
        """(N, 17, 3) metres, world frame."""
        return self.arrays["joints_world"]

    @property
    def predicted(self) -> NDArray[np.bool_]:
        """(N,) whether the row's keypoints were filled in, not seen."""
        return self.arrays["predicted"]

    @property
    def fps(self) -> float:
        """Frames a second of the source, nominal."""
        return float(self.meta["fps"])

    @property
    def image_size(self) -> tuple[int, int]:
        """(W, H) pixels of the source's pictures."""
        width, height = self.meta["image_size"]
        return int(width), int(height)

    @property
    def camera_moves(self) -> bool:
        """Whether the camera was seen to move: positions in the world frame mean nothing then."""
        return self.meta.get("camera_moves") is True

    def __repr__(self) -> str:
        people = len(self.people)
        who = f"{people} {'person' if people == 1 else 'people'}"
        return f"<Take of {self.meta.get('source', self.name)}: {len(self.poses)} poses of {who}>"
