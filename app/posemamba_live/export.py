"""posemamba-export: a recording in other formats, without lifting it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from posemamba_live.command_line import start_app
from posemamba_live.errors import EXIT_FAILURE, LiveError, SinkError, UsageError
from posemamba_live.keypoints import marked
from posemamba_live.options import UnseenName
from posemamba_live.shown import printable, safe

if TYPE_CHECKING:
    from posemamba_live.takes.take import Take
    from posemamba_live.types import Pose3D

app = typer.Typer(add_completion=False)


@app.command()
def export(
    recording: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT",
            help="The .npz that posemamba-live --export wrote, or "
            "the .journal of a run that did not end.",
        ),
    ],
    outputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="OUTPUT...", help="Files to write; the suffix says how (.bvh, .trc, ...)."
        ),
    ],
    video: Annotated[
        str | None,
        typer.Option(
            metavar="FILM",
            help="The film that was recorded: draws it anew into outputs that end in .mp4, "
            "and gives .rrd its pictures.",
        ),
    ] = None,
    unseen: Annotated[
        UnseenName,
        typer.Option(help="What a recording does with joints that have not been seen for seconds."),
    ] = UnseenName.FAINT,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the files.")] = False,
) -> None:
    """Write a recording in other formats. An output that fails does not keep the others."""
    from posemamba_live.takes.take import read_take

    try:
        take = read_take(recording)
    except LiveError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(error.exit_code) from error
    written = [_write(take, output, overwrite, video, unseen) for output in outputs]
    if not all(written):
        raise typer.Exit(EXIT_FAILURE)


def _write(
    take: Take, output: Path, overwrite: bool, video: str | None, unseen: UnseenName
) -> bool:
    """Write one output and say so, or why not; whether it was written."""
    try:
        if video is not None and output.suffix.lower() == ".mp4":
            written = [draw_take(take, video, output, overwrite=overwrite, unseen=unseen)]
        else:
            written = export_take(take, output, overwrite=overwrite, video=video)
        for path in written:
            typer.echo(printable(path))
    except LiveError as error:
        typer.echo(f"error: {_sentence(error)}", err=True)
        return False
    return True


def export_take(
    take: Take, output: Path, *, overwrite: bool = False, video: str | None = None
) -> list[Path]:
    """Write a take to a file of the kind that its suffix says; returns the files written.

    Formats that hold one person write a file for each.

    Args:
        video: the film that it was made of, for formats with pictures.

    Raises:
        UsageError: unknown suffix, or the file exists and `overwrite` is false.
        SinkError, SourceError: it cannot be written, or the film not be read.
    """
    from posemamba_live.sinks import create_exporter

    film = None
    if video is not None:
        from posemamba_live.sources import open_source

        film = partial(open_source, video, **_as_it_was(take.meta))
    exporter = create_exporter(output, overwrite=overwrite, meta=take.meta, film=film)
    for pose in take.poses:
        exporter.add(pose)
    try:
        exporter.close()
    except LiveError:
        raise
    except Exception as error:  # a format's library, at what nobody foresaw
        raise SinkError(f"cannot write {output}", why=f"{type(error).__name__}: {error}") from error
    return list(exporter.files)


def draw_take(
    take: Take,
    video: str,
    output: Path,
    *,
    overwrite: bool = False,
    unseen: UnseenName = UnseenName.FAINT,
) -> Path:
    """Draw a take over the film that it was made of, up to its last pose; returns the recording.

    Args:
        unseen: what becomes of joints that nobody has seen for a while.

    Raises:
        UsageError, SourceError, SinkError: the film cannot be read, or the recording not written.
    """
    from posemamba_live.sinks.recorder import Recorder
    from posemamba_live.sources import open_source, sound_of

    poses = marked(take.poses)
    people: dict[int, list[Pose3D]] = {}
    for pose in poses:
        people.setdefault(pose.frame_index, []).append(pose)
    last = max(people, default=-1)
    with open_source(video, **_as_it_was(take.meta)) as source:
        if source.live:
            raise UsageError(f"{video} is no film", hint="a recording is drawn from a video file")
        recorder = Recorder(
            output,
            fps=source.fps,
            image_size=source.size,
            overwrite=overwrite,
            sound=sound_of(source),
            take=poses,
            unseen=unseen,
        )
        with recorder:
            for frame in source:
                if frame.index > last:
                    break
                recorder.write(frame, people.get(frame.index, []))
    return output


def _as_it_was(meta: Mapping[str, Any]) -> dict[str, Any]:
    """How the run that made a take had opened its film, as far as the take says it."""
    how: dict[str, Any] = {}
    if meta.get("rotate") in (90, 180, 270):
        how["rotate"] = meta["rotate"]
    match meta.get("start"):
        case int(start) | float(start) if start > 0:
            how["start"] = float(start)
    match meta.get("pictures_fps"):
        case int(fps) | float(fps) if 0.001 <= fps <= 10_000.0:
            how["fps"] = float(fps)
    return how


def _sentence(error: LiveError) -> str:
    """What, why and what to try in one line."""
    told = f"{error.what}: {error.why}" if error.why else error.what
    return printable(safe(f"{told}; {error.hint}" if error.hint else told))


def main(words: Sequence[str] | None = None) -> NoReturn:
    """Entry point; takes the command line's words where none are given."""
    start_app(app, "posemamba-export", words)


if __name__ == "__main__":
    main()
