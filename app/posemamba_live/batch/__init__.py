"""Many videos on Ray: one command lifts a folder on one machine, or on a cluster.

command     options -> videos -> what is missing -> workers -> report
videos      which videos are meant, and under which names their results go
storage     local folders, and everything that fsspec reaches
receipt     what makes a result count, so that a second start does what is missing
worker      one process with its models: takes one video after another; knows nothing of Ray
engine      Ray: workers that come and go, and whose videos are tried again
report      one row per video
"""
