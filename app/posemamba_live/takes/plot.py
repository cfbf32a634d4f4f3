"""One page about a take: skeletons at chosen moments, joint angles, speeds.

The person's left is blue and the right orange, as everywhere. Grey stands for moments in
which keypoints were filled in or hardly seen; a line breaks where the person was not there, and
where what it shows has not been seen for seconds. Such limbs are faint.
"""

from __future__ import annotations

import html
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from posemamba.skeleton import (
    BONES,
    HEAD,
    HIP,
    L_ANKLE,
    L_ELBOW,
    L_HIP,
    L_KNEE,
    L_SHOULDER,
    L_WRIST,
    LIMB_JOINTS,
    NOSE,
    NUM_JOINTS,
    R_ANKLE,
    R_ELBOW,
    R_HIP,
    R_KNEE,
    R_SHOULDER,
    R_WRIST,
    THORAX,
)
from posemamba_live.drawing.colours import BONE_JOINT, PersonColors, Rgb
from posemamba_live.errors import UsageError
from posemamba_live.keypoints import marked
from posemamba_live.shown import printable
from posemamba_live.takes.angles import joint_angles
from posemamba_live.takes.take import Motion, Take

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

SUFFIXES: Final = (".png", ".html")
CHOSEN: Final = 7
"""Skeletons on the page where no moments are asked for."""
_ON_PAPER: Final = PersonColors(
    left=(0.05, 0.40, 0.80), right=(0.90, 0.42, 0.00), centre=(0.25, 0.27, 0.30)
)
_GREY, _GRID_GREY = (0.45, 0.47, 0.50), (0.88, 0.89, 0.90)
_FAINT: Final = 0.22
"""Opacity of limbs that nobody has seen for a while."""
_HARDLY_SEEN: Final = 0.35
"""Mean confidence of the limbs below which a moment is grey."""


@dataclass(frozen=True, slots=True)
class _Panel:
    """One chart: angles by name, left and right where they have sides."""

    title: str
    names: tuple[str, ...]
    """With a side to be put in for `*`, or as they are."""
    labels: tuple[str, ...] = ()


_PANELS: Final = (
    _Panel("Knee flexion", ("knee_angle_*",)),
    _Panel("Hip flexion", ("hip_flexion_*",)),
    _Panel("Elbow flexion", ("elbow_flex_*",)),
    _Panel("Shoulder elevation", ("shoulder_elevation_*",)),
    _Panel(
        "Trunk from the vertical",
        ("trunk_flexion", "trunk_bending"),
        ("forwards", "to the right"),
    ),
    _Panel("Shoulders against hips", ("lumbar_rotation",), ("turned to the left",)),
)
_SPEEDS: Final = (
    ("Speed of the hands", L_WRIST, R_WRIST),
    ("Speed of the feet", L_ANKLE, R_ANKLE),
)


def plot_take(
    take: Take, output: Path, *, person: int | None = None, moments: Sequence[float] = ()
) -> None:
    """Draw one person's motion.

    Args:
        take: with at least one pose.
        output: .png, or .html with the page as a drawing and a table of ranges.
        person: by default the one seen most.
        moments: seconds at which to draw the skeleton; by default evenly spread.

    Raises:
        UsageError: nobody by that number, or a moment without the person.
    """
    page = _Page.of(take, person, moments)
    figure = page.draw()
    if output.suffix.lower() == ".html":
        drawing = io.StringIO()
        figure.savefig(drawing, format="svg")
        output.write_text(page.html(drawing.getvalue()), encoding="utf-8")
    else:
        figure.savefig(output, dpi=120, format="png")


@dataclass(frozen=True, slots=True)
class _Page:
    """Everything that is drawn."""

    title: str
    motion: Motion
    angles: dict[str, Array]
    """(T,) degrees of every frame of the motion, NaN where nobody is seen."""
    unsure: NDArray[np.bool_]
    """(T,)"""
    unseen: NDArray[np.bool_]
    """(T, 17) joints that nobody has seen for a while."""
    camera: str
    """A sentence on where the film was taken from; empty where that is unknown."""
    chosen: list[int]
    """Rows at which the skeleton is drawn."""

    @classmethod
    def of(cls, take: Take, person: int | None, moments: Sequence[float]) -> _Page:
        motions = {motion.person_id: motion for motion in take.motions()}
        if not motions:
            raise UsageError(f"{take.name} holds no poses", hint="nobody was seen in that run")
        if person is not None and person not in motions:
            raise UsageError(
                f"There is no person {person} in {take.name}",
                hint=f"--person takes one of: {', '.join(str(p) for p in sorted(motions))}",
            )
        motion = next(iter(motions.values())) if person is None else motions[person]
        seen = motion.seen
        angles = {}
        found = joint_angles(motion.joints[seen], motion.times[seen])
        for name, values in found.items():
            angles[name] = np.full(len(seen), np.nan)
            angles[name][seen] = values
        unseen = _unseen(take, motion)
        for name, values in angles.items():
            values[unseen[:, _joints_of(name)].any(1)] = np.nan
        return cls(
            title=_title(take, motion, len(motions)),
            motion=motion,
            angles=angles,
            unsure=_unsure(take, motion),
            unseen=unseen,
            camera=_camera(take),
            chosen=_chosen(motion, moments),
        )

    def draw(self) -> Figure:
        """The page as a figure."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(13.0, 15.0), facecolor="white", layout="constrained")
        figure.suptitle(
            self.title, x=0.01, ha="left", fontsize=13, color=_ON_PAPER.centre, parse_math=False
        )
        if self.camera:
            figure.supxlabel(self.camera, x=0.01, ha="left", fontsize=9, color=_GREY)
        if self.unsure.any():
            note = "grey: keypoints filled in or hardly seen"
            figure.text(0.99, 0.997, note, ha="right", va="top", fontsize=9, color=_GREY)
        rows = figure.add_gridspec(6, 2, height_ratios=[1.45, 1.45, 1, 1, 1, 1])
        views = [
            [_flattened(self.motion.joints[row], from_side=from_side) for row in self.chosen]
            for from_side in (False, True)
        ]
        widest = max(float(np.ptp(points[:, 0])) for view in views for points in view)
        for i, title in enumerate(("Seen from the camera", "Seen from the person's right")):
            axes = figure.add_subplot(rows[i, :])
            self._skeletons(axes, views[i], max(1.05, widest + 0.15))
            axes.set_title(title, loc="left", fontsize=10)
        first: Axes | None = None
        for i, panel in enumerate(_PANELS):
            axes = figure.add_subplot(rows[2 + i // 2, i % 2], sharex=first)
            first = first or axes
            self._angles(axes, panel)
        for i, (title, left, right) in enumerate(_SPEEDS):
            axes = figure.add_subplot(rows[5, i], sharex=first)
            self._speeds(axes, title, left, right)
            axes.set_xlabel("seconds")
        return figure

    def _skeletons(self, axes: Axes, poses: list[Array], spread: float) -> None:
        """Poses side by side, `spread` metres apart, all at one scale."""
        lowest = min(0.0, *(float(points[:, 1].min()) for points in poses))
        for column, (row, points) in enumerate(zip(self.chosen, poses, strict=True)):
            at = points + np.array([spread * column, 0.0, 0.0])
            _draw_figure(axes, at, self.unseen[row])
            moment, at = f"{self.motion.times[row]:.2f} s", (spread * column, lowest - 0.1)
            axes.text(*at, moment, ha="center", va="top", color=_GREY)
        axes.axhline(lowest, color=_GRID_GREY, linewidth=1.0, zorder=1.0)
        axes.set_aspect("equal")
        axes.set_xlim(-0.6 * spread, spread * (max(len(self.chosen), 4) - 0.4))
        axes.set_ylim(bottom=lowest - 0.3)
        axes.axis("off")

    def _angles(self, axes: Axes, panel: _Panel) -> None:
        for i, name in enumerate(panel.names):
            if "*" in name:
                self._line(axes, self.angles[name.replace("*", "l")], "left", _ON_PAPER.left)
                self._line(axes, self.angles[name.replace("*", "r")], "right", _ON_PAPER.right)
            else:
                color = (_ON_PAPER.centre, (0.20, 0.60, 0.45))[i]
                self._line(axes, self.angles[name], panel.labels[i], color)
        self._furnish(axes, panel.title, "degrees", least=20.0)

    def _speeds(self, axes: Axes, title: str, left: int, right: int) -> None:
        speeds = np.linalg.norm(_rate_of_change(self.motion), axis=-1)
        speeds[self.unseen] = np.nan
        self._line(axes, speeds[:, left], "left", _ON_PAPER.left)
        self._line(axes, speeds[:, right], "right", _ON_PAPER.right)
        self._furnish(axes, title, "m/s", least=0.5)
        axes.set_ylim(bottom=0.0)

    def _line(self, axes: Axes, values: Array, label: str, color: Rgb) -> None:
        axes.plot(self.motion.times, values, color=color, linewidth=1.6, label=label)

    def _furnish(self, axes: Axes, title: str, unit: str, *, least: float) -> None:
        """What all charts have. `least`: of the vertical range, so that noise stays small."""
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_ylabel(unit, color=_GREY)
        axes.grid(color=_GRID_GREY, linewidth=0.7)
        axes.set_axisbelow(True)
        axes.axhline(0.0, color=_GREY, linewidth=0.8, zorder=1.5)
        for row in self.chosen:
            axes.axvline(self.motion.times[row], color=_GREY, linewidth=0.7, linestyle=":")
        for start, end in _spans(self.unsure):
            half = 0.5 / self.motion.rate
            times = self.motion.times
            axes.axvspan(times[start] - half, times[end - 1] + half, color="0.93", zorder=0.5)
        axes.tick_params(colors=_GREY, labelsize=9)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            axes.spines[side].set_color(_GRID_GREY)
        # Above the chart, where no line passes.
        place: dict[str, Any] = {"loc": "lower right", "bbox_to_anchor": (1.0, 0.98)}
        axes.legend(fontsize=9, ncols=2, frameon=False, borderaxespad=0.0, **place)
        axes.margins(x=0.01)
        low, high = axes.get_ylim()
        lacking = 0.5 * max(least - (high - low), 0.0)
        axes.set_ylim(low - lacking, high + lacking)

    def html(self, svg: str) -> str:
        """The drawing and a table of ranges, in one file that needs no other."""
        cells = []
        for name, values in self.angles.items():
            if np.isnan(values).all():
                continue
            low, high, mean = np.nanmin(values), np.nanmax(values), np.nanmean(values)
            numbers = "".join(f"<td>{v:.0f}</td>" for v in (low, high, high - low, mean))
            cells.append(f"<tr><th>{name}</th>{numbers}</tr>")
        title = html.escape(self.title)
        return _HTML.format(title=title, svg=svg[svg.index("<svg") :], rows="\n".join(cells))


_HTML: Final = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font-family: sans-serif; color: #333; margin: 1rem auto; max-width: 75rem; }}
svg {{ width: 100%; height: auto; }}
table {{ border-collapse: collapse; }} th, td {{ padding: 0.15rem 0.8rem; }}
th {{ text-align: left; font-weight: normal; }} td {{ text-align: right; }}
tr:nth-child(odd) {{ background: #f4f5f6; }}
</style></head><body>
{svg}
<h2>Ranges, degrees</h2>
<table><tr><th></th><td>least</td><td>most</td><td>range</td><td>mean</td></tr>
{rows}
</table></body></html>
"""


def _title(take: Take, motion: Motion, people: int) -> str:
    source = Path(str(take.meta.get("source", take.name))).name
    who = f", person {motion.person_id} of {people}" if people > 1 else ""
    seconds = len(motion.joints) / motion.rate
    return f"{printable(source)}{who}: {seconds:.1f} s at {motion.rate:.3g} poses a second"


def _chosen(motion: Motion, moments: Sequence[float]) -> list[int]:
    """Rows of the moments; without any, evenly spread over the frames with a pose."""
    seen = np.flatnonzero(motion.seen)
    if not moments:
        count = min(CHOSEN, len(seen))
        return [int(row) for row in seen[np.linspace(0, len(seen) - 1, count).astype(int)]]
    rows = []
    for moment in moments:
        row = round(moment * motion.rate) - motion.first if math.isfinite(moment) else -1
        if not (0 <= row < len(motion.joints) and motion.seen[row]):
            first, last = motion.times[[0, -1]]
            raise UsageError(
                f"The person is not seen at {moment:g} s",
                hint=f"--at takes moments from {first:.2f} to {last:.2f}",
            )
        rows.append(row)
    return rows


def _unsure(take: Take, motion: Motion) -> NDArray[np.bool_]:
    """(T,) frames in which keypoints were filled in or hardly seen."""
    out = np.zeros(len(motion.joints), np.bool_)
    for pose in take.people[motion.person_id]:
        row = round(pose.pose2d.timestamp * motion.rate) - motion.first
        weak = float(pose.pose2d.scores[list(LIMB_JOINTS)].mean()) < _HARDLY_SEEN
        if 0 <= row < len(out):
            out[row] |= pose.pose2d.predicted or weak
    return out


def _unseen(take: Take, motion: Motion) -> NDArray[np.bool_]:
    """(T, 17) joints of each row that nobody has seen for a while."""
    out = np.zeros((len(motion.joints), NUM_JOINTS), np.bool_)
    for pose in marked(take.people[motion.person_id]):
        row = round(pose.pose2d.timestamp * motion.rate) - motion.first
        if 0 <= row < len(out):
            out[row] |= pose.unseen
    return out


def _joints_of(angle: str) -> list[int]:
    """The joints that have to be seen for an angle to say anything."""
    name, _, side = angle.rpartition("_")
    if side not in ("l", "r"):
        return [HIP, THORAX]
    right = side == "r"
    hip, knee, ankle = (R_HIP, R_KNEE, R_ANKLE) if right else (L_HIP, L_KNEE, L_ANKLE)
    arm = (R_SHOULDER, R_ELBOW, R_WRIST) if right else (L_SHOULDER, L_ELBOW, L_WRIST)
    if name in ("knee_angle", "hip_rotation"):
        return [hip, knee, ankle]
    if name.startswith("hip"):
        return [hip, knee]
    return list(arm if name in ("elbow_flex", "arm_rot") else arm[:2])


def _camera(take: Take) -> str:
    """Where the film was taken from, in words."""
    grounds = {pose.ground for pose in take.poses}
    if len(grounds) != 1 or take.fov_deg is None:
        return ""
    ground = grounds.pop()
    if ground is None:
        return ""
    pitch = math.degrees(ground.pitch)
    looks = f"looks {abs(pitch):.1f}° {'down' if pitch < 0.0 else 'up'}"
    tilt = f"rolled by {math.degrees(ground.roll):.1f}°"
    return (
        f"camera: {ground.height:.2f} m above the floor, {looks}, {tilt}, "
        f"sees {take.fov_deg:.3g}° across. Angles to the vertical are as right as that."
    )


def _draw_figure(axes: Axes, points: Array, unseen: NDArray[np.bool_]) -> None:
    """One skeleton from (17, 3) to the right, up, away; unseen joints (17,) faint."""
    far_first = 2.0 - 0.1 * points[:, 2]
    bones = [
        (start, end, joint)
        for (start, end), joint in zip(BONES, BONE_JOINT, strict=True)
        if end not in (NOSE, HEAD)
    ]
    for start, end, joint in bones:
        x, y, _ = points[[start, end]].T
        (line,) = axes.plot(x, y, color=_ON_PAPER.joint(joint), zorder=float(far_first[end]))
        line.set(linewidth=3.0, solid_capstyle="round")
        if unseen[start] or unseen[end]:
            line.set_alpha(_FAINT)
    # Nose and crown as bones would look like a bent neck.
    head = 0.5 * (points[NOSE] + points[HEAD])
    order = float(far_first[THORAX])
    for end in (points[THORAX], points[NOSE]):
        x, y, _ = np.stack([head, end]).T
        axes.plot(x, y, color=_ON_PAPER.centre, linewidth=3.0, zorder=order)
    axes.plot(*head[:2], "o", color=_ON_PAPER.centre, markersize=11.0, zorder=order)


def _flattened(joints: Array, *, from_side: bool) -> Array:
    """(17, 3) world to (17, 3): to the right, up, away from the viewer; Hip in the middle."""
    points = joints - [joints[HIP, 0], joints[HIP, 1], 0.0]
    if not from_side:
        return np.stack([points[:, 0], points[:, 2], points[:, 1]], -1)
    left = (joints[L_HIP] - joints[R_HIP])[:2]
    left = left / max(float(np.linalg.norm(left)), 1e-6)
    forward = np.array([left[1], -left[0]])
    return np.stack([points[:, :2] @ forward, points[:, 2], points[:, :2] @ left], -1)


def _rate_of_change(motion: Motion) -> Array:
    """(T, 17, 3) metres per second: central differences, NaN beside a gap."""
    if len(motion.joints) < 2:
        return np.full_like(motion.joints, np.nan)
    return np.asarray(np.gradient(motion.joints, 1.0 / motion.rate, axis=0))


def _spans(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Starts and ends (exclusive) of the runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(int)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]
