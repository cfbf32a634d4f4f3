"""Is there a screen to open a window on? Answered without importing a graphics library."""

from __future__ import annotations

import os
import sys


def display_available() -> bool:
    """Whether a window could be opened, as far as the environment tells.

    On Linux a window needs an X11 or Wayland server; other systems always have one.
    """
    if not sys.platform.startswith("linux"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
