"""What the commands share: options of a dataclass as Typer reads them, and how each of them ends.

Nothing heavy is imported here, so that --help and --version answer at once.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
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
    UsageError,
    describe,
)
from posemamba_live.options import DECLARED, Declared, Panel
from posemamba_live.shown import SafeFormatter, safe
from posemamba_live.terminal import finish, leave, prepare, say

DEBUG_VARIABLE: Final = "POSEMAMBA_DEBUG"

Declaration = tuple[str, Any, Any]
"""Name, annotation for Typer, and default of an option."""


class Program:
    """A command of one function: its options, its messages, its exit codes.

    Args:
        name: as it is typed.
        explain: says of an error of Click's what was meant, given the words of the line.
        app: its commands, where they are not declared here.
    """

    def __init__(
        self,
        name: str,
        explain: Callable[[Any, Sequence[str]], str],
        app: typer.Typer | None = None,
    ) -> None:
        self.name = name
        self.app = app or typer.Typer(
            add_completion=False, context_settings={"help_option_names": ["-h", "--help"]}
        )
        self.words: Sequence[str] = ()
        """Of the command line that runs: what they hide is hidden in messages."""
        self._explain = explain

    def declare(
        self, command: Callable[..., int], options: Sequence[Declaration], epilog: str | None = None
    ) -> None:
        """Make `command` what the program does, with these options and --version."""
        version = typer.Option(
            "--version",
            callback=self._version,
            is_eager=True,
            help="Show the version and exit.",
            rich_help_panel=Panel.RUNNING.value,
        )
        signature = Signature(
            [
                Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=how)
                for name, how, default in (*options, ("version", Annotated[bool, version], False))
            ],
            return_annotation=int,
        )
        command.__signature__ = signature  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
        self.app.command(epilog=epilog)(command)

    def run(
        self, arguments: Sequence[str], check: Callable[[Sequence[str]], None] | None = None
    ) -> int:
        """Run the command; every failure becomes one message on stderr and an exit code.

        Args:
            arguments: the words after the program's name.
            check: looks at them before anybody else does, and may raise.
        """
        self.words = tuple(arguments)
        try:
            if check is not None:
                check(arguments)
            code: Any = typer.main.get_command(self.app).main(
                list(arguments), prog_name=self.name, standalone_mode=False
            )
            return code if isinstance(code, int) else EXIT_OK
        except (KeyboardInterrupt, typer.Abort):
            return self._failed("interrupted before anything was done", EXIT_INTERRUPTED)
        except Exception as error:
            if isinstance(error, LiveError):
                return self._failed(describe(error), error.exit_code)
            # Typer 0.20 and later bring their own copy of Click's errors: told by what they have.
            if hasattr(error, "format_message"):
                return self._failed(self._explain(error, arguments), EXIT_USAGE)
            return self._failed(describe(error), EXIT_FAILURE)

    def _version(self, asked: bool) -> None:
        if asked:
            typer.echo(f"{self.name} {__version__}")
            raise typer.Exit()

    def _failed(self, message: str, code: int) -> int:
        if logging.getLogger("posemamba_live").isEnabledFor(logging.DEBUG):
            say(safe(traceback.format_exc(), self.words))
        say(f"error: {safe(message, self.words)}")
        return code


def start(run: Callable[[Sequence[str]], int], words: Sequence[str] | None = None) -> NoReturn:
    """Run a program with the words of the command line, or others, and end the process."""
    prepare()
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # libraries' notes to their developers
    code = run(sys.argv[1:] if words is None else words)
    if code == EXIT_INTERRUPTED:
        leave(code)
    finish(code)


def start_app(
    app: typer.Typer, name: str, words: Sequence[str] | None = None, *, verbosity: int = 0
) -> NoReturn:
    """`start` for a program that is a Typer application: what it says is as safe as what the
    others say, whoever says it.

    Args:
        name: as it is typed.
        words: instead of those of the process's command line.
        verbosity: see `set_up_logging`.
    """

    def run(words: Sequence[str]) -> int:
        set_up_logging(verbosity, words)
        if not words and app.info.no_args_is_help is True:
            program.run(["--help"])
            return EXIT_USAGE
        return program.run(words)

    def explain(error: Any, words: Sequence[str]) -> str:
        return str(UsageError(error.format_message(), hint=f"{name} --help lists the options"))

    program = Program(name, explain, app)
    start(run, words)


def declared_parameters(declaring: type, formats: str = "") -> list[Declaration]:
    """Every option that a dataclass declares, in its order.

    Args:
        declaring: its fields carry `options.Declared`.
        formats: stands where a help text says {formats}.
    """
    types = get_type_hints(declaring)
    parameters = []
    for field in fields(declaring):
        declared = field.metadata.get(DECLARED)
        if declared is not None:
            type_, default = _on_the_command_line(types[field.name], field.default)
            how = _typer_declaration(field.name, declared, default, formats)
            parameters.append((field.name, Annotated[type_, how], default))
    return parameters


def _on_the_command_line(type_: Any, default: Any) -> tuple[Any, Any]:
    """Type and default of a field for Typer, which knows sequences as optional lists."""
    if get_origin(type_) is Sequence:
        return GenericAlias(list, get_args(type_)) | None, None
    return type_, default


def _typer_declaration(name: str, declared: Declared, default: Any, formats: str) -> Any:
    text = declared.help.replace("{formats}", formats)
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
