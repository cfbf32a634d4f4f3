"""Human3.6M and MPI-INF-3DHP in the files that the field passes around, and their protocols.

* `data_3d_h36m.npz` with `data_2d_h36m_cpn_ft_h36m_dbb.npz` (or another 2D detector's file):
  world positions and detected keypoints of every subject, action and camera.
* the single pickle with `joint_2d`, `joint3d_image`, `2.5d_factor`, `joints_2.5d_image`, ...,
  whose image units the official networks are trained and scored in.
* `data_test_3dhp.npz`: keypoints, positions and valid frames of the six test sequences.

Their training parts become motion folders in `benchmark_motion`.

All of them hold pickled objects. `SafeUnpickler` builds arrays, strings, numbers, lists and
dictionaries from them and refuses everything else, so that a hostile file executes nothing.
"""

from __future__ import annotations

import io
import itertools
import pickle
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from posemamba.skeleton import HIP, NUM_JOINTS
from posemamba.training import h36m_cameras
from posemamba.training.metrics import auc, best_scale, joint_error, pck, procrustes, velocity_error

Float = NDArray[np.float32]

H36M_JOINTS: Final = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)
"""The 17 of the 32 stored joints."""
H36M_TEST: Final = ("S9", "S11")
H36M_SPOILT: Final = ("s_09_act_05_subact_02", "s_09_act_10_subact_02", "s_09_act_13_subact_01")
"""Test videos with wrong ground truth, left out by everybody who scores on the pickle."""

MPI_TO_H36M: Final = (14, 8, 9, 10, 11, 12, 13, 15, 1, 16, 0, 5, 6, 7, 2, 3, 4)
"""Column of MPI-INF-3DHP's 17 joints for each Human3.6M joint (neck for Thorax, head for Nose)."""
MPI_SCORED: Final = (10, 8, 11, 12, 13, 14, 15, 16, 1, 2, 3, 4, 5, 6)
"""The 14 joints of PCK and AUC, as Human3.6M columns: head top, neck, arms, legs."""
MPI_OUTDOOR: Final = ("TS5", "TS6")
"""1920 x 1080 pixels; the others are 2048 x 2048."""


class BenchmarkError(Exception):
    """A benchmark file that cannot be read or lacks something."""


@dataclass(frozen=True, slots=True)
class Sequence:
    """One video of one camera."""

    name: str
    action: str
    keypoints: Float
    """(T, 17, 2) pixels."""
    scores: Float
    """(T, 17); 1 where the file has none."""
    image_size: tuple[int, int]
    truth: Float
    """(T, 17, 3) millimetres, relative to Hip."""
    valid: NDArray[np.bool_]
    """(T,) frames that count."""
    unit_mm: Float | None = None
    """(T,) millimetres per unit of a network that answers in image units, where known."""
    focal: float | None = None
    """Pixels, where known."""


Predict = Callable[[Sequence, NDArray[np.int64]], Float]
"""Millimetres, relative to Hip, (B, T, 17, 3) for windows of frame indices (B, T)."""


# --- reading --------------------------------------------------------------------------------


class SafeUnpickler(pickle.Unpickler):
    """Rebuilds NumPy arrays and plain containers; any other global is an error."""

    _ALLOWED: Final = frozenset(
        {
            ("multiarray", "_reconstruct"),
            ("multiarray", "scalar"),
            ("numeric", "_frombuffer"),
            ("", "ndarray"),
            ("", "dtype"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):  # bytes, as Python 2's protocols write them
            return _latin1
        package, _, rest = module.partition(".")
        inside = rest.removeprefix("_core").removeprefix("core").lstrip(".")
        if package == "numpy" and (inside, name) in self._ALLOWED:
            core = "numpy._core" if int(np.__version__.split(".")[0]) >= 2 else "numpy.core"
            return super().find_class(f"{core}.{inside}" if inside else "numpy", name)
        raise pickle.UnpicklingError(f"it wants to run {module}.{name}")


def _latin1(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"an unusual encoding: {encoding}")
    return text.encode("latin1")


def read_pickle(path: Path) -> Any:
    """The content of a pickle of plain data.

    Raises:
        BenchmarkError: unreadable, or not only plain data.
    """
    try:
        with path.open("rb") as file:
            return SafeUnpickler(file, encoding="latin1").load()
    except _UNREADABLE as error:
        raise BenchmarkError(f"{path}: {error}") from error


def read_object(path: Path, key: str) -> Any:
    """The one object in array `key` of an .npz file, without NumPy's own unpickling.

    Raises:
        BenchmarkError: unreadable, no such key, or not only plain data.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            content = io.BytesIO(archive.read(f"{key}.npy"))
        version = np.lib.format.read_magic(content)
        read: Any = np.lib.format.read_array_header_1_0
        if version >= (2, 0):
            read = np.lib.format.read_array_header_2_0
        shape, _, dtype = read(content)
        if not dtype.hasobject or shape != ():
            raise BenchmarkError(f"{path}: {key} holds no dictionary")
        return SafeUnpickler(content, encoding="latin1").load().item()
    except _UNREADABLE as error:
        raise BenchmarkError(f"{path}: {error}") from error


_UNREADABLE: Final = (
    OSError, pickle.UnpicklingError, zipfile.BadZipFile, KeyError, ValueError, EOFError,
    AttributeError, IndexError, TypeError,
)  # fmt: skip


def read_h36m(positions: Path, keypoints: Path) -> list[Sequence]:
    """The test subjects of Human3.6M from the pair of .npz files.

    Raises:
        BenchmarkError: a file is unreadable, or the two do not belong together.
    """
    world = read_object(positions, "positions_3d")
    detected = read_object(keypoints, "positions_2d")
    out = []
    try:
        for subject in H36M_TEST:
            for action, joints in world[subject].items():
                joints = 1000.0 * np.asarray(joints)[:, H36M_JOINTS]
                for camera, points in enumerate(detected[subject][action]):
                    count = min(len(points), len(joints))
                    seen = h36m_cameras.to_camera(joints[:count], subject, camera)
                    out.append(
                        Sequence(
                            name=f"{subject} {action} {h36m_cameras.IDS[camera]}",
                            action=action.split(" ")[0],
                            keypoints=np.asarray(points[:count, :, :2], np.float32),
                            scores=np.ones((count, NUM_JOINTS), np.float32),
                            image_size=h36m_cameras.IMAGE_SIZES[camera],
                            truth=_root_relative(seen),
                            valid=np.ones(count, np.bool_),
                            focal=h36m_cameras.FOCAL[camera],
                        )
                    )
    except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
        raise BenchmarkError(f"{positions}, {keypoints}: no {error}") from error
    return out


def read_h36m_pickle(path: Path) -> list[Sequence]:
    """The test part of the single-file Human3.6M, in the image units it is scored in.

    Raises:
        BenchmarkError: unreadable, or an entry is missing.
    """
    content = read_pickle(path)
    try:
        test = content["test"]
        source = np.asarray(test["source"])
        points = np.asarray(test["joint_2d"], np.float32)
        truth = np.asarray(test["joints_2.5d_image"], np.float32)
        factor = np.asarray(test["2.5d_factor"], np.float32)
        cameras = np.asarray(test["camera_name"])
        actions = np.asarray(test["action"])
        scores = np.ones(points.shape[:2], np.float32)
        if "confidence" in test:
            scores = np.asarray(test["confidence"], np.float32).reshape(scores.shape)
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise BenchmarkError(f"{path}: no {error}") from error
    changes = np.flatnonzero(source[1:] != source[:-1]) + 1
    out = []
    for begin, end in itertools.pairwise([0, *changes.tolist(), len(source)]):
        name = str(source[begin])
        camera = str(cameras[begin])
        if camera not in h36m_cameras.IDS:
            raise BenchmarkError(f"{path}: {name} was taken by an unknown camera, {camera}")
        if name.startswith(H36M_SPOILT):
            continue
        rows = slice(begin, end)
        index = h36m_cameras.IDS.index(camera)
        size = h36m_cameras.IMAGE_SIZES[index]
        out.append(
            Sequence(
                name=name,
                action=str(actions[begin]),
                keypoints=points[rows, :, :2],
                scores=scores[rows],
                image_size=size,
                truth=_root_relative(truth[rows]),
                valid=np.ones(end - begin, np.bool_),
                unit_mm=0.5 * size[0] * factor[rows],
                focal=h36m_cameras.FOCAL[index],
            )
        )
    return out


def read_mpi(path: Path) -> list[Sequence]:
    """The test sequences of MPI-INF-3DHP, joints in Human3.6M order.

    `unit_mm` is what the field's networks for this data set answer in: half an image width is
    one unit, and a pixel counts as a millimetre.

    Raises:
        BenchmarkError: unreadable, or an entry is missing.
    """
    out = []
    try:
        for name, content in read_object(path, "data").items():
            size = (1920, 1080) if name in MPI_OUTDOOR else (2048, 2048)
            points = np.asarray(content["data_2d"], np.float32)[:, MPI_TO_H36M, :2]
            truth = np.asarray(content["data_3d"], np.float32)[:, MPI_TO_H36M]
            out.append(
                Sequence(
                    name=str(name),
                    action=str(name),
                    keypoints=points,
                    scores=np.ones(points.shape[:2], np.float32),
                    image_size=size,
                    truth=_root_relative(truth),
                    valid=np.asarray(content["valid"]).reshape(-1) > 0,
                    unit_mm=np.full(len(points), 0.5 * size[0], np.float32),
                )
            )
    except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
        raise BenchmarkError(f"{path}: no {error}") from error
    return out


def _root_relative(joints: NDArray[Any]) -> Float:
    return np.asarray(joints - joints[:, HIP, None], np.float32)


# --- scoring --------------------------------------------------------------------------------


def windows(count: int, length: int, drop_rest: bool) -> Iterator[NDArray[np.int64]]:
    """Frame indices of windows that follow each other, as the field scores its networks.

    What is left after the last whole window is dropped, or covered by a window that ends
    with the video. A video shorter than the window is stretched to it by repeating frames.
    """
    if count < length:
        yield np.arange(length) * count // length
        return
    for begin in range(0, count - length + 1, length):
        yield np.arange(begin, begin + length)
    if count % length and not drop_rest:
        yield np.arange(count - length, count)


@dataclass(frozen=True, slots=True)
class BenchmarkScores:
    """Means over the valid frames of some sequences, 17 joints, millimetres."""

    frames: int
    mpjpe: float
    """Protocol 1, root-aligned."""
    n_mpjpe: float
    """Protocol 3: root-aligned, one scale per frame."""
    pa_mpjpe: float
    """Protocol 2, Procrustes per frame."""
    mpjve: float
    """Velocity, per frame."""
    pck150: float
    auc: float
    """PCK and AUC: MPI-INF-3DHP's 14 joints."""


def evaluate_sequences(
    sequences: list[Sequence],
    predict: Predict,
    length: int,
    batch: int = 8,
    drop_rest: bool = False,
) -> dict[str, BenchmarkScores]:
    """Score by action; "average" is the mean of the actions (Human3.6M's custom), "all frames"
    the mean of all frames (MPI-INF-3DHP's).

    Args:
        length: frames per window.
        batch: windows that `predict` gets at once.
        drop_rest: leave out what is left after each video's last whole window, as published
            numbers from the pickle do.

    Raises:
        BenchmarkError: no frame is valid.
    """
    parts: dict[str, list[dict[str, NDArray[Any]]]] = {}
    for sequence in sequences:
        errors = _frame_errors(sequence, predict, length, batch, drop_rest)
        parts.setdefault(sequence.action, []).append(errors)
    joined = {
        action: {key: np.concatenate([p[key] for p in own]) for key in own[0]}
        for action, own in sorted(parts.items())
    }
    joined = {action: errors for action, errors in joined.items() if len(errors["mpjpe"])}
    if not joined:
        raise BenchmarkError("no valid frames to score")
    out = {action: _summary(errors) for action, errors in joined.items()}
    names = [name for name in BenchmarkScores.__slots__ if name != "frames"]
    total = {key: np.concatenate([e[key] for e in joined.values()]) for key in _KEYS}
    out["average"] = BenchmarkScores(
        frames=sum(s.frames for s in out.values()),
        **{name: float(np.nanmean([getattr(s, name) for s in out.values()])) for name in names},
    )
    out["all frames"] = _summary(total)
    return out


_KEYS: Final = ("mpjpe", "n_mpjpe", "pa_mpjpe", "mpjve", "scored")


def _frame_errors(
    sequence: Sequence, predict: Predict, length: int, batch: int, drop_rest: bool
) -> dict[str, NDArray[Any]]:
    """Per valid frame: mean errors (F,), and the errors of the scored joints (F, 14)."""
    frames = np.stack(list(windows(len(sequence.truth), length, drop_rest)))
    predicted = np.concatenate(
        [predict(sequence, frames[i : i + batch]) for i in range(0, len(frames), batch)]
    )
    true = sequence.truth[frames]
    # A window of its own for each frame: the protocol fits every pose's scale.
    scaled = (best_scale(predicted[:, :, None], true[:, :, None]) * predicted[:, :, None])[:, :, 0]
    per_frame = {
        "mpjpe": joint_error(predicted, true).mean(-1),
        "n_mpjpe": joint_error(scaled, true).mean(-1),
        "pa_mpjpe": joint_error(procrustes(predicted, true), true).mean(-1),
        "mpjve": np.pad(
            velocity_error(predicted, true).mean(-1), ((0, 0), (1, 0)), constant_values=np.nan
        ),
        "scored": joint_error(predicted, true)[..., MPI_SCORED],
    }
    # The first window that holds a frame answers for it.
    covered, first = np.unique(frames.ravel(), return_index=True)
    keep = first[sequence.valid[covered]]
    return {key: v.reshape(-1, *v.shape[2:])[keep] for key, v in per_frame.items()}


def _summary(errors: dict[str, NDArray[Any]]) -> BenchmarkScores:
    rates = errors["mpjve"]
    return BenchmarkScores(
        frames=len(errors["mpjpe"]),
        mpjpe=float(errors["mpjpe"].mean()),
        n_mpjpe=float(errors["n_mpjpe"].mean()),
        pa_mpjpe=float(errors["pa_mpjpe"].mean()),
        mpjve=float(np.nanmean(rates)) if np.isfinite(rates).any() else float("nan"),
        pck150=pck(errors["scored"]),
        auc=auc(errors["scored"]),
    )
