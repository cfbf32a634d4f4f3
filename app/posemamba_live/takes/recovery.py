"""From a journal to a take, as the run itself would have made it at its end."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from posemamba_live.errors import LiveError, UsageError
from posemamba_live.keypoints import breaks_track
from posemamba_live.plan import SEEN_WITH
from posemamba_live.scene.scene import DEFAULT_HEIGHT_M, solve_scene
from posemamba_live.scene.verticals import upright_of
from posemamba_live.takes.journal_content import Content, read_content
from posemamba_live.takes.records import Damaged
from posemamba_live.takes.take import Take, with_measured_rate
from posemamba_live.types import Frame, LiftedPose, Pose2D, Pose3D

if TYPE_CHECKING:
    from collections.abc import Callable

    from posemamba.checkpoint import Checkpoint
    from posemamba_live.lifting.window import Lifter

logger = logging.getLogger(__name__)

_CONTEXT: Final = 300
"""Poses before the first one that had still to be lifted that are lifted with it, at least: more
than any window holds."""
_LONGEST_GAP: Final = 1000
"""Frames without anybody, more than are ever filled in."""
_LARGEST_WEIGHTS: Final = 2**31
"""Bytes."""
_ASSUMED_FOV_DEG: Final = 60.0


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a journal held."""

    take: Take
    notes: tuple[str, ...]
    """What somebody should know of it: damage, an end that is missing, poses left out."""


def recover(path: Path) -> Recovered:
    """Read a journal, lift what had still to be lifted, and solve the scene.

    Raises:
        UsageError: there is no such file.
        LiveError: it holds nothing that can be used.
    """
    try:
        with open(path, "rb") as file:
            content = read_content(file)
    except FileNotFoundError as error:
        raise UsageError(f"There is no file {path}", hint="the .journal that a run left") from error
    except (Damaged, OSError) as error:
        raise LiveError(
            f"{path} cannot be read",
            why=str(error),
            hint="it takes the .journal that a run left beside its first output",
        ) from error
    notes = [*_ending(path, content)]
    lifted = content.lifted
    if content.waiting:
        try:
            lifted = [*lifted, *lift_waiting(content)]
        except (LiveError, ValueError, OSError) as error:
            logger.debug("the last poses cannot be lifted", exc_info=error)
            notes.append(
                f"the last {len(content.waiting)} poses had still to be lifted, which is not "
                f"possible here, and are left out: {error}"
            )
    meta, averaged, untold = averaged_with(content.meta)
    notes += untold
    try:
        poses = solve(lifted, meta, averaged)
    except (ValueError, TypeError, ArithmeticError, np.linalg.LinAlgError) as error:
        raise LiveError(
            f"{path} cannot be used", why=f"its poses make no sense: {error}"
        ) from error
    name = path.name.removesuffix(".journal")
    return Recovered(Take(poses, with_measured_rate(meta, poses), name), tuple(notes))


def solve(
    lifted: Sequence[LiftedPose], meta: dict[str, Any], averaged: Sequence[Checkpoint] = ()
) -> list[Pose3D]:
    """All poses of a run in metres, sorted by frame, then person.

    Args:
        averaged: what they are averaged with before that, in turn.

    Raises:
        ValueError, TypeError: the meta asks for what cannot be.
    """
    from posemamba_live.lifting.blending import NETWORK_FPS
    from posemamba_live.lifting.both_ways import seen_as_a_whole

    pitch = meta.get("pitch_deg")
    fps = float(meta.get("fps") or NETWORK_FPS)
    for checkpoint in averaged:
        lifted = seen_as_a_whole(lifted, checkpoint, fps=fps, fov_deg=_fov(meta))
    solved = solve_scene(
        lifted,
        _heights(meta.get("height_m", DEFAULT_HEIGHT_M)),
        _fov(meta),
        smooth=float(meta.get("smooth", 1.0)),
        pitch_deg=None if pitch is None else float(pitch),
        upright=upright_of(meta.get("background")),
    )
    poses = {(pose.frame_index, pose.person_id): pose for pose in solved}
    return [poses[key] for key in sorted(poses)]


def averaged_with(meta: Mapping[str, Any]) -> tuple[dict[str, Any], list[Checkpoint], list[str]]:
    """With what a film's poses are averaged in the end: the meta of its run without those weights
    of which the very same ones are not here, the others, and what is to be said of that."""
    from posemamba.checkpoint import CheckpointError, load_checkpoint, shipped_weights

    usable = dict(meta)
    found: list[Checkpoint] = []
    notes: list[str] = []
    for key in SEEN_WITH:
        name, checksum = meta.get(key), meta.get(f"{key}_sha256")
        if name is None or meta.get("live"):
            continue
        path, why = shipped_weights().get(str(name)), "are not here"
        if path is not None:
            try:
                checkpoint = load_checkpoint(path)
                if checkpoint.meta.sha256 == checksum:
                    found.append(checkpoint)
                    continue
                why = "are not those of the run any more"
            except CheckpointError as error:
                why = f"cannot be used: {error}"
        usable |= {key: None, f"{key}_sha256": None}
        notes.append(f"poses are not averaged with those of {name}, which {why}")
    return usable, found, notes


def _fov(meta: Mapping[str, Any]) -> float:
    return float(meta.get("fov_deg", _ASSUMED_FOV_DEG))


def _heights(told: Any) -> tuple[float, ...]:
    return tuple(map(float, told)) if isinstance(told, list) else (float(told),)


def lift_waiting(content: Content) -> list[LiftedPose]:
    """The poses that had still to be lifted, lifted with those before them.

    Raises:
        LiveError: the weights are not here, or not the same.
        ValueError: the journal asks for a window that the weights do not take.
    """
    from posemamba_live.lifting.people import People

    live = bool(content.meta.get("live", False))
    make, step = _lifters(content)
    people = People(make, fill_gaps=not live)
    frames: dict[int, list[Pose2D]] = {}
    for pose in [*_context(content, step), *content.waiting.values()]:
        frames.setdefault(pose.frame_index, []).append(pose)
    ends: dict[int, int] = {}
    """Each person's last frame that had been lifted."""
    for known in content.lifted:
        ends[known.pose2d.person_id] = known.pose2d.frame_index
    found: list[LiftedPose] = []
    nothing = np.zeros((1, 1, 3), np.uint8)
    last: Pose2D | None = None
    for index in sorted(frames):
        poses = frames[index]
        # Frames with nobody in them are in no journal, but gaps are counted in frames.
        missing = 0 if last is None else index - last.frame_index - 1
        if last is not None and 0 < missing <= _LONGEST_GAP:
            times = np.linspace(last.timestamp, poses[0].timestamp, missing + 2)[1:-1]
            for number, when in enumerate(times.tolist(), last.frame_index + 1):
                found += people.push(Frame(number, when, nothing, 0.0), []).poses
        last = poses[0]
        found += people.push(Frame(index, last.timestamp, nothing, 0.0), poses).poses
    found += people.flush().poses
    return [p for p in found if p.pose2d.frame_index > ends.get(p.pose2d.person_id, -1)]


def _context(content: Content, step: int) -> list[Pose2D]:
    """The last poses that were lifted of those people who have some that were not.

    Args:
        step: of their track they begin at a multiple of so many poses, as windows do.
    """
    wanted = {pose.person_id for pose in content.waiting.values()}
    tracks: dict[int, list[Pose2D]] = {}
    for lifted in content.lifted:
        pose = lifted.pose2d
        if pose.person_id in wanted:
            own = tracks.setdefault(pose.person_id, [])
            if own and breaks_track(own[-1], pose):
                own.clear()
            own.append(pose)
    context = [pose for own in tracks.values() for pose in own[_start_of_context(len(own), step) :]]
    return sorted(context, key=lambda pose: pose.frame_index)


def _start_of_context(count: int, step: int) -> int:
    return max(count - _CONTEXT, 0) // step * step


def _lifters(content: Content) -> tuple[Callable[[], Lifter], int]:
    """What makes the lifters that the run had, and how many frames apart their windows start."""
    from posemamba.checkpoint import CheckpointError, load_checkpoint
    from posemamba_live.lifting.factory import lifter_factory
    from posemamba_live.lifting.rates import phases
    from posemamba_live.lifting.window import hop
    from posemamba_live.plan import MODES, plan_lifting

    meta, how = content.meta, content.how
    weights = _weights(str(how.get("weights", meta.get("weights"))), meta.get("weights_sha256"))
    try:
        checkpoint = load_checkpoint(weights)
    except CheckpointError as error:
        raise LiveError(f"the weights {weights} cannot be used", why=str(error)) from error
    live, causal = bool(meta.get("live", False)), checkpoint.meta.causal
    mode, window, ahead = meta.get("mode"), meta.get("window"), meta.get("look_ahead")
    lifting = plan_lifting(
        checkpoint.meta,
        live=live,
        fps=float(meta["fps"]),
        fov_deg=_fov(meta),
        mode=mode if isinstance(mode, str) and mode in MODES else "balanced",
        window=window if isinstance(window, int) and not causal else None,
        delay=ahead if isinstance(ahead, int) and live and not causal else 0,
    )
    step = 1 if live or causal else hop(lifting.window, lifting.overlap) * phases(lifting.fps)
    return lifter_factory(checkpoint, lifting), step


def _weights(name: str, sha256: object) -> Path:
    """The file of weights that a run had: only the very same one is opened as such."""
    from posemamba.checkpoint import checksum_of, shipped_weights

    path = shipped_weights().get(name, Path(name))
    if not path.is_file() or path.stat().st_size > _LARGEST_WEIGHTS:
        raise LiveError(f"the weights {name} are not here")
    if checksum_of(path) != sha256:
        raise LiveError(f"the weights {name} are not those of the run any more")
    return path


def _ending(path: Path, content: Content) -> Sequence[str]:
    count = len(content.lifted) + len(content.waiting)
    if content.damage is not None:
        return [f"{path}: {content.damage}; the {count} poses before that are there"]
    if not content.complete:
        return [f"{path} ends with {count} poses: the run did not come to its end"]
    return []
