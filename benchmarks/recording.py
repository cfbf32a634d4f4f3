"""Whether recordings show the whole body, and what their exports hold; and contact sheets of them.

    python benchmarks/recording.py FILM... --folder DIR [--people 2]

Each film is recorded and exported by the command. For each:

* `inside`: frames with somebody in them, and those in which every joint is inside the room's panel,
  as the recording draws it (planned) and as a live one would (following).
* `apart`: cm, the largest distance between a joint as it was drawn and as it was exported, and
  between the exported joint in the world and in the camera's frame, by the exported camera.

DIR holds recordings, exports and a contact sheet of twelve frames of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import cv2
import numpy as np
import typer
from numpy.typing import NDArray

from posemamba_live import cli
from posemamba_live.drawing.figure import SkeletonRenderer
from posemamba_live.sinks.recorder import Recorder
from posemamba_live.types import Frame, Ground, Pose3D

Array = NDArray[np.float64]

FRAMES: Final = 12
SHEET_WIDTH: Final = 1500
PANEL: Final = 240


def main(
    films: Annotated[list[Path], typer.Argument()],
    folder: Annotated[Path, typer.Option()],
    people: Annotated[int, typer.Option()] = 1,
) -> None:
    """Record films and look at what comes out."""
    folder.mkdir(parents=True, exist_ok=True)
    for film in films:
        drawn = record(film, folder, people)
        planned = inside(drawn, known=True)
        following = inside(drawn, known=False)
        off = 100.0 * apart(drawn, folder / f"{film.stem}.npz")
        print(
            f"{film.stem:22s} {len(drawn):5d} frames, inside {planned:5d} planned, "
            f"{following:5d} following, apart {off:.4f} cm",
            flush=True,
        )
        sheet(folder / f"{film.stem}.mp4", folder / f"{film.stem}.png")


def record(film: Path, folder: Path, people: int) -> list[tuple[Frame, list[Pose3D]]]:
    """Frames with somebody in them, as the command drew them."""
    drawn: list[tuple[Frame, list[Pose3D]]] = []
    write = Recorder.write

    def watched(self: Recorder, frame: Frame, poses: Sequence[Pose3D]) -> None:
        if poses:
            drawn.append((frame, list(poses)))
        write(self, frame, poses)

    outputs = [str(folder / f"{film.stem}{suffix}") for suffix in (".npz", ".mp4")]
    line = [str(film), "--headless", "-q", "--overwrite", "--people", str(people)]
    Recorder.write = watched  # type: ignore[method-assign]
    try:
        code = cli.run([*line, "--export", outputs[0], "--record", outputs[1]])
    finally:
        Recorder.write = write  # type: ignore[method-assign]
    if code:
        raise SystemExit(code)
    return drawn


def inside(drawn: Sequence[tuple[Frame, list[Pose3D]]], *, known: bool) -> int:
    """Frames in which every joint is inside the panel."""
    take = [pose for _, poses in drawn for pose in poses]
    renderer = SkeletonRenderer((PANEL, PANEL), take=take if known else None)
    count = 0
    for frame, poses in drawn:
        renderer.draw(poses, frame.timestamp)
        pixels = np.concatenate(
            [renderer.project(pose.joints_world.astype(np.float64))[0] for pose in poses]
        )
        count += bool((pixels >= 0.0).all() and (pixels <= PANEL).all())
    return count


def apart(drawn: Sequence[tuple[Frame, list[Pose3D]]], export: Path) -> float:
    """Metres."""
    with np.load(export, allow_pickle=False) as data:
        kept: dict[str, Any] = {name: data[name] for name in data.files}
    keys = zip(kept["frame_index"].tolist(), kept["person_id"].tolist(), strict=True)
    rows = {key: row for row, key in enumerate(keys)}
    shown = [pose for _, poses in drawn for pose in poses]
    if len(shown) != len(rows):
        return float("inf")
    largest = 0.0
    for pose in shown:
        row = rows[pose.frame_index, pose.person_id]
        world = kept["joints_world"][row].astype(np.float64)
        ground = Ground(*(float(kept[f"camera_{k}"][row]) for k in ("pitch", "roll", "height")))
        camera = kept["joints_3d"][row].astype(np.float64) + kept["root_3d"][row]
        for a, b in ((pose.joints_world, world), (ground.to_camera(world), camera)):
            largest = max(largest, float(np.linalg.norm(a - b, axis=-1).max()))
    return largest


def sheet(recording: Path, picture: Path) -> None:
    """Frames of a recording, evenly spread, side by side."""
    capture, frames = cv2.VideoCapture(str(recording)), []
    while True:
        there, image = capture.read()
        if not there:
            break
        frames.append(image)
    chosen = [frames[i] for i in np.linspace(0, len(frames) - 1, FRAMES).astype(int)]
    columns = 3 if chosen[0].shape[1] > 1.3 * chosen[0].shape[0] else 6
    scale = SHEET_WIDTH / columns / chosen[0].shape[1]
    small = [cv2.resize(one, None, fx=scale, fy=scale, interpolation=3) for one in chosen]
    rows = [np.hstack(small[i : i + columns]) for i in range(0, FRAMES, columns)]
    cv2.imwrite(str(picture), np.vstack(rows))


if __name__ == "__main__":
    typer.run(main)
