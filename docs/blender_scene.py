"""Blender: skeleton, the camera that filmed it, and the film behind it.

    posemamba-live clip.mp4 --headless --export walk.bvh --export walk.npz
    blender --python docs/blender_scene.py -- walk.bvh walk.npz clip.mp4

In Blender's Scripting workspace it works as well: fill in the three names below and run it. Only
Blender's own Python is needed, with the NumPy that comes with it.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

BVH, NPZ, FILM = "walk.bvh", "walk.npz", "clip.mp4"


def build(bvh: str, npz: str, film: str) -> Any:
    """Import the skeleton at the film's rate and put the camera where it stood; returns it."""
    scene = bpy.context.scene
    # Without update_scene_fps Blender plays the frames at 24 a second, whatever their rate.
    bpy.ops.import_anim.bvh(
        filepath=str(Path(bvh).resolve()), update_scene_fps=True, update_scene_duration=True
    )
    action = bpy.context.object.animation_data.action
    scene.frame_start, scene.frame_end = (int(frame) for frame in action.frame_range)
    with np.load(npz, allow_pickle=False) as data:
        first = data["person_id"] == data["person_id"][0]
        camera_frame = data["joints_3d"][first] + data["root_3d"][first][:, None]
        world, (width, height) = data["joints_world"][first], data["image_size"]
        fov = float(data["camera_fov"]) if "camera_fov" in data else 60.0
    rotation, place = fit(camera_frame.reshape(-1, 3), world.reshape(-1, 3))
    lens = bpy.data.cameras.new("filmed with")
    lens.sensor_fit = "AUTO"  # the angle is that of the longer side
    lens.angle = math.radians(fov)
    camera = bpy.data.objects.new("filmed with", lens)
    scene.collection.objects.link(camera)
    # Blender's cameras look along -z with y up; ours look along z with y down.
    axes = rotation @ np.diag([1.0, -1.0, -1.0])
    camera.matrix_world = Matrix.Translation(place.tolist()) @ Matrix(axes.tolist()).to_4x4()
    scene.camera = camera
    scene.render.resolution_x, scene.render.resolution_y = int(width), int(height)
    lens.show_background_images = True
    behind = lens.background_images.new()
    behind.source = "MOVIE_CLIP"
    behind.clip = bpy.data.movieclips.load(str(Path(film).resolve()))
    behind.alpha = 1.0
    return camera


def fit(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(3, 3) rotation and (3,) translation that bring points `a` (N, 3) onto `b`."""
    left, _, right = np.linalg.svd((b - b.mean(0)).T @ (a - a.mean(0)))
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    rotation = left @ flip @ right
    return rotation, b.mean(0) - rotation @ a.mean(0)


if __name__ == "__main__":
    given = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else [BVH, NPZ, FILM]
    build(*given)
