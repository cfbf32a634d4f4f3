"""Scores against ground truth: clips, synthetic and published test sets."""
