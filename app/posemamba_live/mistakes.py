"""Command lines that cannot be understood, told in sentences that name what was meant.

Typer's own words say what its parser wanted; these say what a person can do about it.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

from posemamba_live.errors import UsageError
from posemamba_live.nearest import did_you_mean, nearest
from posemamba_live.options import DECLARED, Declared, Options
from posemamba_live.shown import public
from posemamba_live.sinks import FORMATS

_HELP: Final = "posemamba-live --help lists the options"
_ALIASES: Final = {
    "--output": "--export poses.npz for poses, or --record video.mp4 for a video",
    "--out": "--export poses.npz for poses, or --record video.mp4 for a video",
    "-o": "--export poses.npz for poses, or --record video.mp4 for a video",
    "--save": "--export poses.npz for poses, or --record video.mp4 for a video",
    "--input": "the film without an option before it: posemamba-live VIDEO",
    "-i": "the film without an option before it: posemamba-live VIDEO",
    "--video": "the film without an option before it: posemamba-live VIDEO",
    "--source": "the film without an option before it: posemamba-live VIDEO",
    "--file": "the film without an option before it: posemamba-live VIDEO",
    "--model": "--weights for the lifter, or --detector for what finds the keypoints",
    "--checkpoint": "--weights",
    "--gpu": "--device cuda",
    "--cuda": "--device cuda",
    "--cpu": "--device cpu",
    "--webcam": "--camera 0",
    "--cam": "--camera 0",
    "--list-cameras": "--camera list",
    "--no-window": "--headless",
    "--no-gui": "--headless",
    "--force": "--overwrite",
    "-y": "--overwrite",
    "--num-people": "--people",
    "--frames": "--max-frames",
}
"""Names that other programs have for what is called otherwise here."""
_DASHES: Final = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"
"""What word processors and web pages make of hyphens."""
_COMMA: Final = re.compile(r"-?\d+,\d+")
_WITH_UNIT: Final = re.compile(r"(-?\d+(?:[.,]\d+)?)\s*([A-Za-zäöüÄÖÜ°\"'%]+)")
_CLOCK: Final = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{1,2}(?:\.\d+)?)")
_WORDS: Final = {word: n for n, word in enumerate(("zero", "one", "two", "three", "four"))}


@dataclass(frozen=True, slots=True)
class _Known:
    """One option of the command."""

    name: str
    """As it is called in messages: its longest flag."""
    field: str
    type_: Any
    metavar: str
    takes_value: bool


def _known() -> Mapping[str, _Known]:
    """Options by their flags."""
    types, found = get_type_hints(Options), {}
    for field in fields(Options):
        declared: Declared | None = field.metadata.get(DECLARED)
        if declared is None or declared.panel is None:
            continue
        flags = declared.flags or (f"--{field.name.replace('_', '-')}",)
        plain = _plain(types[field.name])
        takes = plain is not bool and not declared.counted
        name = max(flags, key=len)
        option = _Known(name, field.name, plain, declared.metavar or "", takes)
        found.update(dict.fromkeys(flags, option))
    return found


def _plain(type_: Any) -> Any:
    """What one value of an option is: without None, and without the sequence."""
    if get_origin(type_) in (Union, UnionType):
        type_ = next(part for part in get_args(type_) if part is not type(None))
    return get_args(type_)[0] if get_origin(type_) is not None else type_


_OPTIONS: Final = _known()
_FLAGS: Final = (*_OPTIONS, "--version", "-h", "--help")


def check_words(words: Sequence[str]) -> None:
    """Refuse command lines that the parser would take for something else.

    Raises:
        UsageError: naming the word.
    """
    for word, value in _read(words):
        option = _OPTIONS.get(word)
        if option is None and word[:1] in _DASHES and word[:1]:
            meant = "--" + word.lstrip(_DASHES + "-")
            raise UsageError(
                f"{word} is no option",
                why="its dash is a long one, as word processors make it",
                hint=f"did you mean {nearest(meant, _FLAGS) or meant}?",
            )
        if option is not None and option.takes_value and value is not None and value in _FLAGS:
            raise UsageError(
                f"{word} lacks its value",
                why=f"the option {value} follows it",
                hint=_example(option),
            )
        if option is None and len(word) > 2 and word[0] == "-" != word[1]:
            # One dash before a whole word: the parser would take it for single letters.
            meant = f"-{word.split('=')[0]}"
            if meant in _FLAGS:
                raise UsageError(
                    f"{word} is no option",
                    why="a whole word has two dashes before it",
                    hint=f"did you mean {meant}?",
                )


def explain(error: Exception, words: Sequence[str]) -> UsageError:
    """The sentences for an error of Typer's parser.

    Args:
        error: with Typer's (or Click's) `format_message`.
        words: of the command line.
    """
    kind = type(error).__name__
    option = _OPTIONS.get(str(getattr(error, "option_name", "")))
    if kind == "NoSuchOption":
        return _no_such_option(str(getattr(error, "option_name", "")))
    if kind == "BadOptionUsage" and option is not None and not option.takes_value:
        return UsageError(
            f"{option.name} takes no value", why="it is on or off", hint=f"{option.name} alone"
        )
    if kind == "BadOptionUsage" and option is not None:
        return UsageError(
            f"{option.name} lacks its value", why="nothing follows it", hint=_example(option)
        )
    parameter = getattr(getattr(error, "param", None), "name", None)
    for known in _OPTIONS.values():
        if known.field == parameter:
            return _bad_value(known, words)
    places = [word for word, value in _read(words) if value is None and not _is_flag(word)]
    if len(places) > 1:
        return _too_many(places)
    message = getattr(error, "format_message", lambda: str(error))()
    return UsageError(str(message).rstrip("."), hint=_HELP)


def _is_flag(word: str) -> bool:
    return len(word) > 1 and word.startswith("-")


def _read(words: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Words with the values that follow them: options have one, all others none."""
    rest = iter(words)
    for word in rest:
        if word == "--":
            yield from ((name, None) for name in rest)
            return
        flag, equals, value = word.partition("=")
        option = _OPTIONS.get(flag)
        if option is None or not _is_flag(word):
            yield word, None
        elif equals:
            yield flag, value
        else:
            yield flag, next(rest, None) if option.takes_value else None


def _example(option: _Known) -> str:
    if isinstance(option.type_, type) and issubclass(option.type_, Enum):
        return f"{option.name} with one of: {', '.join(_choices(option))}"
    examples = {
        "camera": "0", "exports": "poses.npz", "record": "video.mp4", "stats": "stats.json",
        "streams": "ws://localhost:8765", "weights": "window-m7", "detector": "blazepose",
        "heights": "1.80", "fov": "60", "smooth": "1", "people": "2", "rotate": "90",
        "camera_size": "1280x720@30", "start": "10", "end": "20", "duration": "10",
    }  # fmt: skip
    example = examples.get(option.field)
    return f"{option.name} {example}" if example else f"{option.name} {option.metavar or 'VALUE'}"


def _choices(option: _Known) -> list[str]:
    return [str(member.value) for member in option.type_]


def _no_such_option(name: str) -> UsageError:
    what = f"There is no option {public(name)}"
    if name in _ALIASES:
        return UsageError(what, why="it has another name here", hint=_ALIASES[name])
    meant = nearest(name, (*_FLAGS, *_ALIASES))
    if meant in _ALIASES:
        return UsageError(what, why=f"not even {meant} is one", hint=_ALIASES[meant])
    why = "the name is misspelt" if meant else "nothing has a name like it"
    return UsageError(what, why=why, hint=f"did you mean {meant}?" if meant else _HELP)


def _bad_value(option: _Known, words: Sequence[str]) -> UsageError:
    values = [v for word, v in _read(words) if v is not None and _OPTIONS[word] is option]
    bad = next((value for value in values if not _fits(option.type_, value)), "")
    what = f"{option.name} {public(bad)} cannot be understood"
    if isinstance(option.type_, type) and issubclass(option.type_, Enum):
        if option.field == "device" and bad.lower() in ("gpu", "nvidia"):
            return UsageError(
                what, why="there is more than one kind", hint="did you mean --device cuda?"
            )
        hint = did_you_mean(bad, _choices(option), before=f"{option.name} ")
        return UsageError(what, why="it is none of the words that it takes", hint=hint)
    whole = option.type_ is int
    kind = "a whole number" if whole else "a number"
    meant, why = _number(bad, whole=whole)
    return UsageError(
        what,
        why=why or f"it takes {kind}",
        hint=f"did you mean {option.name} {meant}?" if meant else _example(option),
    )


def _fits(type_: Any, value: str) -> bool:
    if isinstance(type_, type) and issubclass(type_, Enum):
        return value in [member.value for member in type_]
    try:
        type_(value)
    except (TypeError, ValueError):
        return False
    return True


def _number(text: str, *, whole: bool) -> tuple[str, str]:
    """What number was meant, and what is wrong with how it is written."""
    if text.lower() in _WORDS:
        return str(_WORDS[text.lower()]), "it takes a number in digits"
    if _COMMA.fullmatch(text) and not whole:
        return text.replace(",", "."), "a number has a point, no comma"
    if clock := _CLOCK.fullmatch(text):
        hours, minutes, seconds = (float(part or 0) for part in clock.groups())
        return f"{3600 * hours + 60 * minutes + seconds:g}", "it takes seconds"
    if found := _WITH_UNIT.fullmatch(text):
        number, unit = found[1].replace(",", "."), found[2]
        if unit == "cm":
            return f"{float(number) / 100:.2f}", "it takes metres, without a unit"
        if unit not in ("ft", "in", "'", '"') and not (whole and "." in number):
            return number, "it takes a number without a unit"
    if whole and re.fullmatch(r"-?\d+[.,]\d+", text):
        return "", "it takes a whole number"
    return "", ""


def _too_many(places: Sequence[str]) -> UsageError:
    """Several words where one source is taken."""
    joined = " ".join(places)
    if os.path.exists(joined):
        return UsageError(
            f"Cannot tell what to open: {joined}",
            why="a name with spaces needs quotes",
            hint=f"posemamba-live {shlex.quote(joined)}",
        )
    extra = next((word for word in places[1:] if _suffix(word) in FORMATS), None)
    if extra is not None:
        return UsageError(
            f"{extra} is there without an option",
            why="only one source can be given",
            hint=f"--export {shlex.quote(extra)} writes the poses there",
        )
    if not os.path.exists(places[0]) and any(os.path.exists(word) for word in places[1:]):
        return UsageError(
            f"Cannot tell what {public(places[0])} is",
            why="the program has one command only, which needs no name",
            hint=f"posemamba-live {shlex.join(map(public, places[1:]))}",
        )
    named = " and ".join(public(word) for word in places)
    return UsageError(
        f"Two sources at once: {named}"
        if len(places) == 2
        else f"Several sources at once: {named}",
        why="only one source can be given",
        hint="one film a run, and quotes around a name with spaces",
    )


def _suffix(word: str) -> str:
    return Path(word).suffix.lower()
