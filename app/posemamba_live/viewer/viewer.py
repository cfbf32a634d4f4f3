"""The live window: skeletons on a floor beside the camera picture, drawn by Open3D.

Open3D's legacy `Visualizer`, because its Filament renderer needs a GPU. It must be made and
used on the main thread, and it holds Python's interpreter lock while it draws, so that
`poll` draws only what is new and leaves the workers at least two thirds of the time.

The side panel is a textured rectangle held just before the viewer's eye: the legacy window
knows neither text nor transparency. It has no normals, which Open3D then shows unlit.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Final, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from posemamba.skeleton import HIP, L_ANKLE, L_WRIST, R_ANKLE, R_WRIST
from posemamba_live.drawing.colours import BACKGROUND, person_colors
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
from posemamba_live.types import Frame, Pose3D
from posemamba_live.viewer.display import display_available
from posemamba_live.viewer.hud import HudInfo, Panel, ViewInfo, panel_width, picture_place
from posemamba_live.viewer.keys import KEY_BINDINGS, PIPELINE_ACTIONS, Action
from posemamba_live.viewer.orbit import OrbitCamera, camera_centre, focal_length

__all__ = ["KEY_BINDINGS", "Action", "HudInfo", "Viewer"]

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
"""Largest share of time spent in drawing; a slow driver costs frames on screen, not poses.
At half of it, software OpenGL (27 ms a frame) doubled the age of the poses on two cores."""
_NOTICE_SECONDS: Final = 2.0
_NEAR: Final = 0.08
_FAR: Final = 60.0
_PANEL_DEPTH: Final = 0.1
"""Metres before the eye; nothing else comes this near."""
_SCREENSHOT_SAMPLES: Final = 8
"""Pictures averaged for a screenshot: Open3D captures without anti-aliasing."""

_LEAST_SIZE: Final = 16
"""Pixels: a window that is narrower or lower shows nothing and is not drawn."""
_CLICK_PIXELS: Final = 4.0
"""Movement of the mouse up to which a press and release is a click and not a drag."""

_GLFW_PRESS: Final = 1
_GLFW_RELEASE: Final = 0
_GLFW_MODIFIERS: Final = 0x2 | 0x4 | 0x8
"""Control, Alt, Super: a letter with one of these is not ours. Shift is harmless."""
_GLFW_KEYS: Final = range(32, 349)
"""Every key code of GLFW 3. All are taken, since several of Open3D's own write files."""
_GLFW_LEFT, _GLFW_RIGHT, _GLFW_MIDDLE = 0, 1, 2

_LIGHTS: Final = (
    # position (right, up, towards the viewer), diffuse, specular, shininess
    ((-1.6, 2.2, 2.2), 0.74, 0.14, 28.0),
    ((2.4, 0.4, 1.8), 0.26, 0.0, 8.0),
    ((1.6, 1.4, -2.4), 0.45, 0.10, 10.0),
    ((0.0, -2.0, 0.6), 0.08, 0.0, 8.0),
)
"""Key, fill, rim and floor light, fixed to the viewer's head."""
_AMBIENT: Final = 0.36
_SCENE_EXTENT: Final = 40.0
"""Metres. Open3D places lights relative to the scene's bounding box: far ones are even."""


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
    ) -> None:
        """Open the window.

        Args:
            title: of the window.
            size: (W, H) pixels.
            mirror: show picture and room as a mirror would.
            visible: False for a window that is never put on the screen.

        Raises:
            SinkError: there is no display, or it cannot show OpenGL 3.3.
        """
        if not display_available():
            raise _no_window("no display answers (see DISPLAY or WAYLAND_DISPLAY)")
        import open3d  # a second to load: only a run with a window pays for it

        self._o3d: Any = open3d
        self._window: Any = open3d.visualization.VisualizerWithKeyCallback()
        self._open(title, size, visible)

        self._orbit = OrbitCamera()
        self._view = _View.FRONT
        self._follow = _Follow.FOLLOW
        self._mirror = mirror
        self._trail_on = False
        self._grid_on = True
        self._help_on = True
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
        self._drag: int | None = None
        self._cursor = (0.0, 0.0)
        self._pressed_at: tuple[float, float] | None = None
        self._choice: tuple[float, float] | None = None

        self._set_up_render()
        self._meshes = {name: self._add_mesh() for name in ("floor", "marks", "bodies")}
        self._plate = self._add_mesh()
        self._bind_input()

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
        size = self._size()
        if size != self._drawn_size:
            self._dirty = True
        if self._dirty and now >= self._next_draw and _has_room(size):
            self._draw()
        open_ = bool(self._window.poll_events())
        return open_ and not self._quit

    def take_actions(self) -> list[Action]:
        """What keys have asked of the pipeline since the last call (PAUSE, RECORD, EXPORT,
        SCREENSHOT, NEXT), in order."""
        actions, self._actions = self._actions, []
        return actions

    def take_choice(self) -> tuple[float, float] | None:
        """Where in the camera picture the user has clicked since the last call.

        Returns:
            Shares of the picture's width and height, 0 to 1, as the camera sees it.
        """
        choice, self._choice = self._choice, None
        return choice

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
        if not _has_room(self._size()):
            raise SinkError(f"cannot write {path}", why="the window is minimised", hint="show it")
        self._update_meshes()
        total: Array | None = None
        for i in range(_SCREENSHOT_SAMPLES):
            # Two coprime strides spread the samples evenly over a pixel.
            across = (i + 0.5) / _SCREENSHOT_SAMPLES - 0.5
            down = (i * 3 % _SCREENSHOT_SAMPLES + 0.5) / _SCREENSHOT_SAMPLES - 0.5
            self._aim(jitter=(across, down), paint=False)  # figures may change meanwhile
            sample = np.asarray(self._window.capture_screen_float_buffer(True))
            total = sample.copy() if total is None else total + sample
        assert total is not None
        mean = np.rint(total * (255.0 / _SCREENSHOT_SAMPLES)).astype(np.uint8)
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
            self._window.destroy_window()

    # -- people --------------------------------------------------------------------------

    def _place_people(self, elapsed: float) -> None:
        """Poses to bodies where they are shown; trails and the point of interest with them."""
        present = {pose.person_id for pose in self._poses}
        self._anchors = {i: at for i, at in self._anchors.items() if i in present}
        self._trails = {i: trail for i, trail in self._trails.items() if i in present}
        self._bodies = []
        for pose in self._poses:
            joints = self._shown_joints(pose)
            body = Body(joints, person_colors(pose.person_id), pose.pose2d.predicted)
            self._bodies.append(body)
            trail = self._trails.setdefault(pose.person_id, deque(maxlen=_TRAIL_LENGTH))
            now = pose.pose2d.timestamp
            if not trail or now > trail[-1][0]:
                trail.append((now, joints[list(TRAIL_JOINTS)]))
            while now - trail[0][0] > TRAIL_SECONDS:
                trail.popleft()
        if self._bodies and self._follow is _Follow.FOLLOW:
            middle = np.mean([body.joints[HIP, :2] for body in self._bodies], axis=0)
            share = 1.0 - math.exp(-elapsed / _FOLLOW_SECONDS)
            if not self._anyone_yet:
                share = 1.0  # be there at once
                self._anyone_yet = True
            target = self._orbit.target.copy()
            target[:2] += share * (middle - target[:2])
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

    def _open(self, title: str, size: tuple[int, int], visible: bool) -> None:
        utility = self._o3d.utility
        # Where there is no screen after all, Open3D 0.20 draws into memory and only its log
        # tells; it writes that to Python's stdout.
        log = io.StringIO()
        with contextlib.redirect_stdout(log):
            utility.set_verbosity_level(utility.VerbosityLevel.Info)
            opened = self._window.create_window(title, *size, visible=visible)
        utility.set_verbosity_level(utility.VerbosityLevel.Error)
        if not opened or "offscreen" in log.getvalue():
            self._window.destroy_window()
            raise _no_window("the display or its OpenGL driver refused it")

    def _set_up_render(self) -> None:
        option = self._window.get_render_option()
        with tempfile.TemporaryDirectory() as folder:
            # Lights can be set through a file only (Open3D 0.20).
            path = Path(folder) / "render.json"
            option.save_to_json(str(path))
            settings = json.loads(path.read_text())
            for i, (position, diffuse, specular, shininess) in enumerate(_LIGHTS):
                settings[f"light{i}_position"] = position
                settings[f"light{i}_diffuse_power"] = diffuse
                settings[f"light{i}_specular_power"] = specular
                settings[f"light{i}_specular_shininess"] = shininess
            settings["light_ambient_color"] = [_AMBIENT] * 3
            path.write_text(json.dumps(settings))
            option.load_from_json(str(path))
        option.background_color = np.array(BACKGROUND)
        option.mesh_shade_option = self._o3d.visualization.MeshShadeOption.Color
        view = self._window.get_view_control()
        view.set_constant_z_near(_NEAR)
        view.set_constant_z_far(_FAR)
        box = self._o3d.geometry.TriangleMesh.create_box(*[_SCENE_EXTENT] * 3)
        box.translate([-_SCENE_EXTENT / 2] * 3)
        self._window.add_geometry(box)
        self._window.remove_geometry(box, reset_bounding_box=False)

    def _add_mesh(self) -> Any:
        mesh = self._o3d.geometry.TriangleMesh()
        self._window.add_geometry(mesh, reset_bounding_box=False)
        return mesh

    def _set_mesh(self, name: str, mesh: Mesh) -> None:
        target, utility = self._meshes[name], self._o3d.utility
        target.vertices = utility.Vector3dVector(mesh.vertices)
        target.vertex_colors = utility.Vector3dVector(mesh.colors)
        target.triangles = utility.Vector3iVector(mesh.triangles)
        if mesh.normals is not None:
            # Open3D lights a mesh only if it has both kinds of normals.
            target.vertex_normals = utility.Vector3dVector(mesh.normals)
            target.triangle_normals = utility.Vector3dVector(mesh.normals[mesh.triangles[:, 0]])
        self._window.update_geometry(target)

    def _draw(self) -> None:
        started = time.monotonic()
        self._update_meshes()
        self._window.update_renderer()
        self._window.poll_events()
        finished = time.monotonic()
        # A running mean, so that one slow frame does not halve the rate.
        self._draw_seconds += 0.2 * (finished - started - self._draw_seconds)
        self._next_draw = started + self._draw_seconds / _MAX_DUTY
        self._dirty = False

    def _update_meshes(self) -> None:
        self._drawn_size = self._size()
        rotation, eye = self._stand()
        forward = rotation[2]
        centre = self._orbit.target[:2]
        bodies = body_mesh(self._bodies, eye, forward)
        self._set_mesh("bodies", bodies)
        marks = [shadow_mesh(bodies, centre)] if self._grid_on and forward[2] < 0 else []
        if self._trail_on:
            marks += self._trail_meshes(eye)
        self._set_mesh("marks", merge(marks))
        laid = self._floor_centre
        if laid is None or float(np.abs(laid - centre).max()) > _FLOOR_STEP:
            self._lay_floor(centre)
        self._aim()

    def _lay_floor(self, centre: Array) -> None:
        self._floor_centre = centre.copy()
        self._set_mesh("floor", floor_mesh(centre) if self._grid_on else merge([]))

    def _trail_meshes(self, eye: Array) -> list[Mesh]:
        ribbons = []
        for person, trail in self._trails.items():
            points = np.array([joints for _, joints in trail])
            colors = person_colors(person)
            for i, joint in enumerate(TRAIL_JOINTS):
                ribbons.append(trail_mesh(points[:, i], colors.joint(joint), eye))
        return ribbons

    def _size(self) -> tuple[int, int]:
        """(W, H) of the drawing area in pixels, which differ from screen units on some displays."""
        view = self._window.get_view_control().convert_to_pinhole_camera_parameters()
        return view.intrinsic.width, view.intrinsic.height

    def _stand(self) -> tuple[Array, Array]:
        """(3, 3) rotation and (3,) place of the viewer, the panel's width allowed for."""
        height = self._drawn_size[1]
        return self._orbit.placed(0.5 * panel_width(height), focal_length(height))

    def _aim(self, jitter: tuple[float, float] = (0.0, 0.0), *, paint: bool = True) -> None:
        """Place Open3D's camera, and the panel before it.

        Args:
            jitter: pixels by which the scene, but not the panel, is moved.
            paint: bring the panel up to date.
        """
        width, height = self._drawn_size
        focal = focal_length(height)
        # Less than a pixel: turning the view by the angle of a pixel is as good as moving it.
        tilt, _ = cv2.Rodrigues(np.array([-jitter[1], jitter[0], 0.0]) / focal)
        rotation, eye = self._stand()
        rotation = tilt @ rotation
        camera = self._o3d.camera.PinholeCameraParameters()
        # Open3D refuses parameters whose centre is not exactly the window's.
        camera.intrinsic = self._o3d.camera.PinholeCameraIntrinsic(
            width, height, focal, focal, width / 2 - 0.5, height / 2 - 0.5
        )
        extrinsic = np.eye(4)
        extrinsic[:3, :3] = rotation
        extrinsic[:3, 3] = -rotation @ eye
        camera.extrinsic = extrinsic
        self._window.get_view_control().convert_from_pinhole_camera_parameters(camera)
        self._hold_panel(rotation, eye, focal, paint)

    def _hold_panel(self, rotation: Array, eye: Array, focal: float, paint: bool) -> None:
        """Put the panel's rectangle exactly on its pixels at the window's left."""
        width, height = self._drawn_size
        right = panel_width(height)
        corners = np.array([[0, height], [right, height], [right, 0], [0, 0]], dtype=np.float64)
        view = np.ones((4, 3))
        view[:, :2] = (corners - [width / 2, height / 2]) / focal
        plate, utility = self._plate, self._o3d.utility
        plate.vertices = utility.Vector3dVector(_PANEL_DEPTH * view @ rotation + eye)
        plate.triangles = utility.Vector3iVector(np.array([[0, 1, 2], [0, 2, 3]], np.int32))
        corner_uv = np.array([[0, 1], [1, 1], [1, 0], [0, 1], [1, 0], [0, 0]], dtype=np.float64)
        plate.triangle_uvs = utility.Vector2dVector(corner_uv)
        plate.triangle_material_ids = utility.IntVector([0, 0])
        if paint:
            image = self._panel.paint(
                height, self._frame, self._poses, self._hud, self._view_info()
            )
            plate.textures = [self._o3d.geometry.Image(image)]
        self._window.update_geometry(plate)

    def _view_info(self) -> ViewInfo:
        return ViewInfo(
            view=self._view.value[0],
            follow=self._follow.value,
            mirror=self._mirror,
            help=self._help_on,
            notice=self._notice,
        )

    # -- keys and mouse ------------------------------------------------------------------

    def _bind_input(self) -> None:
        actions = {code: binding.action for binding in KEY_BINDINGS for code in binding.codes}
        for code in _GLFW_KEYS:
            callback = self._key_callback(actions.get(code))
            self._window.register_key_action_callback(code, callback)
        self._window.register_mouse_button_callback(self._on_button)
        self._window.register_mouse_move_callback(self._on_move)
        self._window.register_mouse_scroll_callback(self._on_scroll)

    def _key_callback(self, action: Action | None) -> Callable[[Any, int, int], bool]:
        def on_key(_window: Any, event: int, modifiers: int) -> bool:
            if action is not None and event == _GLFW_PRESS and not modifiers & _GLFW_MODIFIERS:
                self._act(action)
            return False

        return on_key

    def _act(self, action: Action) -> None:
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
            self._help_on = not self._help_on
        self._dirty = True

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

    def _on_button(self, _window: Any, button: int, event: int, modifiers: int) -> bool:
        if button == _GLFW_LEFT and event != _GLFW_RELEASE:
            self._pressed_at = self._cursor
        elif button == _GLFW_LEFT and self._pressed_at is not None:
            if math.dist(self._pressed_at, self._cursor) <= _CLICK_PIXELS:
                self._choice = self._in_picture(self._cursor) or self._choice
            self._pressed_at = None
        if event == _GLFW_RELEASE:
            self._drag = None
        elif button == _GLFW_LEFT and modifiers & _GLFW_MODIFIERS:
            self._drag = _GLFW_RIGHT
        else:
            self._drag = button
        return False

    def _in_picture(self, point: tuple[float, float]) -> tuple[float, float] | None:
        """A place in the window as shares of the camera picture; None beside it."""
        if self._frame is None:
            return None
        left, top, width, tall = picture_place(self._drawn_size[1], self._frame.size)
        x, y = (point[0] - left) / width, (point[1] - top) / tall
        if not (0.0 <= x <= 1.0 and 0.0 <= y <= 1.0):
            return None
        return (1.0 - x if self._mirror else x), y

    def _on_move(self, _window: Any, x: float, y: float) -> bool:
        dx, dy = x - self._cursor[0], y - self._cursor[1]
        self._cursor = (x, y)
        if self._drag is None:
            return False
        if self._drag == _GLFW_LEFT:
            self._orbit.orbit(dx, dy)
        elif self._drag in (_GLFW_RIGHT, _GLFW_MIDDLE):
            self._orbit.pan(dx, dy, focal_length(max(self._drawn_size[1], 1)))
        self._leave_camera_view()
        return False

    def _on_scroll(self, _window: Any, _x: float, y: float) -> bool:
        self._orbit.zoom(y)
        self._leave_camera_view()
        return False

    def _leave_camera_view(self) -> None:
        """The camera's view is kept up with every pose; a hand on the mouse ends that."""
        if self._view is _View.CAMERA:
            self._view = _View.FRONT
        self._dirty = True


def _has_room(size: tuple[int, int]) -> bool:
    """Whether there is something to draw on: minimised windows have no size on Windows."""
    return min(size) >= _LEAST_SIZE


def _after(member: _Member) -> _Member:
    """The next member of an enumeration, the first after the last."""
    members = list(type(member))
    return members[(members.index(member) + 1) % len(members)]


def _no_window(why: str) -> SinkError:
    return SinkError(
        "no window can be opened",
        why=why,
        hint="run with --headless and --export or --record",
    )
