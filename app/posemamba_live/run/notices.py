"""What a run says once: that the camera moves, and that more people are there than are followed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from posemamba_live.plan import RunPlan
from posemamba_live.run.background import Background
from posemamba_live.run.outputs import Outputs
from posemamba_live.scene.camera_motion import CameraMotion
from posemamba_live.terminal import say
from posemamba_live.types import Frame, Pose2D

logger = logging.getLogger(__name__)

_CROWD: Final = 3
"""People in view from which a run that follows one says that it can follow more."""
_CROWDED: Final = 3
"""In so many frames, so that one frame's phantom is not counted."""


class Notices:
    """Looks at every frame and its people, and says what somebody should know.

    Args:
        plan: what is followed, and whether anything may be said.
        outputs: whose files tell that the camera moved.
        background: which tells nothing of the camera then.
    """

    def __init__(self, plan: RunPlan, outputs: Outputs, background: Background) -> None:
        self._plan = plan
        self._outputs = outputs
        self._background = background
        self._camera_motion = CameraMotion()
        self._crowded = 0

    def look(self, frame: Frame, poses: Sequence[Pose2D], in_view: int) -> None:
        """Take the next frame, the people followed in it, and how many are in view at all."""
        if self._camera_motion(frame, poses):
            logger.warning(
                "the camera moves: where people are in the room, and the floor, mean nothing "
                "then; poses and the camera frame do"
            )
            self._outputs.meta["camera_moves"] = True
            self._outputs.meta["background"] = None
            self._background.give_up()
        if self._crowded >= _CROWDED or self._plan.people > 1 or in_view < _CROWD:
            return
        self._crowded += 1
        if self._crowded == _CROWDED and not self._plan.quiet:
            say(
                f"{in_view} people are in view, one is followed; "
                f"--people {in_view} follows them all"
            )
