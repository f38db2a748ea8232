"""ipymesos: ipyparallel clusters on Apache Mesos, by a framework of their own."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cluster import Cluster
    from .explained import Explanation, explain
    from .following import Client, ControllerLost

__version__ = "0.1.0"
__all__ = ["Client", "Cluster", "ControllerLost", "Explanation", "explain"]

_HOMES = {
    "Client": "following",
    "Cluster": "cluster",
    "ControllerLost": "following",
    "Explanation": "explained",
    "explain": "explained",
}


def __getattr__(name: str) -> Any:
    """Import them when they are asked for: ipyparallel takes half a second, and the daemon has no use for it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
