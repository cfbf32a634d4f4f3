"""Checkpoints as functions from pixels to poses, whatever their own units are.

`Lifter` takes recordings of any length, `Network` the windows that a checkpoint is built for.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Final

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from posemamba import gravity
from posemamba.blending import Blender, window_starts, windows_at_once
from posemamba.checkpoint import Checkpoint, load_checkpoint
from posemamba.keypoints import BLAZEPOSE_33, COCO_17, HALPE_26, WHOLEBODY_133, to_joints, to_scores
from posemamba.normalize import (
    RayStream,
    focal_pixels,
    image_window,
    mirror_image,
    ray_track,
    ray_window,
    reflected,
    root_relative,
)
from posemamba.runtime import LifterRuntime
from posemamba.skeleton import (
    CHAIN_SHARE,
    HEAD,
    HIP,
    JOINT_NAMES,
    MIRROR,
    NUM_JOINTS,
    PARENTS,
    THORAX,
)
from posemamba.streams import CausalNetwork

Float = NDArray[np.float32]

_FOV_LIMITS: Final = (5.0, 150.0)
"""Degrees across the longer side that a lens may have."""
_LEAST_EXTENT: Final = 2.0
"""Pixels: people who are smaller were given in fractions of the picture."""


class Lifter:
    """2D keypoints of one person each, over any number of frames, to 3D poses.

    Window weights see overlapping windows, whose answers are blended, so that every pose is
    lifted with the frames before and after it; they know movements at 25 to 60 frames a second.
    Causal weights go from frame to frame. A call starts from nothing: nothing is carried over
    from one call to the next.

    Args:
        weights: name of shipped weights ("window-m7", "causal-m10"), or a file: one of
            ours, or an official .bin or .pth.tr.
        fov_deg: field of view across the picture's longer side, degrees; by default what the
            weights assume (60).
        device: "auto" (CUDA where it works), "cpu" or "cuda". Causal weights run on the CPU.
        mirrored: average with the mirrored person's poses, for twice the work.
        overlap: windows that see each frame.

    Raises:
        posemamba.checkpoint.CheckpointError: (a ValueError) missing or unsuitable weights.
        posemamba.runtime.DeviceError: CUDA was asked for and is not there.
        ValueError: an argument that makes no sense.
    """

    def __init__(
        self,
        weights: str | Path | Checkpoint = "window-m7",
        *,
        fov_deg: float | None = None,
        device: str = "auto",
        mirrored: bool = True,
        overlap: int = 2,
    ) -> None:
        self._checkpoint = weights if isinstance(weights, Checkpoint) else load_checkpoint(weights)
        meta = self._checkpoint.meta
        self._fov_deg = float(meta.fov_deg if fov_deg is None else fov_deg)
        if not _FOV_LIMITS[0] <= self._fov_deg <= _FOV_LIMITS[1]:
            low, high = _FOV_LIMITS
            raise ValueError(f"fov_deg is {fov_deg}, not within {low:g} to {high:g} degrees")
        if overlap < 1:
            raise ValueError(f"overlap is {overlap}: at least one window has to see each frame")
        self._mirrored = mirrored
        self._network: Network | None = None
        if meta.causal:
            return
        self._network = Network(
            self._checkpoint,
            fov_deg=self._fov_deg,
            mirrored=mirrored,
            runtime=LifterRuntime(self._checkpoint, device),
        )
        self._hop = max(1, math.ceil(meta.frames / overlap))

    @property
    def name(self) -> str:
        """Of the weights."""
        return self._checkpoint.meta.name

    @property
    def frames(self) -> int:
        """How many frames the network sees together; 1 for causal weights."""
        return 1 if self._network is None else self._network.frames

    def __call__(
        self,
        keypoints: ArrayLike,
        scores: ArrayLike | None,
        image_size: tuple[int, int],
        *,
        fps: float = 30.0,
        peaks: ArrayLike | None = None,
    ) -> Float:
        """Lift keypoints in the order of Human3.6M-17 (`posemamba.skeleton.JOINT_NAMES`).

        Args:
            keypoints: (B, T, 17, 2) pixels of B recordings of T successive frames, or (T, 17, 2)
                of one. T is any number from 1; gaps are for the caller to fill.
            scores: (B, T, 17) or (T, 17) confidence, 0 to 1; None where nothing is known.
            image_size: W, H in pixels, of all pictures.
            fps: frames a second; weights that normalise frame by frame have a use for it.
            peaks: as `scores`, how sharply each keypoint was localised, from detectors that say
                so (`peak_2d` of `poses.npz`); by default the scores stand for it.

        Returns:
            (B, T, 17, 3) or (T, 17, 3) float32, root-relative (Hip is zero), in body heights:
            times the person's height these are metres. Camera axes: x right, y down, z forward.

        Raises:
            ValueError: wrong shapes, values that are not finite or out of range.
        """
        points, trust = _checked(keypoints, scores, JOINT_NAMES)
        sharp = trust if peaks is None else _checked(keypoints, peaks, JOINT_NAMES, "peaks")[1]
        return self._lift(points, trust, sharp, image_size, fps)

    def from_coco(
        self,
        keypoints: ArrayLike,
        scores: ArrayLike | None,
        image_size: tuple[int, int],
        *,
        fps: float = 30.0,
    ) -> Float:
        """Lift the 17 keypoints of COCO (`posemamba.keypoints.COCO_17`); see `__call__`."""
        return self._from(COCO_17, keypoints, scores, image_size, fps)

    def from_halpe(
        self,
        keypoints: ArrayLike,
        scores: ArrayLike | None,
        image_size: tuple[int, int],
        *,
        fps: float = 30.0,
    ) -> Float:
        """Lift the 26 keypoints of Halpe (`posemamba.keypoints.HALPE_26`); see `__call__`."""
        return self._from(HALPE_26, keypoints, scores, image_size, fps)

    def from_wholebody(
        self,
        keypoints: ArrayLike,
        scores: ArrayLike | None,
        image_size: tuple[int, int],
        *,
        fps: float = 30.0,
    ) -> Float:
        """Lift the 133 keypoints of COCO-WholeBody (`posemamba.keypoints.WHOLEBODY_133`)."""
        return self._from(WHOLEBODY_133, keypoints, scores, image_size, fps)

    def from_blazepose(
        self,
        keypoints: ArrayLike,
        scores: ArrayLike | None,
        image_size: tuple[int, int],
        *,
        fps: float = 30.0,
    ) -> Float:
        """Lift MediaPipe's 33 landmarks (`posemamba.keypoints.BLAZEPOSE_33`); see `__call__`.

        MediaPipe gives fractions of the picture: times W and H they are the pixels that are
        wanted here. Its visibility is the confidence.
        """
        return self._from(BLAZEPOSE_33, keypoints, scores, image_size, fps)

    def _from(
        self,
        names: tuple[str, ...],
        keypoints: ArrayLike,
        scores: ArrayLike | None,
        image_size: tuple[int, int],
        fps: float,
    ) -> Float:
        points, trust = _checked(keypoints, scores, names)
        joint_scores = to_scores(names, trust)
        return self._lift(to_joints(names, points), joint_scores, joint_scores, image_size, fps)

    def _lift(
        self,
        keypoints: Float,
        scores: Float,
        peaks: Float,
        image_size: tuple[int, int],
        fps: float,
    ) -> Float:
        size = _checked_size(image_size)
        if not (math.isfinite(fps) and fps > 0.0):
            raise ValueError(f"fps is {fps}, not a positive number")
        if keypoints.size and _extent(keypoints) < _LEAST_EXTENT < min(size):
            raise ValueError("keypoints are all within two pixels: are they fractions, not pixels?")
        single = keypoints.ndim == 3
        if single:
            keypoints, scores, peaks = keypoints[None], scores[None], peaks[None]
        if self._network is None:
            joints = self._lift_causally(keypoints, scores, peaks, size, 1.0 / fps)
        else:
            joints = self._lift_windows(self._network, keypoints, scores, peaks, size, fps)
        return joints[0] if single else joints

    def _lift_windows(
        self,
        network: Network,
        keypoints: Float,
        scores: Float,
        peaks: Float,
        size: tuple[int, int],
        fps: float,
    ) -> Float:
        count = keypoints.shape[1]
        length = min(network.frames, count)
        starts = window_starts(count, length, self._hop)
        blenders = [Blender(network.rows) for _ in keypoints]
        jobs = [(row, start) for row in range(len(keypoints)) for start in starts]
        step = windows_at_once(length)
        for batch in (jobs[i : i + step] for i in range(0, len(jobs), step)):
            joints = network(
                np.stack([keypoints[row, start : start + length] for row, start in batch]),
                np.stack([scores[row, start : start + length] for row, start in batch]),
                size,
                np.stack([peaks[row, start : start + length] for row, start in batch]),
                fps,
            )
            for (row, start), own in zip(batch, joints, strict=True):
                blenders[row].add(start, own)
        taken = [gravity.settled(blender.take(count)[0]) for blender in blenders]
        return np.stack(taken) if taken else np.zeros((0, count, NUM_JOINTS, 3), np.float32)

    def _lift_causally(
        self,
        keypoints: Float,
        scores: Float,
        peaks: Float,
        size: tuple[int, int],
        elapsed: float,
    ) -> Float:
        network = CausalNetwork(self._checkpoint, mirrored=self._mirrored)
        rays, out = RayStream(self._fov_deg), np.empty((*keypoints.shape[:3], 3), np.float32)
        if not out.size:
            return out
        states = [network.first_state() for _ in keypoints]
        for t in range(keypoints.shape[1]):
            view = rays.update(keypoints[:, t], scores[:, t], size, elapsed, peaks[:, t])
            inputs = np.ascontiguousarray(view.inputs[:, 0, :, : network.channels])
            answer, states = network.step(inputs, states)
            # What a frame says of gravity is not pooled here.
            joints = root_relative(answer[:, None, :NUM_JOINTS])
            out[:, t] = view.to_camera(joints)[:, 0]
        return out


def _checked(
    keypoints: ArrayLike, scores: ArrayLike | None, names: tuple[str, ...], what: str = "scores"
) -> tuple[Float, Float]:
    """Keypoints (..., T, K, 2) and scores (..., T, K) as arrays, if they can be meant."""
    points = np.asarray(keypoints, np.float32)
    wanted = f"({len(names)}, 2)"
    if points.ndim not in (3, 4) or points.shape[-2:] != (len(names), 2):
        raise ValueError(
            f"keypoints have the shape {points.shape}, not (T, *{wanted}) or (B, T, *{wanted})"
        )
    if not points.shape[-3]:
        raise ValueError("keypoints hold no frame")
    if not np.isfinite(points).all():
        raise ValueError(
            "keypoints are not all finite: fill gaps first, or give them any place and score 0"
        )
    if scores is None:
        return points, np.ones(points.shape[:-1], np.float32)
    trust = np.asarray(scores, np.float32)
    if trust.shape != points.shape[:-1]:
        raise ValueError(
            f"{what} have the shape {trust.shape}; for these keypoints it is {points.shape[:-1]}"
        )
    if not (trust >= 0.0).all() or not (trust <= 1.0).all():
        raise ValueError(f"{what} are not all within 0 to 1")
    return points, trust


def _extent(keypoints: Float) -> float:
    """Largest distance between any of (..., 2) points, across or down."""
    return float(np.ptp(keypoints.reshape(-1, 2), axis=0).max())


def _checked_size(image_size: tuple[int, int]) -> tuple[int, int]:
    size = np.asarray(image_size)
    if size.shape != (2,) or not np.isfinite(size).all() or not (size >= 1).all():
        raise ValueError(f"image_size is {image_size!r}, not the width and height in pixels")
    return int(size[0]), int(size[1])


def use_threads(count: int) -> None:
    """Let networks that run in the calling thread use so many CPU threads."""
    numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(count)  # last: Numba's OpenMP layer changes it


class Network:
    """A checkpoint as a function from pixels to poses in camera axes and body heights.

    Args:
        checkpoint: of a network that takes windows.
        fov_deg: field of view across the picture's longer side.
        mirrored: average with the mirrored pass (twice the work).
        frames: longest window, at most and by default what the checkpoint was built for.
        runtime: runs the checkpoint's network; by default it runs on the CPU.
        fps: frames a second, unless a call says something else; for input kind "stream".
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        fov_deg: float,
        mirrored: bool = False,
        frames: int | None = None,
        runtime: LifterRuntime | None = None,
        fps: float = 30.0,
    ) -> None:
        if checkpoint.meta.causal:
            raise ValueError(f"{checkpoint.meta.name} does not take windows")
        built_for = checkpoint.meta.frames
        self.frames = built_for if frames is None else frames
        if not 1 <= self.frames <= built_for:
            raise ValueError(f"a window of {self.frames} frames; the weights take 1 to {built_for}")
        self._runtime = runtime or LifterRuntime(checkpoint, "cpu")
        self._kind = checkpoint.meta.input_kind
        self._channels = checkpoint.meta.config.in_channels
        self._gravity = checkpoint.meta.config.gravity
        self._fov_deg = fov_deg
        self._mirrored = mirrored
        self._fps = fps

    @property
    def rows(self) -> int:
        """Of an answer: the joints, and which way is up where the weights say so."""
        return NUM_JOINTS + self._gravity

    def __call__(
        self,
        keypoints: Float,
        scores: Float,
        image_size: tuple[int, int],
        peaks: Float | None = None,
        fps: float | None = None,
    ) -> Float:
        """Lift B windows.

        Args:
            keypoints: (B, T, 17, 2) pixels; T from 1 to `frames`.
            scores: (B, T, 17) confidence, 0 to 1.
            image_size: W, H in pixels.
            peaks: (B, T, 17) how sharply each was localised; by default the scores.
            fps: frames a second.

        Returns:
            (B, T, 17, 3) root-relative, camera axes, body heights; of weights that say which way
            is up (B, T, 18, 3), the last row as `gravity.evidence` has it.
        """
        peaks = scores if peaks is None else peaks
        fps = self._fps if fps is None else fps
        if not self._mirrored:
            return self._lift(keypoints, scores, peaks, image_size, fps)
        # The assumed camera is symmetric about the picture's middle, so that the mirrored
        # picture is that of the mirrored person: one reflection undoes the other exactly.
        flipped, trust = mirror_image(keypoints, scores, image_size[0])
        both = self._lift(
            np.concatenate([keypoints, flipped]),
            np.concatenate([scores, trust]),
            np.concatenate([peaks, peaks[:, :, list(MIRROR)]]),
            image_size,
            fps,
        )
        straight, mirrored = np.split(both, 2)
        return 0.5 * (straight + reflected(mirrored))

    def _lift(
        self, keypoints: Float, scores: Float, peaks: Float, image_size: tuple[int, int], fps: float
    ) -> Float:
        if self._kind != "image":
            fov = self._fov_deg
            window = (
                ray_window(keypoints, scores, image_size, fov, peaks)
                if self._kind == "rays"
                else ray_track(keypoints, scores, image_size, 1.0 / fps, fov, peaks)
            )
            answer = self._runtime(window.inputs[..., : self._channels])
            joints = root_relative(answer[:, :, :NUM_JOINTS])
            if self._gravity:
                joints = np.concatenate([joints, gravity.evidence(answer[:, :, NUM_JOINTS:])], 2)
            return window.to_camera(joints)
        joints = root_relative(self._runtime(image_window(keypoints, image_size)))
        focal = float(focal_pixels(image_size, self._fov_deg))
        centre = 0.5 * np.array(image_size, np.float32)
        return from_image_units(
            joints, np.asarray((keypoints[:, :, HIP] - centre) / focal, np.float32)
        )


def from_image_units(joints: Float, root_rays: Float) -> Float:
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
