"""posemamba-plot: one page about a recording."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from posemamba_live.command_line import start_app
from posemamba_live.errors import LiveError
from posemamba_live.shown import printable

if TYPE_CHECKING:
    from posemamba_live.takes.take import Take

app = typer.Typer(add_completion=False)


@app.command()
def plot(
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
    try:
        moments = at or ()
        done = plot_file(poses, output, person=person, moments=moments, overwrite=overwrite)
        typer.echo(printable(done))
    except LiveError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(error.exit_code) from error


def plot_file(
    poses: Path,
    output: Path | None = None,
    *,
    person: int | None = None,
    moments: Sequence[float] = (),
    overwrite: bool = False,
) -> Path:
    """Draw the page of a recorded file; returns the file that was written.

    Args:
        poses: what `--export` wrote.
        output: .png or .html; by default the .png beside the poses.
        person: see `takes.plot.plot_take`; moments: the same.
        overwrite: replace an existing file.

    Raises:
        LiveError: with what is wrong and what to try.
    """
    from posemamba_live.takes.take import read_take

    output = output or poses.with_suffix(".png")
    _check(output, overwrite)
    return save_plot(read_take(poses), output, person=person, moments=moments, overwrite=overwrite)


def save_plot(
    take: Take,
    output: Path,
    *,
    person: int | None = None,
    moments: Sequence[float] = (),
    overwrite: bool = False,
) -> Path:
    """Draw the page of a take to a file, whole or not at all; see `plot_file`."""
    from posemamba_live.files import partial_path, put_in_place
    from posemamba_live.takes.plot import plot_take

    _check(output, overwrite)
    part = partial_path(output)
    try:
        plot_take(take, part, person=person, moments=moments)
        put_in_place(part, output)
    finally:
        part.unlink(missing_ok=True)
    return output


def _check(output: Path, overwrite: bool) -> None:
    from posemamba_live.files import check_output
    from posemamba_live.takes.plot import SUFFIXES

    check_output(output, overwrite=overwrite, suffixes=SUFFIXES)


def main(words: Sequence[str] | None = None) -> NoReturn:
    """Entry point; takes the command line's words where none are given."""
    start_app(app, "posemamba-plot", words)


if __name__ == "__main__":
    main()
