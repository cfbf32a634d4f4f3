"""Video encoders behind one Protocol: H.264 where it can be had, MPEG-4 otherwise.

OpenCV's own FFmpeg, as it comes from PyPI, has no H.264 encoder (4.11 on Linux opens only
`mp4v` and a VP9 that takes half a second a frame). MPEG-4 Part 2 plays in desktop players,
but not in web browsers; so an `ffmpeg` program is used where one with libx264 is installed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import subprocess
import tempfile
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Final, Protocol

import cv2

from posemamba_live.errors import SinkError
from posemamba_live.types import Image

logger = logging.getLogger(__name__)

_QUALITY: Final = ("-preset", "ultrafast", "-crf", "22", "-threads", "1")
"""3 ms of one core for 1500x540 and 3 Mbit/s. `veryfast` makes a third of that out of 8 ms,
which two cores do not have beside a detector."""
_FINISH_TIMEOUT: Final = 60.0
"""Seconds that ffmpeg may take to flush its last frames and move the index to the front."""


class Encoder(Protocol):
    """Writes pictures of one size to one file."""

    def write(self, image: Image) -> None:
        """Append one (H, W, 3) BGR picture, contiguous.

        Raises:
            SinkError: the encoder failed; `abort` is still to be called.
        """

    def close(self) -> None:
        """Complete the file.

        Raises:
            SinkError: it could not be completed; `abort` is still to be called.
        """

    def abort(self) -> None:
        """Let go of the file, whatever its state."""


def open_encoder(path: Path, size: tuple[int, int], fps: float) -> Encoder:
    """The best encoder at hand for an MP4 file.

    Args:
        path: file to write, replaced if it exists.
        size: (W, H) in pixels, both even.
        fps: frames per second.

    Raises:
        SinkError: no encoder can write there.
    """
    program = find_ffmpeg()
    if program is not None:
        return FfmpegEncoder(program, path, size, fps)
    logger.info("no ffmpeg with libx264 found: recording MPEG-4 Part 2, not H.264")
    return OpenCvEncoder(path, size, fps)


@cache
def find_ffmpeg() -> str | None:
    """Path of an `ffmpeg` program that can encode H.264, or None."""
    program = shutil.which("ffmpeg")
    if program is None:
        return None
    try:
        listing = subprocess.run(
            [program, "-hide_banner", "-encoders"],
            capture_output=True,
            text=True,
            timeout=10.0,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return program if "libx264" in listing.stdout else None


class FfmpegEncoder:
    """H.264 through an ffmpeg process that is fed raw pictures."""

    def __init__(self, program: str, path: Path, size: tuple[int, int], fps: float) -> None:
        self._path = path
        # Not a pipe: one that nobody reads could fill and block.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the process)
        w, h = size
        rate = Fraction(fps).limit_denominator(100_000)
        command = [
            program, "-y", "-hide_banner", "-loglevel", "error", "-nostdin",
            "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{w}x{h}", "-r", str(rate),
            "-i", "pipe:0",
            "-c:v", "libx264", *_QUALITY, "-pix_fmt", "yuv420p", "-movflags", "+faststart",
            "-f", "mp4", f"file:{path}",
        ]  # fmt: skip
        try:
            # Outside our process group (Windows has its own way), so that Ctrl-C does not end
            # it before the last frame.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=self._log,
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        except OSError as error:
            self._log.close()
            raise SinkError(
                f"cannot record to {path}", why=f"{program}: {error.strerror or error}"
            ) from error

    def write(self, image: Image) -> None:
        assert self._process.stdin is not None
        try:
            # Half the bytes of BGR through the pipe, and no conversion on the other side.
            self._process.stdin.write(cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420).data)
        except OSError as error:
            raise self._failure() from error

    def close(self) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
            code = self._process.wait(_FINISH_TIMEOUT)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise self._failure() from error
        if code != 0:
            raise self._failure()
        self._log.close()

    def abort(self) -> None:
        assert self._process.stdin is not None
        self._process.kill()
        with contextlib.suppress(OSError):  # what it had not read yet is of no use now
            self._process.stdin.close()
        self._process.wait()
        self._log.close()

    def _failure(self) -> SinkError:
        """What ffmpeg said last. Call before `abort`, which forgets it."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)  # it may still be writing the reason
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return SinkError(
            f"cannot record to {self._path}",
            why=f"ffmpeg: {lines[-1] if lines else 'ended early'}",
            hint="check that the disk has room",
        )


class OpenCvEncoder:
    """MPEG-4 Part 2 through OpenCV."""

    def __init__(self, path: Path, size: tuple[int, int], fps: float) -> None:
        self._path = path
        fourcc = cv2.VideoWriter.fourcc(*"mp4v")
        # An absolute path cannot be taken for one of FFmpeg's protocols ("12:30.mp4").
        self._file = os.path.abspath(path)
        self._writer = cv2.VideoWriter(self._file, cv2.CAP_ANY, fourcc, fps, size)
        if not self._writer.isOpened():
            raise SinkError(
                f"cannot record to {path}",
                why="OpenCV has no MPEG-4 encoder here, or cannot write to the folder",
                hint="install the ffmpeg program, or choose another folder",
            )

    def write(self, image: Image) -> None:
        self._writer.write(image)

    def close(self) -> None:
        self._writer.release()
        # OpenCV does not tell when the disk is full; a file without its index cannot be opened.
        written = cv2.VideoCapture(self._file)
        playable = written.isOpened()
        written.release()
        if not playable:
            raise SinkError(
                f"cannot record to {self._path}",
                why="the encoder left an incomplete file",
                hint="check that the disk has room",
            )

    def abort(self) -> None:
        self._writer.release()
