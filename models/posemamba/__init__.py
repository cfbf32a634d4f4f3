"""The PoseMamba lifter (arXiv 2408.03540) as a library."""
