"""What the background says of the camera, looked at beside the poses."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from posemamba_live.scene.verticals import Upright, Verticals
from posemamba_live.types import Frame, Pose2D

logger = logging.getLogger(__name__)


class Background:
    """Looks at the background now and then; call it with every frame and the people in it.

    Args:
        fov_deg: field of view across the picture's longer side, degrees.
        live: poses wait for the first look only, as the floor begins with it; later ones have a
            thread of their own.
    """

    def __init__(self, fov_deg: float, *, live: bool) -> None:
        self._verticals = Verticals(fov_deg)
        self._live = live
        self._looking: threading.Thread | None = None
        self._begun = self._given_up = False

    @property
    def said(self) -> Upright | None:
        """What is known by now; any thread may ask."""
        return None if self._given_up else self._verticals.said

    def __call__(self, frame: Frame, people: Sequence[Pose2D]) -> None:
        """Take the next frame."""
        if self._given_up or (self._looking is not None and self._looking.is_alive()):
            return
        if not self._verticals.due(frame):
            return
        if not (self._live and self._begun):
            self._begun = True
            self._look(frame, people)
            return
        self._looking = threading.Thread(
            target=self._look, args=(frame, people), name="background", daemon=True
        )
        self._looking.start()

    def give_up(self) -> None:
        """The camera moves: what was said is not true any more."""
        self._given_up = True

    def _look(self, frame: Frame, people: Sequence[Pose2D]) -> None:
        try:
            self._verticals(frame, people)
        except Exception as error:  # poses go on without it
            logger.debug("looking at the background failed", exc_info=error)
            self.give_up()
