"""Kill and pause whatever a cluster is made of, at random, and count what is lost: `python -m benchmarks.chaos`."""
