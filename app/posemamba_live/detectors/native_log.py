"""Keep the C++ log of MediaPipe off the user's terminal.

MediaPipe 0.10.21 writes to file descriptor 2 before its log is set up, whatever
GLOG_minloglevel, ABSL_MIN_LOG_LEVEL or TF_CPP_MIN_LOG_LEVEL say, so the descriptor itself
is turned aside.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_LOG_LINE: Final = re.compile(
    rb"[IWEF]\d{4} [\d:.]+\s+\d+ [\w.]+:\d+\] "
    rb"|WARNING: All log messages before absl::InitializeLog"
    rb"|INFO: Created TensorFlow Lite"
    rb"|ERROR: The model is not a valid Flatbuffer"
    rb"|Calculator::\w+\(\) for node "
)


@contextmanager
def without_native_log() -> Iterator[None]:
    """Take MediaPipe's lines out of what is written to stderr within the block.

    Everything else, other threads' output included, is passed on when the block ends.
    """
    sys.stderr.flush()
    try:
        stderr = os.dup(2)
    except OSError:  # started without a stderr: nothing to keep clean
        yield
        return
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            aside.seek(0)
            for line in aside:
                if not _LOG_LINE.match(line):
                    os.write(2, line)
