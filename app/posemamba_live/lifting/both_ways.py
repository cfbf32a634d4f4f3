"""A film seen as a whole: networks over each track that see seconds, or all of it, both ways.

Windows that are lifted while a film is read see a second of it. When it has been read a causal
network, which remembers all that it has passed, can look at it from both ends, and one of windows
of eight seconds. Their answers are wrong in other ways than those of the short windows, so
that the mean is closer to the truth than each (`benchmarks/whole_films.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from posemamba.checkpoint import Checkpoint
from posemamba.network import Network
from posemamba.normalize import mirror_image, reflected
from posemamba.skeleton import MIRROR
from posemamba.streams import CausalNetwork
from posemamba_live.keypoints import breaks_track
from posemamba_live.lifting.averaged import SHARE, averaged
from posemamba_live.lifting.batching import Work, together
from posemamba_live.lifting.causal import CausalLifter
from posemamba_live.lifting.rates import at_known_rate, rate_seen
from posemamba_live.lifting.window import FileLifter, Lifter
from posemamba_live.types import FloatArray, LiftedPose, Pose2D

_LEARNS_IN: Final = 40.0
"""Frames after which a direction counts for two thirds of what it will: it began knowing
nothing. From 20 to 40 makes no difference."""
_LONG_SHARE: Final = 0.2
"""What the answers of long windows count for, after those of a causal network. Simulated detections
would have 0.35 to 0.5; with real ones, on rendered clips, shapes of poses (PA) are worse then."""
_OVERLAP: Final = 2
"""Long windows that see each frame."""
_LAST: Final = 2**48
"""Frames are counted down from here on the way back: no number may be negative."""


def seen_as_a_whole(
    lifted: Sequence[LiftedPose], checkpoint: Checkpoint, *, fps: float, fov_deg: float
) -> list[LiftedPose]:
    """Poses of a film averaged with what a causal network makes of their tracks in both
    directions, or another one in windows as long as it takes.

    Args:
        lifted: of all people, by windows, in any order.
        fps: of the film, nominal.
        fov_deg: field of view across the picture's longer side.

    Returns:
        The same poses in the same order with other joints, and with what was seen of their
        tracks as look-ahead.
    """
    if checkpoint.meta.causal:
        return seen_both_ways(lifted, CausalNetwork(checkpoint), fps=fps, fov_deg=fov_deg)
    network = Network(checkpoint, fov_deg=fov_deg, mirrored=True, fps=rate_seen(fps))
    make = at_known_rate(lambda: FileLifter(network, _OVERLAP), fps)
    tracks = _tracks(lifted)
    answers = together([_passed(lifted, track, _as_it_is, make()) for track in tracks])
    out = list(lifted)
    for track, answer in zip(tracks, answers, strict=True):
        for i, own in zip(track, answer, strict=True):
            out[i] = averaged(lifted[i], own.joints, own.look_ahead, _LONG_SHARE)
    return out


def seen_both_ways(
    lifted: Sequence[LiftedPose], network: CausalNetwork, *, fps: float, fov_deg: float
) -> list[LiftedPose]:
    """Poses of a film averaged with what the network makes of their tracks.

    Args:
        lifted: of all people, by windows, in any order.
        network: not mirrored; one of the two directions is.
        fps: of the film, nominal.
        fov_deg: field of view across the picture's longer side.

    Returns:
        The same poses in the same order with other joints, and with all of their tracks as
        look-ahead.
    """
    tracks = _tracks(lifted)

    def lifter() -> Lifter:
        return at_known_rate(lambda: CausalLifter(network, fov_deg=fov_deg), fps)()

    there = [_passed(lifted, track, _as_it_is, lifter()) for track in tracks]
    back = [_passed(lifted, track[::-1], _mirrored_and_reversed, lifter()) for track in tracks]
    answers = together([*there, *back])
    out = list(lifted)
    for track, ahead, behind in zip(
        tracks, answers[: len(tracks)], answers[len(tracks) :], strict=True
    ):
        mean = _mean(_joints(ahead), reflected(_joints(behind)[::-1]))
        for after, i in enumerate(reversed(track)):
            out[i] = averaged(lifted[i], mean[-1 - after], after, SHARE)
    return out


def _joints(poses: Sequence[LiftedPose]) -> FloatArray:
    return np.stack([pose.joints for pose in poses])


def _mean(ahead: FloatArray, behind: FloatArray) -> FloatArray:
    """Of both directions' answers (n, 17, 3), by how much each had seen."""
    known = (1.0 - np.exp(-(np.arange(len(ahead)) + 3.0) / _LEARNS_IN))[:, None, None]
    both = known * ahead + known[::-1] * behind
    return np.asarray(both / (known + known[::-1]), np.float32)


def _tracks(lifted: Sequence[LiftedPose]) -> list[list[int]]:
    """Where the poses of each unbroken track are, in the order of time."""
    people: dict[int, list[int]] = {}
    for i, pose in enumerate(lifted):
        people.setdefault(pose.pose2d.person_id, []).append(i)
    return [
        track
        for own in people.values()
        for track in _unbroken(lifted, sorted(own, key=lambda i: lifted[i].pose2d.frame_index))
    ]


def _unbroken(lifted: Sequence[LiftedPose], order: Iterable[int]) -> list[list[int]]:
    tracks: list[list[int]] = []
    for i in order:
        if tracks and not breaks_track(lifted[tracks[-1][-1]].pose2d, lifted[i].pose2d):
            tracks[-1].append(i)
        else:
            tracks.append([i])
    return tracks


def _passed(
    lifted: Sequence[LiftedPose],
    way: Iterable[int],
    turned: Callable[[Pose2D], Pose2D],
    lifter: Lifter,
) -> Work[list[LiftedPose]]:
    """What a lifter makes of a track, pose by pose."""
    done: list[LiftedPose] = []
    for i in way:
        done += yield from lifter.pushing(turned(lifted[i].pose2d))
    done += yield from lifter.flushing()
    return done


def _as_it_is(pose: Pose2D) -> Pose2D:
    return pose


def _mirrored_and_reversed(pose: Pose2D) -> Pose2D:
    """For the way back: mirrored, so that what the network takes for left is wrong for right."""
    keypoints, scores = mirror_image(
        pose.keypoints[None, None], pose.scores[None, None], pose.image_size[0]
    )
    return replace(
        pose,
        frame_index=_LAST - pose.frame_index,
        timestamp=-pose.timestamp,
        keypoints=keypoints[0, 0],
        scores=scores[0, 0],
        peak=_in_order(pose.peak),
        visibility=None,
        extra=None,
    )


def _in_order(peak: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
    return None if peak is None else peak[list(MIRROR)]
