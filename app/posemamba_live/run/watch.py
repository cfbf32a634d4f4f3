"""The window of a run: what the main thread does while the stages work."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from posemamba_live.errors import LiveError
from posemamba_live.plan import RunPlan
from posemamba_live.run.assembly import Picture
from posemamba_live.run.outputs import fresh_name
from posemamba_live.run.pipeline import Run
from posemamba_live.run.screen import Screen
from posemamba_live.types import Frame, Pose3D
from posemamba_live.viewer.hud import HudInfo
from posemamba_live.viewer.keys import Action

_POLL_S: Final = 1.0 / 120.0
_HUD_S: Final = 0.25
"""Seconds after which the window's figures are renewed though there is no new picture."""
_RATE_FRAMES: Final = 45


class Window(Protocol):
    """What watching needs of a viewer (viewer.viewer.Viewer); main thread only."""

    def show(self, frame: Frame, poses: Sequence[Pose3D], hud: HudInfo) -> None: ...
    def poll(self) -> bool: ...
    def take_actions(self) -> list[Action]: ...
    def take_choice(self) -> tuple[float, float] | None: ...
    def notify(self, text: str) -> None: ...
    def screenshot(self, path: Path) -> None: ...


class Watch:
    """Shows a run in a window and does what its keys ask for; see `Run.run`.

    Args:
        window: opened; the caller closes it.
        plan: of the run.
        title: the window's line on source and weights.
    """

    def __init__(self, window: Window, plan: RunPlan, title: str = "") -> None:
        # A file that is only watched is held back to its own rate.
        only_watched = not (plan.exports or plan.record)
        self.screen = Screen(None if plan.live else plan.fps, waits=only_watched)
        """Where the run hands over its pictures."""
        self._window = window
        self._live = plan.live
        self._title = title
        self._shown: Picture | None = None
        self._shown_at = 0.0
        self._show_times: deque[float] = deque(maxlen=_RATE_FRAMES)
        self._paused = False

    def __call__(self, run: Run) -> None:
        """Answer keys and clicks and show the next picture, waiting for it a few milliseconds."""
        if not self._window.poll():
            run.stop()
        for action in self._window.take_actions():
            self._act(action, run)
        choice = self._window.take_choice()
        if choice is not None:
            run.choose(*choice)
        now = time.monotonic()
        if self._paused:
            time.sleep(_POLL_S)
            new = None
        else:
            new = self.screen.next(_POLL_S)
        if new is not None:
            self._shown = new
            self._show_times.append(now)
        if self._shown is not None and (new is not None or now - self._shown_at > _HUD_S):
            self._shown_at = now
            with run.stats.stage("show"):
                hud = self._hud(run, self._shown, now)
                self._window.show(self._shown.frame, self._shown.poses, hud)

    def _hud(self, run: Run, shown: Picture, now: float) -> HudInfo:
        times = self._show_times
        span = times[-1] - times[0] if len(times) > 1 else 0.0
        age = 1e3 * (now - shown.frame.captured_at)
        return HudInfo(
            fps=(len(times) - 1) / span if span > 0.0 else 0.0,
            age_ms=age if self._live else None,
            dropped=run.stats.frames_dropped,
            status=run.status,
            recording=run.outputs.recording,
            paused=self._paused,
            title=self._title,
        )

    def _act(self, action: Action, run: Run) -> None:
        notify = self._window.notify
        if action is Action.PAUSE:
            self._paused = not self._paused
        elif action is Action.RECORD:
            done = run.outputs.toggle_recording()
            notify("recording" if run.outputs.recording else f"saved {done or 'nothing'}")
        elif action is Action.EXPORT:
            path = run.outputs.export_now(run.solve)
            notify(f"saved {path}" if path else "could not export")
        elif action is Action.NEXT:
            run.choose_next()
        elif action is Action.SCREENSHOT:
            path = fresh_name("screenshot", ".png")
            try:
                self._window.screenshot(path)
                notify(f"saved {path}")
            except LiveError as error:
                notify(error.what)
