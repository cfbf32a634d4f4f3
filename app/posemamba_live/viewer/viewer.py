"""The live window: skeletons on a floor beside the camera picture.

What is shown from where; `canvas` draws it and `input` listens to keys and mouse. All of it
belongs to the main thread. Open3D holds Python's interpreter lock while it draws, so that
`poll` draws only what is new and leaves the workers at least two thirds of the time.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Final, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from posemamba.skeleton import HIP, L_ANKLE, L_WRIST, R_ANKLE, R_WRIST
from posemamba_live.drawing.colours import person_colors
from posemamba_live.drawing.mesh import (
    Body,
    Mesh,
    body_mesh,
    floor_mesh,
    merge,
    shadow_mesh,
    trail_mesh,
)
from posemamba_live.errors import SinkError
from posemamba_live.options import UnseenName
from posemamba_live.types import Frame, Pose3D
from posemamba_live.viewer.canvas import Canvas, has_room, no_window
from posemamba_live.viewer.display import display_available
from posemamba_live.viewer.hud import HudInfo, Panel, ViewInfo, panel_width, picture_place
from posemamba_live.viewer.input import Input
from posemamba_live.viewer.keys import PIPELINE_ACTIONS, Action
from posemamba_live.viewer.orbit import OrbitCamera, camera_centre, focal_length

Array = NDArray[np.float64]
_Member = TypeVar("_Member", bound=Enum)

TRAIL_JOINTS: Final = (HIP, L_WRIST, R_WRIST, L_ANKLE, R_ANKLE)
TRAIL_SECONDS: Final = 1.6
_TRAIL_LENGTH: Final = 120
"""Upper bound of points in a trail, whatever the frame rate."""
_FOLLOW_SECONDS: Final = 0.35
"""Time constant with which the view goes after the people: steps do not shake it."""
_FLOOR_STEP: Final = 0.25
"""Metres the view moves before the floor is laid anew around it."""
_MAX_DUTY: Final = 1 / 3
"""Largest fraction of time spent in drawing; a slow driver costs frames on screen, not poses.
At half of it, software OpenGL (27 ms a frame) doubled the age of the poses on two cores."""
_NOTICE_SECONDS: Final = 2.0


class _View(Enum):
    """Where V looks from: name, azimuth and elevation in degrees."""

    FRONT = ("front", 0.0, 10.0)
    SIDE = ("side", 90.0, 8.0)
    TOP = ("top", 0.0, 89.0)
    CAMERA = ("camera", 0.0, 0.0)


class _Follow(Enum):
    """What F does: the view goes with the people, they stay in place, or neither."""

    FOLLOW = "follow"
    PIN = "pin root"
    FREE = "free"


class Viewer:
    """A window that shows the newest poses. Every method belongs to the main thread."""

    def __init__(
        self,
        title: str,
        size: tuple[int, int] = (1280, 720),
        mirror: bool = False,
        visible: bool = True,
        unseen: UnseenName = UnseenName.FAINT,
    ) -> None:
        """Open the window.

        Args:
            title: of the window.
            size: (W, H) pixels.
            mirror: show picture and room as a mirror would.
            visible: False for a window that is never put on the screen.
            unseen: what becomes of joints that nobody has seen for a while.

        Raises:
            SinkError: there is no display, or it cannot show OpenGL 3.3.
        """
        if not display_available():
            raise no_window("no display answers (see DISPLAY or WAYLAND_DISPLAY)")
        self._canvas = Canvas(title, size, visible=visible, meshes=("floor", "marks", "bodies"))
        self._orbit = OrbitCamera()
        self._view = _View.FRONT
        self._follow = _Follow.FOLLOW
        self._mirror = mirror
        self._hides = unseen is UnseenName.HIDE
        self._trail_on = False
        self._grid_on = True
        self._help_on = True
        self._help_asked = False
        self._notice = ""
        self._notice_until = 0.0
        self._actions: list[Action] = []
        self._quit = False
        self._closed = False

        self._frame: Frame | None = None
        self._poses: tuple[Pose3D, ...] = ()
        self._hud = HudInfo()
        self._bodies: list[Body] = []
        self._trails: dict[int, deque[tuple[float, Array]]] = {}
        self._anchors: dict[int, Array] = {}
        self._anyone_yet = False
        self._panel = Panel()

        self._dirty = True
        self._drawn_size = (0, 0)
        self._draw_seconds = 0.0
        self._next_draw = 0.0
        self._floor_centre: Array | None = None
        self._choice: tuple[float, float] | None = None

        self._input = Input(self._canvas.window, self)

    # -- what the pipeline calls ---------------------------------------------------------

    def show(self, frame: Frame, poses: Sequence[Pose3D], hud: HudInfo) -> None:
        """Take the newest state; the next `poll` draws it.

        Args:
            frame: the picture; must not be changed afterwards.
            poses: everybody in it, empty if nobody.
            hud: figures and status for the panel.
        """
        last = self._frame
        elapsed = 0.0 if last is None else max(frame.timestamp - last.timestamp, 0.0)
        self._frame, self._poses, self._hud = frame, tuple(poses), hud
        self._place_people(elapsed)
        self._dirty = True

    def poll(self) -> bool:
        """Handle input and draw if there is something new and it is time to.

        Cheap when nothing is new. Call it often (every few milliseconds): mouse and keys are
        only seen here.

        Returns:
            False once the user has closed the window or pressed Q or Escape.
        """
        if self._closed:
            return False
        now = time.monotonic()
        if self._notice and now >= self._notice_until:
            self._notice, self._dirty = "", True
        size = self._canvas.size
        if size != self._drawn_size:
            self._dirty = True
        if self._dirty and now >= self._next_draw and has_room(size):
            self._draw()
        open_ = self._canvas.poll()
        return open_ and not self._quit

    def take_actions(self) -> list[Action]:
        """What keys have asked of the pipeline since the last call (`keys.PIPELINE_ACTIONS`),
        in order."""
        actions, self._actions = self._actions, []
        return actions

    def take_choice(self) -> tuple[float, float] | None:
        """Where in the camera picture the user has clicked since the last call.

        Returns:
            Shares of the picture's width and height, 0 to 1, as the camera sees it.
        """
        choice, self._choice = self._choice, None
        return choice

    def end_introduction(self) -> None:
        """Hide the list of keys, unless H has been pressed: it was there long enough to read."""
        if self._help_on and not self._help_asked:
            self._help_on, self._dirty = False, True

    def notify(self, text: str) -> None:
        """Answer a key in the panel for two seconds ("saved poses.npz")."""
        self._notice = text
        self._notice_until = time.monotonic() + _NOTICE_SECONDS
        self._dirty = True

    def screenshot(self, path: Path) -> None:
        """Write the window as a PNG or JPEG file, anti-aliased.

        Raises:
            SinkError: the file cannot be written, or the window is minimised.
        """
        if not has_room(self._canvas.size):
            raise SinkError(f"cannot write {path}", why="the window is minimised", hint="show it")
        self._update_meshes()
        total: Array | None = None
        count = 0
        for jitter in self._canvas.samples():
            # The panel stays as it is: its figures may change meanwhile.
            self._canvas.aim(self._drawn_size, *self._stand(), None, jitter)
            sample = self._canvas.capture()
            total = sample.copy() if total is None else total + sample
            count += 1
        assert total is not None
        mean = np.rint(total * (255.0 / count)).astype(np.uint8)
        ok, coded = cv2.imencode(path.suffix or ".png", cv2.cvtColor(mean, cv2.COLOR_RGB2BGR))
        try:
            path.write_bytes(coded.tobytes() if ok else b"")
        except OSError as error:
            raise SinkError(
                f"cannot write {path}",
                why=error.strerror or str(error),
                hint="choose another place",
            ) from error
        self._dirty = True

    @property
    def pending(self) -> bool:
        """Whether there is something that the window does not show yet."""
        return self._dirty

    @property
    def mirror(self) -> bool:
        """Whether the mirror view is on; M changes it."""
        return self._mirror

    def close(self) -> None:
        """Close the window. Idempotent."""
        if not self._closed:
            self._closed = True
            self._canvas.close()

    # -- people --------------------------------------------------------------------------

    def _place_people(self, elapsed: float) -> None:
        """Poses to bodies where they are shown; trails and the point of interest with them."""
        present = {pose.person_id for pose in self._poses}
        self._anchors = {i: at for i, at in self._anchors.items() if i in present}
        self._trails = {i: trail for i, trail in self._trails.items() if i in present}
        self._bodies = []
        for pose in self._poses:
            joints = self._shown_joints(pose)
            body = Body(
                joints,
                person_colors(pose.person_id),
                pose.pose2d.predicted,
                pose.unseen,
                self._hides,
            )
            self._bodies.append(body)
            trail = self._trails.setdefault(pose.person_id, deque(maxlen=_TRAIL_LENGTH))
            now = pose.pose2d.timestamp
            if not trail or now > trail[-1][0]:
                trail.append((now, joints[list(TRAIL_JOINTS)]))
            while now - trail[0][0] > TRAIL_SECONDS:
                trail.popleft()
        if self._bodies and self._follow is _Follow.FOLLOW:
            middle = np.mean([body.joints[HIP, :2] for body in self._bodies], axis=0)
            fraction = 1.0 - math.exp(-elapsed / _FOLLOW_SECONDS)
            if not self._anyone_yet:
                fraction = 1.0  # be there at once
                self._anyone_yet = True
            target = self._orbit.target.copy()
            target[:2] += fraction * (middle - target[:2])
            self._orbit.target = target
        if self._view is _View.CAMERA and self._poses:
            self._look_from_camera()

    def _shown_joints(self, pose: Pose3D) -> Array:
        """(17, 3) metres: in the room or pinned, as it is or mirrored."""
        joints = np.array(pose.joints_world, dtype=np.float64)
        if self._mirror:
            joints[:, 0] *= -1.0
        if self._follow is _Follow.PIN:
            anchor = self._anchors.setdefault(pose.person_id, joints[HIP, :2].copy())
            joints[:, :2] += anchor - joints[HIP, :2]
        return joints

    def _look_from_camera(self) -> None:
        pose = self._poses[0]
        eye = camera_centre(pose.joints, pose.root, pose.joints_world)
        if self._mirror:
            eye[0] *= -1.0
        if self._follow is _Follow.PIN:
            eye[:2] += self._bodies[0].joints[HIP, :2] - pose.joints_world[HIP, :2]
        self._orbit.look_from(eye)

    # -- drawing -------------------------------------------------------------------------

    def _draw(self) -> None:
        started = time.monotonic()
        self._update_meshes()
        self._canvas.render()
        finished = time.monotonic()
        # A running mean, so that one slow frame does not halve the rate.
        self._draw_seconds += 0.2 * (finished - started - self._draw_seconds)
        self._next_draw = started + self._draw_seconds / _MAX_DUTY
        self._dirty = False

    def _update_meshes(self) -> None:
        self._drawn_size = self._canvas.size
        rotation, eye = self._stand()
        forward = rotation[2]
        centre = self._orbit.target[:2]
        bodies = body_mesh(self._bodies, eye, forward)
        self._canvas.set_mesh("bodies", bodies)
        marks = [shadow_mesh(bodies, centre)] if self._grid_on and forward[2] < 0 else []
        if self._trail_on:
            marks += self._trail_meshes(eye)
        self._canvas.set_mesh("marks", merge(marks))
        laid = self._floor_centre
        if laid is None or float(np.abs(laid - centre).max()) > _FLOOR_STEP:
            self._lay_floor(centre)
        panel = self._panel.paint(
            self._drawn_size[1], self._frame, self._poses, self._hud, self._view_info()
        )
        self._canvas.aim(self._drawn_size, rotation, eye, panel)

    def _lay_floor(self, centre: Array) -> None:
        self._floor_centre = centre.copy()
        self._canvas.set_mesh("floor", floor_mesh(centre) if self._grid_on else merge([]))

    def _trail_meshes(self, eye: Array) -> list[Mesh]:
        ribbons = []
        for person, trail in self._trails.items():
            points = np.array([joints for _, joints in trail])
            colors = person_colors(person)
            for i, joint in enumerate(TRAIL_JOINTS):
                ribbons.append(trail_mesh(points[:, i], colors.joint(joint), eye))
        return ribbons

    def _stand(self) -> tuple[Array, Array]:
        """(3, 3) rotation and (3,) place of the viewer, the panel's width allowed for."""
        height = self._drawn_size[1]
        return self._orbit.placed(0.5 * panel_width(height), focal_length(height))

    def _view_info(self) -> ViewInfo:
        return ViewInfo(
            hides_unseen=self._hides,
            view=self._view.value[0],
            follow=self._follow.value,
            mirror=self._mirror,
            help=self._help_on,
            notice=self._notice,
        )

    # -- what keys and mouse call --------------------------------------------------------

    def act(self, action: Action) -> None:
        """Do what a key asks for, or hand it on through `take_actions`."""
        if action in PIPELINE_ACTIONS:
            self._actions.append(action)
            return
        if action is Action.QUIT:
            self._quit = True
        elif action is Action.VIEW:
            self._set_view(_after(self._view))
        elif action is Action.FOLLOW:
            self._follow = _after(self._follow)
            self._anchors.clear()
            self._trails.clear()
            self._place_people(0.0)
        elif action is Action.TRAIL:
            self._trail_on = not self._trail_on
        elif action is Action.GRID:
            self._grid_on = not self._grid_on
            self._floor_centre = None
        elif action is Action.MIRROR:
            self._mirror = not self._mirror
            # The room is mirrored at x = 0; the same for the view makes it a flip on screen.
            self._orbit.target = self._orbit.target * np.array([-1.0, 1.0, 1.0])
            self._orbit.azimuth *= -1.0
            self._anchors.clear()
            self._trails.clear()
            self._place_people(0.0)
        elif action is Action.HELP:
            self._help_on, self._help_asked = not self._help_on, True
        self._dirty = True

    def click(self, point: tuple[float, float]) -> None:
        """A click in the camera picture chooses who is there."""
        self._choice = self._in_picture(point) or self._choice

    def orbit(self, dx: float, dy: float) -> None:
        """Turn the view by a movement of the mouse, pixels."""
        self._orbit.orbit(dx, dy)
        self._leave_camera_view()

    def pan(self, dx: float, dy: float) -> None:
        """Move the view by a movement of the mouse, pixels."""
        self._orbit.pan(dx, dy, focal_length(max(self._drawn_size[1], 1)))
        self._leave_camera_view()

    def zoom(self, steps: float) -> None:
        """Go nearer by steps of the mouse's wheel."""
        self._orbit.zoom(steps)
        self._leave_camera_view()

    def _set_view(self, view: _View) -> None:
        self._view = view
        if view is _View.CAMERA and self._poses:
            self._look_from_camera()
            return
        start = OrbitCamera()
        _, azimuth, elevation = view.value
        self._orbit.azimuth, self._orbit.elevation = math.radians(azimuth), math.radians(elevation)
        self._orbit.distance = start.distance
        self._orbit.target[2] = start.target[2]

    def _in_picture(self, point: tuple[float, float]) -> tuple[float, float] | None:
        """A place in the window as fractions of the camera picture; None beside it."""
        if self._frame is None:
            return None
        left, top, width, tall = picture_place(self._drawn_size[1], self._frame.size)
        x, y = (point[0] - left) / width, (point[1] - top) / tall
        if not (0.0 <= x <= 1.0 and 0.0 <= y <= 1.0):
            return None
        return (1.0 - x if self._mirror else x), y

    def _leave_camera_view(self) -> None:
        """The camera's view is kept up with every pose; a hand on the mouse ends that."""
        if self._view is _View.CAMERA:
            self._view = _View.FRONT
        self._dirty = True


def _after(member: _Member) -> _Member:
    """The next member of an enumeration, the first after the last."""
    members = list(type(member))
    return members[(members.index(member) + 1) % len(members)]
