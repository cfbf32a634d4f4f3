"""posemamba-convert: a published checkpoint as safetensors with metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from posemamba.text import printable

_FAILURE: Final = 1
_SUFFIX: Final = ".safetensors"

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def convert(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="A published checkpoint: .bin, .pth.tr, .pth, .pt.")
    ],
    target: Annotated[Path, typer.Argument(metavar="OUT", help=f"The file to write, *{_SUFFIX}.")],
    name: Annotated[
        str | None, typer.Option(help="What the weights call themselves; by default OUT's name.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace OUT if it exists.")
    ] = False,
) -> None:
    """Turn a published PoseMamba checkpoint into safetensors.

    Optimiser and epoch are left behind. The file is read without executing anything in it,
    and what was read has to fit the network exactly.
    """
    _check_paths(source, target, overwrite)
    # Late: --help should not wait for torch.
    from dataclasses import replace

    from posemamba.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
    from posemamba.metadata import is_plain_name

    name = target.stem if name is None else name
    if not is_plain_name(name):
        raise typer.BadParameter("is empty, too long or not printable", param_hint="--name")
    try:
        checkpoint = load_checkpoint(source)
    except CheckpointError as error:
        _fail(
            "The checkpoint cannot be converted",
            cause=str(error),
            hint="download it again; only PoseMamba checkpoints of the published code are read",
        )
    meta, config = checkpoint.meta, checkpoint.meta.config
    training = {**meta.training, "source_sha256": meta.sha256}
    meta = replace(meta, name=name, training=training)
    try:
        save_checkpoint(target, checkpoint.model.state_dict(), meta)
    except OSError as error:
        _fail(
            f"{target} cannot be written",
            cause=error.strerror or str(error),
            hint="choose another folder, or make room",
        )
    count = sum(p.numel() for p in checkpoint.model.parameters())
    typer.echo(
        f"{printable(target)}: {meta.name}, {count / 1e6:.2f} M parameters "
        f"(dim {config.dim}, depth {config.depth}, {config.frames} frames)"
    )


def _check_paths(source: Path, target: Path, overwrite: bool) -> None:
    """What can be told without reading the checkpoint."""
    if target.suffix != _SUFFIX:
        raise typer.BadParameter(f"{printable(target)} has to end in {_SUFFIX}", param_hint="OUT")
    if source.suffix == _SUFFIX:
        raise typer.BadParameter(f"{printable(source)} is safetensors already", param_hint="IN")
    if target.is_dir():
        raise typer.BadParameter(f"{printable(target)} is a folder", param_hint="OUT")
    if target.exists() and not overwrite:
        raise typer.BadParameter(
            f"{printable(target)} exists; replace it with --overwrite", param_hint="OUT"
        )
    if not source.is_file():
        why = "it is a folder" if source.is_dir() else "there is no such file"
        _fail(f"{source} cannot be read", cause=why, hint="give the path of a checkpoint")
    if not target.parent.is_dir():
        _fail(f"{target} cannot be written", cause="no such folder", hint="create it first")


def _fail(what: str, *, cause: str, hint: str) -> NoReturn:
    lines = (what, f"  cause: {cause}", f"  try:   {hint}")
    typer.echo("\n".join(printable(line) for line in lines), err=True)
    raise typer.Exit(_FAILURE)


def main() -> None:
    """Entry point."""
    app()


if __name__ == "__main__":
    main()
