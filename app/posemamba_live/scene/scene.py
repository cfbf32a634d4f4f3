"""From the lifter's body heights to metres in a room.

Per person: one scale and constant bone lengths (body.py). Per frame: where the hip stands,
from the camera model (camera.py). For the camera: gravity and floor (ground.py). Both entry
points do the same, one with the whole recording at hand, one frame by frame:

* `solve_scene` for files: medians over everything, filters without lag;
* `SceneTracker` for live use: the same estimates while they form. They move fast in the
  first two seconds, slowly afterwards, and never jump.

A person's sideways position is seen directly; the distance is only inferred, from how big
the body looks and from where the standing foot meets the floor. So distance is filtered,
and sideways position then follows from it exactly.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from posemamba.normalize import ASSUMED_FOV_DEG
from posemamba.skeleton import HIP, NUM_JOINTS
from posemamba_live.scene.body import (
    measure_body,
    rebuild,
    segment_lengths,
    segment_weights,
)
from posemamba_live.scene.contact import ANKLES, carried, let_down, planted, standing
from posemamba_live.scene.distance import CORRELATED, fuse_floor, joint_weights
from posemamba_live.scene.ground import (
    DEPTH_ERROR,
    GroundEvidence,
    about_x,
    above_floor,
    before_evidence,
    fit_ground,
    gather_evidence,
)
from posemamba_live.scene.heights import (
    ToldHeights,
    feet_unseen,
    height_above,
    may_stand,
    onto_floor,
    relative_heights,
    told_heights,
)
from posemamba_live.scene.person import (
    MAX_SAMPLES,
    SAMPLE_SPACING,
    SETTLED,
    SOLVE_EVERY,
    Person,
    fraction_moved,
)
from posemamba_live.scene.pinhole import MIN_DEPTH, Pinhole, fit_lateral, fit_translation
from posemamba_live.scene.pooling import PooledUp, settled
from posemamba_live.scene.slope import floor_under, slope_of, sloped
from posemamba_live.scene.smoothing import (
    OneEuroFilter,
    smooth_depth,
    smooth_zero_phase,
)
from posemamba_live.scene.verticals import Upright
from posemamba_live.types import Ground, LiftedPose, Pose3D

Array = NDArray[np.float64]

DEFAULT_HEIGHT_M: Final = 1.70
_LEARNT: Final = math.radians(0.75)
"""Pitch that is still to be learnt at which the floor is moved under people: who comes four metres
nearer sinks by five centimetres."""
_SINKING_S: Final = 0.15
_FLOATING_S: Final = 1.0
"""Seconds in which it is, where they sink into it, and where they are above it."""
_NEW_S: Final = 1.0
"""Seconds in which it is in any case."""
_FAST_S: Final = 0.3
_MUCH: Final = math.radians(8.0)
"""Seconds in which the plane on which people stand turns about them, if it does by that much."""
_FEET_SEEN: Final = 0.5
"""How surely the feet are seen of those to whom the floor is moved."""
_BELOW: Final = 0.5
_ABOVE: Final = 0.3
"""Metres from the floor beyond which nobody moves it..."""
_USUAL_DEPTH: Final = 4.0
"""...more where it is farther below the camera than that, and distances tell heights badly."""
_LATELY: Final = 3
"""Samples of somebody that tell where they are now."""
_REMEMBERED: Final = 60.0
"""Seconds after which somebody who left is measured anew."""
_ROUNDS: Final = 3
"""Of placing people, and finding floor and tilt from where they are."""
_SMALL: Final = 0.8
"""Relative height at which it is asked, of a film, whether the lens is another: on a level floor
nobody need be small, whoever is on a roof is not on it."""
_HEIGHT_ROUNDS: Final = 3
"""Of finding the floor for the people's heights, and those for the floor, in turns."""


def solve_scene(
    track: Sequence[LiftedPose],
    height_m: float | Sequence[float] = DEFAULT_HEIGHT_M,
    fov_deg: float = ASSUMED_FOV_DEG,
    *,
    smooth: float = 1.0,
    pitch_deg: float | None = None,
    upright: Upright | None = None,
) -> list[Pose3D]:
    """Solve a whole recording of a camera that does not move.

    Args:
        track: poses of any number of people in any order.
        height_m: standing height of every person, metres; of several, each is of one person in
            the order of identities, the last of all others.
        fov_deg: field of view across the picture's longer side, degrees.
        smooth: strength of the smoothing over time, 0 for none.
        pitch_deg: of the camera, degrees, negative looks down; None where it is not known.
        upright: what the background says of the camera, for the same field of view.

    Returns:
        One Pose3D for each LiftedPose, in the order of `track`.
    """
    heights = told_heights(height_m)
    _check(heights, fov_deg, smooth, pitch_deg)
    track = settled(track)
    people: dict[int, list[int]] = {}
    for i, pose in enumerate(track):
        people.setdefault(pose.pose2d.person_id, []).append(i)
    known_pitch = None if pitch_deg is None else math.radians(pitch_deg)
    settled_so = before_evidence(known_pitch, upright)
    rows, solved = [], []
    for indices in people.values():
        indices.sort(key=lambda i: track[i].pose2d.timestamp)
        rows.append(indices)
        person_id = track[indices[0]].pose2d.person_id
        own = [track[i] for i in indices]
        solved.append(_Recording.of(own, heights.of(person_id), fov_deg, smooth))
    factors, turn = [1.0] * len(solved), settled_so.turn
    evidence: list[GroundEvidence] = []
    fitted = len(solved) > 1 and not heights.each
    for _ in range(_ROUNDS if solved else 0):
        turn = settled_so.turn
        for person in solved:
            person.place(turn)
        evidence = [person.evidence() for person in solved]
        for left in reversed(range(1 + _HEIGHT_ROUNDS if fitted else 1)):
            scaled = [each.scaled(factor) for each, factor in zip(evidence, factors, strict=True)]
            joint = GroundEvidence.concatenate(scaled)
            settled_so = fit_ground(
                joint, settled_so, pitch=known_pitch, upright=upright, turned=turn
            )
            if left:  # the floor comes last: somebody has to stand on it
                factors = relative_heights(
                    [each.turned(settled_so.turn - turn) for each in evidence], settled_so.ground
                )
    ground = plane = settled_so.ground
    evidence = [each.turned(settled_so.turn - turn) for each in evidence]
    if fitted and min(factors) < _SMALL:
        plane = sloped(evidence, [1.0 - person.feet_unseen for person in solved], ground)
        if plane != ground:
            factors = relative_heights(evidence, plane)
    for person, factor, each in zip(solved, factors, evidence, strict=True):
        unseen = 0.0 if heights.each or len(solved) == 1 else person.feet_unseen
        person.place(settled_so.turn)
        person.scale(onto_floor(each, plane, factor, unseen))
    out: list[Pose3D | None] = [None] * len(track)
    for indices, person in zip(rows, solved, strict=True):
        person.settle(plane, ground)
        if smooth > 0.0:
            person.stand(plane, ground)
        for row, i in enumerate(indices):
            joints, root = person.joints[row], person.root[row]
            out[i] = _pose3d(track[i], joints, root, floor_under(root, plane, ground))
    return [pose for pose in out if pose is not None]


class SceneTracker:
    """Solve poses as they come: camera and floor shared, one body estimate per person.

    Args:
        height_m: standing height of every person, metres; of several, each is of one person in
            the order of identities, the last of all others.
        fov_deg: field of view across the picture's longer side, degrees.
        smooth: strength of the smoothing over time, 0 for none.
        pitch_deg: of the camera, degrees, negative looks down; None where it is not known.
    """

    def __init__(
        self,
        height_m: float | Sequence[float] = DEFAULT_HEIGHT_M,
        fov_deg: float = ASSUMED_FOV_DEG,
        *,
        smooth: float = 1.0,
        pitch_deg: float | None = None,
    ) -> None:
        self._heights = told_heights(height_m)
        _check(self._heights, fov_deg, smooth, pitch_deg)
        self._fov_deg = fov_deg
        self._smooth = smooth
        self.upright: Upright | None = None
        """What the background says of the camera, for the same field of view; may change."""
        self._people: dict[int, Person] = {}
        self._pitch = None if pitch_deg is None else math.radians(pitch_deg)
        self._settled = self._target = before_evidence(self._pitch)
        self._plane = self._target_plane = self._settled.ground
        """Where people stand: the floor, unless the lens is not what it is taken for."""
        self._stands: Array = np.zeros(3)
        """Camera frame: where they did last, in the middle of them."""
        self._evidence: deque[tuple[int, GroundEvidence]] = deque(maxlen=MAX_SAMPLES)
        """Person and what one of their poses tells, as tall as told."""
        self._first_time = math.inf
        self._time = -math.inf
        self._solved_at = -math.inf
        self._dt = 0.0
        self._up = PooledUp()

    @property
    def ground(self) -> Ground:
        """Pose of the camera above the floor on which people are, as now estimated."""
        return floor_under(self._stands, self._plane, self._settled.ground)

    def update(self, lifted: LiftedPose) -> Pose3D:
        """Place one pose. Poses of one person must come in the order of time."""
        return self.place([lifted])[0]

    def place(self, frame: Sequence[LiftedPose]) -> list[Pose3D]:
        """Place everybody in one frame; frames must come in the order of time."""
        if not frame:
            return []
        now = frame[0].pose2d.timestamp
        known = set(self._people)
        seen = [self._measured(lifted) for lifted in frame]
        first = self._follow_ground(now, new=not known.issuperset(self._people))
        poses = [self._placed(each) for each in seen]
        self._keep_under(poses, first=first)
        if first:  # who comes first is on the floor at once
            return [
                self._on_floor(pose, np.asarray(pose.joints, float), np.asarray(pose.root, float))
                for pose in poses
            ]
        return poses

    def _measured(self, lifted: LiftedPose) -> _Seen:
        """Metres, and what the pose tells of the ground."""
        lifted = self._up.turn(lifted)
        pose2d = lifted.pose2d
        now = pose2d.timestamp
        person = self._people.get(pose2d.person_id)
        if person is None:
            self._forget_the_absent(now)
            person = self._people[pose2d.person_id] = Person(OneEuroFilter(self._smooth))
        scores = np.asarray(pose2d.scores, np.float64)[None]
        turn = self._settled.turn
        units = np.asarray(lifted.joints - lifted.joints[HIP], np.float64)[None] @ about_x(turn).T

        body = person.measure(units, scores, now, self._heights.of(pose2d.person_id))
        factor = person.factor
        # Bone lengths come last: filtering joints one by one would bend them again.
        filtered = person.one_euro(body.scale * units[0], now)
        joints = rebuild(filtered, body.lengths)[None]
        weights = joint_weights(scores)
        rays = Pinhole.from_fov(pose2d.image_size, self._fov_deg).rays(pose2d.keypoints)[None]
        raw = fit_translation(joints, rays, weights)

        if now - person.sampled_for_ground >= SAMPLE_SPACING:
            since = now - person.sampled_for_ground
            person.sampled_for_ground = now
            evidence = gather_evidence(joints / factor, raw / factor, scores, since)
            self._evidence.append((pose2d.person_id, evidence.turned(-turn)))
        return _Seen(lifted, person, factor, joints, raw, rays, scores, weights)

    def _placed(self, seen: _Seen) -> Pose3D:
        """On the ground as now estimated."""
        person, now = seen.person, seen.lifted.pose2d.timestamp
        larger = person.factor / seen.factor  # who has just been met among others
        joints, raw = larger * seen.joints, larger * seen.raw
        z, variance = fuse_floor(joints, raw, seen.rays, seen.scores, self._plane)
        depth = max(person.depth(float(z[0]), float(variance[0]), now), MIN_DEPTH)
        root = fit_lateral(joints, seen.rays, seen.weights, np.array([depth]))
        ground = floor_under(root[0], self._plane, self._settled.ground)
        joints = let_down(joints, root, [ground], person.feet_unseen)
        if self._smooth > 0.0:
            slope = slope_of(self._plane, self._settled.ground)
            placed, at = person.feet(joints[0], root[0], now, ground, slope)
        else:
            placed, at = joints[0], root[0]
        return self._on_floor(seen.lifted, placed, at)

    def _on_floor(self, pose: LiftedPose | Pose3D, joints: Array, root: Array) -> Pose3D:
        ground = floor_under(root, self._plane, self._settled.ground)
        return _pose3d(pose, joints, root, ground)

    def _forget_the_absent(self, now: float) -> None:
        """Keep memory bounded where people come and go for hours."""
        for person_id in [k for k, p in self._people.items() if now - p.time > _REMEMBERED]:
            del self._people[person_id]

    def _follow_ground(self, now: float, *, new: bool) -> bool:
        """Solve for the ground now and then, and let the one in use drift there.

        Args:
            now: seconds.
            new: there is somebody who was not here before.

        Returns:
            Whether these are the first poses of all.
        """
        first = not math.isfinite(self._first_time)
        if first or now < self._time:  # a source that starts again keeps its floor
            self._first_time = self._solved_at = self._time = now
        age, dt = now - self._first_time, now - self._time
        self._time, self._dt = now, dt
        due = SOLVE_EVERY if age > SETTLED else SAMPLE_SPACING
        if first or new or now - self._solved_at >= due:
            self._solved_at = now
            self._solve_ground()
            if first or self._somebody_is_below(now):
                self._settled, self._plane = self._target, self._target_plane
        fraction = fraction_moved(dt, age)
        self._settled = self._settled.towards(self._target, fraction)
        self._plane = self._turned_plane(fraction, dt)
        return first

    def _somebody_is_below(self, now: float) -> bool:
        """Whether somebody is so far below the floor in use that no height explains it, and much
        nearer to the one that has been found: who came first is on a roof, or on a stage."""
        lately: dict[int, list[GroundEvidence]] = {}
        for person_id, evidence in self._evidence:
            lately.setdefault(person_id, []).append(evidence)
        near = max(self._target_plane.height / _USUAL_DEPTH, 1.0)
        for person_id, parts in lately.items():
            person = self._people.get(person_id)
            if person is None or person.time < now or person.feet_unseen > 1.0 - _FEET_SEEN:
                continue
            evidence = GroundEvidence.concatenate(parts[-_LATELY:])
            here = evidence.turned(self._settled.turn)
            there = evidence.turned(self._target.turn)
            now_below = -height_above(here, self._plane)
            then_off = abs(height_above(there, self._target_plane))
            if now_below > max(_BELOW * near, 2.0 * then_off) and not may_stand(here, self._plane):
                return True
        return False

    def _turned_plane(self, fraction: float, dt: float) -> Ground:
        """The plane on its way to its target: turned about those who stand there, whom it leaves on
        it, fast where much is to be turned; and moved under them as slowly as anything else."""
        plane, target = self._plane, self._target_plane
        there, turn = self._stands, target.pitch - plane.pitch
        fast = min(abs(turn) / _MUCH, 1.0) * (1.0 - math.exp(-dt / _FAST_S))
        pitch = plane.pitch + max(fraction, fast) * turn
        above = plane.height + float(plane.up @ there)
        wanted = target.height + float(target.up @ there)
        moved = Ground(pitch, self._settled.ground.roll, 0.0)
        height = above + fraction * (wanted - above) - float(moved.up @ there)
        return replace(moved, height=height)

    def _keep_under(self, poses: Sequence[Pose3D], *, first: bool) -> None:
        """Move the floor to who stands there now, as long as pitch is being learnt.

        On the way to a target pitch and height do not go together.

        Args:
            poses: of one frame.
            first: they are the first ones, who are on the floor at once.
        """
        above = np.array([above_floor(np.asarray(p.joints_world, np.float64)) for p in poses])
        seen = np.array([1.0 - self._people[pose.person_id].feet_unseen for pose in poses])
        if seen.max() < _FEET_SEEN:  # nobody stands more surely than the others
            seen = np.ones(len(poses))
        roots = np.array([pose.root for pose in poses], np.float64)
        slope = slope_of(self._plane, self._settled.ground)
        if first:
            nearest = int(np.lexsort((roots[:, 2], -seen.round(1)))[0])
            self._raise_floor(float(above[nearest]), slope)
            above -= above[nearest]
        age = self._time - self._first_time
        off = abs(self._target.ground.pitch - self._settled.ground.pitch)
        learnt = min(max(off / _LEARNT, 1.0 - age / _NEW_S), 1.0)
        near = max(self._plane.height / _USUAL_DEPTH, 1.0)
        # Not those on a roof, or the only one who is not.
        stand = seen * (above > -_BELOW * near) * (above < _ABOVE * near)
        for metres, weight in zip(above, stand, strict=True):
            slow = _SINKING_S if metres < 0.0 else _FLOATING_S
            fraction = learnt * weight * (1.0 - math.exp(-self._dt / slow))
            self._raise_floor(fraction * float(metres), slope)
        if stand.sum() > _FEET_SEEN:
            lowest = [pose.root + pose.joints[list(ANKLES)].mean(0) for pose in poses]
            self._stands = stand @ np.array(lowest, np.float64) / stand.sum()

    def _raise_floor(self, metres: float, slope: float) -> None:
        height = self._plane.height - metres / math.sqrt(1.0 + slope**2)
        self._plane = replace(self._plane, height=height)

    def _solve_ground(self) -> None:
        """Floor, and relative heights of the people on it, from all that is remembered."""
        by_person: dict[int, list[GroundEvidence]] = {}
        for person_id, evidence in self._evidence:
            by_person.setdefault(person_id, []).append(evidence)
        people = {k: GroundEvidence.concatenate(parts) for k, parts in by_person.items()}
        known = [self._people[k].factor_target if k in self._people else 1.0 for k in people]
        scaled = [each.scaled(f) for each, f in zip(people.values(), known, strict=True)]
        joint = GroundEvidence.concatenate(scaled)
        slope = slope_of(self._target_plane, self._target.ground)
        self._target = target = fit_ground(
            joint, self._target, pitch=self._pitch, upright=self.upright
        )
        turned = [each.turned(target.turn) for each in people.values()]
        unseen = [self._people[k].feet_unseen if k in self._people else 1.0 for k in people]
        seen = [1.0 - each for each in unseen]
        self._target_plane = plane = sloped(turned, seen, target.ground, slope)
        factors = [1.0] * len(turned)
        if not self._heights.each:
            factors = relative_heights(turned, plane)
        alone = self._heights.each or len(people) == 1
        for person_id, factor, evidence in zip(people, factors, turned, strict=True):
            person = self._people.get(person_id)
            if person is not None:
                guessed = 0.0 if alone else person.feet_unseen
                person.factor_target = onto_floor(evidence, plane, factor, guessed)
                if person.seen_for == 0.0:
                    person.factor = person.factor_target


@dataclass(frozen=True, slots=True)
class _Seen:
    """One pose on the way through `SceneTracker.place`; arrays have one row."""

    lifted: LiftedPose
    person: Person
    factor: float
    """Height relative to the told one."""
    joints: Array
    """(1, 17, 3) metres."""
    raw: Array
    """(1, 3) root of the frame by itself."""
    rays: Array
    """(1, 17, 2)"""
    scores: Array
    """(1, 17)"""
    weights: Array
    """(1, 17)"""


@dataclass(slots=True)
class _Recording:
    """All poses of one person, in the order of time, on the way through `solve_scene`."""

    height_m: float
    """Told."""
    units: Array
    """(N, 17, 3) root-relative, network units."""
    smoothed: Array
    """(N, 17, 3) the same over time."""
    scores: Array
    """(N, 17)"""
    rays: Array
    """(N, 17, 2)"""
    times: Array
    """(N,) seconds."""
    joints: Array = field(default_factory=lambda: np.empty((0, NUM_JOINTS, 3)))
    """(N, 17, 3) metres, once placed."""
    raw: Array = field(default_factory=lambda: np.empty((0, 3)))
    """(N, 3) root of each frame by itself."""
    root: Array = field(default_factory=lambda: np.empty((0, 3)))
    """(N, 3) root, once settled."""

    @classmethod
    def of(
        cls, track: list[LiftedPose], height_m: float, fov_deg: float, smooth: float
    ) -> _Recording:
        units = np.array([p.joints - p.joints[HIP] for p in track], np.float64)
        scores = np.array([p.pose2d.scores for p in track], np.float64)
        rays = np.array(
            [Pinhole.from_fov(p.pose2d.image_size, fov_deg).rays(p.pose2d.keypoints) for p in track]
        )
        times = np.array([p.pose2d.timestamp for p in track])
        return cls(height_m, units, smooth_zero_phase(units, times, smooth), scores, rays, times)

    def place(self, turn: float) -> None:
        """Metres, constant bones, and the root of each frame by itself.

        Args:
            turn: radians about the camera's x axis, of all poses.
        """
        body = measure_body(
            segment_lengths(self.units), segment_weights(self.scores), self.height_m
        )
        self.joints = rebuild(body.scale * self.smoothed @ about_x(turn).T, body.lengths)
        self.raw = fit_translation(self.joints, self.rays, joint_weights(self.scores))

    def scale(self, factor: float) -> None:
        """Make the person larger by a factor, and so farther away."""
        self.joints, self.raw = factor * self.joints, factor * self.raw

    def evidence(self) -> GroundEvidence:
        """What this person says of the ground, from about ten poses a second at most."""
        variance = (DEPTH_ERROR * self.raw[:, 2]) ** 2 * CORRELATED
        depth = smooth_depth(self.raw[:, 2], variance, self.times)
        root = fit_lateral(self.joints, self.rays, joint_weights(self.scores), depth)
        step = float(np.median(np.diff(self.times))) if len(self.times) > 1 else SAMPLE_SPACING
        stride = max(1, round(SAMPLE_SPACING / max(step, 1e-3)), len(self.times) // 3000)
        rows = slice(None, None, stride)
        since = np.diff(self.times[rows], prepend=-math.inf)
        return gather_evidence(self.joints[rows], root[rows], self.scores[rows], since)

    def settle(self, plane: Ground, ground: Ground) -> None:
        """Final root: distance from size and floor contact, without lag.

        Args:
            plane: where people stand; ground: what is level.
        """
        z, variance = fuse_floor(self.joints, self.raw, self.rays, self.scores, plane)
        depth = np.maximum(smooth_depth(z, variance, self.times), MIN_DEPTH)
        self.root = fit_lateral(self.joints, self.rays, joint_weights(self.scores), depth)
        floors = [floor_under(root, plane, ground) for root in self.root]
        self.joints = let_down(self.joints, self.root, floors, self.feet_unseen)

    @property
    def feet_unseen(self) -> float:
        """How sure it is that nobody has seen the feet, 0 to 1."""
        return feet_unseen(segment_weights(self.scores))

    def stand(self, plane: Ground, ground: Ground) -> None:
        """Keep feet that stand where they stand; arguments as for `settle`."""
        ankles = self.joints[:, ANKLES]
        floors = [floor_under(root, plane, ground) for root in self.root]
        stand = standing(plane.to_world(ankles + self.root[:, None]), self.times)
        slope = slope_of(plane, ground)
        self.root = carried(self.root, ankles, stand, self.times, floors, slope)
        self.joints = planted(self.joints, self.root, ground, stand, self.times)


def _pose3d(lifted: LiftedPose | Pose3D, joints: Array, root: Array, ground: Ground) -> Pose3D:
    return Pose3D(
        pose2d=lifted.pose2d,
        joints=joints.astype(np.float32),
        root=root.astype(np.float32),
        joints_world=ground.to_world(joints + root).astype(np.float32),
        look_ahead=lifted.look_ahead,
        ground=ground,
    )


def _check(heights: ToldHeights, fov_deg: float, smooth: float, pitch_deg: float | None) -> None:
    for height_m in heights.metres:
        if not 0.3 <= height_m <= 3.0:
            raise ValueError(f"height must be 0.3 to 3 m, not {height_m}")
    if pitch_deg is not None and not -80.0 <= pitch_deg <= 80.0:
        raise ValueError(f"pitch must be -80 to 80 degrees, not {pitch_deg}")
    if not 5.0 <= fov_deg <= 150.0:
        raise ValueError(f"field of view must be 5 to 150 degrees, not {fov_deg}")
    if not (math.isfinite(smooth) and smooth >= 0.0):
        raise ValueError(f"smoothing strength must be at least 0, not {smooth}")
