"""ipyparallel's cluster, with clients that follow its controller."""

from __future__ import annotations

import inspect
from types import MethodType
from typing import Any

import ipyparallel
from traitlets import default

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


class Cluster(ipyparallel.Cluster):
    """ipyparallel.Cluster on Mesos: controller and engines default to "mesos", and its clients are ours.

    `with Cluster(n=4) as client: ...`
    """

    @default("controller_launcher_class")
    def _default_controller(self) -> str:
        return "mesos"

    @default("engine_launcher_class")
    def _default_engines(self) -> str:
        return "mesos"

    async def connect_client(self, **client_kwargs: Any) -> Client:
        return await connect_client(self, **client_kwargs)


# What a cluster's file says, from which other processes find the class again.
Cluster.__module__ = "ipymesos"


def follow(cluster: Any) -> None:
    """Let this cluster, which is ipyparallel's own, make our clients.

    It has no option for the class of its clients, so its method is replaced, on this object alone: connect_client_sync,
    start_and_connect and `with` all go through it. A subclass with an opinion of its own is left alone.
    """
    plain = ipyparallel.Cluster.connect_client
    if isinstance(cluster, ipyparallel.Cluster) and type(cluster).connect_client is plain:
        cluster.connect_client = MethodType(connect_client, cluster)
