"""A network of a stranger is tried in a process of its own, with limits of time and memory.

An `.onnx` file is a program: it may loop for ever, or ask for more memory than there is,
already while it is opened (constants are computed then). Neither can be stopped from within
the process, so that a file that a user brings is opened and run once elsewhere before it is
here. Files that came with the program, or that it has fetched and checked, are not tried.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

from posemamba_live.errors import DetectorError, out_of_memory

SECONDS: Final = 30.0
"""For loading the library, opening the file and one run: RTMPose takes 2 on a slow machine."""
MEMORY: Final = 4 * 2**30
"""Bytes. RTMO's largest takes half of one GiB."""
MAX_ANSWER: Final = 64 * 2**20
"""Bytes of all outputs for one picture; RTMPose's 133 points are 0.6 MB."""
_FAILED: Final = 3
_CHILD: Final = f"""if True:
    import sys
    path, memory, most = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    import numpy as np
    import onnxruntime
    try:
        import resource
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    except (ImportError, ValueError, OSError):
        pass  # the time is limited all the same
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    types = {{"tensor(float)": np.float32, "tensor(float16)": np.float16}}
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        feed = {{}}
        for given in session.get_inputs():
            sides = [1, 3, 640, 640][: len(given.shape)]
            shape = [have if isinstance(have, int) else side
                     for have, side in zip(given.shape, sides)]
            if len(shape) != len(given.shape) or np.prod(shape, dtype=float) > 2**26:
                sys.exit(0)  # of no kind that is known: told by who knows them
            feed[given.name] = np.zeros(shape, types.get(given.type, np.float32))
        size = sum(answer.nbytes for answer in session.run(None, feed))
    except Exception as error:
        print((str(error).splitlines() or [type(error).__name__])[0])
        sys.exit({_FAILED})
    if size > most:
        print(f"it answers one picture with {{size / 1e6:.0f}} MB")
        sys.exit({_FAILED})
"""


def try_out(path: Path, *, hint: str, seconds: float = SECONDS, memory: int = MEMORY) -> None:
    """Open the network elsewhere and run it on a black picture.

    Args:
        path: an `.onnx` file.
        hint: for the message: what the file should be.
        seconds, memory: what that may take.

    Raises:
        DetectorError: it takes more, answers too much, or fails.
    """
    command = [sys.executable, "-c", _CHILD, str(path), str(memory), str(MAX_ANSWER)]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise DetectorError(
            f"The model {path} was given up", why=f"a first run takes over {seconds:.0f} s",
            hint=hint,
        ) from error  # fmt: skip
    except OSError:
        return  # no further process can be had: it is tried here, as ever
    if done.returncode:
        told = done.stdout.decode(errors="replace").strip()
        why = told if done.returncode == _FAILED and told else "it ends the process that runs it"
        if out_of_memory(MemoryError() if "MemoryError" in why else RuntimeError(why)):
            why = f"it wants more than {memory / 2**30:.0f} GB of memory for one picture"
        raise DetectorError(f"Cannot load the model {path}", why=why[:500], hint=hint)
