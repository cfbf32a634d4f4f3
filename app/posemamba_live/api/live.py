"""Frames in, people in 3D out, one frame after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from posemamba_live.api.settings import (
    DEFAULTS,
    choice,
    in_python,
    options_of,
    path_of,
    several,
    text_of,
)
from posemamba_live.errors import UsageError
from posemamba_live.options import DeviceName, ModeName, SubjectName
from posemamba_live.plan import DEFAULT_HEIGHT_M, plan_run
from posemamba_live.types import Frame, Pose3D

if TYPE_CHECKING:
    from typing_extensions import Self

_USUAL_FPS: Final = 30.0
"""Where poses are live, nothing depends on the nominal rate."""


class Tracker3D:
    """Frames in, people in 3D out: a context manager; call it with one frame after another.

    With `live` each pose comes with its own frame, or `delay` frames later, as the window of
    the command shows it. Otherwise poses come as late as the lifter's windows need, with the
    accuracy that files have; `finish` returns the last ones. Scale, floor and filters are
    running estimates in either case: `lift_video` has the whole video to estimate them from.

    Use it from one thread. Frames are those of `open_source`, or your own: `Frame(index,
    timestamp, image, captured_at)` with indices and seconds that increase.

    Args:
        live: poses are wanted at once.
        fps: frames a second, nominal; must be said where `live` is false.
        delay: live: frames of look-ahead, which make poses steadier.
        height_m, pitch_deg, fov_deg, people, subject, detector, detector_model, person_model,
            detect_every, weights, mode, window, smooth, threads, device: see `lift_video`; a live
            window on a CPU is shorter.

    Raises:
        UsageError, DetectorError, LiveError: see `lift_video`.
    """

    def __init__(
        self,
        live: bool = True,
        *,
        fps: float | None = None,
        delay: int = DEFAULTS.delay,
        height_m: float | Sequence[float] = DEFAULT_HEIGHT_M,
        pitch_deg: float | None = None,
        fov_deg: float | None = DEFAULTS.fov,
        people: int = DEFAULTS.people,
        subject: str = DEFAULTS.subject.value,
        detector: str = DEFAULTS.detector,
        detector_model: str | Path | None = None,
        person_model: str | Path | None = None,
        detect_every: int | None = None,
        weights: str | Path | None = None,
        mode: str = DEFAULTS.mode.value,
        window: int | None = None,
        smooth: float = DEFAULTS.smooth,
        threads: int | None = None,
        device: str = DEFAULTS.device.value,
    ) -> None:
        from posemamba_live.lifting.people import People
        from posemamba_live.parts import build
        from posemamba_live.run.assembly import Assembler
        from posemamba_live.run.background import Background
        from posemamba_live.scene.camera_motion import CameraMotion
        from posemamba_live.scene.settings import SceneSettings
        from posemamba_live.tracking.people import PeopleTracker, Subject

        if fps is None and not live:
            raise UsageError("fps is not given", hint="frames a second, which live=False needs")
        if fps is not None and not 0.0 < fps < float("inf"):
            raise UsageError(f"fps {fps:g} is out of range", hint="more than 0")
        with in_python():
            options = options_of(
                heights=several(height_m),
                pitch=pitch_deg,
                fov=fov_deg,
                people=people,
                subject=choice(SubjectName, "subject", subject),
                detector=detector,
                detector_model=path_of(detector_model),
                person_model=path_of(person_model),
                detect_every=detect_every,
                weights=text_of(weights),
                mode=choice(ModeName, "mode", mode),
                window=window,
                delay=delay,
                smooth=smooth,
                threads=threads,
                device=choice(DeviceName, "device", device),
            )
            plan = plan_run(options, _Frames(live, fps or _USUAL_FPS))
            parts = build(options, plan)
        self._detector = parts.detector
        wanted = Subject(plan.subject.value)
        self._tracker = PeopleTracker(parts.detector, plan.people, wanted, live=live)
        self._camera_motion = CameraMotion()
        self._people = People(parts.make_lifter, fill_gaps=not live)
        scene = SceneSettings(plan.heights_m, plan.fov_deg, plan.smooth, plan.pitch_deg)
        self._background = Background(plan.fov_deg, live=live)
        self._assembler = Assembler(scene.tracker(), self._background, pictures=False)

    def __call__(self, frame: Frame) -> list[Pose3D]:
        """Take the next frame.

        Returns:
            The poses that are now known, by frame, then person; `pose.frame_index` says of
            which frame, `pose.pose2d` has the keypoints. Empty where nobody is seen.

        Raises:
            DetectorError: the detector cannot go on, or is closed.
        """
        found = self._tracker(frame)
        self._background(frame, found)
        if self._camera_motion(frame, found):
            self._background.give_up()
        lifted = self._people.push(frame, found, self._tracker.earlier)
        return [pose for picture in self._assembler.push(lifted) for pose in picture.poses]

    def finish(self) -> list[Pose3D]:
        """After the last frame: the poses that were still waiting for later ones."""
        lifted = self._people.flush()
        return [pose for picture in self._assembler.push(lifted) for pose in picture.poses]

    @property
    def camera_moves(self) -> bool:
        """Whether the camera has been seen to move: positions in the world frame mean nothing
        then; poses and the camera frame do."""
        return self._camera_motion.moves

    def choose(self, x: float, y: float) -> None:
        """Follow whoever is at this point, fractions of the picture's width and height."""
        self._tracker.choose(x, y)

    def choose_next(self) -> None:
        """Follow the next person instead of the primary subject."""
        self._tracker.choose_next()

    def close(self) -> None:
        """Free the detector; a second call does nothing."""
        self._detector.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class _Frames:
    """What a plan has to know of frames that somebody else brings."""

    live: bool
    fps: float
    name: str = "frames"
    size: tuple[int, int] = (0, 0)
    frame_count: int | None = None
