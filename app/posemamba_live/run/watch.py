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
from posemamba_live.run.playback import Playback
from posemamba_live.run.screen import Screen
from posemamba_live.types import Frame, Pose3D
from posemamba_live.viewer.hud import HudInfo
from posemamba_live.viewer.keys import Action

_POLL_S: Final = 1.0 / 120.0
_HUD_S: Final = 0.25
"""Seconds after which the window's figures are renewed though there is no new picture."""
_RATE_FRAMES: Final = 45
_INTRODUCTION_S: Final = 12.0
"""For so long after the first picture the window lists its keys."""


class Window(Protocol):
    """What watching needs of a viewer (viewer.viewer.Viewer); main thread only."""

    def show(self, frame: Frame, poses: Sequence[Pose3D], hud: HudInfo) -> None: ...
    def poll(self) -> bool: ...
    def take_actions(self) -> list[Action]: ...
    def take_choice(self) -> tuple[float, float] | None: ...
    def notify(self, text: str) -> None: ...
    def end_introduction(self) -> None: ...
    def screenshot(self, path: Path) -> None: ...


class Watch:
    """Shows a run in a window and does what its keys ask for; see `Run.run`.

    Args:
        window: opened; the caller closes it.
        plan: of the run.
        title: the window's line on source and weights.
        stays: a film stays open at its end, and can be stepped through and played again; for
            runs that write and stream nothing.
    """

    def __init__(
        self, window: Window, plan: RunPlan, title: str = "", *, stays: bool = False
    ) -> None:
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
        self._playback = Playback() if stays and only_watched and not plan.live else None
        self._stepped: Picture | None = None
        self._next_at = 0.0
        """When the next picture of those that were shown before is due."""
        self._ended = False
        self._introduced_at: float | None = None

    def __call__(self, run: Run) -> None:
        """Answer keys and clicks and show the next picture, waiting for it a few milliseconds."""
        if not self._window.poll():
            run.stop()
        for action in self._window.take_actions():
            self._act(action, run)
        choice = self._window.take_choice()
        if choice is not None:
            run.choose(*choice)
        new = self._next(run)
        now = time.monotonic()
        if new is not None:
            self._shown = new
            self._show_times.append(now)
            self._introduced_at = self._introduced_at or now
        if self._introduced_at is not None and now - self._introduced_at > _INTRODUCTION_S:
            self._window.end_introduction()
        if self._shown is not None and (new is not None or now - self._shown_at > _HUD_S):
            self._shown_at = now
            with run.stats.stage("show"):
                hud = self._hud(run, self._shown, now)
                self._window.show(self._shown.frame, self._shown.poses, hud)

    def _next(self, run: Run) -> Picture | None:
        """The picture to show now, if one is due within a few milliseconds."""
        new = self._stepped
        if new is not None:
            self._stepped = None
            return new
        playback = self._playback
        if self._paused:
            time.sleep(_POLL_S)
            return None
        if playback is not None and not playback.at_end:
            left = self._next_at - time.monotonic()
            if left > _POLL_S:
                time.sleep(_POLL_S)
                return None
            time.sleep(max(0.0, left))
            self._ended = False
            return self._placed(playback.step(1))
        new = self.screen.next(_POLL_S)
        if playback is not None:
            if new is not None:
                playback.add(new)
                self.screen.hold()
            ended = new is None and self._shown is not None and self.screen.empty
            self._ended = ended and not run.working
        return new

    def _placed(self, picture: Picture | None) -> Picture | None:
        """A picture of those that were shown before; says when the next one is due."""
        if self._playback is not None:
            self._next_at = time.monotonic() + self._playback.seconds_to_next()
        return picture

    def _step(self, action: Action) -> None:
        """Go through what was shown: back and on stop there, again plays from the beginning."""
        playback = self._playback
        if playback is None:
            return
        if action is Action.AGAIN:
            self._paused = self._ended = False
            self._stepped = self._placed(playback.first())
            return
        new: Picture | None
        if action is Action.ONWARD and playback.at_end:
            new = self.screen.next(_POLL_S)
            if new is not None:
                playback.add(new)
        else:
            new = playback.step(1 if action is Action.ONWARD else -1)
        if new is not None:
            self._stepped, self._paused, self._ended = new, True, False

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
            ended=self._ended,
            title=self._title,
        )

    def _act(self, action: Action, run: Run) -> None:
        notify = self._window.notify
        if action is Action.PAUSE:
            self._paused = not self._paused
        elif action in (Action.BACK, Action.ONWARD, Action.AGAIN):
            self._step(action)
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
