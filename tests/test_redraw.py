"""What a film's recording shows is what its export holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from posemamba_live import cli
from posemamba_live.sinks.recorder import Composer, Recorder
from posemamba_live.sources import VideoFile
from posemamba_live.takes.take import read_take
from posemamba_live.types import Frame, Ground, Image, Pose3D

CENTIMETRE = 0.01


def film_of(path: Path) -> list[Image]:
    capture, frames = cv2.VideoCapture(str(path)), []
    while True:
        ok, image = capture.read()
        if not ok:
            return frames
        frames.append(np.asarray(image, np.uint8))


def test_recording_and_export_agree(
    walk_clip: Path, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: dict[tuple[int, int], Pose3D] = {}
    write = Recorder.write

    def watched(self: Recorder, frame: Frame, poses: Sequence[Pose3D]) -> None:
        drawn.update({(frame.index, pose.person_id): pose for pose in poses})
        write(self, frame, poses)

    monkeypatch.setattr(Recorder, "write", watched)
    npz, mp4 = tmp_path / "a.npz", tmp_path / "a.mp4"
    code = cli.run(
        [str(walk_clip), "--headless", "-q", "--export", str(npz), "--record", str(mp4),
         "--weights", str(tiny_weights), "--start", "1", "--max-frames", "45"]
    )  # fmt: skip
    assert code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "a.npz"]

    with np.load(npz, allow_pickle=False) as data:
        keys = list(zip(data["frame_index"].tolist(), data["person_id"].tolist(), strict=True))
        assert sorted(drawn) == keys
        assert keys[0][0] == 30
        focal = 320.0 / np.tan(np.radians(float(data["camera_fov"])) / 2)
        for row, key in enumerate(keys):
            world = data["joints_world"][row].astype(np.float64)
            np.testing.assert_allclose(drawn[key].joints_world, world, atol=CENTIMETRE)
            # Through the exported camera into the picture, beside what was drawn over there.
            camera = Ground(*(float(data[f"camera_{k}"][row]) for k in ("pitch", "roll", "height")))
            seen = camera.to_camera(world)
            placed = drawn[key].joints.astype(np.float64) + drawn[key].root
            np.testing.assert_allclose(seen, placed, atol=CENTIMETRE)
            seen, placed = seen[seen[:, 2] > 1.0], placed[seen[:, 2] > 1.0]
            apart = focal * (seen[:, :2] / seen[:, 2:] - placed[:, :2] / placed[:, 2:])
            assert np.abs(apart).max(initial=0.0) < 1.0, "pixels"

    # And so do the pictures: those of the file itself against those of the export.
    take = read_take(npz)
    people: dict[int, list[Pose3D]] = {}
    for pose in take.poses:
        people.setdefault(pose.frame_index, []).append(pose)
    recorded = film_of(mp4)
    with VideoFile(walk_clip, start=1.0, max_frames=45) as source:
        composer = Composer(source.size, source.fps, take=take.poses)
        for frame, picture in zip(source, recorded, strict=True):
            expected = composer.compose(frame, people.get(frame.index, []))
            room = np.s_[:, expected.shape[1] - expected.shape[0] :]
            error = np.abs(picture[room].astype(int) - expected[room])
            assert (error.max(-1) > 60).mean() < 0.002
