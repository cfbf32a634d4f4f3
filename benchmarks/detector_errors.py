"""How BlazePose is wrong, and what it says of that: the numbers behind `posemamba.training`.

    python benchmarks/detector_errors.py CACHE FOLDER... [--half measured] [--json FILE]

Reads what `detections.py` has kept of clips with ground truth. `landmarks` has its offsets fixed
to the body from here, `confidence` its visibilities and peaks, `noise` its RAW_* and EDGE_*
figures; the clips are those of `lift_detections.MEASURED`, and the others judge. Unit: percent of
body height.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
from lift_detections import MEASURED
from numpy.typing import NDArray

from posemamba.skeleton import (
    HEAD,
    HIP,
    L_HIP,
    L_SHOULDER,
    LIMB_JOINTS,
    NOSE,
    PARENTS,
    R_HIP,
    R_SHOULDER,
    RIGHT,
    THORAX,
)
from posemamba.training.occlusion import covered

Array = NDArray[np.float64]

KINDS: Final = {
    "hip": (1, 4), "knee": (2, 5), "ankle": (3, 6), "shoulder": (11, 14), "elbow": (12, 15),
    "wrist": (13, 16), "nose": (9,),
}  # fmt: skip
PAIRS: Final = {
    "hips": ((1, 4),), "hip, knee": ((1, 2), (4, 5)), "hip, ankle": ((1, 3), (4, 6)),
    "knee, ankle": ((2, 3), (5, 6)), "knees": ((2, 5),), "ankles": ((3, 6),),
    "hip, shoulder": ((1, 14), (4, 11), (1, 11), (4, 14)), "shoulders": ((11, 14),),
    "shoulder, elbow": ((11, 12), (14, 15)), "shoulder, wrist": ((11, 13), (14, 16)),
    "elbow, wrist": ((12, 13), (15, 16)), "elbows": ((12, 15),), "wrists": ((13, 16),),
    "hip, other knee": ((1, 5), (4, 2)), "hip, elbow": ((1, 15), (4, 12)),
    "shoulder, nose": ((11, 9), (14, 9)),
}  # fmt: skip
JOINTS: Final = (*LIMB_JOINTS, NOSE)
WINDOW: Final = 27
_CHAIN_SHARE: Final = 0.92
"""Of the height, that the chain ankle, hip, Thorax, crown makes up."""
_COVERS: Final = ((-2.0, -0.5), (-0.5, 0.0), (0.0, 0.3), (0.3, 0.6), (0.6, 2.0))
_EDGES: Final = ((-500.0, -15.0), (-15.0, -5.0), (-5.0, 0.0), (0.0, 2.0), (2.0, 5.0), (5.0, 500.0))


@dataclass
class Person:
    """One person of one clip; frames in which the model saw them."""

    error: Array
    """(T, 13, 2) percent, picture axes."""
    placed: Array
    """(T, 13, 2, 3) percent in the picture per percent along, outwards and forwards."""
    trunk: Array
    """(T, 2) unit vector up the trunk, picture."""
    cover: Array
    edge: Array
    """(T, 13) percent inside the picture's edge."""
    visibility: Array
    peak: Array


def main(
    cache: Annotated[Path, typer.Argument(help="Folder of NAME.npz of detections.py.")],
    folders: Annotated[list[Path], typer.Argument(help="Hold NAME_gt.npz.")],
    half: Annotated[str, typer.Option(help="measured, judging or both.")] = "measured",
    json_file: Annotated[Path | None, typer.Option("--json")] = None,
) -> None:
    """Measure, print and keep."""
    people = []
    for file in sorted(cache.glob("*.npz")):
        own = file.stem in MEASURED
        if half == "both" or own == (half == "measured"):
            truth = next(p for f in folders if (p := f / f"{file.stem}_gt.npz").is_file())
            people += read(file, truth)
    report = {
        "confidence": confidences(people),
        "edge": edges(people),
        **constants(people),
        "together": together(people),
    }
    print(json.dumps(report, indent=1))
    if json_file:
        json_file.write_text(json.dumps(report, indent=1), encoding="utf-8")


def read(file: Path, truth: Path) -> list[Person]:
    with np.load(file) as found, np.load(truth) as gt:
        found, gt = dict(found), dict(gt)
    bodies, points, (width, height) = gt["joints_camera"], gt["joints_2d"], gt["image_size"]
    focal = float(gt["K"][0, 0])
    if bodies.ndim == 3:
        bodies, points = bodies[:, None], points[:, None]
    out = []
    for p in range(bodies.shape[1]):
        seen = found["seen"][:, p] & np.isfinite(bodies[:, p]).all((1, 2))
        body, flat = bodies[seen, p].astype(np.float64), points[seen, p].astype(np.float64)
        tall = stature(body)
        percent = focal * tall / 100.0 / body[:, HIP, 2]
        own = list(JOINTS)
        cover = covered(
            body[None][:, :, own].astype(np.float32),
            body[None].astype(np.float32),
            np.array([tall], np.float32),
        )[0]
        edge = np.minimum(flat[:, own], (width, height) - flat[:, own]).min(-1)
        trunk = flat[:, THORAX] - flat[:, HIP]
        out.append(
            Person(
                (found["keypoints"][seen, p][:, own] - flat[:, own]) / percent[:, None, None],
                body_axes_in_picture(body, focal, tall, percent),
                trunk / np.linalg.norm(trunk, axis=-1, keepdims=True),
                cover.astype(np.float64),
                edge / percent[:, None],
                found["visibility"][seen, p][:, own].astype(np.float64),
                found["peak"][seen, p][:, own].astype(np.float64),
            )
        )
    return [person for person in out if len(person.error) >= WINDOW]


def stature(body: Array) -> float:
    """Metres, from the lengths of a body's parts."""
    length = lambda a, b: np.linalg.norm(body[:, a] - body[:, b], axis=-1)  # noqa: E731
    legs = 0.5 * sum(length(a, b) for a, b in ((1, 2), (2, 3), (4, 5), (5, 6)))
    chain = legs + length(HIP, THORAX) + length(THORAX, HEAD)
    return float(np.median(chain)) / _CHAIN_SHARE


def body_axes_in_picture(body: Array, focal: float, tall: float, percent: Array) -> Array:
    """(T, 13, 2, 3): how the axes of `landmarks.MEAN` appear."""
    up = _unit(body[:, THORAX] - body[:, HIP])
    out = np.empty((len(body), len(JOINTS), 2, 3))
    for i, joint in enumerate(JOINTS):
        a, b = (R_HIP, L_HIP) if joint < THORAX else (R_SHOULDER, L_SHOULDER)
        right = _unit(body[:, a] - body[:, b])
        at_trunk = joint in (R_HIP, L_HIP, R_SHOULDER, L_SHOULDER, NOSE)
        along = up if at_trunk else _unit(body[:, PARENTS[joint]] - body[:, joint])
        side = 1.0 if joint in RIGHT else -1.0
        axes = 0.01 * tall * np.stack([along, side * right, np.cross(up, right)], -1)
        x, y, z = body[:, joint].T
        zero = np.zeros_like(z)
        view = np.stack([np.stack([1 / z, zero, -x / z**2]), np.stack([zero, 1 / z, -y / z**2])])
        out[:, i] = focal * (np.moveaxis(view, 2, 0) @ axes) / percent[:, None, None]
    return out


def confidences(people: list[Person]) -> dict[str, Any]:
    """Visibility, peak and error by how deep the body hides a joint (`occlusion.covered`)."""
    out: dict[str, Any] = {}
    for kind, (own, values) in _by_kind(people).items():
        rows = {}
        for low, high in _COVERS:
            part = own & (values["cover"] >= low) & (values["cover"] < high) & (values["edge"] > 3)
            if part.sum() >= 15:
                rows[f"{low:g} to {high:g}"] = _told(values, part)
        out[kind] = rows
    return out


def edges(people: list[Person]) -> dict[str, Any]:
    """The same by how far a joint is inside the picture (negative: outside)."""
    out: dict[str, Any] = {}
    for kind, (own, values) in _by_kind(people).items():
        rows = {}
        for low, high in _EDGES:
            part = own & (values["edge"] > low) & (values["edge"] <= high)
            if part.sum() >= 15:
                rows[f"{low:g} to {high:g}"] = _told(values, part)
        out[kind] = rows
    return out


def constants(people: list[Person]) -> dict[str, Any]:
    """Offsets fixed to the body, and what is left of the error: by window and within windows."""
    offsets, left = {}, {}
    for kind, joints in KINDS.items():
        columns = [JOINTS.index(joint) for joint in joints]
        # Hidden joints too: it is in the side view that one sees how far forwards hips are marked.
        clear = [[(p.edge[:, c] > 2) & (_size(p.error[:, c]) < 5) for c in columns] for p in people]
        a = [[p.placed[m, c] for m, c in zip(ms, columns, strict=True)]
             for p, ms in zip(people, clear, strict=True)]  # fmt: skip
        e = [[p.error[m, c] for m, c in zip(ms, columns, strict=True)]
             for p, ms in zip(people, clear, strict=True)]  # fmt: skip
        all_a = np.concatenate([x for xs in a for x in xs])
        all_e = np.concatenate([x for xs in e for x in xs])
        mean, *_ = np.linalg.lstsq(all_a.reshape(-1, 3), all_e.ravel(), rcond=None)
        own = [
            _fixed(x, y - x @ mean)
            for xs, ys in zip(a, e, strict=True)
            for x, y in zip(xs, ys, strict=True)
            if len(x) >= 8
        ]
        offsets[kind] = {
            "along_outwards_forwards": _short(mean),
            "sd_of_persons": _short(np.std(own, 0)),
            "rms_before": _short(np.sqrt((all_e**2).mean())),
            "rms_after": _short(np.sqrt(((all_e - all_a @ mean) ** 2).mean())),
        }
        left[kind] = _windows(people, columns)
    return {"fixed_to_the_body": offsets, "over_time": left}


def _windows(people: list[Person], columns: list[int]) -> dict[str, Any]:
    """Errors of a joint in view: sd of window means about the clip's, within windows, white."""
    slow, within, white = [], [], []
    for person in people:
        for c in columns:
            error = person.error[:, c].copy()
            error[(person.edge[:, c] < 2) | (person.cover[:, c] > -0.5)] = np.nan
            error[_size(error) > 6] = np.nan
            parts = [error[s : s + WINDOW] for s in range(0, len(error) - WINDOW + 1, 9)]
            parts = [part for part in parts if np.isfinite(part[:, 0]).sum() >= 20]
            if parts:
                means = np.array([np.nanmean(part, 0) for part in parts])
                slow.append(means - means.mean(0))
                within += [np.nanvar(part, 0) for part in parts]
                white += [np.nanvar(np.diff(part, n=2, axis=0), 0) / 6.0 for part in parts]
    return {
        "slow_sd": _short(np.sqrt(np.mean(np.concatenate(slow) ** 2))),
        "within_window_sd": _short(np.sqrt(np.mean(within))),
        "white_sd": _short(np.sqrt(np.nanmedian(white))),
    }


def together(people: list[Person]) -> dict[str, list[float]]:
    """Correlation of what changes over time in the errors of two joints that nothing hides, across
    the trunk and up it."""
    rests = [_changing(person) for person in people]
    out = {}
    for name, pairs in PAIRS.items():
        both = [rest[:, [JOINTS.index(j) for j in pair]] for rest in rests for pair in pairs]
        a, b = np.moveaxis(np.concatenate([x[np.isfinite(x).all((1, 2))] for x in both]), 1, 0)
        out[name] = _short((a * b).mean(0) / np.sqrt((a**2).mean(0) * (b**2).mean(0)))
    return out


def _changing(person: Person) -> Array:
    """(T, 13, 2) errors across the trunk and up it, about their means and what is fixed to this
    person's body; NaN where a joint is hidden, at the edge or lost."""
    rest = np.full(person.error.shape, np.nan)
    for i in range(rest.shape[1]):
        clear = (
            (person.edge[:, i] > 2) & (person.cover[:, i] < -0.3) & (_size(person.error[:, i]) < 8)
        )
        if clear.sum() >= WINDOW:
            placed, error = person.placed[clear, i], person.error[clear, i]
            rest[clear, i] = error - placed @ _fixed(placed, error)
            rest[clear, i] -= rest[clear, i].mean(0)
    across = np.stack([-person.trunk[:, 1], person.trunk[:, 0]], -1)
    axes = np.stack([across, person.trunk], -1)
    return np.asarray(rest @ axes)


def _fixed(placed: Array, error: Array) -> Array:
    """(3,) offset fixed to the body that explains a joint's errors best, held small where views
    do not tell it."""
    square = np.einsum("tij,tik->jk", placed, placed) / len(placed) + 0.1 * np.eye(3)
    return np.linalg.solve(square, np.einsum("tij,ti->j", placed, error) / len(placed))


def _by_kind(people: list[Person]) -> dict[str, tuple[NDArray[np.bool_], dict[str, Array]]]:
    names = ("cover", "edge", "visibility", "peak")
    values = {name: np.concatenate([getattr(p, name) for p in people]) for name in names}
    values["error"] = np.concatenate([_size(p.error) for p in people])
    out = {}
    for kind, joints in KINDS.items():
        own = np.zeros(values["error"].shape, bool)
        own[:, [JOINTS.index(joint) for joint in joints]] = True
        out[kind] = own, values
    return out


def _told(values: dict[str, Array], part: NDArray[np.bool_]) -> dict[str, Any]:
    quantiles = [10, 50, 90]
    told = {name: _short(np.percentile(values[name][part], quantiles))
            for name in ("visibility", "peak", "error")}  # fmt: skip
    return {"n": int(part.sum()), **told}


def _size(error: Array) -> Array:
    return np.asarray(np.linalg.norm(error, axis=-1))


def _short(value: Any) -> Any:
    return np.round(value, 2).tolist()


def _unit(vectors: Array) -> Array:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))


if __name__ == "__main__":
    typer.run(main)
