"""The command line of posemamba-live: options, help, and how errors are told.

Nothing heavy is imported here, so that --help and --version answer at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NoReturn

from posemamba_live.command_line import Program, declared_parameters, set_up_logging, start
from posemamba_live.errors import describe
from posemamba_live.memory import check_limits
from posemamba_live.mistakes import check_words, explain
from posemamba_live.options import Options
from posemamba_live.sinks import FORMATS
from posemamba_live.viewer.keys import KEY_BINDINGS

_FORMATS: Final = ", ".join(f"{suffix} ({format_.text})" for suffix, format_ in FORMATS.items())
_EPILOG: Final = "Keys in the window: " + ", ".join(
    f"{binding.keys} {binding.text}" for binding in KEY_BINDINGS
)

_program: Final = Program("posemamba-live", lambda error, words: describe(explain(error, words)))
app: Final = _program.app


def command(version: bool = False, **given: Any) -> int:
    """Real-time 3D human pose from a camera, a stream or a video.

    A camera or stream opens a window with the live skeleton.
    A file is processed frame by frame; add --export, --record and --headless as you like.
    """
    # An option that is repeated and was not given is None.
    values = {name: value for name, value in given.items() if value is not None}
    options = Options(**values, command_line=_program.words)
    set_up_logging(options.verbosity, _program.words)
    options.check()
    check_limits()
    from posemamba_live.wiring import execute

    return execute(options)


_program.declare(command, declared_parameters(Options, _FORMATS), _EPILOG)


def run(arguments: Sequence[str]) -> int:
    """Run the command; every failure becomes one message on stderr and an exit code."""
    return _program.run(arguments, check_words)


def main() -> NoReturn:
    """The `posemamba-live` program, once signals are taken care of (`__main__`)."""
    start(run)
