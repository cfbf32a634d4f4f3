"""Scores against ground truth: clips, synthetic and published test sets."""

from __future__ import annotations

from typing import NoReturn

from posemamba_live.terminal import libraries_named


def main() -> NoReturn:
    """The `posemamba-eval` program."""
    with libraries_named():
        from posemamba_live.evaluation.evaluate import main as evaluate

        evaluate()
