"""The PoseMamba lifter (arXiv 2408.03540) as a library: 2D keypoints in, 3D poses out.

    lifter = posemamba.Lifter("window-m7", fov_deg=60)
    joints = lifter.from_coco(keypoints, scores, image_size)  # body heights, camera axes

Nothing heavy is imported before it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from posemamba.network import Lifter

__all__ = ["Lifter"]


def __getattr__(name: str) -> Any:
    if name == "Lifter":
        from posemamba.network import Lifter

        return Lifter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
