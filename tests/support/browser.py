"""A headless Chromium, driven through its DevTools protocol (needs the `chromium` program).

with Browser() as browser:
    browser.open("http://localhost:8765")
    browser.wait_for("document.title !== ''")
    png = browser.screenshot()
"""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from websockets.sync.client import connect

PROGRAMS: Final = ("chromium", "chromium-browser", "google-chrome")
_START_S: Final = 60.0


def find_browser() -> str | None:
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


class Browser:
    """One tab. Everything that the page writes to the console is in `console`."""

    def __init__(self, size: tuple[int, int] = (1280, 720), scale: float = 1.0) -> None:
        program = find_browser()
        if program is None:
            raise RuntimeError("there is no Chromium here")
        self.console: list[str] = []
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._stack = ExitStack()
        self._ids = itertools.count(1)
        self._process = subprocess.Popen(
            [
                program, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                "--no-first-run", "--disable-dev-shm-usage", f"--force-device-scale-factor={scale}",
                "--remote-debugging-port=0", f"--window-size={size[0]},{size[1]}",
                f"--user-data-dir={self._folder.name}", "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            address = self._tab_address()
            self._tab = self._stack.enter_context(connect(address, max_size=None, compression=None))
            for domain in ("Page", "Runtime"):
                self.call(f"{domain}.enable")
            self.call(
                "Emulation.setDeviceMetricsOverride",
                width=size[0], height=size[1], deviceScaleFactor=scale, mobile=False,
            )  # fmt: skip
        except BaseException:
            self._end()
            raise

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *exc: object) -> None:
        self._end()

    def _end(self) -> None:
        self._stack.close()
        self._process.terminate()
        self._process.wait(20.0)
        self._folder.cleanup()

    def _tab_address(self) -> str:
        """Chromium writes its port into a file as soon as it listens."""
        file, deadline = Path(self._folder.name) / "DevToolsActivePort", time.monotonic() + _START_S
        while time.monotonic() < deadline:
            if file.exists() and (lines := file.read_text().split()):
                url = f"http://127.0.0.1:{lines[0]}/json/list"
                with urllib.request.urlopen(url, timeout=10.0) as reply:
                    tabs = [tab for tab in json.load(reply) if tab["type"] == "page"]
                if tabs:
                    return str(tabs[0]["webSocketDebuggerUrl"])
            time.sleep(0.05)
        raise RuntimeError("Chromium does not start")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol; returns its result."""
        number = next(self._ids)
        self._tab.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._tab.recv(timeout=_START_S))
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']['message']}")
                return dict(message["result"])
            if message.get("method") == "Runtime.consoleAPICalled":
                self.console.append(json.dumps(message["params"]["args"]))
            if message.get("method") == "Runtime.exceptionThrown":
                self.console.append(json.dumps(message["params"]["exceptionDetails"]))

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def value(self, expression: str) -> Any:
        """What a JavaScript expression (or promise) comes to, as JSON."""
        result = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait_for(self, expression: str, seconds: float = 30.0) -> Any:
        """Ask again until the expression is true; returns its value."""
        deadline = time.monotonic() + seconds
        while not (value := self.value(expression)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{expression} stays {value!r}; console: {self.console}")
            time.sleep(0.05)
        return value

    def screenshot(self) -> bytes:
        """What the tab shows, as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
