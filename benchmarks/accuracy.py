"""The measured tables of `docs/accuracy.md`, made anew by one command.

    python benchmarks/accuracy.py --motion MOTION --clips DEV_CLIPS --cache FOLDER

In the page each table stands between `<!-- measured: NAME -->` and `<!-- end -->`; what is written
there says with which version and weights it was measured. `--only NAME` makes some of them,
`--print` leaves the page alone. MOTION holds the motion that weights are trained on (its part
for validation is used), DEV_CLIPS rendered clips with ground truth; what the detector finds in
them is kept in the cache. All of it takes about an hour of one core.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import av
import detections
import lift_detections
import newest_frame
import numpy as np
import room
import typer
import whole_films
from numpy.typing import NDArray

import posemamba_live as pml
from posemamba.checkpoint import Checkpoint, load_checkpoint
from posemamba.training.metrics import hip_aligned, score
from posemamba.training.scoring import millimetres, predict
from posemamba.training.synth import load_windows
from posemamba_live.evaluation import clips
from posemamba_live.evaluation.synthetic import wrong_sides
from posemamba_live.plan import FILM_WEIGHTS, LIVE_WEIGHTS, SECOND_WEIGHTS, WHOLE_WEIGHTS
from posemamba_live.sources import open_source

PAGE: Final = Path(__file__).parents[1] / "docs" / "accuracy.md"
DEMO: Final = Path(__file__).parents[1] / "demo_videos"
WINDOWS: Final = ("window-m3", "window-m8", FILM_WEIGHTS)
"""Weights that validation compares: the first, the last that was tried, and the default."""
WINDOW_COUNT: Final = 512
SEED: Final = 2024
TAKES: Final = {4: (192, 120), 16: (64, 480)}
"""Seconds of a take: how many of so many frames."""
LIVE_TAKES: Final = {4: (384, 120), 16: (64, 480)}
ENCODED: Final = "desk_gestures"
"""The clip whose left hand hangs below the picture: what encoding changes shows there first."""
UNFAIR: Final = ("desk_head_shoulders", "far_away")
"""Arms that nobody sees; somebody whom MediaPipe finds in every tenth frame."""
BEFORE: Final = {
    "arms_to_camera": ("82.6 / 34.1 / 1.1",),
    "bystander_behind": ("95.8 / 65.2 / 4.5", ""),
    "comes_and_goes": ("83.7 / 64.8 / 8.5",),
    "desk_from_side": ("51.3 / 39.4 / 1.7",),
    "desk_gestures": ("99.6 / 67.9 / 2.6",),
    "desk_head_shoulders": ("no rows",),
    "desk_laptop_low": ("60.4 / 46.5 / 1.1",),
    "exercise": ("55.9 / 46.4 / 2.6",),
    "exercise_side": ("84.1 / 72.8 / 2.3",),
    "far_away": ("137 / 93.1 / 12.2",),
    "high_corner": ("89.0 / 49.3 / 4.5",),
    "phone_portrait": ("67.5 / 42.7 / 2.0",),
    "seated_chair": ("69.6 / 44.5 / 0.6",),
    "seated_desk": ("92.4 / 54.2 / 1.0",),
    "turn_around": ("53.4 / 36.7 / 3.1",),
    "two_talk": ("68.0 / 56.7 / 2.2", "60.3 / 36.4 / 1.1"),
}
"""Of commit ee9b719, measured then; by clip and person."""
SLID_BEFORE: Final = {
    "bystander_behind": ("20.8", "33.0"),
    "comes_and_goes": ("16.3", "30.2"),
    "exercise": ("1.4", "2.4"),
    "exercise_side": ("6.5", "10.8"),
    "far_away": ("—", "—"),
    "high_corner": ("14.5", "18.1"),
    "phone_portrait": ("0.7", "1.4"),
    "seated_chair": ("2.2", "3.0"),
    "turn_around": ("6.9", "10.3"),
    "two_talk": ("1.3", "3.7"),
    "arm_signals": ("1.7", "2.6"),
    "walk_turn": ("6.3", "12.7"),
}
"""Slide of feet that stand with commit ee9b719, whole program: film, live."""
QUALITIES: Final = (18, 30, 38)
"""x264's constant rate factors: hardly to be told from the original, usual, blocky."""
STEPS: Final = (1, 2, 3)
"""Every frame, every second, every third."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where everything is that a table needs."""

    motion: Path
    clips: Path
    cache: Path


def main(
    motion: Annotated[Path, typer.Option(help="Folder of the motion files.")],
    clips_folder: Annotated[Path, typer.Option("--clips", help="Rendered clips with truth.")],
    cache: Annotated[Path, typer.Option(help="Folder for what the detector finds.")],
    only: Annotated[list[str] | None, typer.Option(help="Names of tables.")] = None,
    print_only: Annotated[bool, typer.Option("--print", help="Leave the page alone.")] = False,
) -> None:
    """Measure, and write the tables into the page."""
    unknown = sorted(set(only or ()) - set(TABLES))
    if unknown:
        raise typer.BadParameter(f"no table {unknown[0]!r}; there are {', '.join(TABLES)}")
    places = Places(motion, clips_folder, cache)
    for name in only or TABLES:
        text = "\n".join(TABLES[name](places))
        print(f"{name}\n{text}\n", flush=True)
        if not print_only:
            page = PAGE.read_text(encoding="utf-8")
            PAGE.write_text(replaced(page, name, f"{text}\n\n{_made_with()}"), encoding="utf-8")


def replaced(page: str, name: str, text: str) -> str:
    """The page with another text between a table's two comments.

    Raises:
        ValueError: the page has no such table.
    """
    start = f"<!-- measured: {name} -->"
    pattern = re.compile(re.escape(start) + r"\n.*?<!-- end -->", re.DOTALL)
    out, count = pattern.subn(lambda _: f"{start}\n{text}\n<!-- end -->", page)
    if count != 1:
        raise ValueError(f"the page has {count} tables {name!r}")
    return out


def _made_with() -> str:
    return (
        f"Version {pml.__version__}, `{FILM_WEIGHTS}`, `{SECOND_WEIGHTS}`, `{WHOLE_WEIGHTS}`, "
        f"live `{LIVE_WEIGHTS}`."
    )


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Lines of a Markdown table."""
    head = list(head)
    yield _line(head)
    yield "|" + "---|" * len(head)
    for row in rows:
        yield _line(row)


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _figures(*values: float) -> str:
    return " / ".join(f"{value:.1f}" for value in values)


# --- the tables -----------------------------------------------------------------------------


def demo_clips(places: Places) -> Iterator[str]:
    """The whole program on the clips that come with it, beside MediaPipe's own 3D."""
    rows = []
    for clip in clips.find_clips(DEMO):
        ours = clips.score_clip(clip, "", clips.run_application(clip, None, "balanced"))
        theirs = clips.score_clip(clip, "", clips.run_mediapipe(clip))
        rows.append(
            [f"`demo_videos/{clip.name}`"]
            + [_figures(own.n_mpjpe, own.pa_mpjpe, own.accel) for own in (ours, theirs)]
        )
    return table(("", "posemamba-live N / PA / accel", "MediaPipe N / PA / accel"), rows)


def program(places: Places) -> Iterator[str]:
    """The whole program on the rendered clips, beside MediaPipe's own 3D."""
    rows = []
    found: dict[str, list[tuple[float, float]]] = {"whole bodies": [], "desks": []}
    for truth in sorted(places.clips.glob("*_gt.npz")):
        name = truth.name.removesuffix("_gt.npz")
        with np.load(truth) as gt:
            joints, points = gt["joints_camera"], gt["joints_2d"]
        single = joints.ndim == 3
        people = [(joints, points)] if single else [
            (joints[:, p], points[:, p]) for p in range(joints.shape[1])
        ]  # fmt: skip
        film = truth.with_name(f"{name}.mp4")
        take = pml.lift_video(film, people=len(people))
        desk = name.startswith(lift_detections.DESKS)
        for number, (own, flat) in enumerate(people):
            clip = clips.Clip(name, film, own, flat)
            ours = clips.of_the_person(clip, take.frame_index, take.joints_3d, take.joints_2d)
            before = BEFORE.get(name, ("", ""))[number]
            row = [f"`{name}`" if single else f"`{name}` ({number + 1})", _clip(ours, own, desk)]
            theirs = clips.run_mediapipe(clip) if single else None
            rows.append([*row, "" if theirs is None else _clip(theirs, own, desk), before])
            if theirs is not None and name not in UNFAIR:
                pair = [_errors(poses, own, desk) for poses in (ours, theirs)]
                ratio = tuple(pair[0][k] / pair[1][k] for k in ("n", "pa"))
                found["desks" if desk else "whole bodies"].append((ratio[0], ratio[1]))
    means = "; ".join(
        f"{what} {np.mean([n for n, _ in own]):.2f} / {np.mean([pa for _, pa in own]):.2f}"
        for what, own in found.items()
    )
    yield from table(("N / PA / accel", "posemamba-live", "MediaPipe", "commit ee9b719"), rows)
    unfair = " and ".join(f"`{name}`" for name in UNFAIR)
    yield ""
    yield f"Of MediaPipe's N and PA, means of the clips' ratios without {unfair}: {means}."


def _clip(poses: clips.Poses, true: NDArray[Any], desk: bool) -> str:
    own = _errors(poses, true, desk)
    return _figures(own["n"], own["pa"], own["accel"])


def _errors(poses: clips.Poses, true: NDArray[Any], desk: bool) -> dict[str, float]:
    ours = poses.joints.astype(np.float64)
    return lift_detections.errors(ours, true[poses.frame].astype(np.float64), poses.frame, desk)


def validation(places: Places) -> Iterator[str]:
    """Single windows of validation motion, one pass."""
    rows = []
    for name in WINDOWS:
        model = load_checkpoint(name)
        cells = []
        for occlusion in (False, True):
            windows = load_windows(
                places.motion, "val", WINDOW_COUNT, model.meta.frames, SEED,
                close=0.2, level=0.4, shoulders=True, occlusion=occlusion,
            )  # fmt: skip
            channels = model.meta.config.in_channels
            ours = millimetres(predict(model.model, windows.inputs[..., :channels]), windows)
            true = millimetres(windows.target, windows)
            own = score(ours, true)
            cells.append(_figures(own.n_mpjpe, own.pa_mpjpe, own.accel))
            wrong = wrong_sides(hip_aligned(ours), hip_aligned(true))
        rows.append([f"`{name}`", *cells, f"{wrong['arms']:.1f}", f"{wrong['legs']:.1f}"])
    head = ("", "N / PA / accel", "with self-occlusion and raw errors", "arms on the wrong side, %",
            "legs")  # fmt: skip
    return table(head, rows)


def films(places: Places) -> Iterator[str]:
    """Takes of validation motion as the program lifts films."""
    found: dict[str, list[str]] = {}
    for takes, frames in TAKES.values():
        batch = whole_films.validation_takes(places.motion, takes, frames, SEED)
        for name, own in whole_films.scores(batch, FILM_WEIGHTS, [SECOND_WEIGHTS, WHOLE_WEIGHTS]):
            found.setdefault(name, []).append(_figures(own.n_mpjpe, own.pa_mpjpe, own.accel))
    head = [f"{takes} takes of {seconds} s" for seconds, (takes, _) in TAKES.items()]
    return table(("N / PA / accel", *head), ([name, *cells] for name, cells in found.items()))


def newest(places: Places) -> Iterator[str]:
    """The newest pose of takes of validation motion, as live use has it."""
    head, found = [], {(LIVE_WEIGHTS, "balanced"): [], (FILM_WEIGHTS, "balanced"): [],
                       (FILM_WEIGHTS, "accurate"): []}  # fmt: skip
    for takes, frames in LIVE_TAKES.values():
        batch = newest_frame.validation_takes(places.motion, takes, frames, SEED)
        after = [n for n in newest_frame.AFTER if n <= frames]
        head += [f"{n} of {frames}" for n in after]
        for (name, mode), cells in found.items():
            own = newest_frame.errors(load_checkpoint(name), batch, after, mode)
            cells += [_figures(*pair) for pair in own]
    rows = ([f"`{name}`, {mode}", *cells] for (name, mode), cells in found.items())
    return table(("MPJPE / PA after frames", *head), rows)


def lifters(places: Places) -> Iterator[str]:
    """Lifters alone on rendered and demo clips: no tracker, no scene, no smoothing."""
    folders = [places.clips, DEMO]
    kept = places.cache / "detections"
    detections.main(folders, kept, threads=1, model=None)
    second, whole = load_checkpoint(SECOND_WEIGHTS), load_checkpoint(WHOLE_WEIGHTS)
    ways: Mapping[str, tuple[str, bool, Sequence[Checkpoint]]] = {
        f"films, `{FILM_WEIGHTS}` alone": (FILM_WEIGHTS, False, []),
        f"films, and `{SECOND_WEIGHTS}` both ways": (FILM_WEIGHTS, False, [second]),
        f"films, and `{WHOLE_WEIGHTS}` as well": (FILM_WEIGHTS, False, [second, whole]),
        f"live, `{LIVE_WEIGHTS}`": (LIVE_WEIGHTS, True, []),
        f"live, `{FILM_WEIGHTS}`": (FILM_WEIGHTS, True, []),
    }
    rows = []
    for label, (name, live, again) in ways.items():
        make = lift_detections.lifters(name, live=live)
        found: dict[str, dict[str, float]] = {}
        for file in sorted(kept.glob("*.npz")):
            truth = lift_detections.truth_of(file, folders)
            found |= lift_detections.score_clip(file, truth, make, "product", True, again)
        row = [label]
        for own in lift_detections.means(found).values():
            row += [
                _figures(own["n"], own["pa"], own["accel"]),
                f"{own['n'] - own['turned']:.1f}",
                f"{own['wrong']:.1f}",
            ]
        rows.append(row)
    part = ("N / PA / accel", "a turn would gain", "wrong side, %")
    head = (f"{what}: {name}" for what in ("whole bodies", "desks") for name in part)
    return table(("", *head), rows)


def encodings(places: Places) -> Iterator[str]:
    """Somebody at a desk in several encodings and frame rates: the whole program."""
    film = places.clips / f"{ENCODED}.mp4"
    with np.load(film.with_name(f"{ENCODED}_gt.npz")) as gt:
        true = gt["joints_camera"].astype(np.float64)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for quality in QUALITIES:
            row = [f"x264, quality {quality}"]
            for step in STEPS:
                copy = Path(folder) / f"{quality}-{step}.mp4"
                encode(film, copy, quality, step)
                take = pml.lift_video(copy)
                frames = take.frame_index
                own = lift_detections.errors(
                    take.joints_3d.astype(np.float64), true[frames * step], frames, desk=True
                )
                row.append(_figures(own["n"], own["pa"]))
            rows.append(row)
    return table(("N / PA", "every frame", "every second", "every third"), rows)


def encode(film: Path, out: Path, quality: int, step: int) -> None:
    """Write every `step`-th frame of a film with x264 at a constant rate factor."""
    with open_source(str(film)) as source, av.open(str(out), "w") as container:
        width, height = source.size
        stream = container.add_stream(
            "libx264", rate=round(source.fps / step), options={"crf": str(quality)}
        )
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in source:
            if frame.index % step == 0:
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame.image), "bgr24")
                container.mux(stream.encode(picture))
        container.mux(stream.encode())


def rooms(places: Places) -> Iterator[str]:
    """Camera, floor and feet, clip by clip; film / live."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "room.json"
        room.main(
            [places.clips, DEMO], places.cache / "room", weights=FILM_WEIGHTS, only=None,
            json_file=file, feet=True, lines=True, again=[SECOND_WEIGHTS, WHOLE_WEIGHTS],
            live_weights=LIVE_WEIGHTS,
        )  # fmt: skip
        report: dict[str, dict[str, dict[str, float]]] = json.loads(file.read_text())
    rows = [
        [f"`{name}`", *_room_cells(name, report["film"][name], report["live"][name])]
        for name in report["film"]
        if not name.startswith(room.HALF_BODY)
    ]
    head = ("film / live", "pitch off, degrees", "height off, %", "lowest joint, cm",
            "slide, mm a frame", "film N / PA", "live N / PA", "N in the world", "place off, %",
            "path off, cm")  # fmt: skip
    return table(head, rows)


def _room_cells(name: str, film: Mapping[str, float], live: Mapping[str, float]) -> list[str]:
    def both(what: str, sign: str = "") -> str:
        return " / ".join(f"{own[what]:{sign}.1f}" for own in (film, live))

    low = " / ".join(f"{own['low5']:.0f} to {own['low95']:.0f}" for own in (film, live))
    slide = " / ".join(
        f"{own['skate']:.1f} ({before})"
        for own, before in zip((film, live), SLID_BEFORE[name], strict=True)
    )
    return [
        both("pitch", "+"), both("height", "+"), low, slide,
        _figures(film["n"], film["pa"]), _figures(live["n"], live["pa"]), both("nw"),
        both("root"), both("path"),
    ]  # fmt: skip


TABLES: Final[Mapping[str, Callable[[Places], Iterator[str]]]] = {
    "clips": demo_clips,
    "program": program,
    "validation": validation,
    "films": films,
    "newest": newest,
    "lifters": lifters,
    "encodings": encodings,
    "room": rooms,
}
"""By their names in the page."""


if __name__ == "__main__":
    typer.run(main)
