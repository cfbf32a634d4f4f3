"""How a run's poses become metres, while it goes on and as one take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from posemamba_live.scene.scene import SceneTracker, solve_scene
from posemamba_live.scene.verticals import Upright
from posemamba_live.types import LiftedPose, Pose3D


@dataclass(frozen=True, slots=True)
class SceneSettings:
    """How poses become metres."""

    height_m: float | Sequence[float]
    """Of everybody, or of people in the order of their identities, the last of all others."""
    fov_deg: float
    smooth: float
    """Strength of the smoothing over time, 0 for none."""
    pitch_deg: float | None = None
    """Of the camera, negative looks down; None where it is not known."""

    def tracker(self) -> SceneTracker:
        return SceneTracker(
            self.height_m, self.fov_deg, smooth=self.smooth, pitch_deg=self.pitch_deg
        )

    def solve(self, track: Sequence[LiftedPose], upright: Upright | None) -> list[Pose3D]:
        return solve_scene(
            track,
            self.height_m,
            self.fov_deg,
            smooth=self.smooth,
            pitch_deg=self.pitch_deg,
            upright=upright,
        )
