"""`local`: a real Mesos on this machine."""

from __future__ import annotations

from ..local.cli import add_arguments, run

__all__ = ["add_arguments", "run"]
