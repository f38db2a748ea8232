"""Clients that stay with their cluster when its controller dies or moves, and the Cluster that makes such clients.

address    where a controller is, as its connection file says
plan       what to do with each outstanding request after a move: pure
pending    the outstanding requests
move       from one controller to another
client     ipyparallel.Client, doing all this
cluster    ipyparallel.Cluster, making such clients
"""

from .client import Client
from .cluster import Cluster
from .words import ControllerLost

__all__ = ["Client", "Cluster", "ControllerLost"]
