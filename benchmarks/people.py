"""What a second person costs: finding, following and lifting two people against one.

On the film of `tests/support/two_people.py`, in which two people cross, and on its clip of one,
frame by frame in turns within one process: MediaPipe's landmarker as it is, for one person
and for two, and the program's detector and tracker. Then the lifters, people one by one
against all in one batch. Times are processor time of all threads, which other programs on
the machine disturb less than wall time; medians per frame in ms.

    python benchmarks/people.py
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from posemamba.checkpoint import load_checkpoint
from posemamba.network import Network, use_threads
from posemamba.streams import CausalNetwork
from posemamba_live.detectors import DetectorSettings, create_detector
from posemamba_live.detectors.mediapipe import MediaPipeDetector
from posemamba_live.lifting.batching import together
from posemamba_live.lifting.causal import CausalLifter
from posemamba_live.lifting.window import Lifter, LiveLifter
from posemamba_live.tracking.people import PeopleTracker
from posemamba_live.types import Frame, Pose2D

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.support.two_people import CROSSING, Actor, Scene, walks

ALONE = Scene([Actor(walks())], CROSSING.length)


def program(people: int) -> Callable[[Frame], list[Pose2D]]:
    """The program's own models and tracker."""
    settings = DetectorSettings(people=people, device="cpu")
    return PeopleTracker(create_detector(settings=settings), people)


def detection(scene: Scene, ways: dict[str, Callable[[Frame], Sequence[object]]]) -> list[Pose2D]:
    """Print what each way costs and how much it finds; returns what the last one found."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    found = dict.fromkeys(ways, 0)
    last: list[Pose2D] = []
    for index in range(scene.length):
        frame = scene.frame(index)
        for name, way in ways.items():
            began = time.process_time()
            people = way(frame)
            times[name].append(1e3 * (time.process_time() - began))
            found[name] += len(people)
        last += [pose for pose in people if isinstance(pose, Pose2D)]
    for name, spent in times.items():
        mean, median = statistics.fmean(spent[5:]), statistics.median(spent[5:])
        print(f"  {name:34} {median:6.1f}, mean {mean:6.1f}   {found[name]} people found")
    return last


def lifting(name: str, make: Callable[[], Lifter], track: Sequence[Pose2D], people: int) -> None:
    """Print what lifting `people` copies of a track costs, one by one and in one batch."""
    apart = [make() for _ in range(people)]
    batch = [make() for _ in range(people)]
    times: tuple[list[float], list[float]] = ([], [])
    for pose in track:
        poses = [replace(pose, person_id=i) for i in range(people)]
        for way, spent in enumerate(times):
            began = time.process_time()
            if way == 0:
                for lifter, own in zip(apart, poses, strict=True):
                    lifter.push(own)
            else:
                together([lifter.pushing(own) for lifter, own in zip(batch, poses, strict=True)])
            spent.append(1e3 * (time.process_time() - began))
    one_by_one, at_once = (statistics.median(spent[40:]) for spent in times)
    print(
        f"  {name:12} {people} people   one by one {one_by_one:5.1f}   "
        f"in one batch {at_once:5.1f}   ratio {at_once / one_by_one:.2f}"
    )


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    print("one person in the picture")
    track = detection(
        ALONE,
        {
            "MediaPipe, one pose": MediaPipeDetector(people=1).detect,
            "MediaPipe, two poses": MediaPipeDetector(people=2).detect,
            "--people 2": program(2),
            "--people 1": program(1),
        },
    )
    print("two people in the picture")
    detection(
        CROSSING,
        {
            "MediaPipe, one pose": MediaPipeDetector(people=1).detect,
            "MediaPipe, two poses": MediaPipeDetector(people=2).detect,
            "--people 1": program(1),
            "--people 2": program(2),
        },
    )
    print("lifting, live")
    use_threads(1)
    network = Network(load_checkpoint("window-m3"), fov_deg=60.0)
    causal = CausalNetwork(load_checkpoint("causal-m10"))
    for people in (1, 2, 4, 8):
        lifting("window-m3", lambda: LiveLifter(network), track, people)
        lifting("causal-m10", lambda: CausalLifter(causal, fov_deg=60.0), track, people)


if __name__ == "__main__":
    main()
