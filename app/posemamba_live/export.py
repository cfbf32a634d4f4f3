"""posemamba-export: a recording in other formats, without lifting it again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from posemamba_live.errors import EXIT_FAILURE, LiveError, SinkError
from posemamba_live.shown import printable, safe

if TYPE_CHECKING:
    from posemamba_live.takes.take import Take

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
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the files.")] = False,
) -> None:
    """Write a recording in other formats. An output that fails does not keep the others."""
    from posemamba_live.takes.take import read_take

    try:
        take = read_take(recording)
    except LiveError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(error.exit_code) from error
    written = [_write(take, output, overwrite) for output in outputs]
    if not all(written):
        raise typer.Exit(EXIT_FAILURE)


def _write(take: Take, output: Path, overwrite: bool) -> bool:
    """Write one output and say so, or why not; whether it was written."""
    try:
        for path in export_take(take, output, overwrite=overwrite):
            typer.echo(printable(path))
    except LiveError as error:
        typer.echo(f"error: {_sentence(error)}", err=True)
        return False
    return True


def export_take(take: Take, output: Path, *, overwrite: bool = False) -> list[Path]:
    """Write a take to a file of the kind that its suffix says; returns the files written.

    Formats that hold one person write a file for each.

    Raises:
        UsageError: unknown suffix, or the file exists and `overwrite` is false.
        SinkError: it cannot be written.
    """
    from posemamba_live.sinks import create_exporter

    exporter = create_exporter(output, overwrite=overwrite, meta=take.meta)
    for pose in take.poses:
        exporter.add(pose)
    try:
        exporter.close()
    except LiveError:
        raise
    except Exception as error:  # a format's library, at what nobody foresaw
        raise SinkError(f"cannot write {output}", why=f"{type(error).__name__}: {error}") from error
    return list(exporter.files)


def _sentence(error: LiveError) -> str:
    """What, why and what to try in one line."""
    told = f"{error.what}: {error.why}" if error.why else error.what
    return printable(safe(f"{told}; {error.hint}" if error.hint else told))


def main(words: Sequence[str] | None = None) -> None:
    """Entry point; takes the command line's words where none are given."""
    app(None if words is None else list(words), prog_name="posemamba-export")


if __name__ == "__main__":
    main()
