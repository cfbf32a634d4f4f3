"""posemamba-live: 3D human pose, live, from a webcam or a video."""

__version__ = "0.1.0"
