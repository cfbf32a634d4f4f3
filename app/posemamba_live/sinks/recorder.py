"""The recorded video: the source with its keypoints beside the skeleton in the room."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from posemamba_live.drawing.colours import BACKGROUND, MUTED, TEXT, person_colors, to_bgr8
from posemamba_live.drawing.figure import SkeletonRenderer, ViewPoint
from posemamba_live.drawing.overlay import draw_numbers, draw_overlay
from posemamba_live.drawing.text import put_text, text_width
from posemamba_live.errors import SinkError
from posemamba_live.files import check_output, free_name, partial_path, real_path, write_file
from posemamba_live.options import UnseenName
from posemamba_live.sinks.encoder import Encoder, Piece, remux
from posemamba_live.types import Frame, Image, Pose3D

if TYPE_CHECKING:
    from posemamba_live.sources.video import Sound

SUFFIXES: Final = (".mp4",)
MIN_HEIGHT: Final = 540
MAX_HEIGHT: Final = 720
"""Pixels of the recorded video's height; small sources are enlarged for the 3D side's sake."""
_MAX_PICTURE_WIDTH: Final = 1280
_MARGIN: Final = 16
_LONGEST_FILL: Final = 5.0
"""Seconds without a frame for which the one before stays on; a longer stall is cut."""
_LONGEST_STEPS: Final = 3
"""At low rates so many frame distances are no stall."""
_DEFAULT_FPS: Final = 30.0
_GAP: Final = "   "
"""Between parts of a caption."""
_NAME: Final = "posemamba-live"
_LINES: Final = 34.0
"""Lines of text that fit below each other: legible when the video is shown 360 pixels high."""
_LONGEST_NAME: Final = 250
"""Bytes, with room for a number."""


class Recorder:
    """Writes one MP4 picture per source frame, or as many as real time needs.

    While it runs the file is called `x.partial.mp4`, and plays whatever happens: it is
    fragmented, with a keyframe at least every second. Closed, it is written anew with its index
    first and the film's sound, and gets its name.

    Args:
        path: an .mp4 file.
        fps: frames per second of the video.
        image_size: (W, H) of the source in pixels; later frames of another size are fitted.
        overwrite: replace an existing file.
        realtime: at a constant rate, for cameras, which skip frames: a frame that stays on longer
            than 1/fps is repeated, one that comes too soon is left out. Otherwise each frame
            of the source is there once, at its own time.
        view: where the 3D side is seen from.
        sound: of the film, to be kept.
        take: all poses that will come, where they are known: the view is planned for them.
        unseen: what becomes of joints that nobody has seen for a while.

    Raises:
        UsageError, SinkError: the path, as in `check_output`; no encoder.
    """

    def __init__(
        self,
        path: Path,
        *,
        fps: float,
        image_size: tuple[int, int],
        overwrite: bool = False,
        realtime: bool = False,
        view: ViewPoint | None = None,
        sound: Sound | None = None,
        take: Sequence[Pose3D] | None = None,
        unseen: UnseenName = UnseenName.FAINT,
    ) -> None:
        check_output(path, overwrite=overwrite, suffixes=SUFFIXES)
        self.path = path
        """Where the recording is, once closed; elsewhere if its name was taken meanwhile, and
        nowhere if there is no picture of it."""
        self._wanted = path
        self._overwrite = overwrite
        self.part = free_name(_unfinished(real_path(path)))
        """What it is called until it is closed."""
        self._fps = fps if math.isfinite(fps) and fps > 0.0 else _DEFAULT_FPS
        self._realtime = realtime
        self._sound = sound
        self._written = 0
        self._skipped = 0
        """Slots that were written before the piece that is being recorded."""
        self._start = 0.0
        """The source's time where that piece begins."""
        self._now = 0.0
        """The source's time of the last frame."""
        self._at = 0.0
        """Where that frame is in the recording, seconds."""
        self._pieces: list[Piece] = []
        self._last: Image | None = None
        self._composer = Composer(image_size, fps, view, take=take, unseen=unseen)
        self._encoder: Encoder | None = Encoder(
            self.part, self._composer.size, self._fps, told=path
        )
        # A live recording has a thread of its own; a film's next picture is drawn meanwhile.
        self._coder = None if realtime else ThreadPoolExecutor(1, thread_name_prefix="encode")
        self._coding: Future[None] | None = None

    def write(self, frame: Frame, poses: Sequence[Pose3D]) -> None:
        """Draw and append one frame.

        Args:
            frame: in the order of time.
            poses: everybody in it; empty where nobody was seen.

        Raises:
            SinkError: the encoder failed (a full disk, for one). `close` keeps what there is.
        """
        if self._encoder is None:
            raise ValueError("the recorder is closed")
        if self._realtime:
            self._write_slot(frame, poses)
        else:
            self._write_frame(frame, poses)

    def _write_frame(self, frame: Frame, poses: Sequence[Pose3D]) -> None:
        """Append a frame at its own time, but for gaps in which a clock has jumped."""
        if self._written:
            step = frame.timestamp - self._now
            if step > max(_LONGEST_FILL, _LONGEST_STEPS / self._fps):
                step = 1.0 / self._fps
                self._end_piece(self._now + step)
                self._start = frame.timestamp
                self._at += step
            else:
                self._at += max(step, 0.0)
        else:
            self._start = frame.timestamp
        self._now = frame.timestamp
        self._append(self._composer.compose(frame, poses), self._at)

    def _write_slot(self, frame: Frame, poses: Sequence[Pose3D]) -> None:
        """Append as many pictures as the time that has passed needs."""
        if self._last is None:
            self._start = frame.timestamp
        slot = round((frame.timestamp - self._start) * self._fps) + self._skipped
        missing = slot - self._written
        if missing < 0:
            return  # this slot of the video is taken
        if missing > max(_LONGEST_FILL * self._fps, _LONGEST_STEPS):
            self._end_piece(self._now + 1.0 / self._fps)  # a camera that was away: go on from here
            self._start, self._skipped = frame.timestamp, self._written
            missing = 0
        if self._last is not None:
            for _ in range(missing):
                self._append(self._last, self._written / self._fps)
        self._now = frame.timestamp
        self._last = self._composer.compose(frame, poses)
        self._append(self._last, self._written / self._fps)

    def _end_piece(self, end: float) -> None:
        """Remember which part of the source's time was recorded up to now."""
        last = self._pieces[-1] if self._pieces else Piece(0.0, 0.0, 0.0)
        self._pieces.append(Piece(self._start, end, last.at + last.end - last.begin))

    def close(self) -> None:
        """Complete the video and give it its name; without any picture there is no file.

        Raises:
            SinkError: it is incomplete, or has another name; in any case what was recorded is
                kept, and the message says where.
        """
        if self._encoder is None:
            return
        encoder, self._encoder = self._encoder, None
        failure: SinkError | None = None
        try:
            self._wait_for_coder()
        except SinkError as error:
            failure = error
        if self._coder is not None:
            self._coder.shutdown()
        if not self._written:
            self._leave_nothing(encoder)
            self.path = self.part
            return
        try:
            encoder.close()
        except SinkError as error:
            failure = failure or error
        self._end_piece(self._now + 1.0 / self._fps)
        note: SinkError | None = None
        try:
            self.path, note = write_file(
                self._wanted, self._finish, overwrite=self._overwrite, elsewhere=True
            )
        except _NoPicture:
            self.path = self.part
        except SinkError as error:
            self.path = self.part
            raise SinkError(
                f"cannot finish {self._wanted}",
                why=error.why,
                hint=f"what was recorded is in {self.part}, and plays",
            ) from error
        with contextlib.suppress(OSError):  # of a disk that has become read-only
            self.part.unlink(missing_ok=True)
        trouble = note or failure
        if trouble is not None:
            raise trouble

    def _finish(self, path: Path) -> None:
        """Make the ordinary file of what was recorded."""
        if not remux(self.part, path, self._fps, self._sound, self._pieces):
            raise _NoPicture

    def discard(self) -> None:
        """Close it and leave no file: what was recorded can be made again. Idempotent."""
        encoder, self._encoder = self._encoder, None
        if encoder is None:
            return
        with contextlib.suppress(SinkError):
            self._wait_for_coder()
        if self._coder is not None:
            self._coder.shutdown()
        self._leave_nothing(encoder)

    def _leave_nothing(self, encoder: Encoder) -> None:
        encoder.abort()
        with contextlib.suppress(OSError):
            self.part.unlink(missing_ok=True)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _append(self, image: Image, at: float) -> None:
        assert self._encoder is not None
        if self._coder is None:
            self._encoder.write(image, at)
        else:
            self._wait_for_coder()
            self._coding = self._coder.submit(self._encoder.write, image, at)
        self._written += 1

    def _wait_for_coder(self) -> None:
        """Until the picture before is encoded; raises what went wrong with it."""
        coding, self._coding = self._coding, None
        if coding is not None:
            coding.result()


class _NoPicture(Exception):
    """None was written whole."""


def _unfinished(path: Path) -> Path:
    """`x.partial.mp4` for `x.mp4`, or the name for unfinished files where that is too long."""
    part = path.with_name(f"{path.stem}.partial{path.suffix}")
    return part if len(os.fsencode(part.name)) < _LONGEST_NAME else partial_path(path)


class Composer:
    """Lays out one recorded picture: the source left, the room right, captions over both.

    Args:
        image_size: (W, H) of the source in pixels.
        fps: of the source, for the caption.
        view: where the room is seen from.
        take, unseen: see `Recorder`.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        fps: float,
        view: ViewPoint | None = None,
        *,
        take: Sequence[Pose3D] | None = None,
        unseen: UnseenName = UnseenName.FAINT,
    ) -> None:
        w, h = image_size
        # At least MIN_HEIGHT, at most MAX_HEIGHT, and never wider than fits beside the room.
        scale = min(MAX_HEIGHT / h, _MAX_PICTURE_WIDTH / w, max(1.0, MIN_HEIGHT / h))
        self._picture_width = _even(w * scale)
        height = _even(max(h * scale, MIN_HEIGHT))
        self.size = (self._picture_width + height, height)
        """(W, H) of the composed picture in pixels; encoders need even numbers."""
        self._fps = fps
        self._renderer = SkeletonRenderer((height, height), view, take=take, unseen=unseen)
        self._hides = unseen is UnseenName.HIDE

    def compose(self, frame: Frame, poses: Sequence[Pose3D]) -> Image:
        """One picture of `size`: (H, W, 3) BGR."""
        width, height = self.size
        out = np.empty((height, width, 3), np.uint8)
        self._draw_picture(out[:, : self._picture_width], frame, poses)
        room = self._renderer.draw(poses, frame.timestamp, out[:, self._picture_width :])
        self._caption(room, frame, poses)
        return out

    def _draw_picture(self, panel: Image, frame: Frame, poses: Sequence[Pose3D]) -> None:
        w, h = frame.size
        fits = (panel.shape[1] / w, panel.shape[0] / h)
        # Where only the rounding to even sizes differs, fill the panel and lose a line or two.
        scale = max(fits) if max(fits) < 1.01 * min(fits) else min(fits)
        size = (max(1, round(w * scale)), max(1, round(h * scale)))
        method = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_LINEAR
        fills = (size[1], size[0]) == panel.shape[:2]
        picture = panel if fills else np.empty((size[1], size[0], 3), np.uint8)
        cv2.resize(frame.image, size, dst=picture, interpolation=method)
        seen = [pose.pose2d for pose in poses]
        hidden = [pose.unseen for pose in poses] if self._hides else None
        draw_overlay(picture, seen, scale=scale, hidden=hidden)
        draw_numbers(picture, seen, scale=scale)
        if fills:
            return
        picture = picture[: panel.shape[0], : panel.shape[1]]
        if picture.shape != panel.shape:
            panel[:] = to_bgr8(BACKGROUND)
        y, x = (panel.shape[0] - picture.shape[0]) // 2, (panel.shape[1] - picture.shape[1]) // 2
        panel[y : y + picture.shape[0], x : x + picture.shape[1]] = picture

    def _caption(self, room: Image, frame: Frame, poses: Sequence[Pose3D]) -> None:
        side = room.shape[0]
        size, small = side / _LINES, 0.86 * side / _LINES
        top, bottom = _MARGIN + 0.8 * size, side - _MARGIN
        put_text(room, _NAME, (_MARGIN, top), size=size)
        self._legend(room, sorted({pose.person_id for pose in poses}), top, size)
        clock = _GAP.join(
            (f"{frame.timestamp:.2f} s", f"frame {frame.index}", f"{self._fps:.4g} fps")
        )
        if not poses:
            note, color = "nobody in view", TEXT
        elif len(poses) == 1:
            distance = float(np.linalg.norm(poses[0].root))
            filled = "filled in   " if poses[0].pose2d.predicted else ""
            note, color = f"{filled}{distance:.1f} m away   grid 1 m", MUTED
        else:
            note, color = f"{len(poses)} people   grid 1 m", MUTED
        x = float(_MARGIN)
        for part in clock.split(_GAP):  # each by itself: what does not change is kept
            put_text(room, part, (x, bottom), size=small, color=MUTED)
            x += text_width(part + _GAP, size=small)
        width = text_width(note, size=small)
        free = side - 2 * _MARGIN - text_width(clock, size=small)
        above = 0.0 if width + size < free else 1.2 * small  # on a line of its own
        put_text(room, note, (side - _MARGIN - width, bottom - above), size=small, color=color)

    @staticmethod
    def _legend(room: Image, people: Sequence[int], line: float, size: float) -> None:
        """Which colours are left and right, of as many people as there is room for."""
        x = float(room.shape[1] - _MARGIN)
        end = 2 * _MARGIN + text_width(_NAME, size=size)
        letters = {letter: text_width(letter, size=size) for letter in "LR"}
        each = sum(letters.values()) + 2.4 * size
        for person in reversed(people or [0]):
            if x - each < end:
                return
            colors = person_colors(person)
            for letter, color in (("R", colors.right), ("L", colors.left)):
                x -= letters[letter]
                put_text(room, letter, (x, line), color=color, size=size)
                x -= 0.5 * size
                at = (round(x), round(line - 0.36 * size))
                radius = max(2, round(0.25 * size))
                cv2.circle(room, at, radius, to_bgr8(color), cv2.FILLED, cv2.LINE_AA)
                x -= 0.7 * size


def _even(pixels: float) -> int:
    """The nearest even whole number, at least 2."""
    return max(2, 2 * round(pixels / 2.0))
