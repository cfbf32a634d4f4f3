"""A network camera on loopback: plays a clip as MJPEG over HTTP, and misbehaves on request.

For tests and benchmarks of live sources where no camera is at hand::

    with MjpegServer(clip, size=(1280, 720)) as camera:
        source = open_source(camera.url)
        camera.stall(); camera.resume(); camera.resize((640, 360)); camera.unplug()

or on its own: ``python tests/mjpeg_server.py CLIP [WIDTH HEIGHT]``.
"""

from __future__ import annotations

import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

BOUNDARY: Final = "frame"


class MjpegServer:
    """Plays a clip forwards, then backwards, without end, so that motion never jumps.

    Like a camera it has its own clock: a client gets the picture of now, whenever it comes,
    and a slow client misses pictures.

    Args:
        clip: a video that OpenCV reads.
        size: (W, H) of the pictures; the clip's own where None.
        fps: pictures a second.
        max_frames: how much of the clip to use (each picture is encoded once, in advance).
    """

    def __init__(
        self,
        clip: Path,
        size: tuple[int, int] | None = None,
        *,
        fps: float = 30.0,
        max_frames: int = 200,
        quality: int = 85,
    ) -> None:
        self.fps = fps
        self.sent = 0
        """Pictures sent so far, to all clients together."""
        self._quality = quality
        self._images = _read(clip, max_frames)
        height, width = self._images[0].shape[:2]
        self._jpegs = self._encode(size or (width, height))
        self._running = threading.Event()
        self._running.set()
        self._corrupt = 0
        self._blank: bytes | None = None
        self._epoch = 0  # raised to send every client away
        self._start = time.monotonic()
        self._port = 0
        self._server: ThreadingHTTPServer | None = None
        self.plug()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/video.mjpg"

    def __enter__(self) -> MjpegServer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.unplug()

    def plug(self) -> None:
        """Listen, on the port used before if there was one."""
        if self._server is not None:
            return
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                camera._play(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._port = self._server.server_address[1]
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()

    def unplug(self) -> None:
        """Send all clients away and stop listening: the cable is out until `plug`."""
        self.disconnect()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def disconnect(self) -> None:
        """Send all clients away; they may come back at once."""
        self._epoch += 1
        self._running.set()

    def stall(self) -> None:
        """Keep connections open and send nothing until `resume`."""
        self._running.clear()

    def resume(self) -> None:
        self._running.set()

    def resize(self, size: tuple[int, int]) -> None:
        """Send pictures of another (W, H) from now on."""
        self._jpegs = self._encode(size)
        if self._blank is not None:
            self.leave()

    def send_corrupt(self, count: int = 1) -> None:
        """Spoil the next `count` pictures in the middle of their JPEG data."""
        self._corrupt = count

    def leave(self) -> None:
        """Show a grey picture with nobody in it until `enter`."""
        image = cv2.imdecode(np.frombuffer(self._jpegs[0], np.uint8), cv2.IMREAD_COLOR)
        self._blank = cv2.imencode(".jpg", np.full_like(image, 128))[1].tobytes()

    def enter(self) -> None:
        self._blank = None

    def _encode(self, size: tuple[int, int]) -> list[bytes]:
        options = [cv2.IMWRITE_JPEG_QUALITY, self._quality]
        return [
            cv2.imencode(".jpg", cv2.resize(image, size), options)[1].tobytes()
            for image in self._images
        ]

    def _jpeg(self, number: int) -> bytes:
        jpegs = self._jpegs
        position = number % max(1, 2 * len(jpegs) - 2)
        jpeg = self._blank or jpegs[min(position, 2 * len(jpegs) - 2 - position)]
        if self._corrupt > 0:
            self._corrupt -= 1
            third = len(jpeg) // 3
            jpeg = jpeg[:third] + bytes(third) + jpeg[2 * third :]
        return jpeg

    def _play(self, handler: BaseHTTPRequestHandler) -> None:
        epoch, last = self._epoch, -1
        handler.send_response(200)
        handler.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY}")
        handler.end_headers()
        try:
            while epoch == self._epoch:
                number = int((time.monotonic() - self._start) * self.fps)
                if number == last:
                    next_at = self._start + (number + 1) / self.fps
                    time.sleep(max(0.0, next_at - time.monotonic()))
                    continue
                self._running.wait()
                last, jpeg = number, self._jpeg(number)
                handler.wfile.write(
                    b"--%s\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n"
                    % (BOUNDARY.encode(), len(jpeg), jpeg)
                )
                self.sent += 1
        except OSError:
            pass  # the client has gone
        handler.close_connection = True


def _read(clip: Path, max_frames: int) -> list[Image]:
    capture = cv2.VideoCapture(str(clip))
    images: list[Image] = []
    while len(images) < max_frames:
        ok, image = capture.read()
        if not ok:
            break
        images.append(np.asarray(image, np.uint8))
    capture.release()
    if not images:
        raise ValueError(f"no pictures in {clip}")
    return images


if __name__ == "__main__":
    wanted = (int(sys.argv[2]), int(sys.argv[3])) if len(sys.argv) > 3 else None
    with MjpegServer(Path(sys.argv[1]), wanted) as server:
        print(server.url, flush=True)
        threading.Event().wait()
