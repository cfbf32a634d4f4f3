"""posemamba-live: 3D human pose, live, from a webcam or a video."""

import time

__version__ = "0.1.0"

STARTED_AT = time.monotonic()
"""When the program began, but for Python's own start."""
