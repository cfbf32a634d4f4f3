"""posemamba-eval: how good are these weights?

One command per question: windows synthesised from motion capture, videos with ground truth
through the application itself, and the field's benchmarks.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer

from posemamba.checkpoint import Checkpoint, CheckpointError, load_checkpoint
from posemamba.training import benchmark_motion, benchmark_sets
from posemamba.training.benchmark_sets import Sequence
from posemamba.training.motion import MotionError, load_motion
from posemamba.training.synth import SynthConfig, evaluation_windows
from posemamba_live.command_line import start_app
from posemamba_live.errors import DetectorError
from posemamba_live.evaluation import clips
from posemamba_live.evaluation.benchmarks import benchmark_predictor
from posemamba_live.evaluation.report import print_table, write_json
from posemamba_live.evaluation.synthetic import synthetic_scores
from posemamba_live.plan import FILM_WEIGHTS
from posemamba_live.shown import safe

_MAX_MOTION_FRAMES: Final = 243
_MOVED: Final = ("plot", "export")
"""Commands that are programs of their own by now: posemamba-plot, posemamba-export."""

app = typer.Typer(add_completion=False, no_args_is_help=True, help="How good are these weights?")
Weights = Annotated[str, typer.Option(help="Name of shipped weights, or a file.")]
JsonFile = Annotated[
    Path | None, typer.Option("--json", help="Also write the numbers to this file.")
]


# --- synthetic ------------------------------------------------------------------------------


@app.command()
def synthetic(
    motion: Annotated[Path, typer.Option(help="Folder with the motion .npz files.")],
    weights: Weights = FILM_WEIGHTS,
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
    occlusion: Annotated[
        bool,
        typer.Option(help="Joints that the body hides, and errors and scores of raw keypoints."),
    ] = False,
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
    report: dict[str, Any] = {
        "weights": checkpoint.meta.name,
        "sha256": checkpoint.meta.sha256,
        "split": split,
        "frames": length,
        "seed": seed,
        "flip": flip,
        "shoulders": shoulders,
        "occlusion": occlusion,
    }
    half = (windows + 1) // 2
    views = (("room", 0.0, 0.0, windows), ("level", 0.0, 1.0, half), ("webcam", 1.0, 0.0, half))
    for view, close, level, count in views:
        setting = SynthConfig.evaluation(close, level, shoulders=shoulders, occlusion=occlusion)
        sample = evaluation_windows(data, count, length, seed, setting)
        report[view] = {"windows": count, **synthetic_scores(checkpoint, data, sample, flip)}
    _print_synthetic(report)
    write_json(json_file, report)


def _print_synthetic(report: Mapping[str, Any]) -> None:
    typer.echo(
        f"{report['weights']}: {report['split']} motion, windows of {report['frames']} frames, "
        f"12 limb joints, mm{', averaged with the mirrored pass' if report['flip'] else ''}"
        f"{'' if report['shoulders'] else ', shoulders as captured'}"
        f"{', with self-occlusion' if report['occlusion'] else ''}"
    )
    for view in ("room", "level", "webcam"):
        part = report[view]
        typer.echo(f"\n{view} views, {part['windows']} windows")
        one = {"one pass": part["one_pass"]} if report["flip"] else {}
        rows = {"all": {"windows": part["windows"], **part["all"]}, **one, **part["source"]}
        print_table("source", rows, ("windows", "mpjpe", "n_mpjpe", "pa_mpjpe", "accel"))
        print_table("action", part["action"], ("windows", "mpjpe", "n_mpjpe", "pa_mpjpe", "accel"))
        print_table("joint", part["joint"], ("n_mpjpe", "pa_mpjpe"))
        print_table("on the wrong side, %", {"all": part["wrong_side"]}, ("legs", "arms"))
        print_table("look-ahead (one pass)", part["delay"], ("mpjpe", "pa_mpjpe"))


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
                try:
                    theirs = clips.run_mediapipe(clip)
                except DetectorError as error:  # ours is what was asked for first
                    typer.echo(f"without MediaPipe's own 3D: {error.why}", err=True)
                    typer.echo("  try: pip install 'posemamba-live[mediapipe]'", err=True)
                    detector = False
                else:
                    results.append(clips.score_clip(clip, "mediapipe", theirs))
    except clips.ClipError as error:
        _fail(str(error))
    rows = {f"{r.clip}  {r.method}": r.as_dict() for r in results}
    print_table("clip", rows, ("found", "mpjpe", "n_mpjpe", "pa_mpjpe", "accel"))
    for clip in found:
        own = {r.method: r for r in results if r.clip == clip.name}
        if len(own) == 2:
            a, b = own["posemamba"], own["mediapipe"]
            typer.echo(
                f"{clip.name}: {a.n_mpjpe / b.n_mpjpe:.2f} of MediaPipe's N-MPJPE, "
                f"{a.pa_mpjpe / b.pa_mpjpe:.2f} of its PA-MPJPE, {a.accel / b.accel:.2f} of its "
                "acceleration error"
            )
    write_json(json_file, {"mode": mode, "weights": weights, "clips": list(rows.values())})


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
    weights: Weights = FILM_WEIGHTS,
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
    weights: Weights = FILM_WEIGHTS,
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
    if not checkpoint.meta.causal and length > checkpoint.meta.frames:
        raise typer.BadParameter(
            f"--frames {length}: {checkpoint.meta.name} takes windows of 1 to "
            f"{checkpoint.meta.frames} frames"
        )
    predictor = benchmark_predictor(checkpoint, flip, height)
    scores = benchmark_sets.evaluate_sequences(sequences, predictor, length, drop_rest=drop_rest)
    rows = {name: asdict(own) for name, own in scores.items()}
    print_table("mm", rows, ("frames", "mpjpe", "n_mpjpe", "pa_mpjpe", "mpjve", "pck150", "auc"))
    write_json(json_file, {"weights": checkpoint.meta.name, "frames": length, "scores": rows})


# --- shared ---------------------------------------------------------------------------------


def _load(weights: str) -> Checkpoint:
    try:
        return load_checkpoint(weights)
    except CheckpointError as error:
        _fail(str(error))


def _fail(message: str) -> NoReturn:
    typer.echo(safe(message), err=True)
    raise typer.Exit(1)


def main() -> NoReturn:
    """Entry point."""
    words = sys.argv[1:]
    if words and words[0] in _MOVED:
        _run_moved(words[0], words[1:])
    start_app(app, "posemamba-eval")


def _run_moved(command: str, words: list[str]) -> NoReturn:
    """The old spellings `posemamba-eval plot` and `posemamba-eval export` go on to work."""
    typer.echo(f"posemamba-eval {command} is posemamba-{command} now", err=True)
    if command == "plot":
        from posemamba_live.plot import main as moved
    else:
        from posemamba_live.export import main as moved
    moved(words)


if __name__ == "__main__":
    main()
