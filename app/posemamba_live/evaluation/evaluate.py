"""posemamba-eval: how good are these weights?

One command per question: windows synthesised from motion capture, videos with ground truth
through the application itself, and the field's benchmarks. `plot` shows one recording
and `export` writes it in other formats.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from torch import nn

from posemamba.checkpoint import Checkpoint, CheckpointError, load_checkpoint
from posemamba.normalize import RayStream, image_window, ray_window, root_relative
from posemamba.skeleton import JOINT_NAMES, LIMB_JOINTS, MIRROR
from posemamba.training import benchmark_motion, benchmark_sets
from posemamba.training.benchmark_sets import Sequence
from posemamba.training.metrics import (
    Scores,
    best_scale,
    hip_aligned,
    joint_error,
    procrustes,
    score,
)
from posemamba.training.motion import MotionError, MotionSet, load_motion
from posemamba.training.synth import Batch, SynthConfig, evaluation_windows
from posemamba_live.evaluation import clips

Float = NDArray[np.float32]

DELAYS: Final = (0, 5, 13)
"""Frames of look-ahead that live use is judged at."""
_MAX_MOTION_FRAMES: Final = 243
DEFAULT_WEIGHTS: Final = "window-m3"

app = typer.Typer(add_completion=False, no_args_is_help=True, help="How good are these weights?")
Weights = Annotated[str, typer.Option(help="Name of shipped weights, or a file.")]
JsonFile = Annotated[
    Path | None, typer.Option("--json", help="Also write the numbers to this file.")
]


# --- for the trainer ------------------------------------------------------------------------


def predict(model: nn.Module, inputs: Float, batch: int = 64) -> Float:
    """The network's answer to (n, T, 17, C) inputs: (n, T, 17, 3) in its own unit."""
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            parts = torch.from_numpy(inputs).split(batch)
            return np.concatenate([model(x.to(device)).float().cpu().numpy() for x in parts])
    finally:
        model.train(was_training)


def evaluate_model(model: nn.Module, windows: Batch, batch: int = 64) -> dict[str, float]:
    """Score a network on a set of windows: all metrics, 12 limb joints, millimetres.

    `centre_*` and `last_*` score only the middle and the newest frame of each window (which is
    what live use shows); without a prefix every frame counts. `n_far` and `n_close` are
    N-MPJPE of room and webcam views.
    """
    predicted = _millimetres(predict(model, windows.inputs, batch), windows)
    true = _millimetres(windows.target, windows)
    out = score(predicted, true).as_dict()
    middle = predicted.shape[1] // 2
    for name, frame in (("centre", slice(middle, middle + 1)), ("last", slice(-1, None))):
        one = score(predicted[:, frame], true[:, frame])
        out |= {f"{name}_mpjpe": one.mpjpe, f"{name}_pa_mpjpe": one.pa_mpjpe}
    for name, own in (("n_far", ~windows.close), ("n_close", windows.close)):
        if own.any():
            out[name] = score(predicted[own], true[own]).n_mpjpe
    return out


def _millimetres(joints: Float, windows: Batch) -> Float:
    return np.asarray(joints * (1000.0 * windows.height)[:, None, None, None])


# --- synthetic ------------------------------------------------------------------------------


@app.command()
def synthetic(
    motion: Annotated[Path, typer.Option(help="Folder with the motion .npz files.")],
    weights: Weights = DEFAULT_WEIGHTS,
    split: Annotated[str, typer.Option(help="test, or val.")] = "test",
    windows: Annotated[
        int, typer.Option(min=1, help="Room views; half as many of level cameras, and of webcams.")
    ] = 1024,
    frames: Annotated[
        int | None, typer.Option(min=1, help="Window length; by default the weights' own.")
    ] = None,
    seed: int = 2024,
    flip: Annotated[
        bool, typer.Option(help="Average with the mirrored pass, as files are lifted.")
    ] = True,
    shoulders: Annotated[
        bool,
        typer.Option(help="Shoulders, and what detectors get wrong, as on bodies, or as captured."),
    ] = True,
    json_file: JsonFile = None,
) -> None:
    """Windows of captured motion under synthetic cameras and detector noise."""
    if split not in ("test", "val"):
        raise typer.BadParameter("is test or val", param_hint="--split")
    checkpoint = _load(weights)
    try:
        data = load_motion(motion, "test" if split == "test" else "val")
    except MotionError as error:
        _fail(str(error))
    length = frames or min(checkpoint.meta.frames, _MAX_MOTION_FRAMES)
    flip = flip and checkpoint.meta.input_kind != "stream"  # which lifts no mirrored pass
    report: dict[str, Any] = {
        "weights": checkpoint.meta.name,
        "sha256": checkpoint.meta.sha256,
        "split": split,
        "frames": length,
        "seed": seed,
        "flip": flip,
        "shoulders": shoulders,
    }
    half = (windows + 1) // 2
    views = (("room", 0.0, 0.0, windows), ("level", 0.0, 1.0, half), ("webcam", 1.0, 0.0, half))
    for view, close, level, count in views:
        setting = SynthConfig.evaluation(close, level, shoulders=shoulders)
        sample = evaluation_windows(data, count, length, seed, setting)
        report[view] = {"windows": count, **_synthetic_scores(checkpoint, data, sample, flip)}
    _print_synthetic(report)
    _write_json(json_file, report)


def _synthetic_scores(
    checkpoint: Checkpoint, motion: MotionSet, windows: Batch, flip: bool
) -> dict[str, Any]:
    one_pass = lift(checkpoint, windows)
    true = hip_aligned(_millimetres(windows.target, windows))
    live = hip_aligned(_millimetres(one_pass, windows))
    last = live.shape[1] - 1
    delays = {}
    for delay in DELAYS:
        if delay <= last:
            frame = slice(last - delay, last - delay + 1)
            # The scale is the window's, as it is a person's in live use.
            scaled = best_scale(live, true) * live
            delays[str(delay)] = _brief(score(scaled[:, frame], true[:, frame]))
    predicted = live
    if flip:
        both = 0.5 * (one_pass + reflected(lift(checkpoint, mirrored(windows))))
        predicted = hip_aligned(_millimetres(both, windows))
    groups = {
        "source": _per_group(motion.source[windows.clip], predicted, true),
        "action": _per_group(motion.action[windows.clip], predicted, true),
    }
    return {
        "all": score(predicted, true).as_dict(),
        "one_pass": score(live, true).as_dict(),
        "joint": joint_table(predicted, true),
        "delay": delays,
        **groups,
    }


def lift(checkpoint: Checkpoint, windows: Batch) -> Float:
    """What the application's network would answer: (n, T, 17, 3), virtual-camera axes."""
    channels = checkpoint.meta.config.in_channels
    if checkpoint.meta.input_kind == "rays":
        return predict(checkpoint.model, windows.inputs[..., :channels])
    turn = windows.rotation[:, None].swapaxes(-1, -2)
    if checkpoint.meta.input_kind == "stream":
        camera = lift_causally(
            checkpoint,
            windows.keypoints,
            windows.scores,
            windows.image_size,
            1.0 / windows.fps,
            checkpoint.meta.fov_deg,
        )
        return np.asarray(camera @ turn, np.float32)
    # Weights with other inputs or outputs: the application knows how to translate them.
    from posemamba_live.lifting.network import Network

    network = Network(checkpoint, fov_deg=checkpoint.meta.fov_deg)
    out = np.empty_like(windows.target)
    for size in np.unique(windows.image_size, axis=0):
        for row in np.flatnonzero((windows.image_size == size).all(1)):
            width, height = (int(v) for v in size)
            own = slice(row, row + 1)
            out[own] = network(windows.keypoints[own], windows.scores[own], (width, height))
    return np.asarray(out @ turn, np.float32)


def lift_causally(
    checkpoint: Checkpoint,
    keypoints: Float,
    scores: Float,
    image_size: NDArray[Any] | tuple[int, int],
    elapsed: NDArray[Any] | float,
    fov_deg: float,
) -> Float:
    """What a causal network answers frame by frame, knowing nothing before each window.

    Args:
        keypoints, scores: (n, T, 17, 2) pixels, (n, T, 17).
        image_size: (2,) or (n, 2) W, H.
        elapsed: () or (n,) seconds from frame to frame.

    Returns:
        (n, T, 17, 3) root-relative, camera axes, body heights.
    """
    stream = RayStream(fov_deg)
    views = [
        stream.update(keypoints[:, t], scores[:, t], image_size, elapsed)
        for t in range(keypoints.shape[1])
    ]
    inputs = np.concatenate([view.inputs for view in views], 1)
    answers = predict(checkpoint.model, inputs[..., : checkpoint.meta.config.in_channels])
    camera = [view.to_camera(answers[:, t : t + 1]) for t, view in enumerate(views)]
    return root_relative(np.concatenate(camera, 1))


def mirrored(windows: Batch) -> Batch:
    """The same windows in a mirror: the keypoints and scores of the mirrored people."""
    width = windows.image_size[:, None, None, 0]
    keypoints, scores = mirror_image(windows.keypoints, windows.scores, width)
    rays = ray_window(keypoints, scores, windows.image_size)
    return replace(
        windows, inputs=rays.inputs, keypoints=keypoints, scores=scores, rotation=rays.rotation
    )


def mirror_image(keypoints: Float, scores: Float, width: NDArray[Any] | int) -> tuple[Float, Float]:
    """Keypoints (n, T, 17, 2) and scores (n, T, 17) of the mirrored people in the mirrored
    pictures, which are `width` pixels wide (or (n, 1, 1), each)."""
    order = list(MIRROR)
    flipped = keypoints[:, :, order].copy()
    flipped[..., 0] = width - flipped[..., 0]
    return flipped, scores[:, :, order]


def reflected(joints: Float) -> Float:
    """Poses (..., 17, 3) of mirrored people as poses of the people themselves."""
    return np.asarray(joints[..., list(MIRROR), :] * np.array([-1.0, 1.0, 1.0], np.float32))


def joint_table(predicted: Float, true: Float) -> dict[str, dict[str, float]]:
    """N-MPJPE and PA-MPJPE of each of the 17 joints, both fitted on the limb joints."""
    limbs = list(LIMB_JOINTS)
    p, t = hip_aligned(predicted), hip_aligned(true)
    scaled = joint_error(best_scale(p[..., limbs, :], t[..., limbs, :]) * p, t)
    aligned = joint_error(procrustes(p[..., limbs, :], t[..., limbs, :]), t[..., limbs, :])
    out = {
        name: {"n_mpjpe": float(scaled[..., joint].mean())}
        for joint, name in enumerate(JOINT_NAMES)
    }
    for column, joint in enumerate(limbs):
        out[JOINT_NAMES[joint]]["pa_mpjpe"] = float(aligned[..., column].mean())
    return out


def _per_group(
    labels: NDArray[np.str_], predicted: Float, true: Float
) -> dict[str, dict[str, float]]:
    out = {}
    for label in np.unique(labels):
        own = labels == label
        out[str(label)] = {
            "windows": float(own.sum()),
            **_brief(score(predicted[own], true[own])),
        }
    return out


def _brief(scores: Scores) -> dict[str, float]:
    names = ("mpjpe", "n_mpjpe", "pa_mpjpe", "accel")
    return {name: value for name, value in scores.as_dict().items() if name in names}


def _print_synthetic(report: Mapping[str, Any]) -> None:
    typer.echo(
        f"{report['weights']}: {report['split']} motion, windows of {report['frames']} frames, "
        f"12 limb joints, mm{', averaged with the mirrored pass' if report['flip'] else ''}"
        f"{'' if report['shoulders'] else ', shoulders as captured'}"
    )
    for view in ("room", "level", "webcam"):
        part = report[view]
        typer.echo(f"\n{view} views, {part['windows']} windows")
        one = {"one pass": part["one_pass"]} if report["flip"] else {}
        rows = {"all": {"windows": part["windows"], **part["all"]}, **one, **part["source"]}
        _table("source", rows, ("windows", "mpjpe", "n_mpjpe", "pa_mpjpe", "accel"))
        _table("action", part["action"], ("windows", "mpjpe", "n_mpjpe", "pa_mpjpe", "accel"))
        _table("joint", part["joint"], ("n_mpjpe", "pa_mpjpe"))
        _table("look-ahead (one pass)", part["delay"], ("mpjpe", "pa_mpjpe"))


# --- clips ----------------------------------------------------------------------------------


@app.command("clips")
def clips_command(
    folder: Annotated[Path, typer.Argument(help="Holds NAME.mp4 and NAME_gt.npz pairs.")],
    weights: Annotated[str | None, typer.Option(help="By default those of the mode.")] = None,
    mode: Annotated[str, typer.Option(help="fast, balanced or accurate.")] = "balanced",
    poses: Annotated[
        Path | None, typer.Option(help="Folder of NAME.npz exports to score instead of running.")
    ] = None,
    detector: Annotated[
        bool, typer.Option(help="Also score MediaPipe's own 3D on the same videos.")
    ] = True,
    json_file: JsonFile = None,
) -> None:
    """Videos with ground truth through posemamba-live's file mode, MediaPipe's 3D beside it."""
    try:
        found = clips.find_clips(folder)
        results = []
        for clip in found:
            typer.echo(f"{clip.name} ...", err=True)
            if poses is None:
                ours = clips.run_application(clip, weights, mode)
            else:
                ours = clips.read_export(poses / f"{clip.name}.npz", clip)
            results.append(clips.score_clip(clip, "posemamba", ours))
            if detector:
                results.append(clips.score_clip(clip, "mediapipe", clips.run_mediapipe(clip)))
    except clips.ClipError as error:
        _fail(str(error))
    rows = {f"{r.clip}  {r.method}": r.as_dict() for r in results}
    _table("clip", rows, ("found", "mpjpe", "n_mpjpe", "pa_mpjpe", "accel"))
    for clip in found:
        own = {r.method: r for r in results if r.clip == clip.name}
        if len(own) == 2:
            a, b = own["posemamba"], own["mediapipe"]
            typer.echo(
                f"{clip.name}: {a.n_mpjpe / b.n_mpjpe:.2f} of MediaPipe's N-MPJPE, "
                f"{a.pa_mpjpe / b.pa_mpjpe:.2f} of its PA-MPJPE, {a.accel / b.accel:.2f} of its "
                "acceleration error"
            )
    _write_json(json_file, {"mode": mode, "weights": weights, "clips": list(rows.values())})


# --- benchmarks -----------------------------------------------------------------------------


@app.command()
def h36m(
    pickle_file: Annotated[
        Path | None,
        typer.Option("--pickle", help="The single file with joint_2d, joints_2.5d_image, ..."),
    ] = None,
    positions: Annotated[Path | None, typer.Option(help="data_3d_h36m.npz")] = None,
    keypoints: Annotated[
        Path | None, typer.Option(help="data_2d_h36m_cpn_ft_h36m_dbb.npz, or another detector's.")
    ] = None,
    weights: Weights = DEFAULT_WEIGHTS,
    frames: Annotated[int | None, typer.Option(min=1, help="Window length.")] = None,
    flip: Annotated[bool, typer.Option(help="Average with the mirrored pass.")] = True,
    height: Annotated[float, typer.Option(help="Metres, for weights that need one.")] = 1.70,
    json_file: JsonFile = None,
) -> None:
    """Human3.6M, subjects 9 and 11: protocol 1 (MPJPE) and 2 (PA-MPJPE) by action."""
    checkpoint = _load(weights)
    try:
        if pickle_file is not None and positions is None and keypoints is None:
            sequences = benchmark_sets.read_h36m_pickle(pickle_file)
        elif pickle_file is None and positions is not None and keypoints is not None:
            sequences = benchmark_sets.read_h36m(positions, keypoints)
        else:
            raise typer.BadParameter("give --pickle, or --positions with --keypoints")
        drop_rest = pickle_file is not None
        _benchmark(checkpoint, sequences, frames, flip, height, drop_rest, json_file)
    except benchmark_sets.BenchmarkError as error:
        _fail(str(error))


@app.command()
def mpi(
    file: Annotated[Path, typer.Argument(help="data_test_3dhp.npz")],
    weights: Weights = DEFAULT_WEIGHTS,
    frames: Annotated[int | None, typer.Option(min=1, help="Window length.")] = None,
    flip: Annotated[bool, typer.Option(help="Average with the mirrored pass.")] = True,
    height: Annotated[float, typer.Option(help="Metres, for weights that need one.")] = 1.70,
    json_file: JsonFile = None,
) -> None:
    """MPI-INF-3DHP, six test sequences: MPJPE, PCK at 150 mm and AUC over valid frames.

    Joints are put into Human3.6M order for the network.
    """
    checkpoint = _load(weights)
    try:
        sequences = benchmark_sets.read_mpi(file)
        _benchmark(checkpoint, sequences, frames, flip, height, False, json_file)
    except benchmark_sets.BenchmarkError as error:
        _fail(str(error))


@app.command("h36m-motion")
def h36m_motion(
    positions: Annotated[Path, typer.Argument(help="data_3d_h36m.npz")],
    folder: Annotated[Path, typer.Argument(help="Motion folder to write h36m.npz into.")],
) -> None:
    """Turn Human3.6M's positions into a motion folder that posemamba-train takes."""
    try:
        typer.echo(benchmark_motion.write_h36m_motion(positions, folder))
    except (benchmark_sets.BenchmarkError, OSError) as error:
        _fail(str(error))


@app.command("mpi-motion")
def mpi_motion(
    file: Annotated[Path, typer.Argument(help="data_train_3dhp.npz")],
    folder: Annotated[Path, typer.Argument(help="Motion folder to write mpi_inf_3dhp.npz into.")],
) -> None:
    """Turn MPI-INF-3DHP's training sequences into a motion folder for posemamba-train."""
    try:
        typer.echo(benchmark_motion.write_mpi_motion(file, folder))
    except (benchmark_sets.BenchmarkError, OSError) as error:
        _fail(str(error))


_BENCHMARK_STEP_S: Final = 0.02
"""Human3.6M has 50 frames a second, and so have most sequences of MPI-INF-3DHP."""


def benchmark_predictor(
    checkpoint: Checkpoint, flip: bool, height: float
) -> benchmark_sets.Predict:
    """Weights as a function from a benchmark's windows to millimetres.

    Networks in image units are scored in them where the benchmark says what a unit is, as
    their authors did. All others answer in body heights, and `height` makes these metres.
    """
    from posemamba_live.lifting.network import Network

    def in_units(sequence: Sequence, rows: NDArray[np.int64]) -> Float:
        inputs = image_window(sequence.keypoints[rows], sequence.image_size)
        out = predict(checkpoint.model, inputs)
        if flip:
            order, sign = np.array(MIRROR), np.array([-1.0, 1.0, 1.0], np.float32)
            out = 0.5 * (out + reflected(predict(checkpoint.model, inputs[:, :, order] * sign[:2])))
        assert sequence.unit_mm is not None
        return np.asarray(root_relative(out) * sequence.unit_mm[rows][..., None, None])

    def in_heights(sequence: Sequence, rows: NDArray[np.int64]) -> Float:
        fov = checkpoint.meta.fov_deg
        if sequence.focal is not None:
            fov = math.degrees(2 * math.atan(0.5 * max(sequence.image_size) / sequence.focal))
        keypoints, scores = sequence.keypoints[rows], sequence.scores[rows]
        size = sequence.image_size
        if checkpoint.meta.input_kind == "stream":

            def causal(points: Float, trust: Float) -> Float:
                return lift_causally(checkpoint, points, trust, size, _BENCHMARK_STEP_S, fov)

            out = causal(keypoints, scores)
            if flip:
                out = 0.5 * (out + reflected(causal(*mirror_image(keypoints, scores, size[0]))))
        else:
            out = Network(checkpoint, fov_deg=fov, mirrored=flip)(keypoints, scores, size)
        return np.asarray(1000.0 * height * out)

    def either(sequence: Sequence, rows: NDArray[np.int64]) -> Float:
        native = checkpoint.meta.output_unit == "image" and sequence.unit_mm is not None
        return (in_units if native else in_heights)(sequence, rows)

    return either


def _benchmark(
    checkpoint: Checkpoint,
    sequences: list[Sequence],
    frames: int | None,
    flip: bool,
    height: float,
    drop_rest: bool,
    json_file: Path | None,
) -> None:
    length = frames or checkpoint.meta.frames
    if checkpoint.meta.input_kind != "stream" and length > checkpoint.meta.frames:
        raise typer.BadParameter(
            f"--frames {length}: {checkpoint.meta.name} takes windows of 1 to "
            f"{checkpoint.meta.frames} frames"
        )
    predictor = benchmark_predictor(checkpoint, flip, height)
    scores = benchmark_sets.evaluate_sequences(sequences, predictor, length, drop_rest=drop_rest)
    rows = {name: asdict(own) for name, own in scores.items()}
    _table("mm", rows, ("frames", "mpjpe", "n_mpjpe", "pa_mpjpe", "mpjve", "pck150", "auc"))
    _write_json(json_file, {"weights": checkpoint.meta.name, "frames": length, "scores": rows})


# --- recordings -----------------------------------------------------------------------------


@app.command("plot")
def plot_command(
    poses: Annotated[Path, typer.Argument(help="The .npz that posemamba-live --export wrote.")],
    output: Annotated[
        Path | None,
        typer.Option(help=".png, or .html with a table; by default the .png beside the poses."),
    ] = None,
    person: Annotated[
        int | None, typer.Option(help="Its person_id; by default whoever was seen most.")
    ] = None,
    at: Annotated[
        list[float] | None,
        typer.Option(help="Second at which to draw the skeleton. Can be repeated."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
) -> None:
    """Joint angles over time, skeletons at chosen moments, speed of hands and feet."""
    from posemamba_live.errors import LiveError
    from posemamba_live.takes.plot import plot_file

    try:
        moments = at or ()
        typer.echo(plot_file(poses, output, person=person, moments=moments, overwrite=overwrite))
    except LiveError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(error.exit_code) from error


@app.command("export")
def export_command(
    poses: Annotated[Path, typer.Argument(help="The .npz that posemamba-live --export wrote.")],
    targets: Annotated[
        list[Path], typer.Argument(help="Files to write; the suffix says how (.bvh, .trc, ...).")
    ],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the files.")] = False,
) -> None:
    """Write a recording in other formats, without lifting it again."""
    from posemamba_live.errors import LiveError
    from posemamba_live.sinks import check_export, create_exporter
    from posemamba_live.takes.take import read_take

    try:
        for target in targets:
            check_export(target, overwrite=overwrite)
        take = read_take(poses)
        for target in targets:
            exporter = create_exporter(target, overwrite=overwrite, meta=take.meta)
            for pose in take.poses:
                exporter.add(pose)
            exporter.close()
            typer.echo(target)
    except LiveError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(error.exit_code) from error


# --- shared ---------------------------------------------------------------------------------


def _load(weights: str) -> Checkpoint:
    try:
        return load_checkpoint(weights)
    except CheckpointError as error:
        _fail(str(error))


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)


def _table(head: str, rows: Mapping[str, Mapping[str, Any]], columns: Iterable[str]) -> None:
    columns = list(columns)
    width = max(len(head), *(len(name) for name in rows), 12)
    typer.echo("\n" + head.ljust(width) + "".join(c.rjust(11) for c in columns))
    for name, row in rows.items():
        cells = [
            "-"
            if c not in row
            else f"{row[c]:.0f}"
            if c in ("windows", "frames")
            else f"{row[c]:.1f}"
            for c in columns
        ]
        typer.echo(name.ljust(width) + "".join(c.rjust(11) for c in cells))


def _write_json(path: Path | None, report: Mapping[str, Any]) -> None:
    if path is not None:
        path.write_text(json.dumps(report, indent=2) + "\n")


def main() -> None:
    """Entry point."""
    app()


if __name__ == "__main__":
    main()
