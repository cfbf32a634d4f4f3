"""The export formats whose libraries are here: Rerun's wants NumPy 2, and others NumPy 1."""

from __future__ import annotations

import importlib.util
from typing import Final

from posemamba_live.sinks import FORMATS

INSTALLED: Final = {
    suffix: format_
    for suffix, format_ in FORMATS.items()
    if format_.needs is None or importlib.util.find_spec(format_.needs[0]) is not None
}
