"""The window's keys as data: the window obeys this table, `--help` and the H list print it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final


class Action(Enum):
    """What a key asks for."""

    PAUSE = auto()
    BACK = auto()
    ONWARD = auto()
    AGAIN = auto()
    RECORD = auto()
    EXPORT = auto()
    SCREENSHOT = auto()
    NEXT = auto()
    VIEW = auto()
    FOLLOW = auto()
    TRAIL = auto()
    GRID = auto()
    MIRROR = auto()
    HELP = auto()
    QUIT = auto()


@dataclass(frozen=True, slots=True)
class KeyBinding:
    """One line of the key list."""

    keys: str
    """As written on the keyboard."""
    text: str
    """What it does."""
    codes: tuple[int, ...]
    """GLFW key codes: printable keys are their upper-case ASCII code, Escape is 256, arrows 262
    and 263, Home 268."""
    action: Action


KEY_BINDINGS: Final = (
    KeyBinding("Space", "pause", (32,), Action.PAUSE),
    KeyBinding("Left", "a picture back (films)", (263,), Action.BACK),
    KeyBinding("Right", "a picture on (films)", (262,), Action.ONWARD),
    KeyBinding("Home", "play the film again", (268,), Action.AGAIN),
    KeyBinding("R", "record on/off", (ord("R"),), Action.RECORD),
    KeyBinding("X", "export now", (ord("X"),), Action.EXPORT),
    KeyBinding("S", "screenshot", (ord("S"),), Action.SCREENSHOT),
    KeyBinding("N", "next person", (ord("N"),), Action.NEXT),
    KeyBinding("V", "front, side, top, camera", (ord("V"),), Action.VIEW),
    KeyBinding("F", "follow, pin, free", (ord("F"),), Action.FOLLOW),
    KeyBinding("T", "trail", (ord("T"),), Action.TRAIL),
    KeyBinding("G", "grid", (ord("G"),), Action.GRID),
    KeyBinding("M", "mirror", (ord("M"),), Action.MIRROR),
    KeyBinding("H", "this list", (ord("H"),), Action.HELP),
    KeyBinding("Q, Esc", "quit", (ord("Q"), 256), Action.QUIT),
)

MOUSE: Final = (
    ("Drag", "orbit"),
    ("Right drag", "move"),
    ("Wheel", "zoom"),
    ("Click", "choose a person in the picture"),
)

PIPELINE_ACTIONS: Final = frozenset(
    {
        Action.PAUSE,
        Action.BACK,
        Action.ONWARD,
        Action.AGAIN,
        Action.RECORD,
        Action.EXPORT,
        Action.SCREENSHOT,
        Action.NEXT,
    }
)
"""What the window can't do by itself and hands on through `Viewer.take_actions`."""
