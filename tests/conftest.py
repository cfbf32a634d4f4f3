"""Fixtures that many tests share: the demo clips, a tiny network, synthetic tracks."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pytest
import torch

from posemamba.checkpoint import Checkpoint, CheckpointMeta, save_checkpoint
from posemamba.config import PoseMambaConfig
from posemamba.model import PoseMamba
from posemamba_live.types import Pose2D

if not torch.cuda.is_available():
    # Triton decides when it is imported whether its kernels run in its CPU interpreter.
    os.environ.setdefault("TRITON_INTERPRET", "1")

# Shells have what they start in the background ignore Ctrl-C, and so would the programs that
# tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

DEMO_VIDEOS: Final = Path(__file__).parent.parent / "demo_videos"
WINDOW: Final = 9


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    """Commands set how much is logged; the tests that follow shall not notice."""
    loggers = [logging.getLogger(name) for name in (None, "posemamba", "posemamba_live")]
    before = [(logger.level, logger.handlers[:]) for logger in loggers]
    yield
    for logger, (level, handlers) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.handlers[:] = handlers


@pytest.fixture(scope="session")
def walk_clip() -> Path:
    """167 frames of one person, 640x360, 30 fps."""
    return DEMO_VIDEOS / "walk_turn.mp4"


@pytest.fixture(scope="session")
def walk_exports(walk_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with walk.npz, walk.csv, ...: one run of the command on the clip, every format."""
    from posemamba_live import cli
    from tests.support.formats import INSTALLED

    folder = tmp_path_factory.mktemp("exports")
    exports = [word for suffix in INSTALLED for word in ("--export", str(folder / f"walk{suffix}"))]
    loggers = [logging.getLogger(name) for name in ("posemamba", "posemamba_live")]
    levels = [logger.level for logger in loggers]
    code = cli.run([str(walk_clip), "--headless", "-q", *exports])
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
    assert code == 0
    return folder


@pytest.fixture(scope="session")
def tiny_checkpoint() -> Checkpoint:
    """A real network, far too small and untrained, with a window of WINDOW frames."""
    torch.manual_seed(3)
    config = PoseMambaConfig(dim=16, depth=1, frames=WINDOW, in_channels=6)
    model = PoseMamba(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    meta = CheckpointMeta("tiny", config, "rays", "body_height")
    return Checkpoint(model.eval().requires_grad_(False), meta)


@pytest.fixture(scope="session")
def tiny_weights(tiny_checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny network as a file."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_checkpoint(path, tiny_checkpoint.model.state_dict(), tiny_checkpoint.meta)
    return path


MakeTrack = Callable[..., list[Pose2D]]


@pytest.fixture(scope="session")
def make_track() -> MakeTrack:
    """Makes the track of one waving figure that crosses the picture."""
    rng = np.random.default_rng(11)
    body = rng.uniform(-60.0, 60.0, (17, 2))
    phase = rng.uniform(0.0, 6.0, (17, 2))

    def make(count: int, *, fps: float = 30.0, person_id: int = 0, first: int = 0) -> list[Pose2D]:
        poses = []
        for index in range(first, first + count):
            time = index / fps
            wave = 8.0 * np.sin(3.0 * time + phase)
            keypoints = np.array([200.0 + 60.0 * time, 180.0]) + body + wave
            poses.append(
                Pose2D(
                    frame_index=index,
                    timestamp=time,
                    person_id=person_id,
                    keypoints=keypoints.astype(np.float32),
                    scores=np.full(17, 0.9, np.float32),
                    image_size=(640, 360),
                    peak=np.linspace(0.5, 1.0, 17, dtype=np.float32),
                )
            )
        return poses

    return make
