"""The Mesos executor of ipymesos: one process per agent runs the controller, or a pack of engines."""

__version__ = "0.1.0"
