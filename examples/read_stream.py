"""Reads poses from a running program, with nothing but a WebSocket library.

    posemamba-live --camera 0 --stream ws://localhost:8765
    python examples/read_stream.py ws://localhost:8765

It needs none of this project, only `pip install websockets`; docs/streaming.md has the format.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Sequence

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", nargs="?", default="ws://localhost:8765")
    parser.add_argument("--max-pictures", type=int, default=-1)
    arguments = parser.parse_args(words)

    with connect(arguments.url) as stream, contextlib.suppress(ConnectionClosed):
        header = json.loads(stream.recv())
        head = header["joint_names"].index("Head")
        print(f"{header['source']}, {header['fps']:g} frames a second, units {header['units']}")
        while arguments.max_pictures:
            picture = json.loads(stream.recv())
            arguments.max_pictures -= 1
            for person in picture["people"]:
                x, y, z = person["joints_world"][head]
                print(
                    f"frame {picture['frame_index']}  person {person['person_id']}  "
                    f"head at {x:.2f} {y:.2f} {z:.2f} m  {picture['age_ms']:.0f} ms old",
                    flush=True,
                )


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
