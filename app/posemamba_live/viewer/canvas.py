"""What is drawn: Open3D's window with its lights, meshes and camera, and the panel before it.

Open3D's legacy `Visualizer`, because its Filament renderer needs a GPU.

The side panel is a textured rectangle held just before the viewer's eye: the legacy window
knows neither text nor transparency. It has no normals, which Open3D then shows unlit.
"""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from posemamba_live.drawing.colours import BACKGROUND
from posemamba_live.drawing.mesh import Mesh
from posemamba_live.errors import SinkError
from posemamba_live.types import Image
from posemamba_live.viewer.hud import panel_width
from posemamba_live.viewer.orbit import focal_length

Array = NDArray[np.float64]

_NEAR: Final = 0.08
_FAR: Final = 60.0
_PANEL_DEPTH: Final = 0.1
"""Metres before the eye; nothing else comes this near."""
_SCREENSHOT_SAMPLES: Final = 8
"""Pictures averaged for a screenshot: Open3D captures without anti-aliasing."""
_LEAST_SIZE: Final = 16
"""Pixels: a window that is narrower or lower shows nothing and is not drawn."""

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


class Canvas:
    """A window of Open3D with named meshes, a camera and a panel; main thread only.

    Args:
        title: of the window.
        size: (W, H) pixels.
        visible: False for a window that is never put on the screen.
        meshes: their names.

    Raises:
        SinkError: there is no display, or it cannot show OpenGL 3.3.
    """

    def __init__(
        self, title: str, size: tuple[int, int], *, visible: bool, meshes: tuple[str, ...]
    ) -> None:
        import open3d  # a second to load: only a run with a window pays for it

        self._o3d: Any = open3d
        self.window: Any = open3d.visualization.VisualizerWithKeyCallback()
        """Open3D's own, on which input is registered."""
        self._open(title, size, visible)
        self._set_up_render()
        self._meshes = {name: self._add_mesh() for name in meshes}
        self._plate = self._add_mesh()
        self._panel_height = size[1]

    @property
    def size(self) -> tuple[int, int]:
        """(W, H) of the drawing area in pixels, which differ from screen units on some displays."""
        view = self.window.get_view_control().convert_to_pinhole_camera_parameters()
        return view.intrinsic.width, view.intrinsic.height

    def set_mesh(self, name: str, mesh: Mesh) -> None:
        """Replace one of the meshes."""
        target, utility = self._meshes[name], self._o3d.utility
        target.vertices = utility.Vector3dVector(mesh.vertices)
        target.vertex_colors = utility.Vector3dVector(mesh.colors)
        target.triangles = utility.Vector3iVector(mesh.triangles)
        if mesh.normals is not None:
            # Open3D lights a mesh only if it has both kinds of normals.
            target.vertex_normals = utility.Vector3dVector(mesh.normals)
            target.triangle_normals = utility.Vector3dVector(mesh.normals[mesh.triangles[:, 0]])
        self.window.update_geometry(target)

    def aim(
        self,
        size: tuple[int, int],
        rotation: Array,
        eye: Array,
        panel: Image | None,
        jitter: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        """Place Open3D's camera, and the panel before it.

        Args:
            size: (W, H) pixels of the drawing area.
            rotation: (3, 3) world to view.
            eye: (3,) metres, where the viewer stands.
            panel: what it shows from now on; None leaves it as it is.
            jitter: pixels by which the scene, but not the panel, is moved.
        """
        width, height = size
        focal = focal_length(height)
        # Less than a pixel: turning the view by the angle of a pixel is as good as moving it.
        tilt, _ = cv2.Rodrigues(np.array([-jitter[1], jitter[0], 0.0]) / focal)
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
        self.window.get_view_control().convert_from_pinhole_camera_parameters(camera)
        self._hold_panel(size, rotation, eye, panel)

    def render(self) -> None:
        """Draw everything; slow where OpenGL is software."""
        self.window.update_renderer()
        self.window.poll_events()

    def poll(self) -> bool:
        """Let input callbacks be called; False once the window has been closed."""
        return bool(self.window.poll_events())

    def samples(self) -> Iterator[tuple[float, float]]:
        """Offsets in pixels by which the pictures of one screenshot differ."""
        for i in range(_SCREENSHOT_SAMPLES):
            # Two coprime strides spread the samples evenly over a pixel.
            across = (i + 0.5) / _SCREENSHOT_SAMPLES - 0.5
            down = (i * 3 % _SCREENSHOT_SAMPLES + 0.5) / _SCREENSHOT_SAMPLES - 0.5
            yield across, down

    def capture(self) -> Array:
        """(H, W, 3) RGB from 0 to 1: what the window shows, drawn anew."""
        return np.asarray(self.window.capture_screen_float_buffer(True))

    def close(self) -> None:
        self.window.destroy_window()

    def _open(self, title: str, size: tuple[int, int], visible: bool) -> None:
        utility = self._o3d.utility
        # Where there is no screen after all, Open3D 0.20 draws into memory and only its log
        # tells; it writes that to Python's stdout.
        log = io.StringIO()
        with contextlib.redirect_stdout(log):
            utility.set_verbosity_level(utility.VerbosityLevel.Info)
            opened = self.window.create_window(title, *size, visible=visible)
        utility.set_verbosity_level(utility.VerbosityLevel.Error)
        if not opened or "offscreen" in log.getvalue():
            self.window.destroy_window()
            raise no_window("the display or its OpenGL driver refused it")

    def _set_up_render(self) -> None:
        option = self.window.get_render_option()
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
        view = self.window.get_view_control()
        view.set_constant_z_near(_NEAR)
        view.set_constant_z_far(_FAR)
        box = self._o3d.geometry.TriangleMesh.create_box(*[_SCENE_EXTENT] * 3)
        box.translate([-_SCENE_EXTENT / 2] * 3)
        self.window.add_geometry(box)
        self.window.remove_geometry(box, reset_bounding_box=False)

    def _add_mesh(self) -> Any:
        mesh = self._o3d.geometry.TriangleMesh()
        self.window.add_geometry(mesh, reset_bounding_box=False)
        return mesh

    def _hold_panel(
        self, size: tuple[int, int], rotation: Array, eye: Array, panel: Image | None
    ) -> None:
        """Put the panel's rectangle exactly on its pixels at the window's left."""
        width, height = size
        right = panel_width(height)
        if panel is not None:
            self._panel_height = panel.shape[0]
        low = self._panel_height
        corners = np.array([[0, low], [right, low], [right, 0], [0, 0]], dtype=np.float64)
        view = np.ones((4, 3))
        view[:, :2] = (corners - [width / 2, height / 2]) / focal_length(height)
        plate, utility = self._plate, self._o3d.utility
        plate.vertices = utility.Vector3dVector(_PANEL_DEPTH * view @ rotation + eye)
        plate.triangles = utility.Vector3iVector(np.array([[0, 1, 2], [0, 2, 3]], np.int32))
        corner_uv = np.array([[0, 1], [1, 1], [1, 0], [0, 1], [1, 0], [0, 0]], dtype=np.float64)
        plate.triangle_uvs = utility.Vector2dVector(corner_uv)
        plate.triangle_material_ids = utility.IntVector([0, 0])
        if panel is not None:
            plate.textures = [self._o3d.geometry.Image(panel)]
        self.window.update_geometry(plate)


def has_room(size: tuple[int, int]) -> bool:
    """Whether there is something to draw on: minimised windows have no size on Windows."""
    return min(size) >= _LEAST_SIZE


def no_window(why: str) -> SinkError:
    """What is said where no window can be opened."""
    return SinkError(
        "no window can be opened",
        why=why,
        hint="run with --headless and --export or --record",
    )
