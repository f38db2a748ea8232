"""Clients that follow their controller, for clusters of ipyparallel's own class as well."""

from __future__ import annotations

import inspect
from types import MethodType
from typing import Any

import ipyparallel

from .client import Client


async def connect_client(cluster: ipyparallel.Cluster, **client_kwargs: Any) -> Client:
    """Wait for the cluster's controller, and return a client of it that stays with the cluster."""
    info = cluster.controller.get_connection_info()
    if inspect.isawaitable(info):
        await info  # it is there; the client reads the file by itself
    return Client(
        cluster.controller.connection_files["client"],
        cluster=cluster,
        profile_dir=cluster.profile_dir,
        cluster_id=cluster.cluster_id,
        **client_kwargs,
    )


def follow(cluster: Any) -> None:
    """Let this cluster, which is ipyparallel's own, make our clients.

    It has no option for the class of its clients, so its method is replaced, on this object alone: connect_client_sync,
    start_and_connect and `with` all go through it. A subclass with an opinion of its own is left alone.
    """
    plain = ipyparallel.Cluster.connect_client
    if isinstance(cluster, ipyparallel.Cluster) and type(cluster).connect_client is plain:
        cluster.connect_client = MethodType(connect_client, cluster)
