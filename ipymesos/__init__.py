"""ipymesos: ipyparallel clusters on Apache Mesos, by a framework of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .following import Client, Cluster, ControllerLost

__version__ = "0.1.0"
__all__ = ["Client", "Cluster", "ControllerLost"]


def __getattr__(name: str) -> Any:
    """Import the clients when they are asked for: ipyparallel takes half a second, and the daemon has no use for it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import following

    return getattr(following, name)
