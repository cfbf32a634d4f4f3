"""Keypoints of another program, in COCO's order, to 3D with the network alone.

    python examples/own_keypoints.py keypoints.json poses3d.npy --size 640 360

`keypoints.json` is a list of COCO results, one person's, a frame each, as many detectors write
them: {"image_id": 0, "category_id": 1, "keypoints": [x, y, score, ...], "score": 0.9}.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import posemamba
from posemamba.skeleton import JOINT_NAMES


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("output", type=Path, help="(T, 17, 3) metres, camera axes, .npy")
    parser.add_argument("--size", type=int, nargs=2, required=True, metavar=("W", "H"))
    parser.add_argument("--fov", type=float, default=60.0, help="across the longer side, degrees")
    parser.add_argument("--height", type=float, default=1.70, help="of the person, metres")
    arguments = parser.parse_args(words)

    results = json.loads(arguments.results.read_text())
    results.sort(key=lambda result: result["image_id"])
    triples = np.array([result["keypoints"] for result in results]).reshape(-1, 17, 3)
    keypoints, scores = triples[..., :2], triples[..., 2]

    lifter = posemamba.Lifter("window-m3", fov_deg=arguments.fov)
    joints = arguments.height * lifter.from_coco(keypoints, scores, tuple(arguments.size))
    np.save(arguments.output, joints)
    print(f"{len(joints)} poses of the joints {', '.join(JOINT_NAMES)}")


if __name__ == "__main__":
    main()
