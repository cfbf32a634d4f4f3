"""What is pressed: keys and mouse of the window, translated into what they ask for."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, Protocol

from posemamba_live.viewer.keys import KEY_BINDINGS, Action

_CLICK_PIXELS: Final = 4.0
"""Movement of the mouse up to which a press and release is a click and not a drag."""
_GLFW_PRESS: Final = 1
_GLFW_RELEASE: Final = 0
_GLFW_MODIFIERS: Final = 0x2 | 0x4 | 0x8
"""Control, Alt, Super: a letter with one of these is not ours. Shift is harmless."""
_GLFW_KEYS: Final = range(32, 349)
"""Every key code of GLFW 3. All are taken, since several of Open3D's own write files."""
_GLFW_LEFT, _GLFW_RIGHT, _GLFW_MIDDLE = 0, 1, 2


class Answering(Protocol):
    """Who does what keys and mouse ask for. Distances are pixels of the window."""

    def act(self, action: Action) -> None: ...
    def click(self, point: tuple[float, float]) -> None: ...
    def orbit(self, dx: float, dy: float) -> None: ...
    def pan(self, dx: float, dy: float) -> None: ...
    def zoom(self, steps: float) -> None: ...


class Input:
    """Listens to a window of Open3D for as long as there is one.

    Args:
        window: Open3D's.
        target: is told; its methods are called while the window polls its events.
    """

    def __init__(self, window: Any, target: Answering) -> None:
        self._target = target
        self._drag: int | None = None
        self._cursor = (0.0, 0.0)
        self._pressed_at: tuple[float, float] | None = None
        actions = {code: binding.action for binding in KEY_BINDINGS for code in binding.codes}
        for code in _GLFW_KEYS:
            window.register_key_action_callback(code, self._key_callback(actions.get(code)))
        window.register_mouse_button_callback(self._on_button)
        window.register_mouse_move_callback(self._on_move)
        window.register_mouse_scroll_callback(self._on_scroll)

    def _key_callback(self, action: Action | None) -> Callable[[Any, int, int], bool]:
        def on_key(_window: Any, event: int, modifiers: int) -> bool:
            if action is not None and event == _GLFW_PRESS and not modifiers & _GLFW_MODIFIERS:
                self._target.act(action)
            return False

        return on_key

    def _on_button(self, _window: Any, button: int, event: int, modifiers: int) -> bool:
        if button == _GLFW_LEFT and event != _GLFW_RELEASE:
            self._pressed_at = self._cursor
        elif button == _GLFW_LEFT and self._pressed_at is not None:
            if math.dist(self._pressed_at, self._cursor) <= _CLICK_PIXELS:
                self._target.click(self._cursor)
            self._pressed_at = None
        if event == _GLFW_RELEASE:
            self._drag = None
        elif button == _GLFW_LEFT and modifiers & _GLFW_MODIFIERS:
            self._drag = _GLFW_RIGHT
        else:
            self._drag = button
        return False

    def _on_move(self, _window: Any, x: float, y: float) -> bool:
        dx, dy = x - self._cursor[0], y - self._cursor[1]
        self._cursor = (x, y)
        if self._drag == _GLFW_LEFT:
            self._target.orbit(dx, dy)
        elif self._drag in (_GLFW_RIGHT, _GLFW_MIDDLE):
            self._target.pan(dx, dy)
        return False

    def _on_scroll(self, _window: Any, _x: float, y: float) -> bool:
        self._target.zoom(y)
        return False
