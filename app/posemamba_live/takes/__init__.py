"""A recorded result, and what is computed from it: bones, rotations, angles, plots."""
