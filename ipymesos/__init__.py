"""ipymesos: ipyparallel clusters on Apache Mesos, by a framework of their own."""

__version__ = "0.1.0"
