"""Published models on their way here, from a server on this machine."""

from __future__ import annotations

import hashlib
import http.server
import io
import os
import re
import threading
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from posemamba_live.detectors import DetectorSettings, create_detector, weights
from posemamba_live.detectors.bundle import CACHE_VARIABLE
from posemamba_live.detectors.weights import PRESETS, Published, fetch
from posemamba_live.errors import DetectorError

MODEL = b"onnx " * 5000


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


GOOD = zipped(**{"20230831/pose/end2end.onnx": MODEL, "20230831/pose/deploy.json": b"{}"})


class Publisher:
    """A web server of a few files that counts what is asked of it."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        publisher = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                publisher.asked.append(self.path)
                content = publisher.files.get(self.path)
                if self.path.startswith("/moved"):
                    self.send_response(302)
                    self.send_header("Location", publisher.url("/model.zip"))
                    self.end_headers()
                elif content is None:
                    self.send_error(404)
                else:
                    self.send_response(200)
                    length = len(content) + (1000 if self.path.startswith("/cut") else 0)
                    self.send_header("Content-Length", str(length))
                    self.end_headers()
                    self.wfile.write(content)

            def log_message(self, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}{path}"


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    made = Publisher()
    made.files["/model.zip"] = GOOD
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache" / "models"


def published(publisher: Publisher, path: str = "/model.zip", **changes: object) -> Published:
    said = {"sha256": hashlib.sha256(MODEL).hexdigest(), "size": len(MODEL), **changes}
    return Published("some_yolox", publisher.url(path), **said)


def plain(url: str):
    """What opens URLs in these tests: no HTTPS on the loopback."""
    return urllib.request.urlopen(url, timeout=5)


def refused(model: Published, open_url=plain) -> str:
    with pytest.raises(DetectorError) as caught:
        fetch(model, open_url)
    assert model.url in caught.value.hint  # how to get it by hand
    assert str(model.path) in caught.value.hint
    return str(caught.value)


def test_a_model_is_fetched_once_checked_and_kept(publisher, cache, capsys):
    path = fetch(published(publisher), plain)
    assert path == cache / "some_yolox.onnx"
    assert path.read_bytes() == MODEL
    assert "fetching some_yolox" in capsys.readouterr().err
    assert fetch(published(publisher), plain) == path
    assert publisher.asked == ["/model.zip"]
    assert [file.name for file in cache.iterdir()] == ["some_yolox.onnx"]
    assert capsys.readouterr().err == ""


def test_a_damaged_file_in_the_cache_is_fetched_again(publisher, cache, capsys):
    path = fetch(published(publisher), plain)
    path.write_bytes(MODEL[:-1] + b"!")
    assert fetch(published(publisher), plain).read_bytes() == MODEL
    assert "is damaged" in capsys.readouterr().err
    assert len(publisher.asked) == 2


@pytest.mark.parametrize(
    ("archive", "cause"),
    [
        (zipped(**{"end2end.onnx": b"other" + MODEL[5:]}), "its SHA-256 is"),
        (zipped(**{"end2end.onnx": MODEL + b"1"}), f"more than {len(MODEL)} bytes"),
        (zipped(**{"end2end.onnx": bytes(50_000_000)}), f"more than {len(MODEL)} bytes"),
        (zipped(**{"a.onnx": MODEL, "b.onnx": MODEL}), "2 .onnx files"),
        (zipped(**{"readme.txt": MODEL}), "0 .onnx files"),
        (b"<html>gone</html>", "not a zip archive"),
        (GOOD[: len(GOOD) // 2], "not a zip archive"),
        (b"", "not a zip archive"),
        (GOOD.replace(MODEL[:1], b"\0"), ""),
    ],
    ids=["exchanged", "longer", "bomb", "two", "none", "html", "half", "empty", "mangled"],
)
def test_what_is_not_the_model_is_refused_and_leaves_nothing(publisher, cache, archive, cause):
    publisher.files["/model.zip"] = archive
    message = refused(published(publisher))
    assert "is not the model it should be" in message
    assert cause in message
    assert list(cache.iterdir()) == []


def test_an_endless_answer_is_cut_off(publisher, cache):
    publisher.files["/model.zip"] = bytes(weights._ARCHIVE_SLACK + len(MODEL) + 10)
    assert "more than" in refused(published(publisher))
    assert list(cache.iterdir()) == []


def test_paths_in_the_archive_lead_nowhere(publisher, cache, tmp_path):
    publisher.files["/model.zip"] = zipped(**{"../../../evil.onnx": MODEL, "/etc/evil": b"x"})
    assert fetch(published(publisher), plain) == cache / "some_yolox.onnx"
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["some_yolox.onnx"]


def test_failures_of_the_network_say_what_and_how_to_go_on(publisher, cache):
    assert "404" in refused(published(publisher, "/gone.zip"))
    publisher.files["/cut.zip"] = GOOD[:-40]  # the connection ends early
    assert "not a zip archive" in refused(published(publisher, "/cut.zip"))
    url = publisher.url("/model.zip")
    publisher.server.shutdown()
    publisher.server.server_close()
    message = refused(Published("some_yolox", url, "0" * 64, 10))
    assert "refused" in message.lower()
    assert list(cache.iterdir()) == []


def test_nothing_but_https_is_opened(publisher):
    message = refused(published(publisher), None)
    assert "is not HTTPS" in message
    assert publisher.asked == []
    moved = urllib.request.Request("https://example.org/model.zip")
    with pytest.raises(urllib.error.URLError, match="not HTTPS"):
        weights._HttpsOnly().redirect_request(
            moved, None, 302, "Found", {}, "http://example.org/model.zip"
        )
    kept = weights._HttpsOnly().redirect_request(
        moved, None, 302, "Found", {}, "https://mirror.example.org/model.zip"
    )
    assert kept.full_url == "https://mirror.example.org/model.zip"


def test_a_cache_that_cannot_be_written_is_told(publisher, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file"))
    assert "Cannot fetch some_yolox" in refused(published(publisher))
    assert publisher.asked == []


def test_what_killed_runs_left_is_removed_and_what_others_fetch_is_not(publisher, cache):
    for name, age in (("part-old", 7200.0), ("part-new", 10.0)):
        (cache / name).mkdir(parents=True)
        (cache / name / "archive.zip").write_bytes(b"half")
        os.utime(cache / name, (time.time() - age,) * 2)
    fetch(published(publisher), plain)
    assert sorted(p.name for p in cache.iterdir()) == ["part-new", "some_yolox.onnx"]


def test_presets_are_whole():
    models = {m for preset in PRESETS.values() for m in (preset.pose, preset.person) if m}
    assert len({model.name for model in models}) == len(models) == 6
    for model in models:
        assert model.url.startswith("https://download.openmmlab.com/")
        assert model.url.endswith(f"/onnx_sdk/{model.name}.zip")
        assert re.fullmatch(r"[0-9a-f]{64}", model.sha256)
        assert 1e6 < model.size < 1e9
    assert len({model.sha256 for model in models}) == 6


def test_without_a_network_it_is_said_where_to_put_the_file(monkeypatch):
    def offline(url: str):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(weights, "_open_https", offline)
    with pytest.raises(DetectorError) as caught:
        create_detector("rtmo")
    assert caught.value.why == "Name or service not known"
    assert PRESETS["rtmo"].pose.url in caught.value.hint
    assert str(PRESETS["rtmo"].pose.path) in caught.value.hint


def test_a_named_detector_uses_what_lies_in_the_cache(cache, monkeypatch):
    """From the name to detections, with small models in place of the published ones."""
    import numpy as np

    from tests.support import onnx_models

    cache.mkdir(parents=True)
    preset = {}
    for role, make in (("pose", onnx_models.pose_model), ("person", onnx_models.person_model)):
        path = make(cache / f"{role}.onnx")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        preset[role] = Published(role, "https://example.org/none.zip", digest, 1)
    monkeypatch.setitem(PRESETS, "rtmpose", weights.Preset(**preset))
    detector = create_detector("rtmpose", DetectorSettings(people=2))
    image = np.zeros((360, 640, 3), np.uint8)
    box = (200, 40, 400, 330)
    points = np.array([(230 + 35 * (i % 5), 70 + 60 * (i // 5)) for i in range(17)])
    onnx_models.draw_person(image, box, points)
    found = detector.keypoints.locate(image, detector.person.find(image))
    assert len(found) == 1
    assert detector.describe()["person_model"] == "person.onnx"
