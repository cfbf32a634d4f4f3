"""What defines a training run: one JSON file, kept beside the weights that come of it."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from posemamba.config import PRESETS, PoseMambaConfig
from posemamba.normalize import RAY_CHANNELS
from posemamba.training.loss import VELOCITY_WEIGHT


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """A run; see the README's section on weights for why the defaults are what they are."""

    name: str = "window-m3"
    preset: str = "M3"
    frames: int = 27
    windows: int = 400_000
    """Length of the run, in training windows over all processes."""
    batch: int = 32
    small_batch: int = 16
    small_batch_windows: int = 20_000
    """Many small steps at the start leave the plateau at the mean pose sooner."""
    learning_rate: float = 1.5e-3
    muon: float = 2.0
    """Learning rate of the hidden matrices (by Muon) over that of all else (by AdamW); 0 leaves
    them to AdamW as well."""
    warmup_steps: int = 40
    decay_windows: int = 120_000
    """The rate is constant, then falls to `final_rate` over the last windows: a run can be
    prolonged from its constant part without having known its length before."""
    final_rate: float = 0.02
    weight_decay: float = 0.02
    clip: float = 1.0
    velocity_weight: float = VELOCITY_WEIGHT
    """20 gets a young network off the ground; 8 lets a grown one place joints better."""
    velocity_ramp_windows: int = 4_000
    gravity_weight: float = 1.0
    """Of the loss of which way is up, for networks that say so."""
    occlusion: bool = True
    """Validation windows with what the body hides and with scores of unsmoothed keypoints."""
    ema: float = 0.998
    """Decay per step of the averaged weights that are evaluated and shipped."""
    short_windows: float = 0.08
    """Share of batches cut to a random shorter length."""
    streamed: bool = False
    """Normalise frame by frame (`ray_track`), not window by window: for long windows, in which
    people walk about. Causal networks have no other way."""
    seed: int = 1
    matmul_precision: str = "medium"
    """torch.set_float32_matmul_precision: "medium" lets the CPU or GPU multiply in bfloat16."""
    mixed_precision: bool = True
    """On CUDA, products and what lies between kernels in bfloat16. CPUs compute as ever."""
    validate_every: int = 20_000
    validation_windows: int = 384
    checkpoint_every: int = 5_000
    model: dict[str, Any] = field(default_factory=dict)
    """Overrides of PoseMambaConfig."""
    synth: dict[str, Any] = field(default_factory=dict)
    """Overrides of SynthConfig."""

    def model_config(self) -> PoseMambaConfig:
        values: dict[str, Any] = {
            **PRESETS[self.preset],
            "frames": self.frames,
            "in_channels": RAY_CHANNELS,
            "frame_embedding": True,
            "input_skip": True,
            "joint_bias": True,
            "integer_decay": True,
            **self.model,
        }
        return PoseMambaConfig(**values)

    @property
    def frame_by_frame(self) -> bool:
        """Whether every frame is normalised by itself (`ray_track`): input kind "stream"."""
        return self.streamed or self.model_config().causal

    def rate_at(self, windows: int, step: int) -> float:
        """Learning rate: linear warm-up, constant, linear fall."""
        warm = min(1.0, (step + 1) / self.warmup_steps)
        left = (self.windows - windows) / max(self.decay_windows, 1)
        fall = max(self.final_rate, min(1.0, left))
        return self.learning_rate * warm * fall

    def batch_at(self, windows: int) -> int:
        return self.small_batch if windows < self.small_batch_windows else self.batch


def load_config(path: Path) -> TrainConfig:
    """Read a run's file.

    Raises:
        ValueError: unknown keys or values that do not fit.
    """
    values = json.loads(path.read_text(encoding="utf-8"))
    known = {f.name for f in dataclasses.fields(TrainConfig)}
    if unknown := sorted(set(values) - known):
        raise ValueError(f"{path}: unknown keys {', '.join(unknown)}")
    config = TrainConfig(**values)
    if config.preset not in PRESETS:
        raise ValueError(f"{path}: preset {config.preset!r} is none of {', '.join(PRESETS)}")
    if config.muon and not hasattr(torch.optim, "Muon"):
        raise ValueError(f'{path}: Muon needs PyTorch 2.9; a newer one, or "muon": 0, will do')
    return config
