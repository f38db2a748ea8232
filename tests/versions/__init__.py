"""One story of a cluster on many versions of Mesos, Python and ipyparallel: see scripts/versions."""
