"""The command line: options, help, and how errors are told.

Nothing heavy is imported here, so that --help and --version answer at once.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import fields
from inspect import Parameter, Signature
from types import GenericAlias
from typing import Annotated, Any, Final, NoReturn, get_args, get_origin, get_type_hints

import typer

from posemamba_live import __version__
from posemamba_live.errors import (
    EXIT_FAILURE,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_USAGE,
    LiveError,
    describe,
)
from posemamba_live.options import DECLARED, Declared, Options, Panel
from posemamba_live.shown import SafeFormatter, safe
from posemamba_live.sinks import FORMATS
from posemamba_live.terminal import finish, leave, prepare, say
from posemamba_live.viewer.keys import KEY_BINDINGS

PROGRAM: Final = "posemamba-live"
DEBUG_VARIABLE: Final = "POSEMAMBA_DEBUG"

_FORMATS: Final = ", ".join(f"{suffix} ({format_.text})" for suffix, format_ in FORMATS.items())
_EPILOG: Final = "Keys in the window: " + ", ".join(
    f"{binding.keys} {binding.text}" for binding in KEY_BINDINGS
)

app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"{PROGRAM} {__version__}")
        raise typer.Exit()


def command(version: bool = False, **given: Any) -> int:
    """Real-time 3D human pose from a camera, a stream or a video.

    A camera or stream opens a window with the live skeleton.
    A file is processed frame by frame; add --export, --record and --headless as you like.
    """
    # An option that is repeated and was not given is None.
    values = {name: value for name, value in given.items() if value is not None}
    options = Options(**values, command_line=_arguments)
    set_up_logging(options.verbosity, _arguments)
    options.check()
    from posemamba_live.wiring import execute

    return execute(options)


def _signature() -> Signature:
    """The parameters of `command` as Typer reads them: those that `Options` declares."""
    parameters = declared_parameters(Options)
    version = typer.Option(
        "--version",
        callback=_version,
        is_eager=True,
        help="Show the version and exit.",
        rich_help_panel=Panel.RUNNING.value,
    )
    parameters.append(("version", Annotated[bool, version], False))
    return Signature(
        [
            Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=annotation)
            for name, annotation, default in parameters
        ],
        return_annotation=int,
    )


def declared_parameters(declaring: type) -> list[tuple[str, Any, Any]]:
    """Name, annotation for Typer and default of every option that a dataclass declares."""
    types = get_type_hints(declaring)
    parameters = []
    for field in fields(declaring):
        declared = field.metadata.get(DECLARED)
        if declared is not None:
            type_, default = _on_the_command_line(types[field.name], field.default)
            how = _typer_declaration(field.name, declared, default)
            parameters.append((field.name, Annotated[type_, how], default))
    return parameters


def _on_the_command_line(type_: Any, default: Any) -> tuple[Any, Any]:
    """Type and default of a field for Typer, which knows sequences as optional lists."""
    if get_origin(type_) is Sequence:
        return GenericAlias(list, get_args(type_)) | None, None
    return type_, default


def _typer_declaration(name: str, declared: Declared, default: Any) -> Any:
    text = declared.help.replace("{formats}", _FORMATS)
    if declared.panel is None:
        return typer.Argument(help=text, metavar=declared.metavar, show_default=False)
    return typer.Option(
        *(declared.flags or (f"--{name.replace('_', '-')}",)),
        help=text,
        metavar=declared.metavar,
        rich_help_panel=declared.panel.value,
        count=declared.counted,
        show_default=default is not None and not declared.counted,
    )


def _declare(signature: Signature) -> None:
    command.__signature__ = signature  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    app.command(epilog=_EPILOG)(command)


_declare(_signature())

_arguments: Sequence[str] = ()


def run(arguments: Sequence[str]) -> int:
    """Run the command; every failure becomes one message on stderr and an exit code."""
    global _arguments
    _arguments = tuple(arguments)
    try:
        code: Any = typer.main.get_command(app).main(
            list(arguments), prog_name=PROGRAM, standalone_mode=False
        )
        return code if isinstance(code, int) else EXIT_OK
    except (KeyboardInterrupt, typer.Abort):
        return _failed("interrupted before anything was done", EXIT_INTERRUPTED)
    except Exception as error:
        if isinstance(error, LiveError):
            return _failed(describe(error), error.exit_code)
        # Typer 0.20 and later bring their own copy of Click's errors: told by what they have.
        if hasattr(error, "format_message"):
            message = f"{error.format_message()}\n  try:   {PROGRAM} --help"
            return _failed(message, EXIT_USAGE)
        return _failed(describe(error), EXIT_FAILURE)


def main() -> NoReturn:
    """The `posemamba-live` program, once signals are taken care of (`__main__`)."""
    prepare()
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # libraries' notes to their developers
    code = run(sys.argv[1:])
    if code == EXIT_INTERRUPTED:
        leave(code)
    finish(code)


def _failed(message: str, code: int) -> int:
    if logging.getLogger("posemamba_live").isEnabledFor(logging.DEBUG):
        say(safe(traceback.format_exc(), _arguments))
    say(f"error: {safe(message, _arguments)}")
    return code


def set_up_logging(verbosity: int, words: Sequence[str]) -> None:
    """Let loggers say so much, and nothing secret of what the user gave."""
    if os.environ.get(DEBUG_VARIABLE, "0") not in ("", "0"):
        verbosity = 2
    levels = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO}
    handler = logging.StreamHandler()
    handler.setFormatter(SafeFormatter("%(levelname)s: %(message)s", words))
    logging.basicConfig(handlers=[handler], force=True)
    # Other libraries' debug messages would bury our own.
    logging.getLogger("posemamba_live").setLevel(levels.get(verbosity, logging.DEBUG))
    logging.getLogger("posemamba").setLevel(levels.get(verbosity, logging.DEBUG))
