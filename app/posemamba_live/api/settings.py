"""Arguments as the options of the command, and errors in the words of arguments."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Any, Final, TypeVar

from posemamba_live.errors import LiveError, UsageError
from posemamba_live.options import Options

E = TypeVar("E", bound=Enum)

DEFAULTS: Final = Options()
_OPTION: Final = re.compile(r"--([a-z][a-z-]*)")
_ARGUMENTS: Final = {"height": "height_m", "fov": "fov_deg", "pitch": "pitch_deg"}
"""Options of the command that have other names here."""


def options_of(**given: Any) -> Options:
    """The command's options of these settings, checked; nothing is said on the terminal."""
    options = Options(headless=True, quiet=True, **given)
    options.check_numbers()
    model = options.detector_model
    if model is not None and not os.path.isfile(model):
        raise UsageError(f"There is no detector model {model}", hint="--detector-model is a file")
    finder = options.person_model
    if finder not in (None, "none") and not os.path.isfile(str(finder)):
        raise UsageError(f"There is no person model {finder}", hint="--person-model is a file")
    return options


def choice(kind: type[E], name: str, value: str) -> E:
    try:
        return kind(value)
    except ValueError as error:
        known = ", ".join(repr(one.value) for one in kind)
        raise UsageError(f"There is no {name} {value!r}", hint=f"one of: {known}") from error


def several(value: float | Sequence[float]) -> tuple[float, ...]:
    return tuple(value) if isinstance(value, Sequence) else (value,)


def text_of(value: str | Path | None) -> str | None:
    return None if value is None else str(value)


def path_of(value: str | Path | None) -> Path | None:
    return None if value is None else Path(value)


@contextmanager
def in_python() -> Iterator[None]:
    """Errors that name options of the command name arguments instead."""
    try:
        yield
    except LiveError as error:
        error.what, error.why, error.hint = map(_renamed, (error.what, error.why, error.hint))
        raise


def _renamed(text: str) -> str:
    def argument(match: re.Match[str]) -> str:
        return _ARGUMENTS.get(match[1], match[1].replace("-", "_"))

    return _OPTION.sub(argument, text)
