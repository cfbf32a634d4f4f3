"""An HTTP server on loopback that serves one video as servers do, well or badly."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FilmServer:
    """Serves files by their paths.

    Args:
        files: content of each path ("/film": ...).
        length: tell how long they are; otherwise the end of the connection ends them.
        cut: close the connection after so many bytes, whatever was promised.
        hang: send so many bytes, then nothing, and stay connected.
    """

    def __init__(
        self,
        files: Mapping[str, bytes],
        *,
        length: bool = True,
        cut: int | None = None,
        hang: int | None = None,
    ) -> None:
        self.requests = 0
        self._over = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests += 1
                content = files.get(self.path)
                if content is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Type", "application/octet-stream")
                if length:
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                try:
                    self.wfile.write(content[: min(cut or len(content), hang or len(content))])
                except OSError:
                    return  # the client has gone
                if hang is not None:
                    server._over.wait()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def url(self, path: str) -> str:
        """Address of one of the files."""
        return f"http://127.0.0.1:{self._server.server_address[1]}{path}"

    def __enter__(self) -> FilmServer:
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
