"""A real Mesos for everybody: the official library of Mesos, run on this machine without installing anything.

For people `python -m ipymesos local`, for tests and for the scheduler `LocalMesos`. This package stands alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cluster import LocalMesos
    from .election import Election
    from .errors import FlagError, LocalMesosError
    from .fleet import LocalFleet
    from .warm import Warm

__all__ = ["Election", "FlagError", "LocalFleet", "LocalMesos", "LocalMesosError", "Warm"]

_HOMES = {
    "Election": "election",
    "FlagError": "errors",
    "LocalFleet": "fleet",
    "LocalMesos": "cluster",
    "LocalMesosError": "errors",
    "Warm": "warm",
}


def __getattr__(name: str) -> Any:
    """Import them when they are asked for: a Warm is made before there is time for the rest."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
