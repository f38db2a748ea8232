"""Clients that stay with their cluster when its controller dies or moves, and what makes clusters give them.

address    where a controller is, as its connection file says
hearing    that output is heard from the first request on
plan       what to do with each outstanding request after a move: pure
pending    the outstanding requests
move       from one controller to another
client     ipyparallel.Client, doing all this
cluster    clusters that make such clients
"""

from .client import Client
from .words import ControllerLost

__all__ = ["Client", "ControllerLost"]
