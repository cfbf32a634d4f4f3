"""Checkpoints as functions from pixels to poses, whatever their own units are."""

from __future__ import annotations

import numba
import numpy as np
import torch

from posemamba.checkpoint import Checkpoint
from posemamba.normalize import focal_pixels, image_window, ray_window, root_relative
from posemamba.runtime import LifterRuntime
from posemamba.skeleton import HEAD, HIP, MIRROR, PARENTS, THORAX
from posemamba_live.scene.body import CHAIN_SHARE
from posemamba_live.types import FloatArray


def use_threads(count: int) -> None:
    """Let networks that run in the calling thread use so many CPU threads."""
    numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))
    torch.set_num_threads(count)  # last: Numba's OpenMP layer changes it


class Network:
    """A checkpoint as a function from pixels to poses in camera axes and body heights.

    Args:
        checkpoint: of input kind "rays" or "image".
        fov_deg: field of view across the picture's longer side.
        mirrored: average with the mirrored pass (twice the work).
        frames: longest window, at most and by default what the checkpoint was built for.
        runtime: runs the checkpoint's model; by default it runs where it is.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        fov_deg: float,
        mirrored: bool = False,
        frames: int | None = None,
        runtime: LifterRuntime | None = None,
    ) -> None:
        if checkpoint.meta.input_kind not in ("rays", "image"):
            raise ValueError(f"{checkpoint.meta.name} does not take windows")
        built_for = checkpoint.meta.frames
        self.frames = built_for if frames is None else frames
        if not 1 <= self.frames <= built_for:
            raise ValueError(f"a window of {self.frames} frames; the weights take 1 to {built_for}")
        self._model = checkpoint.model
        self._runtime = runtime
        self._kind = checkpoint.meta.input_kind
        self._channels = checkpoint.meta.config.in_channels
        self._fov_deg = fov_deg
        self._mirrored = mirrored
        self._device = next(checkpoint.model.parameters()).device

    def __call__(
        self, keypoints: FloatArray, scores: FloatArray, image_size: tuple[int, int]
    ) -> FloatArray:
        """Lift B windows.

        Args:
            keypoints: (B, T, 17, 2) pixels; T from 1 to `frames`.
            scores: (B, T, 17) confidence, 0 to 1.
            image_size: W, H in pixels.

        Returns:
            (B, T, 17, 3) root-relative, camera axes, body heights.
        """
        if not self._mirrored:
            return self._lift(keypoints, scores, image_size)
        # The assumed camera is symmetric about the picture's middle, so that the mirrored
        # picture is that of the mirrored person: one reflection undoes the other exactly.
        order = np.array(MIRROR)
        flipped = keypoints[:, :, order].copy()
        flipped[..., 0] = image_size[0] - flipped[..., 0]
        both = self._lift(
            np.concatenate([keypoints, flipped]),
            np.concatenate([scores, scores[:, :, order]]),
            image_size,
        )
        straight, mirrored = np.split(both, 2)
        mirrored = mirrored[:, :, order] * np.array([-1.0, 1.0, 1.0], np.float32)
        return 0.5 * (straight + mirrored)

    def _lift(
        self, keypoints: FloatArray, scores: FloatArray, image_size: tuple[int, int]
    ) -> FloatArray:
        if self._kind == "rays":
            window = ray_window(keypoints, scores, image_size, self._fov_deg)
            return window.to_camera(root_relative(self._run(window.inputs[..., : self._channels])))
        joints = root_relative(self._run(image_window(keypoints, image_size)))
        focal = float(focal_pixels(image_size, self._fov_deg))
        centre = 0.5 * np.array(image_size, np.float32)
        return from_image_units(joints, (keypoints[:, :, HIP] - centre) / focal)

    def _run(self, inputs: FloatArray) -> FloatArray:
        if self._runtime is not None:
            return self._runtime(inputs)
        with torch.inference_mode():
            out: torch.Tensor = self._model(torch.from_numpy(inputs).to(self._device))
        return np.asarray(out.float().cpu().numpy(), np.float32)


def from_image_units(joints: FloatArray, root_rays: FloatArray) -> FloatArray:
    """Poses in image units at the root's depth, as official models answer, to body heights.

    Their x, y are where joints appear, so that away from the optical axis depth leaks into
    them: X/Z - X0/Z0 = (X - X0 - (X0/Z0)(Z - Z0)) / Z0 to first order, and the last term is
    added back. The unit is one that the picture fixes, not the body: it is divided out by
    the length of the chain from ankle to crown, a constant share of the height.

    Args:
        joints: (..., 17, 3) root-relative image units.
        root_rays: (..., 2) X0/Z0, Y0/Z0 of the root.

    Returns:
        (..., 17, 3) root-relative, camera axes, body heights.
    """
    out = joints.copy()
    out[..., :2] += root_rays[..., None, :] * joints[..., 2:]
    parents = np.array([max(parent, 0) for parent in PARENTS])
    bones = np.linalg.norm(out - out[..., parents, :], axis=-1)
    legs = 0.5 * bones[..., (2, 3, 5, 6)].sum(-1)
    torso = bones[..., (7, 8)].sum(-1)
    neck = np.linalg.norm(out[..., HEAD, :] - out[..., THORAX, :], axis=-1)
    height = (legs + torso + neck) / CHAIN_SHARE
    return np.asarray(out / np.maximum(height, 1e-6)[..., None, None], np.float32)
