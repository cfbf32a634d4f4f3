"""posemamba-doctor: what it finds here, and what it says where something is broken."""

from __future__ import annotations

import json
import re
import time
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from posemamba_live import doctor
from posemamba_live.detectors.bundle import CACHE_VARIABLE
from posemamba_live.doctor import Verdict, app, examine
from posemamba_live.errors import DetectorError
from posemamba_live.sources import camera as cameras

CLIP = Path(__file__).resolve().parent.parent / "demo_videos" / "walk_turn.mp4"


def test_all_is_well_here(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    result = CliRunner().invoke(app, ["--json", str(report)])
    assert result.exit_code == 0, result.output
    findings = {f["name"]: f for f in json.loads(report.read_text())["findings"]}
    assert list(findings) == [
        "packages", "opencv", "lifter", "detector", "gpu", "window", "camera", "recording", "cache",
    ]  # fmt: skip
    for name in ("packages", "lifter", "detector"):
        assert findings[name]["verdict"] == "ok", findings[name]
    assert metadata.version("torch") in findings["packages"]["text"]
    assert "window-m7" in findings["lifter"]["text"]
    assert "blazepose on ONNX Runtime" in findings["detector"]["text"]
    assert "ExecutionProvider" in findings["detector"]["text"]
    assert all(finding["text"] in result.output for finding in findings.values())


def test_a_library_of_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    true = metadata.version
    monkeypatch.setattr(
        doctor.metadata, "version", lambda name: "9.0.1" if name == "numpy" else true(name)
    )
    finding = doctor.check_packages()
    assert finding.verdict is Verdict.FAILED
    assert re.search(r"numpy 9\.0\.1 is not <\d,>=1\.26", finding.text)
    assert "torch" not in finding.text


def test_a_check_that_breaks_is_a_finding() -> None:
    def broken() -> doctor.Finding:
        raise RuntimeError("no such symbol\nand more")

    def unusable() -> doctor.Finding:
        raise DetectorError("MediaPipe cannot load", why="the file is cut", hint="install again")

    lifter, detector = examine("lifter", broken), examine("detector", unusable)
    assert lifter.verdict is detector.verdict is Verdict.FAILED
    assert (lifter.name, lifter.text) == ("lifter", "RuntimeError: no such symbol")
    assert (detector.name, detector.hint) == ("detector", "install again")
    assert detector.text == "MediaPipe cannot load: the file is cut"


def test_no_display_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("posemamba_live.viewer.display.display_available", lambda: False)
    finding = doctor.check_window()
    assert finding.verdict is Verdict.NOTE
    assert "--headless" in finding.hint


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("raise OSError('libGL.so.1: cannot open shared object file')", "libGL.so.1"),
        ("import os; os.abort()", "ended with code"),
        ("import time; time.sleep(60)", "hangs"),
    ],
)
def test_a_window_that_does_not_open(
    program: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("posemamba_live.viewer.display.display_available", lambda: True)
    monkeypatch.setattr(doctor, "_OPEN_WINDOW", program)
    monkeypatch.setattr(doctor, "_WINDOW_TIMEOUT_S", 5.0)
    finding = doctor.check_window()
    assert finding.verdict is Verdict.FAILED
    assert said in finding.text
    assert "apt install" in finding.hint


def test_a_camera_that_is_not_there_fails_the_visit() -> None:
    result = CliRunner().invoke(app, ["--camera", "77"])
    assert result.exit_code == 1
    assert "Cannot open camera 77" in result.output
    assert "not working: camera" in result.output
    assert "cache" in result.output


def test_a_camera_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cameras, "_BACKENDS", {})  # OpenCV then takes a file for a device
    finding = doctor.check_camera(str(CLIP))
    assert finding.verdict is Verdict.OK
    assert "640x360" in finding.text


class _SlowCamera:
    """Gives 60 pictures a second of what it is told to, and promises more."""

    def __init__(self, level: int, promised: float) -> None:
        self._level, self._promised = level, promised

    def isOpened(self) -> bool:
        return True

    def set(self, prop: int, value: float) -> bool:
        return True

    def get(self, prop: int) -> float:
        return self._promised

    def grab(self) -> bool:
        time.sleep(1 / 60)
        return True

    def retrieve(self) -> tuple[bool, np.ndarray]:
        return True, np.full((48, 64, 3), self._level, np.uint8)

    def release(self) -> None:
        pass


@pytest.mark.parametrize(
    ("level", "promised", "said", "hint"),
    [
        (10, 40.0, "dark (10 of 255)", "cover"),
        (50, 240.0, "promises 240", "expose longer"),
        (150, 240.0, "promises 240", "another port"),
    ],
)
def test_a_camera_that_could_do_better(
    level: int, promised: float, said: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = _SlowCamera(level, promised)
    monkeypatch.setattr(cameras.cv2, "VideoCapture", lambda *args: camera)
    finding = doctor._try_camera(0, seconds=0.5)
    assert finding.verdict is Verdict.NOTE
    assert said in finding.text
    assert hint in finding.hint


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("posemamba_live.sinks.encoder.best_codec", lambda: "mpeg4")
    assert "av" in doctor.check_recording().hint
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file" / "cache"))
    finding = doctor.check_cache()
    assert finding.verdict is Verdict.NOTE
    assert CACHE_VARIABLE in finding.hint
