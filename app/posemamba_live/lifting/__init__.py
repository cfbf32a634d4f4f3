"""From 2D poses to 3D: the lifters, windows over time and their batches."""
